"""Records go from inputs to outputs in batches, with a limit on what waits. Time is virtual."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fanout.analytics.consumer.config import ConsumerConfig, SymbolConfig
from fanout.analytics.consumer.consumer import Consumer, PlacedRow
from fanout.analytics.consumer.merge import Merger
from fanout.analytics.consumer.tables import ConsumerConfigError
from fanout.cli.analysing.engine import Engine
from fanout.cli.analysing.figures import Counts, StreamState
from fanout.clients.outcomes import Disconnected, DisconnectedError, Received, RefusedError
from fanout.protocol.book_records import Quote
from fanout.protocol.constants import LossReason
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header, Loss, Reference

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
NOTHING = Reference(price=0, quantity=0, trade_id=0, time=0)
WAIT_NS = 50_000_000
GONE = Disconnected(why="gone", pause_s=1.0)


def quote(received_ns: int, seq: int = 1) -> Quote:
    return Quote(BTC, seq, 0, 100, 1, 101, 1, seq, received_ns)


def header(venue: str) -> Header:
    return Header(epoch_ns=1, next_seq=1, venue=venue, instruments=(BTC,), references=(NOTHING,))


class Script:
    """A stream of what a test has written: records, pauses in seconds, and errors. What stands
    between two pauses came with one read."""

    def __init__(self, venue: str, *steps: Received | float | Exception) -> None:
        self.url = f"tcp://{venue}"
        self.header: Header | None = None
        self.is_any_ready = False
        self.heartbeat_ns = 0
        self.taken = 0
        self._venue = venue
        self._steps = deque(steps)

    async def connect(self) -> Header:
        raise AssertionError("an engine iterates")

    def __aiter__(self) -> AsyncIterator[Received]:
        return self

    async def __anext__(self) -> Received:
        while self._steps:
            each = self._steps.popleft()
            if isinstance(each, Exception):
                raise each
            if isinstance(each, float):
                await trio.sleep(each)
                continue
            if not isinstance(each, Disconnected):
                self.header = self.header or header(self._venue)
            follows = self._steps[0] if self._steps else 0.0
            self.is_any_ready = not isinstance(follows, float | Exception)
            self.taken += 1
            return each
        raise StopAsyncIteration


class Echo:
    """Features that give a row for each quote."""

    def take(self, record: Received) -> Sequence[FeatureRow]:
        if not isinstance(record, Quote):
            return ()
        return (FeatureRow(record.instrument, record.received_ns, (1.0,), bytes(1)),)


class Kept:
    """An output that keeps rows, and the time and size of each batch. It may be slow."""

    dropped = 0

    def __init__(self, pause_s: float = 0.0) -> None:
        self.rows: list[PlacedRow] = []
        self.batches: list[tuple[float, int]] = []
        self.pause_s = pause_s

    @property
    def times(self) -> list[int]:
        return [row.time_ns for _, row in self.rows]

    def add(self, rows: Sequence[PlacedRow]) -> None:
        self.rows += rows
        self.batches.append((round(trio.current_time(), 3), len(rows)))

    async def flush(self) -> None:
        await trio.sleep(self.pause_s)


class Run:
    """An engine over scripts, and what came of it."""

    def __init__(
        self,
        *scripts: Script,
        output: Kept | None = None,
        kept: bool = False,
        capacity: int = 1_000,
        batch: int = 1_000,
        **options: Any,
    ) -> None:
        self.output = output or Kept()
        self.scripts = scripts
        config = options.pop("config", ConsumerConfig())
        merger = Merger([kept] * len(scripts), wait_ns=WAIT_NS, capacity=capacity)
        names = [each.url for each in scripts]
        self.consumer = Consumer(
            config, names, only=[()] * len(scripts), make=lambda header, symbols: Echo()
        )
        states = [StreamState(each, is_kept=kept) for each in names]
        self.counts = Counts(
            self.consumer, merger, states, dropped=lambda: 0, clock=trio.current_time
        )
        self.engine = Engine(
            self.consumer,
            merger,
            scripts,
            [self.output],
            self.counts,
            batch_records=batch,
            wall_ns=lambda: 1_000,
            **options,
        )


async def test_what_one_read_brought_is_one_batch(autojump_clock: MockClock) -> None:
    run = Run(Script("okx", quote(1), quote(2), 1.0, quote(3)))
    await run.engine.run()
    assert run.output.batches == [(0.0, 2), (1.0, 1)]
    assert run.counts.lag_ns == 997
    assert run.engine.failure is None


async def test_a_long_read_is_divided_into_batches(autojump_clock: MockClock) -> None:
    run = Run(Script("okx", *map(quote, range(1, 8))), batch=3)
    await run.engine.run()
    assert [count for _, count in run.output.batches] == [3, 3, 1]


async def test_a_slow_output_stops_the_reading_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    script = Script("okx", *map(quote, range(1, 101)))
    run = Run(script, output=Kept(pause_s=1.0), capacity=10, batch=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.engine.run)
        await trio.sleep(3.5)
        assert script.taken <= 4 * 10 + 10 + 1
    assert run.output.times == [*range(1, 101)]


async def test_two_streams_come_in_the_order_of_their_times(autojump_clock: MockClock) -> None:
    a = Script("okx", quote(10), quote(30), 0.01, quote(50))
    b = Script("bybit", 0.005, quote(20), 0.001, quote(40), 0.02, quote(60))
    run = Run(a, b)
    await run.engine.run()
    assert run.output.times == [10, 20, 30, 40, 50, 60]
    assert run.counts.figures().late == 0
    assert {run.consumer.listed[place].venue for place, _ in run.output.rows} == {"okx", "bybit"}


async def test_the_heartbeat_of_a_quiet_stream_lets_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    quiet = Script("bybit", quote(5), 10.0)
    quiet.heartbeat_ns = 15
    run = Run(Script("okx", 0.1, quote(10), 0.1, quote(20), 10.0), quiet)
    await run.engine.run()
    # The heartbeat stands between the two.
    assert [at for at, count in run.output.batches if count] == [0.05, 0.1, 0.25]


async def test_a_stream_that_is_down_costs_the_others_the_wait_only(
    autojump_clock: MockClock,
) -> None:
    down = Script("bybit", GONE, 10.0, GONE, 10.0, quote(5))
    run = Run(Script("okx", quote(10), 0.2, quote(20)), down)
    await run.engine.run()
    assert [at for at, count in run.output.batches if count] == [0.05, 0.25, 20.0]
    assert run.output.times == [10, 20, 5]
    figures = run.counts.figures()
    assert [each.late for each in figures.streams] == [0, 1]
    assert [each.reconnects for each in figures.streams] == [0, 2]


async def test_it_ends_at_the_limit(autojump_clock: MockClock) -> None:
    run = Run(Script("okx", *map(quote, range(1, 100)), 1e9), limit=7)
    await run.engine.run()
    assert run.output.times == [*range(1, 8)]


async def test_an_input_that_ends_with_an_error_leaves_the_others(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Script("okx", quote(1), DisconnectedError("tcp://okx: the end"))
    run = Run(broken, Script("bybit", 1.0, quote(2)))
    await run.engine.run()
    assert run.output.times == [1, 2]
    assert str(run.engine.failure) == "tcp://okx: the end"
    assert "tcp://okx is over: tcp://okx: the end" in capsys.readouterr().err
    assert run.counts.troubles() == []


async def test_an_input_that_is_refused_before_it_began_ends_all(
    autojump_clock: MockClock,
) -> None:
    run = Run(Script("okx", RefusedError("wrong token")), Script("bybit", 1e9))
    with pytest.RaisesGroup(pytest.RaisesExc(RefusedError, match="wrong token")):
        await run.engine.run()


async def test_a_header_that_does_not_fit_ends_it(autojump_clock: MockClock) -> None:
    config = ConsumerConfig(symbols=(SymbolConfig(venue="okx", symbol="ETH"),))
    run = Run(Script("okx", quote(1)), config=config)
    with pytest.RaisesGroup(pytest.RaisesExc(ConsumerConfigError, match="no input has okx ETH")):
        await run.engine.run()


async def test_losses_and_connections_are_counted(autojump_clock: MockClock) -> None:
    lost = Loss(first_seq=1, last_seq=4, reason=LossReason.SLOW)
    run = Run(Script("okx", quote(1), lost, GONE, 5.0, quote(2)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.engine.run)
        await trio.sleep(1)
        assert run.counts.troubles() == ["tcp://okx: gone"]
        (figures,) = run.counts.figures().streams
        assert (figures.lost, figures.reconnects, figures.is_connected) == (4, 1, False)
    (figures,) = run.counts.figures().streams
    assert (figures.has_ended, figures.records, figures.why) == (True, 4, "it has ended")


async def test_the_rates_are_those_since_the_line_before(autojump_clock: MockClock) -> None:
    run = Run(Script("okx", quote(1), quote(2), 5.0, quote(3)), kept=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.engine.run)
        await trio.sleep(2)
        assert run.counts.rates() == "1 records/s, 1 rows/s, 0 late, 0 dropped"
        await trio.sleep(2)
        assert run.counts.rates() == "0 records/s, 0 rows/s, 0 late, 0 dropped"
    assert run.counts.total() == "3 records, 3 rows, 0 late, 0 dropped"
