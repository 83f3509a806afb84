"""Quotes and books of a feed, at the exchange in memory: what is published, and when it is LIVE."""

import pytest
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.feed.books import AT_ONCE, LASTING_S
from fanout.feed.market import FEW
from fanout.feed.upkeep import CHANGE_EVERY_S
from fanout.protocol import DataKinds, FeedState, Quote, Trade
from fanout.protocol.book_records import BookUpdate
from tests.fanout.feed.running import running_feed
from tests.stand.book_reader import ALL, BOOK, BTC, ETH, BookReader, going, settled
from tests.stand.deep_market import DeepMarket
from tests.stand.loopback import Exchange


async def test_trades_quotes_and_changes_come_in_their_order(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    exchange.trade(BTC, skip=True)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        exchange.trade(BTC)
        exchange.change(BTC, {"61800.20": "2.000"})
        exchange.quote(BTC)
        exchange.change(BTC, {}, {"61800.40": "4.000"})
        exchange.trade(BTC)
        await settled()
        kinds = [type(each) for each in reader.read()]
        assert kinds == [Trade, BookUpdate, Quote, BookUpdate, Trade]
        assert reader.is_live()
        assert len(exchange.sockets) == 1, "one connection brings all"
        (asked_for,) = [each for each in exchange.sockets[0].sent if "SUBSCRIBE" in each]
        for stream in ("trade", "bookTicker", "depth@0ms"):
            assert f"btcusdt@{stream}" in asked_for


async def test_an_instrument_is_not_live_before_its_book_is(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        exchange.trade(BTC)
        await settled()
        assert not reader.is_live()
        exchange.change(BTC, {"61800.10": "1.000"})
        await settled()
        assert reader.is_live()
        whole = next(each for each in reader.records if isinstance(each, BookUpdate))
        assert whole.is_whole
        assert whole.seq > 0


async def test_a_reconnect_is_followed_by_a_whole_book(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        exchange.sockets[0].break_off()
        await settled()
        exchange.change(BTC, {"61800.10": "5.000"})
        await settled(5)
        exchange.trade(BTC)
        await settled()
        assert not reader.is_live(), "its book is not known to be current"
        exchange.change(BTC, {"61800.00": "5.000"})
        await settled(5)
        assert reader.is_live()


async def test_a_reconnect_that_missed_nothing_goes_on_without_rest(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        asked = len(exchange.requests)
        exchange.sockets[0].break_off()
        await settled(5)
        exchange.change(BTC, {"61800.00": "5.000"})
        await settled()
        assert reader.is_live()
        assert not [each for each in exchange.requests[asked:] if each.path.endswith("depth")]
        newest = [each for each in reader.records if isinstance(each, BookUpdate)][-1]
        assert not newest.is_whole, "no reader missed the book"


async def test_a_reader_that_joins_during_an_outage_gets_the_book_after_it(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        books, index = running.publisher.books, 0

        def joined() -> bool:
            return books.snapshot(index, running.publisher.header) is not None

        assert joined()
        exchange.sockets[0].break_off()
        await settled(0)
        assert not joined(), "it would be taken for the book of now"
        await settled(5)
        exchange.change(BTC, {"61800.00": "5.000"})
        await settled()
        assert reader.is_live()
        assert joined()
        newest = [each for each in reader.records if isinstance(each, BookUpdate)][-1]
        assert newest.is_whole, "for readers that joined meanwhile"


async def test_of_two_connections_the_one_that_is_further_on_feeds_the_book(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, FeedConfig(connections=2), data=ALL) as running:
        await settled(2)
        reader = BookReader(running)
        await going(exchange, reader)
        exchange.sockets[0].silent = {BTC}
        exchange.change(BTC, {"61800.00": "1.000"})
        await settled()
        exchange.sockets[0].silent, exchange.sockets[1].silent = set(), {BTC}
        exchange.change(BTC, {"61800.00": "2.000"})
        await settled()
        assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE"]


async def test_quotes_that_are_not_newer_are_dropped(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, data=DataKinds.QUOTES) as running:
        reader = BookReader(running)
        exchange.quote(BTC)
        exchange.quote(BTC)
        exchange.quote(BTC, u=1)
        exchange.books[BTC].change({"61800.20": "9.000"}, {})
        exchange.quote(BTC)
        await settled()
        quotes = [each for each in reader.read() if isinstance(each, Quote)]
        assert [each.bid_quantity for each in quotes] == [2_500, 9_000]
        assert reader.states[BTC] is FeedState.LIVE


async def test_an_instrument_whose_book_changes_is_not_silent(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    exchange.trade(BTC, skip=True)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        for second in range(120):
            exchange.change(BTC, {"61800.10": f"{second + 1}.000"})
            await settled(1)
        assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE"]


async def test_many_books_take_turns_and_are_whole_soon(autojump_clock: MockClock) -> None:
    symbols = [f"A{number}USDT" for number in range(50)]
    exchange = Exchange(*symbols)
    async with running_feed(exchange, data=BOOK) as running:
        reader = BookReader(running)
        before = len(exchange.requests)
        for symbol in symbols:
            exchange.change(symbol, {"61800.10": "1.000"})
        await settled(1)
        assert all(reader.is_live(each) for each in symbols)
        asked = [each for each in exchange.requests[before:] if each.path.endswith("depth")]
        assert {each.query["symbol"] for each in asked[:AT_ONCE]} == set(symbols[:AT_ONCE])
        assert sum(each.weight for each in asked) <= exchange.budget.limit / 2


async def test_unknown_books_come_before_those_that_need_a_new_snapshot(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = [f"A{number}USDT" for number in range(AT_ONCE)]
    exchange = Exchange(*followed, BTC)
    markets = {each: DeepMarket(exchange, monkeypatch, each) for each in (*followed, BTC)}
    async with running_feed(exchange, data=BOOK) as running:
        reader = BookReader(running)
        for symbol in followed:
            markets[symbol].touch()
        await settled()
        await settled(LASTING_S)
        assert all(reader.is_live(each) for each in followed)
        before = len(exchange.requests)
        for symbol in (*followed, BTC):
            markets[symbol].walk(50)
        await settled()
        asked = [each for each in exchange.requests[before:] if each.path.endswith("depth")]
        symbols = [each.query["symbol"] for each in asked]
        assert BTC in symbols[:AT_ONCE], "though its change came last"
        assert sorted(symbols) == sorted((BTC, *followed))
        assert all(reader.is_live(each) for each in (BTC, *followed))


async def test_a_book_goes_on_in_new_units(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        exchange.precision = 3
        exchange.books[BTC].bids = {"61800.200": "2.000"}
        exchange.books[BTC].asks = {"61800.305": "2.000"}
        exchange.change(BTC, {"61800.105": "1.000"})
        await settled(700)
        exchange.change(BTC, {"61800.100": "1.000"})
        await settled(5)
        assert reader.is_live()
        assert reader.books[BTC].instrument is not None
        assert reader.books[BTC].instrument.price_exponent == -3


async def test_an_instrument_that_only_lacks_trades_stays_live(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    exchange.trade(BTC)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        for second in range(200):
            exchange.change(BTC, {"61800.10": f"{second + 2}.000"})
            await settled(1)
            assert reader.is_live()
        assert reader.told() == ["CONNECTING", "LIVE"]


async def test_references_get_the_update_ids_of_the_stream(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, data=ALL) as running:
        reader = BookReader(running)
        await going(exchange, reader)
        exchange.change(BTC, {"61800.10": "2.000"})
        await settled(CHANGE_EVERY_S)
        first = running.publisher.header
        ids = [each.update_id for each in first.references]
        assert ids == [exchange.books[BTC].update_id, 0]
        exchange.quote(ETH)
        exchange.change(BTC, {"61800.10": "3.000"})
        await settled(CHANGE_EVERY_S)
        then = running.publisher.header
        assert then.references[1].update_id == exchange.books[ETH].update_id
        assert then.references[0] is first.references[0]
        await settled(2 * CHANGE_EVERY_S)
        assert running.publisher.header is then, "no reference is published twice"
        exchange.change(BTC, {"61800.10": "4.000"})
        await settled()
        newest = [each for each in reader.read() if isinstance(each, BookUpdate)][-1]
        assert newest.update_id == exchange.books[BTC].update_id


async def test_a_reference_that_comes_later_brings_its_update_id(
    autojump_clock: MockClock,
) -> None:
    symbols = [f"S{number}USDT" for number in range(FEW + 2)]
    exchange = Exchange(*symbols)
    for symbol in symbols:
        exchange.trade(symbol, skip=True)
    changes = []
    async with running_feed(exchange, data=DataKinds.TRADES | DataKinds.QUOTES) as running:
        change = running.publisher.change
        running.publisher.change = lambda *them: (changes.append(them), change(*them))  # type: ignore[assignment, method-assign, func-returns-value]
        for symbol in symbols:
            exchange.quote(symbol)
        await settled(60)
        changed = [each.symbol for instruments, _ in changes for each in instruments]
        # The first was fetched before there were quotes.
        assert sorted(changed) == sorted([*symbols, symbols[0]])
        for each in running.publisher.header.references:
            assert each.trade_id == 8_000_000_000
            assert each.update_id == 5_000_000_000_000
