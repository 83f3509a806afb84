"""A listing that changes in mid-stream, in every way: told, counted, never a wrong price."""

import json
from decimal import Decimal

import pytest
import trio
from trio.testing import MockClock

from fanout.errors import VenueUnreachableError
from fanout.feed.market import FEW
from fanout.feed.relisting import compare
from fanout.feed.roster import NO_REFERENCE, Roster
from fanout.feed.upkeep import RELIST_EVERY_S, RENEW_EVERY_S
from fanout.protocol import DataKinds, Instrument, Quote, Status, Trade
from fanout.protocol.constants import MAX_INSTRUMENTS, U64_MAX
from fanout.venues.values import Listed, Listing
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.stand.loopback import Book, Exchange

QUOTED = DataKinds.TRADES | DataKinds.QUOTES

BTC, ETH, SOL = "BTCUSDT", "ETHUSDT", "SOLUSDT"


async def trades(exchange: Exchange, seconds: float, *symbols: str, every_s: float = 5) -> None:
    for _ in range(int(seconds / every_s)):
        for symbol in symbols:
            exchange.trade(symbol)
        await trio.sleep(every_s)


async def quotes(exchange: Exchange, seconds: float, symbol: str, every_s: float = 5) -> None:
    for number in range(int(seconds / every_s)):
        exchange.change(symbol, bids={"61800.10": f"{number + 1}"})
        exchange.quote(symbol)
        await trio.sleep(every_s)


def statuses(running: RunningFeed, symbol: str) -> list[tuple[str, str]]:
    running.read()
    return [
        (each.state.name, each.why)
        for each in running.records
        if isinstance(each, Status) and each.instrument and each.instrument.symbol == symbol
    ]


def came(running: RunningFeed, symbol: str) -> list[int]:
    running.read()
    return [
        each.trade_id
        for each in running.records
        if isinstance(each, Trade) and each.symbol == symbol
    ]


async def test_a_symbol_that_is_newly_listed_joins_at_the_end(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, patterns=("*USDT",)) as running:
        await trades(exchange, 300, BTC, ETH)
        exchange.enlist(SOL)
        await trades(exchange, RELIST_EVERY_S, BTC, ETH, SOL)
        header = running.publisher.header
        assert [each.symbol for each in header.instruments] == [BTC, ETH, SOL]
        assert [each.index for each in header.instruments] == [0, 1, 2]
        assert statuses(running, SOL)[0] == ("CONNECTING", "newly listed")
        assert statuses(running, SOL)[-1][0] == "LIVE"
        assert came(running, SOL)[-1] == exchange.rows[SOL][-1].trade_id
        assert len(exchange.opened) == 1, "it is subscribed on the connection that there is"
        assert header.references[2].trade_id, "its reference was fetched, too"
        assert len(running.feed.states()) == 3


async def test_a_newly_listed_symbol_outside_the_patterns_does_not_join(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        exchange.enlist(SOL)
        await trades(exchange, RELIST_EVERY_S + 10, BTC, SOL)
        assert len(running.publisher.header.instruments) == 1


async def test_a_delisted_symbol_is_reported_and_leaves(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 300, BTC, ETH)
        exchange.delisted.add(ETH)
        await trades(exchange, RELIST_EVERY_S, BTC)
        state, why = statuses(running, ETH)[-1]
        assert state == "HALTED"
        assert "ETHUSDT is not listed at binance-usdm" in why
        assert '"UNSUBSCRIBE"' in exchange.sockets[0].sent[-1]
        assert "ethusdt" in exchange.sockets[0].sent[-1]
        assert [each.symbol for each in running.publisher.header.instruments] == [BTC, ETH]
        assert running.feed.states() == {BTC: "LIVE"}, "a service without it is ready"
        assert statuses(running, BTC)[-1][0] == "LIVE"
        exchange.sockets[0].break_off()
        await trades(exchange, 30, BTC)
        assert "ethusdt" not in exchange.sockets[0].sent[0]


async def test_a_relisted_symbol_gets_its_old_index(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 60, BTC, ETH)
        exchange.delisted.add(ETH)
        await trades(exchange, RELIST_EVERY_S, BTC)
        exchange.delisted.clear()
        await trades(exchange, RELIST_EVERY_S, BTC)
        await trades(exchange, 60, BTC, ETH)
        assert statuses(running, ETH)[-1][0] == "LIVE"
        assert [each.symbol for each in running.publisher.header.instruments] == [BTC, ETH]
        assert came(running, ETH)[-1] == exchange.rows[ETH][-1].trade_id


async def test_quotes_of_a_relisted_symbol_begin_anew(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, data=QUOTED) as running:
        exchange.change(ETH, bids={"61800.25": "1"})
        exchange.quote(ETH)
        await quotes(exchange, 60, BTC)
        exchange.delisted.add(ETH)
        await quotes(exchange, RELIST_EVERY_S, BTC)
        exchange.delisted.clear()
        exchange.books[ETH] = Book()  # its ids begin anew, below those of before
        await quotes(exchange, RELIST_EVERY_S, BTC)
        running.read()
        exchange.quote(ETH)
        await trio.testing.wait_all_tasks_blocked()
        (quote,) = [each for each in running.read() if isinstance(each, Quote)]
        assert (quote.symbol, quote.update_id) == (ETH, exchange.books[ETH].update_id)
        assert running.feed.states()[ETH] == "LIVE"
        assert len(exchange.opened) == 1, "there was no new connection that begins anew"


async def test_a_quote_that_arrives_after_its_symbol_left_is_dropped(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, data=QUOTED) as running:
        exchange.quote(ETH)
        await quotes(exchange, 60, BTC)
        exchange.delisted.add(ETH)
        await quotes(exchange, RELIST_EVERY_S, BTC)
        running.read()
        late = exchange.books[ETH].quote() | {"s": ETH, "u": exchange.books[ETH].update_id + 1}
        exchange.sockets[0].push(
            json.dumps({"stream": "ethusdt@bookTicker", "data": late}).encode()
        )
        await trio.testing.wait_all_tasks_blocked()
        assert not [each for each in running.read() if isinstance(each, Quote | Status)]
        assert statuses(running, ETH)[-1][0] == "HALTED"


async def test_a_delisted_symbol_gets_no_reference(autojump_clock: MockClock) -> None:
    symbols = [f"S{number:02}USDT" for number in range(FEW + 2)]
    exchange = Exchange(*symbols)
    for symbol in symbols:
        exchange.trade(symbol, skip=True)
    exchange.rest_delay_s = RELIST_EVERY_S + 100
    async with running_feed(exchange, data=QUOTED) as running:
        await trio.sleep(1)
        for symbol in symbols:
            exchange.quote(symbol)
        await quotes(exchange, RELIST_EVERY_S - 50, symbols[1], every_s=50)
        assert not any(each.trade_id for each in running.publisher.header.references)
        exchange.delisted = {symbols[0], symbols[-1]}  # one is asked for now, the other waits
        exchange.rest_delay_s = 0
        await quotes(exchange, 500, symbols[1], every_s=50)
        for symbol, reference in zip(symbols, running.publisher.header.references, strict=True):
            assert reference.update_id < U64_MAX
            if symbol in exchange.delisted:
                assert statuses(running, symbol)[-1][0] == "HALTED"
                assert not reference.trade_id
            else:
                assert (reference.trade_id, bool(reference.update_id)) == (8_000_000_000, True)


async def test_fills_of_before_it_left_do_not_call_a_relisted_symbols_quotes_silent(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, data=QUOTED) as running:
        exchange.quote(ETH)
        await trades(exchange, 10, BTC, ETH)
        exchange.delisted.add(ETH)
        await quotes(exchange, RELIST_EVERY_S, BTC)
        exchange.delisted.clear()
        await quotes(exchange, RELIST_EVERY_S, BTC)
        await trades(exchange, 5, ETH)
        assert statuses(running, ETH)[-1][0] == "LIVE"
        assert not [why for _, why in statuses(running, ETH) if "silent" in why]
        assert len(exchange.opened) == 1


async def test_a_symbol_that_is_renamed_leaves_and_joins(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, patterns=("all",)) as running:
        await trades(exchange, 60, BTC, ETH)
        exchange.delisted.add(ETH)
        exchange.enlist(SOL)
        await trades(exchange, RELIST_EVERY_S, BTC, SOL)
        assert statuses(running, ETH)[-1][0] == "HALTED"
        assert statuses(running, SOL)[-1][0] == "LIVE"
        assert [each.symbol for each in running.publisher.header.instruments] == [BTC, ETH, SOL]


async def test_all_may_leave_and_another_joins(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, patterns=("*",)) as running:
        await trades(exchange, 60, BTC)
        exchange.delisted.add(BTC)
        exchange.enlist(SOL)
        await trades(exchange, RELIST_EVERY_S + 60, SOL)
        assert running.feed.states() == {SOL: "LIVE"}


async def test_changed_decimals_never_cause_a_wrong_price(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 300, BTC, ETH)
        exchange.precisions[ETH] = 4
        await trades(exchange, RELIST_EVERY_S, BTC, ETH)
        for symbol in (BTC, ETH):
            assert came(running, symbol) == [each.trade_id for each in exchange.rows[symbol]]
        prices = {each.price_decimal for each in running.records if isinstance(each, Trade)}
        assert prices == {Decimal("61800.30")}
        exponents = [each.price_exponent for each in running.publisher.header.instruments]
        assert exponents == [-2, -4]


async def test_another_tick_size_is_told_and_units_references_and_trades_stay(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    exchange.ticks[ETH] = "0.10"
    async with running_feed(exchange) as running:
        await trades(exchange, 300, BTC, ETH)
        before = running.publisher.header
        assert [each.tick for each in before.instruments] == [0, 10]
        exchange.ticks[ETH] = "0.05"
        await trades(exchange, RELIST_EVERY_S, BTC, ETH)
        header = running.publisher.header
        assert [each.tick for each in header.instruments] == [0, 5]
        assert header.references == before.references
        assert came(running, ETH) == [each.trade_id for each in exchange.rows[ETH]]
        newest = [each for each in running.records if isinstance(each, Trade)][-1]
        assert (newest.symbol, newest.instrument.tick) == (ETH, 5)


async def test_decimals_of_many_that_change_at_once_are_followed_at_once(
    autojump_clock: MockClock,
) -> None:
    symbols = [f"S{number}USDT" for number in range(30)]
    exchange = Exchange(*symbols)
    async with running_feed(exchange, patterns=("*",)) as running:
        await trades(exchange, 60, *symbols)
        exchange.precision = 4
        for _ in range(20):
            for symbol in symbols:
                exchange.trade(symbol, price="61800.3001")
            await trio.sleep(1)
        await trio.sleep(60)
        for symbol in symbols:
            assert sorted(came(running, symbol)) == [
                each.trade_id for each in exchange.rows[symbol]
            ]
        header = running.publisher.header
        assert {each.price_exponent for each in header.instruments} == {-4}
        assert {each.price > 618_000_000 for each in header.references} == {True}


@pytest.mark.parametrize("status", ["SETTLING", "NEVER_HEARD_OF", ""])
async def test_a_status_other_than_trading_halts_only_quiet_symbols(
    autojump_clock: MockClock, status: str
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 300, BTC, ETH)
        exchange.status = dict.fromkeys(exchange.status, status)
        await trades(exchange, RELIST_EVERY_S, BTC)
        assert statuses(running, BTC)[-1][0] == "LIVE"
        assert statuses(running, ETH)[-1][0] == "HALTED"
        assert came(running, BTC) == [each.trade_id for each in exchange.rows[BTC]]


async def test_an_unreadable_row_changes_nothing_and_is_counted(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 300, BTC, ETH)
        exchange.delisted.add(ETH)
        exchange.odd_rows = [{"symbol": ETH, "status": None}, {"symbol": 5}]
        await trades(exchange, RELIST_EVERY_S, BTC, ETH)
        assert statuses(running, ETH)[-1][0] == "LIVE"
        assert running.feed.stats().anomalies == {"odd row in the listing": 1}
        assert came(running, ETH) == [each.trade_id for each in exchange.rows[ETH]]


async def test_a_symbol_that_is_listed_twice_with_other_units_keeps_its_own(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 300, BTC, ETH)
        exchange.odd_rows = [{**exchange._listed(ETH), "pricePrecision": 5}]
        await trades(exchange, RELIST_EVERY_S, BTC, ETH)
        assert running.publisher.header.instruments[1].price_exponent == -2
        assert running.feed.stats().anomalies["odd row in the listing"] == 1
        assert came(running, ETH) == [each.trade_id for each in exchange.rows[ETH]]


async def test_an_empty_listing_is_ignored(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange) as running:
        await trades(exchange, 300, BTC, ETH)
        exchange.delisted = {BTC, ETH}
        await trades(exchange, RELIST_EVERY_S, BTC, ETH)
        assert running.feed.states() == {BTC: "LIVE", ETH: "LIVE"}
        assert running.feed.stats().anomalies["listing not believed"] == 1


async def test_a_listing_that_lacks_most_symbols_is_ignored(autojump_clock: MockClock) -> None:
    symbols = [f"S{number}USDT" for number in range(12)]
    exchange = Exchange(*symbols)
    async with running_feed(exchange, patterns=("*USDT",)) as running:
        exchange.delisted = set(symbols[:7])
        await trades(exchange, RELIST_EVERY_S + 60, *symbols)
        assert len(running.feed.states()) == 12
        assert running.feed.stats().anomalies["listing not believed"] == 1


async def test_a_failed_listing_request_changes_nothing_and_is_repeated(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, patterns=("*USDT",)) as running:
        await trades(exchange, 590, BTC, ETH)
        exchange.rest_fault = VenueUnreachableError("HTTP 503")
        exchange.enlist(SOL)
        await trades(exchange, 20, BTC, ETH, SOL)
        assert running.feed.stats().anomalies["request for the listing failed"] == 1
        assert running.feed.states() == {BTC: "LIVE", ETH: "LIVE"}
        exchange.rest_fault = None
        await trades(exchange, RENEW_EVERY_S + 10, BTC, ETH, SOL)
        assert running.feed.states()[SOL] == "LIVE"


async def test_a_pattern_that_no_longer_matches_ends_nothing(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, patterns=("ETH*", "BTC*")) as running:
        await trades(exchange, 60, BTC, ETH)
        exchange.delisted.add(ETH)
        await trades(exchange, RELIST_EVERY_S, BTC)
        assert running.feed.states() == {BTC: "LIVE"}
        counts = running.feed.stats().anomalies
        assert counts == {"listing does not fit what was asked for": 1}


def roster(count: int) -> Roster:
    instruments = [
        Instrument(index=index, symbol=f"S{index}", price_exponent=-2, quantity_exponent=-3)
        for index in range(count)
    ]
    return Roster(instruments, [NO_REFERENCE] * count)


def listing(*symbols: str) -> Listing:
    rows = {
        each: Listed(symbol=each, price_exponent=-2, quantity_exponent=-3, time_exponent=-3)
        for each in symbols
    }
    return Listing("somewhere", rows)


def test_symbols_beyond_the_channels_limit_are_named_and_left_out() -> None:
    count = MAX_INSTRUMENTS - 2
    served = roster(count)
    symbols = [f"S{index}" for index in range(count)]
    changes = compare(served, listing(*symbols, "X1", "X2", "X3"), ("S1", "X?"))
    assert [(each.symbol, each.index) for each in changes.joined] == [
        ("X1", count),
        ("X2", count + 1),
    ]
    ((kind, detail),) = changes.odd
    assert (kind, detail) == ("no room for new symbols", "1 are left out: X3")


def test_the_same_listing_changes_nothing() -> None:
    changes = compare(roster(2), listing("S0", "S1"), ("all",))
    assert changes == compare(roster(2), listing("S0", "S1"), ())
    assert not any([changes.joined, changes.left, changes.halted, changes.back, changes.odd])
