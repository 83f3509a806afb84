"""Books that the stream brings whole, at the exchange in memory: P8 holds after every update."""

from collections.abc import Iterator

import pytest
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueUnreachableError
from fanout.feed.book_copies import LAG_S, SUCCESSION_S
from fanout.feed.books import LASTING_S
from fanout.feed.stream_books import REFRESH_S, StreamBooks
from fanout.protocol import DataKinds, Quote, Status, Trade
from fanout.protocol.book_records import BookUpdate, Order, OrderUpdate
from fanout.protocol.orders_book import OrdersBook
from fanout.stats.snapshots import BookStats
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.fanout.feed.toy import FineVenue
from tests.stand.book_reader import ALL, BOOK, BTC, ETH, settled
from tests.stand.loopback import Exchange
from tests.stand.stream_venue import (
    CountingVenue,
    OrdersVenue,
    StreamDialogue,
    StreamJoiner,
    StreamReader,
    StreamVenue,
    begins_anew,
    checksum_of,
    shows_a_loss,
    with_wholes,
)

TWO = FeedConfig(connections=2)
QUOTES = DataKinds.QUOTES
PRICE = "61800.00"


def stats(running: RunningFeed) -> BookStats:
    book = running.feed.stats().instruments[0].book
    assert book is not None
    return book


def prices() -> Iterator[dict[str, str]]:
    for quantity in range(1, 1_000):
        yield {PRICE: f"{quantity}.000"}


def books_asked_for(exchange: Exchange) -> int:
    return sum(each.path.endswith("depth") for each in exchange.requests)


async def test_a_book_begins_with_the_subscription(autojump_clock: MockClock) -> None:
    exchange = with_wholes(BTC)
    exchange.trade(BTC, skip=True)
    async with running_feed(exchange, venue_class=StreamVenue, data=ALL) as running:
        reader = StreamReader(running)
        await settled()
        assert reader.is_live()
        exchange.trade(BTC)
        exchange.change(BTC, {PRICE: "2.000"})
        exchange.quote(BTC, T=exchange.books[BTC].time)
        exchange.tell_whole(BTC, *exchange.sockets)
        await settled()
        assert [type(each) for each in reader.read()] == [Trade, BookUpdate, Quote, BookUpdate]
        assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE"]
        assert books_asked_for(exchange) == 0
        assert (stats(running).snapshots, stats(running).updates) == (2, 1)
        assert StreamJoiner(running).shows()


@pytest.mark.parametrize("fault", ["hole", "crossing", "unreadable", "checksum"])
async def test_a_broken_book_is_asked_for_anew(autojump_clock: MockClock, fault: str) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, venue_class=StreamVenue, data=BOOK) as running:
        reader, (socket,) = StreamReader(running), exchange.sockets
        await settled(LASTING_S)
        socket.push(b'{"sum":%d,"s":"BTCUSDT"}' % checksum_of(1, 1))
        await settled()
        assert reader.is_live()
        match fault:
            case "hole":
                exchange.change(BTC, {PRICE: "3.000"}, skip=True)
                exchange.change(BTC, {PRICE: "4.000"})
            case "crossing":
                exchange.change(BTC, {"61900.00": "3.000"})
                exchange.change(BTC, {"61900.00": "0"}, skip=True)
            case "unreadable":
                exchange.change(BTC, {PRICE: "3.000"}, b="nothing")
            case "checksum":
                socket.push(b'{"sum":7,"s":"BTCUSDT"}')
        await settled(1)  # the connection's messages have their pace
        assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE", "STALE", "LIVE"]
        if fault == "checksum":
            assert reader.why(BTC)[2] == "STALE the venue's checksum differs"
        await settled(2)
        assert exchange.sockets == [socket]
        assert (stats(running).refreshes, stats(running).breaks) == (1, 1)
        assert books_asked_for(exchange) == 0


@pytest.mark.parametrize("venue_class", [StreamVenue, CountingVenue])
async def test_one_of_two_connections_takes_over(
    autojump_clock: MockClock, venue_class: type[StreamVenue]
) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, TWO, venue_class=venue_class, data=BOOK) as running:
        reader, changes = StreamReader(running), prices()
        await settled(2)
        for _ in range(6):
            assert len(exchange.sockets) == 2
            exchange.change(BTC, next(changes))
            await settled()
            assert reader.is_live()
            assert stats(running).standbys == 1
            exchange.sockets[0].break_off()
            exchange.sockets[0].silent = {BTC}
            exchange.change(BTC, next(changes))
            await settled(5)
            assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE"]
        assert stats(running).breaks == 0


async def test_one_of_two_connections_takes_over_from_one_that_lost_a_change(
    autojump_clock: MockClock,
) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, TWO, venue_class=StreamVenue, data=BOOK) as running:
        reader, changes = StreamReader(running), prices()
        await settled(2)
        for number in (0, 1, 0):
            exchange.sockets[number].silent = {BTC}
            exchange.change(BTC, next(changes))
            exchange.sockets[number].silent = set()
            exchange.change(BTC, next(changes))
            await settled()
            assert reader.is_live()
            await settled(1)
            assert stats(running).standbys == 1, "it was refreshed"
            await settled(LASTING_S)
        assert reader.told() == ["CONNECTING", "LIVE"]
        assert stats(running).breaks == 0


async def test_a_copy_that_stands_by_and_breaks_is_no_book_that_is_lost(
    autojump_clock: MockClock,
) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, TWO, venue_class=StreamVenue, data=BOOK) as running:
        reader, changes = StreamReader(running), prices()
        await settled(2)
        exchange.sockets[1].push(b'{"sum":7,"s":"BTCUSDT"}')
        await settled(LASTING_S)
        first, second = (exchange.change(BTC, next(changes), skip=True) for _ in range(2))
        exchange.tell_change(first, exchange.sockets[0])
        exchange.tell_change(second, *exchange.sockets)
        await settled(LASTING_S)
        standby, book = "standby copy of an order book lost", "order book lost"
        assert running.feed.stats().anomalies == {standby: 2}
        exchange.sockets[0].push(b'{"sum":7,"s":"BTCUSDT"}')
        await settled(LASTING_S)
        assert running.feed.stats().anomalies == {standby: 2, book: 1}
        assert reader.is_live()
        assert (stats(running).refreshes, stats(running).breaks) == (3, 0)


async def test_the_change_that_shows_a_loss_is_not_published_on_a_book_without_the_lost_ones(
    autojump_clock: MockClock,
) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, venue_class=CountingVenue, data=BOOK) as running:
        reader, changes = StreamReader(running), prices()
        await settled(2)
        exchange.change(BTC, {"61800.10": "1.000"}, skip=True)
        data = exchange.change(BTC, next(changes), skip=True)
        exchange.sockets[0].push(shows_a_loss("number 8 follows 6", BTC, data))
        await settled(5)
        assert reader.is_live(), "reading compares each book with the exchange's"
        assert reader.told() == ["CONNECTING", "LIVE", "STALE", "LIVE"]


async def test_a_connection_that_lags_behind_is_not_waited_for(autojump_clock: MockClock) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, TWO, venue_class=StreamVenue, data=BOOK) as running:
        reader, changes = StreamReader(running), prices()
        await settled(2)
        for number in (0, 1):
            exchange.sockets[number].silent = {BTC}
            late = exchange.change(BTC, next(changes))
            await settled(LAG_S)
            assert reader.is_live(), f"connection {number} is not the only one"
            exchange.sockets[number].silent = set()
            exchange.tell_change(late, exchange.sockets[number])
            await settled()
        assert reader.told() == ["CONNECTING", "LIVE"]


FAULTS = ("gone", "lost", "checksum", "crossing")


def begin_succession(exchange: Exchange, fault: str) -> dict[str, object]:
    """The connection that leads brings a change that the other lacks, and breaks. Gives the
    change."""
    leader, other = exchange.sockets
    exchange.withheld = {BTC}
    first = exchange.change(BTC, {"61800.20": "3.000"}, skip=True)
    for socket in (other, leader):  # so it is noted that the leader may lag
        exchange.tell_change(first, socket)
    late = exchange.change(BTC, {"61800.20": "4.000"}, skip=True)
    exchange.tell_change(late, leader)
    match fault:
        case "gone":
            leader.break_off()
        case "lost":
            leader.push(b'{"lost":"number 7 follows 5"}')
        case "checksum":
            leader.push(b'{"sum":7,"s":"BTCUSDT"}')
        case "crossing":
            exchange.tell_change(late | {"b": [("61900.00", "1.000")]}, leader)
    return late


def has_gone_back(reader: StreamReader) -> bool:
    times = [each.time for each in reader.records if isinstance(each, BookUpdate | Quote)]
    return times != sorted(times)


@pytest.mark.parametrize("fault", FAULTS)
async def test_one_that_takes_over_does_not_bring_an_older_book(
    autojump_clock: MockClock, fault: str
) -> None:
    exchange = with_wholes(BTC)
    data = BOOK | QUOTES
    async with running_feed(exchange, TWO, venue_class=CountingVenue, data=data) as running:
        reader = StreamReader(running)
        await settled(2)
        other = exchange.sockets[1]
        late = begin_succession(exchange, fault)
        await settled(SUCCESSION_S - 0.01)
        assert reader.is_live()
        assert not stats(running).is_whole
        joiner = StreamJoiner(running)
        assert not joiner.shows()
        exchange.tell_change(late, other)
        await settled()
        assert reader.is_live()
        assert joiner.shows()
        assert StreamJoiner(running).shows()
        assert not has_gone_back(reader)
        assert reader.told() == ["CONNECTING", "LIVE"]
        assert stats(running).breaks == 0
        losses = 0 if fault == "gone" else 1
        assert running.feed.stats().anomalies.get("order book lost", 0) == losses


@pytest.mark.parametrize("fault", FAULTS)
async def test_one_whose_time_stays_lower_takes_over_after_a_moment(
    autojump_clock: MockClock, fault: str
) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, TWO, venue_class=CountingVenue, data=BOOK) as running:
        reader = StreamReader(running)
        await settled(2)
        other = exchange.sockets[1]
        late = begin_succession(exchange, fault)
        await settled(SUCCESSION_S - 0.01)
        assert not stats(running).is_whole
        await settled(0.02)
        reader.read()
        assert reader.books[BTC].time == exchange.books[BTC].time - 1
        assert stats(running).is_whole
        exchange.tell_change(late, other)
        await settled()
        assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_book_is_lost_if_all_connections_break_before_one_takes_over(
    autojump_clock: MockClock, fault: str
) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, TWO, venue_class=CountingVenue, data=BOOK) as running:
        reader = StreamReader(running)
        await settled(2)
        other = exchange.sockets[1]
        begin_succession(exchange, "checksum")
        await settled()
        assert reader.is_live()
        match fault:
            case "gone":
                other.break_off()
            case "lost":
                other.push(b'{"lost":"number 7 follows 5"}')
            case "checksum":
                other.push(b'{"sum":8,"s":"BTCUSDT"}')
            case "crossing":
                exchange.change(BTC, {"61900.00": "1.000"})
                exchange.change(BTC, {"61900.00": "0"}, skip=True)
        await settled()
        assert not reader.is_live()
        assert reader.why(BTC)[2:] == ["STALE the venue's checksum differs"]
        assert stats(running).breaks == 1
        exchange.withheld = set()
        exchange.tell_whole(BTC, *exchange.sockets)
        await settled()
        assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE", "STALE", "LIVE"]


async def test_a_connection_is_replaced_without_a_gap(autojump_clock: MockClock) -> None:
    exchange = with_wholes(BTC)
    config = FeedConfig(rotate_after_s=60)
    async with running_feed(exchange, config, venue_class=CountingVenue, data=BOOK) as running:
        reader = StreamReader(running)
        for _, change in zip(range(300), prices(), strict=False):
            exchange.change(BTC, change)
            await settled(1)
            assert reader.is_live()
        assert len(exchange.opened) > 3
        while len(exchange.sockets) > 1:
            await settled(1)
        exchange.sockets[0].push(b'{"lost":"number 7 follows 5"}')
        await settled(2)
        assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE", "STALE", "LIVE"]
        assert stats(running).refreshes == 0, "the new connection brings the book"


@pytest.mark.parametrize(("other", "connections"), [(ETH, 1), ("ADAUSDT", 2)])
async def test_a_book_that_is_listed_again_begins_anew(
    autojump_clock: MockClock, other: str, connections: int
) -> None:
    exchange = with_wholes(BTC, other)
    config = FeedConfig(symbols_per_connection=3 - connections)
    data = BOOK | QUOTES
    async with running_feed(exchange, config, venue_class=CountingVenue, data=data) as running:
        reader, changes = StreamReader(running), prices()
        await settled(2)
        assert len(exchange.sockets) == connections, "one for both, or one for each"
        exchange.delisted.add(BTC)
        await settled(700)
        assert len(exchange.sockets) == 1
        books = running.feed._parts.books
        assert isinstance(books, StreamBooks)
        assert not books._copies(0).copies
        exchange.sockets[0].push(b'{"whole":"BTCUSDT","u":1,"T":1,"b":[],"a":[]}')
        exchange.change(BTC, next(changes), b="nothing")
        await settled(60)
        assert not reader.is_live()
        assert stats(running).refreshes == 0
        exchange.delisted.clear()
        await settled(700)
        exchange.change(BTC, next(changes))
        await settled()
        assert reader.is_live()
        assert reader.is_live(other) is False, "it is quiet"


async def test_a_venue_that_begins_anew_is_followed(autojump_clock: MockClock) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, TWO, venue_class=StreamVenue, data=BOOK) as running:
        reader, book, changes = StreamReader(running), exchange.books[BTC], prices()
        await settled(2)
        for _ in range(2):
            exchange.change(BTC, next(changes))
            joiner = StreamJoiner(running)
            book.update_id = 1
            exchange.tell_whole(BTC, exchange.sockets[0])
            exchange.change(BTC, next(changes))
            await settled()
            assert joiner.shows()
            exchange.tell_whole(BTC, exchange.sockets[1])
            exchange.change(BTC, next(changes))
            await settled(2)
            assert joiner.shows()
            assert reader.is_live()
        before = book.update_id
        data = book.change(next(changes), {}) | {
            "s": BTC,
            "T": book.time,
            "pu": before,
            "U": 7,
            "u": 7,
        }
        book.update_id = 7
        for socket in exchange.sockets:
            socket.push(begins_anew(BTC, data))
        exchange.change(BTC, next(changes))
        await settled(LASTING_S)
        assert reader.is_live()
        assert joiner.shows()
        assert reader.told() == ["CONNECTING", "LIVE"]


async def test_a_book_that_does_not_come_is_fetched_over_rest(autojump_clock: MockClock) -> None:
    exchange = with_wholes(BTC)
    exchange.withheld = {BTC}
    async with running_feed(exchange, venue_class=StreamVenue, data=BOOK) as running:
        reader, changes = StreamReader(running), prices()
        exchange.change(BTC, next(changes))
        await settled(REFRESH_S - 1)
        assert not reader.is_live()
        exchange.rest_fault = VenueUnreachableError("no answer")
        exchange.change(BTC, next(changes))
        await settled(2)
        exchange.rest_fault = None
        exchange.snapshots[BTC] = [
            {"nonsense": 1},
            exchange.books[BTC].snapshot() | {"lastUpdateId": 1},
        ]
        await settled(20)
        exchange.change(BTC, next(changes))
        await settled()
        assert reader.is_live()
        assert stats(running).refreshes == 0
        exchange.sockets[0].break_off()
        await settled(5)
        for _ in range(15):
            exchange.change(BTC, next(changes))
            await settled(1)
        assert reader.is_live()


class FineStreamVenue(FineVenue, StreamVenue):
    """It lists no units, only a guess."""

    data_dialogue = StreamDialogue  # type: ignore[assignment]


@pytest.mark.parametrize("venue_class", [FineVenue, FineStreamVenue])
async def test_a_book_over_rest_may_need_finer_units(
    autojump_clock: MockClock, venue_class: type[FineVenue]
) -> None:
    exchange = with_wholes(BTC)
    exchange.withheld = {BTC}
    book = exchange.books[BTC]
    book.bids, book.asks = {"61800.200": "2.000"}, {"61800.305": "2.000"}
    async with running_feed(exchange, venue_class=venue_class, data=BOOK) as running:
        reader = StreamReader(running)
        for quantity in range(1, 30):
            exchange.change(BTC, {"61800.100": f"{quantity}.000"})
            await settled(1)
        assert reader.is_live()
        (instrument,) = running.publisher.header.instruments
        assert instrument.price_exponent == -3
        assert len(exchange.opened) == 1


async def test_a_book_that_comes_nowhere_gets_other_connections_at_a_pace(
    autojump_clock: MockClock,
) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, venue_class=CountingVenue, data=BOOK) as running:
        reader, changes = StreamReader(running), prices()
        await settled(1)
        exchange.withheld = {BTC}
        exchange.change(BTC, next(changes), b="nothing")
        for _ in range(600):
            exchange.change(BTC, next(changes))
            await settled(1)
        assert 5 < len(exchange.opened) < 20
        exchange.withheld = set()
        for _ in range(60):
            exchange.change(BTC, next(changes))
            await settled(1)
        assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE", "STALE", "LIVE"]


async def test_a_book_that_is_lost_waits_for_the_end_of_an_announced_maintenance(
    autojump_clock: MockClock,
) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, venue_class=CountingVenue, data=BOOK) as running:
        reader = StreamReader(running)
        await settled(1)
        exchange.withheld = {BTC}
        exchange.sockets[0].push(b'{"pauses":"maintenance","s":"BTCUSDT"}')
        await settled(600)
        assert (len(exchange.opened), stats(running).refreshes) == (1, 0)
        exchange.withheld = set()
        exchange.change(BTC, {PRICE: "2.000"})
        await settled(REFRESH_S + 1)
        assert reader.is_live()
        assert (len(exchange.opened), stats(running).refreshes) == (1, 1)


async def test_a_book_goes_on_in_new_units(autojump_clock: MockClock) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, TWO, venue_class=StreamVenue, data=BOOK) as running:
        reader, changes = StreamReader(running), prices()
        await settled(2)
        exchange.precision = 3
        book = exchange.books[BTC]
        book.bids, book.asks = {"61800.200": "2.000"}, {"61800.305": "2.000"}
        exchange.change(BTC, {"61800.105": "1.000"})
        await settled(700)
        exchange.change(BTC, {"61800.100": next(changes)[PRICE]})
        await settled(5)
        assert reader.is_live()
        assert reader.books[BTC].instrument is not None
        assert reader.books[BTC].instrument.price_exponent == -3


async def test_books_by_order_are_kept_as_those_by_price(autojump_clock: MockClock) -> None:
    exchange = with_wholes(BTC)
    data = DataKinds.BOOK_BY_ORDER | QUOTES
    async with running_feed(exchange, TWO, venue_class=OrdersVenue, data=data) as running:
        reader, changes = StreamReader(running), prices()
        await settled(2)
        exchange.change(BTC, next(changes))
        exchange.change(BTC, {"61800.20": "2.000"})
        await settled()
        new = [type(each) for each in reader.read() if not isinstance(each, Status)]
        assert new == [OrderUpdate, Quote, OrderUpdate, OrderUpdate, Quote]
        joiner = StreamJoiner(running)
        for fault in ({"b": "nothing"}, {"skip": True}):
            exchange.change(BTC, next(changes), **fault)  # type: ignore[arg-type]
            exchange.change(BTC, next(changes))
            await settled(LASTING_S)
            assert reader.is_live()
            assert joiner.shows()
        exchange.sockets[0].break_off()
        exchange.sockets[1].break_off()
        await settled()
        late = StreamJoiner(running)
        assert not late.shows(), "the instrument is DOWN"
        await settled(5)
        exchange.change(BTC, next(changes))
        await settled()
        assert late.shows()
        book = running.publisher.books.any_of(0)
        assert isinstance(book, OrdersBook)
        assert book.order(61800_00) == Order(61800_00, 61800_00, 6_000)
        assert (stats(running).bids, stats(running).asks) == (2, 1)


# Quotes that are taken from books.


async def test_quotes_follow_the_changes_of_the_best_levels(autojump_clock: MockClock) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, venue_class=CountingVenue, data=BOOK | QUOTES) as running:
        reader = StreamReader(running)
        await settled()
        exchange.change(BTC, {PRICE: "2.000"})
        exchange.change(BTC, {"61800.20": "2.000"})
        exchange.change(BTC, {PRICE: "3.000", "61800.20": "0"})
        await settled()
        new = [each for each in reader.read() if isinstance(each, BookUpdate | Quote)]
        kinds = [BookUpdate, Quote, BookUpdate, BookUpdate, Quote, BookUpdate, Quote]
        assert [type(each) for each in new] == kinds
        assert [each.update_id for each in new] == [1, 1, 2, 3, 3, 4, 4]
        exchange.change(BTC, {PRICE: "0"})
        exchange.change(BTC, {}, {"61800.30": "0"})
        await settled()
        one_side, none = [each for each in reader.read() if isinstance(each, Quote)]
        assert (one_side.bid_price, one_side.bid_quantity) == (one_side.ask_price, 0)
        assert (none.bid_price, none.bid_quantity, none.ask_quantity) == (one_side.ask_price, 0, 0)
        assert running.feed.stats().instruments[0].quotes == 5


async def test_quotes_are_taken_from_books_that_nobody_asked_for(autojump_clock: MockClock) -> None:
    exchange = with_wholes(BTC)
    async with running_feed(exchange, TWO, venue_class=CountingVenue, data=QUOTES) as running:
        reader = StreamReader(running)
        await settled(2)
        exchange.change(BTC, {PRICE: "2.000"})
        exchange.change(BTC, {"61800.20": "2.000"})
        await settled()
        assert reader.is_live()
        exchange.sockets[0].break_off()
        exchange.sockets[1].break_off()
        exchange.change(BTC, {"61800.20": "3.000"})
        await settled(5)
        assert reader.is_live()
        exchange.change(BTC, {PRICE: "3.000"}, b="nothing")
        await settled(5)
        assert reader.is_live()
        told = [type(each) for each in reader.records if not isinstance(each, Status)]
        assert told == [Quote] * 5
        assert reader.told() == ["CONNECTING", "LIVE", "CONNECTING", "LIVE", "STALE", "LIVE"]
        assert not running.publisher.books.indexes()
        assert running.publisher.header.references[0].update_id
