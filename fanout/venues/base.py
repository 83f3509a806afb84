"""The interface of a venue. A venue is a folder of pure code: it does no I/O and reads no clock.

It has three parts, and a feed needs nothing else:

- *Listing, history and whole books* over REST: requests as values, and parsers of their answers.
- A *dialogue* for each connection: the messages to send, and the parser of messages received.
- *Continuity*: the guarantee that the venue's numbers give, declared for each kind of stream.

    class Venue ------ listing_request / parse_listing ----> Listing of Listed rows
        |        ------ history_request / parse_history ---> History of VenueTrades
        '-- dialogue(symbols) --> Dialogue: opening, receive, subscribe, tick ...

A new venue is one folder, one line in the registry, and the contract checks in
`tests/contracts/venue.py`, which it inherits. A venue never imports another venue.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum, auto
from math import inf
from typing import Final, Protocol

import msgspec

from fanout.errors import ConfigError, VenueMessageError, shown
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import MAX_SYMBOL_BYTES, DataKinds, InstrumentType, TradeKind
from fanout.protocol.instrument import Instrument


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A REST GET: a path behind the venue's REST URL, its query and headers, and the weight that
    the venue counts for it. Headers may hold a key, so they are never shown."""

    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    weight: int = 1

    def __repr__(self) -> str:
        return f"Request({self.path!r}, {self.query!r})"


class VenueTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade in the venue's terms, with symbol and decimal strings as received.

    For an aggregate of several fills, `first_fill` is the id of the first fill.
    """

    symbol: str
    trade_id: int
    time: int
    price: str
    quantity: str
    buyer_is_maker: bool
    kind: TradeKind
    first_fill: int | None = None


class VenueDepth(msgspec.Struct, frozen=True, gc=False):
    """Changes of an order book, and where they stand in the venue's chain of update ids.

    `first_id` and `update.update_id` are the first and the last update id in it. `previous_id` is
    the last one of the message before it, None at a venue that does not send it: there the ids of
    messages are consecutive.
    """

    update: BookUpdate
    first_id: int
    previous_id: int | None

    @property
    def symbol(self) -> str:
        return self.update.instrument.symbol


class VenueQuote(msgspec.Struct, frozen=True, gc=False):
    """The best bid and ask in the venue's terms, with decimal strings as received. `time` is 0 at a
    venue that does not send it."""

    symbol: str
    update_id: int
    time: int
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str


class SpentId(msgspec.Struct, frozen=True, gc=False):
    """A trade id that the venue used without a trade."""

    symbol: str
    trade_id: int


class DepthLost(msgspec.Struct, frozen=True, gc=False):
    """A message with changes of an order book that cannot be read."""

    symbol: str
    index: int
    why: str


VenueItem = VenueTrade | SpentId | VenueQuote | VenueDepth | DepthLost
"""What a dialogue takes from a message."""

DATA: Final = {
    "trades": DataKinds.TRADES,
    "quotes": DataKinds.QUOTES,
    "book": DataKinds.BOOK_BY_PRICE,
}
"""The names of the kinds of data."""

NO_UNITS: Final[Mapping[str, Instrument]] = {}
"""The units of a dialogue that needs none: it has trades only."""


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
    about a single id. The feed then drops a trade whose id it saw recently, opens no gap, and
    back-fills nothing. Its status says that nothing proves the trades complete.
    """

    IDS = auto()
    """Trade ids of an instrument are consecutive."""
    SEQUENCE = auto()
    """Messages of a connection are numbered. The dialogue checks the numbers and raises
    `VenueMessageError` for a hole, which counts the loss; which trades were lost is unknown."""
    CHAIN = auto()
    """Each update names its predecessor. Order books use this: after a broken chain they need a
    snapshot, not the missing updates."""
    NOTHING = auto()
    """Ids cannot be compared."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's limits for an address and a connection, and our limits for the venue.

    A message longer than `message_bytes` is counted and dropped unparsed. The service pings the
    venue after `idle_s` of silence. It answers at most `pongs_a_second` of the venue's pings a
    second, since at many venues a pong counts as a message.
    """

    weight_a_minute: int = 1_200
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
    """The meaning of an HTTP status at most venues. Some differ: Bybit limits with 403."""
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
    subscriptions; `refused` has the venue's reasons. `closes` is set if the venue announced that it
    will close the connection.
    """

    answers: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    refused: dict[str, str] = {}
    closes: str | None = None


class Dialogue(Protocol):
    """The protocol of one connection. It does no I/O: the connection sends the messages that the
    methods return, in order, within the venue's limits.

    `unanswered` has the subscriptions that the venue has neither confirmed nor refused. An ignored
    one stays there.
    """

    @property
    def unanswered(self) -> frozenset[str]: ...

    @property
    def due_s(self) -> float:
        """When `tick` must be called next, in seconds since the connection opened; infinite if
        never."""
        ...

    def opening(self) -> tuple[str, ...]:
        """The messages that subscribe to all symbols, to send when the connection has opened."""
        ...

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        """Parse a message and append its trades, spent ids, quotes and changes of books to `out`.

        Returns None unless the message had other content. Raises `VenueMessageError` for an
        undocumented message, and `VenueRefusalError` for a refusal that makes the connection
        useless.
        """
        ...

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]: ...

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]: ...

    def tick(self, now_s: float) -> tuple[str, ...]:
        """The keep-alive messages due at `now_s`, in seconds since the connection opened."""
        ...


class Venue(Protocol):
    """One exchange, for one kind of stream."""

    @property
    def name(self) -> str:
        """The name in messages and headers."""
        ...

    @property
    def short_name(self) -> str:
        """The default name of the channel that this venue feeds."""
        ...

    @property
    def stream(self) -> str:
        """The kind of stream, in the venue's term. Each kind has a numbering of its own."""
        ...

    @property
    def continuity(self) -> Continuity: ...
    @property
    def data(self) -> DataKinds:
        """The kinds of data to take. One connection brings all of them."""
        ...

    @property
    def limits(self) -> Limits: ...
    @property
    def rest_url(self) -> str: ...
    @property
    def time_exponent(self) -> int: ...
    @property
    def reach(self) -> str:
        """How far back `history_request` reaches, in words."""
        ...

    @staticmethod
    def spell(text: str) -> str:
        """Convert a typed symbol or pattern to the venue's spelling."""
        ...

    def without_key(self) -> "Venue":
        """The same venue without the key, after the venue has rejected it."""
        ...

    def fallback(self) -> "Venue | None":
        """The venue with another kind of stream for the same trades, to use if this one is silent;
        None without one."""
        ...

    def stream_url(self) -> str:
        """The WebSocket URL to connect to."""
        ...

    def dialogue(
        self, symbols: tuple[str, ...], units: Mapping[str, Instrument] = NO_UNITS
    ) -> Dialogue:
        """The dialogue of a new connection for these symbols.

        `units` has the instruments of the symbols that it ever takes. Levels of books are read in
        the units that an instrument has when they come.
        """
        ...

    def listing_request(self) -> Request: ...

    def parse_listing(self, body: bytes) -> Listing:
        """Parse the listing. Raises `VenueMessageError` if no part of it is readable."""
        ...

    def recent_trades_request(self, symbol: str) -> Request: ...

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        """Parse recent trades, oldest first. Raises `VenueMessageError` for an invalid answer."""
        ...

    def history_request(self, symbol: str, first_id: int) -> Request:
        """The request for trades from `first_id` on, or for the newest if the venue cannot select
        by id."""
        ...

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        """Parse a page of history; None if it is empty. Raises `VenueMessageError` for an invalid
        answer."""
        ...

    def book_request(self, symbol: str) -> Request:
        """The request for a whole order book."""
        ...

    def parse_book(self, body: bytes, instrument: Instrument) -> BookUpdate:
        """Parse a whole order book, as an update flagged WHOLE, and TOP_ONLY if the venue may have
        more levels on its longer side, or on both if they are equally long. Its time is 0 if the
        venue does not send it. Raises `VenueMessageError` for an invalid answer."""
        ...

    def time_request(self) -> Request: ...

    def parse_time(self, body: bytes) -> int:
        """The venue's clock in unix ms. Raises `VenueMessageError` for an invalid answer."""
        ...

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        """The weight that the venue has counted in this minute, if the answer has it. Header names
        are in lower case."""
        ...

    def refusal(self, status: int) -> Refusal:
        """The meaning of an HTTP status other than 200, over REST and at the WebSocket
        handshake."""
        ...

    def banned_until_ms(self, body: bytes) -> int | None:
        """The end of a ban in unix ms, if the answer names it."""
        ...

    def explain(self, status: int, body: bytes) -> str:
        """The venue's error message in a REST answer; empty without one."""
        ...


NEVER_S: Final = inf
"""The `due_s` of a dialogue without keep-alive messages."""
