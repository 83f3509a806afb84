"""Bybit v5, linear contracts and spot, from its documents of 2026 and a recording of 2025.

Trades of one order are one message, and their ids are UUIDs, or numbers at spot. A book is whole in
its first message, and the update ids of a topic are consecutive. Quotes are repeated after three
seconds without a change. One bad topic fails its whole request. The venue sends no WebSocket pings:
it answers `{"op":"ping"}`. It shares no code with the service's venue.
"""

from typing import Final

import msgspec

from fanout.simulator.dialects.base import (
    CALM,
    Ability,
    Aggregation,
    Answer,
    Batching,
    Close,
    Destination,
    DialectDefaults,
    Limits,
    Market,
    Mood,
    Pulse,
    RestSide,
    Session,
    Venue,
)
from fanout.simulator.dialects.bybit import frames, rest
from fanout.simulator.dialects.bybit.ids import Numbers, Uuids
from fanout.simulator.dialects.bybit.recordings import BybitReader
from fanout.simulator.dialects.bybit.requests import answer
from fanout.simulator.dialects.bybit.table import (
    LINEAR,
    SPOT,
    SPOT_CATEGORY,
    UNTRADED_LINEAR,
    UNTRADED_SPOT,
    described,
)
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.made_up import made_up, made_up_symbol
from fanout.simulator.market.reader import Reader
from fanout.simulator.market.ticks import (
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
MOST_TRADES: Final = 1_024
REPEATED: Final = Pulse("repeated quotes", every_s=3.0)


class _Bybit(DialectDefaults):
    """What both markets share. `category` is the venue's name of the market."""

    category: str
    ids: frames.Ids
    most_trades: int
    """Trades that REST has."""

    rest_root: Final = "/v5"
    words = rest.WORDS
    limits = Limits(
        messages_per_second=100,  # no limit is documented
        weight_per_minute=600,
        window_ms=5_000,
        over_status=403,
        ban_status=None,
        ping_every_s=NEVER_S,
        pong_within_s=60.0,
        streams=10_000,  # the limit is that of the topics' characters
        too_many_streams=Close(1008, ""),
        too_many_messages=Close(1008, "too many requests"),
        request_s=600.0,
        connections=1_000,
        connections_per_window=(500, 300.0),
    )
    kinds = Kinds((MARKET, RPI), (0.97, 0.03), is_open=False)
    batching = Batching(interval_ms=0, most=MOST_TRADES)
    aggregation = Aggregation(interval_ms=100, sent_after_ms=100)  # which the venue does not have
    book_rules = BookRules(is_contiguous=False, intervals_ms=(BOOK_MS,), levels=frames.DEPTH)
    abilities: frozenset[Ability] = frozenset({"resnapshot", "refuse request", "mute"})

    def made_up_symbol(self, number: int) -> str:
        return made_up_symbol(number)

    def made_up(self, symbol: str) -> Listing | None:
        found = made_up(symbol)
        return None if found is None else described(found, self.category)

    def destination(self, target: str) -> Destination | None:
        path = target.partition("?")[0]
        return Destination("") if path == f"/v5/public/{self.category}" else None

    def stream_names(self, symbol: str) -> dict[str, tuple[str, str]]:
        kinds = {
            frames.TRADES: TRADE,
            frames.QUOTES: QUOTE,
            frames.BOOK: depth_kind(BOOK_MS),
        }
        return {f"{prefix}.{symbol}": (kind, "") for prefix, kind in kinds.items()}

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        return answer(session, text, mood)

    def greeting(self, name: str, stream: str, market: Market, session: Session) -> list[bytes]:
        prefix, _, symbol = name.rpartition(".")
        if prefix == frames.BOOK:
            whole = market.whole(stream)
            return [] if whole is None else [frames.whole(symbol, whole)]
        quote = market.best(symbol) if prefix == frames.QUOTES else None
        return [] if quote is None else [frames.quote(quote)]

    def pulses(self, session: Session) -> tuple[Pulse, ...]:
        return (REPEATED,) if _quotes_of(session) else ()

    def pulse(self, name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
        """Every quote again, with new times, as recorded. Bybit repeats one only after three
        seconds without a newer one."""
        quotes = filter(None, map(market.best, _quotes_of(session)))
        again = {"event_ms": now_ms, "time_ms": now_ms}
        return [frames.quote(msgspec.structs.replace(each, **again)) for each in quotes]

    def wire_id(self, symbol: str, trade_id: int) -> int:
        return self.ids.wire_id(symbol, trade_id)

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return frames.payload(tick, self.ids)

    def rest(self, venue: Venue) -> RestSide:
        return rest.rest(venue, self.category, self.ids, self.most_trades)

    def lacks(self, quirk: Quirk) -> bool:
        return quirk == "null-type" and self.category == SPOT_CATEGORY

    def reader(self) -> Reader:
        return BybitReader(self.ids, depth_kind(BOOK_MS), self.category)


class BybitLinear(_Bybit):
    name: Final = "bybit"
    title: Final = "Bybit linear contracts"
    category = "linear"
    ids = Uuids()
    most_trades = 1_000
    table = LINEAR
    untraded = UNTRADED_LINEAR


class BybitSpot(_Bybit):
    name: Final = "bybit-spot"
    title: Final = "Bybit spot"
    category = SPOT_CATEGORY
    ids = Numbers()
    most_trades = 60
    table = SPOT
    untraded = UNTRADED_SPOT


def _quotes_of(session: Session) -> list[str]:
    names = (name.rpartition(".") for name in session.streams)
    return [symbol for prefix, _, symbol in names if prefix == frames.QUOTES]
