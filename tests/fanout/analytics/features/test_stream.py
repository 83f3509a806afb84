"""What is lost, late, stale or broken: features are absent until they are right again, and why."""

import pytest
from msgspec.structs import replace

from fanout.analytics import FeatureSettings, StreamFeatures, rows_in
from fanout.analytics.errors import SettingsError
from fanout.analytics.features import stream as stream_module
from fanout.analytics.features.stream import MAX_TIME_NS
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.protocol import (
    BookFlags,
    End,
    EndReason,
    FeedState,
    Gap,
    GapState,
    Instrument,
    OrderUpdate,
    Position,
    Quote,
    Skipped,
    Snapshot,
    TradeKind,
    pack_orders,
)
from fanout.protocol.constants import MAX_BOOK_LEVELS
from tests.fanout.analytics.market import (
    BTC,
    ETH,
    LOSS,
    MS,
    T0,
    WHOLE,
    Scene,
    Why,
    at_ns,
    book,
    quote,
    shown,
    snapshot,
    status,
    trade,
)

OFI = "order_flow_imbalance_1000ms"
FLOW = "trade_flow_imbalance_1000ms"
LAG = "wap_10bps_lag_100ms"
VOLATILITY = "volatility_2000ms"
RATE = "trade_intensity_1000ms"

BIDS, ASKS = [(10_000, 2)], [(10_002, 1)]

LOST, NOT_LIVE, WARMING_UP = Why.LOST, Why.NOT_LIVE, Why.WARMING_UP

END = End(reason=EndReason.SHUTDOWN, last_seq=9, retry_ms=0)
RESTARTED = Restarted(before=Position(epoch_ns=1, seq=7), epoch_ns=2)

SETTINGS = FeatureSettings(volatility_ms=(2_000,), volatility_sample_ms=100)


def warm(**options: object) -> Scene:
    """A stream that has everything at 3,000 ms, and is 3 s old."""
    scene = Scene(SETTINGS, **options)
    scene.take(book(0, BIDS, ASKS, WHOLE), trade(0, 1), trade(3_000, 2))
    last = scene.stream.row("BTCUSDT")
    assert last is not None
    row = shown(scene.stream.columns, last)
    assert {name for name, value in row.items() if isinstance(value, Why)} == {"stoikov_microprice"}
    return scene


def test_nothing_is_known_before_the_first_record() -> None:
    stream = StreamFeatures(SETTINGS)
    assert stream.now_ns == 0
    assert stream.row("BTCUSDT") is None
    assert stream.features("BTCUSDT") is None
    assert stream.take(status(FeedState.LIVE)) == ()
    assert stream.row("BTCUSDT") is None
    assert stream.advance(at_ns(0)) == ()


def test_a_new_stream_warms_up_and_has_no_book() -> None:
    scene = Scene(SETTINGS)
    row = scene.after(trade(0, 1))
    assert (row["mid"], row["wap_10bps"]) == (Why.NO_BOOK, Why.NO_BOOK)
    assert (row[FLOW], row[RATE], row[OFI]) == (WARMING_UP, WARMING_UP, Why.NO_BOOK)
    assert (row[LAG], row[VOLATILITY]) == (WARMING_UP, Why.NO_BOOK)
    assert scene.after(trade(100, 1))[LAG] is Why.NO_BOOK, "there was a stream, and no book"


def test_windows_have_values_once_the_stream_is_as_old_as_they_are() -> None:
    scene = Scene(SETTINGS)
    scene.take(book(0, BIDS, ASKS, WHOLE), trade(0, 1))
    row = scene.after(trade(999.999, 1))
    assert (row[FLOW], row[OFI]) == (WARMING_UP, WARMING_UP)
    row = scene.after(trade(1_000, 1))
    assert (row[FLOW], row[OFI], row[VOLATILITY]) == (1, 0, WARMING_UP)
    assert scene.after(trade(2_000, 1))[VOLATILITY] == 0


def test_trades_that_a_stream_does_not_have_are_not_counted_as_none() -> None:
    scene = Scene(SETTINGS)
    row = scene.after(book(0, BIDS, ASKS, WHOLE), book(2_000, BIDS))
    assert row[RATE] is WARMING_UP
    scene.take(Snapshot(trades=()))
    assert scene.after(book(2_001, BIDS))[RATE] == 0


@pytest.mark.parametrize("hole", [LOSS, RESTARTED])
def test_after_a_loss_everything_is_lost_until_it_is_right_again(hole: Received) -> None:
    scene = warm()
    scene.take(hole)
    row = scene.after(trade(3_500, 1))
    for name in (*SETTINGS.book_columns, OFI, FLOW, RATE, VOLATILITY):
        assert row[name] is LOST, name
    assert row[LAG] is LOST, "at 3,400 ms the book was lost"
    scene.take(book(3_600, [(9_000, 1)]))
    row = scene.after(book(4_000, BIDS, ASKS, WHOLE))
    assert (row["mid"], row["wap_10bps"]) == (100.01, 30002 / 300)
    assert (row[OFI], row[LAG], row[VOLATILITY]) == (LOST, LOST, LOST)
    row = scene.after(trade(4_499.999, -3))
    assert (row[FLOW], row[RATE], row[LAG]) == (LOST, LOST, row["wap_10bps"])
    row = scene.after(trade(4_500, -1))
    assert (row[FLOW], row[RATE]) == (-1, 2), "the trade at 3,500 has left"
    assert scene.after(trade(4_999.999, 1))[OFI] is LOST
    assert scene.after(trade(5_000, 1))[OFI] == 0
    assert scene.after(trade(5_900, 1))[VOLATILITY] is LOST, "the sample at 3,900 is missing"
    assert scene.after(trade(5_900.001, 1))[VOLATILITY] == 0


def test_a_lag_that_reaches_behind_a_loss_has_its_value() -> None:
    scene = warm()
    scene.take(trade(3_050, 1), LOSS)
    assert scene.after(trade(3_140, 1))[LAG] == 30002 / 300
    assert scene.after(trade(3_150, 1))[LAG] is LOST, "it may have changed at that moment"


def test_a_whole_book_without_a_time_counts_from_the_next_record_that_has_one() -> None:
    scene = warm()
    assert scene.take(LOSS, snapshot([(9_000, 1)], [(9_002, 1)])) == []
    row = scene.stream.row("BTCUSDT")
    assert row is not None
    assert shown(scene.stream.columns, row)["mid"] is LOST, "at the time of the stream it was"
    row = scene.after(trade(9_000, 1, of=ETH), trade(9_000, 1))
    assert (row["mid"], row[OFI], row[LAG]) == (90.01, LOST, LOST)
    assert scene.after(trade(9_999.999, 1))[OFI] is LOST
    assert scene.after(trade(10_000, 1))[OFI] == 0


def test_a_snapshot_ahead_of_its_stream_starts_the_order_flow_once_it_is_caught_up() -> None:
    scene = warm()
    early = [book(at, [(10_000, at - 3_000)]) for at in (3_100, 3_200)]
    scene.take(LOSS, snapshot([(10_000, 200)], ASKS), early[0], early[1])
    row = scene.after(trade(3_250, 1))
    assert (row["bid_quantity_10bps"], row[OFI]) == (200, LOST)
    scene.take(book(3_300, [(10_000, 207)]))
    assert scene.after(trade(4_199.999, 1))[OFI] is LOST, "the change at 3,200 is not known"
    assert scene.after(trade(4_200, 1))[OFI] == 7


@pytest.mark.parametrize("of", [BTC, None])
def test_while_it_is_not_live_everything_is_absent_and_afterwards_the_windows_are(
    of: None,
) -> None:
    scene = warm()
    scene.take(status(FeedState.STALE, of))
    row = scene.after(trade(3_100, 5))
    assert {row[name] for name in (*SETTINGS.book_columns, OFI, FLOW, RATE, VOLATILITY)} == {
        NOT_LIVE
    }
    assert row[LAG] is NOT_LIVE, "at that moment it turned stale"
    scene.take(status(FeedState.LIVE, of))
    row = scene.after(trade(3_200, 1))
    assert (row["mid"], row[FLOW], row[OFI], row[VOLATILITY]) == (100.01, LOST, LOST, LOST)
    assert row[LAG] is NOT_LIVE
    row = scene.after(trade(4_200, 1))
    assert (row[FLOW], row[OFI], row[LAG]) == (1, 0, row["wap_10bps"])


def test_a_feed_that_is_down_is_live_again_symbol_by_symbol() -> None:
    scene = warm()
    scene.take(book(3_000, BIDS, ASKS, WHOLE, of=ETH))
    scene.take(status(FeedState.DOWN, None), status(FeedState.LIVE, None))
    scene.take(status(FeedState.LIVE, ETH))
    assert scene.after(trade(3_001, 1))["mid"] is NOT_LIVE
    assert scene.after(trade(3_002, 1, of=ETH))["mid"] == 100.01


def test_a_status_before_the_first_record_does_not_count_as_a_loss() -> None:
    scene = Scene(SETTINGS)
    scene.take(status(FeedState.CONNECTING), status(FeedState.LIVE))
    row = scene.after(book(0, BIDS, ASKS, WHOLE), trade(500, 1))
    assert (row[FLOW], row[OFI], row["mid"]) == (WARMING_UP, WARMING_UP, 100.01)


@pytest.mark.parametrize("of", [BTC, None])
def test_a_stream_that_begins_while_it_is_not_live_is_not_live(of: None) -> None:
    scene = Scene(SETTINGS)
    scene.take(LOSS, trade(0, 1, of=ETH) if of else status(FeedState.LIVE))
    scene.take(status(FeedState.DOWN, of), gap(GapState.OPEN))
    row = scene.after(trade(200, 1))
    assert (row["mid"], row[FLOW], row[OFI]) == (NOT_LIVE, NOT_LIVE, NOT_LIVE)
    scene.take(status(FeedState.LIVE, None), status(FeedState.LIVE))
    row = scene.after(book(300, BIDS, ASKS, WHOLE), trade(400, 1))
    assert (row["mid"], row[OFI], row["wap_10bps_lag_300ms"]) == (
        *(100.01, WARMING_UP),
        NOT_LIVE if of else WARMING_UP,
    )


def test_a_loss_before_the_first_book_leaves_no_book() -> None:
    scene = Scene(SETTINGS)
    scene.take(trade(0, 1), LOSS)
    row = scene.after(trade(100, 1))
    assert (row["mid"], row[FLOW]) == (Why.NO_BOOK, LOST)
    row = scene.after(book(200, BIDS, ASKS, WHOLE))
    assert (row["mid"], row[OFI]) == (100.01, WARMING_UP)


def test_a_new_whole_book_breaks_the_order_flow_and_nothing_else() -> None:
    scene = warm()
    row = scene.after(book(3_100, [(9_999, 7)], ASKS, WHOLE))
    assert (row["mid"], row[OFI], row[FLOW]) == (100.005, LOST, 1)
    assert isinstance(row[LAG], float)
    assert row[VOLATILITY] == 0
    scene.take(book(3_200, [(9_999, 9)]))
    assert scene.after(trade(4_100, 1))[OFI] == 2


def test_whole_books_one_after_another_are_changes() -> None:
    scene = Scene(SETTINGS)
    top = WHOLE | BookFlags.TOP_ONLY
    for at_ms, quantity in ((0, 2), (50, 3), (100, 5), (200, 9)):
        scene.take(book(at_ms, [(10_000, quantity)], ASKS, top))
    assert scene.after(trade(1_050, 1))[OFI] == 6
    assert scene.after(trade(1_100, 1))[OFI] == 4
    assert scene.after(book(1_150, BIDS), book(1_160, BIDS, ASKS, top))[OFI] is LOST


def test_a_book_in_parts_is_shown_when_the_last_has_come_and_costs_nothing() -> None:
    scene = warm()
    assert scene.take(book(3_100, [(10_000, 0)], [], BookFlags.MORE)) == []
    row = scene.after(trade(3_150, 1))
    assert (row["mid"], row[OFI], row[VOLATILITY]) == (LOST, LOST, LOST)
    row = scene.after(book(3_200, [(9_999, 3)], []))
    assert (row["mid"], row[OFI]) == (100.005, -2)
    assert scene.after(trade(3_250, 1))[LAG] is LOST


def test_whole_books_in_parts_one_after_another_are_changes() -> None:
    scene = Scene(SETTINGS)
    for at_ms, quantity in ((0, 2), (50, 3), (100, 5), (200, 9)):
        scene.take(book(at_ms, [(10_000, quantity)], [], WHOLE | BookFlags.MORE))
        scene.take(book(at_ms, [(9_000, 1)], [], BookFlags.MORE), book(at_ms, [], ASKS))
    assert scene.after(trade(1_050, 1))[OFI] == 6


def test_a_whole_book_in_the_place_of_the_rest_of_an_update_breaks_the_order_flow() -> None:
    scene = warm()
    scene.take(book(3_100, [(10_000, 5)], [], BookFlags.MORE))
    assert scene.after(book(3_200, [(10_000, 9)], ASKS, WHOLE))[OFI] is LOST


def test_the_first_book_in_parts_is_no_book_before_the_last() -> None:
    scene = Scene(SETTINGS)
    assert scene.take(book(0, BIDS, [], WHOLE | BookFlags.MORE)) == []
    assert scene.after(trade(1, 1))["mid"] is Why.NO_BOOK
    assert scene.after(book(2, [], ASKS))["mid"] == 100.01


def test_time_of_others_does_not_pass_while_the_connection_is_lost() -> None:
    scene = warm(every_ns=100 * MS)
    for away in (Disconnected(why="reset", pause_s=1.0), END):
        scene.take(away)
        assert scene.stream.advance(scene.stream.now_ns + 1_000 * MS) == ()
        scene.take(book(scene.stream.now_ns / MS - T0 + 250, BIDS))
        assert len(scene.stream.advance(scene.stream.now_ns + 100 * MS)) == 1


def test_a_lost_connection_that_cost_nothing_changes_nothing() -> None:
    away = [
        Disconnected(why="reset", pause_s=1.0),
        END,
        Disconnected(why="refused", pause_s=1.0),
    ]
    scene, steady = warm(every_ns=50 * MS), warm(every_ns=50 * MS)
    scene.take(*away)
    for each in (scene, steady):
        each.take(book(3_500, [(10_001, 4)]), trade(3_700, -1))
    assert scene.rows[-8:] == steady.rows[-8:]


def test_a_snapshot_that_the_book_has_already_changes_nothing() -> None:
    scene = warm()
    known = book(3_100, [(10_000, 5)])
    scene.take(known, Disconnected(why="reset", pause_s=1.0))
    old = replace(snapshot([(9_000, 1)], [(9_002, 1)]), update_id=known.update_id)
    scene.take(old)
    row = scene.after(trade(3_200, 1))
    assert (row["mid"], row[OFI]) == (100.01, 3)
    scene.take(replace(old, update_id=known.update_id + 1))
    row = scene.after(trade(3_300, 1))
    assert (row["mid"], row[OFI]) == (90.01, LOST)


def test_a_loss_after_a_lost_connection_counts() -> None:
    scene = warm()
    scene.take(Disconnected(why="reset", pause_s=1.0), LOSS)
    assert scene.after(trade(3_100, 1))["mid"] is LOST


def gap(state: GapState, first_id: int = 50, last_id: int = 59) -> Gap:
    return Gap(seq=1, instrument=BTC, first_id=first_id, last_id=last_id, state=state)


def test_a_gap_costs_the_trades_of_its_symbol_and_not_its_book() -> None:
    scene = warm()
    scene.take(trade(3_000, 1, of=ETH), gap(GapState.OPEN))
    row = scene.after(trade(3_100, 4))
    assert (row[FLOW], row[RATE], row[OFI], row["mid"]) == (LOST, LOST, 0, 100.01)
    assert scene.after(trade(4_000, 1, of=ETH))[FLOW] == 1, "its window has filled meanwhile"
    assert scene.after(trade(4_099.999, 1))[FLOW] is LOST
    assert scene.after(trade(4_100, -1))[FLOW] == 0


@pytest.mark.parametrize("state", [GapState.BACK_FILLED, GapState.UNRECOVERABLE, GapState.OTHER])
def test_a_gap_that_closes_with_trades_stays_a_hole_for_its_window(state: GapState) -> None:
    scene = warm()
    scene.take(gap(GapState.OPEN))
    assert scene.after(trade(3_100, 1))[FLOW] is LOST
    filled = trade(3_200, -9, trade_id=55, back_filled=True)
    assert scene.after(filled)[RATE] is LOST
    scene.take(gap(state, 50, 55), gap(GapState.NO_TRADE, 56, 59))
    assert scene.after(trade(4_099, 1))[RATE] is LOST
    assert scene.after(trade(4_100, 1))[FLOW] == 1, "the trade that was back-filled does not count"


def test_ids_that_were_no_trades_were_no_gap() -> None:
    scene = warm()
    scene.take(gap(GapState.OPEN), trade(3_100, 1), gap(GapState.NO_TRADE, 53, 54))
    assert scene.after(trade(3_200, 1))[FLOW] is LOST
    scene.take(gap(GapState.NO_TRADE, 50, 52), gap(GapState.NO_TRADE, 55, 59))
    assert scene.after(trade(3_300, 1))[RATE] == 4


def test_ids_that_are_lost_without_an_open_gap_are_a_hole() -> None:
    scene = warm()
    scene.take(gap(GapState.UNRECOVERABLE))
    assert scene.after(trade(3_100, 1))[FLOW] is LOST
    scene = warm()
    scene.take(gap(GapState.BACK_FILLED), gap(GapState.NO_TRADE))
    assert scene.after(trade(3_100, 1))[FLOW] == 1


def test_a_back_filled_trade_that_nothing_announced_is_a_hole() -> None:
    scene = warm()
    assert scene.after(trade(3_100, -5, back_filled=True))[FLOW] is LOST
    assert scene.after(trade(4_099, 1))[FLOW] is LOST
    assert scene.after(trade(4_100, 1))[FLOW] == 1


def test_more_gaps_than_are_remembered_stay_holes() -> None:
    scene = warm()
    for number in range(70):
        scene.take(gap(GapState.OPEN, number * 10, number * 10 + 4))
    scene.take(trade(3_100, 1))
    for number in range(70):
        scene.take(gap(GapState.NO_TRADE, number * 10, number * 10 + 4))
    assert scene.after(trade(3_200, 1))[FLOW] is LOST
    assert scene.after(trade(4_100, 1))[FLOW] == 1


@pytest.mark.parametrize("kind", [TradeKind.INSURANCE_FUND, TradeKind.ADL, TradeKind.OTHER])
def test_trades_at_no_market_price_do_not_count(kind: TradeKind) -> None:
    scene = warm()
    row = scene.after(trade(3_500, -99, 5, kind=kind))
    assert (row[FLOW], row[RATE], row["vwap_1000ms"]) == (1, 1, 100.0)


def test_time_that_goes_back_a_little_stays_where_it_was() -> None:
    scene = warm()
    row = scene.take(trade(2_000, -3))[0]
    assert row.time_ns == at_ns(3_000)
    assert shown(scene.stream.columns, row)[FLOW] == -1 / 5
    scene.take(book(2_500, [(10_000, 9)]), LOSS)
    row = shown(scene.stream.columns, scene.take(book(2_600, BIDS, ASKS, WHOLE))[0])
    assert (row["mid"], row[OFI], row[FLOW]) == (100.01, LOST, LOST)
    assert scene.after(trade(4_000, 1))[OFI] == 0


def test_a_clock_that_was_set_back_begins_anew_and_keeps_the_books() -> None:
    scene = warm(every_ns=500 * MS)
    rows = scene.take(trade(1_999.999, 5), book(2_000, [(10_000, 7)]), trade(3_000, 1))
    assert [each.time_ns for each in rows] == [at_ns(2_000), at_ns(2_500)]
    row = shown(scene.stream.columns, rows[0])
    assert (row["mid"], row["bid_quantity_10bps"]) == (100.01, 7)
    for name in (OFI, FLOW, LAG, RATE):
        assert row[name] is WARMING_UP
    assert scene.stream.advance(at_ns(0)) == ()
    last = scene.stream.row("BTCUSDT")
    assert last is not None
    row = shown(scene.stream.columns, last)
    assert (row[OFI], row[FLOW], row[RATE]) == (0, 1, 1)


def test_a_clock_that_was_set_back_brings_no_trades_to_a_stream_without_any() -> None:
    scene = Scene(SETTINGS)
    scene.take(book(9_000, BIDS, ASKS, WHOLE), book(1_000, BIDS))
    assert scene.after(book(9_000, BIDS))[RATE] is WARMING_UP


def test_a_time_beyond_64_bits_is_a_clock_that_is_wrong() -> None:
    scene = warm(every_ns=500 * MS)
    for wrong_ns in (2**62 + 1, 2**63, 2**64 - 1):
        late = replace(book(0, [(10_000, 3)]), received_ns=wrong_ns)
        scene.take(late, replace(trade(0, 1), received_ns=wrong_ns))
        assert scene.stream.now_ns == MAX_TIME_NS
        assert scene.stream.advance(wrong_ns) == []
    scene.take(book(4_000, BIDS))
    assert scene.stream.now_ns == at_ns(4_000)
    row = shown(scene.stream.columns, scene.take(book(4_501, BIDS))[0])
    assert (row["mid"], row[OFI], row[RATE]) == (100.01, WARMING_UP, WARMING_UP)


def test_a_time_below_zero_is_none() -> None:
    records = trade(0, 1), quote(0, (1, 1), (2, 1)), book(0, BIDS, ASKS, WHOLE)
    early = [replace(each, received_ns=-5) for each in records]
    scene = Scene(SETTINGS)
    assert scene.take(*early) == []
    assert scene.after(trade(0, 1))["mid"] == 100.01
    scene = warm()
    assert scene.take(*early) == []
    assert scene.after(trade(3_100, 1))[RATE] == 2, "the early trade does not count"


def test_a_jump_of_the_clock_empties_the_windows() -> None:
    scene = warm()
    row = scene.after(trade(3_600_000, 1))
    assert (row[RATE], row[OFI], row[VOLATILITY]) == (1, 0, 0)


def test_a_book_that_is_too_deep_is_lost_and_raises_nothing() -> None:
    scene = warm()
    bids = [(price, 1) for price in range(1, MAX_BOOK_LEVELS + 2)]
    assert scene.after(book(3_100, bids))["mid"] is LOST
    assert scene.after(book(3_200, BIDS, ASKS, WHOLE))["mid"] == 100.01


def test_an_instrument_in_other_units_starts_anew() -> None:
    scene = warm()
    other = replace(BTC, quantity_exponent=-1)
    row = scene.after(book(3_100, BIDS, ASKS, WHOLE, of=other), trade(3_200, 10, of=other))
    assert (row["mid"], row[OFI]) == (100.01, WARMING_UP)
    assert scene.stream.features("BTCUSDT").instrument is other  # type: ignore[union-attr]


def test_an_instrument_at_another_index_goes_on() -> None:
    scene = warm()
    (row,) = scene.take(trade(3_100, 1, of=replace(BTC, index=5)))
    assert (row.instrument.index, shown(scene.stream.columns, row)[RATE]) == (5, 2)


def test_a_quote_of_a_snapshot_is_not_undone_by_older_ones() -> None:
    scene = Scene(SETTINGS)
    scene.take(quote(0, (9_000, 1), (9_002, 1)), LOSS)
    scene.take(Quote(BTC, 10**9, 0, 10_000, 1, 10_002, 1))
    assert scene.after(quote(100, (9_000, 1), (9_002, 1)))["mid"] == 100.01
    newer = Quote(BTC, 10**9 + 1, 0, 10_002, 1, 10_004, 1, 9, at_ns(200))
    assert scene.after(newer)["mid"] == 100.03
    older = Quote(BTC, 1, 0, 10_004, 1, 10_006, 1, 9, at_ns(300))
    assert scene.after(older)["mid"] == 100.05, "a venue may begin its numbers again"


@pytest.mark.parametrize("of", [BTC, None])
@pytest.mark.parametrize("state", [FeedState.DOWN, FeedState.STALE])
def test_a_quote_from_before_a_silence_is_not_shown_after_it(
    state: FeedState, of: Instrument | None
) -> None:
    scene = Scene(SETTINGS)
    scene.take(quote(0, (10_000, 1), (10_002, 1)), status(state, of))
    scene.take(quote(10, (9_000, 1), (9_002, 1), of=ETH))
    scene.take(status(FeedState.LIVE, None), status(FeedState.LIVE))
    assert scene.after(trade(60_000, 1))["mid"] is LOST
    row = scene.after(quote(60_001, (10_000, 1), (10_002, 1)))
    assert (row["mid"], row[OFI]) == (100.01, LOST)


def test_a_quote_that_comes_while_it_is_not_live_is_shown_once_it_is() -> None:
    scene = Scene(SETTINGS)
    scene.take(quote(0, (9_000, 1), (9_002, 1)), status(FeedState.STALE))
    assert scene.after(quote(100, (10_000, 1), (10_002, 1)))["mid"] is NOT_LIVE
    scene.take(status(FeedState.LIVE))
    assert scene.after(trade(200, 1))["mid"] == 100.01


def test_a_quote_of_a_snapshot_that_is_known_already_changes_nothing() -> None:
    scene = Scene(SETTINGS)
    known = quote(500, (10_000, 5), (10_002, 1))
    scene.take(quote(0, (10_000, 2), (10_002, 1)), known)
    again = replace(known, seq=0, received_ns=0)
    scene.take(Disconnected(why="reset", pause_s=1.0), again)
    assert scene.after(trade(1_100, 1))[OFI] == 3
    scene.take(replace(again, update_id=known.update_id + 1, bid_quantity=9))
    row = scene.after(trade(1_200, 1))
    assert (row["order_book_imbalance"], row[OFI]) == (0.8, LOST)


def test_quotes_beside_a_book_change_nothing() -> None:
    scene = warm()
    scene.take(book(3_100, [(10_000, 5)]))
    scene.take(quote(3_200, (9_000, 1), (9_002, 1)), Quote(BTC, 10**9, 0, 8_000, 1, 8_002, 1))
    row = scene.after(trade(3_300, 1))
    assert (row["mid"], row[OFI]) == (100.01, 3)


def test_quotes_without_a_side_are_one_sided() -> None:
    scene = Scene(SETTINGS)
    assert scene.after(quote(0, (10_000, 0), (10_000, 1)))["mid"] is Why.ONE_SIDED
    assert scene.after(quote(1, (10_000, 1), (10_000, 0)))["mid"] is Why.ONE_SIDED


def test_a_side_that_was_empty_for_a_moment_breaks_the_order_flow() -> None:
    scene = warm()
    row = scene.after(book(3_100, [(10_000, 0)]))
    assert (row["mid"], row[OFI], row[VOLATILITY]) == (Why.ONE_SIDED,) * 3
    row = scene.after(book(3_200, BIDS))
    assert (row["mid"], row[OFI]) == (100.01, Why.ONE_SIDED)
    assert scene.after(trade(4_200, 1))[OFI] == 0


def test_a_crossed_book_shows_nothing_and_its_changes_count() -> None:
    scene = warm()
    assert scene.after(book(3_100, [(10_005, 1)]))[OFI] is Why.CROSSED
    row = scene.after(book(3_200, [(10_005, 0)]))
    assert (row[OFI], row["mid"]) == (1 - 1, 100.01)


def test_whole_books_by_order_do_not_touch_the_order_flow_of_a_book_by_price() -> None:
    scene = Scene(SETTINGS)
    scene.take(book(0, BIDS, ASKS, WHOLE))
    by_order = OrderUpdate(BTC, 1, 0, pack_orders([(1, 9_000, 1)]), b"", WHOLE, 1, at_ns(550))
    scene.take(by_order, book(600, [(10_000, 5)]))
    assert scene.after(trade(1_500, 1))[OFI] == 3
    # Nor does one in parts hide that the book by price is a new one.
    scene.take(replace(by_order, flags=WHOLE | BookFlags.MORE))
    assert scene.after(book(1_600, BIDS, ASKS, WHOLE))[OFI] is LOST


def test_a_book_by_order_has_the_features_of_its_prices() -> None:
    bids, asks = pack_orders([(1, 10_000, 1), (2, 10_000, 1)]), pack_orders([(3, 10_002, 1)])
    update = OrderUpdate(BTC, 1, 0, bids, asks, WHOLE, 1, at_ns(0))
    row = Scene(SETTINGS).after(update)
    assert (row["mid"], row["order_book_imbalance"]) == (100.01, 1 / 3)


def test_only_symbols_that_are_wanted_have_rows() -> None:
    scene = Scene(SETTINGS, symbols=["ETHUSDT"])
    assert scene.take(trade(0, 1), quote(1, (1, 1), (2, 1)), book(2, BIDS, ASKS, WHOLE)) == []
    assert scene.take(status(FeedState.STALE), gap(GapState.OPEN)) == []
    assert [row.symbol for row in scene.take(trade(1_000, 1, of=ETH))] == ["ETHUSDT"]
    assert scene.stream.row("BTCUSDT") is None


def test_rows_at_an_interval_have_all_records_up_to_then() -> None:
    scene = Scene(SETTINGS, every_ns=100 * MS)
    assert scene.take(book(50, BIDS, ASKS, WHOLE), trade(50, 1, of=ETH), book(100, BIDS)) == []
    rows = scene.take(book(100, [(10_001, 1)]), book(100.001, [(10_001, 0)]))
    assert [(row.symbol, row.time_ns) for row in rows] == [
        ("BTCUSDT", at_ns(100)),
        ("ETHUSDT", at_ns(100)),
    ]
    assert rows[0].values[0] == 100.015
    rows = scene.take(trade(350, 1))
    assert [row.time_ns for row in rows] == [at_ns(at) for at in (200, 200, 300, 300)]
    assert rows[0].values[0] == 100.01
    assert [row.time_ns for row in scene.stream.advance(at_ns(401))] == [at_ns(400)] * 2
    assert scene.stream.advance(at_ns(399)) == ()


def test_rows_between_a_loss_and_the_next_record_know_of_it() -> None:
    scene = warm(every_ns=100 * MS)
    scene.take(LOSS)
    rows = scene.take(book(3_250, BIDS, ASKS, WHOLE))
    assert [shown(scene.stream.columns, row)["mid"] for row in rows] == [LOST] * 3


def test_a_stream_that_stood_still_for_long_gives_the_newest_rows_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_module, "MAX_TICK_ROWS", 10)
    scene = Scene(SETTINGS, every_ns=MS)
    scene.take(trade(0, 1))
    assert len(scene.take(trade(10, 1))) == 10
    assert [row.time_ns for row in scene.take(trade(1_000_000, 1))] == [at_ns(999_999)]


@pytest.mark.parametrize("every_ns", [0, -1])
def test_an_interval_of_nothing_is_refused(every_ns: int) -> None:
    with pytest.raises(SettingsError, match="interval"):
        StreamFeatures(SETTINGS, every_ns=every_ns)


def test_a_string_in_the_place_of_symbols_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"symbols='BTCUSDT'.*\['BTCUSDT'\]"):
        StreamFeatures(SETTINGS, symbols="BTCUSDT")


def test_records_that_say_nothing_of_the_market_change_nothing() -> None:
    scene = warm()
    (row,) = scene.take(trade(3_100, 1))
    assert scene.take(Skipped(first_seq=1, last_seq=2, kind=0x1F), row) == []
    assert scene.stream.row("BTCUSDT") == row


def test_the_rows_of_a_stream_are_those_of_its_records() -> None:
    records = [book(0, BIDS, ASKS, WHOLE), trade(1, 1), LOSS, trade(2, 1)]
    stream = StreamFeatures(SETTINGS)
    expected = [row for record in records for row in stream.take(record)]
    assert list(rows_in(records, SETTINGS)) == expected
    assert [row.time_ns for row in expected] == [(T0 + at) * MS for at in range(3)]


def test_an_update_without_a_time_or_a_trade_gives_no_row() -> None:
    scene = warm()
    late = trade(0, 1)
    assert scene.take(snapshot(BIDS, ASKS), Snapshot(trades=(late,))) == []
    assert isinstance(scene.after(trade(3_100, 1))["mid"], float)
