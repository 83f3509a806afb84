"""The order book of one instrument: levels by price, in integers.

A book is *unknown* until a whole one has come, in one piece (`BookFlags.WHOLE`) or in several
(WHOLE and MORE, then MORE, and at last without MORE). Until then it shows no levels. Afterwards it
follows the updates. Between an update with MORE and the next one without, its levels are shown as
they are, but `is_consistent` is False: the sides may be crossed, or levels may be missing.

    UNKNOWN --WHOLE--> KNOWN --MORE--> PARTIAL --> KNOWN
       '--WHOLE, MORE--> FILLING --> KNOWN

A book never keeps a state that may be wrong. An update that it refuses leaves it unknown, since
what that update said is missing from it.

Each side is a dict of quantities and a sorted list of *keys*: prices of bids, negated prices of
asks. So the best level is the last of either list, and a change near it moves few others. The
compiled twin keeps the same order in chunks of 64 levels (`_book.h`).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import index, mul
from typing import Final

from fanout.protocol.book_common import (
    BookState,
    Depth,
    as_packed,
    copy_of,
    depth_of,
    digest_of,
    meet,
    no_side,
    not_levels,
    not_negative,
    pieces_of,
    repr_of,
    sweep_of,
    too_deep,
    unknown,
)
from fanout.protocol.book_records import LEVEL, BookUpdate, Level, pack_levels
from fanout.protocol.constants import MAX_BOOK_LEVELS, BookFlags, Side
from fanout.protocol.errors import FanoutError
from fanout.protocol.instrument import Instrument
from fanout.protocol.speedups import Twins

twin: Final = Twins("fanout.protocol._book")

_WHOLE: Final = BookFlags.WHOLE.value
_MORE: Final = BookFlags.MORE.value
_TOP_ONLY: Final = BookFlags.TOP_ONLY.value

# The states, in this order: from PARTIAL on the book is known.
_UNKNOWN: Final = 0
_FILLING: Final = 1
_PARTIAL: Final = 2
_KNOWN: Final = 3


class _Levels:
    """One side."""

    __slots__ = ("keys", "quantities", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.quantities: dict[int, int] = {}

    def clear(self) -> None:
        self.keys.clear()
        self.quantities.clear()

    def change(self, packed: bytes, side: Side) -> None:
        """Set the quantities of levels; 0 removes one. Raises `LimitExceededError`."""
        if not isinstance(packed, bytes) or len(packed) % LEVEL.size:
            raise not_levels(packed)
        keys, quantities, sign = self.keys, self.quantities, self.sign
        for price, quantity in LEVEL.iter_unpack(packed):
            key = sign * price
            if quantity:
                if key not in quantities:
                    if len(keys) == MAX_BOOK_LEVELS:
                        raise too_deep(side)
                    insort(keys, key)
                quantities[key] = quantity
            elif quantities.pop(key, None):
                del keys[bisect_left(keys, key)]

    def cut(self, packed: bytes) -> None:
        """Forget what is beyond the last of these levels."""
        if packed:
            price, _ = LEVEL.unpack_from(packed, len(packed) - LEVEL.size)
            beyond = bisect_left(self.keys, self.sign * price)
            for key in self.keys[:beyond]:
                del self.quantities[key]
            del self.keys[:beyond]

    def best(self) -> Level | None:
        if not self.keys:
            return None
        key = self.keys[-1]
        return Level(self.sign * key, self.quantities[key])

    def first(self, count: int) -> list[Level]:
        sign, quantities = self.sign, self.quantities
        keys = islice(reversed(self.keys), min(count, len(self.keys)))
        return [Level(sign * key, quantities[key]) for key in keys]

    def count_to(self, price: int) -> int:
        return len(self.keys) - bisect_left(self.keys, self.sign * index(price))

    def outwards(self) -> Iterable[tuple[int, int]]:
        """All levels from the best outwards, as they are asked for."""
        return ((self.sign * key, self.quantities[key]) for key in reversed(self.keys))

    def depth_to(self, price: int) -> Depth:
        # Without a `Level` of each: bands of hundreds of levels are summed up at every update.
        keys = self.keys[bisect_left(self.keys, self.sign * index(price)) :]
        quantities = [self.quantities[key] for key in keys]
        notional = self.sign * sum(map(mul, keys, quantities))
        return Depth(sum(quantities), notional, self.sign * keys[0] if keys else None)


_NO_LEVELS: Final = _Levels(1)


class _Copied:
    """A side's levels as they are now, packed as far as they are sliced: to copy the list and the
    dict is much quicker than to pack all levels."""

    def __init__(self, levels: _Levels) -> None:
        self._sign = levels.sign
        self._keys = levels.keys[::-1]
        self._quantities = levels.quantities.copy()

    def __len__(self) -> int:
        return len(self._keys) * LEVEL.size

    def __getitem__(self, part: slice) -> bytes:
        sign, quantities = self._sign, self._quantities
        keys = self._keys[part.start // LEVEL.size : part.stop // LEVEL.size]
        return pack_levels([(sign * key, quantities[key]) for key in keys])


@twin
class OrderBook:
    """The order book of one instrument. See the module.

    Without an `instrument` it takes that of the first update. `update_id` and `time` are those of
    the newest update, 0 while the book is unknown. `is_top_only` says that levels far from the best
    ones may be missing, and nothing is known beyond the last: totals over these are lower bounds.

    Every argument `side` is a `Side`; a depth is counted from the best level outwards. A copy, deep
    or not, is a book of its own, with the levels of that moment.
    """

    __slots__ = ("_asks", "_bids", "_state", "instrument", "is_top_only", "time", "update_id")

    def __init__(self, instrument: Instrument | None = None) -> None:
        self.instrument = instrument
        self._bids = _Levels(1)
        self._asks = _Levels(-1)
        self.clear()

    def __repr__(self) -> str:
        return repr_of(self)

    def clear(self) -> None:
        """Make the book unknown."""
        self._bids.clear()
        self._asks.clear()
        self._state = _UNKNOWN
        self.update_id = 0
        self.time = 0
        self.is_top_only = False

    def apply(self, update: BookUpdate) -> None:
        """Apply the next update.

        Raises `UnknownBookError` if the book is unknown and the update is not a whole book,
        `LimitExceededError` beyond MAX_BOOK_LEVELS, and `MalformedError` for levels that are not
        packed. After these the book is unknown. Raises `WrongInstrumentError` for an update of
        another instrument, which changes nothing.
        """
        if update.instrument is not self.instrument:
            meet(self, update.instrument)
        flags = int(update.flags)
        if flags & _WHOLE:
            self.clear()
            self._state = _FILLING
        elif self._state == _UNKNOWN:
            raise unknown(update)
        try:
            self._bids.change(update.packed_bids, Side.BID)
            self._asks.change(update.packed_asks, Side.ASK)
            if flags & _TOP_ONLY:
                self._bids.cut(update.packed_bids)
                self._asks.cut(update.packed_asks)
                self.is_top_only = True
        except FanoutError:
            self.clear()
            raise
        self.update_id = update.update_id
        self.time = update.time
        if not flags & _MORE:
            self._state = _KNOWN
        elif self._state == _KNOWN:
            self._state = _PARTIAL

    def replace(
        self,
        bids: bytes | Iterable[tuple[int, int]],
        asks: bytes | Iterable[tuple[int, int]],
        update_id: int,
        time: int,
    ) -> None:
        """Make this the whole book: levels packed as in `BookUpdate`, or pairs of price and
        quantity, in any order. Raises as `apply`, and `NotRepresentableError`."""
        self.clear()
        try:
            self._bids.change(as_packed(bids), Side.BID)
            self._asks.change(as_packed(asks), Side.ASK)
        except FanoutError:
            self.clear()
            raise
        self.update_id = update_id
        self.time = time
        self._state = _KNOWN

    @property
    def is_known(self) -> bool:
        """Whether a whole book has come."""
        return self._state >= _PARTIAL

    @property
    def is_consistent(self) -> bool:
        """Whether the book is known, and no update of it is to be continued."""
        return self._state == _KNOWN

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is as high as the best ask, or higher."""
        bid, ask = self.best_bid, self.best_ask
        return bid is not None and ask is not None and bid.price >= ask.price

    @property
    def best_bid(self) -> Level | None:
        """The highest bid, None if there is none."""
        return self._shown(Side.BID).best()

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask, None if there is none."""
        return self._shown(Side.ASK).best()

    @property
    def bid_count(self) -> int:
        """How many levels the bids have."""
        return len(self._shown(Side.BID).keys)

    @property
    def ask_count(self) -> int:
        """How many levels the asks have."""
        return len(self._shown(Side.ASK).keys)

    def levels(self, count: int = MAX_BOOK_LEVELS) -> tuple[list[Level], list[Level]]:
        """The first bids and the first asks, from the best outwards."""
        count = not_negative(count, "levels")
        return self._shown(Side.BID).first(count), self._shown(Side.ASK).first(count)

    def packed(self, count: int = MAX_BOOK_LEVELS) -> tuple[bytes, bytes]:
        """The same, packed as in `BookUpdate`; `numpy.frombuffer` reads that too."""
        bids, asks = self.levels(count)
        return pack_levels(bids), pack_levels(asks)

    def quantity_at(self, side: Side, price: int) -> int:
        """The quantity at one price, 0 if there is no level."""
        levels = self._shown(side)
        return levels.quantities.get(levels.sign * index(price), 0)

    def count_to(self, side: Side, price: int) -> int:
        """How many levels there are from the best to a price, which is included."""
        return self._shown(side).count_to(price)

    def quantity_to(self, side: Side, price: int) -> int:
        """The quantity from the best level to a price, which is included."""
        return self._shown(side).depth_to(price).quantity

    def depth(self, side: Side, count: int) -> Depth:
        """The first `count` levels."""
        return depth_of(self._shown(side).first(not_negative(count, "levels")))

    def depth_to(self, side: Side, price: int) -> Depth:
        """The levels from the best to a price, which is included."""
        return self._shown(side).depth_to(price)

    def sweep(self, side: Side, quantity: int) -> Depth:
        """What an order of this quantity would take from a side: the last level as far as needed.
        Its quantity is less than asked for if the book does not hold more."""
        return sweep_of(self._shown(side).outwards(), not_negative(quantity, "of quantity"))

    def vwap(self, side: Side, quantity: int) -> float | None:
        """The volume-weighted average price of `sweep`, correctly rounded, in units of the price.
        None if the book does not hold that quantity, or it is 0."""
        taken = self.sweep(side, quantity)
        return taken.vwap if taken.quantity == quantity else None

    def imbalance(self, count: int) -> float | None:
        """Bids less asks, divided by both, of the quantities of the first `count` levels: from -1,
        only asks, to 1, only bids. None without levels."""
        bids, asks = self.depth(Side.BID, count).quantity, self.depth(Side.ASK, count).quantity
        return (bids - asks) / (bids + asks) if bids + asks else None

    def digest(self) -> int:
        """A number for the levels of a book, the same in every program that holds the same levels.

        It is the CRC-32 (zlib's) of these bytes, little-endian: the number of bids, u32; the number
        of asks, u32; then the bids and then the asks, both from the best outwards, each as price,
        i64, and quantity, u64. Raises `UnknownBookError` unless the book is consistent.
        """
        return digest_of(self)

    def whole(self) -> list[BookUpdate]:
        """The whole book as updates of at most MAX_BLOCK_LEVELS levels, for `apply` elsewhere.
        Raises `UnknownBookError` unless the book is consistent, or if it has no instrument."""
        return list(self.pieces())

    def pieces(self) -> Iterator[BookUpdate]:
        """The updates of `whole`, each made when it is asked for, but all of the book as it is at
        the call. So a deep book can be encoded step by step, and change meanwhile. Raises as
        `whole`."""
        return pieces_of(self, _Copied(self._bids), _Copied(self._asks))

    # A pickle is read by the class in use, plain or compiled, whichever of them wrote it.

    def __copy__(self) -> OrderBook:
        return copy_of(self)

    def __deepcopy__(self, _: object) -> OrderBook:
        return copy_of(self)

    def __reduce__(self) -> tuple[Callable[[], OrderBook], tuple[()], BookState]:
        return new_book, (), self.__getstate__()

    def __getstate__(self) -> BookState:
        bids, asks = self._bids.first(MAX_BOOK_LEVELS), self._asks.first(MAX_BOOK_LEVELS)
        return (
            self.instrument,
            self._state,
            pack_levels(bids),
            pack_levels(asks),
            self.update_id,
            self.time,
            self.is_top_only,
        )

    def __setstate__(self, state: BookState) -> None:
        self.instrument, its_state, bids, asks, update_id, time, is_top_only = state
        self.replace(bids, asks, update_id, time)
        self._state = its_state
        self.is_top_only = is_top_only

    def _shown(self, side: Side) -> _Levels:
        if side not in (0, 1):
            raise no_side(side)
        if self._state < _PARTIAL:
            return _NO_LEVELS
        return self._asks if side else self._bids


def new_book() -> OrderBook:
    """An unknown book of the class in use, for a pickle to fill."""
    return OrderBook()
