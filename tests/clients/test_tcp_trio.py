from collections.abc import Callable

import trio

from clients.client import Client
from clients.tcp_trio import TrioTcpClient
from protocol import Trade
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


def test_connect_waits_for_the_header() -> None:
    async def run(url: str) -> None:
        async with TrioTcpClient(url, reconnect=False) as client:
            assert (await client.connect()).next_seq == 1
            assert client.statistics.connections == 1

    with serving(opening(1) + end(0)) as service:
        trio.run(run, service.url)
