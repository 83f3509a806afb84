"""A simulated Bitfinex and the service's venue at the two ends of a connection, in virtual time."""

from collections import Counter
from decimal import Decimal

import pytest
import trio
from trio.testing import MockClock

from fanout.errors import VenueMessageError
from fanout.protocol import DataKinds, Instrument, OrderBook
from fanout.simulator import SimulatorConfig
from fanout.simulator.dialects import DIALECTS
from fanout.simulator.dialects.bitfinex import Bitfinex
from fanout.simulator.dialects.bitfinex.table import TABLE
from fanout.simulator.exchange import Exchange
from fanout.simulator.faults import Checksum, Garble, Insert, Lose, Maintain, Refuse, Resnapshot
from fanout.simulator.market.clock import Clock
from fanout.simulator.market.synthetic import SyntheticMarket
from fanout.simulator.market.ticks import MARKET
from fanout.venues import Outcome, VenueDepth, VenueItem, VenueTrade
from fanout.venues.bitfinex import Bitfinex as TheVenue
from fanout.venues.values import Alive, BookChecksum
from tests.fanout.simulator.toy_client import ToyClient
from tests.stand.callers import RawClient
from tests.stand.memory import MemoryServer

BEGAN_NS = 1_790_000_000_000_000_000
SYMBOLS = ("tLTCUSD", "tPEPE:USD")
_FIELDS = ("lost", "pauses", "closes")
UNITS = {
    each: Instrument(index=index, symbol=each, price_exponent=-10, quantity_exponent=-8)
    for index, each in enumerate(SYMBOLS)
}


LEVELS = 100


class Ends:
    """The exchange, and what a client understands of it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        dialect = Bitfinex()
        market = SyntheticMarket(tuple(TABLE[each] for each in SYMBOLS), 4.0, 1, dialect.kinds)
        self.exchange = Exchange(market, Clock(BEGAN_NS), SimulatorConfig(dialect="bitfinex"))
        self._server = MemoryServer(nursery, self.exchange.serve)
        data = DataKinds.TRADES | DataKinds.BOOK_BY_PRICE
        self.venue = TheVenue(data=data).with_checksums()
        self.dialogue = self.venue.dialogue(SYMBOLS, UNITS)
        self.books = {each: OrderBook(UNITS[each]) for each in SYMBOLS}
        self.items: list[VenueItem] = []
        self.outcomes: list[Outcome] = []
        self.sums: Counter[bool] = Counter()
        self._heard = 0

    async def connect(self, nursery: trio.Nursery) -> None:
        client = RawClient(self._server.connect())
        await client.shake_hands("/ws/2")
        self.client = ToyClient(client)
        nursery.start_soon(self.client.listen)
        await self.say(*self.dialogue.opening())
        nursery.start_soon(self.exchange.play, 1.0)

    async def say(self, *texts: str) -> None:
        await self.client.say(*texts)
        self.take()

    async def until(self, time_s: float) -> None:
        await self.client.until(time_s)
        self.take()

    def take(self) -> None:
        """Parse what has come since the last time, and follow the books."""
        for text in self.client.heard[self._heard :]:
            items: list[VenueItem] = []
            outcome = self.dialogue.receive(text.encode(), items)
            self.outcomes += [] if outcome is None else [outcome]
            self.items += items
            for each in items:
                if isinstance(each, VenueDepth):
                    self.books[each.symbol].apply(each.update)
                elif isinstance(each, BookChecksum):
                    is_right = self.venue.checksum(self.books[each.symbol]) == each.value
                    self.sums[is_right] += 1
        self.skip()

    def skip(self) -> None:
        """Leave out what has come."""
        self._heard = len(self.client.heard)

    def is_whole(self, symbol: str) -> bool:
        """Whether a book has the best levels of the exchange's, and no others."""
        found, unit = self.exchange.book(symbol, LEVELS), UNITS[symbol]
        return [
            [(unit.price_decimal(price), unit.quantity_decimal(size)) for price, size in side]
            for side in self.books[symbol].levels()
        ] == [[(Decimal(p), Decimal(q)) for p, q in side] for side in (found.bids, found.asks)]


@pytest.fixture
async def ends(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> Ends:
    monkeypatch.setitem(DIALECTS, "bitfinex", Bitfinex())
    return Ends(nursery)


async def test_the_venue_follows_the_exchange(
    autojump_clock: MockClock, nursery: trio.Nursery, ends: Ends
) -> None:
    await ends.connect(nursery)
    await ends.until(15.5)
    assert ends.dialogue.unanswered == frozenset()
    assert [each for each in ends.outcomes if not each.confirmed] == []
    trades = [each for each in ends.items if isinstance(each, VenueTrade) and not each.is_past]
    for symbol in SYMBOLS:
        issued = [
            trade_id
            for each in ends.exchange.issued(symbol)
            for trade_id in range(each.first_id, each.last_id + 1)
        ]
        assert [each.trade_id for each in trades if each.symbol == symbol] == issued != []
        assert ends.is_whole(symbol)
    assert ends.sums == {True: 2 * 3}
    assert [each for each in ends.items if isinstance(each, Alive)] == list(map(Alive, SYMBOLS))


async def test_losses_and_maintenance_are_told(
    autojump_clock: MockClock, nursery: trio.Nursery, ends: Ends
) -> None:
    await ends.connect(nursery)
    for fault in (Lose(count=2), Maintain(for_s=1)):
        ends.exchange.faults.inject(fault)
    await ends.until(2.5)
    told = {each for outcome in ends.outcomes for each in _FIELDS if getattr(outcome, each)}
    assert told == set(_FIELDS)


async def test_books_may_come_again_and_checksums_may_be_wrong(
    autojump_clock: MockClock, nursery: trio.Nursery, ends: Ends
) -> None:
    ends.exchange.faults.inject(Refuse("tPEPE:USD"))
    await ends.connect(nursery)
    assert [each.refused for each in ends.outcomes if each.refused] == [
        {"tPEPE:USD": "symbol: invalid (10300)"}
    ]
    ends.exchange.faults.inject(Checksum("tLTCUSD"))
    ends.exchange.faults.inject(Resnapshot("tLTCUSD"))
    await ends.say()
    assert ends.sums == {False: 1}
    wholes = [each for each in ends.items if isinstance(each, VenueDepth) and each.update.is_whole]
    assert [each.symbol for each in wholes] == ["tLTCUSD"] * 2
    await ends.until(2.5)
    assert ends.is_whole("tLTCUSD")


async def test_a_refreshed_book_is_whole_again(
    autojump_clock: MockClock, nursery: trio.Nursery, ends: Ends
) -> None:
    await ends.connect(nursery)
    await ends.until(1.0)
    await ends.say(*ends.dialogue.refresh("tLTCUSD"), *ends.dialogue.tick(15.0))
    await ends.until(2.0)
    assert ends.is_whole("tLTCUSD")
    wholes = [each for each in ends.items if isinstance(each, VenueDepth) and each.update.is_whole]
    assert len(wholes) == 3


async def test_garbled_trades_are_refused(
    autojump_clock: MockClock, nursery: trio.Nursery, ends: Ends
) -> None:
    await ends.connect(nursery)
    for how in ("cut", "price", "types"):
        ends.exchange.faults.inject(Garble("tLTCUSD", how=how))  # type: ignore[arg-type]
        ends.exchange.faults.inject(Insert("tLTCUSD", MARKET))
        with pytest.raises(VenueMessageError):
            await ends.say()
        ends.skip()
