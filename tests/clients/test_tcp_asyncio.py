import asyncio
import contextlib
from collections.abc import Callable

import pytest

from fanout.clients.client import Client
from fanout.clients.outcomes import DisconnectedError
from fanout.clients.tcp_asyncio import AsyncioTcpClient
from fanout.protocol import Trade
from tests.contracts.client import ClientContract, Collected, serving
from tests.protocol.test_session import block, end, opening


class TestAsyncioTcpClient(ClientContract):
    def collect(
        self, url: str, until: Callable[[Collected], bool], **options: object
    ) -> tuple[Collected, Client]:
        async def run() -> tuple[Collected, Client]:
            records: Collected = []
            async with asyncio.timeout(20):
                async with AsyncioTcpClient(url, **options) as client:  # type: ignore[arg-type]
                    async for record in client:
                        records.append(record)
                        if until(records):
                            break
                    return records, client

        return asyncio.run(run())


def test_a_cancellation_loses_no_record() -> None:
    async def run(url: str) -> None:
        async with AsyncioTcpClient(url) as client:
            await client.connect()
            got = [await anext(client)]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    while True:
                        got.append(await anext(client))
            assert [each.seq for each in got if isinstance(each, Trade)] == [1, 2]

    with serving(opening(1) + block(1, 2), silent=True) as service:
        asyncio.run(run(service.url))


def test_connect_waits_for_the_header() -> None:
    async def run(url: str) -> None:
        async with AsyncioTcpClient(url, reconnect=False) as client:
            assert (await client.connect()).next_seq == 1
            assert client.statistics.connections == 1

    with serving(opening(1) + end(0)) as service:
        asyncio.run(run(service.url))


def test_a_connection_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        monkeypatch.setattr(asyncio, "open_connection", never)
        url = "tcp://127.0.0.1:9"
        async with AsyncioTcpClient(url, reconnect=False, idle_timeout_s=0.05) as client:
            with pytest.raises(DisconnectedError, match=r"no connection within 0\.05 s"):
                await client.connect()

    asyncio.run(run())
