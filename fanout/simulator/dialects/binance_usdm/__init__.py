"""Binance USDⓈ-M futures, from its documents and from recordings of 2026.

It shares no code with the service's venue, so that one misreading cannot hide in both.
"""

from typing import Final

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
from fanout.simulator.dialects.binance.requests import answer, is_unsigned
from fanout.simulator.dialects.binance_usdm import frames
from fanout.simulator.dialects.binance_usdm.rest import WORDS, rest
from fanout.simulator.dialects.binance_usdm.routes import BOOKS, ROUTES, STREAMS, destination
from fanout.simulator.dialects.binance_usdm.table import PERPETUAL, TABLE, UNTRADED
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.made_up import made_up
from fanout.simulator.market.reader import Reader
from fanout.simulator.market.ticks import (
    ADL,
    INSURANCE_FUND,
    MARKET,
    NOT_A_FILL,
    RPI,
    BookRules,
    Kinds,
    Tick,
)


class BinanceUsdm(BinanceDialect):
    name: Final = "binance-usdm"
    title: Final = "Binance USDⓈ-M"
    routes = ROUTES
    rest_root: Final = "/fapi"
    words = WORDS
    limits = binance_limits(
        messages_per_second=15,  # measured; the documents say 10
        weight_per_minute=2_400,
        ping_every_s=180.0,
        pong_within_s=600.0,
    )
    # NA is measured (about 0.35 % of the ids of a BTCUSDT day); the others are plausible.
    kinds = Kinds(
        (MARKET, RPI, NOT_A_FILL, INSURANCE_FUND, ADL),
        (0.966_25, 0.03, 0.003_5, 0.000_2, 0.000_05),
        is_open=True,
    )
    aggregation = Aggregation(interval_ms=100, sent_after_ms=150)
    book_rules = BookRules(is_contiguous=False, intervals_ms=(0, 100, 250, 500))
    table = TABLE
    untraded = UNTRADED

    def made_up(self, symbol: str) -> Listing | None:
        return made_up(symbol, contract_type=PERPETUAL)

    def destination(self, target: str) -> Destination | None:
        return destination(target)

    def stream_names(self, symbol: str) -> dict[str, tuple[str, str]]:
        lower = symbol.lower()
        return {f"{lower}@{name}": stream for name, stream in STREAMS.items()}

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        return answer(session, text, is_unsigned)

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return frames.payload(tick)

    def shutdown(self, now_ms: int, form: Form) -> None:
        """No announcement is documented for futures: connections end without one."""

    def rest(self, venue: Venue) -> RestSide:
        return rest(venue)

    def lacks(self, quirk: Quirk) -> bool:
        return False

    def reader(self) -> Reader:
        return BinanceReader(frames.trade_of, BOOKS)
