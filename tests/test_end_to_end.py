"""The main job on real input: both captures, replayed together, through the service over real
sockets, to two clients at once; every trade equal in id, time, price, quantity, side and kind."""

import gzip
import json
from collections.abc import Iterator

import trio

from fanout.clients.tcp import TcpClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import End, FeedState, Gap, Loss, Record, Status, Trade
from fanout.simulator import SimulatorConfig
from tests.captures import capture_path
from tests.stand.inside import config_for, running_service, running_simulator

NAMES = ("btcusdt_20240808.gz", "ethusdt_20240808.gz")
TRADES = 35_389

Row = tuple[str, int, int, str, str, bool, str]


def recorded(name: str) -> Iterator[tuple[int, Row]]:
    """Receive time and the facts of each trade, read without any code of the project."""
    with gzip.open(capture_path(name), "rt") as lines:
        for line in lines:
            if "@trade" in line[:60]:
                received, _, text = line.partition(" ")
                data = json.loads(text)["data"]
                facts = (
                    data["s"],
                    data["t"],
                    data["T"],
                    data["p"],
                    data["q"],
                    data["m"],
                    data["X"],
                )
                yield int(received), facts


def facts_of(trade: Trade) -> Row:
    return (
        trade.symbol,
        trade.trade_id,
        trade.time_ms,
        trade.price_text,
        trade.quantity_text,
        trade.buyer_is_maker,
        trade.kind.name,
    )


class Consumer:
    """What one client got."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.joined = trio.Event()
        self.has_everything = trio.Event()
        self.trades: list[Trade] = []

    def take(self, record: object) -> bool:
        """Note a record. Whether the client now has every trade."""
        assert isinstance(record, Record), record
        self.records.append(record)
        if isinstance(record, Trade):
            self.trades.append(record)
        return len(self.trades) == TRADES


def consume_blocking(url: str, consumer: Consumer) -> None:
    with TcpClient(url) as client:
        client.connect()
        trio.from_thread.run_sync(consumer.joined.set)
        for record in client:
            if consumer.take(record):
                trio.from_thread.run_sync(consumer.has_everything.set)
            if isinstance(record, End):
                return


async def consume_trio(url: str, consumer: Consumer) -> None:
    async with TrioTcpClient(url) as client:
        await client.connect()
        consumer.joined.set()
        async for record in client:
            if consumer.take(record):
                consumer.has_everything.set()
            if isinstance(record, End):
                return


async def test_both_captures_reach_two_clients_trade_for_trade() -> None:
    expected = sorted((row for name in NAMES for row in recorded(name)), key=lambda row: row[0])
    assert len(expected) == TRADES
    consumers = (Consumer(), Consumer())
    with trio.fail_after(60):
        await replay(consumers)
    for consumer in consumers:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            got = [facts_of(each) for each in consumer.trades if each.symbol == symbol]
            assert got == [facts for _, facts in expected if facts[0] == symbol]
        assert not [each for each in consumer.records if isinstance(each, Gap | Loss)]
        numbers = [each.seq for each in consumer.records if isinstance(each, Trade | Status)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        states = [each.state for each in consumer.records if isinstance(each, Status)]
        assert FeedState.LIVE in states
    assert consumers[0].trades == consumers[1].trades


async def replay(consumers: tuple[Consumer, Consumer]) -> None:
    """Run exchange, service and clients until both clients have everything and an END."""
    captures = tuple(capture_path(name) for name in NAMES)
    market = SimulatorConfig(captures=captures, speed=None, hold=True)
    blocking, asynchronous = consumers
    async with (
        running_simulator(market) as simulator,
        trio.open_nursery() as clients,
        running_service(config_for(simulator)) as service,
    ):
        clients.start_soon(trio.to_thread.run_sync, consume_blocking, service.url, blocking)
        clients.start_soon(consume_trio, service.url, asynchronous)
        for each in consumers:
            await each.joined.wait()
        simulator.release()
        for each in consumers:
            await each.has_everything.wait()
