from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.analytics.nbbo.assets import Asset, AssetError
from fanout.analytics.nbbo.best_prices import BestPrices, Top, Venue
from fanout.analytics.nbbo.nbbo import Best, Why
from fanout.protocol.constants import InstrumentType
from tests.fanout.analytics.nbbo_venues import (
    BTC_USDT,
    MS,
    NOW,
    Known,
    expected,
    found,
    instrument,
    venue,
)

A, B, C = 0, 1, 2


def three(**fields: Any) -> BestPrices:
    return BestPrices(BTC_USDT, [venue(name, **fields) for name in "ABC"], max_stale_ms=500)


def worked(b_bid: int = 10010) -> BestPrices:
    """A 100.0x2/100.2x1 (10 ms old), B 100.1x1/100.3x5 (20 ms), C 100.4x9/100.5x9 (900 ms)."""
    prices = three(price_exponent=-2)
    prices.update(C, (10040, 9, 10050, 9), NOW - 900 * MS)
    prices.update(B, (b_bid, 1, 10030, 5), NOW - 20 * MS)
    prices.update(A, (10000, 2, 10020, 1), NOW - 10 * MS)
    prices.advance(NOW)
    return prices


def test_the_worked_example() -> None:
    best = worked().best
    assert best.bid == Best(10010, 1, "B")
    assert best.ask == Best(10020, 1, "A")
    assert (best.mid, best.mid_decimal) == (100.15, Decimal("100.150"))
    assert (best.fresh, len(best.venues)) == (2, 3)
    assert best.whys == (Why.FRESH, Why.FRESH, Why.STALE)
    assert best.spread == 10
    assert (best.is_locked, best.crossed_by, best.crossed_quantity) == (False, 0, 0)
    assert best.why == ""


def test_a_bid_that_equals_another_venues_ask_is_locked() -> None:
    best = worked(b_bid=10020).best
    assert (best.is_locked, best.crossed_by, best.spread) == (True, 0, 0)
    assert best.crossed_quantity == 0


def test_a_bid_above_another_venues_ask_is_crossed_by_so_much_for_the_smaller_quantity() -> None:
    best = worked(b_bid=10025).best
    assert best.price_decimal(best.crossed_by) == Decimal("0.05")
    assert (best.crossed_quantity, best.is_locked) == (1, False)
    assert (best.spread, best.mid) == (-5, 100.225)


def test_a_venue_is_stale_only_when_it_is_older_than_the_limit() -> None:
    prices = three()
    prices.update(A, (1000, 2, 1002, 1), NOW)
    assert prices.at(NOW + 500 * MS).fresh == 1
    assert prices.at(NOW + 500 * MS + 1).fresh == 0
    assert not prices.advance(NOW + 500 * MS)
    assert prices.advance(NOW + 500 * MS + 1)


def test_to_look_at_a_later_moment_changes_nothing() -> None:
    prices = worked()
    before = prices.best
    gone = prices.at(NOW + 900 * MS)
    assert (gone.bid, gone.ask, gone.fresh) == (None, None, 0)
    assert prices.best == before
    assert prices.at(NOW) == before


def test_no_fresh_venue_is_none_with_the_reason_of_each() -> None:
    prices = worked()
    prices.remove(A, Why.NOT_LIVE)
    prices.remove(B, Why.LOST)
    best = prices.best
    assert (best.bid, best.ask, best.mid, best.mid_decimal, best.spread) == (None,) * 5
    assert (best.is_locked, best.crossed_by, best.crossed_quantity) == (False, 0, 0)
    assert best.why == "no venue is fresh: A not live, B lost, C stale"


def test_nothing_is_there_before_the_first_update() -> None:
    best = three().best
    assert (best.bid, best.ask, best.whys) == (None, None, (Why.NO_BOOK,) * 3)
    assert BestPrices(BTC_USDT, ()).best.why == "no venue has it"


def test_ties_go_by_the_order_of_the_venues_whichever_came_first() -> None:
    prices = three()
    prices.update(C, (1000, 3, 1002, 3), NOW)
    prices.update(A, (1000, 1, 1002, 1), NOW)
    assert prices.update(B, (1000, 2, 1002, 2), NOW), "another venue is fresh"
    assert prices.best.bid == Best(1000, 1, "A")
    assert prices.best.ask == Best(1002, 1, "A")
    prices.remove(A, Why.AWAY)
    assert prices.best.bid == Best(1000, 2, "B")


def test_the_next_best_is_shown_when_the_best_gets_worse() -> None:
    prices = three()
    prices.update(A, (1000, 1, 1005, 1), NOW)
    prices.update(B, (1001, 2, 1006, 2), NOW)
    prices.update(C, (1003, 3, 1004, 3), NOW)
    assert prices.update(C, (999, 3, 1007, 3), NOW)
    assert prices.best.bid == Best(1001, 2, "B")
    assert prices.best.ask == Best(1005, 1, "A")


def test_an_update_says_whether_anything_that_is_shown_has_changed() -> None:
    prices = worked()
    assert not prices.update(A, (10000, 2, 10020, 1), NOW), "the same again"
    assert not prices.update(A, (10001, 2, 10020, 1), NOW), "below the best"
    assert not prices.update(A, (10001, 7, 10020, 1), NOW), "a quantity below the best"
    assert prices.update(A, (10001, 7, 10020, 2), NOW), "the quantity of the best ask"
    assert prices.update(A, (10010, 7, 10020, 2), NOW), "the same bid, and A comes first"
    assert prices.update(C, (10000, 1, 10090, 1), NOW), "it counts again"
    assert prices.remove(C, Why.LOST), "it is out"
    assert not prices.remove(C, Why.LOST)
    assert prices.remove(C, Why.AWAY), "for another reason"


def test_a_venue_that_is_crossed_in_itself_is_out_however_long_and_comes_back() -> None:
    prices = worked()
    for minute in range(1, 4):
        now_ns = NOW + minute * 60_000 * MS
        prices.update(A, (10000, 2, 10020, 1), now_ns)
        prices.update(B, (10050 + minute, 1, 10030, 5), now_ns)
        assert prices.best.whys[B] is Why.CROSSED
        assert prices.best.bid == Best(10000, 2, "A")
        assert prices.best.crossed_by == 0
    prices.update(B, (10030, 1, 10030, 5), now_ns)
    assert prices.best.whys[B] is Why.CROSSED, "a locked book is no use either"
    prices.update(B, (10029, 1, 10030, 5), now_ns)
    assert prices.best.bid == Best(10029, 1, "B")


def test_a_book_with_one_side_counts_for_this_side_and_one_with_none_is_out() -> None:
    prices = three()
    prices.update(A, (1000, 2, 0, 0), NOW)
    best = prices.best
    assert (best.bid, best.ask, best.fresh) == (Best(1000, 2, "A"), None, 1)
    assert best.why == "no ask at any fresh venue"
    assert (best.mid, best.spread, best.is_locked, best.crossed_by) == (None, None, False, 0)
    prices.update(A, (0, 0, 1000, 2), NOW)
    assert (prices.best.bid, prices.best.ask) == (None, Best(1000, 2, "A"))
    assert prices.best.why == "no bid at any fresh venue"
    prices.update(A, (1000, 0, 1000, 0), NOW)
    assert prices.best.whys[A] is Why.EMPTY


def test_an_update_older_than_the_limit_does_not_count_and_changes_nothing() -> None:
    prices = worked()
    assert not prices.update(C, (10050, 9, 10060, 9), NOW - 501 * MS)
    assert prices.best.whys[C] is Why.STALE
    assert prices.update(C, (10050, 9, 10060, 9), NOW - 500 * MS)
    assert prices.best.bid == Best(10050, 9, "C")


def test_a_time_that_goes_back_makes_a_venue_older_never_fresher() -> None:
    prices = three()
    prices.update(A, (1000, 2, 1002, 1), NOW)
    prices.update(A, (1000, 2, 1002, 1), NOW - 400 * MS)
    assert prices.advance(NOW + 101 * MS)
    assert prices.best.whys[A] is Why.STALE


def test_an_update_makes_the_others_stale_that_are_older_than_the_limit_by_then() -> None:
    prices = worked()
    assert prices.update(A, (10000, 2, 10020, 1), NOW + 481 * MS), "B is out, A is as it was"
    assert prices.best.whys == (Why.FRESH, Why.STALE, Why.STALE)
    assert prices.best.bid == Best(10000, 2, "A")


def test_prices_and_quantities_are_rescaled_to_the_finest_exponent_exactly() -> None:
    fine, coarse = venue("fine", price_exponent=-9, quantity_exponent=-8), venue("coarse")
    prices = BestPrices(BTC_USDT, [coarse, fine])
    prices.update(0, (1000, 2, 1001, 3), NOW)
    prices.update(1, (100_000_000_001, 5, 100_100_000_000, 7), NOW)
    best = prices.best
    assert (best.price_exponent, best.quantity_exponent) == (-9, -8)
    assert best.bid == Best(100_000_000_001, 5, "fine"), "better by a billionth"
    assert best.ask == Best(100_100_000_000, 300_000_000, "coarse")


def test_contract_sizes_are_taken_into_account() -> None:
    okx = venue("okx", contract_mantissa=1, contract_exponent=-2)
    odd = venue("odd", quantity_exponent=-1, contract_mantissa=25, contract_exponent=1)
    prices = BestPrices(BTC_USDT, [okx, odd])
    prices.update(0, (1000, 350, 1002, 1), NOW)
    prices.update(1, (999, 3, 1001, 3), NOW)
    best = prices.best
    assert best.bid is not None
    assert best.ask is not None
    assert best.quantity_decimal(best.bid.quantity) == Decimal("3.5")
    assert best.quantity_decimal(best.ask.quantity) == Decimal(75)


def test_inverse_contracts_are_compared_in_amounts_of_the_quote() -> None:
    asset = Asset("BTC", "USD", InstrumentType.INVERSE_PERPETUAL)
    of = {"quote": "USD", "type": InstrumentType.INVERSE_PERPETUAL}
    prices = BestPrices(
        asset,
        [venue("ten", **of, contract_exponent=1), venue("hundred", **of, contract_exponent=2)],
    )
    prices.update(0, (1003, 7, 1004, 7), NOW)
    prices.update(1, (1000, 3, 1002, 2), NOW)
    best = prices.best
    assert best.quantity_decimal(best.crossed_quantity) == Decimal(70), "dollars: 70, not 200"


def test_negative_prices_are_prices() -> None:
    prices = three()
    prices.update(A, (-38, 1, -37, 1), NOW)
    prices.update(B, (-40, 1, -36, 1), NOW)
    best = prices.best
    assert (best.bid, best.ask, best.mid) == (Best(-38, 1, "A"), Best(-37, 1, "A"), -3.75)


def test_other_venues_keep_the_books_of_those_that_stay() -> None:
    prices = worked()
    prices.remove(A, Why.AWAY)
    a, b, c = prices.venues
    other = prices.with_venues([c, venue("D", price_exponent=-4), b, a])
    assert other.best.whys == (Why.STALE, Why.NO_BOOK, Why.FRESH, Why.AWAY)
    assert other.best.bid == Best(1001000, 1, "B")
    assert (other.time_ns(2), other.now_ns) == (NOW - 20 * MS, NOW)


def test_a_venues_own_prices_can_be_seen_whether_it_counts_or_not() -> None:
    prices = worked()
    assert prices.top(C) == (Best(10040, 9, "C"), Best(10050, 9, "C"))
    prices.update(B, (0, 0, 10030, 5), NOW)
    assert prices.top(B) == (None, Best(10030, 5, "B"))
    prices.remove(A, Why.LOST)
    assert prices.top(A) == (None, None), "never an old value"


@pytest.mark.parametrize(
    ("venues", "limit_ms", "words"),
    [
        ([venue("A"), venue("A")], 500, "A is named twice for BTC-USDT:spot"),
        ([venue("A", quote="USD")], 500, "BTCUSDT of A is not BTC-USDT:spot"),
        ([venue("A", base="")], 500, "BTCUSDT of A is not BTC-USDT:spot"),
        ([venue("A", type=InstrumentType.LINEAR_PERPETUAL)], 500, "is not BTC-USDT:spot"),
        ([venue("A")], 0, "a book cannot be stale after 0 ms: give 1 or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(venues: list[Venue], limit_ms: int, words: str) -> None:
    with pytest.raises(AssetError, match=words):
        BestPrices(BTC_USDT, venues, max_stale_ms=limit_ms)


# Against the definition.

_VENUES = st.builds(
    lambda price, quantity, mantissa, exponent: instrument(
        price_exponent=price,
        quantity_exponent=quantity,
        contract_mantissa=mantissa,
        contract_exponent=exponent,
    ),
    st.integers(-4, -1),
    st.integers(-3, 1),
    st.sampled_from([1, 1, 25, 125]),
    st.integers(-3, 2),
)
_QUANTITY = st.integers(0, 3)
_STEP = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["top", "top", "top", "same", "same", "why", "time"]),
    st.tuples(st.integers(-2, 6), _QUANTITY, st.integers(0, 8), _QUANTITY),
    st.sampled_from([Why.LOST, Why.NOT_LIVE, Why.AWAY]),
    st.integers(-300, 600),
)


@given(st.lists(_VENUES, min_size=1, max_size=4), st.lists(_STEP, max_size=30))
def test_every_state_is_that_of_the_definition(instruments: list[Any], steps: list[Any]) -> None:
    venues = [Venue(f"V{number}", each) for number, each in enumerate(instruments)]
    known = [Known() for _ in venues]
    prices = BestPrices(BTC_USDT, venues, max_stale_ms=500)
    time_ns = now_ns = NOW
    for number, kind, units, why, after_ms in steps:
        place, before = number % len(venues), prices.best
        state = known[place]
        time_ns = now_ns + after_ms * MS
        if kind == "why":
            state.top, state.why = None, why
            changed = prices.remove(place, why)
        elif kind == "time":
            now_ns = max(now_ns, time_ns)
            changed = prices.advance(time_ns)
        else:
            if kind == "top" or state.top is None:
                state.top = _priced(venues[place], units)
            state.time_ns, now_ns = time_ns, max(now_ns, time_ns)
            changed = prices.update(place, state.top, time_ns)
        assert found(prices.best) == expected(venues, known, now_ns, 500)
        assert changed == (prices.best != before)
        later_ns = now_ns + 200 * MS
        assert found(prices.at(later_ns)) == expected(venues, known, later_ns, 500)
        assert found(prices.with_venues(venues[::-1]).best) == expected(
            venues[::-1], known[::-1], now_ns, 500
        )


def _priced(of: Venue, units: Top) -> Top:
    """Tenths of a price as units of the venue, so that venues often have the same price."""
    scale = 10 ** (-1 - of.instrument.price_exponent)
    bid, bid_quantity, ask, ask_quantity = units
    return bid * scale, bid_quantity, ask * scale, ask_quantity


def test_the_mid_is_the_nearest_double() -> None:
    prices = three(price_exponent=-18)
    prices.update(A, (2**62 - 1, 1, 2**62 + 2, 1), NOW)
    assert prices.best.mid == float(Fraction(2**63 + 1, 2 * 10**18))
