"""The books of one connection with Coinbase, whose changes have no numbers. Pure.

The dialogue counts the messages of each book, so that the chain of a connection has no gap unless a
message could not be read. The count proves nothing about the messages that never came. Those of two
connections cannot be compared.
"""

from collections.abc import Callable, Mapping

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import BookFlags
from fanout.protocol.instrument import Instrument
from fanout.venues.values import DepthLost, VenueDepth, VenueItem


class Change(msgspec.Struct, frozen=True, gc=False):
    """Levels of a message, packed. `time` is in microseconds, and 0 if the message has none."""

    is_whole: bool
    time: int
    bids: bytes
    asks: bytes


class CountedBooks:
    """Counts the messages of each book from 1."""

    def __init__(self, units: Mapping[str, Instrument]) -> None:
        """`units` are looked up for each message."""
        self._units = units
        self._counts: dict[str, int] = {}

    def take(self, symbol: str, read: Callable[[Instrument], Change], out: list[VenueItem]) -> None:
        """Append the change that `read` finds, or `DepthLost` if it raises `VenueMessageError`,
        which goes on. Raises `VenueMessageError` for a symbol without units."""
        instrument = self._units.get(symbol)
        if instrument is None:
            raise VenueMessageError("depth of a symbol that was not subscribed", repr(symbol[:80]))
        count = self._counts[symbol] = self._counts.get(symbol, 0) + 1
        try:
            change = read(instrument)
        except VenueMessageError as error:
            out.append(DepthLost(symbol, instrument.index, error.kind))
            raise
        flags = BookFlags.WHOLE if change.is_whole else BookFlags.NONE
        update = BookUpdate(instrument, count, change.time, change.bids, change.asks, flags)
        out.append(VenueDepth(update, count, None if change.is_whole else count - 1))

    def lose(self, symbol: str, why: str, out: list[VenueItem]) -> None:
        """Append `DepthLost` for a message that was not read, if the book is one of ours."""
        instrument = self._units.get(symbol)
        if instrument is not None:
            self._counts[symbol] = self._counts.get(symbol, 0) + 1
            out.append(DepthLost(symbol, instrument.index, why))
