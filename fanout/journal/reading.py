"""Old frames for the readers of a running service, out of its journal.

    JournalPast        finds the place that a reader asks for
    JournalPassage     gives the frames from there on, a piece at a time

Finding and reading run in threads, a few at a time for all readers together: a hundred that replay
a day wait for each other, and those that read live for none of them. A reader asks for a piece when
it has sent the one before, so it goes at its own pace. All readers of a channel share what was read
of its indexes, and what was decompressed of its segments: see `Seen` and `Unpacked`.
"""

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Final, TypeVar

import trio

from fanout.channel.memory import Memory
from fanout.protocol.journal_folder import ChannelFolder
from fanout.protocol.journal_play import Playback, Seen
from fanout.protocol.request import Begin, Position, Start

READERS: Final = 2
"""How many readers of a journal have a thread at a time. One is as quick as four while the files
are in memory, and delays live readers less. A second one goes on while a disk is waited for."""

PIECE_BYTES: Final = 256 * 1024
"""How large a piece is, about."""

CLOSE_S: Final = 1.0
"""How long closing waits for a disk that does not answer."""

T = TypeVar("T")


class JournalPast:
    """What is kept of a channel. See `channel.past.Past`."""

    def __init__(
        self,
        folder: ChannelFolder,
        newest_epoch_ns: int,
        limiter: trio.CapacityLimiter,
        memory: Memory | None = None,
    ) -> None:
        self.newest_epoch_ns = newest_epoch_ns
        self.memory = memory
        self._folder = folder
        self._limiter = limiter
        self._seen = Seen()

    async def find(self, begin: Begin, *, epoch_ns: int) -> "JournalPassage | None":
        """See `Past.find`."""
        passage = JournalPassage(Playback(self._folder, self._seen), self._limiter)
        try:
            is_kept = await passage.begin(partial(self._begin, begin=begin, epoch_ns=epoch_ns))
        except BaseException:
            await passage.aclose()
            raise
        if not is_kept:
            await passage.aclose()
            return None
        return passage

    def _begin(self, playback: Playback, begin: Begin, epoch_ns: int) -> bool:
        if begin is Start.LIVE:
            return False
        if begin is Start.OLDEST:
            kept = self._folder.segments(epoch_ns)
            if not kept:
                return False
            begin = Position(epoch_ns=epoch_ns, seq=kept[0])
        return playback.begin(begin)


class JournalPassage:
    """Old frames of one epoch. See `channel.past.Passage`."""

    def __init__(self, playback: Playback, limiter: trio.CapacityLimiter) -> None:
        """The playback has not begun yet: see `begin`."""
        self.epoch_ns = 0
        self.next_seq = 1
        self.greeting = b""
        self._playback = playback
        self._limiter = limiter
        self._in_use = Lock()
        """Held by the thread that reads or closes: a thread may outlive the task that began it."""

    async def begin(self, begin: Callable[[Playback], bool]) -> bool:
        """Let the playback begin. False if it did not, because nothing is kept there."""
        is_kept = await self._call(begin)
        playback = self._playback
        self.epoch_ns, self.next_seq = playback.epoch_ns, playback.next_seq
        self.greeting = playback.greeting
        return is_kept

    async def read(self) -> bytes:
        """See `Passage.read`. After a cancellation the passage can only be closed."""
        data = await self._call(lambda playback: playback.read(PIECE_BYTES))
        self.next_seq = self._playback.next_seq
        return data

    async def aclose(self) -> None:
        with trio.move_on_after(CLOSE_S, shield=True):
            await trio.to_thread.run_sync(self._close, abandon_on_cancel=True)

    async def _call(self, work: Callable[[Playback], T]) -> T:
        """Do something with the playback in a thread. A cancellation leaves the thread to itself:
        the disk may hang."""

        def locked() -> T:
            with self._in_use:
                return work(self._playback)

        return await trio.to_thread.run_sync(locked, limiter=self._limiter, abandon_on_cancel=True)

    def _close(self) -> None:
        with self._in_use:
            self._playback.close()
