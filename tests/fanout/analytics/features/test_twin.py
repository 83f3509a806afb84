"""The compiled `Features` gives what the plain class gives, each value and each reason."""

import gc
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.analytics.features.features import twin
from fanout.analytics.features.settings import MAX_ENTRIES, FeatureSettings
from fanout.analytics.features.stoikov import MicropriceFit
from fanout.protocol import (
    Absence,
    BookFlags,
    BookUpdate,
    FeatureRow,
    Instrument,
    OrderBook,
    Trade,
    pack_levels,
)
from fanout.protocol.constants import I64_MAX, I64_MIN, U64_MAX
from tests.thoroughness import examples
from tests.twins import twins_of

MODULE = "fanout.analytics.features._features"
MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
SETTINGS = FeatureSettings(
    quantity_bps=(10, 20, 5_000, 10_000),
    wap_bps=(10, 30),
    wap_lags_ms=(1, 3, 100),
    liquidity_bps=(1, 10),
    level_bps=(10, 10_000),
    queue_levels=(1, 2, 70),
    order_flow_ms=(1, 5, 40),
    trade_flow_ms=(2, 50),
    vwap_ms=(2, 7),
    intensity_ms=(1, 50),
    volatility_ms=(20, 45),
    volatility_sample_ms=10,
)
FIT = MicropriceFit(
    symbol="BTCUSDT",
    venue="binance",
    price_exponent=-2,
    tick=1,
    epochs_ns=(1,),
    first_ns=1,
    last_ns=2,
    fitted_ns=3,
    observations=9,
    ticks=((-0.7, 0.1, 0.3), (None, 0.25, 1.5)),
)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    twins_of(MODULE)


class Both:
    """A compiled and a plain `Features` that get the same calls."""

    def __init__(self, settings: FeatureSettings = SETTINGS, **of_instrument: Any) -> None:
        its: dict[str, Any] = {"price_exponent": -2, "quantity_exponent": -3, "tick": 1}
        self.instrument = Instrument(index=0, symbol="BTCUSDT", **its | of_instrument)
        classes: list[Callable[..., Any]] = [_compiled(), twin.plain["Features"]]
        fit = replace(FIT, price_exponent=self.instrument.price_exponent)
        self.them = [make(settings, self.instrument, fit=fit) for make in classes]
        self.now_ns = START_NS
        self.book: OrderBook = twins_of("fanout.protocol._book").OrderBook(self.instrument)
        self.call("begin")

    def call(self, name: str, *arguments: Any, **options: Any) -> None:
        for each in self.them:
            getattr(each, name)(self.now_ns, *arguments, **options)

    def set(self, name: str, *arguments: Any) -> None:
        for each in self.them:
            getattr(each, name)(*arguments)

    def show(
        self,
        bids: Any,
        asks: Any,
        flags: BookFlags = BookFlags.NONE,
        *,
        is_anew: bool = False,
        is_ahead: bool = False,
    ) -> None:
        its_flags = BookFlags.WHOLE | flags
        self.book.apply(
            BookUpdate(self.instrument, 1, 1, pack_levels(bids), pack_levels(asks), its_flags)
        )
        self.call("take_book", self.book, is_anew=is_anew, is_ahead=is_ahead)

    def trade(self, price: int, quantity: int, is_sell: bool) -> None:
        self.call("take_trade", Trade(self.instrument, 1, 1, price, quantity, is_sell))

    def row(self) -> FeatureRow:
        """The row of both, which is the same."""
        compiled, plain = (each.row(self.now_ns) for each in self.them)
        assert compiled == plain
        assert [each.best for each in self.them[:1]] == [each.best for each in self.them[1:]]
        assert self.them[0].starts == self.them[1].starts
        return compiled


def _compiled() -> Callable[..., Any]:
    compiled: Callable[..., Any] = twins_of(MODULE).Features
    return compiled


PRICES = st.one_of(st.integers(9_990, 10_010), st.integers(1, 20_000), st.integers(-30, 30))
QUANTITIES = st.one_of(st.integers(1, 30), st.integers(1, 10**12), st.integers(2**55, U64_MAX))
HUGE = st.one_of(st.integers(I64_MIN, I64_MAX), st.integers(I64_MAX - 9, I64_MAX), PRICES)
SIDES = st.lists(st.tuples(PRICES, QUANTITIES), max_size=6, unique_by=lambda level: level[0])
HUGE_SIDES = st.lists(st.tuples(HUGE, QUANTITIES), max_size=4, unique_by=lambda level: level[0])
WHY = st.sampled_from([int(each) for each in Absence if each])
STEPS_NS = st.one_of(st.sampled_from([0, 1, MS, 10 * MS]), st.integers(0, 30 * MS))
RARELY = st.sampled_from([False, False, False, True])
FLAGS = st.sampled_from([BookFlags.NONE, BookFlags.NONE, BookFlags.TOP_ONLY])


def calls(sides: Any, prices: Any) -> Any:
    """A name, and arguments."""
    return st.one_of(
        st.tuples(st.just("show"), sides, sides, FLAGS, RARELY, RARELY),
        st.tuples(st.just("trade"), prices, QUANTITIES, st.booleans()),
        st.tuples(st.just("lose_book"), WHY),
        st.tuples(st.just("hide_book"), WHY),
        st.tuples(st.just("lose_trades"), WHY),
        st.tuples(st.just("resume_trades"), WHY),
        st.tuples(st.just("expect_trades")),
    )


def play(both: Both, story: list[tuple[int, tuple[Any, ...]]]) -> None:
    for step_ns, (name, *arguments) in story:
        both.now_ns += step_ns
        match name:
            case "show":
                *book, is_anew, is_ahead = arguments
                both.show(*book, is_anew=is_anew, is_ahead=is_ahead)
            case "trade":
                both.trade(*arguments)
            case "lose_trades" | "expect_trades":
                both.set(name, *arguments)
            case _:
                both.call(name, *arguments)
        both.row()


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(STEPS_NS, calls(SIDES, PRICES)), max_size=30))
def test_any_story_gives_the_same_rows(story: Any) -> None:
    play(Both(), story)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.integers(-18, 8),
    st.integers(-18, 8),
    st.lists(st.tuples(STEPS_NS, calls(HUGE_SIDES, HUGE)), max_size=12),
)
def test_numbers_beyond_all_reason_give_the_same_rows(
    price_exponent: int, quantity_exponent: int, story: Any
) -> None:
    both = Both(price_exponent=price_exponent, quantity_exponent=quantity_exponent, tick=0)
    play(both, story)


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(1, 10**9), st.integers(0, 400), st.integers(1, 400), FLAGS, st.booleans())
def test_a_deep_book_gives_the_same_row(
    best: int, bids: int, asks: int, flags: BookFlags, is_heavy: bool
) -> None:
    both = Both()
    quantity = 2**60 if is_heavy else 3
    both.show(
        [(best - 3 * at, quantity + at) for at in range(bids)],
        [(best + 1 + 2 * at, quantity + at) for at in range(asks)],
        flags,
    )
    both.row()


@pytest.mark.parametrize("has_books", [False, pytest.param(True, marks=pytest.mark.long)])
def test_more_entries_than_are_kept_are_absent_alike(has_books: bool) -> None:
    window_ms = MAX_ENTRIES + 1
    both = Both(
        FeatureSettings(
            order_flow_ms=(5, window_ms),
            wap_lags_ms=(5, window_ms),
            trade_flow_ms=(5, window_ms),
            volatility_ms=(),
        )
    )
    both.set("expect_trades")
    both.call("resume_trades", int(Absence.WARMING_UP))
    for at in range(MAX_ENTRIES + 5):
        both.now_ns += MS
        if has_books:
            both.show([(100, 1 + at % 7)], [(101, 2)])
        both.trade(100, 1, False)
    absences = both.row().absences
    assert absences.count(int(Absence.OTHER)) == (3 if has_books else 2)
    both.now_ns += MS
    assert int(Absence.OTHER) not in both.row().absences  # the window begins behind what is gone


def test_a_mid_that_falls_to_almost_nothing_has_a_finite_return() -> None:
    both = Both()
    both.show([(2**62, 1)], [(2**62 + 1, 1)])
    both.now_ns += 11 * MS
    both.show([(0, 1)], [(1, 1)])
    both.now_ns += 14 * MS  # the samples of the window are those at 10 and 20 ms
    value = both.row().values[SETTINGS.columns.index("volatility_20ms")]
    assert value == pytest.approx(math.log(2**63 + 1) / 0.1)


def test_a_book_that_is_not_whole_yet_has_no_sides() -> None:
    both = Both()
    levels = pack_levels([(100, 1)]), pack_levels([(101, 1)])
    both.book.apply(BookUpdate(both.instrument, 1, 1, *levels, BookFlags.WHOLE | BookFlags.MORE))
    both.call("take_book", both.book)
    assert both.row().absences[0] == Absence.ONE_SIDED


def test_settings_of_another_kind_never_overflow() -> None:
    its = {name: getattr(SETTINGS, name) for name in SETTINGS.__struct_fields__}
    for name in its:
        if name != "volatility_sample_ms":
            strange = SimpleNamespace(**its | {name: tuple(range(1, 18))})
            with pytest.raises(ValueError, match="17 values in one list, more than 16"):
                _compiled()(strange, Both().instrument)


def test_a_book_is_wanted_and_nothing_else() -> None:
    compiled = _compiled()(
        SETTINGS, Instrument(index=0, symbol="B", price_exponent=0, quantity_exponent=0)
    )
    with pytest.raises(TypeError):
        compiled.take_book(1, None)


def test_features_that_the_garbage_collector_takes_apart_are_freed() -> None:
    for _ in range(20):
        both = Both()
        both.show([(100, 1)], [(101, 1)])
        owner: dict[str, Any] = {"features": both.them[0]}
        owner["itself"] = owner
        del both, owner
    gc.collect()  # clears the oldest objects of a cycle first, and the features are older


def test_memory_grows_with_a_burst_and_shrinks_after_it() -> None:
    both = Both()
    before = both.them[0].__sizeof__()
    for at in range(2_000):
        both.now_ns += 1
        both.trade(1, 1, True)
        both.show([(100, 1 + at % 2)], [(101, 1)])
    burst = both.them[0].__sizeof__()
    assert burst > before + 2_000 * 100
    for at in range(12):
        both.now_ns += 200 * MS
        both.trade(1, 1, True)
        both.show([(100, 1 + at % 2)], [(101, 1)])
    both.row()
    assert both.them[0].__sizeof__() < before + 20_000
