"""What a venue is. A venue is a folder of pure code: it does no I/O and reads no clock.

It has three parts, and a feed needs nothing else to serve it:

- *Listing and history* over REST: requests as values, and what their answers mean.
- A *dialogue* for each connection: what to send, and what each message means.
- *Continuity*: what the venue's numbers prove, declared for each kind of stream.

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
from fanout.protocol.constants import MAX_SYMBOL_BYTES, InstrumentType, TradeKind
from fanout.protocol.records import Instrument


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
    """A trade in the venue's own words: symbol and decimal strings as they came.

    An aggregate of several fills has the id of the first of them as `first_fill`.
    """

    symbol: str
    trade_id: int
    time: int
    price: str
    quantity: str
    buyer_is_maker: bool
    kind: TradeKind
    first_fill: int | None = None


class SpentId(msgspec.Struct, frozen=True, gc=False):
    """A trade id that the venue used up without a trade."""

    symbol: str
    trade_id: int


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Trades of the venue's records, oldest first, and the ids that the records speak for: an id
    from `first_id` to `last_id` that is not in `trades` was never a trade.

    `is_newest`: the records end there for now.
    """

    trades: tuple[VenueTrade, ...]
    first_id: int
    last_id: int
    is_newest: bool


class Continuity(Enum):
    """What a stream's numbers prove about trades that did not come.

    A feed accounts for every id of an `IDS` stream: a skipped id becomes a gap, the gap is
    back-filled over REST by its ids, and what remains is reported as lost. The other three kinds
    prove nothing about a single id. The feed drops a trade whose id it has seen of late, opens no
    gap, back-fills nothing, and says in its status that nothing proves the trades complete.
    """

    IDS = auto()
    """Trade ids of an instrument follow each other without a hole."""
    SEQUENCE = auto()
    """Messages of a connection are numbered. The dialogue checks the numbers and raises
    `VenueMessageError` for a hole, which counts the loss; which trades were lost is unknown."""
    CHAIN = auto()
    """Each update names the one before it. Made for order books: a broken chain needs a snapshot,
    not the missing updates."""
    NOTHING = auto()
    """Ids cannot be compared."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue allows an address and a connection, and what we allow the venue.

    A message longer than `message_bytes` is counted and not parsed. The venue is pinged after
    `idle_s` of silence, and its own pings are answered `pongs_a_second` times at most: at many
    venues a pong counts as a message.
    """

    weight_a_minute: int = 1_200
    messages_a_second: float = 5.0
    subscriptions: int = 1_024
    request_bytes: int = 4_096
    message_bytes: int = 64 * 1_024
    idle_s: float = 5.0
    pongs_a_second: int = 5


class Refusal(Enum):
    """What an HTTP status of the venue means."""

    FORBIDDEN = auto()
    """It does not serve this region or network."""
    BANNED = auto()
    """It has banned this address for a while."""
    BUSY = auto()
    """Too many requests came from this address."""
    KEY = auto()
    """It does not accept the key."""
    PASSING = auto()
    """Another attempt may help."""
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
    """What an HTTP status means at most venues. Some differ: Bybit limits with 403."""
    return _USUAL.get(status, Refusal.PASSING if status >= 500 else Refusal.OTHER)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the listing: an instrument with its units and terms, as `Instrument` has them.

    `fault` says why it cannot be subscribed to now, in words that follow the symbol. None: it
    trades. A term that the listing does not tell, or tells in a way that cannot be read, is left at
    its default, which means unknown. It never makes a row odd.
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
    """All instruments of a venue, by symbol. Rows that cannot be read are in `odd`, with the
    reason; one of them never hides the others."""

    venue: str
    rows: dict[str, Listed]
    odd: dict[str, str] = {}

    def fault(self, symbol: str) -> str | None:
        """Why a symbol cannot be served, in a sentence; None if it can."""
        row = self.rows.get(symbol)
        if symbol in self.odd:
            return f"the listing's row of {symbol} cannot be read: {self.odd[symbol]}"
        if row is None:
            return f"{symbol} is not listed at {self.venue}{self._suggestion(symbol)}"
        return f"{symbol} {row.fault}" if row.fault else None

    def instrument(self, symbol: str, index: int) -> Instrument:
        """Raises `VenueMessageError` if its row cannot be read, and `ConfigError` if it is not
        listed or does not trade."""
        if symbol in self.odd:
            raise VenueMessageError("listing is nonsense", f"{symbol} has {self.odd[symbol]}")
        fault = self.fault(symbol)
        if fault:
            raise ConfigError(fault)
        return self.rows[symbol].instrument(index)

    def _suggestion(self, symbol: str) -> str:
        close = get_close_matches(symbol[:MAX_SYMBOL_BYTES], self.rows, n=1)
        return f": did you mean {shown(close[0])}?" if close else ": see its listing for what is"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a message meant besides trades. `answers` are to be sent back. Symbols are confirmed or
    refused, each with the venue's words. `closes`: the venue announced that it will close."""

    answers: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    refused: dict[str, str] = {}
    closes: str | None = None


class Dialogue(Protocol):
    """What the venue and we say to each other on one connection. It does no I/O: the connection
    sends what the methods return, in order, within the venue's limits.

    A subscription is in `unanswered` until the venue confirms or refuses it. A venue that ignores
    one in silence leaves it there for ever.
    """

    @property
    def unanswered(self) -> frozenset[str]: ...

    @property
    def due_s(self) -> float:
        """When `tick` has something to say, in the seconds that `tick` was last given; infinite if
        never. A new dialogue counts from 0."""
        ...

    def opening(self) -> tuple[str, ...]:
        """The messages that subscribe to everything, for a connection that has just opened."""
        ...

    def receive(self, message: bytes, out: list[VenueTrade | SpentId]) -> Outcome | None:
        """Append what a message brings to `out`. None, nearly always: that was all.

        Raises `VenueMessageError` for a message that is not as documented, and
        `VenueRefusalError` where the venue refuses so that the connection is of no use.
        """
        ...

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]: ...

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]: ...

    def tick(self, now_s: float) -> tuple[str, ...]:
        """What to say without being asked: keep-alive. `now_s` is 0 when the connection opens."""
        ...


class Venue(Protocol):
    """One exchange, for one kind of stream."""

    @property
    def name(self) -> str:
        """For people, and in headers."""
        ...

    @property
    def short_name(self) -> str:
        """Of the channel that it feeds unless that has a name of its own."""
        ...

    @property
    def stream(self) -> str:
        """The kind of stream, in the venue's word. Each numbers its trades in its own way."""
        ...

    @property
    def continuity(self) -> Continuity: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def rest_url(self) -> str: ...
    @property
    def time_exponent(self) -> int: ...
    @property
    def reach(self) -> str:
        """How far back `history_request` can ask, in words for people."""
        ...

    @staticmethod
    def spell(text: str) -> str:
        """A symbol, or a pattern of symbols, as the venue spells what somebody typed."""
        ...

    def without_key(self) -> "Venue":
        """The same venue for a user whose key it does not accept."""
        ...

    def fallback(self) -> "Venue | None":
        """The same trades from another kind of stream, for when this one is silent; None if there
        is none."""
        ...

    def stream_url(self) -> str:
        """The WebSocket URL to connect to."""
        ...

    def dialogue(self, symbols: tuple[str, ...]) -> Dialogue:
        """The dialogue of a new connection that is to bring these symbols."""
        ...

    def listing_request(self) -> Request: ...

    def parse_listing(self, body: bytes) -> Listing:
        """Raises `VenueMessageError` if it is no listing at all."""
        ...

    def recent_trades_request(self, symbol: str) -> Request: ...

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        """Oldest first. Raises `VenueMessageError` for nonsense."""
        ...

    def history_request(self, symbol: str, first_id: int) -> Request:
        """Ask for the trades from `first_id` on, or for the newest where the venue knows no such
        question."""
        ...

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        """The answer. None if it says nothing. Raises `VenueMessageError` for nonsense."""
        ...

    def time_request(self) -> Request: ...

    def parse_time(self, body: bytes) -> int:
        """The venue's clock, unix ms. Raises `VenueMessageError` for nonsense."""
        ...

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        """The weight that the venue has counted in this minute, if the answer says so. Names of
        headers are in lower case."""
        ...

    def refusal(self, status: int) -> Refusal:
        """What an HTTP status other than 200 means, over REST and at the WebSocket handshake."""
        ...

    def banned_until_ms(self, body: bytes) -> int | None:
        """Until when the venue will not answer, unix ms, if it says so."""
        ...

    def explain(self, status: int, body: bytes) -> str:
        """The venue's own words in a REST error answer, for people; empty when there are none."""
        ...


NEVER_S: Final = inf
"""The `due_s` of a dialogue that says nothing of its own."""
