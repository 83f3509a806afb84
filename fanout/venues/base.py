"""The interface of a venue. A venue is a folder of pure code: it does no I/O and reads no clock.

It has three parts, and a feed needs nothing else:

- *Listing, history and whole books* over REST: requests as values, and parsers of their answers.
- A *dialogue* for each connection: the messages to send, and the parser of messages received.
- *Continuity*: the guarantee that the venue's numbers give, declared for each kind of stream.

What the methods take and give is in `values`.

    class Venue ------ listing_requests / parse_listing ---> Listing of Listed rows
        |        ------ history_request / parse_history ---> History of VenueTrades
        '-- dialogue(symbols) --> Dialogue: opening, receive, subscribe, tick ...

Venues and their dialogues inherit `VenueDefaults` and `DialogueDefaults`, which have the members
that most venues would write alike.

A new venue is one folder, one line in the registry, and the contract checks in
`tests/contracts/venue.py`, which it inherits. A venue never imports another venue.
"""

from collections.abc import Mapping
from math import inf
from typing import ClassVar, Final, Protocol, Self, TypedDict

from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.values import (
    BookSource,
    Continuity,
    Credentials,
    History,
    Limits,
    Listed,
    Listing,
    Outcome,
    Refusal,
    Request,
    VenueItem,
    VenueTrade,
    usual_refusal,
)

NO_UNITS: Final[Mapping[str, Instrument]] = {}
"""The units of a dialogue that needs none: it has trades only."""

NEVER_S: Final = inf
"""The `due_s` of a dialogue without keep-alive messages."""


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
        """Parse a message and append its trades, quotes, changes of books and other items to `out`.

        Returns None unless the message had other content. Appends `DepthLost`, and raises, for
        changes of a book that cannot be read. Raises `VenueMessageError` for an undocumented
        message, `VenueRefusalError` for a refusal that makes the connection useless,
        `VenueKeyError` if the venue refuses credentials that the operator wants to be used, and
        `VenueBusyError` if the venue wants no new connection for some time.
        """
        ...

    def skip(self, message: bytes, out: list[VenueItem]) -> None:
        """Note a message that is too long to parse, by its beginning: append `DepthLost` to `out`
        if it has changes of a book, which is not the venue's without them. Never raises."""
        ...

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]: ...

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]: ...

    def refresh(self, symbol: str) -> tuple[str, ...]:
        """The messages that make the venue send the whole book of a symbol anew, on this
        connection; empty if only a new connection does."""
        ...

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
    def shares_ids(self) -> bool:
        """Whether all kinds of stream have one numbering: an aggregate has the id of a fill (OKX).
        Elsewhere aggregates have a numbering of their own."""
        ...

    @property
    def data(self) -> DataKinds:
        """The kinds of data to take. One connection of a part brings all of them."""
        ...

    @property
    def book_source(self) -> BookSource:
        """Where whole books come from."""
        ...

    @property
    def has_book_ids(self) -> bool:
        """Whether update ids of books are the venue's. Otherwise the dialogue counts its messages
        (Coinbase, Bitfinex), so that the ids of two connections cannot be compared."""
        ...

    @property
    def quotes_from_book(self) -> bool:
        """Whether the venue has no quotes on its stream, so that the feed takes them from its
        books."""
        ...

    @property
    def brings_signs(self) -> bool:
        """Whether the dialogue appends `NewestId`, `Alive`, or trades that are past, even if it
        takes trades only."""
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

    @property
    def silence_advice(self) -> str:
        """What to check if the venue acknowledges all subscriptions and sends nothing."""
        ...

    @staticmethod
    def spell(text: str) -> str:
        """Convert a typed symbol or pattern to the venue's spelling."""
        ...

    def without_key(self) -> "Venue":
        """The same venue without the key, after the venue has rejected it."""
        ...

    def without_fallback(self) -> "Venue":
        """The same venue for an operator who chose the kind of stream. Where it would take less
        than that, because its credentials are rejected for instance, it raises an error."""
        ...

    def with_checksums(self) -> "Venue":
        """The same venue, which sends checksums of its order books. Only called where the class
        has `has_checksums`."""
        ...

    def fallback(self) -> "Venue | None":
        """The venue with another kind of stream for the same trades, to use if this one is silent;
        None without one."""
        ...

    def parts(self) -> "tuple[Venue, ...]":
        """A venue for each WebSocket URL that the kinds of data need, with the kinds found there:
        OKX has trades and books at two URLs. The first has the trades. Usually the venue itself."""
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

    def listing_requests(self) -> tuple[Request, ...]:
        """The requests that bring the listing, or the first page of each part of it."""
        ...

    def more_listing(self, request: Request, body: bytes) -> tuple[Request, ...]:
        """The further requests that an answer calls for, such as the one for the next page. Raises
        `VenueMessageError` for an answer that does not say whether there are any."""
        ...

    def parse_listing(self, *bodies: bytes) -> Listing:
        """Parse the listing from all answers, in the order of their requests. Raises
        `VenueMessageError` if no part of it is readable."""
        ...

    def still_fits(self, old: Instrument, new: Listed) -> bool:
        """Whether an instrument can keep its units, although the listing was read anew.

        Usually only if they are the listed ones. At a venue whose units are a guess from the last
        price (Bitfinex) finer ones do too."""
        ...

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        """The request for an instrument's newest trades, or for those from the time `since` on, in
        the venue's units, if the venue can select by time."""
        ...

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

    def book_request(self, symbol: str) -> Request | None:
        """The request for a whole order book; None if a book over REST cannot be joined to the
        changes on the stream."""
        ...

    def parse_book(self, body: bytes, instrument: Instrument) -> BookUpdate:
        """Parse a whole order book, as an update flagged WHOLE, and TOP_ONLY if the venue may have
        more levels on its longer side, or on both if they are equally long. Its time is 0 if the
        venue does not send it. Raises `VenueMessageError` for an invalid answer."""
        ...

    def checksum(self, book: OrderBook) -> int | None:
        """The number that a `BookChecksum` of this book must have; None if the venue sends none."""
        ...

    def time_request(self) -> Request | None:
        """The request for the venue's time; None if the venue does not show it."""
        ...

    def parse_time(self, body: bytes) -> int:
        """The venue's clock in unix ms. Raises `VenueMessageError` for an invalid answer."""
        ...

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        """The weight that the venue has counted in this window, if the answer has it. Header names
        are in lower case."""
        ...

    def refusal(self, status: int) -> Refusal:
        """The meaning of an HTTP status other than 200, over REST and at the WebSocket
        handshake."""
        ...

    def verdict(self, status: int, body: bytes) -> Refusal | None:
        """The meaning of a REST answer; None if it is a good one. Some venues refuse with HTTP 200
        and a code in the body."""
        ...

    def banned_until_ms(self, body: bytes) -> int | None:
        """The end of a ban in unix ms, if the answer names it."""
        ...

    def explain(self, status: int, body: bytes) -> str:
        """The venue's error message in a REST answer; empty without one."""
        ...


class DialogueDefaults:
    """A dialogue without keep-alive messages, which cannot ask for a book anew, and loses nothing
    with a message that is too long."""

    due_s: float = NEVER_S

    def skip(self, message: bytes, out: list[VenueItem]) -> None:
        return None

    def refresh(self, symbol: str) -> tuple[str, ...]:
        return ()

    def tick(self, now_s: float) -> tuple[str, ...]:
        return ()


class VenueOptions(TypedDict, total=False):
    """What a venue is made with. URLs stand in place of the exchange's own, and can point to a
    simulator."""

    stream: str
    ws_url: str | None
    rest_url: str | None
    credentials: Credentials | None
    data: DataKinds


class VenueDefaults:
    """A venue without a key and without an endpoint for its time, with one kind of stream at one
    URL, with a listing in one page, and with whole books over REST."""

    kinds: ClassVar[DataKinds]
    ws_default: ClassVar[str] = ""
    rest_default: ClassVar[str] = ""
    """The exchange's own URLs."""
    book_source: ClassVar[BookSource] = BookSource.REST
    shares_ids: bool = False
    has_book_ids: bool = True
    has_checksums: ClassVar[bool] = False
    quotes_from_book: bool = False
    brings_signs: bool = False
    silence_advice: str = "--ws-url must be the exchange's"

    def __init__(
        self,
        *,
        stream: str = "trade",
        ws_url: str | None = None,
        rest_url: str | None = None,
        credentials: Credentials | None = None,
        data: DataKinds = DataKinds.TRADES,
    ) -> None:
        self.stream = stream
        self.data = data
        self.ws_url = (ws_url or self.ws_default).rstrip("/")
        self.rest_url = (rest_url or self.rest_default).rstrip("/")
        self._credentials = credentials

    @classmethod
    def kinds_with(cls, stream: str) -> DataKinds:
        return cls.kinds

    def without_key(self) -> Self:
        return self

    def without_fallback(self) -> Self:
        return self

    def with_checksums(self) -> Self:
        raise AssertionError("it sends none")

    def fallback(self) -> Self | None:
        return None

    def parts(self) -> tuple[Self, ...]:
        return (self,)

    def more_listing(self, request: Request, body: bytes) -> tuple[Request, ...]:
        return ()

    def still_fits(self, old: Instrument, new: Listed) -> bool:
        return (old.price_exponent, old.quantity_exponent, old.time_exponent) == (
            new.price_exponent,
            new.quantity_exponent,
            new.time_exponent,
        )

    def checksum(self, book: OrderBook) -> int | None:
        return None

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        return None

    def time_request(self) -> Request | None:
        return None

    def parse_time(self, body: bytes) -> int:
        raise AssertionError("there is no request for the time")

    def refusal(self, status: int) -> Refusal:
        return usual_refusal(status)

    def verdict(self, status: int, body: bytes) -> Refusal | None:
        return None if status == 200 else self.refusal(status)

    def banned_until_ms(self, body: bytes) -> int | None:
        return None
