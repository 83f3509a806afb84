"""A file beside the one that it will become.

It is hidden, in the same directory, and locked for as long as its writer lives. What has been
synced survives the writer and the machine. `complete` gives it its name in one step, and takes
that name from no other file unless it is told to.
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fanout.cli.outcome import OutputError
from fanout.errors import UsageError
from fanout.protocol.errors import reason

SUFFIX: Final = ".part"

_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a file system without hard links says, each in its way."""


class Aside:
    """What will be `target`. Made at once; raises `OutputError`, as every method does."""

    def __init__(self, target: Path, kind: str = "") -> None:
        """`kind` comes before the suffix: `.npy` for rows that are to become something else."""
        self.target = target
        self.path = target.with_name(f".{target.name}.{secrets.token_hex(4)}{kind}{SUFFIX}")
        with self._in_words():
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o666)
            _sync_directory(target.parent)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def write(self, data: bytes) -> None:
        """Append, all of it. Not on disk before `sync`."""
        rest = memoryview(data)
        with self._in_words():
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def write_front(self, data: bytes) -> None:
        """Write over what the file begins with."""
        with self._in_words():
            os.pwrite(self._descriptor, data, 0)

    def sync(self) -> None:
        """Return once everything written is on disk."""
        with self._in_words():
            os.fsync(self._descriptor)

    def complete(self, *, force: bool) -> None:
        """Become `target`. Without `force` no file that has come to be there is replaced."""
        self.sync()
        with self._in_words():
            if force:
                os.replace(self.path, self.target)
            else:
                self._claim()
            _sync_directory(self.target.parent)
        os.close(self._descriptor)

    def _claim(self) -> None:
        try:
            os.link(self.path, self.target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # The empty file is ours alone, and is replaced.
            os.close(os.open(self.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            os.replace(self.path, self.target)
        else:
            os.unlink(self.path)

    def discard(self) -> None:
        os.close(self._descriptor)
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write {self.target}: {reason(error)}") from error


def _sync_directory(directory: Path) -> None:
    """A name is on disk once its directory is."""
    with suppress(OSError):  # a file system that cannot do that
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_free(target: Path, *, force: bool) -> None:
    """Raises `UsageError` for a name that is taken."""
    if target.is_dir():
        raise UsageError(f"{target} is a directory")
    if os.path.lexists(target) and not force:
        raise UsageError(f"{target} exists: --force replaces it")


def leftovers(target: Path) -> list[Path]:
    """Asides of `target` whose writers are gone: recordings that were cut off."""
    with suppress(OSError):  # what is wrong with the directory is said when it is written to
        names = sorted(os.listdir(target.parent))
        paths = [target.with_name(name) for name in names if _is_aside(name, target.name)]
        return [each for each in paths if _is_abandoned(each)]
    return []


def _is_aside(name: str, target_name: str) -> bool:
    return name.startswith(f".{target_name}.") and name.endswith(SUFFIX)


def _is_abandoned(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    except OSError:
        return False
