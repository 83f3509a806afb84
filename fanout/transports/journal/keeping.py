"""One channel of the journal: its place in the log, and the segments that it asks for."""

import logging
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from fanout.channel.channel import Channel, framed
from fanout.channel.reader import Reader
from fanout.journal.memory import SAVE_EVERY_BYTES
from fanout.journal.recorder import Recorder, State
from fanout.journal.worker import Failure, Track, Worker
from fanout.protocol.constants import START
from fanout.protocol.framing import frame
from fanout.protocol.request import Position, Request
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import JournalStats

_LOG = logging.getLogger("fanout")

MAX_TAKEN_BYTES: Final = 1024 * 1024
"""Most that is taken from a log at once."""

HEARTBEAT_S: Final = 1.0
"""How often a HEARTBEAT is written. It is the time mark of a segment."""


class Keeping:
    """Reads a channel, and gives what it reads to the worker.

    A segment begins as a reader does that joins: where the log ends, with snapshots and whole
    books. After a failure a segment begins where the disk is behind, as for a reader that comes
    back: with LOSS for what the log no longer has, and with whole books, but without old trades.
    """

    def __init__(
        self,
        channel: Channel,
        track: Track,
        worker: Worker,
        *,
        segment_bytes: int,
        wall_ns: Callable[[], int],
    ) -> None:
        epoch_ns = channel.header.epoch_ns
        self.channel = channel
        self.track = track
        self.recorder = Recorder(epoch_ns=epoch_ns, segment_bytes=segment_bytes)
        self._worker = worker
        self._wall_ns = wall_ns
        self._reader: Reader | None = None
        """None from a failure until a new file could be made."""
        self._head: list[bytes] = []
        """How the segment begins, until that is given to the worker."""
        self._is_head_given = False
        self._due_seq = channel.log.next_seq
        """Where the next segment begins after a failure."""
        self._lost = 0
        """Numbers in the LOSS frames of readers before this one."""
        self._unsaved_bytes = 0
        """How much was given since the channel's memory was. A new segment counts as much."""
        self.next_beat_s = 0.0
        """When the next HEARTBEAT is due."""
        self.is_over = False
        """Whether END was given to the worker."""
        self._writes = Histogram()
        self._syncs = Histogram()

    @property
    def has_ended(self) -> bool:
        """Whether END is on the disk."""
        return self.recorder.state is State.ENDED

    @property
    def has_more(self) -> bool:
        """Whether there is something to take."""
        reader = self._reader
        return reader is not None and not (reader.has_everything and reader.is_shareable)

    @property
    def waiting(self) -> int:
        """How many numbers are not on the disk while it fails."""
        return self.channel.log.next_seq - self._due_seq if self.recorder.why else 0

    def begin(self) -> None:
        """Begin a segment where the log ends."""
        self._open(self.channel.log.next_seq)
        self._begin_live()

    def look(self, now_s: float) -> None:
        """Take what the threads report. Where a segment failed, try a new one in time."""
        track, recorder = self.track, self.recorder
        self._count()
        sealed = track.sealed  # first: the threads may go on, and have set the others before
        failure, state = track.failure, recorder.state
        if failure is not None and recorder.failed(failure.serial, failure.error, now_s=now_s):
            self._give_up(failure)
            if state is State.WRITING:
                _LOG.error(
                    "the journal of %s stops at number %d: %s; trying again each second",
                    self.channel.name,
                    failure.next_seq,
                    recorder.why,
                )
        if recorder.headed(track.published):
            _LOG.warning("the journal of %s goes on", self.channel.name)
        recorder.complete(sealed)
        if recorder.is_broken:
            if now_s >= recorder.retry_s:
                self._open(self._due_seq)
        elif self._reader is None and track.opened == recorder.serial:
            self._resume()

    def take(self, now_s: float) -> int:
        """Take some of what is new, and give it to the worker. Returns how many bytes it was. Of
        whole books it is one step, so that other tasks get their turn."""
        if self._reader is None or self.is_over:
            return 0
        if self._is_long_enough():
            self._lost += self._reader.lost
            self.begin()
        reader, pieces = self._reader, self._head
        self._head = []
        size = sum(map(len, pieces))
        while size < MAX_TAKEN_BYTES and self.has_more:
            is_with_others = reader.is_shareable
            piece = reader.next_piece()
            pieces.append(piece)
            size += len(piece)
            if not is_with_others:
                break
        if not self.has_more and now_s >= self.next_beat_s and not reader.log.closed:
            pieces.append(self.channel.heartbeat(self._wall_ns()))
            size += len(pieces[-1])
            following_s = self.next_beat_s + HEARTBEAT_S  # a late one delays none
            self.next_beat_s = following_s if following_s > now_s else now_s + HEARTBEAT_S
        self._give(pieces, size)
        return size

    async def news(self) -> None:
        """Return once there is something to take, or the log is closed."""
        log, reader = self.channel.log, self._reader
        await log.wait_beyond(log.end if reader is None else reader.cursor.position)

    def stats(self, *, free_bytes: int | None) -> JournalStats:
        track, recorder, log = self.track, self.recorder, self.channel.log
        reader = self._reader
        cursor = log.seek(self._due_seq) if reader is None else reader.cursor
        unread = log.lag(cursor, unsent_from=cursor.position, unsent_bytes=0)
        return JournalStats(
            channel=self.channel.name,
            state=recorder.state.name,
            why=recorder.why,
            epoch_ns=recorder.epoch_ns,
            written_seq=track.written_seq,
            synced_seq=track.synced_seq,
            lag_bytes=unread.bytes + track.backlog_bytes,
            bytes=track.written_bytes,
            segments=track.segments,
            free_bytes=free_bytes,
            write=self._writes.quantiles(),
            sync=self._syncs.quantiles(),
            sync_failures=track.sync_failures,
            lost=self._lost + (reader.lost if reader else 0),
        )

    def turn(self) -> None:
        """Begin a new slice of the histograms."""
        self._writes.turn()
        self._syncs.turn()

    def _is_long_enough(self) -> bool:
        """Whether the next segment begins here. It does only where a reader that joins would go on
        with the same number."""
        if not self._is_head_given or self.has_more or self.channel.log.closed:
            return False
        return self.recorder.is_long_enough(wall_ns=self._wall_ns())

    def _open(self, first_seq: int) -> None:
        recorder = self.recorder
        least_free_bytes = recorder.least_free_bytes
        header = recorder.begin(first_seq, wall_ns=self._wall_ns())
        self._is_head_given = False
        self._worker.open(self.track, recorder.serial, header, least_free_bytes=least_free_bytes)

    def _begin_live(self) -> None:
        self._reader = reader = Reader(self.channel)
        self._head = [reader.greeting + reader.start(Request())]

    def _resume(self) -> None:
        """Begin the segment whose file was made, where the disk is behind."""
        log, seq = self.channel.log, self._due_seq
        if seq == log.next_seq and not log.closed:
            self._begin_live()
            return
        self._reader = reader = Reader(self.channel)
        position = Position(epoch_ns=self.recorder.epoch_ns, seq=seq)
        told = reader.start(Request(start=position))
        assert not reader.is_over, "the disk is not ahead of the log"
        opening = frame(START) + framed(replace(reader.known, next_seq=seq))
        lost = reader.next_seq - seq
        if lost:
            self._lost += lost
            _LOG.error("the journal of %s lost %s records", self.channel.name, f"{lost:,}")
        # Without LOSS a reader is told at most the header that stands in the opening already.
        self._head = [opening + told] if lost else [opening]

    def _give(self, pieces: list[bytes], size: int) -> None:
        reader, track, recorder = self._reader, self.track, self.recorder
        assert reader is not None, "pieces come from a reader"
        completes_head = not self._is_head_given and reader.is_shareable
        if size:
            self._worker.write(track, recorder.serial, pieces, completes_head=completes_head)
            recorder.give(size)
            self._is_head_given |= completes_head
            self._unsaved_bytes += SAVE_EVERY_BYTES if completes_head else size
        if track.unsaved is None and self._unsaved_bytes >= SAVE_EVERY_BYTES:
            self._unsaved_bytes = 0
            track.unsaved = self.channel.memory()
        if reader.log.closed and not self.has_more:
            self.is_over = True
            self._worker.seal(track, recorder.serial)

    def _give_up(self, failure: Failure) -> None:
        """Note that what comes from a number on is to be written anew."""
        if self._reader is not None:
            self._lost += self._reader.lost
        self._reader, self._head = None, []
        self._due_seq = failure.next_seq
        self.is_over = False

    def _count(self) -> None:
        """Count how long the threads took."""
        for durations, histogram in (
            (self.track.write_ns, self._writes),
            (self.track.sync_ns, self._syncs),
        ):
            while durations:
                histogram.add(durations.popleft())
