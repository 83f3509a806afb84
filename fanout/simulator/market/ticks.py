"""What a market produces: trades and aggregates, each due at a moment.

A `Trade` is one row that took an id. Prices and quantities stay the strings that the venue spells.
Most rows are fills. A venue may have rows of other kinds, which take ids, but do not count as
trades in REST and aggregates. A `Tick` is one message to send. The dialect encodes it when it is
sent.
"""

from collections.abc import Iterator
from typing import Final, Literal, Protocol

import msgspec

from fanout.simulator.market.listing import Listing

StreamKind = Literal["trade", "aggTrade"]
TRADE: Final[StreamKind] = "trade"
AGGREGATE: Final[StreamKind] = "aggTrade"

MARKET: Final = "MARKET"
RPI: Final = "RPI"
NOT_A_FILL: Final = "NA"
INSURANCE_FUND: Final = "INSURANCE_FUND"
ADL: Final = "ADL"

NOTHING: Final = "0"  # the price and the quantity of an NA row


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One row. `buyer_is_maker` means that the aggressor sold."""

    event_ms: int
    time_ms: int
    symbol: str
    trade_id: int
    price: str
    quantity: str
    kind: str
    buyer_is_maker: bool
    beyond_us: int = 0
    """Microseconds after `time_ms` and after `event_ms`, which only a venue with a finer unit of
    time shows."""

    @property
    def is_fill(self) -> bool:
        """Whether it counts as a market trade. REST and aggregates have no other kind."""
        return self.kind in (MARKET, RPI)


class Aggregate(msgspec.Struct, frozen=True, gc=False):
    """A run of fills with one price and one aggressor, summed up."""

    event_ms: int
    aggregate_id: int
    symbol: str
    price: str
    quantity: str
    normal_quantity: str
    """Without the fills of kind RPI."""
    first_id: int
    last_id: int
    time_ms: int
    buyer_is_maker: bool
    beyond_us: int = 0


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One message to send on a stream, `due_ns` after the market opened.

    It holds a trade or an aggregate. `recorded` is the payload of a recording, to be sent as it is.
    `garbled` names what a fault does to the payload, in order.
    """

    due_ns: int
    stream: str
    trade: Trade | None = None
    aggregate: Aggregate | None = None
    recorded: bytes | None = None
    garbled: tuple[str, ...] = ()


class Recorded(msgspec.Struct, frozen=True):
    """A trade in a recording, and its payload byte for byte."""

    trade: Trade
    payload: bytes


class Kinds(msgspec.Struct, frozen=True):
    """The kinds of rows that a venue has, and their shares in a synthetic market.

    The first kind is the usual fill. `is_open` says that the venue may show a kind that is not
    among them.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    is_open: bool


def stream_of(symbol: str, kind: StreamKind) -> str:
    """The market's own name of a stream, which no venue's spelling changes."""
    return f"{symbol}@{kind}"


def tick_of(due_ns: int, trade: Trade) -> Tick:
    return Tick(due_ns, f"{trade.symbol}@trade", trade)


class Rows(Protocol):
    """Takes the trades of a source from before the market opens. REST has them, and no stream
    does."""

    def add(self, trade: Trade) -> None: ...


class Source(Protocol):
    """A market: its listings, its trades from before the opening, and those from then on."""

    @property
    def listings(self) -> tuple[Listing, ...]: ...

    def prime(self, rows: Rows, origin_ms: int) -> None: ...

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        """Ascending in `due_ns`. Each call starts the market again, opening at `origin_ms`."""

    def enlist(self, listing: Listing) -> None:
        """Start trading an instrument, if the source can make trades of it."""
