"""The threads that write a journal. The event loop never waits for the disk.

    loop      puts what is to be written into a queue, and reads what became of it from `Track`s
    writer    takes everything that is in the queue, joins what belongs together, and writes it
    syncer    syncs what was written, each interval

Neither thread calls the loop. A track is written by the threads and read by the loop: plain
attributes, of which each is set in one step.

A segment that fails is abandoned, and everything else for it is dropped. The loop sees the failure
and asks for a new segment, from the number that the failure names. A segment that the loop asked
for before it could see the failure, and that begins behind that number, fails with it.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

import msgspec
from msgspec.structs import replace

from fanout.channel.memory import Memory
from fanout.journal.disk import Disk
from fanout.journal.memory import save
from fanout.journal.segment import Segment
from fanout.protocol.errors import reason
from fanout.protocol.journal import FileHeader, numbered

_LOG = logging.getLogger("fanout")

MAX_DURATIONS: Final = 1_000
"""Most durations that a track keeps for the loop. It takes them each second or so."""

LOOK_S: Final = 1.0
"""How often the syncer looks whether the files are still there, if it is never to sync."""


class Failure(msgspec.Struct, frozen=True):
    """A segment was abandoned."""

    serial: int
    error: Exception
    next_seq: int
    """The first number that is not known to be on the disk."""


class Track:
    """One channel's files, as the loop sees them. The threads set what is public here."""

    def __init__(self, folder: str) -> None:
        """`folder` is the channel's."""
        self.folder = folder
        self.segment: Segment | None = None
        self.serial = 0
        """Of the segment that is written, as the loop counts them; 0 before the first."""
        self.opened = 0
        """Of the last segment whose file could be made."""
        self.published = 0
        """Of the last segment whose head is on the disk."""
        self.sealed = 0
        """Of the last segment that is complete."""
        self.failure: Failure | None = None
        self.written_seq = 0
        """The last number that was written; 0 before the first."""
        self.synced_seq = 0
        self.written_bytes = 0
        self.segments = 0
        """That were published."""
        self.waiting_bytes = 0
        """Given by the loop, which counts them here, less `taken_bytes`."""
        self.taken_bytes = 0
        self.syncs = 0
        self.sync_failures = 0
        self.unsaved: Memory | None = None
        """What the loop wants to be saved for the next start, once everything up to there is
        synced."""
        self.write_ns: deque[int] = deque(maxlen=MAX_DURATIONS)
        self.sync_ns: deque[int] = deque(maxlen=MAX_DURATIONS)

    @property
    def backlog_bytes(self) -> int:
        return self.waiting_bytes - self.taken_bytes


class _Open(msgspec.Struct, frozen=True):
    track: Track
    serial: int
    header: FileHeader
    least_free_bytes: int


class _Write(msgspec.Struct, frozen=True):
    track: Track
    serial: int
    pieces: Sequence[bytes]
    size: int
    completes_head: bool


class _Seal(msgspec.Struct, frozen=True):
    track: Track
    serial: int


_Task = _Open | _Write | _Seal


class Worker:
    """Writes the tracks of a journal in threads of its own."""

    def __init__(
        self,
        disk: Disk,
        *,
        sync_s: float | None,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        chore: Callable[[], None] = lambda: None,
    ) -> None:
        """What was written is synced each `sync_s` seconds; with 0 before it counts as written,
        with None never. The syncer calls `chore` after each of its rounds."""
        self._disk = disk
        self._sync_s = sync_s
        self._clock_ns = clock_ns
        self._chore = chore
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._stopped = threading.Event()
        self._tracks: list[Track] = []
        self._threads: list[threading.Thread] = []
        self.free_bytes: int | None = None
        """What may still be written where the first channel is; None while that is not known."""

    def start(self) -> None:
        """Start the threads. They do not keep the process from ending."""
        for name, target in (("journal", self._run), ("journal-sync", self._run_syncs)):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let the writer do what is in the queue, and then let both threads end."""
        self._queue.put(None)

    @property
    def is_running(self) -> bool:
        return any(each.is_alive() for each in self._threads)

    def add(self, track: Track) -> None:
        self._tracks.append(track)

    @property
    def backlog_bytes(self) -> int:
        """How much was given and is not written yet."""
        return sum(each.backlog_bytes for each in self._tracks)

    def open(
        self, track: Track, serial: int, header: FileHeader, *, least_free_bytes: int = 0
    ) -> None:
        """Begin a segment; the one before is sealed. It fails if less is free than said."""
        self._queue.put(_Open(track, serial, header, least_free_bytes))

    def write(
        self, track: Track, serial: int, pieces: Sequence[bytes], *, completes_head: bool = False
    ) -> None:
        """Append whole frames to the segment. `completes_head` says that its head ends in them."""
        size = sum(map(len, pieces))
        track.waiting_bytes += size
        self._queue.put(_Write(track, serial, pieces, size, completes_head))

    def seal(self, track: Track, serial: int) -> None:
        """Complete the segment: nothing follows."""
        self._queue.put(_Seal(track, serial))

    def do_all(self) -> bool:
        """Do what is in the queue, which holds something or will. False at the end."""
        tasks = [self._queue.get()]
        try:
            while True:
                tasks.append(self._queue.get_nowait())
        except Empty:
            pass
        for task in _joined(tasks):
            if task is None:
                self._abandon_all()
                return False
            self._do(task)
        return True

    def sync_all(self) -> None:
        """Sync each track, and look whether its file is still there."""
        for track in self._tracks:
            try:
                if track.segment is not None:
                    self._sync(track, track.segment)
                if track.unsaved is not None:
                    self._save(track, track.unsaved)
            except Exception:  # the others are to be synced all the same
                _LOG.exception("an internal fault in the journal")
        if self._tracks:
            try:
                self.free_bytes = self._disk.free_bytes(self._tracks[0].folder)
            except OSError:
                self.free_bytes = None

    def _run(self) -> None:
        while self.do_all():
            pass
        self._stopped.set()

    def _run_syncs(self) -> None:
        while not self._stopped.wait(self._sync_s or LOOK_S):
            try:
                self.sync_all()
                self._chore()
            except Exception:
                _LOG.exception("an internal fault in the journal")

    def _do(self, task: _Task) -> None:
        track = task.track
        try:
            if isinstance(task, _Open):
                self._open(task)
            elif track.segment is not None and task.serial == track.serial:
                if track.segment.fault is not None:
                    raise track.segment.fault
                if isinstance(task, _Write):
                    self._write(track, track.segment, task)
                else:
                    self._seal(track, track.segment)
                    track.sealed = task.serial
        except OSError as error:
            self._fail(track, error)
        except Exception as error:
            _LOG.exception("an internal fault in the journal")
            self._fail(track, error)
        finally:
            if isinstance(task, _Write):
                track.taken_bytes += task.size

    def _open(self, task: _Open) -> None:
        track, header, failure = task.track, task.header, task.track.failure
        track.serial = task.serial  # it is this one that fails if the one before cannot be sealed
        if track.segment is not None:
            self._seal(track, track.segment)
        elif failure is not None and failure.next_seq < header.first_seq:
            track.failure = replace(failure, serial=task.serial)
            return
        folder = os.path.join(track.folder, numbered(header.epoch_ns))
        track.segment = Segment(self._disk, folder, header, syncs=self._sync_s is not None)
        track.segment.open(least_free_bytes=task.least_free_bytes)
        track.written_seq = header.first_seq - 1
        track.opened = task.serial

    def _write(self, track: Track, segment: Segment, task: _Write) -> None:
        begun_ns = self._clock_ns()
        segment.append(task.pieces)
        # A disk that failed may take what it cannot keep. Without a sync, each new segment would
        # end the failure for a second, and take the place of one that may have records.
        is_trial = task.completes_head and track.failure is not None and self._sync_s is not None
        syncs = self._sync_s == 0 or is_trial
        if task.completes_head:
            if syncs:
                self._sync_now(track, segment, is_head=True)
            segment.publish()
        track.write_ns.append(self._clock_ns() - begun_ns)
        if syncs:
            self._sync_now(track, segment)
        track.written_seq = segment.next_seq - 1
        track.written_bytes += task.size
        if task.completes_head:
            track.segments += 1
            track.published = task.serial

    def _seal(self, track: Track, segment: Segment) -> None:
        """On failure the track keeps the segment, which is to be abandoned."""
        self._sync_now(track, segment)
        segment.close()
        track.segment = None

    def _sync_now(self, track: Track, segment: Segment, *, is_head: bool = False) -> None:
        """Sync a segment. Raises what failed, also what failed before in the syncer's thread."""
        self._sync(track, segment, is_head=is_head)
        if segment.fault is not None:
            raise segment.fault

    def _sync(self, track: Track, segment: Segment, *, is_head: bool = False) -> None:
        """Sync a segment. A failure stays in it, for the writer to find."""
        begun_ns = self._clock_ns()
        try:
            if segment.sync(is_head=is_head):
                track.sync_ns.append(self._clock_ns() - begun_ns)
                track.syncs += 1
                track.synced_seq = segment.synced_seq - 1
        except OSError:
            track.sync_failures += 1

    def _save(self, track: Track, memory: Memory) -> None:
        """Save what the next start has to know, if the disk has come so far. After a failure it
        waits for the next time."""
        is_synced = self._sync_s is not None
        if memory.next_seq > 1 + (track.synced_seq if is_synced else track.written_seq):
            return
        folder = os.path.join(track.folder, numbered(memory.epoch_ns))
        try:
            if not save(self._disk, folder, memory, syncs=is_synced):
                return
        except OSError as error:
            _LOG.warning("journal: %s: cannot save its place: %s", folder, reason(error))
        track.unsaved = None

    def _fail(self, track: Track, error: Exception) -> None:
        segment, track.segment = track.segment, None
        assert segment is not None, "it is a segment that fails"
        next_seq = segment.abandon()
        track.written_seq = next_seq - 1
        track.failure = Failure(track.serial, error, next_seq)

    def _abandon_all(self) -> None:
        """At the end, or where the service is cancelled: what is left open is closed."""
        for track in self._tracks:
            segment, track.segment = track.segment, None
            if segment is not None:
                segment.abandon()


def _joined(tasks: Sequence[_Task | None]) -> list[_Task | None]:
    """The same, with what follows each other for one segment as one."""
    joined: list[_Task | None] = []
    for task in tasks:
        last = joined[-1] if joined else None
        if (
            isinstance(task, _Write)
            and isinstance(last, _Write)
            and last.track is task.track
            and last.serial == task.serial
            and not last.completes_head
        ):
            joined[-1] = _Write(
                task.track,
                task.serial,
                [*last.pieces, *task.pieces],
                last.size + task.size,
                task.completes_head,
            )
        else:
            joined.append(task)
    return joined
