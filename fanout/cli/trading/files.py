"""The directory of a run on paper: its journal, its lock, and what asks the run for something.

00000000000000000001.jsonl   the journal: `fanout.trading.journal`
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
from fanout.errors import ConfigError, UsageError, shown
from fanout.protocol.errors import reason
from fanout.trading.journal import (
    Entry,
    JournalError,
    Started,
    encode,
    file_name,
    files_in,
    reports_of,
    whole_lines,
)

LOCK: Final = "lock"
KILL: Final = "kill"
RESET: Final = "reset"
SOCKET: Final = "socket"

MAX_WORDS_BYTES: Final = 512
"""What is read of a file that asks for something."""

COMMAND: Final = "fanout paper kill"
"""What the file has that the command of that name writes."""


class RunFiles:
    """The directory, locked. Made by `locked`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._descriptor: int | None = None
        self._path = directory
        self._bytes = 0
        """The whole lines of the file that is open."""

    def past(self) -> list[Entry]:
        """All entries of earlier starts, once a line that was cut off is gone. Raises
        `ConfigError`."""
        try:
            for path in files_in(self.directory):
                _cut(path)
            return list(reports_of(self.directory))
        except JournalError as error:
            raise ConfigError(f"{error}: give another journal directory") from error
        except OSError as error:
            raise ConfigError(f"cannot read {self.directory}: {reason(error)}") from error

    def begin(self, started: Started) -> None:
        """Open the file of this start. Raises `OutputError`."""
        files = files_in(self.directory)
        number = int(files[-1].stem) + 1 if files else 1
        self._path = self.directory / file_name(number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, 0o644)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {reason(error)}") from error
        self._bytes = 0
        self.append([started])

    def append(self, entries: Iterable[Entry]) -> None:
        """Append all of the entries, or none. Raises `OutputError`."""
        assert self._descriptor is not None, "it has begun"
        data = b"".join(map(encode, entries))
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._bytes)
            raise OutputError(f"cannot write {self._path}: {reason(error)}") from error
        self._bytes += len(data)

    def close(self) -> None:
        """Put the file on the disk. Nothing is written any more."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


def _cut(path: Path) -> None:
    """Cut off a last line that is not whole."""
    data = path.read_bytes()
    whole = whole_lines(data)
    if whole < len(data):
        os.truncate(path, whole)


@contextmanager
def locked(directory: str) -> Iterator[RunFiles]:
    """The directory of a run, made if it is not there, for this process alone. Raises
    `UsageError` if another process has it, and `ConfigError` if it cannot be made."""
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"cannot use {path} as a journal: {reason(error)}") from error
    try:
        if not _lock(descriptor):
            owner = _text(descriptor) or "?"
            raise UsageError(f"{path}: process {owner} runs there: end it, or give another journal")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        files = RunFiles(path)
        try:
            yield files
        finally:
            files.close()
    finally:
        os.close(descriptor)


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
            path.touch()  # a full disk often has room for a name
            return
        raise OutputError(f"cannot write {path}: {reason(error)}") from error


def take_away(path: Path) -> None:
    """Remove such a file. Raises `OutputError`."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {reason(error)}") from error
