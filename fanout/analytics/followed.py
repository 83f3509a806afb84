"""One instrument of a stream: what is known of its book and its trades, told to its `Features`.

Records with a time, `received_ns`, tell when something happened. Others only tell what happened:
losses, statuses, gaps, and the snapshots for a reader that joins. So what gets worse is so at once,
at the time of the record before, and what gets better is so from the next record with a time on:
then `settle` is called. In between nothing is shown that may be wrong.
"""

from __future__ import annotations

from typing import Final

from fanout.analytics.features import Features
from fanout.analytics.settings import FeatureSettings
from fanout.analytics.stoikov import MicropriceFit
from fanout.clients.books import Book
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote, pack_levels
from fanout.protocol.constants import Absence, BookFlags
from fanout.protocol.instrument import Instrument

_NO_BOOK: Final = int(Absence.NO_BOOK)
_LOST: Final = int(Absence.LOST)
_NOT_LIVE: Final = int(Absence.NOT_LIVE)
_WARMING_UP: Final = int(Absence.WARMING_UP)

_TOP: Final = BookFlags.WHOLE | BookFlags.TOP_ONLY


class Followed:
    """One instrument. Quotes count where the stream has no book of it: they are a book of one level
    on each side, beyond which nothing is known. Once an update of a book has come, quotes do not
    count any more."""

    __slots__ = (
        "_has_book",
        "_is_anew",
        "_is_behind",
        "_is_continued",
        "_top",
        "_trades_are_lost",
        "_trades_were_known",
        "_was_known",
        "_was_whole",
        "book",
        "features",
    )

    def __init__(
        self,
        settings: FeatureSettings,
        instrument: Instrument,
        book: Book,
        fit: MicropriceFit | None,
    ) -> None:
        self.features = Features(settings, instrument, fit=fit)
        self.book = book
        self._top = OrderBook()
        """What the newest quote says."""
        self._has_book = False
        """Whether an update of a book has come."""
        self._is_behind = False
        """Whether the newest quote is of a snapshot, so that older ones may follow."""
        self._was_known = False
        self._was_whole = False
        """Whether the newest update replaced the book."""
        self._is_continued = False
        """Whether the newest update is to be continued."""
        self._is_anew = True
        """Whether changes were missed since the book was taken last."""
        self._trades_are_lost = True
        self._trades_were_known = False

    @property
    def instrument(self) -> Instrument:
        """As of the newest record."""
        return self.features.instrument

    def note(self, update: BookUpdate | OrderUpdate) -> None:
        """An update has come, which is not in the book yet. A whole book after another one is how
        some venues send every change; any other is a new start."""
        self._has_book = True
        if not self._is_continued:
            self._is_anew |= update.is_whole and not (self._was_whole and update.seq)
            self._was_whole = update.is_whole
        self._is_continued = update.has_more

    def quote(self, quote: Quote) -> None:
        """A quote has come."""
        if self._is_behind and quote.update_id < self._top.update_id:
            return
        self._is_behind = not quote.seq
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

    def lose(self, now_ns: int) -> None:
        """Records were lost, which may have been of this instrument."""
        self._top.clear()
        self._is_behind = self._was_whole = self._is_continued = False
        self._lose_book(now_ns, _LOST)
        self.lose_trades(_LOST)

    def turn(self, now_ns: int) -> None:
        """A status has come, and `book` knows of it."""
        if not self.book.is_live:
            self._lose_book(now_ns, _NOT_LIVE)
            self.lose_trades(_NOT_LIVE)

    def lose_trades(self, why: int) -> None:
        """Trades are missing."""
        self._trades_are_lost = True
        self.features.lose_trades(why, _LOST if self._trades_were_known else _WARMING_UP)

    def settle(self, now_ns: int) -> None:
        """A record with a time has come, and all before it are known."""
        if not self.book.is_live:
            return
        if self._trades_are_lost:
            self._trades_are_lost, self._trades_were_known = False, True
            self.features.resume_trades(now_ns)
        self.show(now_ns)

    def show(self, now_ns: int) -> None:
        """The book is from now on what it is."""
        features = self.features
        if not self.book.is_live:
            return
        prices = self.book.prices if self._has_book else self._top
        if prices.is_consistent:
            features.take_book(now_ns, prices, is_anew=self._is_anew)
            self._was_known, self._is_anew = True, False
        elif self._has_book and self.book.is_paused:
            features.hide_book(now_ns, self._why(_LOST))
        else:
            self._lose_book(now_ns, _LOST)

    def _lose_book(self, now_ns: int, why: int) -> None:
        self._is_anew = True
        self.features.lose_book(now_ns, self._why(why))

    def _why(self, why: int) -> int:
        return _NO_BOOK if why == _LOST and not self._was_known else why
