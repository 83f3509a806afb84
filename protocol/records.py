"""The values that the wire carries. Frozen, made of integers, comparable, cheap.

Prices, quantities and times are integers at their instrument's exponents; the properties turn
them into text, `Decimal` or float for those who ask. A consumer meets `Trade` and the events;
`Header` and `Block` are how they travel. Quotes and order books are in `book_records`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.constants import (
    BlockFlags,
    DataKinds,
    EndReason,
    FeedState,
    GapState,
    LossReason,
    TradeKind,
)
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.fixedpoint import to_decimal, to_float, to_text
from fanout.protocol.instrument import Instrument
from fanout.protocol.text import channel_fault

_SNAPSHOT: Final = BlockFlags.SNAPSHOT.value
"""A name of its own, since an enumeration's values are slow to look up."""

_BOOKS: Final = DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER


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
    `columns` are the names of the values in its rows, the same for a whole epoch; empty without
    `DataKinds.FEATURES`.

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
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.channel:
            name = self.venue if channel_fault(self.venue) is None else "main"
            msgspec.structs.force_setattr(self, "channel", name)

    @property
    def has_books(self) -> bool:
        """Whether the channel has order books, which have to be whole again after a loss."""
        return bool(self.data & _BOOKS)


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
        return bool(int(self.flags) & _SNAPSHOT)


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
        """How many records are lost."""
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

Record = (
    Trade
    | Quote
    | BookUpdate
    | OrderUpdate
    | FeatureRow
    | Snapshot
    | Status
    | Gap
    | Loss
    | Skipped
    | End
)
"""What a subscriber receives."""
