"""Notices that one stream of an instrument is silent while its others go on. Pure.

A fill changes the order book, and mostly its best price. So fills without quotes, or fills and
quotes without changes of the book, prove after a while that a stream is silent. The reverse proves
nothing: a book changes for minutes without a fill. The feed asks REST about that.
"""

from typing import Final

import msgspec

from fanout.protocol.constants import DataKinds

SILENT_S: Final = 12.0
"""Shortest silence of a stream that counts, as for an instrument as a whole."""

EVIDENCE: Final = 3
"""Reads in which only the other streams brought something."""


class _Heard(msgspec.Struct):
    quotes_s: float
    book_s: float
    without_quotes: int = 0
    without_book: int = 0


class Balance:
    """The streams of each instrument, by its index."""

    def __init__(self, data: DataKinds, *, book: DataKinds = DataKinds.BOOK_BY_PRICE) -> None:
        """`data` are the kinds that have a stream of their own. `book` is the kind that the stream
        of the book serves: quotes, where these are taken from books that are not published."""
        self._has_quotes = DataKinds.QUOTES in data and book is not DataKinds.QUOTES
        self._book = book & data
        self._heard: dict[int, _Heard] = {}

    def restart(self, index: int, now_s: float) -> None:
        """Begin anew: the instrument was subscribed, or its silence was reported."""
        self._heard[index] = _Heard(now_s, now_s)

    def _of(self, index: int, now_s: float) -> _Heard:
        heard = self._heard.get(index)
        if heard is None:
            heard = self._heard[index] = _Heard(now_s, now_s)
        return heard

    def heard_book(self, index: int, now_s: float) -> None:
        heard = self._of(index, now_s)
        heard.book_s, heard.without_book = now_s, 0

    def heard_quote(self, index: int, now_s: float) -> DataKinds:
        """Note a quote. Gives the kind that is silent, if one is."""
        heard = self._of(index, now_s)
        heard.quotes_s, heard.without_quotes = now_s, 0
        return self._without_book(heard, now_s)

    def heard_fill(self, index: int, now_s: float) -> DataKinds:
        """Note a read with fills. Gives the kind that is silent, if one is."""
        heard = self._of(index, now_s)
        if not heard.without_quotes:
            heard.quotes_s = now_s
        heard.without_quotes += 1
        if self._has_quotes and _is_silent(heard.without_quotes, now_s - heard.quotes_s):
            return DataKinds.QUOTES
        return self._without_book(heard, now_s)

    def _without_book(self, heard: _Heard, now_s: float) -> DataKinds:
        # The silence counts from the first sign that changes should come: a quiet symbol has none.
        if not heard.without_book:
            heard.book_s = now_s
        heard.without_book += 1
        if self._book and _is_silent(heard.without_book, now_s - heard.book_s):
            return self._book
        return DataKinds.NONE


def _is_silent(count: int, silent_s: float) -> bool:
    return count >= EVIDENCE and silent_s > SILENT_S
