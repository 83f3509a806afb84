import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.feed.continuity import MAX_RUNS, WINDOW_S
from fanout.feed.sequence import (
    MAX_JUMP,
    MOST_IDS,
    REMEMBERED_IDS,
    REMEMBERED_S,
    STRANGE_IDS,
    Way,
)
from fanout.feed.sequences import Sequences, Taken
from fanout.protocol import Gap, GapState, Instrument, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues.values import Continuity, NewestId, SpentId, VenueTrade
from tests.fanout.feed.test_normalise import BTC, venue_trade

ETH = Instrument(index=1, symbol="ETHUSDT", price_exponent=-2, quantity_exponent=-3)
OPEN, FILLED, LOST, NO_TRADE = (
    GapState.OPEN,
    GapState.BACK_FILLED,
    GapState.UNRECOVERABLE,
    GapState.NO_TRADE,
)


class Desk:
    """Sequences, and what they gave."""

    def __init__(self, continuity: Continuity = Continuity.IDS) -> None:
        self.anomalies = Anomalies(clock=lambda: 0.0)
        self.sequences = Sequences([BTC, ETH], "trade", self.anomalies, continuity)

    def step(self, *items: VenueTrade | SpentId, stream: str = "trade") -> Taken:
        """What came of items that one read brought."""
        return self.sequences.take(items, stream, 0.0)

    def take(self, *items: VenueTrade | SpentId) -> list[Trade | Gap]:
        return self.step(*items).records

    def ids(self, *ids: int) -> list[object]:
        return told(self.take(*map(venue_trade, ids)))

    def past(self, *items: VenueTrade | SpentId) -> list[object]:
        """What comes of past ids, which answer a subscription."""
        rows = [
            replace(each, is_past=True) if isinstance(each, VenueTrade) else each for each in items
        ]
        return told(self.sequences.take_past(rows, "trade", 0.0).records)

    def due(self) -> list[object]:
        return told(self.sequences.due(WINDOW_S))

    def back_fill(
        self, gap: tuple[int, int], *ids: int, spent: list[tuple[int, int]]
    ) -> list[object]:
        """What becomes of a gap of which REST has these ids, and knows these ranges."""
        filled = self.sequences.back_fill("trade", gap, [venue_trade(each) for each in ids], 1.0)
        settled = self.sequences.settle("trade", "BTCUSDT", gap, spent, "out of reach")
        return told([*filled.records, *settled])


def told(records: list[Trade | Gap] | list[Gap]) -> list[object]:
    """Of a trade the id, of a gap (first, last, state)."""
    return [
        each.trade_id if isinstance(each, Trade) else (each.first_id, each.last_id, each.state)
        for each in records
    ]


def test_the_first_id_of_an_instrument_is_accepted() -> None:
    assert Desk().ids(7_000) == [7_000]


def test_a_repeated_trade_is_dropped_and_counted() -> None:
    desk = Desk()
    assert desk.ids(1, 2, 2, 1, 3) == [1, 2, 3]
    assert desk.anomalies.counts["trade id seen before"] == 2
    assert desk.sequences.tally("trade", "BTCUSDT").duplicates == 2


def test_repeats_from_two_connections_are_no_anomaly() -> None:
    desk = Desk()
    desk.sequences.is_alone = False
    assert desk.ids(1, 2, 1, 2, 3, 3) == [1, 2, 3]
    assert not desk.anomalies.counts
    assert desk.sequences.tally("trade", "BTCUSDT").duplicates == 3


def test_a_persistent_hole_becomes_a_gap_and_delays_no_newer_trade() -> None:
    desk = Desk()
    assert desk.ids(1, 5, 6) == [1, 5, 6]
    assert desk.due() == [(2, 4, OPEN)]
    assert desk.sequences.gaps("trade", "BTCUSDT") == [(2, 4)]


def test_trades_out_of_order_are_no_gap() -> None:
    desk = Desk()
    assert desk.ids(1, 4, 3, 2, 5) == [1, 4, 3, 2, 5]
    assert desk.due() == []


def test_a_gap_that_late_trades_fill_is_closed() -> None:
    desk = Desk()
    desk.ids(1, 4)
    desk.due()
    assert desk.ids(3, 2) == [3, 2, (2, 3, FILLED)]


def test_an_id_used_without_a_trade_is_no_hole() -> None:
    desk = Desk()
    assert told(desk.take(venue_trade(1), SpentId("BTCUSDT", 2), venue_trade(3))) == [1, 3]
    assert desk.due() == []
    assert desk.sequences.tally("trade", "BTCUSDT").spent == 1


def test_back_fill_closes_a_gap_exact_to_the_id() -> None:
    desk = Desk()
    desk.ids(1, 10)
    desk.due()
    answer = desk.back_fill((2, 9), 1, 5, 6, 9, 10, 11, spent=[(4, 11)])
    assert answer == [
        5,
        6,
        9,
        (2, 3, LOST),
        (4, 4, NO_TRADE),
        (5, 6, FILLED),
        (7, 8, NO_TRADE),
        (9, 9, FILLED),
    ]
    tally = desk.sequences.tally("trade", "BTCUSDT")
    assert (tally.missing, tally.back_filled, tally.no_trade, tally.lost) == (8, 3, 3, 2)


def test_a_completely_back_filled_gap_closes_with_its_last_trade() -> None:
    desk = Desk()
    desk.ids(1, 4)
    desk.due()
    assert desk.back_fill((2, 3), 2, 3, spent=[(2, 3)]) == [2, 3, (2, 3, FILLED)]


def test_back_fill_takes_only_missing_ids_of_the_gap() -> None:
    desk = Desk()
    desk.ids(1, 4)
    desk.due()
    assert 5 not in desk.back_fill((2, 3), 5, 6, spent=[])
    assert desk.ids(5, 6) == [5, 6]


def test_back_fill_returns_the_ids_of_unrepresentable_trades() -> None:
    desk = Desk()
    desk.ids(1, 4)
    desk.due()
    rows = [venue_trade(2, price="0.005"), venue_trade(3)]
    filled = desk.sequences.back_fill("trade", (2, 3), rows, 1.0)
    assert (told(filled.records), filled.refused) == ([3], [2])


def test_each_instrument_has_its_own_numbering() -> None:
    desk = Desk()
    records = desk.take(venue_trade(1), venue_trade(900, "ETHUSDT"), venue_trade(2))
    assert [each.instrument for each in records] == [BTC, ETH, BTC]
    assert desk.due() == []


def test_an_unrepresentable_trade_is_logged_counted_and_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk()
    taken = desk.step(venue_trade(1), venue_trade(2, price="61800.305"), venue_trade(3))
    assert told(taken.records) == [1, 3]
    assert desk.due() == [(2, 2, OPEN)]
    assert desk.anomalies.counts["trade refused"] == 1
    assert taken.has_misfits
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert "BTCUSDT trade 2: '61800.305'" in line.message


def test_a_trade_may_fit_after_a_change_of_units() -> None:
    desk = Desk()
    desk.take(venue_trade(1))
    finer = Instrument(index=0, symbol="BTCUSDT", price_exponent=-3, quantity_exponent=-3)
    desk.sequences.renew([finer, ETH])
    (trade,) = desk.take(venue_trade(2, price="61800.305"))
    assert isinstance(trade, Trade)
    assert (trade.price, trade.instrument) == (61_800_305, finer)


def test_a_trade_of_an_unsubscribed_symbol_is_counted_and_dropped() -> None:
    desk = Desk()
    assert desk.take(venue_trade(1, "XRPUSDT")) == []
    assert sum(desk.anomalies.counts.values()) == 1


def test_a_takeover_reports_the_missing_ids_of_the_old_stream() -> None:
    desk = Desk()
    desk.ids(101, 105)
    desk.sequences.turn_to("BTCUSDT", "trade", "aggTrade")
    items = [venue_trade(i, first_fill=first) for i, first in ((3, 110), (4, 112))]
    taken = desk.step(*items, stream="aggTrade")
    assert told(taken.records) == [(102, 104, OPEN), (106, 109, OPEN), 3, 4]
    assert taken.turned == [("BTCUSDT", "aggTrade")]
    assert desk.ids(110) == []
    assert desk.sequences.gaps("trade", "BTCUSDT") == [(102, 104), (106, 109)]
    assert desk.back_fill((106, 109), 107, spent=[(106, 200)]) == [
        107,
        (106, 106, NO_TRADE),
        (107, 107, FILLED),
        (108, 109, NO_TRADE),
    ]


def test_a_stream_that_wakes_up_before_another_has_taken_over_is_kept() -> None:
    desk = Desk()
    desk.ids(101)
    desk.sequences.turn_to("BTCUSDT", "trade", "aggTrade")
    taken = desk.step(venue_trade(102))
    assert told(taken.records) == [102]
    assert taken.turned == [("BTCUSDT", "trade")]
    assert desk.step(venue_trade(3, first_fill=103), stream="aggTrade").records == []
    assert desk.ids(103) == [103]


@pytest.mark.parametrize("first_fill", [2**64 + 5, 2**63, -1])
def test_an_implausible_first_fill_is_ignored(first_fill: int) -> None:
    desk = Desk()
    desk.ids(101)
    desk.sequences.turn_to("BTCUSDT", "trade", "aggTrade")
    taken = desk.step(venue_trade(3, first_fill=first_fill), stream="aggTrade")
    assert told(taken.records) == [3]


@pytest.mark.parametrize("trade_id", [-1, 2**64, 10**30])
def test_an_id_out_of_range_is_logged_and_dropped(trade_id: int) -> None:
    desk = Desk()
    assert desk.take(SpentId("BTCUSDT", trade_id), venue_trade(trade_id)) == []
    assert desk.anomalies.counts["trade id out of range"] == 2
    assert desk.ids(7) == [7]


def test_lower_ids_that_may_be_repeats_do_not_restart_the_numbering() -> None:
    desk = Desk()
    assert desk.ids(5_000, 5_001, 3, 4) == [5_000, 5_001]


def test_a_stream_that_brings_late_what_rest_had_does_not_restart_the_numbering() -> None:
    desk = Desk()
    desk.ids(1)
    delayed = later(2, 3, 4, 5)
    for trade_id in range(2, 6):
        desk.sequences.miss("trade", "BTCUSDT", trade_id, 0.0)
    desk.due()
    desk.sequences.back_fill("trade", (2, 5), delayed, 1.0)
    assert told(desk.take(*delayed, venue_trade(6))) == [6]


def later(*ids: int) -> list[VenueTrade]:
    """Trades that were made later than all others."""
    return [venue_trade(each, time=venue_trade(1).time + each) for each in ids]


def test_a_restart_of_the_venues_numbering_loses_no_trade(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk()
    desk.ids(5_000, 5_002)
    assert told(desk.take(*later(1, 2, 3, 4))) == [
        (5_001, 5_001, OPEN),
        (5_001, 5_001, LOST),
        3,
        4,
    ]
    assert desk.due() == [(1, 2, OPEN)]
    assert "BTCUSDT: the venue restarted its trade ids at 1" in caplog.text


def test_trades_that_rest_had_before_the_stream_are_no_restart() -> None:
    """A stream that stalls brings them at last, when they are newer than its own newest one."""
    desk, late = Desk(), later(*range(5_001, 5_010))
    desk.ids(5_000)
    desk.sequences.miss("trade", "BTCUSDT", 5_009, 0.0)
    assert desk.due() == [(5_001, 5_009, OPEN)]
    (gap,) = desk.sequences.gaps("trade", "BTCUSDT")
    desk.sequences.back_fill("trade", gap, late, 1.0)
    assert told(desk.take(*late, *later(5_010))) == [5_010]
    assert desk.due() == []


@pytest.mark.parametrize("odd", [3, 2**63])
def test_a_single_implausible_id_changes_nothing(odd: int) -> None:
    desk = Desk()
    desk.ids(5_000)
    for place in range(1, 10):
        assert told(desk.take(*later(odd + place))) == []
        assert desk.ids(5_000 + place) == [5_000 + place]
    assert desk.due() == []


def test_far_ids_are_accepted_when_they_follow_each_other() -> None:
    desk, far = Desk(), 5_000 + 2 * MAX_JUMP
    desk.ids(5_000)
    told_ids = desk.ids(*range(far, far + STRANGE_IDS + 1))
    assert told_ids == [far + STRANGE_IDS - 1, far + STRANGE_IDS]
    assert desk.due() == [(far, far + STRANGE_IDS - 2, OPEN)]


def test_a_hole_with_too_many_runs_accepts_no_further_split() -> None:
    desk = Desk()
    taken = desk.ids(0, 10_000, *range(2, 10_000, 2))
    assert len(taken) == 2 + MAX_RUNS - 1
    (first, *_, last) = desk.due()
    assert (first, last) == ((1, 1, OPEN), (2 * MAX_RUNS - 1, 9_999, OPEN))


@given(st.lists(st.integers(0, 40), max_size=80))
def test_every_id_passes_once_and_the_rest_is_in_gaps(ids: list[int]) -> None:
    desk = Desk()
    passed = desk.ids(*ids)
    new = [each for each in dict.fromkeys(ids) if each >= ids[0]] if ids else []
    assert passed == new
    missing = {
        each
        for gap in desk.sequences.due(WINDOW_S)
        for each in range(gap.first_id, gap.last_id + 1)
    }
    if new:
        assert missing | set(new) == set(range(min(new), max(new) + 1))
        assert not missing & set(new)


def test_open_gaps_include_those_of_the_old_stream() -> None:
    desk = Desk()
    desk.ids(101, 105)
    desk.sequences.turn_to("BTCUSDT", "trade", "aggTrade")
    items = [venue_trade(i, first_fill=first) for i, first in ((3, 110), (4, 112))]
    out = desk.step(*items, stream="aggTrade").records
    told = [each for each in out if isinstance(each, Gap) and each.state is GapState.OPEN]
    assert len(told) == 2
    assert desk.sequences.open_gaps("BTCUSDT") == 2


def test_a_missing_id_that_arrives_without_a_trade_is_no_trade() -> None:
    desk = Desk()
    desk.ids(101, 103)
    assert [each.state for each in desk.sequences.due(1.0)] == [GapState.OPEN]
    (gap,) = desk.sequences.take([SpentId(symbol="BTCUSDT", trade_id=102)], "trade", 2.0).records
    assert isinstance(gap, Gap)
    assert (gap.first_id, gap.last_id, gap.state) == (102, 102, GapState.NO_TRADE)
    assert gap.why == "the venue used the id without a trade"
    assert desk.sequences.tally("trade", "BTCUSDT").no_trade == 1


def test_a_sequence_begins_behind_the_past_ids_of_the_first_subscription() -> None:
    desk = Desk()
    assert desk.past(SpentId("BTCUSDT", 6), venue_trade(7), venue_trade(8)) == []
    assert desk.ids(11) == [11]
    assert desk.due() == [(9, 10, OPEN)]
    assert desk.sequences.tally("trade", "BTCUSDT").trades == 1


def test_past_ids_of_a_later_subscription_are_back_filled_if_they_are_missing() -> None:
    desk = Desk()
    desk.past(venue_trade(4))
    assert desk.past(venue_trade(6), venue_trade(7)) == [6, 7]
    assert desk.due() == [(5, 5, OPEN)]
    assert desk.past(venue_trade(7), venue_trade(5), venue_trade(4)) == [5, (5, 5, FILLED)]
    assert desk.past(venue_trade(7 + 2 * MAX_JUMP)) == [], "an id that may be wrong"
    assert desk.ids(8) == [8]
    tally = desk.sequences.tally("trade", "BTCUSDT")
    assert (tally.trades, tally.back_filled, tally.duplicates) == (4, 3, 0)
    assert not desk.anomalies.counts


def test_past_rows_of_no_use_are_noted_as_any_trade() -> None:
    desk = Desk()
    desk.sequences.give_up("ETHUSDT")
    rows = (venue_trade(1, "XRPUSDT"), venue_trade(2**64), venue_trade(1, "ETHUSDT"))
    assert desk.past(*rows) == []
    assert sum(desk.anomalies.counts.values()) == 2


@pytest.mark.parametrize("continuity", [Continuity.SEQUENCE, Continuity.NOTHING])
def test_past_trades_without_consecutive_ids_are_back_filled_if_they_are_not_older(
    continuity: Continuity,
) -> None:
    desk = Desk(continuity)
    now = venue_trade(1).time
    first, old, last = (venue_trade(i, time=now + at) for i, at in ((50, 5), (20, 1), (90, 9)))
    missed, new = venue_trade(10, time=now + 9), venue_trade(70, time=now + 9)
    assert desk.past(first) == []
    assert told(desk.take(last)) == [90]
    assert desk.past(first, old, last, missed) == [10]
    assert told(desk.take(missed, new)) == [70], "the stream delivers the missed one too"
    assert not desk.anomalies.counts
    assert desk.sequences.tally("trade", "BTCUSDT").back_filled == 1


def test_ids_without_order_are_remembered_for_a_time_and_many_of_them() -> None:
    """Another connection may bring what it held back all at once."""
    desk = Desk(Continuity.NOTHING)
    desk.sequences.is_alone = False
    sequence = desk.sequences.unproven("trade", "BTCUSDT")
    assert sequence is not None
    rows = [replace(venue_trade(each), time=1_000 + each) for each in range(REMEMBERED_IDS + 900)]
    assert len(desk.take(*rows)) == len(rows)
    assert desk.take(*rows) == []
    later = REMEMBERED_S * 1_000 + rows[-1].time + 1
    for number, time in enumerate((later, later + 1), 10_000):
        desk.take(replace(venue_trade(number), time=time))
    assert sequence.ages[0] == (4, rows[4].time), "each new one lets two old ones be forgotten"
    sequence.seen |= dict.fromkeys(range(10**6, 10**6 + MOST_IDS), Way.LIVE)
    sequence.ages += ((each, later) for each in range(10**6, 10**6 + MOST_IDS))
    desk.take(replace(venue_trade(7 * 10**6), time=later))
    assert sequence.ages[0] == (6, rows[6].time)


def test_a_trade_that_rest_shows_twice_is_taken_once() -> None:
    desk = Desk(Continuity.NOTHING)
    desk.take(venue_trade(1))
    sequence = desk.sequences.unproven("trade", "BTCUSDT")
    assert sequence is not None
    assert sequence.missed([venue_trade(2), venue_trade(2)], 0) == [venue_trade(2)]


def test_the_venues_newest_id_is_believed_within_reason() -> None:
    desk = Desk()
    sequences = desk.sequences

    def newest(trade_id: int, symbol: str = "BTCUSDT") -> bool:
        is_complete, gaps = sequences.heed_newest(NewestId(symbol, trade_id), "trade", 0.0)
        assert gaps == []
        return is_complete

    assert not newest(7), "nothing has come: it may have been before the beginning"
    desk.ids(7)
    assert newest(7)
    assert newest(3)
    assert not newest(9)
    assert not newest(10 + 2 * MAX_JUMP)
    assert not newest(7, "XRPUSDT")
    assert desk.due() == [(8, 9, OPEN)]
    assert desk.anomalies.counts == {"newest trade id implausible": 1}


@pytest.mark.parametrize(
    ("continuity", "counts"), [(Continuity.IDS, (3, 2, 1)), (Continuity.NOTHING, (2, 1, 1))]
)
def test_undelivered_trades_are_found_by_their_ids_or_by_not_being_known(
    continuity: Continuity, counts: tuple[int, int, int]
) -> None:
    desk = Desk(continuity)
    began = venue_trade(1).time
    rows = [venue_trade(each, time=began + each) for each in (1, 2, 3, 4)]
    desk.take(rows[0])
    if continuity is Continuity.NOTHING:  # of which the stream brought this one out of its turn
        desk.take(rows[2])

    def undelivered(since: int, looked_at: VenueTrade | None = None) -> int:
        return desk.sequences.undelivered("trade", "BTCUSDT", rows, since, looked_at)

    found = undelivered(began), undelivered(began + 2), undelivered(began, rows[2])
    assert found == counts
