"""The interface of a dialect, which encodes a market as one venue does, and parses its requests.

A dialect has no state, no clock, no socket and no faults. It turns the market's trades and the
clients' requests into bytes to send.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from math import inf
from typing import ClassVar, Final, Literal, Protocol

import msgspec

from fanout.simulator.connection.http import Request, Response
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.rest import Words
from fanout.simulator.faults import AuthFault, Refusal
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.reader import Reader
from fanout.simulator.market.ticks import (
    Aggregate,
    BookRules,
    Kinds,
    Quote,
    Tick,
    Trade,
)


class Form(msgspec.Struct, frozen=True):
    """The form of one connection's messages: with or without an envelope, and the unit of time."""

    combined: bool = False
    microseconds: bool = False


class Session(msgspec.Struct, frozen=True):
    """The state of a connection: the stream names it asked for, in order, its form, and the
    dialect's own state, a value (authentication, numbers of channels, a heartbeat's interval)."""

    streams: tuple[str, ...] = ()
    form: Form = Form()
    own: object = None


class Destination(msgspec.Struct, frozen=True):
    """The route that a WebSocket URL names, and the session that it begins."""

    route: str
    session: Session = Session()


class Close(msgspec.Struct, frozen=True):
    code: int
    reason: str


class Answer(msgspec.Struct, frozen=True):
    """The replies, in order, the session from here on, and whether the connection ends after them.

    `greeted` are the streams, as the venue names them, whose whole book or newest trades follow the
    replies, before anything else of these streams. `refused` are the symbols that the answer has
    refused because of `Mood.refused`. `is_pong` marks the answer to a ping in the venue's own
    messages, which the fault `mute` holds back.
    """

    replies: tuple[str, ...]
    session: Session
    close: Close | None = None
    greeted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    is_pong: bool = False


class Mood(msgspec.Struct, frozen=True):
    """The faults that act on the venue's next answers.

    `refused` has symbols, under the market's names, whose subscriptions fail, and how: `topic` is
    an error for each of its topics; `request` an error for the whole request, in which the other
    symbols may have been subscribed or not, as at the venue; and `missing` an answer that is good,
    and does not list its topics. `auth` says that credentials are refused (`reject`), that access
    tokens are (`expire`), or both (`revoke`). `streams` has the names of the streams that exist, as
    the venue spells them; None if all do.
    """

    refused: Mapping[str, Refusal] = {}
    auth: AuthFault | None = None
    streams: Container[str] | None = None

    def has(self, name: str) -> bool:
        """Whether a stream exists."""
        return self.streams is None or name in self.streams


CALM: Final = Mood()

Ability = Literal[
    "lose",
    "resnapshot",
    "refuse topic",
    "refuse request",
    "refuse missing",
    "mute",
    "maintain",
    "auth",
    "checksum",
]
"""A fault of `fanout.simulator.faults` that needs the dialect's part: numbered messages, a book on
the stream, errors and pings in its own messages, announcements, authentication, checksums."""


class Pulse(msgspec.Struct, frozen=True):
    """A message that a connection gets on a clock. With `answer_s`, the venue cuts the connection
    if no request has come that long after the pulse."""

    name: str
    every_s: float
    answer_s: float | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's limits. A config can replace the first three."""

    messages_per_second: int
    weight_per_minute: int
    ping_every_s: float
    pong_within_s: float
    streams: int
    too_many_streams: Close
    too_many_messages: Close
    first_request_s: float = inf
    request_s: float = inf
    """A connection is cut if its first request does not come within `first_request_s`, or the next
    one within `request_s`."""
    window_ms: int = 60_000
    over_status: int = 429
    ban_status: int | None = 418
    """`weight_per_minute` is counted in windows of `window_ms`. Beyond it REST answers with
    `over_status`; a client that goes on is banned and gets `ban_status`, None without bans."""
    connections: int | None = None
    """Open connections of an address. One more is refused with HTTP 429."""
    connections_per_window: tuple[int, float] | None = None
    """New connections of an address, in so many seconds. More are refused with HTTP 429."""


class Aggregation(msgspec.Struct, frozen=True):
    """Fills of one price and side within `interval_ms` are one aggregate. It is sent
    `sent_after_ms` after its first fill."""

    interval_ms: int
    sent_after_ms: int


class Batching(msgspec.Struct, frozen=True):
    """Trades of one symbol that are due within `interval_ms` are one message, up to `most` of them.
    At 0 a message has the trades of one sweep."""

    interval_ms: int
    most: int


class Market(Protocol):
    """What a greeting and a pulse may tell of a symbol, after the newest message of its streams."""

    def whole(self, stream: str) -> Snapshot | None:
        """The book as the last update of a depth stream left it, under the market's name of the
        stream; None before a recording has brought one."""

    def best(self, symbol: str) -> Quote | None:
        """The newest quote, or the one that the book makes now; None without a book."""

    def newest(self, symbol: str, count: int) -> tuple[Trade, ...]:
        """The newest trades, oldest first."""

    def newest_aggregate(self, symbol: str) -> Aggregate | None:
        """The newest aggregate that a stream has sent, or would have; None if there is none."""


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
        """The streams of a symbol by name, each with its kind and its route. Several names can have
        one stream: a connection gets it once, under the first name that it asked for. Only a
        personal dialect can then tell the names apart in its messages."""

    def welcome(self, session: Session) -> Answer | None:
        """What the venue says first on a new connection; None if it waits for the client."""

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        """The venue's answer to a client's message. Only a dialect whose abilities include
        `refuse` or `auth` heeds the mood."""

    def greeting(self, name: str, stream: str, market: Market, session: Session) -> list[bytes]:
        """The payloads that answer a new subscription: the whole book, or past trades. `name` is
        the venue's name of the stream, and `stream` the market's. A combined form adds an envelope.
        They also come when a fault asks for them: a book whose last id is 1 has then begun anew."""

    def pulses(self, session: Session) -> tuple[Pulse, ...]:
        """The messages on a clock that this connection gets now."""

    def pulse(self, name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
        """The messages of a pulse, some for each of its streams perhaps."""

    @property
    def is_personal(self) -> bool:
        """Whether each connection gets bytes of its own: numbers of messages or of channels."""

    def personal(
        self, message: bytes, name: str | None, session: Session, count: int
    ) -> tuple[bytes, int]:
        """A message as this connection gets it, and the count of its numbered messages after it.
        `count` is the one before it. `name` is the venue's name of its stream, None for a reply or
        a pulse."""

    @property
    def batching(self) -> Batching | None:
        """Which trades are in one message: `Tick.others` has those after the first."""

    def wire_id(self, symbol: str, trade_id: int) -> int:
        """The number under which `fanout` publishes a trade that the market numbers `trade_id`:
        the venue may name it by a UUID, or number all symbols together."""

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        """One message, without an envelope: `tick.recorded` as it is, if there is one.
        `tick.others` has further trades of it."""

    def split(self, payload: bytes) -> Sequence[bytes]:
        """The messages that a personal dialect sends for a payload, if it sends several: one for
        each level of a book, for instance. A fault may have changed the payload."""

    def envelope(self, stream: str, payload: bytes) -> bytes:
        """A payload in a combined stream. `stream` is the name as a subscriber spells it."""

    def shutdown(self, now_ms: int, form: Form) -> bytes | None:
        """The message that announces the end of a connection; None if the venue has none."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """The faults that this venue can have, of those that need the dialect's part. The others
        are refused."""

    def maintenance(self, begins: bool, now_ms: int, session: Session) -> list[bytes]:
        """The messages to a connection when maintenance begins, or ends; none if it gets none."""

    def deprived(self, session: Session, how: AuthFault, now_ms: int) -> Answer | None:
        """What an authenticated connection gets when its access ends, by `expire` or `revoke`, and
        its session without it. None if it has no access."""

    def wrong_checksum(
        self, name: str, stream: str, market: Market, session: Session
    ) -> list[bytes]:
        """The messages with a checksum that is not the book's. The names are as for `greeting`. No
        message to a connection that gets no checksums."""

    def rest(self, venue: Venue) -> RestSide: ...

    def error(self, status: int, *, weight_limit: int, banned_until_ms: int) -> tuple[bytes, str]:
        """The body of an error that a fault injects, and its content type."""

    def lacks(self, quirk: Quirk) -> bool:
        """Whether the venue's listing lacks the field of a quirk."""

    def reader(self) -> Reader:
        """A new reader, for one recorded file."""


class DialectDefaults:
    """A dialect with one route, that waits for the client, sends nothing on subscribing and on no
    clock, the same bytes to everybody, one trade a message, and has no fault of its own."""

    words: ClassVar[Words]
    """The venue's errors over REST."""
    routes: tuple[str, ...] = ()
    untraded: tuple[Listing, ...] = ()
    is_personal: bool = False
    batching: Batching | None = None
    abilities: frozenset[Ability] = frozenset()

    def spelled(self, unit: str) -> str:
        return unit

    def welcome(self, session: Session) -> Answer | None:
        return None

    def greeting(self, name: str, stream: str, market: Market, session: Session) -> list[bytes]:
        return []

    def pulses(self, session: Session) -> tuple[Pulse, ...]:
        return ()

    def pulse(self, name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
        return []

    def personal(
        self, message: bytes, name: str | None, session: Session, count: int
    ) -> tuple[bytes, int]:
        return message, count

    def wire_id(self, symbol: str, trade_id: int) -> int:
        return trade_id

    def split(self, payload: bytes) -> Sequence[bytes]:
        return (payload,)

    def envelope(self, stream: str, payload: bytes) -> bytes:
        return payload

    def shutdown(self, now_ms: int, form: Form) -> bytes | None:
        return None

    def maintenance(self, begins: bool, now_ms: int, session: Session) -> list[bytes]:
        return []

    def deprived(self, session: Session, how: AuthFault, now_ms: int) -> Answer | None:
        return None

    def wrong_checksum(
        self, name: str, stream: str, market: Market, session: Session
    ) -> list[bytes]:
        return []

    def error(self, status: int, *, weight_limit: int, banned_until_ms: int) -> tuple[bytes, str]:
        return self.words.error(status, weight_limit=weight_limit, banned_until_ms=banned_until_ms)

    def lacks(self, quirk: Quirk) -> bool:
        return True
