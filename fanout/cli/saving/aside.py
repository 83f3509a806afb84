"""A temporary file that becomes the target file in one step.

It is hidden, lies in the target's directory, and stays locked while its writer lives. Synced data
survives a crash of the writer and of the machine. `complete` renames it to the target. Without
`force` it never replaces an existing file.
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
"""Errors by which file systems without hard links refuse `link`."""


class Aside:
    """The temporary file of `target`. The constructor creates it. All methods raise `OutputError`
    if they cannot write."""

    def __init__(self, target: Path, kind: str = "") -> None:
        """`kind` precedes the suffix of the name: `.npy` for rows that become Parquet later."""
        self.target = target
        self.path = target.with_name(f".{target.name}.{secrets.token_hex(4)}{kind}{SUFFIX}")
        with self._in_words():
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o666)
            self._is_open = True
            _sync_directory(target.parent)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`. It is on disk only after `sync`."""
        rest = memoryview(data)
        with self._in_words():
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def write_front(self, data: bytes) -> None:
        """Overwrite the beginning of the file."""
        with self._in_words():
            os.pwrite(self._descriptor, data, 0)

    def sync(self) -> None:
        """Return once all written data is on disk."""
        with self._in_words():
            os.fsync(self._descriptor)

    def complete(self, *, force: bool) -> None:
        """Rename to `target`. Without `force`, fail if a file with that name exists by now."""
        self.sync()
        with self._in_words():
            if force:
                os.replace(self.path, self.target)
            else:
                self._claim()
            _sync_directory(self.target.parent)
        self._close()

    def _claim(self) -> None:
        try:
            os.link(self.path, self.target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # O_EXCL reserves the name with an empty file of ours, which the rename replaces.
            os.close(os.open(self.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            os.replace(self.path, self.target)
        else:
            os.unlink(self.path)

    def discard(self) -> None:
        """Delete the temporary file. After `complete` or `discard` this does nothing."""
        self._close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self._descriptor)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write {self.target}: {reason(error)}") from error


def _sync_directory(directory: Path) -> None:
    """Put the names in a directory on disk."""
    with suppress(OSError):  # a file system that cannot do that
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_free(target: Path, *, force: bool) -> None:
    """Raises `UsageError` if `target` is a directory, or exists and `force` is not set."""
    if target.is_dir():
        raise UsageError(f"{target} is a directory")
    if os.path.lexists(target) and not force:
        raise UsageError(f"{target} exists: --force replaces it")


@contextmanager
def writing(target: Path, *, force: bool) -> Iterator[Aside]:
    """The file beside `target`, which becomes it with `complete`, and is gone if it does not. It is
    made before the work that fills it, which may take an hour, so that a folder that cannot be
    written to is refused at once. Raises as `require_free`."""
    require_free(target, force=force)
    aside = Aside(target)
    try:
        yield aside
    finally:
        aside.discard()


def leftovers(target: Path) -> list[Path]:
    """Temporary files of `target` without a living writer: interrupted recordings."""
    with suppress(OSError):  # creating the file reports a faulty directory
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
