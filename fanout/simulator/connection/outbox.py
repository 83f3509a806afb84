"""The frames that wait to be written to one subscriber's socket: bounded, and never waited for by
the market.

A live market puts frames and moves on. A subscriber whose backlog passes the bound is marked as
overflown, and its connection disconnects it, as an exchange does. A replay that must not lose
anything waits with `settled` for a small backlog before it puts more, and so never meets the bound.
"""

from collections import deque
from typing import Final

import trio

OUTBOX_BYTES: Final = 16 * 1024 * 1024
BURST_BYTES: Final = 64 * 1024  # one write; bounds what a reader finds in its socket at once


class Outbox:
    """Frames in, bursts of joined frames out. What is being written still counts as backlog."""

    def __init__(self) -> None:
        self.overflown = trio.Event()
        self._frames: deque[bytes] = deque()
        self.backlog_bytes = 0
        self._closed = False
        self._filled = trio.Event()
        self._shrunk = trio.Event()

    def put(self, frame: bytes) -> None:
        if self._closed:
            return
        self._frames.append(frame)
        self.backlog_bytes += len(frame)
        self._filled.set()
        if self.backlog_bytes > OUTBOX_BYTES:
            self.overflown.set()
            self.close()

    async def take(self) -> bytes:
        """All frames that wait, or as many as one burst holds. Follow it with `written`."""
        while not self._frames:
            self._filled = trio.Event()
            await self._filled.wait()
        burst = bytearray()
        while self._frames and len(burst) + len(self._frames[0]) <= BURST_BYTES:
            burst += self._frames.popleft()
        return bytes(burst or self._frames.popleft())

    def written(self, count: int) -> None:
        if not self._closed:
            self._shrink_to(self.backlog_bytes - count)

    async def settled(self, backlog_bytes: int) -> None:
        """Return when at most this much waits, which a closed outbox counts as."""
        while not self._closed and self.backlog_bytes > backlog_bytes:
            await self._shrunk.wait()

    def close(self) -> None:
        """Drop all frames, take no more, and release every task that waits for it to settle."""
        self._closed = True
        self._frames.clear()
        self._shrink_to(0)

    def _shrink_to(self, count: int) -> None:
        self.backlog_bytes = count
        self._shrunk.set()
        self._shrunk = trio.Event()
