"""The values that the wire carries. Frozen, made of integers, comparable, cheap.

Prices, quantities and times are integers at their instrument's exponents; the properties turn
them into text, `Decimal` or float for those who ask. A consumer meets `Trade` and the events;
`Header` and `Block` are how they travel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import NamedTuple

import msgspec

from fanout.protocol.constants import (
    BlockFlags,
    BookFlags,
    DataKinds,
    EndReason,
    FeedState,
    GapState,
    InstrumentType,
    LossReason,
    TradeKind,
)
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import to_decimal, to_float, to_text
from fanout.protocol.text import channel_fault


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol at a venue, with the units of its numbers.

    A price of `n` is n * 10**price_exponent of the quote currency, a quantity of `n` is
    n * 10**quantity_exponent of the base asset, a time of `n` is n * 10**time_exponent seconds
    since 1970. `index` is its place in the header, the same for a whole epoch.

    `tick` and `lot` are the smallest steps of price and quantity, in units of the exponents; 0
    where unknown. `base` and `quote` are the names of the two assets, empty where unknown. One unit
    of quantity is `contract_mantissa` * 10**`contract_exponent` of the base: 1 for spot.
    """

    index: int
    symbol: str
    price_exponent: int
    quantity_exponent: int
    time_exponent: int = -3
    tick: int = 0
    lot: int = 0
    base: str = ""
    quote: str = ""
    type: InstrumentType = InstrumentType.OTHER
    contract_mantissa: int = 1
    contract_exponent: int = 0

    def price_text(self, price: int) -> str:
        """A price in decimal digits, as many after the point as the exponent says."""
        return to_text(price, self.price_exponent)

    def price_decimal(self, price: int) -> Decimal:
        """A price, exactly."""
        return to_decimal(price, self.price_exponent)

    def quantity_text(self, quantity: int) -> str:
        """A quantity in decimal digits, as many after the point as the exponent says."""
        return to_text(quantity, self.quantity_exponent)

    def quantity_decimal(self, quantity: int) -> Decimal:
        """A quantity, exactly."""
        return to_decimal(quantity, self.quantity_exponent)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the first delta of every block starts, for one instrument.

    The mean price and quantity of recent trades, the newest trade's id and time, and the newest
    update id of quotes and books. References make blocks small and are good for nothing else: they
    are not quotes.
    """

    price: int
    quantity: int
    trade_id: int
    time: int
    update_id: int = 0


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader has to know of a channel before its first block.

    `epoch_ns` names one numbering: unix ns at the service's start. `next_seq` is the sequence
    number that follows in this connection. `references[i]` belongs to `instruments[i]`. `data` are
    the kinds of records that the channel has; `channels` the names of the service's other channels.

    A channel without a name gets the venue's, or `main` where that is no name for a channel.
    """

    epoch_ns: int
    next_seq: int
    venue: str
    instruments: tuple[Instrument, ...]
    references: tuple[Reference, ...]
    channel: str = ""
    data: DataKinds = DataKinds.TRADES
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.channel:
            name = self.venue if channel_fault(self.venue) is None else "main"
            msgspec.structs.force_setattr(self, "channel", name)


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One fill.

    `price`, of the quote currency, and `quantity`, of the base, are integers at the instrument's
    `price_exponent` and `quantity_exponent`: what the venue's decimal strings spell. `time` is the
    venue's trade time at `time_exponent`; `trade_id` the venue's, unique in its symbol.
    `buyer_is_maker` means that the seller was the aggressor.

    `seq`, `received_ns` (unix ns, when the socket read that brought it returned) and
    `back_filled` come with the block that carries it; before that they are 0 and False. In a
    snapshot `seq` and `received_ns` stay 0: they belong to a moment before the reader joined.
    """

    # Made tens of thousands of times a second, and never part of a cycle: gc=False keeps the
    # collector from walking them.
    instrument: Instrument
    trade_id: int
    time: int
    price: int
    quantity: int
    buyer_is_maker: bool
    kind: TradeKind = TradeKind.MARKET
    seq: int = 0
    received_ns: int = 0
    back_filled: bool = False

    @property
    def symbol(self) -> str:
        """The venue's name of the instrument."""
        return self.instrument.symbol

    @property
    def time_ms(self) -> int:
        """The venue's trade time, unix ms; floored where the venue's clock is finer."""
        ns_per_unit: int = 10 ** (self.instrument.time_exponent + 9)
        return self.time * ns_per_unit // 1_000_000

    @property
    def price_text(self) -> str:
        """The price in decimal digits, as many after the point as the exponent says."""
        return to_text(self.price, self.instrument.price_exponent)

    @property
    def price_decimal(self) -> Decimal:
        """The price, exactly."""
        return to_decimal(self.price, self.instrument.price_exponent)

    @property
    def price_float(self) -> float:
        """The nearest double: the only view of the price that may round."""
        return to_float(self.price, self.instrument.price_exponent)

    @property
    def quantity_text(self) -> str:
        """The quantity in decimal digits, as many after the point as the exponent says."""
        return to_text(self.quantity, self.instrument.quantity_exponent)

    @property
    def quantity_decimal(self) -> Decimal:
        """The quantity, exactly."""
        return to_decimal(self.quantity, self.instrument.quantity_exponent)

    @property
    def quantity_float(self) -> float:
        """The nearest double: the only view of the quantity that may round."""
        return to_float(self.quantity, self.instrument.quantity_exponent)


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The best bid and the best ask of an order book.

    Prices and quantities are integers at the instrument's exponents, `time` is the venue's at
    `time_exponent`, and `update_id` is the venue's number of the book's state. A side that is empty
    has quantity 0 and the other side's price. `seq` and `received_ns` are as in `Trade`.
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


_LEVEL = Struct("<qQ")
_ORDER = Struct("<QqQ")


def pack_levels(levels: Iterable[tuple[int, int]]) -> bytes:
    """Pairs of price and quantity as `BookUpdate` holds them. Raises `NotRepresentableError`."""
    try:
        return b"".join([_LEVEL.pack(price, quantity) for price, quantity in levels])
    except StructError as error:
        raise NotRepresentableError(f"a level does not fit 64 bits: {error}") from error


def pack_orders(orders: Iterable[tuple[int, int, int]]) -> bytes:
    """Order id, price and quantity of each order, as `OrderUpdate` holds them. Raises
    `NotRepresentableError`."""
    try:
        return b"".join([_ORDER.pack(*each) for each in orders])
    except StructError as error:
        raise NotRepresentableError(f"an order does not fit 64 bits: {error}") from error


class BookUpdate(msgspec.Struct, frozen=True, gc=False):
    """Changes of an order book by price. Quantities are absolute; 0 removes a level.

    `bids` and `asks` give the levels from the best outwards. They are kept packed, 16 bytes a
    level: price as i64 and quantity as u64, little-endian; `numpy.frombuffer` reads that too.
    `update_id` is the venue's number of the book's state after this update, `time` the venue's
    time. `seq` and `received_ns` are as in `Trade`; they are 0 in an update that tells a joining
    reader the whole book.
    """

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
    def bids(self) -> list[Level]:
        return [Level(*each) for each in _LEVEL.iter_unpack(self.packed_bids)]

    @property
    def asks(self) -> list[Level]:
        return [Level(*each) for each in _LEVEL.iter_unpack(self.packed_asks)]

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
        """Whether nothing is known beyond the last level given."""
        return bool(int(self.flags) & BookFlags.TOP_ONLY.value)


class OrderUpdate(msgspec.Struct, frozen=True, gc=False):
    """Changes of an order book by order. A quantity of 0 removes an order.

    It is as `BookUpdate`, with orders in place of levels, packed in 24 bytes: order id as u64,
    price as i64, quantity as u64. They stand in the order of the venue.
    """

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
    def bids(self) -> list[Order]:
        return [Order(*each) for each in _ORDER.iter_unpack(self.packed_bids)]

    @property
    def asks(self) -> list[Order]:
        return [Order(*each) for each in _ORDER.iter_unpack(self.packed_asks)]

    @property
    def is_whole(self) -> bool:
        """Whether it replaces the book."""
        return bool(int(self.flags) & BookFlags.WHOLE.value)

    @property
    def has_more(self) -> bool:
        """Whether the book is not consistent until another update has come."""
        return bool(int(self.flags) & BookFlags.MORE.value)


class Block(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run of trades that travel together: what one read of the venue's socket brought.

    `received_ns` is unix ns, taken once when that read returned; `held_ns` how long the trades
    were held after it before they were published. In a snapshot `first_seq` is the number that
    follows it, and `received_ns` is 0.
    """

    first_seq: int
    trades: Sequence[Trade]
    received_ns: int
    held_ns: int = 0
    flags: BlockFlags = BlockFlags.NONE

    @property
    def is_snapshot(self) -> bool:
        """Whether its trades are those of before the reader joined."""
        # An integer's `&` costs a tenth of an enumeration's `in`.
        return bool(int(self.flags) & BlockFlags.SNAPSHOT.value)


class QuoteBlock(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run of quotes that travel together. As `Block`; a snapshot has the newest quotes."""

    first_seq: int
    quotes: Sequence[Quote]
    received_ns: int
    held_ns: int = 0
    flags: BlockFlags = BlockFlags.NONE


class BookBlock(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run of book updates by price that travel together. As `Block`; a snapshot has whole
    books."""

    first_seq: int
    updates: Sequence[BookUpdate]
    received_ns: int
    held_ns: int = 0
    flags: BlockFlags = BlockFlags.NONE


class OrderBlock(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run of book updates by order that travel together. As `BookBlock`."""

    first_seq: int
    updates: Sequence[OrderUpdate]
    received_ns: int
    held_ns: int = 0
    flags: BlockFlags = BlockFlags.NONE


class Status(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An instrument, or the whole feed (`instrument` is None), changed its state.

    `since_ns` is unix ns; `why` is for people.
    """

    seq: int
    instrument: Instrument | None
    state: FeedState
    since_ns: int
    why: str = ""


class Gap(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Trade ids `first_id` to `last_id`, both included, did not arrive in their turn."""

    seq: int
    instrument: Instrument
    first_id: int
    last_id: int
    state: GapState
    why: str = ""


class Loss(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Sequence numbers `first_seq` to `last_seq`, both included: this reader never gets them."""

    first_seq: int
    last_seq: int
    reason: LossReason

    @property
    def count(self) -> int:
        """How many trades and events are lost."""
        return self.last_seq - self.first_seq + 1


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Nothing new for a second. `next_seq` lets a reader notice a lost tail."""

    next_seq: int
    time_ns: int


class End(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The goodbye. `last_seq` is the last number published to this reader, or told as lost.

    `retry_ms` is how long to wait before coming back; None means do not come back.
    """

    reason: EndReason
    last_seq: int
    retry_ms: int | None
    why: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The last trade of each instrument before a reader joined. Already history: not to be
    counted or summed with the trades that follow."""

    trades: tuple[Trade, ...]


class Skipped(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Records `first_seq` to `last_seq`, both included, came in a frame of a kind that this reader
    does not know. They arrived, and are not lost; a newer version of this library can read them."""

    first_seq: int
    last_seq: int
    kind: int

    @property
    def count(self) -> int:
        """How many records were skipped."""
        return self.last_seq - self.first_seq + 1


Event = Status | Gap | Loss | Heartbeat | End
"""A message that travels in-band as a frame of its own, beside headers and blocks."""

Record = Trade | Snapshot | Status | Gap | Loss | Skipped | End
"""What a subscriber receives."""
