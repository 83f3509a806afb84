"""A client that is used in a second event loop works there."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
import trio

from fanout.clients.outcomes import Disconnected, DisconnectedError
from fanout.clients.shm_asyncio import AsyncioShmClient
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp_asyncio import AsyncioTcpClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import Trade
from tests.clients.queues import numbers, writing
from tests.contracts.client import serving
from tests.protocol.test_session import block, opening


async def trades(client: Any, count: int) -> list[Any]:
    got = []
    async for record in client:
        got.append(record)
        if sum(isinstance(each, Trade) for each in got) == count:
            return got
    return got


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_asyncio_client_connects_anew_in_a_second_loop_and_loses_nothing() -> None:
    with serving(opening(1) + block(1), opening(2) + block(2) + block(3)) as service:
        client = AsyncioTcpClient(service.url)
        got = [*asyncio.run(trades(client, 1)), *asyncio.run(trades(client, 2))]
        asyncio.run(client.__aexit__(None, None, None))
    assert numbers(got) == [1, 2, 3]
    (lost,) = (each for each in got if isinstance(each, Disconnected))
    assert "another event loop" in lost.why or "without an END" in lost.why
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_reconnecting_a_second_loop_is_a_disconnected_error() -> None:
    with serving(opening(1) + block(1) + block(2), silent=True) as service:
        client = AsyncioTcpClient(service.url, reconnect=False)
        asyncio.run(trades(client, 1))
        client._subscription.ready.clear()
        with pytest.raises(DisconnectedError, match="belongs to another event loop"):
            asyncio.run(trades(client, 1))
    gc.collect()


def test_a_trio_client_goes_on_in_a_second_run() -> None:
    with serving(opening(1) + block(1), opening(2) + block(2)) as service:
        client = TrioTcpClient(service.url)
        got = trio.run(trades, client, 1)
        got += trio.run(trades, client, 1)
        client._drop()
    assert numbers(got) == [1, 2]


@pytest.mark.parametrize("kind", [TrioTcpClient, AsyncioTcpClient])
def test_a_pause_that_began_in_another_loop_starts_again_in_this_one(
    kind: Any,
) -> None:
    client = kind("tcp://127.0.0.1:9")
    client._subscription._change(pause_s=2.0)
    assert client._pause_left_s(1_000_000.0, "one") == 2.0
    assert client._pause_left_s(1_000_001.5, "one") == 0.5
    assert client._pause_left_s(10.0, "another") == 2.0


@pytest.mark.parametrize("kind", [TrioShmClient, AsyncioShmClient])
def test_a_client_of_a_queue_goes_on_in_a_second_loop(tmp_path: Path, kind: Any) -> None:
    with writing(tmp_path) as writer:
        client = kind("shm://q", directory=str(tmp_path), reconnect=False)
        writer.trades(3)
        for expected in ([1], [2, 3]):
            run = trio.run if kind is TrioShmClient else lambda act, *rest: asyncio.run(act(*rest))
            assert numbers(run(trades, client, len(expected))) == expected
        client._drop()


def test_a_trio_client_can_be_closed_after_its_run() -> None:
    with serving(opening(1) + block(1), silent=True) as service:
        client = TrioTcpClient(service.url)
        trio.run(trades, client, 1)
        client._drop()
        assert client._stream is None
