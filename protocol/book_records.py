"""Quotes and updates of order books, as values. Frozen, made of integers, like the other records.

A book update may have thousands of levels, and a consumer that builds the book needs none of them
as an object. So an update keeps its levels packed, as bytes, and makes `Level` only for those who
ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final, NamedTuple

import msgspec

from fanout.protocol.constants import BlockFlags, BookFlags
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.instrument import Instrument

_SNAPSHOT: Final = BlockFlags.SNAPSHOT.value
"""A name of its own, since an enumeration's values are slow to look up."""


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The best bid and the best ask of an order book.

    Prices and quantities are integers at the instrument's exponents, `time` is the venue's at
    `time_exponent`, 0 where the venue says none, and `update_id` is the venue's number of the
    book's state. A side that is empty has quantity 0 and the other side's price. `seq` and
    `received_ns` are as in `Trade`.
    """

    instrument: Instrument
    update_id: int
    time: int
    bid_price: int
    bid_quantity: int
    ask_price: int
    ask_quantity: int
    seq: int = 0
    received_ns: int = 0

    @property
    def symbol(self) -> str:
        """The venue's name of the instrument."""
        return self.instrument.symbol


class Level(NamedTuple):
    """One price of an order book and all quantity there, at the instrument's exponents. In an
    update a quantity of 0 removes the level."""

    price: int
    quantity: int


class Order(NamedTuple):
    """One order of an order book, at the instrument's exponents. In an update a quantity of 0
    removes the order."""

    order_id: int
    price: int
    quantity: int


LEVEL: Final = Struct("<qQ")
"""A level in its packed form."""

ORDER: Final = Struct("<QqQ")
"""An order in its packed form."""


def pack_levels(levels: Iterable[tuple[int, int]]) -> bytes:
    """Pairs of price and quantity as `BookUpdate` holds them. Raises `NotRepresentableError`."""
    try:
        return b"".join([LEVEL.pack(price, quantity) for price, quantity in levels])
    except StructError as error:
        raise NotRepresentableError(f"a level does not fit 64 bits: {error}") from error


def pack_orders(orders: Iterable[tuple[int, int, int]]) -> bytes:
    """Order id, price and quantity of each order, as `OrderUpdate` holds them. Raises
    `NotRepresentableError`."""
    try:
        return b"".join([ORDER.pack(*each) for each in orders])
    except StructError as error:
        raise NotRepresentableError(f"an order does not fit 64 bits: {error}") from error


class _Update(msgspec.Struct, frozen=True, gc=False):
    """Changes of an order book. Its fields are as in `BookUpdate`."""

    instrument: Instrument
    update_id: int
    time: int
    packed_bids: bytes
    packed_asks: bytes
    flags: BookFlags = BookFlags.NONE
    seq: int = 0
    received_ns: int = 0

    @property
    def symbol(self) -> str:
        """The venue's name of the instrument."""
        return self.instrument.symbol

    @property
    def is_whole(self) -> bool:
        """Whether it replaces the book."""
        return bool(int(self.flags) & BookFlags.WHOLE.value)

    @property
    def has_more(self) -> bool:
        """Whether the book is not consistent until another update has come."""
        return bool(int(self.flags) & BookFlags.MORE.value)

    @property
    def is_top_only(self) -> bool:
        """Whether nothing is known beyond the last level or order given."""
        return bool(int(self.flags) & BookFlags.TOP_ONLY.value)


class BookUpdate(_Update, frozen=True, gc=False):
    """Changes of an order book by price. Quantities are absolute; 0 removes a level.

    `bids` and `asks` give the levels from the best outwards. They are kept packed, 16 bytes a
    level: price as i64 and quantity as u64, little-endian; `numpy.frombuffer` reads that too.
    `update_id` is the venue's number of the book's state after this update, `time` the venue's
    time. `seq` and `received_ns` are as in `Trade`; they are 0 in an update that tells a joining
    reader the whole book.
    """

    @property
    def bids(self) -> list[Level]:
        """The levels of the bids, from the best outwards."""
        return [Level(*each) for each in LEVEL.iter_unpack(self.packed_bids)]

    @property
    def asks(self) -> list[Level]:
        """The levels of the asks, from the best outwards."""
        return [Level(*each) for each in LEVEL.iter_unpack(self.packed_asks)]


class OrderUpdate(_Update, frozen=True, gc=False):
    """Changes of an order book by order. A quantity of 0 removes an order.

    It is as `BookUpdate`, with orders in place of levels, packed in 24 bytes: order id as u64,
    price as i64, quantity as u64. They stand in the order of the venue.
    """

    @property
    def bids(self) -> list[Order]:
        """The orders of the bids, in the order of the venue."""
        return [Order(*each) for each in ORDER.iter_unpack(self.packed_bids)]

    @property
    def asks(self) -> list[Order]:
        """The orders of the asks, in the order of the venue."""
        return [Order(*each) for each in ORDER.iter_unpack(self.packed_asks)]


class UpdateBlock(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run of records other than trades that travel together. Its fields are as in `Block`."""

    first_seq: int
    received_ns: int
    held_ns: int = 0
    flags: BlockFlags = BlockFlags.NONE

    @property
    def is_snapshot(self) -> bool:
        """Whether its records say what a joining reader finds. They have no numbers."""
        return bool(int(self.flags) & _SNAPSHOT)


class QuoteBlock(UpdateBlock, frozen=True, kw_only=True, gc=False):
    """A run of quotes that travel together. A snapshot has the newest quotes."""

    quotes: Sequence[Quote]

    @property
    def records(self) -> Sequence[Quote]:
        """The quotes, by the name that all blocks of updates have for their records."""
        return self.quotes


class BookBlock(UpdateBlock, frozen=True, kw_only=True, gc=False):
    """A run of book updates by price that travel together. A snapshot has whole books."""

    updates: Sequence[BookUpdate]

    @property
    def records(self) -> Sequence[BookUpdate]:
        """The updates, by the name that all blocks of updates have for their records."""
        return self.updates


class OrderBlock(UpdateBlock, frozen=True, kw_only=True, gc=False):
    """A run of book updates by order that travel together. A snapshot has whole books."""

    updates: Sequence[OrderUpdate]

    @property
    def records(self) -> Sequence[OrderUpdate]:
        """As in `BookBlock`."""
        return self.updates
