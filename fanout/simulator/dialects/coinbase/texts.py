"""Texts that both venues send: times, and ids of orders."""

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID

import msgspec

_MS_PER_S: Final = 1_000


def instant(time_ms: int, beyond_us: int = 0, digits: int = 6) -> str:
    """A time as in "2026-04-07T14:30:02.789012Z"."""
    second, ms = divmod(time_ms, _MS_PER_S)
    return f"{_second(second)}.{ms:03}{beyond_us:03}".ljust(20 + digits, "0") + "Z"


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def unix_us(text: str) -> int:
    """The time of a text such as those of `instant`. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return int(found.replace(microsecond=0).timestamp()) * 1_000_000 + found.microsecond


def order_id(symbol: str, trade_id: int, who: str) -> str:
    """Some UUID, always the same for a trade."""
    return str(UUID(bytes=blake2b(f"{symbol} {trade_id} {who}".encode(), digest_size=16).digest()))


@lru_cache(maxsize=8192)
def json_of(text: str) -> bytes:
    return msgspec.json.encode(text)
