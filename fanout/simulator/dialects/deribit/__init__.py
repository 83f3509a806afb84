"""Deribit, from its documents of 2025 and recordings of 2021 and 2025.

The stream is JSON-RPC. Channels that end in `raw` need access, which a connection gets with any
credentials; those of `100ms` do not. A book is whole in its first message. The venue sends
heartbeats where it is asked to, and cuts a connection that does not answer its test requests. It
sends no WebSocket pings. It shares no code with the service's venue.

Two channels differ from the venue's: that of trades every 100 ms has them at once, and that of one
level has each change of it.
"""

from typing import Final

from fanout.simulator.dialects.base import (
    CALM,
    Ability,
    Aggregation,
    Answer,
    Batching,
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
from fanout.simulator.dialects.deribit import frames, rest
from fanout.simulator.dialects.deribit.recordings import BATCH_MS, DeribitReader
from fanout.simulator.dialects.deribit.requests import PLATFORM, Own, answer, deprived
from fanout.simulator.dialects.deribit.table import TABLE, UNTRADED, made_up, made_up_symbol
from fanout.simulator.faults import AuthFault
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.ticks import (
    BLOCK,
    LIQUIDATION,
    MARKET,
    QUOTE,
    TRADE,
    BookRules,
    Kinds,
    Tick,
    depth_kind,
)

NEVER_S: Final = float("inf")
PATH: Final = "/ws/api/v2"
COMBINED: Final = Form(combined=True)
"""Each payload names its channel."""
ANSWER_S: Final = 10.0
"""How long the answer to a test request may take. The documents name no time."""


class Deribit(DialectDefaults):
    name: Final = "deribit"
    title: Final = "Deribit"
    rest_root: Final = "/api/v2"
    words = rest.WORDS
    is_personal = True
    limits = Limits(
        messages_per_second=10,  # a subscription costs 3,000 of 30,000 credits
        weight_per_minute=100,  # 50,000 credits, of which 10,000 come back each second
        window_ms=5_000,
        ban_status=None,
        ping_every_s=NEVER_S,
        pong_within_s=60.0,
        streams=100_000,
        too_many_streams=Close(1008, ""),
        too_many_messages=Close(1008, "too_many_requests"),
        connections=32,
    )
    kinds = Kinds((MARKET, LIQUIDATION, BLOCK), (0.98, 0.01, 0.01), is_open=False)
    batching = Batching(interval_ms=0, most=1_000)
    aggregation = Aggregation(interval_ms=100, sent_after_ms=100)  # which the venue does not have
    book_rules = BookRules(is_contiguous=False, intervals_ms=(0, BATCH_MS))
    table = TABLE
    untraded = UNTRADED
    abilities: frozenset[Ability] = frozenset(
        {"resnapshot", "refuse request", "refuse missing", "maintain", "auth"}
    )

    def made_up_symbol(self, number: int) -> str:
        return made_up_symbol(number)

    def made_up(self, symbol: str) -> Listing | None:
        return made_up(symbol)

    def destination(self, target: str) -> Destination | None:
        path = target.partition("?")[0]
        return Destination("", Session(form=COMBINED, own=Own())) if path == PATH else None

    def stream_names(self, symbol: str) -> dict[str, tuple[str, str]]:
        """Both channels of trades are one stream of the market."""
        return {
            f"trades.{symbol}.100ms": (TRADE, ""),
            f"trades.{symbol}.raw": (TRADE, ""),
            f"book.{symbol}.none.1.100ms": (QUOTE, ""),
            f"book.{symbol}.100ms": (depth_kind(BATCH_MS), ""),
            f"book.{symbol}.raw": (depth_kind(0), ""),
        }

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        return answer(session, text, now_ms, mood)

    def greeting(self, name: str, stream: str, market: Market, session: Session) -> list[bytes]:
        kind, symbol, *interval = name.split(".")
        if kind != "book":
            return []
        if interval[0] == "none":
            quote = market.best(symbol)
            return [] if quote is None else [frames.full(quote)]
        whole = market.whole(stream)
        return [] if whole is None else [frames.whole(symbol, whole)]

    def pulses(self, session: Session) -> tuple[Pulse, ...]:
        own = session.own
        assert isinstance(own, Own)
        if own.heartbeat_s is None:
            return ()
        every_s = own.heartbeat_s
        return Pulse("heartbeat", every_s), Pulse("test_request", every_s, ANSWER_S)

    def pulse(self, name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
        return [frames.heartbeat(name)]

    def envelope(self, stream: str, payload: bytes) -> bytes:
        return frames.notification(stream, payload)

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return frames.payload(tick)

    def maintenance(self, begins: bool, now_ms: int, session: Session) -> list[bytes]:
        return [frames.maintenance(begins)] if PLATFORM in session.streams else []

    def deprived(self, session: Session, how: AuthFault, now_ms: int) -> Answer | None:
        return deprived(session)

    def rest(self, venue: Venue) -> RestSide:
        return rest.rest(venue)

    def lacks(self, quirk: Quirk) -> bool:
        return False

    def reader(self) -> DeribitReader:
        return DeribitReader()
