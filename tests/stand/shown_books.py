"""The judge of P8 where ids do not say which book is compared with which: at venues without update
ids, or with ids that begin anew.

The exchange's books have their order in its own book-keeping. A consumer's book is looked for among
them by its best levels, not before the one that was found last. Some of them are kept whole, and
then all levels are compared. Quotes are looked for in the same way by the best level of each side.
Where a venue sends each level for itself, a book may be any of those in between.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from fanout.clients.books import Book
from fanout.protocol import Quote
from fanout.simulator import Simulator
from fanout.simulator.market.book import Book as MarketBook
from fanout.simulator.market.listing import Listing, decimals
from tests.stand.exchange_books import Change, ExchangeBooks, Seen
from tests.stand.raw_book import LEVEL, digest_of

BEST: Final = 5
"""Levels of each side that every book is looked for by."""
PLACES: Final = 18
"""Decimals of prices and quantities that are compared. Units of a venue may change."""
MOST_STATES: Final = 10_000
"""Of a symbol's book, the newest ones: ten minutes of a busy one."""
WHOLE_EVERY: Final = 32
"""States of a book between two that are kept whole."""

MOST_COMPARED: Final = 4
MOST_WHOLE: Final = 500
"""Of all books of a market together, some 15 MB."""

Levels = list[tuple[int, int]]


class _States:
    """The states that one symbol's book has had, by the best levels."""

    def __init__(self) -> None:
        self.count = 0
        self.digest: int | None = None
        """Of the newest one."""
        self.best: tuple[int, ...] = ()
        """The keys of the newest one."""
        self.whole: dict[int, tuple[bytes, bytes]] = {}
        self._places: dict[int, list[int]] = {}
        self._keys: deque[tuple[int, ...]] = deque()

    def add(self, keys: tuple[int, ...]) -> None:
        for key in keys:
            self._places.setdefault(key, []).append(self.count)
        self._keys.append(keys)
        self.best = keys
        self.count += 1
        if len(self._keys) > MOST_STATES:
            self._forget(self.count - len(self._keys), self._keys.popleft())

    def _forget(self, place: int, keys: tuple[int, ...]) -> None:
        for key in keys:
            places = self._places[key]
            places.remove(place)
            if not places:
                del self._places[key]

    def places(self, key: int, since: int) -> list[int]:
        """Those of a key, from one place on."""
        return [each for each in self._places.get(key, ()) if each >= since]

    def had(self, key: int) -> bool:
        return key in self._places


class ShownBooks(ExchangeBooks):
    """All symbols have books, or none is quoted."""

    _notes_quotes = False
    whole_every = WHOLE_EVERY

    def __init__(
        self, simulator: Simulator, quoted: Sequence[str], with_books: Sequence[str]
    ) -> None:
        self._is_by_level = simulator._exchange._dialect.name == "bitfinex"
        self._states: dict[str, _States] = {}
        self._units: dict[str, tuple[int, int]] = {}
        self._whole: deque[tuple[str, int]] = deque()
        super().__init__(simulator, quoted, with_books)

    def _ticks(self, listing: Listing) -> int:
        return 1

    def _note(self, listing: Listing, last_id: int, bids: bytearray, asks: bytearray) -> None:
        symbol, digest = listing.symbol, digest_of(bids, asks)
        states = self._states.setdefault(symbol, _States())
        if digest == states.digest:
            return
        states.digest = digest
        units = self._units[symbol] = _units(
            -decimals(listing.tick_size), -decimals(listing.step_size)
        )
        ends = [
            _scaled(LEVEL.iter_unpack(side[: BEST * LEVEL.size]), units) for side in (bids, asks)
        ]
        keys = _key(*ends, BEST), _key(*ends, 1)
        # Neighbours with the same best levels are compared together: all are whole, or none is.
        is_same = keys == states.best
        if (states.count - 1 in states.whole) if is_same else states.count % self.whole_every == 0:
            self._keep_whole(symbol, states, bytes(bids), bytes(asks))
        elif is_same:
            return
        states.add(keys)

    def _in_order(self, book: MarketBook) -> Iterable[Change]:
        """As the venue sends them: removals first, bids before asks, from the best outwards."""
        changes = set(super()._in_order(book))
        yield from sorted(changes, key=lambda c: (c[2] > 0, not c[0], -c[1] if c[0] else c[1]))

    def _keep_whole(self, symbol: str, states: _States, bids: bytes, asks: bytes) -> None:
        states.whole[states.count] = bids, asks
        self._whole.append((symbol, states.count))
        if len(self._whole) > MOST_WHOLE:
            oldest, place = self._whole.popleft()
            del self._states[oldest].whole[place]

    def fault_of_quote(self, quote: Quote) -> str:
        if self._is_between(quote):
            return ""
        states = self._states.get(quote.symbol)
        return "" if states and states.had(_key_of(quote)) else f"{quote} was never there"

    def fault_of_next(self, quote: Quote, seen: Seen) -> str:
        if self._is_between(quote):
            return ""
        places = self._find(_key_of(quote), (quote.symbol, "quote"), seen)
        return "" if places else f"{quote} is older than the quote before"

    def _is_between(self, quote: Quote) -> bool:
        """Whether a side is empty only between two messages of one transaction: where each level is
        sent for itself, all of the best levels may go before the next ones come."""
        return self._is_by_level and not (quote.bid_quantity and quote.ask_quantity)

    def fault_of_known(self, book: Book, seen: Seen) -> str:
        of, shown = book.instrument, book.prices
        assert of is not None, "a known book has an instrument"
        units = _units(of.price_exponent, of.quantity_exponent)
        bids, asks = (_scaled(side, units) for side in shown.levels(BEST))
        count = BEST
        if shown.is_top_only and min(len(bids), len(asks)) < BEST:
            count = 1
            if not bids or not asks:
                return ""
        key = _key(bids, asks, count)
        places = self._find(key, (book.symbol, "book"), seen)
        states = self._states[book.symbol]
        if not places:
            what = "is older than before" if states.had(key) else "was never there"
            return f"the book of {book.symbol}, {bids} and {asks}, {what}"
        if len(places) > MOST_COMPARED or not all(each in states.whole for each in places):
            return ""
        ours = tuple(set(_scaled(side, units)) for side in shown.levels())
        for each in places:
            theirs = tuple(
                set(_scaled(LEVEL.iter_unpack(side), self._units[book.symbol]))
                for side in states.whole[each]
            )
            if ours == theirs or (
                shown.is_top_only and all(map(set.issubset, ours, theirs))  # type: ignore[arg-type]
            ):
                return ""
        return f"the book of {book.symbol} differs from the exchange's beyond its best levels"

    def _find(self, key: int, of: tuple[str, str], seen: Seen) -> list[int]:
        states = self._states.get(of[0])
        places = states.places(key, seen.get(of, 0)) if states else []
        if places:
            seen[of] = places[0]
        return places


def _units(price_exponent: int, quantity_exponent: int) -> tuple[int, int]:
    return 10 ** (PLACES + price_exponent), 10 ** (PLACES + quantity_exponent)


def _scaled(levels: Any, units: tuple[int, int]) -> Levels:
    price_unit, quantity_unit = units
    return [(price * price_unit, quantity * quantity_unit) for price, quantity in levels]


def _key(bids: Levels, asks: Levels, count: int) -> int:
    return hash((count, *bids[:count], None, *asks[:count]))


def _key_of(quote: Quote) -> int:
    """Of a quote. An empty side has the quantity 0."""
    units = _units(quote.instrument.price_exponent, quote.instrument.quantity_exponent)
    bid = (quote.bid_price, quote.bid_quantity)
    ask = (quote.ask_price, quote.ask_quantity)
    return _key(*(_scaled([each] if each[1] else (), units) for each in (bid, ask)), 1)
