"""An order book of numbers and bytes, built by code that shares nothing with the project.

Numbers are read from the venue's text. Each side is a sorted list of prices beside the bytes of its
levels, so a whole side is compared with another in a microsecond or two.
"""

import struct
import zlib
from bisect import bisect_left
from functools import cache
from typing import Any

RawRow = dict[str, Any]
"""A depth message of Binance, or its snapshot."""

LEVEL = struct.Struct("<qQ")
"""Price and quantity."""


class RawSide:
    """Prices and quantities from the best outwards, as integers."""

    def __init__(self, sign: int) -> None:
        """`sign` is -1 for bids, whose best price is the highest, and 1 for asks."""
        self.packed = bytearray()
        """The levels as price, i64, and quantity, u64, little-endian."""
        self._sign = sign
        self._keys: list[int] = []

    def put(self, price: int, quantity: int) -> None:
        """Set the quantity of a level; zero removes it."""
        keys, key = self._keys, self._sign * price
        at = bisect_left(keys, key)
        is_there = at < len(keys) and keys[at] == key
        start = at * LEVEL.size
        if quantity:
            if not is_there:
                keys.insert(at, key)
            end = start + LEVEL.size if is_there else start
            self.packed[start:end] = LEVEL.pack(price, quantity)
        elif is_there:
            del keys[at]
            del self.packed[start : start + LEVEL.size]


class RawBook:
    """A snapshot, and the rows of a depth stream after it."""

    def __init__(self, snapshot: RawRow, decimals: tuple[int, int]) -> None:
        """`decimals` of prices and of quantities. The text may have more, if they are zeros."""
        self.last_id: int = snapshot["lastUpdateId"]
        self.bids, self.asks = RawSide(-1), RawSide(1)
        self._decimals = decimals
        self._set(snapshot["bids"], snapshot["asks"])

    def change(self, row: RawRow) -> None:
        self.last_id = row["u"]
        self._set(row["b"], row["a"])

    def snapshot(self) -> RawRow:
        """All levels, as a venue shows them."""
        bids, asks = (
            [
                [shown(each, places) for each, places in zip(level, self._decimals, strict=True)]
                for level in LEVEL.iter_unpack(side.packed)
            ]
            for side in (self.bids, self.asks)
        )
        return {"lastUpdateId": self.last_id, "bids": bids, "asks": asks}

    def _set(self, *sides: list[list[str]]) -> None:
        price_decimals, quantity_decimals = self._decimals
        for side, levels in zip((self.bids, self.asks), sides, strict=True):
            for price, quantity in levels:
                side.put(whole(price, price_decimals), whole(quantity, quantity_decimals))


def digest_of(bids: bytes | bytearray, asks: bytes | bytearray) -> int:
    """What `OrderBook.digest` is defined as, of the packed levels of both sides."""
    counts = struct.pack("<II", len(bids) // LEVEL.size, len(asks) // LEVEL.size)
    return zlib.crc32(asks, zlib.crc32(bids, zlib.crc32(counts)))


@cache
def whole(text: str, decimals: int) -> int:
    """The integer that a decimal is at so many decimals."""
    before, _, after = text.partition(".")
    assert set(after[decimals:]) <= {"0"}
    return int(before + after[:decimals].ljust(decimals, "0"))


def shown(value: int, decimals: int) -> str:
    """The decimal of an integer at so many decimals."""
    return f"{value // 10**decimals}.{value % 10**decimals:0{decimals}}"
