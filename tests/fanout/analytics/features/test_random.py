"""Random markets: features are their definitions, and what a loss leaves is what it was without."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fanout.analytics import FeatureSettings, StreamFeatures, rows_in
from fanout.clients.outcomes import Disconnected, Received
from fanout.protocol import (
    BookFlags,
    BookUpdate,
    FeedState,
    Gap,
    GapState,
    Quote,
    Trade,
    pack_levels,
)
from tests.fanout.analytics.features.test_recorded import assert_same
from tests.fanout.analytics.market import (
    BTC,
    ETH,
    LOSS,
    MS,
    WHOLE,
    at_ns,
    book,
    quote,
    status,
    trade,
)
from tests.fanout.analytics.slow import Side, Slow

SETTINGS = FeatureSettings(
    quantity_bps=(5, 10),
    wap_bps=(5,),
    wap_lags_ms=(20, 100),
    queue_levels=(2,),
    order_flow_ms=(30, 200),
    trade_flow_ms=(30, 200),
    vwap_ms=(100,),
    intensity_ms=(100,),
    volatility_ms=(100, 250),
    volatility_sample_ms=50,
)
LONGEST_MS = 300
"""After so long without a hole everything is known."""

BIDS, ASKS = [(9_900, 1)], [(10_100, 1)]
"""Levels that stay, so that no side is empty."""

changes = st.lists(
    st.tuples(st.booleans(), st.integers(9_990, 10_010), st.integers(0, 3)), min_size=1, max_size=3
)
trades = st.tuples(st.integers(-4, 4).filter(bool), st.integers(9_990, 10_010))
pauses = st.one_of(st.integers(0, 3), st.integers(0, 120))
moves = st.lists(st.tuples(pauses, st.one_of(changes, trades)), min_size=1, max_size=25)


def market(steps: Sequence[tuple[int, Any]], flags: BookFlags = WHOLE) -> list[BookUpdate | Trade]:
    """A whole book, and what changes it, at times in ms."""
    made: list[BookUpdate | Trade] = [book(0, BIDS, ASKS, flags), trade(0, 1)]
    now_ms = 0
    for pause, step in steps:
        now_ms += pause
        if isinstance(step, tuple):
            made.append(trade(now_ms, *step))
        else:
            bids = {price: quantity for is_bid, price, quantity in step if is_bid}
            asks = {price: quantity for is_bid, price, quantity in step if not is_bid}
            made.append(book(now_ms, sorted(bids.items(), reverse=True), sorted(asks.items())))
    return made


@given(moves, st.sampled_from([WHOLE, WHOLE | BookFlags.TOP_ONLY]))
def test_every_feature_is_its_definition(steps: list[tuple[int, Any]], flags: BookFlags) -> None:
    stream, slow = StreamFeatures(SETTINGS), Slow(SETTINGS, -2, 0)
    for record in market(steps, flags):
        (row,) = stream.take(record)
        slow.take(record)
        if slow.states:
            assert_same(row, list(slow.row(row.time_ns)), SETTINGS)


@given(moves, st.integers(1, 90))
def test_a_row_at_an_interval_is_that_of_the_records_up_to_then(
    steps: list[tuple[int, Any]], every_ms: int
) -> None:
    records = market(steps)
    rows = [*rows_in(records, SETTINGS, every_ns=every_ms * MS)]
    last_ns = records[-1].received_ns
    every_ns = every_ms * MS
    first = -(-at_ns(0) // every_ns)
    assert [row.time_ns for row in rows] == [
        tick * every_ns for tick in range(first, -(-last_ns // every_ns))
    ]
    for row in rows[:: max(1, len(rows) // 5)]:
        stream = StreamFeatures(SETTINGS)
        for record in records:
            if record.received_ns <= row.time_ns:
                stream.take(record)
        stream.advance(row.time_ns)
        assert stream.row("BTCUSDT") == row


class Reader:
    """A stream that loses records, beside one that loses none."""

    def __init__(self) -> None:
        self.whole = StreamFeatures(SETTINGS)
        self.lossy = StreamFeatures(SETTINGS)
        self._sides = Side(-1), Side(1)
        self._update_id = 0

    def take(self, record: BookUpdate | Trade, *, is_lost: bool) -> None:
        """A value that is shown is the one without losses."""
        if isinstance(record, BookUpdate):
            self._update_id = record.update_id
            for side, packed in zip(
                self._sides, (record.packed_bids, record.packed_asks), strict=True
            ):
                side.change(packed, is_whole=record.is_whole)
        (expected,) = self.whole.take(record)
        if is_lost:
            return
        (row,) = self.lossy.take(record)
        assert row.time_ns == expected.time_ns
        for name, value, true in zip(SETTINGS.columns, row.values, expected.values, strict=True):
            assert value is None or value == true, name

    def tell(self, *records: Received) -> None:
        for record in records:
            self.lossy.take(record)

    def book(self, received_ns: int) -> BookUpdate:
        """The whole book as it is; without a number if without a time."""
        nothing = b""
        bids, asks = (side.change(nothing, is_whole=False)[:, :2].tolist() for side in self._sides)
        seq = int(received_ns > 0)
        return BookUpdate(
            BTC, self._update_id, 0, pack_levels(bids), pack_levels(asks), WHOLE, seq, received_ns
        )


TROUBLES = ("loss", "loss without a book", "stale", "down", "disconnected", "gap", "other symbol")


@given(moves, st.data())
def test_no_value_is_wrong_after_trouble_and_all_are_back_in_time(
    steps: list[tuple[int, Any]], data: st.DataObject
) -> None:
    reader = Reader()
    left = 0
    trouble = ""
    for at, record in enumerate(market(steps)):
        if left:
            left -= 1
            reader.take(record, is_lost=True)
            if not left:
                reader.tell(LOSS)
                if trouble == "loss":
                    reader.tell(reader.book(data.draw(st.sampled_from([0, record.received_ns]))))
            continue
        reader.take(record, is_lost=False)
        trouble = data.draw(st.sampled_from(("", "", "", *TROUBLES))) if at else ""
        if "loss" in trouble:
            left = data.draw(st.integers(1, 4))
        else:
            reader.tell(*told(trouble))
    now_ns = record.received_ns
    if left:
        reader.tell(LOSS)
    reader.tell(status(FeedState.LIVE, None), status(FeedState.LIVE), reader.book(now_ns))
    last_ms = (now_ns - at_ns(0)) // 1_000_000
    later = trade(last_ms + LONGEST_MS, 1)
    (row,), (expected,) = reader.lossy.take(later), reader.whole.take(later)
    assert (row.values, row.absences) == (expected.values, expected.absences)


quotes = st.tuples(
    st.integers(9_990, 10_010), st.integers(0, 3), st.integers(1, 3), st.integers(0, 3)
)


@given(st.lists(st.tuples(pauses, st.one_of(quotes, trades)), min_size=1, max_size=25), st.data())
def test_no_value_of_quotes_is_wrong_after_trouble(
    steps: list[tuple[int, Any]], data: st.DataObject
) -> None:
    whole, lossy = StreamFeatures(SETTINGS), StreamFeatures(SETTINGS)
    now_ms, ending = 0, list[Received]()
    for pause, step in steps:
        now_ms += pause
        record: Quote | Trade
        if len(step) == 2:
            record = trade(now_ms, *step)
        else:
            bid, bid_quantity, spread, ask_quantity = step
            record = quote(now_ms, (bid, bid_quantity), (bid + spread, ask_quantity))
        (expected,) = whole.take(record)
        if ending and data.draw(st.booleans()):
            continue  # missed by the reader, or by a service that is not LIVE
        for told in ending:
            lossy.take(told)
        (row,) = lossy.take(record)
        for name, value, true in zip(SETTINGS.columns, row.values, expected.values, strict=True):
            assert value is None or value == true, name
        beginning, ending = data.draw(st.sampled_from(INTERRUPTIONS))
        for told in beginning:
            lossy.take(told)


INTERRUPTIONS: list[tuple[list[Received], list[Received]]] = [
    ([], []),
    ([], [LOSS]),
    ([Disconnected(why="reset", pause_s=0.0)], [LOSS]),
    ([status(FeedState.STALE)], [status(FeedState.LIVE)]),
    (
        [status(FeedState.DOWN, None)],
        [status(FeedState.LIVE, None), status(FeedState.LIVE)],
    ),
]
"""What begins a time of which records may be missing, and what ends it."""


def told(trouble: str) -> list[Received]:
    match trouble:
        case "stale":
            return [status(FeedState.STALE), status(FeedState.LIVE)]
        case "down":
            return [status(FeedState.DOWN, None), status(FeedState.LIVE, None)]
        case "disconnected":
            return [Disconnected(why="reset", pause_s=0.0)]
        case "gap":
            return [Gap(seq=1, instrument=BTC, first_id=1, last_id=2, state=GapState.OPEN)]
        case "other symbol":
            return [status(FeedState.STALE, ETH)]
    return []
