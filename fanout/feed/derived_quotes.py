"""Quotes of venues that send none: the best levels of their order books, whenever they change."""

from fanout.feed.quotes import Quotes
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate, Level, OrderUpdate, Quote

_NOTHING = Level(0, 0)


class DerivedQuotes:
    """Takes quotes from the books of one feed."""

    def __init__(self, quotes: Quotes) -> None:
        """`quotes` counts them."""
        self._quotes = quotes
        self._best: dict[int, tuple[Level | None, Level | None]] = {}
        """The levels of the newest quote, by the index of the instrument."""

    def forget(self, index: int) -> None:
        """Give the next quote though it may equal the newest: readers may have missed some."""
        self._best.pop(index, None)

    def behind(self, update: BookUpdate | OrderUpdate, book: OrderBook) -> Quote | None:
        """The quote to publish behind an update that was applied to a book. None if its best levels
        are as before.

        As in all quotes, a side without levels has quantity 0 and the other side's price. Without
        any levels both have the prices of the quote before.
        """
        index, best = update.instrument.index, (book.best_bid, book.best_ask)
        before = self._best.get(index)
        if best == before:
            return None
        self._best[index] = best
        bid, ask = best
        if bid is None and ask is None:
            bid, ask = before or best
            bid, ask = (each and Level(each.price, 0) for each in (bid, ask))
        tally = self._quotes.tally(index)
        tally.last_id = update.update_id
        tally.quotes += 1
        some = bid or ask or _NOTHING
        bid = bid or Level(some.price, 0)
        ask = ask or Level(some.price, 0)
        return Quote(update.instrument, update.update_id, update.time, *bid, *ask)
