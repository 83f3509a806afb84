"""Limits: REST weight in a window for an address, messages per second for a connection.

A window begins at a multiple of its length in unix time: a window of a minute is a UTC minute.

Documented at Binance: over the limit is a 429, "repeatedly violating rate limits and/or failing to
back off after receiving 429s will result in an automated IP ban (HTTP status 418)", and bans scale
from two minutes to three days. How many 429s are too many is not documented. Other venues have
other windows and statuses, and most of them have no bans.
"""

from collections import deque
from typing import Final

import msgspec

MS_PER_MINUTE: Final = 60_000
FIRST_BAN_MS: Final = 2 * MS_PER_MINUTE
LONGEST_BAN_MS: Final = 3 * 24 * 60 * MS_PER_MINUTE

WINDOW_S: Final = 1.0


class Spent(msgspec.Struct, frozen=True):
    """The weight of this window so far, and whether the request is refused for it."""

    used: int
    is_over: bool = False
    banned_until_ms: int | None = None

    @property
    def is_refused(self) -> bool:
        return self.is_over or self.banned_until_ms is not None


class RateLimit:
    """The REST limit of one address. On loopback all clients share one address.

    Requests over the limit get `over_status`. More than `tolerated_429s` of them in a window are a
    ban, during which all requests get `ban_status`; with None there are no bans.
    """

    def __init__(
        self,
        *,
        weight_limit: int,
        tolerated_429s: int,
        window_ms: int = MS_PER_MINUTE,
        over_status: int = 429,
        ban_status: int | None = 418,
    ) -> None:
        self.weight_limit = weight_limit
        self._window_ms = window_ms
        self._over_status, self._ban_status = over_status, ban_status
        self._tolerated_429s = tolerated_429s
        self._window = 0
        self._used = 0
        self._violations = 0
        self._banned_until_ms: int | None = None
        self._next_ban_ms = FIRST_BAN_MS

    def spend(self, weight: int, now_ms: int) -> Spent:
        window = now_ms // self._window_ms
        if window != self._window:
            self._window, self._used, self._violations = window, 0, 0
        self._used += weight
        if self._banned_until_ms is not None and now_ms < self._banned_until_ms:
            return Spent(self._used, banned_until_ms=self._banned_until_ms)
        if self._used <= self.weight_limit:
            return Spent(self._used)
        self._violations += 1
        if self._ban_status is None or self._violations <= self._tolerated_429s:
            return Spent(self._used, is_over=True)
        self._banned_until_ms = now_ms + self._next_ban_ms
        self._next_ban_ms = min(2 * self._next_ban_ms, LONGEST_BAN_MS)
        return Spent(self._used, banned_until_ms=self._banned_until_ms)

    def status(self, spent: Spent) -> int:
        """The status of a request that is refused."""
        if spent.banned_until_ms is None or self._ban_status is None:
            return self._over_status
        return self._ban_status

    def wait_s(self, spent: Spent, now_ms: int) -> int:
        """Whole seconds until a refused client may ask again."""
        until_ms = spent.banned_until_ms
        if until_ms is None:
            until_ms = now_ms - now_ms % self._window_ms + self._window_ms
        return -((now_ms - until_ms) // 1000)


class Rate:
    """At most `count` in any `window_s`: messages of a connection, or connections of an address.
    One that is not allowed does not count."""

    def __init__(self, count: int, window_s: float = WINDOW_S) -> None:
        self._times_s: deque[float] = deque(maxlen=count)
        self._window_s = window_s

    def allows(self, now_s: float) -> bool:
        times_s = self._times_s
        if len(times_s) == times_s.maxlen and now_s - times_s[0] < self._window_s:
            return False
        times_s.append(now_s)
        return True
