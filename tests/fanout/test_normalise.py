import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.anomalies import Anomalies
from fanout.normalise import MAX_HOLES, Continuity, Normaliser
from fanout.venues.base import SpentId, VenueTrade
from protocol import Gap, GapState, Instrument, Trade, TradeKind

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
ETH = Instrument(index=1, symbol="ETHUSDT", price_exponent=-2, quantity_exponent=-3)


def venue_trade(trade_id: int, symbol: str = "BTCUSDT", **changes: object) -> VenueTrade:
    fields: dict[str, object] = {
        "symbol": symbol,
        "trade_id": trade_id,
        "time": 1_723_161_256_322,
        "price": "61800.30",
        "quantity": "0.006",
        "buyer_is_maker": False,
        "kind": TradeKind.MARKET,
    }
    return VenueTrade(**{**fields, **changes})  # type: ignore[arg-type]


class Desk:
    """A normaliser and what it gave."""

    def __init__(self) -> None:
        self.anomalies = Anomalies(clock=lambda: 0.0)
        self._normaliser = Normaliser([BTC, ETH], self.anomalies)

    def take(self, *items: VenueTrade | SpentId) -> list[Trade | Gap]:
        out: list[Trade | Gap] = []
        for item in items:
            self._normaliser.take(item, out)
        return out

    def ids(self, *ids: int) -> list[object]:
        """What becomes of trades with these ids: an id, or a gap as (first, last, state)."""
        return [
            each.trade_id if isinstance(each, Trade) else (each.first_id, each.last_id, each.state)
            for each in self.take(*map(venue_trade, ids))
        ]


def test_decimal_strings_become_integers_at_the_instruments_exponents() -> None:
    (trade,) = Desk().take(venue_trade(5_266_583_935))
    assert trade == Trade(BTC, 5_266_583_935, 1_723_161_256_322, 6_180_030, 6, False)


def test_the_first_id_of_an_instrument_is_taken_as_it_comes() -> None:
    assert Desk().ids(7_000) == [7_000]


def test_a_trade_that_was_seen_is_dropped_and_counted() -> None:
    desk = Desk()
    assert desk.ids(1, 2, 2, 1, 3) == [1, 2, 3]
    assert desk.anomalies.counts["trade id seen before"] == 2


def test_a_hole_becomes_an_open_gap_in_front_of_the_trade_behind_it() -> None:
    assert Desk().ids(1, 5) == [1, (2, 4, GapState.OPEN), 5]


def test_a_late_trade_is_published_and_the_gap_closed_when_it_is_full() -> None:
    assert Desk().ids(1, 4, 3, 2, 5) == [
        1,
        (2, 3, GapState.OPEN),
        4,
        3,
        2,
        (2, 2, GapState.BACK_FILLED),
        5,
    ]


def test_an_id_spent_without_a_trade_is_no_hole() -> None:
    records = Desk().take(venue_trade(1), SpentId("BTCUSDT", 2), venue_trade(3))
    assert [type(each) for each in records] == [Trade, Trade]


def test_instruments_are_numbered_each_for_itself() -> None:
    records = Desk().take(venue_trade(1), venue_trade(900, "ETHUSDT"), venue_trade(2))
    assert [type(each) for each in records] == [Trade] * 3
    assert records[1].instrument is not None
    assert records[1].instrument.symbol == "ETHUSDT"


@pytest.mark.parametrize(
    "changes",
    [
        {"price": "61800.305"},
        {"price": "1e5"},
        {"price": ""},
        {"quantity": "0.0001"},
        {"quantity": "-1"},
        {"quantity": "0.000"},
        {"price": "9" * 30},
        {"time": -1},
    ],
)
def test_a_trade_that_cannot_be_represented_is_told_counted_and_left_as_a_hole(
    changes: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    records = desk.take(venue_trade(1), venue_trade(2, **changes), venue_trade(3))
    assert [type(each) for each in records] == [Trade, Gap, Trade]
    assert desk.anomalies.counts["trade refused"] == 1
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert "BTCUSDT trade 2" in line.message
    assert str(next(iter(changes.values())))[:20] in line.message


def test_a_symbol_that_was_not_asked_for_is_counted_and_skipped() -> None:
    desk = Desk()
    assert desk.take(venue_trade(1, "XRPUSDT")) == []
    assert sum(desk.anomalies.counts.values()) == 1


def test_holes_are_remembered_up_to_a_bound() -> None:
    continuity = Continuity()
    for place in range(MAX_HOLES * 3):
        continuity.take(place * 2)
    assert len(continuity._holes) == MAX_HOLES
    assert not continuity.is_new(1)
    assert continuity.is_new(MAX_HOLES * 6 - 3)


def test_a_hole_that_is_filled_in_pieces_does_not_grow_without_bound() -> None:
    continuity = Continuity()
    continuity.take(0)
    continuity.take(10_000)
    for trade_id in range(2, 10_000, 2):
        if continuity.is_new(trade_id):
            continuity.take(trade_id)
    assert len(continuity._holes) == MAX_HOLES


@pytest.mark.parametrize("trade_id", [-1, 2**64, 10**30])
def test_an_id_out_of_range_is_told_and_skipped_whether_a_trade_or_not(trade_id: int) -> None:
    desk = Desk()
    assert desk.take(SpentId("BTCUSDT", trade_id), venue_trade(trade_id)) == []
    assert desk.anomalies.counts["trade id out of range"] == 2
    assert desk.ids(7) == [7]


def test_an_id_that_goes_back_is_told(caplog: pytest.LogCaptureFixture) -> None:
    Desk().ids(5_000_000_000, 0, 1)
    assert "trade id seen before: BTCUSDT 0" in caplog.text


@given(st.lists(st.integers(0, 40), max_size=80))
def test_every_id_passes_once_and_the_rest_is_in_gaps(ids: list[int]) -> None:
    desk = Desk()
    told = desk.ids(*ids)
    passed = [each for each in told if isinstance(each, int)]
    new = [each for each in dict.fromkeys(ids) if each >= ids[0]] if ids else []
    assert passed == new
    missing: set[int] = set()
    for each in told:
        if isinstance(each, tuple) and each[2] is GapState.OPEN:
            missing |= set(range(each[0], each[1] + 1))
    if passed:
        assert missing | set(passed) == set(range(min(passed), max(passed) + 1))
