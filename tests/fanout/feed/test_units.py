"""Units that become finer with the values, in mid-stream, at a venue that lists only a guess."""

import trio
from msgspec.structs import replace
from trio.testing import MockClock

from fanout.feed.units import FINEST, finer
from fanout.feed.upkeep import RELIST_EVERY_S
from fanout.protocol import BookUpdate, DataKinds, Instrument, Quote, Reference, Status, Trade
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.fanout.feed.test_normalise import BTC as INSTRUMENT
from tests.fanout.feed.toy import FineVenue
from tests.stand.loopback import Exchange

BTC, ETH = "BTCUSDT", "ETHUSDT"
REFERENCE = Reference(price=6_180_030, quantity=500, trade_id=7, time=1)
EVERYTHING = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE


def needed(*values: tuple[str, str], instrument: Instrument = INSTRUMENT) -> tuple[int, int] | None:
    found = finer(instrument, REFERENCE, values)
    return found and (found.price_exponent, found.quantity_exponent)


def test_units_are_as_fine_as_the_finest_value() -> None:
    assert needed(("61800.30", "0.006"), ("1", "2")) is None
    assert needed(("61800.30000", "0.0060")) is None, "zeros need nothing"
    assert needed(("61800.305", "0.006"), ("61800.1", "0.00061")) == (-3, -5)
    ticked = replace(INSTRUMENT, tick=10, lot=1)
    found = finer(ticked, REFERENCE, [("0.0001", "0.00001")])
    assert found == replace(ticked, price_exponent=-4, quantity_exponent=-5, tick=1_000, lot=100), (
        "a tick is the same amount as before"
    )


def test_a_value_that_may_be_wrong_changes_no_units() -> None:
    assert needed(("0.30000000000000004", "1")) is None
    assert needed((f"0.{'0' * -FINEST}1", "1")) is None
    assert needed(("many", "0.0.1"), ("", "-")) is None
    dear = replace(REFERENCE, price=10**15)
    assert finer(INSTRUMENT, dear, [("0.00001", "1")]) is None, "a price would not fit 64 bits"


async def test_a_finer_trade_changes_the_units_at_once_and_nothing_is_lost(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    exchange.trade(BTC, skip=True)
    data = DataKinds.TRADES | DataKinds.QUOTES
    async with running_feed(exchange, venue_class=FineVenue, data=data) as running:
        running.read()
        exchange.trade(BTC)
        exchange.quote(BTC)
        exchange.trade(BTC, "MARKET", price="61800.305")
        exchange.trade(BTC, "MARKET", price="61800.3")
        exchange.books[BTC].change({"61800.2001": "0.5"}, {})
        exchange.quote(BTC)
        await trio.sleep(1)
        new = running.read()
        trades = [each.price_text for each in new if isinstance(each, Trade)]
        bids = [each.bid_price for each in new if isinstance(each, Quote)]
        assert trades == ["61800.30", "61800.305", "61800.300"]
        assert bids == [6_180_020, 618_002_001], "each in the units of its time"
        (stats,) = running.feed.stats().instruments
        assert (stats.refused, stats.trades, running.feed.stats().anomalies) == (0, 3, {})
        assert exponents(running) == (-4, -3)
        assert running.publisher.header.references[0].price == 618_003_000
        await trio.sleep(RELIST_EVERY_S + 1)
        assert exponents(running) == (-4, -3), "the listing is a guess, and changes nothing back"


async def test_a_finer_level_begins_the_book_anew_in_finer_units(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=FineVenue, data=EVERYTHING) as running:
        exchange.trade(BTC)
        exchange.change(BTC, bids={"61800.10": "1"})
        await trio.sleep(2)
        assert running.feed.states() == {BTC: "LIVE"}
        running.read()
        exchange.change(BTC, bids={"61800.11": "1"})
        exchange.change(BTC, bids={"61800.112": "2"})
        exchange.change(BTC, bids={"61800.1": "3"})
        await trio.sleep(5)
        exchange.change(BTC, bids={"61800.09": "4"})
        await trio.sleep(5)
        exchange.change(BTC, bids={"61800.08": "4"})
        await trio.sleep(5)
        new = running.read()
        assert exponents(running) == (-3, -3)
        assert running.feed.states() == {BTC: "LIVE"}
        whys = [each.why for each in new if isinstance(each, Status)]
        assert any("units" in each or "cannot be" in each for each in whys)
        whole = next(each for each in new if isinstance(each, BookUpdate) and each.is_whole)
        assert whole.instrument.price_exponent == -3
        book = running.publisher.books.of(0)
        assert {price for price, _ in book.levels(10)[0]} >= {61_800_112, 61_800_110, 61_800_080}


async def test_units_that_become_finer_while_the_listing_is_applied_stay_so(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=FineVenue) as running:
        exchange.trade(ETH)
        await trio.sleep(1)
        exchange.precisions[BTC], exchange.ticks[ETH] = 4, "0.05"
        exchange.rest_delay_s = 10.0
        await trio.sleep(RELIST_EVERY_S + 14)
        assert exchange.requests[-1].path.endswith("trades"), "for the reference of the first"
        exchange.trade(ETH, price="61800.305")
        await trio.sleep(60)
        btc, eth = running.publisher.header.instruments
        assert (btc.price_exponent, eth.price_exponent, eth.tick) == (-4, -3, 50)
        trades = [each.price_text for each in running.read() if isinstance(each, Trade)]
        assert trades == ["61800.30", "61800.305"]


def exponents(running: RunningFeed) -> tuple[int, int]:
    (instrument,) = running.publisher.header.instruments
    return instrument.price_exponent, instrument.quantity_exponent
