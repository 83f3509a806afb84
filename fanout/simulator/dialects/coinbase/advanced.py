"""Advanced Trade, from its documentation and from live messages of 2026.

Subscribe within five seconds, one channel a request. All messages of a connection are numbered.
Trades are collected for 250 ms. Past trades and the whole book follow a subscription. BTC-USDC is
another name of BTC-USD, whose messages say BTC-USD.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from fanout.simulator.dialects.base import (
    CALM,
    Ability,
    Answer,
    Batching,
    Market,
    Mood,
    Pulse,
    RestSide,
    Session,
    Venue,
)
from fanout.simulator.dialects.coinbase import advanced_frames as frames
from fanout.simulator.dialects.coinbase.advanced_recordings import AdvancedReader
from fanout.simulator.dialects.coinbase.advanced_rest import WORDS, rest
from fanout.simulator.dialects.coinbase.dialect import CoinbaseDialect
from fanout.simulator.dialects.coinbase.requests import (
    Asked,
    RefusedError,
    answer,
    products_of,
)
from fanout.simulator.dialects.coinbase.table import ALIASES, UNTRADED, alias_of
from fanout.simulator.market.reader import Reader
from fanout.simulator.market.ticks import TRADE, Tick

HEARTBEATS: Final = frames.HEARTBEATS
HEARTBEAT_S: Final = 1.0
QUIET: Final = "quiet"
QUIET_S: Final = 60.0
CLOSED_AFTER_S: Final = 30.0
"""The venue closes quiet channels after 60 to 90 seconds, and heartbeats keep them open. Here it
closes every connection without them that sends no request."""
PAST_TRADES: Final = 50
MOST_TRADES: Final = 100
"""Of a snapshot, and of a message. Both are assumed."""
CHANNELS: Final = (HEARTBEATS, "market_trades", "level2", "ticker", "ticker_batch", "candles")


class CoinbaseAdvanced(CoinbaseDialect):
    name: Final = "coinbase-advanced"
    title: Final = "Coinbase Advanced Trade"
    rest_root: Final = "/api/v3/brokerage"
    words = WORDS
    trades = "market_trades"
    book = "level2"
    untraded = (*UNTRADED, *ALIASES)
    is_personal = True
    abilities: frozenset[Ability] = CoinbaseDialect.abilities | {"lose"}
    batching: Batching | None = Batching(interval_ms=250, most=MOST_TRADES)

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        listed = partial(frames.listed, now_ms=now_ms)
        return answer(session, text, mood, self.trades, _asked, listed, frames.error)

    def greeting(self, name: str, stream: str, market: Market, session: Session) -> list[bytes]:
        symbol, _, kind = stream.partition("@")
        if kind == TRADE:
            past = market.newest(symbol, PAST_TRADES)
            return [frames.trades("snapshot", past, past[-1].event_ms)] if past else []
        whole = market.whole(stream)
        return [] if whole is None else [frames.snapshot(symbol, whole)]

    def pulses(self, session: Session) -> tuple[Pulse, ...]:
        if HEARTBEATS in session.streams:
            return (Pulse(HEARTBEATS, HEARTBEAT_S),)
        return (Pulse(QUIET, QUIET_S, answer_s=CLOSED_AFTER_S),) if session.streams else ()

    def pulse(self, name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
        return [frames.heartbeat(now_ms)] if name == HEARTBEATS else []

    def personal(
        self, message: bytes, name: str | None, session: Session, count: int
    ) -> tuple[bytes, int]:
        return frames.personal(message, count)

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return frames.payload(tick)

    def rest(self, venue: Venue) -> RestSide:
        return rest(venue)

    def reader(self) -> Reader:
        return AdvancedReader()


def _asked(request: dict[str, Any]) -> Sequence[Asked]:
    channel = request.get("channel")
    if channel not in CHANNELS:
        raise RefusedError(f"channel {channel} is not valid")  # our words
    if channel == HEARTBEATS:
        return [(channel, ())]
    products = products_of(request.get("product_ids", []))
    if not products and request["type"] == "subscribe":
        raise RefusedError("product_ids is required")  # our words
    return [(channel, [alias_of(product) or product for product in products])]
