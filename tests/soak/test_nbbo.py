"""The soak of best prices in short form, and its oracle: it sees what is wrong."""

from collections import deque
from fractions import Fraction
from pathlib import Path
from time import time
from typing import Any

import pytest

from fanout.analytics.nbbo.assets import Asset
from fanout.analytics.nbbo.best_prices import BestPrices, Venue
from fanout.analytics.nbbo.nbbo import Why
from fanout.protocol.constants import InstrumentType
from fanout.protocol.instrument import Instrument
from tests.soak.nbbo import nbbo_soak, report
from tests.soak.nbbo_oracle import LATE_S, MAX_STALE_MS, Exchange, NbboOracle, State
from tests.thoroughness import small_dose

BTC = Asset("BTC", "USDT", InstrumentType.LINEAR_PERPETUAL)
OKX = Instrument(
    index=0,
    symbol="BTC-USDT-SWAP",
    price_exponent=-1,
    quantity_exponent=-2,
    base="BTC",
    quote="USDT",
    type=BTC.type,
    contract_exponent=-2,
)
TOP = (1_000, 200, 1_002, 100)
THEIRS = (Fraction(100), Fraction(2, 100), Fraction(1_002, 10), Fraction(1, 100))
MS = 10**6


@small_dose
async def test_a_small_soak_shows_no_wrong_price(tmp_path: Path) -> None:
    soak = await nbbo_soak(3.0, 5, tmp_path)
    assert report(soak) == 0
    assert soak.oracle.compared > 100
    assert soak.oracle.counts["states that are crossed"]


class Tops:
    """The best levels of two exchanges, as a test says."""

    def __init__(self, *states: State) -> None:
        self.states = {OKX.symbol: deque(states)}
        self.changes = {OKX.symbol: deque(each.since_s for each in states)}


def judged(*tops: Tops, prices: BestPrices | None = None, **fields: Any) -> list[str]:
    exchanges = {name: Exchange(name, each) for name, each in zip("ab", tops, strict=False)}  # type: ignore[arg-type]
    for each in exchanges.values():
        each.is_concerned = False
        for name, value in fields.items():
            setattr(each, name, value)
    oracle = NbboOracle(exchanges)
    oracle.judge(prices or shown(*exchanges))
    assert oracle.compared == 1
    return oracle.complaints


def shown(*names: str) -> BestPrices:
    prices = BestPrices(BTC, [Venue(name, OKX) for name in names], max_stale_ms=MAX_STALE_MS)
    for place in range(len(names)):
        prices.update(place, TOP, int(time() * 1e9))
    return prices


def test_what_the_exchanges_have_is_right() -> None:
    now_s = time()
    assert judged(Tops(State(now_s - 9, THEIRS)), Tops(State(now_s - 1, THEIRS))) == []


def test_a_price_that_the_exchange_never_had_is_seen() -> None:
    other = State(time() - 9, (*THEIRS[:3], Fraction(1, 10)))
    (fault,) = judged(Tops(other))
    assert "a never had 100 0.02 100.2 0.01" in fault


def test_a_price_that_the_exchange_has_no_more_is_seen() -> None:
    now_s, other = time(), (*THEIRS[:3], Fraction(1, 10))
    until_s = now_s - MAX_STALE_MS / 1_000 - LATE_S - 0.1
    (fault,) = judged(Tops(State(now_s - 90, THEIRS), State(until_s, other)))
    assert "until 4.6 s ago" in fault


def test_a_venue_that_counts_although_nothing_can_come_from_it_is_seen() -> None:
    (fault,) = judged(Tops(State(time() - 9, THEIRS)), is_silent_from_s=time() - 5)
    assert "a counts for BTC-USDT-SWAP, and nothing came for 5.0 s" in fault


def test_a_venue_that_is_out_although_its_book_changes_is_seen() -> None:
    prices = shown("a")
    prices.remove(0, Why.NOT_LIVE)
    (fault,) = judged(Tops(State(time() - 2, THEIRS)), prices=prices)
    assert "a is not live, and nothing is wrong with it" in fault


def test_best_prices_that_do_not_follow_from_the_venues_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prices = shown("a", "b")
    monkeypatch.setattr(prices._bids, "best", 1)  # the tie goes to the second
    state = State(time() - 9, THEIRS)
    (fault,) = judged(Tops(state), Tops(state), prices=prices)
    assert "is shown, and" in fault
