"""The faults that can be injected into the exchange, as frozen values.

These three inject the same fault: `Simulator.faults.inject(Skip("BTCUSDT"))`,
`POST /control/skip?symbol=BTCUSDT`, and `fanout simulate --fault "skip BTCUSDT"`. The fields are
those of the struct, in its order; `FAULTS` has the names. Each fault acts in one of six places,
which the headings below name. No fault belongs to a dialect. A fault that a venue cannot have is
refused, with the reason.

Counts are exact. With `chance` a fault acts at random, seeded by the simulator's seed, until it is
cleared. A symbol or a stream that is None means all of them, each with a count of its own. Seconds
are seconds of trio's clock.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from fanout.errors import UsageError
from fanout.simulator.market.listing import Quirk
from fanout.simulator.market.ticks import ADL, INSURANCE_FUND

FaultStream = Literal["trade", "aggTrade", "bookTicker", "depth"]
"""`depth` is every depth stream of a symbol, each with a count of its own."""

Refusal = Literal["topic", "request", "missing"]
AuthFault = Literal["reject", "expire", "revoke"]

MAX_STANDING: Final = 1_000  # faults in one place, or on one stream, that are not over
MAX_WINDOW: Final = 10_000  # messages held back at once, which bounds the memory of a fault
MAX_ROWS: Final = 40_000  # inserted at once: half of a subscriber's outbox
MAX_GARBAGE_BYTES: Final = 1024 * 1024
MAX_LEVELS: Final = 200_000  # added to a side at once
OFF_MARKET: Final = -0.1  # default distance of a liquidation from the last price

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Places = Annotated[int, msgspec.Meta(ge=0, le=12)]
Chance = Annotated[float, msgspec.Meta(gt=0, le=1)]
Unit = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?=.*[1-9])[0-9]{1,9}(\.[0-9]{1,12})?$",
        description="a decimal above zero, such as 0.001",
    ),
]
Symbol = Annotated[
    str,
    msgspec.Meta(pattern=r"^[^\s@/,]{1,40}$", description="a symbol, such as NEWUSDT"),
]
Reason = Annotated[
    str, msgspec.Meta(pattern="^[ -~]{0,123}$", description="up to 123 ASCII characters")
]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="fault"):
    """The types of its fields limit their values, which are checked when a fault is injected."""


# Connections, in `connection.connections`: those after their WebSocket handshake ------------------


class ConnectionFault(Fault, frozen=True, kw_only=True):
    """Acts on all connections, on those of one route, or on the oldest or newest one."""

    route: Literal["public", "market", "private", "business"] | None = None
    which: Literal["all", "oldest", "newest"] = "all"


class Drop(ConnectionFault, frozen=True, tag="drop"):
    """Connections end: with a close frame, without one, by a reset; or go half open.

    `cut` ends the stream without a close frame, as the 24-hour limit does. `half-open` keeps the
    socket but transfers nothing, in either direction, until the client leaves.
    """

    how: Literal["close", "cut", "reset", "half-open"] = "close"
    code: Annotated[int, msgspec.Meta(ge=1000, le=4999)] = 1001
    reason: Reason = ""


class Stall(ConnectionFault, frozen=True, tag="stall"):
    """Nothing is sent for a while, pongs and acknowledgements included; then all of it at once.

    If all connections stall, so do new ones. A connection with more waiting messages than an outbox
    holds (some 80,000) is closed.
    """

    for_s: Seconds = 2.0


class Malformed(ConnectionFault, frozen=True, tag="malformed"):
    """Connections receive a text frame with `text`, which is not JSON by default."""

    text: str = '{"e":"trade","E":17'


class UnknownEvent(ConnectionFault, frozen=True, tag="event"):
    """Connections receive an event that they did not subscribe to. `data` is added to its `e` and
    `E`."""

    name: str = "serverShutdown"
    data: dict[str, Any] = {}


class Shutdown(ConnectionFault, frozen=True, tag="shutdown"):
    """The venue announces that connections will close, and closes them `within_s` later."""

    within_s: Seconds = 10.0


class Garbage(ConnectionFault, frozen=True, tag="garbage"):
    """Connections receive seeded noise in a binary frame; or, if not `framed`, bytes that are no
    WebSocket frame."""

    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_GARBAGE_BYTES)] = 64
    framed: bool = True


class Lose(ConnectionFault, frozen=True, tag="lose"):
    """The next `count` messages that a connection numbers vanish behind their numbers: they are
    counted, and not sent. REST and other connections have them."""

    count: Count = 1


# Answers, in `faults.answers`: to the requests of clients -----------------------------------------


class Refuse(Fault, frozen=True, tag="refuse"):
    """The next `count` subscriptions to a symbol are refused: each of its topics by an error, or
    the whole request by one; or the answer is good, but the symbol's topics are missing in it."""

    symbol: str | None = None
    count: Count = 1
    how: Refusal = "topic"


class Ignore(Fault, frozen=True, tag="ignore"):
    """The next `count` requests that subscribe to a symbol get no answer, and subscribe to
    nothing."""

    symbol: str | None = None
    count: Count = 1


class Mute(Fault, frozen=True, tag="mute"):
    """Pings in the venue's own messages get no answer: for a while, or until cleared. Those of
    WebSocket do."""

    for_s: Seconds | None = None


class Auth(Fault, frozen=True, tag="auth"):
    """Authentication fails: for a while, or until cleared.

    `reject` refuses credentials. `expire` ends the access of the connections that have it now, and
    refuses access tokens, but not credentials. `revoke` ends it too, and refuses both.
    """

    how: AuthFault = "reject"
    for_s: Seconds | None = None


class Maintain(Fault, frozen=True, tag="maintain"):
    """The venue announces maintenance, sends no data for a while, and then announces its end. The
    market goes on, so trades of the meantime are only in REST."""

    for_s: Seconds = 10.0


# Books on the stream: what subscribers of a symbol get without asking -----------------------------


class Resnapshot(Fault, frozen=True, tag="resnapshot"):
    """Subscribers get the whole book again. With `resets` its update ids begin anew at 1. At OKX
    subscribers then get no whole book: the next update has a low id, and follows the one before."""

    symbol: str | None = None
    resets: bool = False


class Checksum(Fault, frozen=True, tag="checksum"):
    """Subscribers get a checksum that is not the book's."""

    symbol: str | None = None


# Streams, in `faults.streams`: between the market and the subscribers -----------------------------


class StreamFault(Fault, frozen=True):
    """Acts on the messages of some streams. REST is not affected."""

    symbol: str | None = None


class Silence(StreamFault, frozen=True, tag="silence"):
    """Streams are acknowledged, but send nothing: for a while, or until cleared."""

    stream: FaultStream | None = None
    for_s: Seconds | None = None


class CountedFault(StreamFault, frozen=True):
    """Acts on the next `count` messages; with `chance`, on so many in a row at random times."""

    count: Count = 1
    stream: FaultStream = "trade"
    chance: Chance | None = None


class Skip(CountedFault, frozen=True, tag="skip"):
    """Messages are not sent: their ids exist, and only REST has them. A depth update that is
    skipped breaks the chain of its stream."""


class Garble(CountedFault, frozen=True, tag="garble"):
    """Messages arrive broken: cut off in the middle; with a price that is no number; with a
    negative quantity; or with fields of other types, the id as text and the price and quantity as
    numbers. In a depth update it is one level that is broken."""

    how: Literal["cut", "price", "negative", "types"] = "cut"


class Repeat(CountedFault, frozen=True, tag="repeat"):
    """Messages are sent twice, the second time after `later` others of their stream."""

    later: Annotated[int, msgspec.Meta(ge=0, le=MAX_WINDOW)] = 0


class Delay(CountedFault, frozen=True, tag="delay"):
    """Messages are sent late, after `by` later ones of their stream; by 1 swaps two neighbours."""

    by: Annotated[int, msgspec.Meta(ge=1, le=MAX_WINDOW)] = 1


class Shuffle(CountedFault, frozen=True, tag="shuffle"):
    """`count` times, `window` messages in a row are held back and sent in another order."""

    window: Annotated[int, msgspec.Meta(ge=2, le=MAX_WINDOW)] = 2


class Cross(StreamFault, frozen=True, tag="cross"):
    """Depth updates have one more bid, above the best ask. The market and its snapshots do not have
    it, so no later update removes it, unless the market comes to that price."""

    count: Count = 1
    chance: Chance | None = None


# REST: its answers, in `faults.rest`, its weight, and its rows ------------------------------------


class Http(Fault, frozen=True, tag="http"):
    """The next `requests` requests (null: all) whose path begins with `path` (null: all of REST)
    fail.

    They get an error `status`, or else a good answer: `delay_s` late; with no more than the first
    `rows` of its rows; with another `body`; or cut off after `sent_bytes` of its body, which ends
    the connection. A 418 says that the address is banned for `banned_for_s` from now. A path such
    as /public or /stream fails handshakes: by a status, late, or (`sent_bytes`) unanswered.
    """

    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    path: str | None = None
    requests: Count | None = 1
    retry_after_s: Annotated[int, msgspec.Meta(ge=0)] | None = None
    delay_s: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    rows: Annotated[int, msgspec.Meta(ge=0)] | None = None
    body: str | None = None
    sent_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    banned_for_s: Seconds = 120.0

    def __post_init__(self) -> None:
        wanted = (self.status, self.rows, self.body, self.sent_bytes, self.delay_s or None)
        if all(each is None for each in wanted):
            raise UsageError("fault http: give a status, delay_s, rows, body or sent_bytes")


class Spend(Fault, frozen=True, tag="spend"):
    """So much of the minute's weight counts as used by others at our address."""

    weight: Count


class Forget(Fault, frozen=True, tag="forget"):
    """REST loses its rows so far, except for the newest `kept` of each symbol."""

    symbol: str | None = None
    kept: Annotated[int, msgspec.Meta(ge=0)] = 0


class Stale(Fault, frozen=True, tag="stale"):
    """The next `requests` snapshots of a book (null: all) show it as it was `age_s` ago, or as
    far back as the market keeps its changes: the newest 1,000 transactions, some 10 s of a busy
    symbol. At 0 the snapshot ends where an update ends, and never inside the next one."""

    symbol: str | None = None
    age_s: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 5.0
    requests: Count | None = 1


# The market, in `market.engine`: for streams and REST alike ---------------------------------------


class Insert(Fault, frozen=True, tag="insert"):
    """Rows are added to the market now: NA by default; liquidations away from the market; or a
    burst of fills.

    `away` is the distance of their price from the last one, as a fraction. `quantity` may be one
    that no trade should have, such as 0. `kind` may be one that the venue does not have, if its
    messages have a field for it. The ids of later trades rise by `count`. Rows can be inserted
    while the symbol is halted.
    """

    symbol: str | None = None
    kind: str = "NA"
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_ROWS)] = 1
    away: Annotated[float, msgspec.Meta(gt=-1, le=100)] | None = None
    quantity: Annotated[str, msgspec.Meta(max_length=40, description="text")] | None = None

    @property
    def price_factor(self) -> float:
        if self.away is not None:
            return 1 + self.away
        return 1 + OFF_MARKET if self.kind in (INSURANCE_FUND, ADL) else 1.0


class Renumber(Fault, frozen=True, tag="renumber"):
    """The next trade takes the id `next_id`, and later ones continue from there.

    A higher id leaves a hole that is never filled: those ids were never trades. With a lower id the
    numbering starts again, and REST forgets the old trades.
    """

    symbol: str
    next_id: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 1


class List(Fault, frozen=True, tag="list"):
    """A new symbol is listed, and trades from now on where the market is synthetic.

    Units and price are those of the first symbol that trades, unless given.
    """

    symbol: Symbol
    price: Unit | None = None
    tick_size: Unit | None = None
    step_size: Unit | None = None
    status: str | None = None


class Relist(Fault, frozen=True, tag="relist"):
    """The listing changes for a symbol, and with it the spelling of its next trades. It trades only
    while its status is TRADING."""

    symbol: str
    tick_size: Unit | None = None
    step_size: Unit | None = None
    status: str | None = None


class Decimals(Fault, frozen=True, tag="decimals"):
    """A symbol's prices and quantities get other numbers of decimals, and its units change too."""

    symbol: str
    price: Places | None = None
    quantity: Places | None = None


class Rename(Fault, frozen=True, tag="rename"):
    """A symbol gets another name. Its trades continue under the new name, and the old name is
    gone."""

    symbol: str
    to: Symbol


class Delist(Fault, frozen=True, tag="delist"):
    """A symbol stops trading. The listing and REST do not have it until it is relisted."""

    symbol: str


class Odd(Fault, frozen=True, tag="odd"):
    """A symbol's row of the listing is odd, until cleared: its contract type is null; its filters
    are missing; or the row stands twice, the second time as it is or in conflict with the first."""

    symbol: str
    how: Quirk = "null-type"


class Unchain(Fault, frozen=True, tag="unchain"):
    """The update ids of a book rise by `by` without an update, or fall if it is negative. So the
    next update does not follow the one before, on any stream. The book itself does not change."""

    symbol: str | None = None
    by: Annotated[int, msgspec.Meta(ge=-(10**12), le=10**12)] = 1_000


class Empty(Fault, frozen=True, tag="empty"):
    """All levels of a book are removed in one update. Makers fill it again within seconds."""

    symbol: str | None = None


class Deepen(Fault, frozen=True, tag="deepen"):
    """A book gets so many more levels on each side, in one update. A snapshot has 1,000 at most, so
    it shows no more than a part of the book."""

    symbol: str | None = None
    levels: Annotated[int, msgspec.Meta(ge=1, le=MAX_LEVELS)] = 1_500


class ShiftClock(Fault, frozen=True, tag="clock"):
    """The exchange's clock is off by this much from now on: `/time`, and E and T of frames."""

    offset_ms: Annotated[int, msgspec.Meta(ge=-(10**12), le=10**12)]


FAULTS: Final[dict[str, type[Fault]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        *(Drop, Stall, Shutdown, Malformed, UnknownEvent, Garbage, Lose),
        *(Refuse, Ignore, Mute, Auth, Maintain),
        *(Resnapshot, Checksum),
        *(Silence, Skip, Garble, Repeat, Delay, Shuffle, Cross),
        *(Http, Spend, Forget, Stale),
        *(Insert, Renumber, List, Relist, Decimals, Rename, Delist, Odd),
        *(Unchain, Empty, Deepen, ShiftClock),
    )
}
