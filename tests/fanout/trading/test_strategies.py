"""The strategies, against the figures of their papers, rounded to tick and lot."""

import math

import pytest
from msgspec.structs import replace

from fanout.protocol import InstrumentType, Level
from fanout.trading.errors import LimitsError, StrategyError
from fanout.trading.strategies.avellaneda_stoikov import AvellanedaStoikov
from fanout.trading.strategies.base import Quoted, View
from fanout.trading.strategies.basic import Basic
from fanout.trading.strategies.glft import Glft
from fanout.trading.strategies.rounding import quotes_of, sizes
from tests.fanout.trading.world import X

TENTHS = replace(X, price_exponent=-1, quantity_exponent=-1, tick=1, lot=1)
FINE = replace(X, price_exponent=-6, quantity_exponent=0, tick=1, lot=1)


def view(instrument=X, bid: int = 99, ask: int = 101, position: int = 0) -> View:  # type: ignore[no-untyped-def]
    return View(
        time_ns=0,
        instrument=instrument,
        bid=Level(bid, 10),
        ask=Level(ask, 10),
        position=position,
    )


STOIKOV = AvellanedaStoikov(gamma=0.1, sigma=2, k=1.5, tau=1, quantity=1, position_limit=100)
BITCOIN = AvellanedaStoikov(gamma=0.01, sigma=3, k=0.5, tau=60, quantity=10, position_limit=1000)
GLFT = Glft(gamma=0.1, sigma=2, k=1.5, a=140, delta=1, quantity=1, position_limit=100)


@pytest.mark.parametrize(
    ("held", "bid", "ask"),
    [(0, 99.154615, 100.845385), (2, 98.354615, 100.045385), (-2, 99.954615, 101.645385)],
)
def test_avellaneda_and_stoikov(held: float, bid: float, ask: float) -> None:
    assert round(STOIKOV.spread, 6) == 1.690770
    assert [round(each, 6) for each in STOIKOV.prices(100, held)] == [bid, ask]


def test_their_quotes_at_a_tick_of_a_tenth() -> None:
    assert round(BITCOIN.spread, 6) == 9.360525
    quotes = BITCOIN.quote(view(TENTHS, 599_999, 600_001))
    assert (quotes.bids, quotes.asks) == ((Quoted(599_953, 10),), (Quoted(600_047, 10),))
    assert (quotes.fair_value, quotes.skew, quotes.clamps) == (60_000, 0, ())


def test_post_only_lifts_an_ask_that_the_position_pushed_below_the_bid() -> None:
    assert [round(each, 1) for each in BITCOIN.prices(60_000, 1.5)] == [59_987.2, 59_996.6]
    quotes = BITCOIN.quote(view(TENTHS, 599_999, 600_001, position=15))
    assert quotes.bids == (Quoted(599_872, 10),)
    assert quotes.asks == (Quoted(600_000, 10),)
    assert round(quotes.skew, 6) == -8.1
    assert "post-only lifts the ask above the best bid" in quotes.clamps


def test_post_only_lowers_a_bid_that_the_position_pushed_above_the_ask() -> None:
    quotes = BITCOIN.quote(view(TENTHS, 599_999, 600_001, position=-15))
    assert quotes.bids == (Quoted(600_000, 10),)
    assert quotes.asks == (Quoted(600_128, 10),)
    assert "post-only lowers the bid below the best ask" in quotes.clamps


def test_gueant_lehalle_and_fernandez_tapia() -> None:
    assert (round(GLFT.c1, 6), round(GLFT.c2, 6)) == (0.645385, 0.025859)
    assert [round(each, 6) for each in GLFT.distances(2)] == [0.774678, 0.567809]


def test_their_quotes_are_rounded_outwards() -> None:
    quotes = GLFT.quote(view(FINE, 99_999_999, 100_000_001, position=2))
    assert (quotes.bids[0].price, quotes.asks[0].price) == (99_225_321, 100_567_810)
    assert round(quotes.skew, 6) == -0.103434


BASIC = Basic(
    spread_bps=200, min_spread=0.5, max_spread=5, skew_bps=100, quantity=10, position_limit=20
)


def test_the_basic_strategy_quotes_around_the_mid() -> None:
    quotes = BASIC.quote(view(TENTHS, 999, 1001))
    assert (quotes.bids, quotes.asks) == ((Quoted(990, 10),), (Quoted(1010, 10),))


@pytest.mark.parametrize(
    ("position", "bid", "ask"),
    [
        (10, Quoted(985, 5), Quoted(1005, 10)),
        (20, None, Quoted(1000, 10)),
        (25, None, Quoted(1000, 10)),
        (-10, Quoted(995, 10), Quoted(1015, 5)),
        (-20, Quoted(1000, 10), None),
    ],
)
def test_the_side_that_increases_the_position_shrinks_to_zero_at_the_limit(
    position: int, bid: Quoted | None, ask: Quoted | None
) -> None:
    quotes = BASIC.quote(view(TENTHS, 999, 1001, position))
    assert (quotes.bids[0].quantity if quotes.bids else 0) == (bid.quantity if bid else 0)
    assert (quotes.asks[0].quantity if quotes.asks else 0) == (ask.quantity if ask else 0)
    if abs(position) <= 20:
        assert quotes.bids == ((bid,) if bid else ())
        assert quotes.asks == ((ask,) if ask else ())
    assert f"the position of {position / 10:.1f} shrinks one side" in quotes.clamps


def test_the_spread_is_bounded_and_says_so() -> None:
    quotes = BASIC.quote(view(TENTHS, 9_999, 10_001))
    assert (quotes.bids[0].price, quotes.asks[0].price) == (9_975, 10_025)
    assert quotes.clamps == ("the spread of 20 is bounded to 5",)


def test_a_position_in_contracts_is_held_in_units_of_the_base() -> None:
    """100 contracts of 0.01 coins; and 40 contracts of 10 dollars, with the coin at 100."""
    hundredths = replace(X, contract_mantissa=1, contract_exponent=-2)
    assert view(hundredths, position=100).held == 1.0
    dollars = replace(X, contract_mantissa=10, type=InstrumentType.INVERSE_PERPETUAL)
    assert view(dollars, position=-40).held == -4.0


def test_sizes_are_lots_and_what_closes_may_not_open_beyond_the_limit() -> None:
    lots = replace(X, lot=3)
    assert sizes(view(lots), quantity=10, position_limit=50)[:2] == (9, 9)
    assert sizes(view(lots, position=4), quantity=100, position_limit=20)[:2] == (15, 24)
    assert sizes(view(lots, position=-4), quantity=100, position_limit=20)[:2] == (24, 15)


def test_one_lot_stays_until_the_limit_is_reached() -> None:
    lots = replace(X, lot=5)
    sized = [
        sizes(view(lots, position=each), quantity=5, position_limit=20)[0]
        for each in (0, 5, 15, 16, 20)
    ]
    assert sized == [5, 5, 5, 0, 0]


def test_a_price_that_is_a_tick_but_for_rounding_stays_on_it() -> None:
    tick = replace(X, price_exponent=-1, tick=1)
    quotes = quotes_of(
        view(tick, 1, 10_000),
        bid=0.7 * 3,  # 2.0999999999999996
        ask=99.1,
        fair_value=1,
        skew=0,
        quantity=1,
        position_limit=1,
    )
    assert (quotes.bids[0].price, quotes.asks[0].price) == (21, 991)


def test_a_whole_exponent_is_a_coarser_unit() -> None:
    hundreds = replace(X, price_exponent=2)
    assert view(hundreds).mid == 10_000
    quotes = Basic(
        spread_bps=400, min_spread=1, max_spread=1e6, skew_bps=0, quantity=1, position_limit=1
    ).quote(view(hundreds))
    assert (quotes.bids[0].price, quotes.asks[0].price) == (98, 102)


def test_a_bid_of_nothing_is_left_out() -> None:
    wide = Basic(
        spread_bps=30_000, min_spread=1, max_spread=1e9, skew_bps=0, quantity=1, position_limit=1
    )
    assert wide.quote(view()).bids == ()


@pytest.mark.parametrize(
    ("bid", "ask", "why"),
    [
        (math.nan, 1.0, "quotes of nan and 1.0 are not finite"),
        (1.0, math.inf, "quotes of 1.0 and inf are not finite"),
        (2.0, 1.0, "the bid of 2.0 is above the ask of 1.0"),
    ],
)
def test_prices_that_nobody_can_mean_are_refused(bid: float, ask: float, why: str) -> None:
    with pytest.raises(StrategyError, match=why):
        quotes_of(view(), bid=bid, ask=ask, fair_value=1, skew=0, quantity=1, position_limit=1)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize(
    ("strategy", "name"),
    [(BASIC, "spread_bps"), (STOIKOV, "gamma"), (GLFT, "a"), (BASIC, "quantity")],
)
def test_settings_that_are_not_above_zero_are_refused(
    strategy: Basic, name: str, value: float
) -> None:
    with pytest.raises(LimitsError, match=f"{name} is"):
        replace(strategy, **{name: value})


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(LimitsError, match="min_spread 6 is above max_spread 5"):
        replace(BASIC, min_spread=6)
    with pytest.raises(LimitsError, match="skew_bps is -1"):
        replace(BASIC, skew_bps=-1)
