"""The compiled quotes are those of the plain functions: the same integers, doubles and errors."""

import gc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import InstrumentType, Level
from fanout.trading.strategies.avellaneda_stoikov import AvellanedaStoikov
from fanout.trading.strategies.base import Quoted, Quotes, Stateless, View
from fanout.trading.strategies.basic import Basic
from fanout.trading.strategies.glft import Glft
from fanout.trading.strategies.speedups import twin
from tests.fanout.trading.world import X
from tests.twins import outcome, twins_of

MODULE = "fanout.trading.strategies._quotes"
HUGE = 2**70

settings_of_any_size = st.floats(min_value=1e-12, max_value=1e12, allow_nan=False)
settings = st.floats(min_value=1e-3, max_value=1e3) | settings_of_any_size
prices = st.integers(1, 10**7) | st.integers(-HUGE, HUGE)
quantities = st.integers(1, 10**4) | st.integers(1, 2**62) | st.integers(1, HUGE)
steps = st.integers(0, 20) | st.integers(0, 2**40)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    twins_of(MODULE)


@st.composite
def views(draw: st.DrawFn) -> View:
    tick, bid = draw(steps), draw(prices)
    ask = bid + draw(st.integers(1, 5)) * (tick or 1)
    position = draw(st.integers(-(10**4), 10**4) | st.integers(-HUGE, HUGE))
    instrument = replace(
        X,
        price_exponent=draw(st.integers(-8, 0) | st.integers(-30, 6)),
        quantity_exponent=draw(st.integers(-8, 0) | st.integers(-30, 6)),
        tick=tick,
        lot=draw(steps),
        type=draw(st.sampled_from(InstrumentType)),
        contract_mantissa=draw(st.just(1) | st.integers(1, 10**6) | st.integers(1, HUGE)),
        contract_exponent=draw(st.just(0) | st.integers(-30, 30)),
    )
    return View(
        time_ns=0,
        instrument=instrument,
        bid=Level(bid, 1),
        ask=Level(ask, 1),
        position=position,
    )


sizes = st.fixed_dictionaries({"quantity": quantities, "position_limit": quantities})


def require_same(strategy: Stateless, view: View) -> object:
    """What both give, which is the same to the last bit. Returns it."""
    name = f"{type(strategy).__name__}_quote"
    ours = outcome(getattr(twins_of(MODULE), name), strategy, view)
    reference = outcome(plainly, name, strategy, view)
    assert repr(ours) == repr(reference)
    assert ours == reference
    return ours


def plainly(name: str, strategy: Stateless, view: View) -> object:
    """The plain `quote`, with the plain `quotes_of` below it."""
    module = __import__(type(strategy).__module__, fromlist=["quotes_of"])
    compiled = module.quotes_of
    module.quotes_of = twin.plain["quotes_of"]
    try:
        return twin.plain[name](strategy, view)
    finally:
        module.quotes_of = compiled


@given(views(), sizes, settings, settings, settings, settings)
def test_avellaneda_and_stoikov(
    view: View, sizes: dict[str, int], gamma: float, sigma: float, k: float, tau: float
) -> None:
    require_same(AvellanedaStoikov(gamma=gamma, sigma=sigma, k=k, tau=tau, **sizes), view)


@given(views(), sizes, settings, settings, settings, settings, settings)
def test_gueant_lehalle_and_fernandez_tapia(
    view: View,
    sizes: dict[str, int],
    gamma: float,
    sigma: float,
    k: float,
    a: float,
    delta: float,
) -> None:
    require_same(Glft(gamma=gamma, sigma=sigma, k=k, a=a, delta=delta, **sizes), view)


@given(views(), sizes, settings, settings, settings, st.just(0.0) | settings)
def test_basic(
    view: View, sizes: dict[str, int], bps: float, one: float, other: float, skew: float
) -> None:
    least, most = sorted((one, other))
    strategy = Basic(spread_bps=bps, min_spread=least, max_spread=most, skew_bps=skew, **sizes)
    require_same(strategy, view)


LOW = View(time_ns=0, instrument=X, bid=Level(1, 1), ask=Level(2, 1), position=0)
ANY_PRICE = st.floats() | st.floats(0, 1e6) | st.integers(0, 100)


@given(views(), ANY_PRICE, ANY_PRICE, st.integers(-5, 100), st.integers(-5, 100), st.booleans())
@example(LOW, -3.0, 5.0, 1, 1, False)  # a bid below zero, which cannot be sent
def test_quotes_of(
    view: View, bid: float, ask: float, quantity: int, limit: int, has_clamps: bool
) -> None:
    options: dict[str, Any] = {
        "bid": bid,
        "ask": ask,
        "fair_value": 1.5,
        "skew": -0.0,
        "quantity": quantity,
        "position_limit": limit,
    }
    if has_clamps:
        options["clamps"] = ("one of the strategy's own",)
    ours, reference = (
        outcome(lambda f=f: f(view, **options))  # type: ignore[misc]
        for f in (twins_of(MODULE).quotes_of, twin.plain["quotes_of"])
    )
    assert repr(ours) == repr(reference)


SIZES = {"quantity": 10, "position_limit": 1000}
STOIKOV = AvellanedaStoikov(gamma=0.01, sigma=3, k=0.5, tau=60, **SIZES)
TENTHS = replace(X, price_exponent=-1, quantity_exponent=-1, tick=1, lot=1)
BITCOIN = View(
    time_ns=0,
    instrument=TENTHS,
    bid=Level(599_999, 10),
    ask=Level(600_001, 10),
    position=0,
)


def test_the_figures_of_the_paper_come_from_both() -> None:
    quotes = require_same(STOIKOV, BITCOIN)
    assert isinstance(quotes, Quotes)
    assert (quotes.bids, quotes.asks) == ((Quoted(599_953, 10),), (Quoted(600_047, 10),))
    assert type(quotes.bids[0]) is Quoted
    lifted = require_same(STOIKOV, replace(BITCOIN, position=15))
    assert isinstance(lifted, Quotes)
    assert (lifted.bids, lifted.asks) == ((Quoted(599_872, 10),), (Quoted(600_000, 10),))


def test_clamps_are_those_of_each_call() -> None:
    wanted = [require_same(STOIKOV, replace(BITCOIN, position=each)) for each in (15, -15, 15, 7)]
    clamps = [each.clamps for each in wanted if isinstance(each, Quotes)]
    assert clamps[0] == clamps[2]
    assert len(set(clamps)) == 3


@pytest.mark.parametrize("position", [0, 15, -15, 1000])
def test_ordinary_quotes_need_no_plain_function(
    position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    glft = Glft(gamma=0.1, sigma=2, k=1.5, a=140, delta=1, **SIZES)
    basic = Basic(spread_bps=1, min_spread=1, max_spread=5, skew_bps=1, **SIZES)
    strategies = (STOIKOV, glft, basic)
    for strategy in strategies:
        require_same(strategy, replace(BITCOIN, position=position))
    monkeypatch.setattr(twin, "plain", {})
    for strategy in strategies:
        assert strategy.quote(replace(BITCOIN, position=position)).fair_value


def test_integers_as_settings_give_what_doubles_give() -> None:
    doubles = AvellanedaStoikov(
        gamma=0.01, sigma=3.0, k=0.5, tau=60.0, quantity=10, position_limit=1000
    )
    assert repr(STOIKOV) == repr(doubles)


def test_strategies_and_instruments_in_turn_give_each_its_own() -> None:
    coarse = replace(BITCOIN, instrument=replace(TENTHS, tick=100, lot=5, quantity_exponent=-3))
    for gamma in (0.1, 0.2, 0.1):
        strategies = (
            AvellanedaStoikov(gamma=gamma, sigma=3, k=0.5, tau=60, **SIZES),
            Glft(gamma=gamma, sigma=2, k=1.5, a=140, delta=1, **SIZES),
            Basic(spread_bps=gamma, min_spread=0.1, max_spread=500, skew_bps=1, **SIZES),
        )
        for strategy in strategies:
            for view in (BITCOIN, coarse, replace(BITCOIN, position=-15), coarse):
                require_same(strategy, view)


def test_a_strategy_at_the_address_of_one_that_is_gone_has_its_own_settings() -> None:
    wanted = [
        repr(AvellanedaStoikov(gamma=0.01, sigma=each, k=0.5, tau=60, **SIZES).quote(BITCOIN))
        for each in range(1, 50)
    ]
    kept = [
        AvellanedaStoikov(gamma=0.01, sigma=each, k=0.5, tau=60, **SIZES) for each in range(1, 50)
    ]
    assert wanted == [repr(require_same(each, BITCOIN)) for each in kept]


def test_an_instrument_at_the_address_of_one_that_is_gone_has_its_own_units() -> None:
    for digits in range(20):
        instrument = replace(TENTHS, price_exponent=-digits)
        require_same(STOIKOV, replace(BITCOIN, instrument=instrument))
        del instrument


def test_a_subclass_keeps_its_own_formulas() -> None:
    class Wide(AvellanedaStoikov, frozen=True, kw_only=True):
        def prices(self, mid: float, held: float) -> tuple[float, float]:
            return mid - 100, mid + 100

    wide = Wide(gamma=0.01, sigma=3, k=0.5, tau=60, quantity=10, position_limit=1000)
    assert wide.quote(BITCOIN).bids == (Quoted(599_000, 10),)


@pytest.mark.parametrize("wrong", [None, 5, object(), "view"])
def test_something_else_than_a_view_raises_what_the_plain_function_raises(wrong: Any) -> None:
    kind, _ = require_same(STOIKOV, wrong)  # type: ignore[misc]
    assert kind is AttributeError


def test_a_view_of_odd_parts_raises_what_the_plain_function_raises() -> None:
    for odd in (
        replace(BITCOIN, bid=(1, 2)),  # type: ignore[arg-type]
        replace(BITCOIN, position=None),  # type: ignore[arg-type]
        replace(BITCOIN, instrument=None),  # type: ignore[arg-type]
        replace(BITCOIN, bid=Level(1.5, 1)),  # type: ignore[arg-type]
    ):
        require_same(STOIKOV, odd)


def test_quotes_may_be_made_while_the_collector_runs() -> None:
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        made = [STOIKOV.quote(replace(BITCOIN, position=each)) for each in range(-50, 50)]
        gc.collect()
    finally:
        gc.set_threshold(*threshold)
    assert made[50].bids == (Quoted(599_953, 10),)
