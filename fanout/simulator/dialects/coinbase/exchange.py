"""The Exchange feed, from its documentation and from a recording of 2021.

Subscribe within five seconds. The newest trade and the whole book follow a subscription. Heartbeats
repeat the newest trade's id each second. Changes of books have no number.
"""

from collections.abc import Sequence
from typing import Any, Final

from fanout.simulator.dialects.base import (
    CALM,
    Answer,
    Market,
    Mood,
    Pulse,
    RestSide,
    Session,
    Venue,
)
from fanout.simulator.dialects.coinbase import exchange_frames as frames
from fanout.simulator.dialects.coinbase.dialect import CoinbaseDialect
from fanout.simulator.dialects.coinbase.exchange_rest import WORDS, rest
from fanout.simulator.dialects.coinbase.recordings import ExchangeReader
from fanout.simulator.dialects.coinbase.requests import (
    Asked,
    RefusedError,
    answer,
    by_channel,
    products_of,
)
from fanout.simulator.dialects.coinbase.table import UNTRADED
from fanout.simulator.market.reader import Reader
from fanout.simulator.market.ticks import TRADE, Tick

HEARTBEAT: Final = "heartbeat"
HEARTBEAT_S: Final = 1.0
CHANNELS: Final = ("matches", HEARTBEAT, frames.BOOK, "ticker", "ticker_batch", "status")
NEED_ACCESS: Final = ("full", "user", "level2", "level3")


class CoinbaseExchange(CoinbaseDialect):
    name: Final = "coinbase"
    title: Final = "Coinbase Exchange"
    rest_root: Final = "/"
    words = WORDS
    trades = "matches"
    book = frames.BOOK
    untraded = UNTRADED

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        return answer(session, text, mood, self.trades, _asked, frames.listed, frames.error)

    def greeting(self, name: str, stream: str, market: Market, session: Session) -> list[bytes]:
        symbol, _, kind = stream.partition("@")
        if kind == TRADE:
            return [frames.match(each, b"last_match") for each in market.newest(symbol, 1)]
        whole = market.whole(stream)
        return [] if whole is None else [frames.snapshot(symbol, whole)]

    def pulses(self, session: Session) -> tuple[Pulse, ...]:
        has_beats = HEARTBEAT in by_channel(session.streams)
        return (Pulse(HEARTBEAT, HEARTBEAT_S),) if has_beats else ()

    def pulse(self, name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
        return [
            frames.heartbeat(symbol, next(iter(market.newest(symbol, 1)), None), now_ms)
            for symbol in by_channel(session.streams).get(HEARTBEAT, ())
        ]

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return frames.payload(tick)

    def rest(self, venue: Venue) -> RestSide:
        return rest(venue)

    def reader(self) -> Reader:
        return ExchangeReader()


def _asked(request: dict[str, Any]) -> Sequence[Asked]:
    """Channels are names, or objects with a name and products of their own."""
    common = products_of(request.get("product_ids", []))
    channels = request.get("channels")
    if not isinstance(channels, list) or not channels:
        raise RefusedError("No channels provided")
    found: list[Asked] = []
    for each in channels:
        own = each if isinstance(each, dict) else {"name": each}
        name = str(own.get("name"))
        products = list(dict.fromkeys((*common, *products_of(own.get("product_ids", [])))))
        _check(name, products, is_new=request["type"] == "subscribe")
        found.append((name, products))
    return found


def _check(name: str, products: Sequence[str], *, is_new: bool) -> None:
    if name in NEED_ACCESS:
        raise RefusedError("level2, level3, and full channels now require authentication")
    if name not in CHANNELS:
        raise RefusedError(f"{name} is not a valid channel")  # our words
    if is_new and not products and name != "status":
        raise RefusedError(f"You need to specify at least one product ID for channel {name}")
