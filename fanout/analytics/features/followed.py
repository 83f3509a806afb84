"""One instrument of a stream: keeps what is known of its book and its trades, for its `Features`.

Records with a time, `received_ns`, say when something happened. Losses, statuses, gaps, and the
snapshots for a reader that joins do not. What they make worse is worse at once, at the time of the
record before. What they make better is better from the next record with a time on: then `settle` is
called. In between nothing is shown that may be wrong.
"""

from __future__ import annotations

from typing import Final

from fanout.analytics.features.features import Features
from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.features.stoikov import MicropriceFit
from fanout.analytics.features.trade_holes import TradeHoles
from fanout.clients.books import Book
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote, pack_levels
from fanout.protocol.constants import Absence, BookFlags
from fanout.protocol.instrument import Instrument

_NO_BOOK: Final = int(Absence.NO_BOOK)
_LOST: Final = int(Absence.LOST)
_NOT_LIVE: Final = int(Absence.NOT_LIVE)

_NONE: Final = BookFlags.NONE
_USUAL: Final = 2
"""After so many whole books in a row, the next one is nothing special."""

_TOP: Final = BookFlags.WHOLE | BookFlags.TOP_ONLY


class Followed:
    """One instrument. Quotes count where the stream has no book of it: they are a book of one level
    on each side, beyond which nothing is known. Once an update of a book has come, quotes do not
    count any more."""

    __slots__ = (
        "_fit",
        "_has_book",
        "_is_ahead",
        "_is_anew",
        "_is_continued",
        "_settings",
        "_top",
        "_was_known",
        "_wholes",
        "book",
        "features",
        "holes",
    )

    def __init__(
        self,
        settings: FeatureSettings,
        instrument: Instrument,
        book: Book,
        fit: MicropriceFit | None,
    ) -> None:
        self._settings = settings
        self._fit = fit
        self.features = Features(settings, instrument, fit=fit)
        self.book = book
        self._top = OrderBook()
        """What the newest quote says."""
        self._has_book = False
        """Whether an update of a book has come."""
        self._is_ahead = False
        """Whether the newest quote is of a snapshot, so that older ones may follow."""
        self._was_known = False
        self._wholes = 0
        """How many updates in a row have replaced the book."""
        self._is_continued = False
        """Whether the newest update is to be continued."""
        self._is_anew = True
        """Whether changes were missed since the book was taken last."""
        self.holes = TradeHoles()

    @property
    def instrument(self) -> Instrument:
        """As of the newest record."""
        return self.features.instrument

    def begin(self, start_ns: int, now_ns: int) -> None:
        """The stream has begun. This comes before anything else that has a time."""
        self.features.begin(start_ns)
        self.turn(now_ns)

    def begin_anew(self, now_ns: int) -> None:
        """The stream begins once more, at another time. The book is as it was."""
        self.features = Features(self._settings, self.instrument, fit=self._fit)
        self.holes = TradeHoles()
        self._is_anew = True
        self.begin(now_ns, now_ns)

    def note(self, update: BookUpdate | OrderUpdate) -> None:
        """An update has come, which is not in the book yet. A whole book is a new start, unless two
        others came right before it: then that is how the venue sends every change. A snapshot that
        the book has already changes nothing."""
        self._has_book = True
        if update.flags is _NONE and update.seq:
            if not self._is_continued:
                self._wholes = 0
            self._is_continued = False
            return
        if self.book.ignores(update):
            return
        if not update.seq and self.book.is_known and update.update_id <= self.book.update_id:
            return
        if update.is_whole:
            self._is_anew |= self._wholes < _USUAL or not update.seq
            self._wholes += 1
        elif not self._is_continued:
            self._wholes = 0
        self._is_continued = update.has_more

    def quote(self, quote: Quote) -> bool:
        """A quote has come. One of a snapshot that says what is known already changes nothing.
        Returns whether it counts, which it does unless there is a book."""
        if self._has_book:
            return False
        if self._is_known(quote):
            return True
        self._is_ahead = not quote.seq
        self._is_anew |= self._is_ahead
        bids = [(quote.bid_price, quote.bid_quantity)] if quote.bid_quantity else []
        asks = [(quote.ask_price, quote.ask_quantity)] if quote.ask_quantity else []
        self._top.apply(
            BookUpdate(
                quote.instrument,
                quote.update_id,
                quote.time,
                pack_levels(bids),
                pack_levels(asks),
                _TOP,
            )
        )
        return True

    def _is_known(self, quote: Quote) -> bool:
        """Whether the newest quote is this one, or a later one."""
        newest = self._top.update_id
        if quote.seq:
            return self._is_ahead and quote.update_id < newest
        return self._top.is_known and quote.update_id <= newest

    def lose(self, now_ns: int) -> None:
        """Records were lost, which may have been of this instrument."""
        self._top.clear()
        self._is_ahead = self._is_continued = False
        self._wholes = 0
        self._lose_book(now_ns, _LOST)
        self.holes.lose()
        self.tell_holes()

    def turn(self, now_ns: int) -> None:
        """A status has come, and `book` knows of it."""
        if not self.book.is_live:
            # A quote may have been missed. A book may not: if it may, the service sends a new one.
            self._top.clear()
            self._lose_book(now_ns, _NOT_LIVE)
            self.holes.lose()
            self.features.lose_trades(_NOT_LIVE)

    def tell_holes(self) -> None:
        """The holes have changed, or may have."""
        if not self.book.is_live:
            return
        if self.holes.is_open:
            self.features.lose_trades(self.holes.why)
        else:
            self.features.resume_trades(self.holes.end_ns, self.holes.why)

    def settle(self, now_ns: int) -> None:
        """A record with a time has come, and all before it are known."""
        if self.book.is_live:
            self.holes.settle(now_ns)
            self.tell_holes()
            self.show(now_ns)

    def show(self, now_ns: int) -> None:
        """The book is from now on what it is."""
        book = self.book
        prices, is_ahead = book.prices, book.is_ahead
        if not self._has_book and book.is_live:
            prices, is_ahead = self._top, self._is_ahead
        if prices.is_consistent:
            self.features.take_book(now_ns, prices, is_anew=self._is_anew, is_ahead=is_ahead)
            self._was_known, self._is_anew = True, False
        elif not book.is_live:
            return  # as `turn` has told
        elif self._has_book and book.is_paused:
            self.features.hide_book(now_ns, self._why(_LOST))
        else:
            self._lose_book(now_ns, _LOST)

    def _lose_book(self, now_ns: int, why: int) -> None:
        self._is_anew = True
        if now_ns:  # before the first record with a time nothing was shown
            self.features.lose_book(now_ns, self._why(why))

    def _why(self, why: int) -> int:
        return _NO_BOOK if why == _LOST and not self._was_known else why
