"""What a way of encoding trades is, to the stage `codec`."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from fanout.protocol import Block, Instrument, Trade, TradeKind

BTCUSDT: Final = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)
INSTRUMENTS: Final = (BTCUSDT,)
KINDS: Final = tuple(TradeKind(code) for code in range(256))

Values = tuple[int, ...]
"""Of one trade: instrument's index, id, time, price, quantity, whether the buyer is the maker,
kind, sequence number, time of reception."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """Blocks to bytes and back. Only `encode` and `decode` are timed."""

    name: str
    encode: Callable[..., bytes]
    decode: Callable[..., Any]
    beside: tuple[object, ...] = ()
    """What both are given too."""
    given: Callable[[Block], Any] = lambda block: block
    """A block as `encode` takes it."""
    values: Callable[[Any], list[Values]]
    """Of all trades in what `decode` gives."""
    kept: Callable[[Values], Values] = lambda values: values
    """What of a trade's values there is room for."""
    shows: tuple[str, ...] = ("encode", "decode")
    """What of the two is reported."""
    compared: bool = True
    """Whether it does what we do, and should be slower."""
    at_most_ns: float | None = None


def values_of(trades: Iterable[Trade]) -> list[Values]:
    return [
        (
            each.instrument.index,
            each.trade_id,
            each.time,
            each.price,
            each.quantity,
            each.buyer_is_maker,
            each.kind,
            each.seq,
            each.received_ns,
        )
        for each in trades
    ]
