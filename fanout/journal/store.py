"""A journal's directory, while a service has it.

    DIR/lock                  held by the service that writes there; its text is the pid
    DIR/CHANNEL/...           see `fanout.protocol.journal_folder`

`open_journal` takes the lock, brings the directory in order and gives a `Journal`. One service
writes in a directory: a second one is refused. Everything that touches the disk runs in threads.
"""

import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from errno import ENOTDIR
from functools import partial
from os.path import join
from typing import Final, TypeVar

import trio

from fanout.channel.memory import Memory
from fanout.errors import BindError, ConfigError
from fanout.journal.disk import NO_ROOM, Disk, RealDisk
from fanout.journal.files import write_all
from fanout.journal.memory import remember_all
from fanout.journal.reading import READERS, JournalPast
from fanout.journal.recovery import recover
from fanout.journal.retention import Limits, Retention
from fanout.protocol.errors import FanoutError, reason
from fanout.protocol.journal import LOCK
from fanout.protocol.journal_folder import ChannelFolder

_LOG = logging.getLogger("fanout")

PATIENCE_S: Final = 1.0
"""After so long without an end, the log says that the journal is looked through."""

MAX_PID_BYTES: Final = 20
"""How much of a lock file is read."""

LOCK_TRIES: Final = 10
LOCK_PAUSE_S: Final = 0.02
"""How often a lock is tried, and how long after. `fanout check` and `fanout journal` share it for a
moment, to see whether a service has it."""

T = TypeVar("T")

TIDY_S: Final = 60.0
"""How often old segments are looked for."""


_Found = tuple[dict[str, int], dict[str, Memory]]
"""The newest epoch of each channel, and what is known of its trades."""


class Journal:
    """A journal's directory that is ours. Made by `open_journal`."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        lock: int,
        retention: Retention,
        newest: dict[str, int],
        memories: dict[str, Memory],
        wall_ns: Callable[[], int],
    ) -> None:
        """`lock` is the descriptor of the lock. `newest` has the newest epoch of each channel from
        before this start, and `memories` what is known of its trades."""
        self.directory = directory
        self.lock = lock
        self._disk = disk
        self._retention = retention
        self._newest = newest
        self._memories = memories
        self._wall_ns = wall_ns
        self._limiter = trio.CapacityLimiter(READERS)
        self._tidied_s = time.monotonic()
        self._failure = ""
        self._lock_failure = ""
        self._turn = threading.Lock()
        """Of threads that use the lock's descriptor: its number may be another file's once it is
        closed."""
        self._is_released = False

    def past_of(self, channel: str) -> JournalPast:
        """What is kept of a channel. See `channel.past.PastOf`. Raises `ConfigError` for a channel
        whose folder would have the lock's name."""
        if channel == LOCK:
            raise ConfigError(f"a journal keeps no channel named {channel!r}: give it another name")
        folder = ChannelFolder(self._disk, join(self.directory, channel))
        memory = self._memories.pop(channel, None)
        return JournalPast(folder, self._newest.get(channel, 0), self._limiter, memory)

    def tidy(self, *, now: bool = False) -> None:
        """Remove segments that are too old or too many, if it is time for that, or `now`. For the
        thread that syncs, which calls it after each round and says `now` after a rotation. Raises
        nothing: what cannot be removed is logged, and tried again. The lock is looked after each
        time. Does nothing once the directory is released: a slow disk may hold up that thread for
        longer than the service waits for it."""
        with self._turn:
            if self._is_released:
                return
            self._keep_lock()
        now_s = time.monotonic()
        if not now and now_s < self._tidied_s + TIDY_S:
            return
        self._tidied_s = now_s
        try:
            _prune(self._retention, self._wall_ns(), doubts_clock=True)
        except OSError as error:
            if self._failure != reason(error):
                self._failure = reason(error)
                where = error.filename or self.directory
                _LOG.warning("journal: cannot remove old segments: %s: %s", where, self._failure)
            return
        self._failure = ""

    def release(self) -> None:
        """Let another service have the directory. May block."""
        with self._turn:
            self._is_released = True
            _release(self._disk, self.lock)

    def _keep_lock(self) -> None:
        """Take the lock again if its file was removed, as with the whole directory. Without it a
        second service would find the directory free."""
        try:
            if self._disk.is_at(self.lock, join(self.directory, LOCK)):
                return
            lock = take_lock(self._disk, self.directory)
        except (OSError, BindError) as error:
            if self._lock_failure != reason(error):
                self._lock_failure = reason(error)
                _LOG.error("journal: its lock is gone: %s", self._lock_failure)
            return
        self._lock_failure = ""
        self._disk.close(self.lock)
        self.lock = lock


@asynccontextmanager
async def open_journal(
    directory: str,
    *,
    limits: Limits | None = None,
    disk: Disk | None = None,
    wall_ns: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Journal]:
    """Have a journal's directory, made if it is missing, locked and in order.

    Raises `BindError` if another service has it, or it cannot be used, and `ConfigError` if its
    files are of a later version.
    """
    disk = disk or RealDisk()
    lock = await _in_thread(take_lock, disk, directory)
    release: Callable[[], None] = partial(_release, disk, lock)
    try:
        retention = Retention(disk, directory, limits or Limits())
        newest, memories = await _recovered(
            partial(_recover, make_room=lambda: _prune(retention, wall_ns())), disk, directory
        )
        journal = Journal(disk, directory, lock, retention, newest, memories, wall_ns)
        release = journal.release
        await trio.to_thread.run_sync(lambda: journal.tidy(now=True))
        yield journal
    finally:
        with trio.move_on_after(PATIENCE_S, shield=True):
            await trio.to_thread.run_sync(release, abandon_on_cancel=True)


async def _recovered(
    recover_all: Callable[[Disk, str], _Found], disk: Disk, directory: str
) -> _Found:
    """Bring the journal in order, and look at its end. Says so if that takes long."""
    found: _Found = ({}, {})
    failure: FanoutError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_say_after_a_while, directory)
        try:
            found = await _in_thread(recover_all, disk, directory)
        except FanoutError as error:
            failure = error  # raised as it is, not in the nursery's group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return found


def _recover(disk: Disk, directory: str, *, make_room: Callable[[], bool]) -> _Found:
    """Recover each channel. On a disk that is full, once more if room can be made."""
    try:
        newest = recover(disk, directory)
    except OSError as error:
        if error.errno not in NO_ROOM or not make_room():
            raise
        newest = recover(disk, directory)
    return newest, remember_all(disk, directory, newest)


def _prune(retention: Retention, now_ns: int, *, doubts_clock: bool = False) -> bool:
    """Remove what is too old or too much. Whether there was anything. Raises `OSError`."""
    removed = retention.prune(now_ns, doubts_clock=doubts_clock)
    if removed:
        size = sum(each.size_bytes for each in removed)
        _LOG.info("journal: removed %d old segments, %s bytes", len(removed), f"{size:,}")
    return bool(removed)


async def _say_after_a_while(directory: str) -> None:
    await trio.sleep(PATIENCE_S)
    _LOG.info("journal %s: looking through the last segments", directory)


async def _in_thread(work: Callable[[Disk, str], T], disk: Disk, directory: str) -> T:
    """Do something with the directory. It is done to its end, also if the task is cancelled."""
    try:
        return await trio.to_thread.run_sync(work, disk, directory)
    except OSError as error:
        where = error.filename or directory
        raise BindError(f"cannot keep a journal in {where}: {reason(error)}") from error


def take_lock(disk: Disk, directory: str) -> int:
    """Lock a journal's directory, which is made if it is missing. The lock ends with the
    descriptor that is returned. Raises `OSError`, and `BindError` if another process has it."""
    try:
        disk.make_folder(directory)
    except FileExistsError:
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), directory) from None
    path = join(directory, LOCK)
    try:
        lock = disk.open(path)
    except FileNotFoundError:
        with suppress(FileExistsError):  # made by another process meanwhile
            disk.close(disk.open(path, make=True))
        lock = disk.open(path)
    try:
        if not _has_locked(disk, lock):
            raise BindError(
                f"journal {directory} belongs to {_holder(disk, lock)}, which is running: stop it, "
                "or give another --dir"
            )
        with suppress(OSError):  # a disk that is full has room for no pid, and the lock counts
            disk.truncate(lock, 0)
            write_all(disk, lock, 0, [str(os.getpid()).encode()])
    except BaseException:
        disk.close(lock)
        raise
    return lock


def lock_holder(disk: Disk, directory: str) -> str | None:
    """Which process has a journal's directory, in words; None if it is free. Raises `OSError`."""
    try:
        lock = disk.open(join(directory, LOCK))
    except FileNotFoundError:
        return None
    try:
        return None if disk.share(lock) else _holder(disk, lock)
    finally:
        disk.close(lock)


def _has_locked(disk: Disk, lock: int) -> bool:
    for _ in range(LOCK_TRIES):
        if disk.lock(lock):
            return True
        time.sleep(LOCK_PAUSE_S)
    return False


def _release(disk: Disk, lock: int) -> None:
    with suppress(OSError):
        disk.truncate(lock, 0)  # the pid may be that of another process soon
    disk.close(lock)


def _holder(disk: Disk, lock: int) -> str:
    """Who has the lock, in words. A service that was killed leaves its pid."""
    pid = disk.read(lock, 0, MAX_PID_BYTES)
    is_running = pid.isdigit() and os.path.exists(f"/proc/{int(pid)}")
    return f"process {int(pid)}" if is_running else "another process"
