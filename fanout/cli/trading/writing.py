"""Writes the journal of a run: whole lines, in files of a bounded length.

A file ends where the next report would make it too long, or is of a later UTC day. Which report
that is depends on nothing but the reports. The next file begins with a checkpoint, so a restart
needs none of the older ones, and those beyond `keep_bytes` are removed. The writer follows its own
reports to know what stands in the checkpoint.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from fanout.cli.outcome import OutputError, say
from fanout.cli.trading.syncing import Syncer
from fanout.protocol.errors import reason
from fanout.trading.reports import Report
from fanout.trading.running.checkpoint import Checkpoint
from fanout.trading.running.earlier import Earlier
from fanout.trading.running.journal import (
    VERSION,
    Started,
    encode,
    file_name,
    files_in,
    is_new_day,
)
from fanout.trading.settings import JournalSettings


class JournalWriter:
    """Writes a journal in a directory that this process has for itself."""

    def __init__(self, directory: Path, settings: JournalSettings) -> None:
        self._directory = directory
        self._settings = settings
        self._syncer = Syncer(directory, settings.sync_ns / 1e9)
        self._started: Started | None = None
        """As the newest file has it."""
        self._state = Earlier()
        """What a restart would find."""
        self._left_ns = 0
        """The time of the newest report of earlier starts."""
        self._descriptor: int | None = None
        self._path = directory
        self._number = 0
        """Of the file that is open."""
        self._bytes = 0
        """The whole lines of the file that is open."""
        self._has_reports = self._has_checkpoint = False
        """Of the file that is open."""
        self._failure: OSError | None = None
        self._is_said = False
        """Whether a file that cannot be removed was said to be there."""

    def begin(self, started: Started, left: Checkpoint | None) -> None:
        """Open the first file of a start. `left` is what earlier starts have left, None before the
        first. Raises `OutputError`."""
        started = replace(started, version=VERSION, part=1)
        self._state = Earlier.of([started] if left is None else [started, left])
        self._left_ns = self._state.newest_ns
        self._failure = None
        files = files_in(self._directory)
        self._number = int(files[-1].stem) if files else 0
        try:
            if files:  # its process may have been killed before the disk had all of it
                self._syncer.begin(os.open(files[-1], os.O_RDONLY | os.O_CLOEXEC))
            self._open(started, left)
            self._remove_surplus()
        except OSError as error:
            raise self._failed(error) from error

    def append(self, reports: Iterable[Report]) -> None:
        """Append reports. Raises `OutputError` if the journal cannot be written, also where it
        could not be put on the disk after an earlier call: then the first of the reports may be
        there, whole lines, and nothing can be appended any more."""
        assert self._descriptor is not None, "it has begun"
        failure = self._failure or self._syncer.failure
        if failure is not None:
            raise self._failed(failure)
        try:
            self._append(reports)
        except OSError as error:
            raise self._failed(error) from error

    def _append(self, reports: Iterable[Report]) -> None:
        state, most_bytes = self._state, self._settings.segment_bytes
        lines: list[bytes] = []
        end = self._bytes
        for report in reports:
            line = encode(report)
            has_ended = end + len(line) > most_bytes or self._is_new_day(report.time_ns)
            if has_ended and self._has_reports:
                self._write(lines)
                self._rotate()
                lines, end = [], self._bytes
            lines.append(line)
            end += len(line)
            state.take(report)
            self._has_reports = True
        self._write(lines)

    def _is_new_day(self, time_ns: int) -> bool:
        """What a start ends of the one before it has the time of that, and begins no day."""
        newest_ns = self._state.newest_ns
        return newest_ns > self._left_ns and is_new_day(newest_ns, time_ns)

    def _rotate(self) -> None:
        assert self._started is not None, "it has begun"
        started = replace(self._started, part=self._started.part + 1)
        self._open(started, self._state.checkpoint())
        self._remove_surplus()

    def _open(self, started: Started, left: Checkpoint | None) -> None:
        """Begin the next file. There is none without its whole head."""
        self._number += 1
        self._path = self._directory / file_name(self._number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o644)
        self._syncer.begin(self._descriptor)
        self._bytes = 0
        try:
            self._write([encode(each) for each in (started, left) if each is not None])
        except OSError:
            with suppress(OSError):
                self._path.unlink()
            raise
        self._started, self._has_checkpoint = started, left is not None
        self._has_reports = False

    def _write(self, lines: Sequence[bytes]) -> None:
        """Write all of the lines, or none."""
        assert self._descriptor is not None, "it has begun"
        rest = memoryview(b"".join(lines))
        size = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._bytes)
            raise
        self._bytes += size
        self._syncer.written_bytes += size

    def _failed(self, error: OSError) -> OutputError:
        self._failure = error
        return OutputError(f"cannot write {self._path}: {reason(error)}")

    def _remove_surplus(self) -> None:
        self._syncer.remove(self._surplus())
        stuck = self._syncer.unremoved
        if stuck is not None and not self._is_said:
            self._is_said = True
            say(f"cannot remove {stuck.filename}: {reason(stuck)}: keep-bytes is exceeded")

    def _surplus(self) -> Sequence[Path]:
        """The oldest files beyond `keep_bytes`, with room for the newest one to grow. None of those
        that a restart needs."""
        keep_bytes = self._settings.keep_bytes
        if keep_bytes is None or not self._has_checkpoint:
            return ()
        *complete, _ = files_in(self._directory)
        room = keep_bytes - self._settings.segment_bytes
        for at in reversed(range(len(complete))):
            room -= _size(complete[at])
            if room < 0:
                return complete[: at + 1]
        return ()

    def close(self) -> None:
        """Put the journal on the disk. Nothing is written any more. Raises `OutputError` if the
        disk does not take it, and nobody knows that yet."""
        self._descriptor = None
        self._syncer.close(self._say_late)
        failure = self._syncer.failure
        if failure is not None and self._failure is None:
            why = reason(failure)
            raise OutputError(f"the end of {self._path} may not outlive a power cut: {why}")

    def _say_late(self) -> None:
        say(f"waiting for the disk to take the end of {self._path}: Ctrl-C ends without it")


def _size(path: Path) -> int:
    """0 for a file that has been removed meanwhile."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
