"""A feed that goes on behind the trades of an earlier start, on a virtual clock.

Every trade that the exchange made while the service was down is back-filled, or a GAP or a STATUS
names it. None comes twice after the start.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any, TypeVar

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fanout.channel.memory import Memory, Remembered
from fanout.config import FeedConfig
from fanout.errors import VenueUnreachableError
from fanout.feed import market
from fanout.feed.resumption import CATCH_UP_S
from fanout.protocol import Gap, Status, Trade
from fanout.venues import BinanceUsdm, Continuity, Request
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.fanout.feed.test_healing import words
from tests.fanout.feed.toy import ToyVenue
from tests.stand.account import spans_of
from tests.stand.kept_past import KeptPast, remembered
from tests.stand.loopback import Exchange, Row
from tests.thoroughness import examples

BTC, ETH = "BTCUSDT", "ETHUSDT"
CONNECTING = ("", "CONNECTING")

T = TypeVar("T")


class Reluctant(Exchange):
    """It may answer only so many requests for trades."""

    answers = inf

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        if request.path.endswith("/trades"):
            self.answers -= 1
            if self.answers < 0:
                raise VenueUnreachableError("no answer from REST")
        return await super().fetch(request, parse)


@asynccontextmanager
async def run(
    exchange: Exchange, memory: Memory | None = None, **options: Any
) -> AsyncIterator[RunningFeed]:
    """A start that goes on from `memory`, and ends in good order."""
    async with running_feed(exchange, past=KeptPast(memory), **options) as running:
        yield running
        running.feed.finish(goes_on=True)
        running.read()


def kept(running: RunningFeed, before: Memory | None = None, *, is_orderly: bool = True) -> Memory:
    """What is remembered of a start."""
    running.read()
    symbols = running.exchange.rows
    return remembered(running.records, *symbols, before=before, is_orderly=is_orderly)


async def first_start(exchange: Exchange, **options: Any) -> Memory:
    """A start that brings three trades of each symbol."""
    async with run(exchange, **options) as running:
        for symbol in exchange.rows:
            exchange.trade(symbol, "MARKET", "MARKET", "MARKET")
        await trio.sleep(1)
    memory = kept(running)
    assert _short(running.publisher.memory()) == _short(memory)
    return memory


def _short(memory: Memory) -> object:
    return {
        symbol: (each.newest and each.newest.trade_id, each.next_id, each.gaps)
        for symbol, each in memory.symbols.items()
    }


def hold(running: RunningFeed, *, since: int, symbol: str = BTC) -> None:
    """The oracle: what became of each trade from the place `since` on."""
    trades, opened, closed = running.accounted(symbol)
    assert max(Counter(trades).values(), default=1) == 1, "no trade comes twice"
    assert Counter(opened) == Counter(closed), "each gap has its outcome"
    rows = [each for each in running.exchange.rows[symbol][since:] if each.is_recorded]
    assert not {each.trade_id for each in rows} - {*trades, *closed}, "nothing is lost in silence"


@pytest.mark.parametrize("missed", [0, 1, 3])
async def test_trades_of_the_time_without_a_service_are_the_first_records(
    missed: int, autojump_clock: MockClock
) -> None:
    exchange = Exchange(BTC)
    memory = await first_start(exchange)
    for _ in range(missed):
        exchange.trade(BTC)
    async with run(exchange, memory) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        filled = [f"{3 + each}+" for each in range(missed)]
        gap = (3, 2 + missed)
        gaps = [[(*gap, "OPEN")], [(*gap, "BACK_FILLED")]] if missed else [[], []]
        expected = [*gaps[0], *filled, *gaps[1], CONNECTING]
        assert running.told()[: len(expected)] == expected
    hold(running, since=3)
    assert running.publisher.preceding == 0
    assert running.feed.stats().anomalies == {}


async def test_what_rest_does_not_reach_is_unrecoverable(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, reach=100)
    memory = await first_start(exchange)
    exchange.trade(BTC, *["MARKET"] * 2_000)
    async with run(exchange, memory) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        told = running.told()
        assert told[0] == (3, 2_002, "OPEN")
        assert told[1:101] == [f"{each}+" for each in range(1_903, 2_003)]
        assert told[101:103] == [(3, 1_902, "UNRECOVERABLE"), (1_903, 2_002, "BACK_FILLED")]
    hold(running, since=3)


async def test_an_id_that_was_spent_for_nothing_is_no_trade(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    memory = await first_start(exchange)
    exchange.trade(BTC, "MARKET", "NA", "MARKET")
    async with run(exchange, memory) as running:
        assert running.told()[:6] == [
            *[(3, 5, "OPEN"), "3+", "5+"],
            *[(3, 3, "BACK_FILLED"), (4, 4, "NO_TRADE"), (5, 5, "BACK_FILLED")],
        ]


async def test_trades_that_rest_shows_late_are_missing_until_it_does(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = Exchange(BTC)
    memory = await first_start(exchange)
    rows = exchange.rows[BTC]
    exchange.rows[BTC] = rows[:2]  # REST is behind even what the stream has brought
    async with run(exchange, memory) as running:
        exchange.rows[BTC] = rows
        exchange.trade(BTC, skip=True)
        exchange.trade(BTC)
        await trio.sleep(3)
        told = [each for each in running.told() if not isinstance(each, tuple) or len(each) == 3]
        assert told == [4, (3, 3, "OPEN"), "3+", (3, 3, "BACK_FILLED")]
    hold(running, since=3)


async def test_the_stream_begins_if_rest_refuses_for_long(autojump_clock: MockClock) -> None:
    exchange = Reluctant(BTC)
    memory = await first_start(exchange)
    exchange.trade(BTC, "MARKET", "MARKET")
    began_s, exchange.answers = trio.current_time(), 1
    async with run(exchange, memory) as running:
        assert running.told() == [(3, 4, "OPEN")], "nothing is connected yet"
        await trio.sleep(CATCH_UP_S + 1)
        assert exchange.opened[-1][0] == began_s + CATCH_UP_S
        exchange.trade(BTC)
        await trio.sleep(1)
        assert 5 in running.told()
        exchange.answers = inf
        await trio.sleep(10)
        assert running.told() == ["3+", "4+", (3, 4, "BACK_FILLED")]
    hold(running, since=3)


async def test_an_open_gap_is_told_in_each_start_until_its_outcome_is_known(
    autojump_clock: MockClock,
) -> None:
    exchange = Reluctant(BTC)
    memory = await first_start(exchange)
    exchange.trade(BTC, "MARKET", "MARKET")
    for later in range(2):
        exchange.answers = 1
        async with run(exchange, memory) as running:
            await trio.sleep(CATCH_UP_S + 1)
            exchange.trade(BTC)
            await trio.sleep(1)
            exchange.trade(BTC, skip=True)
        gaps = [(3, 4, "OPEN"), (6, 6, "OPEN")]
        assert [each for each in map(_gap, running.records) if each] == gaps[: 1 + later]
        memory = kept(running, memory)
    exchange.answers = inf
    async with run(exchange, memory) as running:
        await trio.sleep(1)
        told = running.told()
        assert told[:2] == [(3, 4, "OPEN"), (6, 6, "OPEN")]
    hold(running, since=8)


def _gap(record: object) -> tuple[int, int, str] | None:
    if not isinstance(record, Gap):
        return None
    return record.first_id % 1_000_000, record.last_id % 1_000_000, record.state.name


async def test_ids_that_were_skipped_just_before_a_kill_are_missing(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, past=KeptPast()) as running:
        exchange.trade(BTC, "MARKET", "MARKET")
        exchange.trade(BTC, skip=True)
        exchange.trade(BTC)
        await trio.sleep(0.1)
    async with run(exchange, kept(running, is_orderly=False)) as running:
        assert running.told()[:3] == [(2, 2, "OPEN"), "2+", (2, 2, "BACK_FILLED")]


@pytest.mark.parametrize("first_stream", ["trade", "aggTrade"])
async def test_another_kind_of_stream_is_told_with_the_time(
    first_stream: str, autojump_clock: MockClock
) -> None:
    exchange = Exchange(BTC)
    memory = await first_start(exchange, config=FeedConfig(stream=first_stream))
    await trio.sleep(7)
    exchange.trade(BTC, "MARKET", "MARKET")
    other = "trade" if first_stream == "aggTrade" else "aggTrade"
    async with run(exchange, memory, config=FeedConfig(stream=other)) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
    (said,) = words(running)
    assert said == (
        "trades between 2026-09-21 14:13:20.000 and 2026-09-21 14:13:28.000 may be missing: "
        "the service takes another kind of stream than before its restart"
    )
    assert isinstance(running.records[0], Status)
    trades = [each for each in running.records if isinstance(each, Trade)]
    assert [each.trade_id % 1_000_000 for each in trades] == [5 if other == "trade" else 7_005]


async def test_where_only_a_gap_is_remembered_no_time_is_made_up(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    exchange.trade(BTC)
    memory = Memory(
        epoch_ns=1, next_seq=2, time_ns=0, symbols={BTC: Remembered(None, 10, ((6, 9),))}
    )
    async with run(exchange, memory) as running:
        await trio.sleep(1)
    assert words(running)[0] == (
        "trades before 2026-09-21 14:13:20.000 may be missing: the venue restarted its trade ids"
    )


@pytest.mark.parametrize("is_known", [True, False])
async def test_ids_that_began_anew_are_told_with_the_time(
    is_known: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if REST tells the newest trade of a symbol only later."""
    monkeypatch.setattr(market, "FEW", 10 if is_known else 0)
    exchange = Exchange(BTC)
    memory = await first_start(exchange)
    await trio.sleep(7)
    exchange.rows[BTC] = exchange.trade(BTC, "MARKET", "MARKET")
    for each in exchange.rows[BTC]:
        each.trade_id -= 7_999_999_000
    async with run(exchange, memory) as running:
        await trio.sleep(1)
        exchange.trade(BTC)
        await trio.sleep(1)
        assert 1_005 in running.told()
    assert "may be missing: the venue restarted its trade ids" in words(running)[0]


async def test_of_many_symbols_the_newest_trades_are_learned_beside_the_stream(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market, "FEW", 0)
    exchange = Exchange(BTC, ETH)
    memory = await first_start(exchange)
    exchange.trade(BTC, "MARKET", "MARKET")
    exchange.trade(ETH, "MARKET", "MARKET")
    async with run(exchange, memory) as running:
        exchange.trade(ETH)
        await trio.sleep(10)
        assert running.told()[0] == CONNECTING
    hold(running, since=3)
    hold(running, since=3, symbol=ETH)


async def test_a_symbol_that_is_new_begins_as_ever(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    memory = await first_start(exchange)
    del memory.symbols[ETH]
    exchange.trade(BTC)
    exchange.trade(ETH)
    async with run(exchange, memory) as running:
        exchange.trade(ETH)
        await trio.sleep(1)
    assert running.accounted(ETH)[0] == [8_000_000_004]


@pytest.mark.parametrize("continuity", [Continuity.SEQUENCE, Continuity.NOTHING])
@pytest.mark.parametrize("missed", [0, 3])
async def test_where_ids_prove_nothing_rest_is_asked_first(
    missed: int,
    continuity: Continuity,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ToyVenue, "continuity", continuity)
    exchange = Exchange(BTC)
    memory = await first_start(exchange, venue_class=ToyVenue)
    await trio.sleep(1)
    for _ in range(missed):
        exchange.trade(BTC)
    async with run(exchange, memory, venue_class=ToyVenue) as running:
        filled = [f"{3 + each}+" for each in range(missed)]
        assert running.told()[: missed + 1] == [*filled, CONNECTING]
        exchange.trade(BTC)
        await trio.sleep(20)
        assert [each for each in running.told() if not isinstance(each, tuple)] == [3 + missed]
    assert words(running) == []
    assert running.feed.stats().anomalies == {}


async def test_where_ids_prove_nothing_a_status_tells_that_rest_is_still_asked(
    autojump_clock: MockClock,
) -> None:
    exchange = Reluctant(BTC)
    memory = await first_start(exchange, venue_class=ToyVenue)
    exchange.trade(BTC)
    exchange.answers = 1
    async with run(exchange, memory, venue_class=ToyVenue) as running:
        await trio.sleep(CATCH_UP_S + 1)
        exchange.answers = inf
        (said,) = words(running)
        assert said == (
            "trades between 2026-09-21 14:13:20.000 and 2026-09-21 14:13:26.001 may be missing: "
            "REST has not answered yet"
        )
        await trio.sleep(20)
        assert [each for each in running.told() if not isinstance(each, tuple)] == ["3+"]


async def test_where_ids_prove_nothing_what_a_kill_left_unfetched_is_fetched(
    autojump_clock: MockClock,
) -> None:
    exchange = Reluctant(BTC)
    memory = await first_start(exchange, venue_class=ToyVenue)
    async with running_feed(exchange, past=KeptPast(memory), venue_class=ToyVenue) as running:
        exchange.answers = 0
        exchange.sockets[0].break_off()
        await trio.sleep(0.1)
        exchange.trade(BTC)
        await trio.sleep(2)
        exchange.trade(BTC)
        await trio.sleep(1)
    exchange.answers = inf
    async with run(exchange, kept(running, memory), venue_class=ToyVenue) as running:
        assert running.told()[0] == "3+"


async def test_where_ids_prove_nothing_a_status_names_what_rest_does_not_reach(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, reach=2)
    memory = await first_start(exchange, venue_class=ToyVenue)
    for _ in range(4):
        await trio.sleep(1)
        exchange.trade(BTC)
    async with run(exchange, memory, venue_class=ToyVenue) as running:
        await trio.sleep(20)
        assert [each for each in running.told() if not isinstance(each, tuple)] == ["5+", "6+"]
    assert words(running) == [
        (
            "trades between 2026-09-21 14:13:20.000 and 2026-09-21 14:13:24.000 may be missing: "
            "REST reaches back to 2026-09-21 14:13:24.000"
        )
    ]


class Epoch(msgspec.Struct):
    """What happens in one start, and until the next one."""

    events: list[str]
    """Ids that the exchange uses: T a trade, N an id that is spent, S a trade that the stream does
    not deliver; and W, a pause."""
    is_killed: bool
    answers: float
    """How many requests for trades REST answers."""
    missed: int


EPOCHS = st.builds(
    Epoch,
    events=st.lists(st.sampled_from("TTTSNW"), max_size=8),
    is_killed=st.booleans(),
    answers=st.sampled_from([1, 2, inf, inf]),
    missed=st.integers(0, 4),
)


class Story:
    """Several starts of a service, of which some are killed."""

    def __init__(self, exchange: Reluctant, venue_class: type[BinanceUsdm]) -> None:
        self.exchange = exchange
        self._venue_class = venue_class
        self._memory: Memory | None = None
        self.came: set[int] = set()
        self.statuses: list[Status] = []

    async def play(self, epochs: list[Epoch]) -> Remembered:
        """What is known in the end, after a start to which REST answers everything."""
        self._memory = await first_start(self.exchange, venue_class=self._venue_class)
        for each in [*epochs, Epoch([], False, inf, 0)]:
            await self._start(each)
            for _ in range(each.missed):
                await trio.sleep(0.3)
                self.exchange.trade(BTC)
        return self._memory.symbols[BTC]

    async def _start(self, epoch: Epoch) -> None:
        self.exchange.answers = epoch.answers
        past, before = KeptPast(self._memory), self._memory
        async with running_feed(self.exchange, past=past, venue_class=self._venue_class) as running:
            await trio.sleep(CATCH_UP_S + 1)
            for each in epoch.events:
                await self._happen(each)
            if not epoch.is_killed:
                running.feed.finish(goes_on=True)
        trades, opened, closed = running.accounted(BTC)
        assert max(Counter(trades).values(), default=1) == 1, "no trade comes twice in an epoch"
        assert not Counter(closed) - Counter(opened)
        self.came |= set(trades)
        self.statuses += [each for each in running.records if isinstance(each, Status)]
        self._memory = kept(running, before, is_orderly=not epoch.is_killed)

    async def _happen(self, event: str) -> None:
        match event:
            case "T" | "N":
                self.exchange.trade(BTC, "NA" if event == "N" else "MARKET")
            case "S" if self._venue_class is ToyVenue:
                self.exchange.sockets[0].break_off()
                await trio.sleep(0.01)
                self.exchange.trade(BTC)
                await trio.sleep(2)
            case "S":
                self.exchange.trade(BTC, skip=True)
        await trio.sleep(2 if event == "W" else 0.01)

    @property
    def nowhere(self) -> list[Row]:
        """Trades that never came."""
        rows = self.exchange.rows[BTC][3:]
        return [each for each in rows if each.is_recorded and each.trade_id not in self.came]


@given(st.lists(EPOCHS, min_size=1, max_size=4))
@settings(max_examples=examples(10), deadline=None)
def test_over_any_starts_each_trade_comes_in_the_end(epochs: list[Epoch]) -> None:
    async def play() -> None:
        story = Story(Reluctant(BTC), BinanceUsdm)
        assert (await story.play(epochs)).gaps == ()
        assert not story.nowhere

    trio.run(play, clock=MockClock(autojump_threshold=0))


@given(st.lists(EPOCHS, min_size=1, max_size=4))
@settings(max_examples=examples(10), deadline=None)
def test_where_ids_prove_nothing_a_status_names_each_trade_that_never_comes(
    epochs: list[Epoch],
) -> None:
    async def play() -> None:
        story = Story(Reluctant(BTC), ToyVenue)
        await story.play(epochs)
        spans = [*spans_of(BTC, story.statuses)]
        for row in story.nowhere:
            assert any(each.begin_ms <= row.time <= each.end_ms for each in spans)

    trio.run(play, clock=MockClock(autojump_threshold=0))
