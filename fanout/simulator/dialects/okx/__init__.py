"""OKX, from its documents of 2026 and recordings of 2022.

There are two routes: `business` has the trades one by one, and `public` everything else. Each
argument of a request is answered for itself. On subscribing `books` sends the whole book, and
`trades` the newest trade. The venue sends no WebSocket pings: it answers the text `ping`, and cuts
a connection that is quiet for 30 seconds. Its checksums are 0 since June 2026. It shares no code
with the service's venue.
"""

from typing import Final

import msgspec

from fanout.simulator.dialects.base import (
    CALM,
    Ability,
    Aggregation,
    Answer,
    Close,
    Destination,
    DialectDefaults,
    Form,
    Limits,
    Market,
    Mood,
    Pulse,
    RestSide,
    Session,
    Venue,
)
from fanout.simulator.dialects.okx import frames, rest
from fanout.simulator.dialects.okx.recordings import OkxReader
from fanout.simulator.dialects.okx.requests import answer
from fanout.simulator.dialects.okx.table import TABLE, UNTRADED, described
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.made_up import made_up
from fanout.simulator.market.ticks import (
    AGGREGATE,
    MARKET,
    QUOTE,
    RPI,
    TRADE,
    BookRules,
    Kinds,
    Tick,
    depth_kind,
)

NEVER_S: Final = float("inf")
BOOK_MS: Final = 100
LEVELS: Final = 400
"""Of a side. What leaves them is removed, and what comes among them is sent."""
KEEP_ALIVE: Final = Pulse("keep-alive", every_s=60.0)

_NO_LIMIT: Final = Close(1008, "")


class Okx(DialectDefaults):
    name: Final = "okx"
    title: Final = "OKX"
    routes: tuple[str, ...] = ("public", "business")
    rest_root: Final = "/api/v5"
    words = rest.WORDS
    limits = Limits(
        messages_per_second=100,  # the documented limit is 480 an hour
        weight_per_minute=20,
        window_ms=2_000,
        ban_status=None,
        ping_every_s=NEVER_S,
        pong_within_s=60.0,
        streams=100_000,
        too_many_streams=_NO_LIMIT,
        too_many_messages=Close(4000, "Too many requests"),
        # Documented for a connection without data. Here also for one with data, since a client that
        # pings in time is not cut either way.
        request_s=30.0,
        connections_per_window=(3, 1.0),
    )
    kinds = Kinds((MARKET, RPI), (0.97, 0.03), is_open=False)
    # An aggregate is the fills of one order at one price: here those of one millisecond.
    aggregation = Aggregation(interval_ms=1, sent_after_ms=1)
    book_rules = BookRules(
        is_contiguous=False, intervals_ms=(BOOK_MS,), levels=LEVELS, is_chained_anew=True
    )
    table = TABLE
    untraded = UNTRADED
    abilities: frozenset[Ability] = frozenset({"resnapshot", "refuse topic", "mute"})

    def made_up_symbol(self, number: int) -> str:
        return f"S{number:04}-USDT"

    def made_up(self, symbol: str) -> Listing | None:
        found = made_up(symbol.replace("-", ""))
        if found is None or symbol != f"{found.symbol[:-4]}-USDT":
            return None
        return described(msgspec.structs.replace(found, symbol=symbol))

    def destination(self, target: str) -> Destination | None:
        """`/public`, with or without OKX's path before it."""
        path = target.partition("?")[0].removeprefix("/ws/v5")
        route = path.removeprefix("/")
        return Destination(route, Session(own=route)) if route in self.routes else None

    def stream_names(self, symbol: str) -> dict[str, tuple[str, str]]:
        return {
            f"trades-all:{symbol}": (TRADE, "business"),
            f"trades:{symbol}": (AGGREGATE, "public"),
            f"bbo-tbt:{symbol}": (QUOTE, "public"),
            f"books:{symbol}": (depth_kind(BOOK_MS), "public"),
        }

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        return answer(session, text, mood)

    def greeting(self, name: str, stream: str, market: Market, session: Session) -> list[bytes]:
        channel, _, symbol = name.partition(":")
        if channel == "trades":
            newest = market.newest_aggregate(symbol) or next(iter(market.newest(symbol, 1)), None)
            return [] if newest is None else [frames.past(newest)]
        whole = market.whole(stream) if channel == "books" else None
        return [] if whole is None else [frames.whole(symbol, whole, LEVELS)]

    def pulses(self, session: Session) -> tuple[Pulse, ...]:
        return (KEEP_ALIVE,) if _books_of(session) else ()

    def pulse(self, name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
        """An update without changes of each book. OKX sends it only for a book that has had none in
        a minute."""
        found = ((each, market.whole(self._stream(each))) for each in _books_of(session))
        return [
            frames.keep_alive(each, whole.last_id, now_ms)
            for each, whole in found
            if whole is not None
        ]

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return frames.payload(tick)

    def shutdown(self, now_ms: int, form: Form) -> bytes:
        return frames.NOTICE

    def rest(self, venue: Venue) -> RestSide:
        return rest.rest(venue)

    def lacks(self, quirk: Quirk) -> bool:
        return False

    def reader(self) -> OkxReader:
        return OkxReader()

    @staticmethod
    def _stream(symbol: str) -> str:
        return f"{symbol}@{depth_kind(BOOK_MS)}"


def _books_of(session: Session) -> list[str]:
    names = (name.partition(":") for name in session.streams)
    return [symbol for channel, _, symbol in names if channel == "books"]
