"""The parts of a dialect that Coinbase's two venues share."""

from abc import ABC
from typing import ClassVar, Final

from fanout.simulator.connection.http import JSON, phrase
from fanout.simulator.dialects.base import (
    Ability,
    Aggregation,
    Close,
    Destination,
    DialectDefaults,
    Limits,
)
from fanout.simulator.dialects.coinbase.table import (
    INTERVAL_MS,
    TABLE,
    made_up,
    made_up_symbol,
)
from fanout.simulator.dialects.rest import Words, encode, proxy_page
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.ticks import MARKET, TRADE, BookRules, Kinds, depth_kind

SUBSCRIBE_WITHIN_S: Final = 5.0
"""Documented. Without a request in this time the venue closes the connection."""

REST_PER_S: Final = 10
MESSAGES_PER_S: Final = 8
MAX_STREAMS: Final = 10_000
"""No document has a limit of the products of a connection."""

_MESSAGES: Final = {
    404: "NotFound",
    429: "Public rate limit exceeded",
    500: "Internal server error",
    503: "Service unavailable",
}


class CoinbaseDialect(DialectDefaults):
    """A dialect without its messages and REST endpoints."""

    trades: ClassVar[str]
    """The channel of trades."""
    book: ClassVar[str]
    """The channel of books."""
    limits = Limits(
        messages_per_second=MESSAGES_PER_S,
        weight_per_minute=REST_PER_S,
        ping_every_s=30.0,  # no document mentions pings of the venue
        pong_within_s=60.0,
        streams=MAX_STREAMS,
        too_many_streams=Close(1008, "too many subscriptions"),
        too_many_messages=Close(1008, "rate limit exceeded"),
        first_request_s=SUBSCRIBE_WITHIN_S,
        window_ms=1_000,
        ban_status=None,
    )
    kinds = Kinds((MARKET,), (1.0,), is_open=False)
    aggregation = Aggregation(interval_ms=1, sent_after_ms=1)
    """No stream has aggregates."""
    book_rules = BookRules(is_contiguous=True, intervals_ms=(INTERVAL_MS,), has_ids=False)
    table = TABLE
    abilities: frozenset[Ability] = frozenset({"resnapshot", "refuse request"})

    def made_up(self, symbol: str) -> Listing | None:
        return made_up(symbol)

    def made_up_symbol(self, number: int) -> str:
        return made_up_symbol(number)

    def destination(self, target: str) -> Destination | None:
        return Destination("") if target.partition("?")[0] in ("", "/") else None

    def stream_names(self, symbol: str) -> dict[str, tuple[str, str]]:
        return {
            f"{self.trades}:{symbol}": (TRADE, ""),
            f"{self.book}:{symbol}": (depth_kind(INTERVAL_MS), ""),
        }

    def lacks(self, quirk: Quirk) -> bool:
        return quirk == "null-type"


class CoinbaseWords(Words, ABC):
    """Errors that have nothing to do with the request. A 403 comes from the firewall."""

    def error(self, status: int, *, weight_limit: int, banned_until_ms: int) -> tuple[bytes, str]:
        if status == 403:
            return proxy_page(status)
        return encode({"message": _MESSAGES.get(status, phrase(status))}), JSON
