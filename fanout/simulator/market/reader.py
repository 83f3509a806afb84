"""How a dialect reads recordings. The market plays what a reader finds, and knows no venue.

A reader reads one file, line by line and in order, so it may remember what it has read: which
symbol a channel's number stands for, or what the client has subscribed to. Its payloads are what
the dialect sends: `payload` returns them as they are, and a personal dialect numbers them for each
connection.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from fanout.simulator.market.listing import Listing
from fanout.simulator.market.ticks import Aggregate, StreamKind, Trade


class Recorded(msgspec.Struct, frozen=True):
    """A message with a trade, or with several of one symbol, byte for byte."""

    trade: Trade
    payload: bytes
    others: tuple[Trade, ...] = ()

    @property
    def symbol(self) -> str:
        return self.trade.symbol

    @property
    def trades(self) -> tuple[Trade, ...]:
        return (self.trade, *self.others)


class RecordedAggregate(msgspec.Struct, frozen=True):
    """A message with an aggregate. `trades` are its fills, for REST, if they are known."""

    aggregate: Aggregate
    payload: bytes
    trades: tuple[Trade, ...] = ()

    @property
    def symbol(self) -> str:
        return self.aggregate.symbol


class RecordedPast(msgspec.Struct, frozen=True):
    """A message that a subscriber got first, with trades that had happened before, on the stream of
    a kind. They are not issued anew. REST has them."""

    symbol: str
    kind: StreamKind
    trades: tuple[Trade, ...]
    payload: bytes


class RecordedMessage(msgspec.Struct, frozen=True):
    """A quote, a depth update or a whole book, of the stream `symbol@kind` of the market."""

    symbol: str
    kind: str
    payload: bytes


class RecordedBook(msgspec.Struct, frozen=True):
    """A whole book in a recording: the body of an answer of REST, whose request may be missing."""

    symbol: str | None
    body: bytes


class RecordedLevels(msgspec.Struct, frozen=True):
    """The levels of a recorded message or book, in plain decimals. An update has 0 as the quantity
    of a level that is gone; a whole book replaces all levels. `last_id` is 0 at a venue without
    ids of updates."""

    last_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    time_ms: int = 0
    is_whole: bool = False


Found = Recorded | RecordedAggregate | RecordedPast | RecordedMessage | RecordedBook


class Reader(Protocol):
    """Reads one file."""

    @property
    def has_fixed_decimals(self) -> bool:
        """Whether all prices of a symbol are spelled with as many decimals, and all quantities.
        Otherwise all levels are read before the market opens, to learn the units."""

    def sent(self, frame: bytes) -> None:
        """Take a message of the client."""

    def read(self, frame: bytes) -> Sequence[Found]:
        """Everything in a frame of the venue that is to be played, in order. Raises ValueError for
        a frame that has something to play, and cannot be read."""

    def answered(self, url: str, body: bytes) -> Sequence[Found]:
        """Everything in an answer of REST."""

    def levels(self, payload: bytes) -> RecordedLevels:
        """Of a quote, an update or a whole book. Raises ValueError. It remembers nothing."""

    def described(self, listing: Listing) -> Listing:
        """A listing that was made from a recording, with what the symbol tells besides."""


class ReaderDefaults:
    """A reader that needs no messages of the client, and no answers of REST."""

    has_fixed_decimals: bool = False

    def sent(self, frame: bytes) -> None:
        pass

    def answered(self, url: str, body: bytes) -> Sequence[Found]:
        return ()

    def described(self, listing: Listing) -> Listing:
        return listing
