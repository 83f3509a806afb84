from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.analytics.nbbo.assets import Asset, AssetError, AssetName, parse_asset
from fanout.analytics.nbbo.best_prices import Top
from fanout.analytics.nbbo.nbbo import Best, Nbbo, Why
from fanout.analytics.nbbo.nbbos import BestPricesOf, VenueStream
from fanout.clients.outcomes import Disconnected, Restarted
from fanout.protocol import (
    BookFlags,
    BookUpdate,
    End,
    EndReason,
    FeedState,
    Gap,
    GapState,
    Loss,
    LossReason,
    Order,
    OrderUpdate,
    Position,
    Skipped,
    Snapshot,
    Status,
    Trade,
    pack_levels,
    pack_orders,
)
from fanout.protocol.constants import MAX_BOOK_LEVELS, InstrumentType
from fanout.protocol.errors import WrongInstrumentError
from fanout.protocol.instrument import Instrument
from tests.fanout.analytics.nbbo_venues import BTC_USDT, MS, NOW, book, header, instrument, quote

BTC = instrument()
ETH = instrument("ETHUSDT", index=1, base="ETH")
TOP: Top = (1000, 2, 1002, 1)
OTHER: Top = (1001, 3, 1003, 4)

AWAY = Disconnected(why="reset", pause_s=0.1)
RESTARTED = Restarted(before=Position(epoch_ns=1, seq=5), epoch_ns=2)
LOSS = Loss(first_seq=1, last_seq=2, reason=LossReason.SLOW)
END = End(reason=EndReason.SHUTDOWN, last_seq=9, retry_ms=0)
TRADE = Trade(BTC, 1, 2, 3, 4, False, seq=3, received_ns=NOW)
GAP = Gap(seq=4, instrument=BTC, first_id=1, last_id=2, state=GapState.OPEN)
SKIPPED = Skipped(first_seq=4, last_seq=5, kind=0x1F)


def status(state: FeedState, of: Instrument | None = BTC) -> Status:
    return Status(seq=2, instrument=of, state=state, since_ns=1)


class Market:
    """Two venues with BTC and ETH, and the best prices of BTC."""

    def __init__(self, *names: AssetName, max_stale_ms: int = 500) -> None:
        self.prices = BestPricesOf(names or [parse_asset("BTC-USDT")], max_stale_ms=max_stale_ms)
        self.a, self.b = self.prices.stream(), self.prices.stream()
        self.a.meet(header("A", BTC, ETH))
        self.b.meet(header("B", BTC, ETH))

    @property
    def best(self) -> Nbbo:
        return self.prices[BTC_USDT].best

    @property
    def whys(self) -> tuple[Why, ...]:
        return self.best.whys


def fed(*records: Any, top: Top = TOP) -> Market:
    """A market where A has a book of this top, and then these records came from A."""
    market = Market()
    market.a.take(book(BTC, top, NOW))
    for each in records:
        market.a.take(each)
    return market


def test_books_of_several_streams_make_the_best_price() -> None:
    market = Market()
    assert list(market.a.take(book(BTC, TOP, NOW))) == [market.prices[BTC_USDT]]
    market.b.take(book(BTC, OTHER, NOW + 1))
    assert market.best.bid == Best(1001, 3, "B")
    assert market.best.ask == Best(1002, 1, "A")
    assert market.best.fresh == 2


def test_an_update_that_changes_nothing_that_is_shown_changes_no_asset() -> None:
    market = fed()
    assert not market.a.take(book(BTC, (990, 7, 1010, 7), NOW, flags=0, update_id=2))
    assert market.best.bid == Best(1000, 2, "A")


def test_other_assets_and_other_symbols_are_passed_over() -> None:
    market = fed()
    assert not market.a.take(book(ETH, OTHER, NOW))
    assert [each.asset for each in market.prices.assets] == [BTC_USDT]
    with pytest.raises(AssetError, match="no venue has ETH-USDT:spot; there is BTC-USDT:spot"):
        market.prices[Asset("ETH", "USDT")]


def test_without_names_all_assets_are_followed() -> None:
    prices = BestPricesOf()
    with pytest.raises(AssetError, match="there is none"):
        prices[BTC_USDT]
    stream = prices.stream()
    stream.meet(header("A", BTC, ETH, instrument("F", type=InstrumentType.FUTURE)))
    assert [str(each.asset) for each in prices.assets] == ["BTC-USDT:spot", "ETH-USDT:spot"]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (LOSS, Why.LOST),
        (RESTARTED, Why.LOST),
        (AWAY, Why.AWAY),
        (END, Why.AWAY),
        (status(FeedState.STALE), Why.NOT_LIVE),
        (status(FeedState.HALTED), Why.NOT_LIVE),
        (status(FeedState.CONNECTING, None), Why.NOT_LIVE),
        (status(FeedState.DOWN, None), Why.NOT_LIVE),
        (book(BTC, (1002, 1, 1002, 1), NOW), Why.CROSSED),
        (book(BTC, (0, 0, 0, 0), NOW), Why.EMPTY),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, Why) else value.name,
)
@pytest.mark.parametrize("source", ["book", "quote"])
def test_a_venue_is_out_with_the_reason(record: Any, why: Why, source: str) -> None:
    market = Market()
    if source == "quote" and isinstance(record, BookUpdate):
        top = (1002, 1, 1002, 1) if why is Why.CROSSED else (1000, 0, 1000, 0)
        record = quote(BTC, top, NOW)
    market.a.take(book(BTC, TOP, NOW) if source == "book" else quote(BTC, TOP, NOW))
    assert market.best.bid == Best(1000, 2, "A")
    assert list(market.a.take(record)) == [market.prices[BTC_USDT]]
    assert (market.best.bid, market.best.ask) == (None, None)
    assert market.whys == (why, Why.NO_BOOK)


def test_a_status_of_another_symbol_is_no_matter() -> None:
    assert fed(status(FeedState.STALE, ETH)).whys[0] is Why.FRESH


@pytest.mark.parametrize("source", ["book", "quote"])
@pytest.mark.parametrize(
    ("down", "up"),
    [
        ([status(FeedState.STALE)], [status(FeedState.LIVE)]),
        ([status(FeedState.STALE, None)], [status(FeedState.LIVE, None)]),
        (
            [status(FeedState.DOWN, None)],
            [status(FeedState.LIVE, None), status(FeedState.LIVE)],
        ),
        ([AWAY], [TRADE]),
        ([AWAY], [GAP]),
        ([AWAY], [SKIPPED]),
        ([AWAY], [status(FeedState.LIVE)]),
        ([AWAY], [book(ETH, TOP, NOW)]),
        ([AWAY], [quote(ETH, TOP, NOW)]),
        ([END, AWAY], [TRADE]),
    ],
)
def test_what_was_hidden_is_shown_again_as_it_was(
    source: str, down: list[Any], up: list[Any]
) -> None:
    market = Market()
    market.a.take(book(BTC, TOP, NOW) if source == "book" else quote(BTC, TOP, NOW))
    for each in down:
        market.a.take(each)
    for each in up:
        assert market.best.bid is None
        market.a.take(each)
    assert market.best.bid == Best(1000, 2, "A")


@pytest.mark.parametrize("source", ["book", "quote"])
def test_after_a_feed_was_down_each_symbol_waits_for_its_own_live(source: str) -> None:
    market = Market()
    market.a.take(book(BTC, TOP, NOW) if source == "book" else quote(BTC, TOP, NOW))
    for each in (status(FeedState.DOWN, None), status(FeedState.LIVE, None)):
        market.a.take(each)
        assert market.whys[0] is Why.NOT_LIVE


@pytest.mark.parametrize("event", [LOSS, RESTARTED])
def test_what_was_lost_is_never_shown_again(event: Any) -> None:
    market = fed(event, TRADE, status(FeedState.LIVE))
    market.a.take(book(BTC, OTHER, NOW, flags=0, update_id=2))
    assert market.best.bid is None
    assert market.whys[0] is Why.LOST
    market.a.take(book(BTC, OTHER, NOW, update_id=3))
    assert market.best.bid == Best(1001, 3, "A")


@pytest.mark.parametrize("event", [LOSS, RESTARTED])
def test_a_quote_that_was_lost_waits_for_the_next_one(event: Any) -> None:
    market = Market()
    market.a.take(quote(BTC, TOP, NOW))
    market.a.take(event)
    assert not market.a.take(TRADE)
    assert market.whys[0] is Why.LOST
    market.a.take(quote(BTC, OTHER, NOW))
    assert market.best.bid == Best(1001, 3, "A")


def test_a_quote_after_the_connection_was_lost_counts_at_once() -> None:
    market = Market()
    market.a.take(quote(BTC, TOP, NOW))
    market.a.take(AWAY)
    market.a.take(quote(BTC, OTHER, 0, seq=0))
    assert market.best.bid == Best(1001, 3, "A"), "a snapshot, which is newer than what was"


def test_a_book_without_a_time_counts_from_its_first_update() -> None:
    market = Market()
    assert market.a.take(book(BTC, TOP, 0, seq=0))
    assert market.whys[0] is Why.UNDATED
    assert market.best.bid is None
    market.a.take(book(BTC, (990, 7, 1010, 7), NOW, flags=0, update_id=2))
    assert market.best.bid == Best(1000, 2, "A")


def test_a_quote_without_a_time_counts_from_the_next_one() -> None:
    market = Market()
    market.a.take(quote(BTC, TOP, 0, seq=0))
    assert market.whys[0] is Why.UNDATED
    market.a.take(quote(BTC, TOP, NOW))
    assert market.whys[0] is Why.FRESH


def test_a_book_wins_over_quotes_whichever_is_newer() -> None:
    market = Market()
    market.a.take(quote(BTC, TOP, NOW))
    market.a.take(book(BTC, OTHER, NOW))
    assert market.best.bid == Best(1001, 3, "A")
    assert not market.a.take(quote(BTC, (1002, 9, 1004, 9), NOW + 1))
    assert market.best.bid == Best(1001, 3, "A")
    market.a.take(LOSS)
    market.a.take(quote(BTC, TOP, NOW + 2))
    assert market.whys[0] is Why.LOST, "not even while the book is lost"


def test_a_service_that_is_started_anew_may_have_quotes_only() -> None:
    market = fed(RESTARTED)
    market.a.take(quote(BTC, OTHER, NOW))
    assert market.best.bid == Best(1001, 3, "A")


def test_quotes_that_are_ignored_do_not_make_a_book_fresh() -> None:
    market = fed()
    market.a.take(quote(BTC, TOP, NOW + 501 * MS))
    assert market.whys[0] is Why.STALE


def test_between_the_parts_of_an_update_the_prices_before_it_stay_at_their_age() -> None:
    market = fed()
    part = book(BTC, (1001, 1, 1001, 1), NOW + 400 * MS, flags=BookFlags.MORE, update_id=2)
    assert not market.a.take(part)
    assert market.best.bid == Best(1000, 2, "A")
    assert market.prices.advance(NOW + 501 * MS)
    assert market.whys[0] is Why.STALE
    market.a.take(
        BookUpdate(BTC, 2, 0, b"", pack_levels([(1001, 0)]), BookFlags.NONE, 5, NOW + 502 * MS)
    )
    assert market.best.bid == Best(1001, 1, "A")


def test_a_whole_book_in_parts_is_not_shown_before_its_last_part() -> None:
    market = Market()
    market.a.take(book(BTC, TOP, NOW, flags=BookFlags.WHOLE | BookFlags.MORE))
    assert market.whys[0] is Why.NO_BOOK
    market.a.take(book(BTC, (999, 1, 1003, 1), NOW, flags=0))
    assert market.best.bid == Best(1000, 2, "A")


def test_no_part_of_a_book_is_shown_while_the_connection_is_lost() -> None:
    market = fed(book(BTC, OTHER, NOW, flags=BookFlags.MORE, update_id=2), AWAY)
    assert market.whys[0] is Why.AWAY


def test_books_by_order_count_as_well() -> None:
    market = Market()
    bids, asks = pack_orders([Order(1, 1000, 2), Order(2, 1000, 5)]), pack_orders([(3, 1002, 1)])
    market.a.take(OrderUpdate(BTC, 1, 0, bids, asks, BookFlags.WHOLE, 1, NOW))
    assert market.best.bid == Best(1000, 7, "A")


def test_a_book_over_its_limit_is_out_and_the_others_go_on() -> None:
    market = fed()
    market.b.take(book(BTC, OTHER, NOW))
    levels = pack_levels([(price, 1) for price in range(-MAX_BOOK_LEVELS, 1)])
    market.a.take(BookUpdate(BTC, 2, 0, levels, b"", BookFlags.NONE, 5, NOW))
    assert market.whys == (Why.LOST, Why.FRESH)
    assert market.best.ask == Best(1003, 4, "B")


def test_the_newest_record_of_any_stream_and_kind_is_now() -> None:
    market = fed()
    later = replace(TRADE, received_ns=NOW + 501 * MS)
    assert market.b.take(replace(later, received_ns=NOW + 500 * MS)) == ()
    assert market.b.take(later) == [market.prices[BTC_USDT]]
    assert (market.whys[0], market.best.bid) == (Why.STALE, None)


def test_an_update_of_another_asset_is_now_as_well() -> None:
    market = fed()
    market.b.take(quote(ETH, TOP, NOW + 501 * MS))
    assert market.whys[0] is Why.STALE


def test_an_asset_that_was_quiet_knows_how_late_it_is() -> None:
    market = fed()
    market.b.take(replace(TRADE, received_ns=NOW + 5_000 * MS))
    market.a.take(book(BTC, OTHER, NOW + 4_000 * MS, update_id=2))
    assert market.whys[0] is Why.STALE
    market.a.take(book(BTC, OTHER, NOW + 4_600 * MS, update_id=3))
    assert market.whys[0] is Why.FRESH


def test_the_caller_can_say_how_late_it_is() -> None:
    market = fed()
    assert not market.prices.advance(NOW + 500 * MS)
    assert market.prices.advance(NOW + 501 * MS) == [market.prices[BTC_USDT]]
    assert not market.prices.advance(NOW), "time does not go back"
    assert market.prices.now_ns == NOW + 501 * MS


def test_the_order_of_the_streams_decides_a_tie_whichever_came_up_first() -> None:
    prices = BestPricesOf()
    first, second = prices.stream(), prices.stream()
    second.meet(header("B", BTC))
    second.take(book(BTC, TOP, NOW))
    assert prices[BTC_USDT].best.bid == Best(1000, 2, "B")
    first.meet(header("A", BTC))
    assert prices[BTC_USDT].best.whys == (Why.NO_BOOK, Why.FRESH)
    first.take(book(BTC, TOP, NOW))
    assert prices[BTC_USDT].best.bid == Best(1000, 2, "A")
    second.take(book(BTC, OTHER, NOW, update_id=2))
    assert prices[BTC_USDT].best.bid == Best(1001, 3, "B")


def test_a_stream_that_comes_late_takes_its_place_by_rank() -> None:
    prices = BestPricesOf()
    for rank, name in [(1, "B"), (0, "A"), (1, "C")]:
        prices.stream(rank=rank).meet(header(name, BTC))
    assert prices[BTC_USDT].names == ("A", "B", "C")


def test_a_venue_with_two_instruments_of_one_asset_is_refused_and_changes_nothing() -> None:
    market, second = fed(), instrument("BTC_USDT", index=2)
    words = "A has BTC-USDT:spot twice, BTCUSDT and BTC_USDT: choose one by its symbol"
    with pytest.raises(AssetError, match=words):
        market.a.meet(header("A", BTC, second))
    third = market.prices.stream()
    with pytest.raises(AssetError, match="A has BTC-USDT:spot twice, BTCUSDT and BTC_USDT"):
        third.meet(header("A", second))
    assert market.best.bid == Best(1000, 2, "A")
    assert not third.take(book(second, OTHER, NOW))


def test_symbols_choose_among_the_instruments_of_a_venue() -> None:
    prices = BestPricesOf()
    stream = prices.stream(symbols=["BTC_USDT"])
    second = instrument("BTC_USDT", index=1)
    stream.meet(header("A", BTC, second))
    stream.take(book(BTC, TOP, NOW))
    assert prices[BTC_USDT].best.bid is None
    stream.take(book(second, OTHER, NOW))
    assert prices[BTC_USDT].best.bid == Best(1001, 3, "A")


def test_a_new_header_keeps_what_is_the_same_and_drops_what_is_gone() -> None:
    market = fed()
    market.a.meet(header("A", BTC, ETH))
    assert market.best.bid == Best(1000, 2, "A")
    market.a.meet(header("A", ETH))
    assert market.best.venues == ("B",)
    assert not market.a.take(book(BTC, OTHER, NOW))


def test_a_new_header_with_other_units_begins_anew() -> None:
    market = fed()
    finer = instrument(price_exponent=-3)
    market.a.meet(header("A", finer))
    assert market.whys[0] is Why.NO_BOOK
    market.a.take(book(finer, (100_001, 2, 100_200, 1), NOW))
    assert market.best.bid == Best(100_001, 2, "A")
    assert market.best.price_exponent == -3


def test_a_record_with_other_units_than_the_header_begins_anew() -> None:
    market, finer = fed(), instrument(price_exponent=-3)
    market.a.take(book(finer, (100_000, 2, 100_200, 1), NOW, flags=0, update_id=2))
    assert market.whys[0] is Why.NO_BOOK
    market.a.take(book(finer, (100_001, 2, 100_200, 1), NOW, update_id=3))
    assert market.best.bid == Best(100_001, 2, "A")


def test_a_record_with_an_equal_instrument_is_as_good_as_one_with_the_headers() -> None:
    market = fed(book(instrument(), OTHER, NOW, update_id=2))
    assert market.best.bid == Best(1001, 3, "A")


def test_a_symbol_that_became_another_asset_is_refused() -> None:
    market, other = fed(), instrument(base="XBT")
    with pytest.raises(WrongInstrumentError, match="BTCUSDT is no longer BTC-USDT:spot"):
        market.a.take(book(other, OTHER, NOW, update_id=2))


def test_a_snapshot_of_trades_is_no_news() -> None:
    assert not fed().a.take(Snapshot(trades=()))


def test_a_change_of_several_assets_is_reported_once_for_each() -> None:
    market = Market(parse_asset("BTC-USDT"), parse_asset("ETH-USDT"))
    market.a.take(book(BTC, TOP, NOW))
    market.a.take(book(ETH, TOP, NOW))
    changed = market.a.take(AWAY)
    assert [each.asset.base for each in changed] == ["BTC", "ETH"]
    changed = market.a.take(book(BTC, OTHER, NOW + 501 * MS, update_id=2))
    assert sorted(each.asset.base for each in changed) == ["BTC", "ETH"]
    assert market.prices[Asset("ETH", "USDT")].best.whys[0] is Why.STALE


def test_an_update_that_makes_others_stale_reports_all_assets_that_changed() -> None:
    market = Market(parse_asset("BTC-USDT"), parse_asset("ETH-USDT"))
    market.a.take(book(BTC, TOP, NOW))
    market.a.take(book(ETH, TOP, NOW))
    changed = market.b.take(book(BTC, OTHER, NOW + 501 * MS))
    assert sorted(each.asset.base for each in changed) == ["BTC", "ETH"]
    assert market.best.whys == (Why.STALE, Why.FRESH)


# What may be shown after any story of a stream.

_RECORDS = st.sampled_from(
    [
        *("update", "update", "update", "cross", "part", "quote"),
        *(LOSS, RESTARTED, AWAY, END, TRADE, GAP),
        *(status(state) for state in (FeedState.LIVE, FeedState.STALE)),
        *(status(state, None) for state in (FeedState.LIVE, FeedState.STALE, FeedState.DOWN)),
    ]
)


class Reader:
    """What a careful reader may show of one venue: its newest book, or nothing."""

    def __init__(self, stream: VenueStream) -> None:
        self.stream = stream
        self.book: Top | None = None
        self.time_ns = 0
        self.is_live = self.is_feed_live = True
        self.is_away = False
        self.is_partial = False
        """Whether a part of a book has come, and no whole one since."""
        self.update_id = 1

    def take(self, kind: Any, price: int, now_ns: int) -> None:
        self.update_id += 1
        top = (price, 1 + price % 3, price + 2, 1 + price % 2)
        if not isinstance(kind, str):
            self.event(kind)
            self.stream.take(kind)
            return
        self.is_away = False
        if kind == "quote":
            self.stream.take(quote(BTC, top, now_ns))
        elif kind == "part":
            self.is_partial, flags = True, BookFlags.WHOLE | BookFlags.MORE
            self.stream.take(book(BTC, top, now_ns, flags=flags, update_id=self.update_id))
        else:
            self.whole(top if kind == "update" else (price, 1, price, 1), now_ns)

    def whole(self, top: Top, now_ns: int) -> None:
        self.book, self.time_ns, self.is_partial = top, now_ns, False
        self.stream.take(book(BTC, top, now_ns, update_id=self.update_id))

    def event(self, record: Any) -> None:
        self.is_away = self.is_away and isinstance(record, Loss | Restarted)
        match record:
            case Loss() | Restarted():
                self.book, self.is_live, self.is_feed_live = None, True, True
            case Disconnected() | End():
                self.is_away = True
            case Status(instrument=None, state=state):
                self.is_feed_live = state is FeedState.LIVE
                self.is_live = self.is_live and state is not FeedState.DOWN
            case Status(state=state):
                self.is_live = state is FeedState.LIVE

    def may_show(self, now_ns: int) -> bool:
        is_well = self.is_live and self.is_feed_live and not self.is_away
        is_book = self.book is not None and self.book[0] < self.book[2]
        return is_well and is_book and now_ns - self.time_ns <= 500 * MS


_STEPS = st.tuples(st.booleans(), _RECORDS, st.integers(1_000, 1_004), st.integers(0, 300))


@given(st.lists(_STEPS, max_size=40))
def test_no_price_is_shown_that_its_venue_does_not_have_now(steps: list[Any]) -> None:
    market, now_ns = Market(), NOW
    readers = Reader(market.a), Reader(market.b)
    for each in readers:
        each.whole(TOP, NOW)
    for is_first, kind, price, after_ms in steps:
        now_ns += after_ms * MS
        market.prices.advance(now_ns)
        readers[is_first].take(kind, price, now_ns)
        best = market.best
        fresh = [why is Why.FRESH for why in best.whys]
        for reader, is_fresh in zip(readers, fresh, strict=True):
            # Amid an update or after a restart without books a careful reader may show less.
            if not reader.is_partial and reader.book is not None:
                assert reader.may_show(now_ns) == is_fresh
            assert reader.may_show(now_ns) or not is_fresh or reader.book is None
        shown = [r.book for r, is_fresh in zip(readers, fresh, strict=True) if is_fresh]
        books = [each for each in shown if each is not None]
        if len(books) == len(shown):
            assert (best.bid and best.bid.price) == max([b[0] for b in books], default=None)
            assert (best.ask and best.ask.price) == min([b[2] for b in books], default=None)
