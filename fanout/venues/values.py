"""What a venue and the feed give each other: requests, listings, items of messages, guarantees.

All of these are values. `base` is the interface whose methods take and give them.
"""

from difflib import get_close_matches
from enum import Enum, auto
from typing import Any, Final

import msgspec

from fanout.errors import ConfigError, VenueMessageError, shown
from fanout.protocol.book_records import BookUpdate, OrderUpdate
from fanout.protocol.constants import MAX_SYMBOL_BYTES, DataKinds, InstrumentType, TradeKind
from fanout.protocol.instrument import Instrument


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The words that prove to a venue who asks: a secret, and the id that belongs to it where the
    venue has one (Deribit's client id). Neither is ever shown."""

    secret: str
    id: str = ""

    def __repr__(self) -> str:
        return "Credentials(***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("secret", "***")]  # of a struct, rich would show the fields


class SecretNames(msgspec.Struct, frozen=True, kw_only=True):
    """The environment variables that hold a venue's credentials. `id` is None at a venue that has
    none."""

    secret: str
    id: str | None = None


AGGREGATES: Final = "aggTrade"
"""The kind of stream, at every venue that has it, whose trades are aggregates of fills."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A REST GET: a path behind the venue's REST URL, its query and headers, and the weight that
    the venue counts for it. Headers may hold a key, so they are never shown.

    `is_optional`: the venue may refuse it, and then this part of the listing is left out."""

    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    weight: int = 1
    is_optional: bool = False

    def __repr__(self) -> str:
        return f"Request({self.path!r}, {self.query!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("path", self.path), ("query", self.query)]


class VenueTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade in the venue's terms, with symbol and decimal strings as received.

    For an aggregate of several fills, `first_fill` is the id of the first fill. `is_past`: the
    trade happened before the subscription, and the venue sends it as an answer to that (OKX,
    Coinbase and Bitfinex do).
    """

    symbol: str
    trade_id: int
    time: int
    price: str
    quantity: str
    buyer_is_maker: bool
    kind: TradeKind
    first_fill: int | None = None
    is_past: bool = False


class VenueDepth(msgspec.Struct, frozen=True, gc=False):
    """Changes of an order book, and where they stand in the venue's chain of update ids.

    `first_id` and `update.update_id` are the first and the last update id in it. `previous_id` is
    the last one of the message before it, None at a venue that does not send it: there the ids of
    messages are consecutive.

    An update flagged WHOLE replaces the book, whatever came before it. `resets`: the venue begins
    its ids anew with this update, after a restart (Bybit's `u` of 1) or maintenance (OKX's `seqId`
    below `prevSeqId`), so its id may be lower than the last one.
    """

    update: BookUpdate
    first_id: int
    previous_id: int | None
    resets: bool = False

    @property
    def symbol(self) -> str:
        return self.update.instrument.symbol


class VenueOrders(msgspec.Struct, frozen=True, gc=False):
    """Changes of an order book by order, in place of a `VenueDepth`, and chained as that is."""

    update: OrderUpdate
    first_id: int
    previous_id: int | None
    resets: bool = False

    @property
    def symbol(self) -> str:
        return self.update.instrument.symbol


class VenueQuote(msgspec.Struct, frozen=True, gc=False):
    """The best bid and ask in the venue's terms, with decimal strings as received. `time` is 0 at a
    venue that does not send it. `resets`: the venue begins its ids anew with this quote, as a
    `VenueDepth` does."""

    symbol: str
    update_id: int
    time: int
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str
    resets: bool = False


class SpentId(msgspec.Struct, frozen=True, gc=False):
    """A trade id that the venue used without a trade."""

    symbol: str
    trade_id: int


TOO_LONG: Final = "message too long"
"""The kind of anomaly, and why a book was lost with one."""


class DepthLost(msgspec.Struct, frozen=True, gc=False):
    """A message with changes of an order book that cannot be read, or is too long."""

    symbol: str
    index: int
    why: str


class NewestId(msgspec.Struct, frozen=True, gc=False):
    """The id of an instrument's newest trade, as the venue repeats it on a clock (Coinbase's
    `heartbeat`). Lower ids that have not come are missing."""

    symbol: str
    trade_id: int


class Alive(msgspec.Struct, frozen=True, gc=False):
    """A message that says of an instrument only that nothing happened: Bitfinex's `hb`, OKX's book
    update without changes, Bybit's repeated quote. The subscription works."""

    symbol: str


class BookChecksum(msgspec.Struct, frozen=True, gc=False):
    """The venue's checksum of an order book after the update before this item (Bitfinex's `cs`).
    `Venue.checksum` computes the same number of our book."""

    symbol: str
    index: int
    value: int


VenueItem = (
    VenueTrade
    | SpentId
    | VenueQuote
    | VenueDepth
    | VenueOrders
    | DepthLost
    | NewestId
    | Alive
    | BookChecksum
)
"""What a dialogue takes from a message."""

DATA: Final = {
    "trades": DataKinds.TRADES,
    "quotes": DataKinds.QUOTES,
    "book": DataKinds.BOOK_BY_PRICE,
    "orders": DataKinds.BOOK_BY_ORDER,
}
"""The names of the kinds of data."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A page of past trades, oldest first, and the range of ids that it covers.

    An id from `first_id` to `last_id` that is missing in `trades` was never a trade. `is_newest`:
    the history ends with this page for now.
    """

    trades: tuple[VenueTrade, ...]
    first_id: int
    last_id: int
    is_newest: bool


class Continuity(Enum):
    """The guarantee that a stream's numbers give about missing trades.

    A feed accounts for every id of an `IDS` stream. A skipped id becomes a gap, the feed back-fills
    the gap over REST, and reports the remaining ids as lost. The other three kinds prove nothing
    about a single id, so the feed opens no gap. It drops a trade whose id it saw recently, and its
    status says that nothing proves the trades complete. After an interruption it takes the trades
    from REST that it has not seen, and reports a time that REST does not cover.
    """

    IDS = auto()
    """Trade ids of an instrument are consecutive."""
    SEQUENCE = auto()
    """Messages of a connection are numbered. The dialogue checks the numbers, and reports a hole as
    `Outcome.lost`; which trades were lost is unknown. Trade ids of an instrument ascend."""
    CHAIN = auto()
    """Each update names its predecessor. Order books use this: after a broken chain they need a
    snapshot, not the missing updates."""
    NOTHING = auto()
    """Ids cannot be compared: any may follow any other."""


class BookSource(Enum):
    """Where the whole book comes from that a stream's changes continue."""

    REST = auto()
    """From `book_request`. The ids of the changes say which of them it already has."""
    STREAM = auto()
    """From the stream: the first update after the subscription is flagged WHOLE. Each connection
    has a book of its own."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's limits for an address and a connection, and our limits for the venue.

    REST requests may have a weight of up to `weight` in each window of `window_s`, counted from
    unix second 0. After an answer that limits us and names no time, requests pause for `busy_s`, or
    to the end of the window without one.

    Connections are opened at least `connect_every_s` apart, and an address has at most
    `connections` of them at once. `silence_s` is the shortest silence after which an instrument may
    count as stale: longer than the clock of a venue that sends signs of life.

    A message longer than `message_bytes` is counted and dropped unparsed, and `Dialogue.skip` says
    whether a book is lost with it. The limit is below the WebSocket's, which ends the connection.
    The service pings the venue after `idle_s` of silence. It answers at most `pongs_a_second` of
    the venue's pings a second, since at many venues a pong counts as a message.
    """

    weight: int = 1_200
    window_s: float = 60.0
    busy_s: float | None = None
    connect_every_s: float = 1.05
    connections: int | None = None
    silence_s: float = 12.0
    messages_a_second: float = 5.0
    subscriptions: int = 1_024
    request_bytes: int = 4_096
    message_bytes: int = 64 * 1_024
    idle_s: float = 5.0
    pongs_a_second: int = 5


class Refusal(Enum):
    """The meaning of an HTTP status of the venue."""

    FORBIDDEN = auto()
    """The venue does not serve this region or network."""
    BANNED = auto()
    """The venue has banned this address for a while."""
    BUSY = auto()
    """This address has sent too many requests."""
    KEY = auto()
    """The venue rejects the key."""
    PASSING = auto()
    """A retry may succeed."""
    OTHER = auto()


_USUAL: Final = {
    401: Refusal.KEY,
    403: Refusal.FORBIDDEN,
    408: Refusal.PASSING,
    418: Refusal.BANNED,
    429: Refusal.BUSY,
    451: Refusal.FORBIDDEN,
}


def usual_refusal(status: int) -> Refusal:
    """The meaning of an HTTP status at most venues. Some differ: Bybit limits with 403. At Binance
    403 is the firewall, and 418 a ban of minutes to days."""
    return _USUAL.get(status, Refusal.PASSING if status >= 500 else Refusal.OTHER)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the listing: an instrument with its units and terms, as `Instrument` has them.

    `fault` is set if it does not trade now; its words follow the symbol in a message. A term that
    the listing does not name, or names in a way that cannot be read, keeps its default, which means
    unknown. It never makes a row odd.
    """

    symbol: str
    price_exponent: int
    quantity_exponent: int
    time_exponent: int
    fault: str | None = None
    tick: int = 0
    lot: int = 0
    base: str = ""
    quote: str = ""
    type: InstrumentType = InstrumentType.OTHER
    contract_mantissa: int = 1
    contract_exponent: int = 0

    def instrument(self, index: int) -> Instrument:
        return Instrument(
            index=index,
            symbol=self.symbol,
            price_exponent=self.price_exponent,
            quantity_exponent=self.quantity_exponent,
            time_exponent=self.time_exponent,
            tick=self.tick,
            lot=self.lot,
            base=self.base,
            quote=self.quote,
            type=self.type,
            contract_mantissa=self.contract_mantissa,
            contract_exponent=self.contract_exponent,
        )


class Listing(msgspec.Struct, frozen=True):
    """All instruments of a venue, by symbol. `odd` has the unreadable rows, with the reason. They
    do not affect the other rows."""

    venue: str
    rows: dict[str, Listed]
    odd: dict[str, str] = {}

    def fault(self, symbol: str) -> str | None:
        """The reason why the service cannot serve a symbol, as a sentence; None if it can."""
        row = self.rows.get(symbol)
        if symbol in self.odd:
            return f"the listing's row of {symbol} cannot be read: {self.odd[symbol]}"
        if row is None:
            return f"{symbol} is not listed at {self.venue}{self._suggestion(symbol)}"
        return f"{symbol} {row.fault}" if row.fault else None

    def instrument(self, symbol: str, index: int) -> Instrument:
        """The instrument of a symbol. Raises `VenueMessageError` for an unreadable row, and
        `ConfigError` for a symbol that is not listed or does not trade."""
        if symbol in self.odd:
            raise VenueMessageError("listing is nonsense", f"{symbol} has {self.odd[symbol]}")
        fault = self.fault(symbol)
        if fault:
            raise ConfigError(fault)
        return self.rows[symbol].instrument(index)

    def _suggestion(self, symbol: str) -> str:
        close = get_close_matches(symbol[:MAX_SYMBOL_BYTES], self.rows, n=1)
        return f": did you mean {shown(close[0])}?" if close else ": check the venue's listing"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a message besides trades.

    The connection sends `answers` back. `confirmed` and `refused` are the symbols of answered
    subscriptions; `refused` has the venue's reasons.

    The other four are words for the log and for STATUS, each set if its case has come:

    - `closes`: the venue announced that it will close the connection.
    - `lost`: messages of this connection are missing, as its numbering shows. Which instruments
      they were about is unknown. Where the numbered message itself is readable, its items are in
      `out` too.
    - `pauses`: the venue announced that maintenance begins, and will send nothing until `closes` or
      the end of the connection.
    - `notice`: the venue, or the dialogue, has something to tell the operator, and nothing follows
      from it.
    """

    answers: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    refused: dict[str, str] = {}
    closes: str | None = None
    lost: str | None = None
    pauses: str | None = None
    notice: str | None = None

    def __repr__(self) -> str:
        return f"Outcome({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # Answers may hold a secret, so they are counted.
        others = [each for each in self.__struct_fields__[1:] if getattr(self, each)]
        return [("answers", len(self.answers)), *((each, getattr(self, each)) for each in others)]
