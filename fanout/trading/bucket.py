"""A token bucket in integers: so many a second, so many at once."""

from __future__ import annotations

from typing import Final

_TOKEN: Final = 1_000_000_000
"""One token, in parts: at a rate of n a second, n parts come in each nanosecond."""


class TokenBucket:
    """A bucket that is full at first. Times are unix ns, and may not go back: what does is taken
    for no time."""

    __slots__ = ("_capacity", "_level", "_rate", "_time_ns")

    def __init__(self, rate: int, burst: int) -> None:
        self._rate = rate
        self._capacity = self._level = burst * _TOKEN
        self._time_ns: int | None = None

    def has_token(self, now_ns: int) -> bool:
        """Whether a token is there."""
        if self._time_ns is None:
            self._time_ns = now_ns
        elapsed = now_ns - self._time_ns
        if elapsed > 0:
            self._time_ns = now_ns
            self._level = min(self._capacity, self._level + elapsed * self._rate)
        return self._level >= _TOKEN

    @property
    def used(self) -> int:
        """How many tokens were missing at the newest time that was asked about."""
        return (self._capacity - self._level) // _TOKEN

    def take(self, now_ns: int) -> bool:
        """Take a token. Returns whether there was one."""
        if not self.has_token(now_ns):
            return False
        self._level -= _TOKEN
        return True

    def ready_ns(self, now_ns: int) -> int | None:
        """When the next token is there; None for a bucket that never has one."""
        if self._capacity < _TOKEN or not self._rate:
            return None
        missing = 0 if self.has_token(now_ns) else _TOKEN - self._level
        return now_ns - (-missing // self._rate)
