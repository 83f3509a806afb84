"""The vocabulary of misbehaviour: what can be asked of the exchange, as frozen values.

A fault is asked for in three ways that mean the same: `Simulator.faults.inject(Skip("BTCUSDT"))`,
`POST /control/skip?symbol=BTCUSDT`, and `fanout simulate --fault "skip BTCUSDT"`. The fields are
those of the struct, in its order; `FAULTS` has the names. These are values only: each fault takes
effect in one of four places, and the headings below name it. No fault belongs to a dialect. A fault
that makes no sense at a venue is refused, with the reason.

Counts are exact: the next three messages are the next three. Where `chance` is given, the dice are
seeded by the simulator's seed, and the fault stands until it is cleared. A symbol or a stream that
is None stands for all of them, each counted for itself. Seconds are seconds of trio's clock.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from fanout.errors import UsageError
from fanout.simulator.market.listing import Quirk
from fanout.simulator.market.ticks import ADL, INSURANCE_FUND, StreamKind

MAX_STANDING: Final = 1_000  # faults in one place, or on one stream, that are not over
MAX_WINDOW: Final = 10_000  # messages held back at once: what a fault may cost in memory
MAX_ROWS: Final = 40_000  # invented in one go: half of what a subscriber's outbox takes
MAX_GARBAGE_BYTES: Final = 1024 * 1024
OFF_MARKET: Final = -0.1  # how far from the last price liquidations are taken over, by default

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
    """The type of a field says which values it takes. They are checked when a fault is injected."""


# Connections, in `connection.connections`: those that are past their WebSocket handshake ----------


class ConnectionFault(Fault, frozen=True, kw_only=True):
    """Concerns all connections, those of one route, or the one that has been up longest."""

    route: Literal["public", "market", "private"] | None = None
    which: Literal["all", "oldest", "newest"] = "all"


class Drop(ConnectionFault, frozen=True, tag="drop"):
    """Connections end: with a close frame, without one, by a reset; or go half open.

    `cut` is what the 24-hour limit does: the stream ends and no frame says why. `half-open` keeps
    the socket and moves nothing over it, in either direction, until the client leaves.
    """

    how: Literal["close", "cut", "reset", "half-open"] = "close"
    code: Annotated[int, msgspec.Meta(ge=1000, le=4999)] = 1001
    reason: Reason = ""


class Stall(ConnectionFault, frozen=True, tag="stall"):
    """Nothing is sent for a while, pongs and acknowledgements included; then all of it at once.

    If all connections stall, so do those that are opened meanwhile. More than an outbox holds
    (some 80,000 messages) costs the connection.
    """

    for_s: Seconds = 2.0


class Malformed(ConnectionFault, frozen=True, tag="malformed"):
    """A text frame out of the blue that is no JSON, or whatever else `text` may be."""

    text: str = '{"e":"trade","E":17'


class UnknownEvent(ConnectionFault, frozen=True, tag="event"):
    """An event that no client subscribed to. `data` is added to its `e` and `E`."""

    name: str = "serverShutdown"
    data: dict[str, Any] = {}


class Shutdown(ConnectionFault, frozen=True, tag="shutdown"):
    """The venue announces that connections will close, and closes them `within_s` later."""

    within_s: Seconds = 10.0


class Garbage(ConnectionFault, frozen=True, tag="garbage"):
    """Bytes: seeded noise in a binary frame, or bare ones, which break WebSocket itself."""

    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_GARBAGE_BYTES)] = 64
    framed: bool = True


# Streams, in `faults.streams`: between what has happened and what is sent -------------------------


class StreamFault(Fault, frozen=True):
    """Concerns the messages of some streams; REST shows what has happened all the same."""

    symbol: str | None = None


class Silence(StreamFault, frozen=True, tag="silence"):
    """Streams are acknowledged and silent: for a while, or until cleared."""

    stream: StreamKind | None = None
    for_s: Seconds | None = None


class CountedFault(StreamFault, frozen=True):
    """Befalls the next `count` messages; or, with `chance`, that many in a row now and again."""

    count: Count = 1
    stream: StreamKind = "trade"
    chance: Chance | None = None


class Skip(CountedFault, frozen=True, tag="skip"):
    """Messages are not sent: their ids exist, and only REST has them."""


class Garble(CountedFault, frozen=True, tag="garble"):
    """Messages arrive broken: cut off in the middle; with a price that is no number; or with
    fields of other types, the id as text and the price and quantity as numbers."""

    how: Literal["cut", "price", "types"] = "cut"


class Repeat(CountedFault, frozen=True, tag="repeat"):
    """Messages are sent twice, the second time after `later` others of their stream."""

    later: Annotated[int, msgspec.Meta(ge=0, le=MAX_WINDOW)] = 0


class Delay(CountedFault, frozen=True, tag="delay"):
    """Messages are sent late, after `by` later ones of their stream; by 1 swaps two neighbours."""

    by: Annotated[int, msgspec.Meta(ge=1, le=MAX_WINDOW)] = 1


class Shuffle(CountedFault, frozen=True, tag="shuffle"):
    """`count` times, `window` messages in a row are held back and sent in another order."""

    window: Annotated[int, msgspec.Meta(ge=2, le=MAX_WINDOW)] = 2


# REST: what it answers, in `faults.rest`, what that costs, and what it has ------------------------


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
    """Others at our address have used up this much of the minute's weight."""

    weight: Count


class Forget(Fault, frozen=True, tag="forget"):
    """What has happened so far ages out of REST, but for the newest `kept` rows of each symbol."""

    symbol: str | None = None
    kept: Annotated[int, msgspec.Meta(ge=0)] = 0


# The market, in `market.engine`: what happens, for streams and REST alike -------------------------


class Insert(Fault, frozen=True, tag="insert"):
    """Rows that happen now: NA by default; a liquidation, off the market; or a burst of fills.

    `away` is how far their price is from the last one, as a fraction. `quantity` may be one that no
    trade should have, such as 0. A `kind` that the venue does not have may be given where its
    messages have a field for it. Later trades move on by `count` ids. Rows are inserted in a halt
    as well.
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
    """The next trade takes the id `next_id`, and those after it go on from there.

    A higher id leaves a hole that is never filled, since nothing happened in it. With a lower one
    the ids start anew, and REST forgets the old ones.
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
    """A symbol gets another name. Its trades go on under that one, and the old one is gone."""

    symbol: str
    to: Symbol


class Delist(Fault, frozen=True, tag="delist"):
    """A symbol ceases to trade, and neither the listing nor REST have it, until it is relisted."""

    symbol: str


class Odd(Fault, frozen=True, tag="odd"):
    """A symbol's row of the listing is odd, until cleared: its contract type is null; its filters
    are missing; or the row stands twice, the second time as it is or in conflict with the first."""

    symbol: str
    how: Quirk = "null-type"


class ShiftClock(Fault, frozen=True, tag="clock"):
    """The exchange's clock is off by this much from now on: `/time`, and E and T of frames."""

    offset_ms: Annotated[int, msgspec.Meta(ge=-(10**12), le=10**12)]


FAULTS: Final[dict[str, type[Fault]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        *(Drop, Stall, Shutdown, Malformed, UnknownEvent, Garbage),
        *(Silence, Skip, Garble, Repeat, Delay, Shuffle),
        *(Http, Spend, Forget),
        *(Insert, Renumber, List, Relist, Decimals, Rename, Delist, Odd, ShiftClock),
    )
}
