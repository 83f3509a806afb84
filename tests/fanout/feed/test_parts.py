"""The feed at a venue whose trades come at one URL, and quotes and books at another."""

import pytest
import trio
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueUnreachableError
from fanout.protocol import BookUpdate, DataKinds, Quote, Status, Trade
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.fanout.feed.toy import DividedToy
from tests.stand.loopback import Exchange, Socket

BTC, ETH = "BTCUSDT", "ETHUSDT"
ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE


async def go_on(exchange: Exchange, seconds: int, *symbols: str) -> None:
    for number in range(seconds):
        for symbol in symbols:
            exchange.trade(symbol)
            exchange.change(symbol, {"61800.10": str(1 + number % 5)})
            exchange.quote(symbol)
        await trio.sleep(1)


def of_trades(exchange: Exchange) -> Socket:
    return next(each for each in exchange.sockets if "@trade" in each.sent[0])


def of_others(exchange: Exchange) -> Socket:
    return next(each for each in exchange.sockets if "@trade" not in each.sent[0])


def told(running: RunningFeed) -> list[tuple[str, str]]:
    """The state and reason of each status of BTC and of the feed that was not read yet."""
    return [
        (each.state.name, each.why)
        for each in running.read()
        if isinstance(each, Status) and (not each.instrument or each.instrument.symbol == BTC)
    ]


async def test_each_part_has_connections_of_its_own(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    config = FeedConfig(connections=2)
    async with running_feed(exchange, config, venue_class=DividedToy, data=ALL) as running:
        await go_on(exchange, 10, BTC, ETH)
        assert running.feed.states() == {BTC: "LIVE", ETH: "LIVE"}
        assert [each.name for each in running.feed.stats().links] == [
            "trade connection 1 of 2",
            "trade connection 2 of 2",
            "quotes and book connection 1 of 2",
            "quotes and book connection 2 of 2",
        ]
        streams = sorted(len(each._asked_for) for each in exchange.sockets)
        assert streams == [2, 2, 4, 4]
        kinds = {type(each) for each in running.read()}
        assert kinds >= {Trade, Quote, BookUpdate}


async def test_a_symbol_without_trades_is_stale_while_its_book_goes_on(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=DividedToy, data=ALL) as running:
        await go_on(exchange, 5, BTC, ETH)
        told(running)
        of_trades(exchange).break_off()
        exchange.refusals.append(VenueUnreachableError("no route"))
        await go_on(exchange, 1, BTC, ETH)
        assert told(running) == [("STALE", "no connection for its trades: the stream broke")]
        before = len(running.records)
        await go_on(exchange, 6, BTC, ETH)
        assert told(running) == [("LIVE", "its trades are subscribed again")]
        books = [each for each in running.records[before:] if isinstance(each, BookUpdate)]
        assert len(books) == 12
        await trio.sleep(2)
        trades, opened, closed = running.accounted(BTC)
        assert sorted(trades) == [*range(trades[0], exchange.rows[BTC][-1].trade_id + 1)]
        assert sorted(opened) == sorted(closed) != []


async def test_a_symbol_without_a_book_is_stale_until_it_is_whole_again(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=DividedToy, data=ALL) as running:
        await go_on(exchange, 5, BTC, ETH)
        told(running)
        of_others(exchange).break_off()
        await go_on(exchange, 5, BTC, ETH)
        whys = told(running)
        assert whys[0] == (
            "STALE",
            "no connection for its quotes and order book: the stream broke",
        )
        assert whys[-1] == ("LIVE", "the order book is whole")
        assert "silent" not in str(whys)
        # With both away, it is down, and LIVE with the second.
        of_others(exchange).break_off()
        of_trades(exchange).break_off()
        await go_on(exchange, 5, BTC, ETH)
        states = [state for state, _ in told(running)]
        assert states.count("DOWN") == 1, "the feed itself, which speaks for its symbols"
        assert states[-1] == "LIVE"
        assert running.feed.states() == {BTC: "LIVE", ETH: "LIVE"}


async def test_silent_trades_replace_the_connection_of_trades_only(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=DividedToy, data=ALL) as running:
        await go_on(exchange, 5, BTC)
        of_trades(exchange).silent = {BTC}
        await go_on(exchange, 60, BTC)
        rotations = {each.name.split()[0]: each.rotations for each in running.feed.stats().links}
        assert rotations == {"trade": 1, "quotes": 0}
        assert running.feed.states() == {BTC: "LIVE"}


async def test_listed_symbols_join_each_part_and_each_part_is_spread_by_its_own_limit(
    autojump_clock: MockClock,
) -> None:
    symbols = [f"S{number:02}USDT" for number in range(30)]
    exchange = Exchange(*symbols)
    async with running_feed(
        exchange, venue_class=DividedToy, data=ALL, patterns=("*USDT",)
    ) as running:
        await go_on(exchange, 20, *symbols)
        parts = [each.name for each in running.feed.stats().links]
        assert len([each for each in parts if each.startswith("trade")]) == 1
        assert len([each for each in parts if each.startswith("quotes")]) >= 2
        exchange.enlist("NEWUSDT")
        exchange.delisted.add(symbols[0])
        for _ in range(70):
            await go_on(exchange, 1, "NEWUSDT")
            await trio.sleep(9)
        assert running.feed.states()["NEWUSDT"] == "LIVE"
        asked = set[str]().union(*(each._asked_for for each in exchange.sockets))
        assert {f"newusdt@{each}" for each in ("trade", "bookTicker", "depth@0ms")} <= asked
        assert not any(each.startswith("s00usdt") for each in asked)


def refuse(socket: Socket) -> None:
    """Refuse what BTC is subscribed to there, until it is subscribed to anew."""
    socket._asked_for = {each for each in socket._asked_for if not each.startswith("btc")}
    socket.push(b'{"toy":"refused","symbol":"BTCUSDT","why":"not now"}')


async def test_a_symbol_whose_trades_are_refused_is_halted_while_its_book_goes_on(
    autojump_clock: MockClock,
) -> None:
    """Until a later subscription is confirmed. What was traded meanwhile proves nothing against the
    stream."""
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=DividedToy, data=ALL) as running:
        await go_on(exchange, 5, BTC, ETH)
        told(running)
        refuse(of_trades(exchange))
        await go_on(exchange, 50, BTC, ETH)
        assert told(running) == [("HALTED", "the venue refuses it: not now")]
        await go_on(exchange, 90, BTC, ETH)
        assert told(running) == [
            ("STALE", "subscribing anew: the venue refused it"),
            ("LIVE", "its trades are subscribed again"),
        ]
        assert len(exchange.opened) == 2, "no connection was replaced"


async def test_what_another_connection_confirms_says_nothing_of_refused_trades(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=DividedToy, data=ALL) as running:
        await go_on(exchange, 5, BTC, ETH)
        refuse(of_trades(exchange))
        await go_on(exchange, 5, BTC, ETH)
        of_others(exchange).break_off()
        await go_on(exchange, 20, BTC, ETH)
        assert running.feed.states() == {BTC: "HALTED", ETH: "LIVE"}
        refuse(of_others(exchange))
        await go_on(exchange, 120, BTC, ETH)
        assert running.feed.states() == {BTC: "LIVE", ETH: "LIVE"}


async def test_a_symbol_whose_book_is_refused_is_halted_while_it_trades(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=DividedToy, data=ALL) as running:
        await go_on(exchange, 5, BTC, ETH)
        told(running)
        refuse(of_others(exchange))
        await go_on(exchange, 10, BTC, ETH)
        assert told(running) == [("HALTED", "the venue refuses it: not now")]
        await go_on(exchange, 90, BTC, ETH)
        assert running.feed.states() == {BTC: "LIVE", ETH: "LIVE"}
        whys = told(running)
        assert whys[0] == ("STALE", "subscribing anew: the venue refused it")
        trades, opened, _ = running.accounted(BTC)
        assert sorted(trades) == [*range(trades[0], exchange.rows[BTC][-1].trade_id + 1)]
        assert not opened


async def test_an_ignored_subscription_to_trades_is_told_and_repeated_without_rest(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, ignored = Socket.send, list[str]()

    async def ignore_the_first_of_the_third(self: Socket, text: str) -> None:
        if len(exchange.opened) == 3 and not ignored:
            ignored.append(text)
        else:
            await send(self, text)

    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=DividedToy, data=ALL) as running:
        await go_on(exchange, 5, BTC)
        monkeypatch.setattr(Socket, "send", ignore_the_first_of_the_third)
        exchange.rest_fault = VenueUnreachableError("no answer")
        of_trades(exchange).break_off()
        await go_on(exchange, 30, BTC)
        assert ignored
        whys = told(running)
        assert ("STALE", "the venue never answered the subscription") in whys
        assert whys[-1][0] == "LIVE"
        assert len(exchange.opened) == 3
