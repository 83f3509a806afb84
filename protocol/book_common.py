"""What the plain order book and its compiled twin have in common: sums over levels, the pieces of a
whole book, the digest, copies, and the errors.

Nothing here changes the levels of a book, and nothing is called for an ordinary update.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from operator import index
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from fanout.protocol.book_records import LEVEL, BookUpdate, Level, OrderUpdate, pack_levels
from fanout.protocol.constants import MAX_BLOCK_LEVELS, MAX_BOOK_LEVELS, BookFlags, Side
from fanout.protocol.errors import (
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    UnknownBookError,
    WrongInstrumentError,
)
from fanout.protocol.instrument import Instrument

if TYPE_CHECKING:
    from fanout.protocol.book import OrderBook

_COUNTS: Final = Struct("<II")

_WHOLE: Final = BookFlags.WHOLE.value
_MORE: Final = BookFlags.MORE.value
_TOP_ONLY: Final = BookFlags.TOP_ONLY.value

BookState = tuple[Instrument | None, int, bytes, bytes, int, int, bool]
"""All that a book holds: its instrument and state, the packed bids and asks, the update id, the
time, and whether it is the top only."""


class Depth(NamedTuple):
    """A part of one side, from the best level outwards.

    `quantity` is the sum of its quantities, `notional` the sum of price times quantity, and `price`
    the last price in it, None if it is empty. They are exact: integers in units of the exponents.
    """

    quantity: int
    notional: int
    price: int | None

    @property
    def vwap(self) -> float | None:
        """The volume-weighted average price in units of the price, correctly rounded. None if there
        is no quantity."""
        return self.notional / self.quantity if self.quantity else None


def as_packed(levels: bytes | Iterable[tuple[int, int]]) -> bytes:
    return levels if isinstance(levels, bytes) else pack_levels(levels)


def copy_of(book: OrderBook) -> OrderBook:
    made = type(book)()
    made.__setstate__(book.__getstate__())
    return made


def depth_of(levels: list[Level]) -> Depth:
    return Depth(
        sum([quantity for _, quantity in levels]),
        sum([price * quantity for price, quantity in levels]),
        levels[-1].price if levels else None,
    )


def sweep_of(levels: Iterable[tuple[int, int]], quantity: int) -> Depth:
    left, notional, last = quantity, 0, None
    for price, there in levels:
        if not left:
            break
        taken = min(there, left)
        left, notional, last = left - taken, notional + price * taken, price
    return Depth(quantity - left, notional, last)


def digest_of(book: OrderBook) -> int:
    require_consistent(book)
    bids, asks = book.packed()
    counts = _COUNTS.pack(len(bids) // LEVEL.size, len(asks) // LEVEL.size)
    return zlib.crc32(asks, zlib.crc32(bids, zlib.crc32(counts)))


class Packed(Protocol):
    """Levels of one side: bytes, or what packs them when it is sliced."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...


def pieces_of(book: OrderBook, bids: Packed, asks: Packed) -> Iterator[BookUpdate]:
    """The updates of a whole book with these levels. Each is made when it is asked for."""
    require_consistent(book)
    instrument, update_id, time = book.instrument, book.update_id, book.time
    if instrument is None:
        raise UnknownBookError("the book has no instrument, which an update has to name")
    cut = pieces(bids, asks, MAX_BLOCK_LEVELS * LEVEL.size, is_top_only=book.is_top_only)
    return (BookUpdate(instrument, update_id, time, *piece) for piece in cut)


def pieces(
    bids: Packed, asks: Packed, most_bytes: int, *, is_top_only: bool = False
) -> Iterator[tuple[bytes, bytes, BookFlags]]:
    """A whole book in pieces of `most_bytes` at the most, with their flags. The bids come first."""
    all_bytes = len(bids) + len(asks)
    for start in range(0, max(1, all_bytes), most_bytes):
        end = start + most_bytes
        flags = _WHOLE if start == 0 else 0
        if end < all_bytes:
            flags |= _MORE
        if is_top_only:
            flags |= _TOP_ONLY
        its_asks = asks[max(0, start - len(bids)) : max(0, end - len(bids))]
        yield bids[start:end], its_asks, BookFlags(flags)


class HasInstrument(Protocol):
    """A book of either kind."""

    instrument: Instrument | None

    def clear(self) -> None: ...


def require_consistent(book: OrderBook) -> None:
    if not book.is_known:
        raise UnknownBookError(f"the book{_of(book.instrument)} is unknown")
    if not book.is_consistent:
        raise UnknownBookError(f"the book{_of(book.instrument)} waits for the rest of an update")


def meet(book: HasInstrument, instrument: Instrument) -> None:
    """Take the instrument of an update, which may be a newer one of the same symbol. If its
    exponents differ, the levels are in other units, and the book becomes unknown."""
    before = book.instrument
    if before is not None:
        if instrument.symbol != before.symbol:
            raise WrongInstrumentError(
                f"an update of {instrument.symbol} was applied to the book of {before.symbol}"
            )
        if _exponents(instrument) != _exponents(before):
            book.clear()
    book.instrument = instrument


def _exponents(instrument: Instrument) -> tuple[int, int]:
    return instrument.price_exponent, instrument.quantity_exponent


def _of(instrument: Instrument | None) -> str:
    return "" if instrument is None else f" of {instrument.symbol}"


def repr_of(book: OrderBook) -> str:
    if not book.is_known:
        return f"<OrderBook{_of(book.instrument)}, unknown>"
    counts = f"{book.bid_count:,} bids, {book.ask_count:,} asks"
    return f"<OrderBook{_of(book.instrument)}, {counts}, update {book.update_id}>"


def not_negative(count: int, of_what: str) -> int:
    number = index(count)
    if number < 0:
        raise NotRepresentableError(f"{number} {of_what}: 0 or more can be asked for")
    return number


def no_side(side: object) -> NotRepresentableError:
    return NotRepresentableError(f"{side!r} is no side of a book: BID or ASK")


def not_levels(packed: object) -> MalformedError:
    size = f" of {len(packed)}" if isinstance(packed, bytes) else ""
    return MalformedError(
        f"{type(packed).__name__}{size} in place of packed levels, {LEVEL.size} bytes each"
    )


def too_deep(side: Side) -> LimitExceededError:
    return LimitExceededError(
        f"more than {MAX_BOOK_LEVELS:,} {side.name.lower()}s in a book: MAX_BOOK_LEVELS"
    )


def unknown(update: BookUpdate | OrderUpdate) -> UnknownBookError:
    return UnknownBookError(
        f"update {update.update_id} of {update.symbol} was applied to a book that is unknown: a "
        "whole book has to come first"
    )
