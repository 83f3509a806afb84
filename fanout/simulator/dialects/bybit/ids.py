"""How Bybit spells the ids of trades: UUIDs for contracts, numbers for spot.

The market numbers trades, and the numbers of a UUID's first half are those of the market in another
order. So a trade that was recorded has a number too.
"""

from functools import lru_cache
from typing import Final
from zlib import crc32

_BITS: Final = 60
"""Of the first half of a UUID, without the version."""
_MASK: Final = (1 << _BITS) - 1
_FACTOR: Final = 0x9E3779B97F4A7C1  # odd, so that it has an inverse
_INVERSE: Final = pow(_FACTOR, -1, 1 << _BITS)
_VERSION: Final = 5


class Uuids:
    """A UUID for each trade, which its symbol and number make up."""

    def spelled(self, symbol: str, trade_id: int) -> str:
        number = self.wire_id(symbol, trade_id)
        text = f"{number:016x}"
        rest = f"{number * _FACTOR & _MASK:015x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:]}-8{rest[:3]}-{rest[3:]}"

    def wire_id(self, symbol: str, trade_id: int) -> int:
        """The first 64 bits."""
        mixed = (trade_id & _MASK) * _FACTOR + _key(symbol) & _MASK
        mixed = (mixed ^ mixed >> _BITS // 2) * _FACTOR & _MASK
        version = trade_id >> _BITS ^ _VERSION
        return mixed >> 12 << 16 | version << 12 | mixed & 0xFFF

    def number(self, symbol: str, text: str) -> int:
        """The market's number of a trade. Raises ValueError."""
        first = int(text.replace("-", "")[:16], 16)
        mixed = (first >> 16 << 12 | first & 0xFFF) * _INVERSE & _MASK
        trade_id = ((mixed ^ mixed >> _BITS // 2) - _key(symbol)) * _INVERSE & _MASK
        return trade_id | (first >> 12 & 0xF ^ _VERSION) << _BITS


class Numbers:
    def spelled(self, symbol: str, trade_id: int) -> str:
        return str(trade_id)

    def wire_id(self, symbol: str, trade_id: int) -> int:
        return trade_id

    def number(self, symbol: str, text: str) -> int:
        return int(text)


@lru_cache(maxsize=8_192)
def _key(symbol: str) -> int:
    return crc32(symbol.encode()) << 28
