"""The interface of a dialect, which encodes a market as one venue does, and parses its requests.

A dialect has no state, no clock, no socket and no faults. It turns the market's trades and the
clients' requests into bytes to send.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from fanout.simulator.connection.http import Request, Response
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.ticks import (
    BookRules,
    Kinds,
    Recorded,
    RecordedBook,
    RecordedLevels,
    RecordedMessage,
    Tick,
)


class Form(msgspec.Struct, frozen=True):
    """The form of one connection's messages: with or without an envelope, and the unit of time."""

    combined: bool = False
    microseconds: bool = False


class Session(msgspec.Struct, frozen=True):
    """The state of a connection: the stream names it asked for, in order, and its form."""

    streams: tuple[str, ...] = ()
    form: Form = Form()


class Destination(msgspec.Struct, frozen=True):
    """The route that a WebSocket URL names, and the session that it begins."""

    route: str
    session: Session = Session()


class Close(msgspec.Struct, frozen=True):
    code: int
    reason: str


class Answer(msgspec.Struct, frozen=True):
    """The reply, the session from here on, and whether the connection ends after the reply."""

    reply: str
    session: Session
    close: Close | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's limits. A config can replace the first three."""

    messages_per_second: int
    weight_per_minute: int
    ping_every_s: float
    pong_within_s: float
    streams: int
    too_many_streams: Close
    too_many_messages: Close


class Aggregation(msgspec.Struct, frozen=True):
    """Fills of one price and side within `interval_ms` are one aggregate. It is sent
    `sent_after_ms` after its first fill."""

    interval_ms: int
    sent_after_ms: int


class RestSide(Protocol):
    """The venue's REST endpoints over one market."""

    def respond(self, request: Request, now_ms: int) -> Response: ...


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    """The data that REST answers from. The market changes `listings` and `quirks` while it runs."""

    listings: Mapping[str, Listing]
    quirks: Mapping[str, tuple[Quirk, ...]]
    history: History
    limit: RateLimit
    snapshot: Callable[[str, int], Snapshot]
    """The first levels of each side of a symbol's book."""


class Dialect(Protocol):
    """One venue. `routes` are the names that a fault can give; empty if there is only one route."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def routes(self) -> tuple[str, ...]: ...

    @property
    def rest_root(self) -> str:
        """The prefix of all REST paths."""

    @property
    def limits(self) -> Limits: ...

    @property
    def kinds(self) -> Kinds: ...

    @property
    def aggregation(self) -> Aggregation: ...

    @property
    def book_rules(self) -> BookRules: ...

    @property
    def table(self) -> Mapping[str, Listing]:
        """The instruments that a synthetic market has by default."""

    @property
    def untraded(self) -> tuple[Listing, ...]:
        """Rows without trades, which are in every listing."""

    def made_up(self, symbol: str) -> Listing | None:
        """The instrument of a symbol that `made_up_symbol` makes; None for any other symbol."""

    def made_up_symbol(self, number: int) -> str: ...

    def spelled(self, unit: str) -> str:
        """A tick or step size, with as many decimals as the venue's prices or quantities."""

    def destination(self, target: str) -> Destination | None:
        """The destination of a WebSocket request's target; None if the venue has no such path."""

    def stream_names(self, symbol: str) -> dict[str, tuple[str, str]]:
        """The streams of a symbol by name, each with its kind and its route."""

    def answer(self, session: Session, text: str) -> Answer:
        """The venue's answer to a client's message."""

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes: ...

    def envelope(self, stream: str, payload: bytes) -> bytes:
        """A payload in a combined stream. `stream` is the name as a subscriber spells it."""

    def shutdown(self, now_ms: int, form: Form) -> bytes | None:
        """The message that announces the end of a connection; None if the venue has none."""

    def rest(self, venue: Venue) -> RestSide: ...

    def error(self, status: int, *, weight_limit: int, banned_until_ms: int) -> tuple[bytes, str]:
        """The body of an error that a fault injects, and its content type."""

    def lacks(self, quirk: Quirk) -> bool:
        """Whether the venue's listing lacks the field of a quirk."""

    def recorded(self, frame: bytes) -> Recorded | RecordedMessage | None:
        """A trade, a quote or a depth update in a recorded frame; None for another frame.

        Raises ValueError for an invalid trade.
        """

    def recorded_book(self, url: str | None, body: bytes) -> RecordedBook | None:
        """A whole book in a recorded answer of REST, whose URL may be unknown; None for another
        answer."""

    def recorded_levels(self, payload: bytes) -> RecordedLevels:
        """The levels of a recorded update or whole book. Raises ValueError."""
