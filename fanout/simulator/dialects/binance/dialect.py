"""The parts of a dialect that are the same for all markets of Binance."""

from fanout.simulator.dialects.base import DialectDefaults, Limits
from fanout.simulator.dialects.binance import frames
from fanout.simulator.dialects.binance.requests import (
    INVALID_REQUEST,
    MAX_STREAMS,
    TOO_MANY_REQUESTS,
)
from fanout.simulator.market.made_up import made_up_symbol


class BinanceDialect(DialectDefaults):
    """A dialect without its market: listing, routes, messages and REST endpoints."""

    def made_up_symbol(self, number: int) -> str:
        return made_up_symbol(number)

    def envelope(self, stream: str, payload: bytes) -> bytes:
        return frames.envelope(stream, payload)


def binance_limits(
    *, messages_per_second: int, weight_per_minute: int, ping_every_s: float, pong_within_s: float
) -> Limits:
    return Limits(
        messages_per_second=messages_per_second,
        weight_per_minute=weight_per_minute,
        ping_every_s=ping_every_s,
        pong_within_s=pong_within_s,
        streams=MAX_STREAMS,
        too_many_streams=INVALID_REQUEST,
        too_many_messages=TOO_MANY_REQUESTS,
    )
