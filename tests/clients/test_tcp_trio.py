from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from fanout.clients.client import Client
from fanout.clients.outcomes import DisconnectedError
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import End, EndReason, Trade, encode_event, frame
from tests.contracts.client import ClientContract, Collected, serving
from tests.protocol.test_session import block, end, opening


class TestTrioTcpClient(ClientContract):
    def collect(
        self, url: str, until: Callable[[Collected], bool], **options: object
    ) -> tuple[Collected, Client]:
        async def run() -> tuple[Collected, Client]:
            records: Collected = []
            with trio.fail_after(20):
                async with TrioTcpClient(url, **options) as client:  # type: ignore[arg-type]
                    async for record in client:
                        records.append(record)
                        if until(records):
                            break
                    return records, client

        return trio.run(run)


def test_a_cancellation_loses_no_record() -> None:
    async def run(url: str) -> None:
        async with TrioTcpClient(url) as client:
            await client.connect()
            got = [await anext(client)]
            with trio.move_on_after(0.02):
                while True:
                    got.append(await anext(client))
            assert [each.seq for each in got if isinstance(each, Trade)] == [1, 2]

    with serving(opening(1) + block(1, 2), silent=True) as service:
        trio.run(run, service.url)


def test_a_cancelled_wait_does_not_restart_the_pause() -> None:
    """Else a program that looks in every half second would never be connected again."""

    async def run(url: str) -> None:
        async with TrioTcpClient(url) as client:
            for _ in range(20):
                with trio.move_on_after(0.5):
                    while not isinstance(await anext(client), Trade):
                        pass
                    return
        pytest.fail("no second connection within ten seconds")

    full = frame(encode_event(End(reason=EndReason.FULL, last_seq=0, retry_ms=2_000)))
    with serving(opening(1) + full, opening(1) + block(1)) as service:
        trio.run(run, service.url, clock=MockClock(autojump_threshold=0.05))


def test_connect_waits_for_the_header() -> None:
    async def run(url: str) -> None:
        async with TrioTcpClient(url, reconnect=False) as client:
            assert (await client.connect()).next_seq == 1
            assert client.statistics.connections == 1

    with serving(opening(1) + end(0)) as service:
        trio.run(run, service.url)


async def test_a_connection_that_takes_too_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    url = "tcp://127.0.0.1:9"
    async with TrioTcpClient(url, reconnect=False, idle_timeout_s=0.05) as client:
        with pytest.raises(DisconnectedError, match=r"no connection within 0\.05 s"):
            await client.connect()
