"""Both dialects over connections, with the service's dialogues as clients: what one encodes and the
other reads has to fit, though they share no code."""

from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock
from wsproto.events import Ping, TextMessage

from fanout.protocol import DataKinds, OrderBook
from fanout.simulator.config import SimulatorConfig
from fanout.simulator.dialects import DIALECTS
from fanout.simulator.dialects.coinbase import CoinbaseAdvanced, CoinbaseExchange
from fanout.simulator.exchange import Exchange
from fanout.simulator.faults import Lose, Refuse, Resnapshot
from fanout.simulator.market.clock import Clock
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.ticks import Rows, Tick, Trade
from fanout.venues import Outcome, VenueDepth, VenueItem, VenueTrade
from fanout.venues.coinbase import Coinbase
from fanout.venues.coinbase import CoinbaseAdvanced as AdvancedVenue
from fanout.venues.coinbase.venue import CoinbaseVenue
from fanout.venues.values import NewestId
from tests.fanout.simulator.dialects.coinbase.test_exchange import ALL, query_of, side_of
from tests.fanout.simulator.support import tick, trade
from tests.stand.callers import RawClient
from tests.stand.memory import MemoryServer

DIALECT_OF = {Coinbase: CoinbaseExchange(), AdvancedVenue: CoinbaseAdvanced()}
SYMBOL = "BTC-USD"
TRADES = 100
NS_PER_S = 1_000_000_000


class Market:
    """Twenty trades a second of one symbol, for five seconds."""

    recorded_books = None
    aggregated: frozenset[str] = frozenset()

    def __init__(self, listing: Listing) -> None:
        self.listings = (listing,)

    def prime(self, rows: Rows, origin_ms: int) -> None:
        for number in range(90, 100):
            rows.add(self._trade(number))

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        for place in range(TRADES):
            yield tick(self._trade(100 + place), place * NS_PER_S // 20)

    def enlist(self, listing: Listing) -> None:
        pass

    def _trade(self, number: int) -> Trade:
        return trade(
            number, symbol=SYMBOL, price="84140.83", quantity="0.00100000", time_ms=1_000 + number
        )


class Client:
    """A connection of the service. It takes everything, and answers pings."""

    def __init__(self, venue: CoinbaseVenue, raw: RawClient) -> None:
        request, *_ = venue.listing_requests()
        listing = venue.parse_listing(query_of(side_of(DIALECT_OF[type(venue)]), request))
        unit = listing.instrument(SYMBOL, 0)
        self.dialogue = venue.dialogue((SYMBOL,), {SYMBOL: unit})
        self.book = OrderBook(unit)
        self.items: list[VenueItem] = []
        self.outcomes: list[Outcome] = []
        self.messages = 0
        self.ended_s: float | None = None
        self._raw = raw

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self._raw.send(TextMessage(data=text))

    async def listen(self) -> None:
        while (event := await self._raw.event()) is not None:
            if isinstance(event, Ping):
                await self._raw.send(event.response())
            if isinstance(event, TextMessage):
                self._take(event.data.encode())
        self.ended_s = trio.current_time()

    def _take(self, message: bytes) -> None:
        items: list[VenueItem] = []
        outcome = self.dialogue.receive(message, items)
        self.outcomes += [outcome] if outcome is not None else []
        self.items += items
        self.messages += 1
        for each in items:
            if isinstance(each, VenueDepth):
                self.book.apply(each.update)
                assert not self.book.is_crossed

    @property
    def trades(self) -> list[VenueTrade]:
        return [each for each in self.items if isinstance(each, VenueTrade)]

    @property
    def depths(self) -> list[VenueDepth]:
        return [each for each in self.items if isinstance(each, VenueDepth)]


class Stand:
    def __init__(self, nursery: trio.Nursery, venue: CoinbaseVenue) -> None:
        dialect = DIALECT_OF[type(venue)]
        self.venue = venue
        config = SimulatorConfig(dialect=dialect.name)
        self.exchange = Exchange(Market(dialect.table[SYMBOL]), Clock(0), config)
        self._nursery = nursery
        self._server = MemoryServer(nursery, self.exchange.serve)

    async def client(self) -> Client:
        raw = RawClient(self._server.connect())
        await raw.shake_hands("/")
        client = Client(self.venue, raw)
        self._nursery.start_soon(client.listen)
        return client


@pytest.fixture(params=[Coinbase, AdvancedVenue])
def stand(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> Stand:
    for dialect in DIALECT_OF.values():
        monkeypatch.setitem(DIALECTS, dialect.name, dialect)
    return Stand(nursery, request.param(data=ALL))


async def test_the_service_gets_all_trades_and_the_same_book_on_each_connection(
    stand: Stand, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    first, second = await stand.client(), await stand.client()
    await first.say(*first.dialogue.opening())
    nursery.start_soon(stand.exchange.play, 1.0)
    await trio.sleep(2.02)
    await second.say(*second.dialogue.opening())
    await trio.sleep(0.001)
    assert [each.confirmed for each in first.outcomes] == [(SYMBOL,)]
    assert second.book.bid_count > 10
    assert first.book.levels() == second.book.levels(), "whole, or after some forty changes"
    await trio.sleep(4)
    past = [each.trade_id for each in first.trades if each.is_past]
    new = [each.trade_id for each in first.trades if not each.is_past]
    assert past
    assert past == [*range(100 - len(past), 100)]
    assert new[-1] == 199
    assert new == [*range(new[0], 200)]
    assert new[0] in (100, 101), "the first one may come before the subscription"
    assert first.book.levels() == second.book.levels()
    assert not any(each.lost for each in first.outcomes + second.outcomes)
    if isinstance(stand.venue, Coinbase):
        newest = [each.trade_id for each in first.items if isinstance(each, NewestId)]
        assert newest == sorted(newest)
        assert newest[-1] == 199
        assert len(newest) == 6


async def test_a_product_is_refused_and_a_book_comes_again_unasked(
    stand: Stand, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    stand.exchange.faults.inject(Refuse(SYMBOL, how="request"))
    refused, good = await stand.client(), await stand.client()
    for client in (refused, good):
        await client.say(*client.dialogue.opening())
        await trio.sleep(0.01)
    assert set(refused.outcomes[0].refused) == {SYMBOL}
    nursery.start_soon(stand.exchange.play, 1.0)
    await trio.sleep(1.02)  # between two changes
    stand.exchange.faults.inject(Resnapshot(SYMBOL))
    await trio.sleep(0.01)
    assert [each.update.is_whole for each in good.depths].count(True) == 2
    assert good.depths[-1].update.is_whole


async def test_without_a_request_the_venue_ends_the_connection_after_five_seconds(
    stand: Stand, autojump_clock: MockClock
) -> None:
    client = await stand.client()
    await trio.sleep(6)
    assert client.ended_s == pytest.approx(5.0, abs=0.1)


async def test_lost_messages_of_advanced_trade_show_in_the_numbers(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    monkeypatch.setitem(DIALECTS, "coinbase-advanced", DIALECT_OF[AdvancedVenue])
    stand = Stand(nursery, AdvancedVenue(data=DataKinds.TRADES))
    client = await stand.client()
    await client.say(*client.dialogue.opening())
    nursery.start_soon(stand.exchange.play, 1.0)
    await trio.sleep(2.0)
    stand.exchange.faults.inject(Lose(count=2))
    await trio.sleep(4)
    (lost,) = (each.lost for each in client.outcomes if each.lost)
    before, after = lost.split()[-1], lost.split()[1]
    assert int(after) == int(before) + 3
    assert client.messages < 40, "five trades a message, and a heartbeat each second"
    assert len(client.trades) < TRADES + 10
