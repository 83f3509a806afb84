"""The directory of a run on paper: its journal, its lock, and what asks the run for something.

00000000000000000001.jsonl   the journal: `fanout.trading.journal`, written by `writing`
lock                         locked while a run has the directory; the number of its process
kill                         pulls the kill switch, for as long as it is there
reset                        who resets it: the run takes the file away
socket                       where the run answers `fanout paper status`
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fanout.cli.outcome import OutputError
from fanout.cli.trading.writing import JournalWriter
from fanout.errors import ConfigError, UsageError, shown
from fanout.journal.disk import RealDisk
from fanout.protocol.errors import reason
from fanout.trading.checkpoint import Checkpoint
from fanout.trading.earlier import Earlier
from fanout.trading.journal import (
    JournalError,
    Started,
    entries_of,
    needed_files,
    whole_lines,
)
from fanout.trading.reports import Report
from fanout.trading.settings import JournalSettings

LOCK: Final = "lock"
KILL: Final = "kill"
RESET: Final = "reset"
SOCKET: Final = "socket"

MAX_WORDS_BYTES: Final = 512
"""What is read of a file that asks for something."""

_PIECE_BYTES: Final = 64 * 1024

COMMAND: Final = "fanout paper kill"
"""What the file has that the command of that name writes."""


class RunFiles:
    """The directory, locked. Made by `locked`."""

    def __init__(self, directory: Path, settings: JournalSettings) -> None:
        self.directory = directory
        self._writer = JournalWriter(directory, settings)
        self._left: Checkpoint | None = None
        """What earlier starts have left; None before the first."""

    def earlier(self) -> Earlier:
        """What earlier starts have left, once a line that was cut off is gone. The newest
        checkpoint is read, and what follows it. Raises `ConfigError`."""
        try:
            needed = needed_files(self.directory)
            for path in needed:
                _cut(path)
            earlier = Earlier.of(entries_of(needed))
            # Now: the desks go on with the positions and orders of `earlier`, and change them.
            self._left = None if earlier.started is None else earlier.checkpoint()
            return earlier
        except JournalError as error:
            raise ConfigError(f"{error}: give another journal directory") from error
        except OSError as error:
            raise ConfigError(
                f"cannot read {error.filename or self.directory}: {reason(error)}"
            ) from error

    def begin(self, started: Started) -> None:
        """Open the file of this start, which goes on with what `earlier` has found. Raises
        `OutputError`."""
        self._writer.begin(started, self._left)

    def append(self, entries: Iterable[Report]) -> None:
        """See `JournalWriter`."""
        self._writer.append(entries)

    def close(self) -> None:
        """See `JournalWriter`."""
        self._writer.close()


def _cut(path: Path) -> None:
    """Cut off a last line that is not whole."""
    with path.open("rb") as file:
        size = whole = file.seek(0, os.SEEK_END)
        while whole:
            begin = max(whole - _PIECE_BYTES, 0)
            file.seek(begin)
            length = whole_lines(file.read(whole - begin))
            whole = begin + length
            if length:
                break
    if whole < size:
        os.truncate(path, whole)


@contextmanager
def locked(directory: str, settings: JournalSettings | None = None) -> Iterator[RunFiles]:
    """The directory of a run, made if it is not there, for this process alone. Raises
    `UsageError` if another process has it, `ConfigError` if it cannot be made, and `OutputError`
    at the end if the disk does not take the end of the journal."""
    path = Path(directory)
    try:
        RealDisk().make_folder(os.fspath(path))
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"cannot use {path} as a journal: {reason(error)}") from error
    try:
        _claim(path, descriptor)
        files = RunFiles(path, settings or JournalSettings())
        try:
            yield files
        finally:
            files.close()
    finally:
        os.close(descriptor)


def _claim(path: Path, descriptor: int) -> None:
    """Lock the directory, and leave the number of this process there. Raises as `locked`."""
    number = f"{os.getpid()}\n".encode()
    try:
        if not _lock(descriptor):
            owner = _text(descriptor) or "?"
            raise UsageError(f"{path}: process {owner} runs there: end it, or give another journal")
        os.pwrite(descriptor, number, 0)
        os.ftruncate(descriptor, len(number))
    except OSError as error:
        raise ConfigError(f"cannot use {path} as a journal: {reason(error)}") from error


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _text(descriptor: int) -> str:
    return shown(os.pread(descriptor, MAX_WORDS_BYTES, 0).decode(errors="replace").strip())


def owner_of(directory: Path) -> str | None:
    """The number of the process that runs there, None if none does. Raises `UsageError` where no
    run ever was."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{directory} has no run on paper: {reason(error)}") from error
    try:
        return None if _lock(descriptor) else _text(descriptor) or "?"
    finally:
        os.close(descriptor)


# What asks a run for something.


def words_in(path: Path) -> str | None:
    """The first line of a file, None if it is not there. A file that cannot be read is one."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_WORDS_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        return reason(error)
    return shown(text.strip().partition("\n")[0])


def ask(path: Path, words: str) -> None:
    """Write such a file, in one step. Raises `OutputError`."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(f"{words}\n")
        os.replace(aside, path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        with suppress(OSError):
            path.touch()  # a full disk often has room for a name
            return
        raise OutputError(f"cannot write {path}: {reason(error)}") from error


def take_away(path: Path) -> None:
    """Remove such a file. Raises `OutputError`."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {reason(error)}") from error
