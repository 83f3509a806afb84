"""A bounded queue of frames for one subscriber's socket. The market never waits for it.

A live market puts frames and moves on. A subscriber whose backlog exceeds the limit is marked as
overflown and disconnected, as at an exchange. A replay that must not lose anything waits in
`settled` for a small backlog before each burst, and so never reaches the limit.
"""

from collections import deque
from typing import Final

import trio

OUTBOX_BYTES: Final = 16 * 1024 * 1024
BURST_BYTES: Final = 64 * 1024  # most bytes of one write


class Outbox:
    """Frames in, bursts of joined frames out. A burst is backlog until it is written."""

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
        """Wait for frames, and take as many as one burst holds. Call `written` after it."""
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
        """Wait until the backlog is at most this large, or the outbox is closed."""
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
