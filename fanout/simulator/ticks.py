"""What a market produces: trades as the exchange spells them, each due at a moment.

A `Trade` is the `@trade` payload itself, both ways: msgspec writes it in the recorded order of
fields and reads a recorded one back. An `Aggregate` is likewise what `@aggTrade` says. Prices and
quantities stay the strings they are.
"""

from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from fanout.simulator.symbols import Listing

TRADE_SUFFIX: Final = "@trade"
AGGREGATE_SUFFIX: Final = "@aggTrade"

MARKET: Final = "MARKET"
RPI: Final = "RPI"
NOT_A_FILL: Final = "NA"
INSURANCE_FUND: Final = "INSURANCE_FUND"
ADL: Final = "ADL"

NOTHING: Final = "0"  # what an NA row says instead of a price and a quantity


class Trade(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="trade"):
    """One `@trade` row. `buyer_is_maker` means that the aggressor sold."""

    event_ms: int = msgspec.field(name="E")
    time_ms: int = msgspec.field(name="T")
    symbol: str = msgspec.field(name="s")
    trade_id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    kind: str = msgspec.field(name="X")
    buyer_is_maker: bool = msgspec.field(name="m")
    universe: int = msgspec.field(name="st", default=1)

    @property
    def is_fill(self) -> bool:
        """Whether it counts as a market trade: REST and `aggTrade` know no other kind."""
        return self.kind in (MARKET, RPI)


class Aggregate(msgspec.Struct, frozen=True, gc=False, tag_field="e", tag="aggTrade"):
    """One `@aggTrade` row, in the order of fields recorded on 2026-10-07."""

    event_ms: int = msgspec.field(name="E")
    aggregate_id: int = msgspec.field(name="a")
    symbol: str = msgspec.field(name="s")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    normal_quantity: str = msgspec.field(name="nq")
    first_id: int = msgspec.field(name="f")
    last_id: int = msgspec.field(name="l")
    time_ms: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")
    universe: int = msgspec.field(name="st", default=1)


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One message to be pushed on a stream, `due_ns` after the market opened.

    `trade` or `aggregate` is what the message says; an aggregate sums up trades already told.
    """

    due_ns: int
    stream: str
    payload: bytes
    trade: Trade | None = None
    aggregate: Aggregate | None = None


def stream_name(symbol: str, kind: str) -> str:
    """`BTCUSDT` and `aggTrade` are `btcusdt@aggTrade`."""
    return f"{symbol.lower()}@{kind}"


def tick_of(due_ns: int, trade: Trade) -> Tick:
    return Tick(due_ns, trade.symbol.lower() + TRADE_SUFFIX, msgspec.json.encode(trade), trade)


class Rows(Protocol):
    """Where a source leaves the trades that REST answers with before the market opens."""

    def add(self, trade: Trade) -> None:
        """The trade has happened."""

    def preview(self, trade: Trade) -> None:
        """The trade is still to come, and stands in until one of its symbol has happened."""


class Source(Protocol):
    """A market: what it lists, what it did before it opens, and what it does from then on."""

    @property
    def listings(self) -> tuple[Listing, ...]: ...

    def prime(self, rows: Rows, origin_ms: int) -> None: ...

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        """Ascending in `due_ns`; each call starts the market anew, opening at `origin_ms`."""
