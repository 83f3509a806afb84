"""Binance spot, from its documents of 2026 and from a recording of 2024.

It differs from USDⓈ-M: one route, eight decimals everywhere, ids of fills only, microseconds on
request, pings every 20 seconds, five messages a second, an announced shutdown, and a Retry-After
with every refusal. It shares no code with the service's venue.
"""

from typing import Any, Final

from fanout.simulator.dialects.base import (
    CALM,
    Aggregation,
    Answer,
    Destination,
    Form,
    Mood,
    RestSide,
    Session,
    Venue,
)
from fanout.simulator.dialects.binance.dialect import BinanceDialect, binance_limits
from fanout.simulator.dialects.binance.recordings import BinanceReader
from fanout.simulator.dialects.binance.requests import answer
from fanout.simulator.dialects.binance_spot import frames
from fanout.simulator.dialects.binance_spot.rest import WORDS, rest
from fanout.simulator.dialects.binance_spot.routes import BOOKS, destination
from fanout.simulator.dialects.binance_spot.table import PLACES, TABLE, UNTRADED, spelled
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.made_up import made_up
from fanout.simulator.market.reader import Reader
from fanout.simulator.market.ticks import (
    AGGREGATE,
    MARKET,
    TRADE,
    BookRules,
    Kinds,
    Tick,
)

MAX_ID_CHARACTERS: Final = 36


class BinanceSpot(BinanceDialect):
    name: Final = "binance-spot"
    title: Final = "Binance spot"
    routes: tuple[str, ...] = ()
    rest_root: Final = "/api"
    words = WORDS
    limits = binance_limits(
        messages_per_second=5,
        weight_per_minute=6_000,
        ping_every_s=20.0,
        pong_within_s=60.0,
    )
    kinds = Kinds((MARKET,), (1.0,), is_open=False)
    # An aggregate is the fills of one order at one price: here those of one millisecond.
    aggregation = Aggregation(interval_ms=1, sent_after_ms=1)
    book_rules = BookRules(is_contiguous=True, intervals_ms=(100, 1_000))
    table = TABLE
    untraded = UNTRADED

    def made_up(self, symbol: str) -> Listing | None:
        return made_up(symbol, least_places=PLACES)

    def spelled(self, unit: str) -> str:
        return spelled(unit)

    def destination(self, target: str) -> Destination | None:
        return destination(target)

    def stream_names(self, symbol: str) -> dict[str, tuple[str, str]]:
        lower, kinds = symbol.lower(), {TRADE: TRADE, AGGREGATE: AGGREGATE, **BOOKS}
        return {f"{lower}@{name}": (kind, "") for name, kind in kinds.items()}

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        return answer(session, text, _is_id)

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return frames.payload(tick, microseconds=microseconds)

    def shutdown(self, now_ms: int, form: Form) -> bytes:
        return frames.shutdown(now_ms, combined=form.combined, microseconds=form.microseconds)

    def rest(self, venue: Venue) -> RestSide:
        return rest(venue)

    def lacks(self, quirk: Quirk) -> bool:
        return quirk == "null-type"

    def reader(self) -> Reader:
        return BinanceReader(frames.trade_of, BOOKS)


def _is_id(value: Any) -> bool:
    """Documented: a 64-bit signed integer, up to 36 alphanumeric characters, or null."""
    if isinstance(value, str):
        return value.isascii() and value.isalnum() and len(value) <= MAX_ID_CHARACTERS
    return value is None or (type(value) is int and -(2**63) <= value < 2**63)
