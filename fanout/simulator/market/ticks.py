"""What a market produces: trades, aggregates, and changes of books, each due at a moment.

A `Trade` is one row that took an id. Prices and quantities stay the strings that the venue spells.
Most rows are fills. A venue may have rows of other kinds, which take ids, but do not count as
trades in REST and aggregates. A `Tick` is one message to send. The dialect encodes it when it is
sent.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from fanout.simulator.market.listing import Listing

if TYPE_CHECKING:
    from fanout.simulator.market.recorded_books import RecordedBooks

StreamKind = Literal["trade", "aggTrade"]
"""The streams whose messages have ids of their own."""
TRADE: Final[StreamKind] = "trade"
AGGREGATE: Final[StreamKind] = "aggTrade"

QUOTE: Final = "bookTicker"
DEPTH: Final = "depth"
"""The streams of a book: its best prices; and its updates, in one stream for each interval."""

BOOKS: Final = "@books"
"""The stream of a tick without a message, at which books are due."""

MARKET: Final = "MARKET"
RPI: Final = "RPI"
NOT_A_FILL: Final = "NA"
INSURANCE_FUND: Final = "INSURANCE_FUND"
ADL: Final = "ADL"
LIQUIDATION: Final = "LIQUIDATION"
BLOCK: Final = "BLOCK"
FILLS: Final = frozenset((MARKET, RPI, LIQUIDATION, BLOCK))
"""The kinds that count as market trades. A liquidation is one by its cause, a block by the way it
was agreed; no market of Binance has them."""

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
        return self.kind in FILLS


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


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The best levels of a book after an update."""

    event_ms: int
    time_ms: int
    symbol: str
    update_id: int
    bid: tuple[str, str]
    ask: tuple[str, str]
    """Price and quantity."""


class Depth(msgspec.Struct, frozen=True, gc=False):
    """An update of a book: levels from the best outwards, with their quantities after it.

    `previous_id` is the last id of the stream's update before. `number` counts the updates of the
    stream, for venues whose ids are consecutive. `crossing` is a bid that would cross the book,
    which only a fault sends.
    """

    event_ms: int
    time_ms: int
    symbol: str
    first_id: int
    last_id: int
    previous_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    crossing: tuple[str, str] | None = None
    number: int = 0


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One message to send on a stream, `due_ns` after the market opened.

    It holds a trade, an aggregate, a quote, a depth update, or only a payload. `recorded` is the
    payload of a recording, to be sent as it is. `garbled` names what a fault does to the payload,
    in order. The first trade of a `sweep` has all of its trades. `others` are the trades that
    follow `trade` in one message, at a venue that batches them; with a recorded aggregate they are
    its fills. In a batch all trades have been issued before.
    """

    due_ns: int
    stream: str
    trade: Trade | None = None
    aggregate: Aggregate | None = None
    recorded: bytes | None = None
    garbled: tuple[str, ...] = ()
    quote: Quote | None = None
    depth: Depth | None = None
    sweep: tuple[Trade, ...] = ()
    others: tuple[Trade, ...] = ()
    is_batch: bool = False

    @property
    def trades(self) -> tuple[Trade, ...]:
        """All trades of the message."""
        return () if self.trade is None else (self.trade, *self.others)


class BookRules(msgspec.Struct, frozen=True):
    """How a venue numbers and sends updates: whether each change of a level takes the next id, and
    the intervals of its depth streams. At 0 an update is sent at once.

    With `levels`, a stream shows so many of the best levels of each side, and no others: a level
    that is no longer among them is removed, and one that is among them again is sent. Without
    `has_ids` the messages do not number the updates. With `is_chained_anew` ids that begin anew
    come with an update that follows the one before, and otherwise with the whole book."""

    is_contiguous: bool
    intervals_ms: tuple[int, ...]
    levels: int | None = None
    has_ids: bool = True
    is_chained_anew: bool = False


class Kinds(msgspec.Struct, frozen=True):
    """The kinds of rows that a venue has, and their shares in a synthetic market.

    The first kind is the usual fill. `is_open` says that the venue may show a kind that is not
    among them.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    is_open: bool


def stream_of(symbol: str, kind: str) -> str:
    """The market's own name of a stream, which no venue's spelling changes."""
    return f"{symbol}@{kind}"


def depth_kind(interval_ms: int) -> str:
    return f"{DEPTH}@{interval_ms}ms"


def symbol_of_book(stream: str) -> str | None:
    """The symbol of a stream of a book; None for any other stream."""
    symbol, _, kind = stream.partition("@")
    return symbol if kind.partition("@")[0] in (QUOTE, DEPTH) else None


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

    @property
    def recorded_books(self) -> "RecordedBooks | None":
        """The books of a recording; None for a market that needs synthetic ones."""

    @property
    def aggregated(self) -> frozenset[str]:
        """The symbols whose aggregates the source has itself. Those of others are made of their
        trades."""

    def prime(self, rows: Rows, origin_ms: int) -> None: ...

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        """Ascending in `due_ns`. Each call starts the market again, opening at `origin_ms`."""

    def enlist(self, listing: Listing) -> None:
        """Start trading an instrument, if the source can make trades of it."""
