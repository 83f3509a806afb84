"""What a dialect is: how one venue says what happens in a market, and how it is asked.

A dialect is made of functions without state. It has no clock, no socket and no faults. The market
gives it trades, connections give it requests, and it gives bytes back.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from fanout.simulator.connection.http import Request, Response
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.market.history import History
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.ticks import Kinds, Recorded, StreamKind, Tick


class Form(msgspec.Struct, frozen=True):
    """How one connection wants its messages: in an envelope or not, and in which unit of time."""

    combined: bool = False
    microseconds: bool = False


class Session(msgspec.Struct, frozen=True):
    """What a connection has asked for: stream names in order of asking, and the form."""

    streams: tuple[str, ...] = ()
    form: Form = Form()


class Destination(msgspec.Struct, frozen=True):
    """Where a WebSocket URL leads: a route, and the session to begin with."""

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
    """What the venue allows. A config may say otherwise for the first three."""

    messages_per_second: int
    weight_per_minute: int
    ping_every_s: float
    pong_within_s: float
    streams: int
    too_many_streams: Close
    too_many_messages: Close


class Aggregation(msgspec.Struct, frozen=True):
    """Fills of one price and side in one interval are one aggregate, sent so long after its first
    fill."""

    interval_ms: int
    sent_after_ms: int


class RestSide(Protocol):
    """The venue's REST endpoints over one market."""

    def respond(self, request: Request, now_ms: int) -> Response: ...


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    """What a REST side answers from. `listings` and `quirks` may change under it."""

    listings: Mapping[str, Listing]
    quirks: Mapping[str, tuple[Quirk, ...]]
    history: History
    limit: RateLimit


class Dialect(Protocol):
    """One venue's ways. `routes` are those that a fault can name; none where there is but one."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def routes(self) -> tuple[str, ...]: ...

    @property
    def rest_root(self) -> str:
        """How the paths of REST begin."""

    @property
    def limits(self) -> Limits: ...

    @property
    def kinds(self) -> Kinds: ...

    @property
    def aggregation(self) -> Aggregation: ...

    @property
    def table(self) -> Mapping[str, Listing]:
        """The instruments that a synthetic market has by default."""

    @property
    def untraded(self) -> tuple[Listing, ...]:
        """Rows without trades, which are in every listing."""

    def made_up(self, symbol: str) -> Listing | None:
        """The instrument of a made-up name such as `made_up_symbol` gives; None for another."""

    def made_up_symbol(self, number: int) -> str: ...

    def spelled(self, unit: str) -> str:
        """A unit with the decimals that prices and quantities of it have."""

    def destination(self, target: str) -> Destination | None:
        """Where a request's target leads; None where the venue has nothing."""

    def stream_names(self, symbol: str) -> dict[str, tuple[StreamKind, str]]:
        """The streams of a symbol by name, each with its kind and the route that has it."""

    def answer(self, session: Session, text: str) -> Answer:
        """What the venue says to a message of a client's."""

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes: ...

    def envelope(self, stream: str, payload: bytes) -> bytes:
        """A payload in a combined stream. `stream` is the name as a subscriber spells it."""

    def shutdown(self, now_ms: int, form: Form) -> bytes | None:
        """The message that announces the end of a connection; None where the venue has none."""

    def rest(self, venue: Venue) -> RestSide: ...

    def error(self, status: int, *, weight_limit: int, banned_until_ms: int) -> tuple[bytes, str]:
        """The body of an error that is asked for, and its content type."""

    def lacks(self, quirk: Quirk) -> bool:
        """Whether the venue's listing has no field for a quirk to be in."""

    def recorded(self, frame: bytes) -> Recorded | None:
        """A trade in a recorded frame; None for a frame of another kind.

        Raises ValueError for a frame of a trade's that is not in order.
        """
