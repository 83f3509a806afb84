"""A disk of a few megabytes in a mount namespace of its own: it can be full, read-only, or gone.

A process holds the namespace. Others are started in it, and the test sees the disk from outside,
also once they have ended.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

_ALONE: Final = ("unshare", "--user", "--map-root-user", "--mount")
_MOUNT: Final = 'mount -t tmpfs -o "size=$2" none "$1" && echo mounted && exec cat'
"""`cat` ends with the test."""


class SmallDisk:
    """A disk, and how it is spoiled."""

    def __init__(self, pid: int, path: Path) -> None:
        self.path = path
        """For those in the namespace."""
        self.outside = Path(f"/proc/{pid}/root{path}")
        """For the test."""
        self.inside: Sequence[str] = (
            *("nsenter", "--target", str(pid), "--user", "--mount", "--preserve-credentials"),
        )
        """Runs a command there."""

    def fill(self) -> None:
        """Leave no room."""
        with (self.outside / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(65_536)):
                    pass
            except OSError:
                return

    def empty(self) -> None:
        (self.outside / "filler").unlink()

    def hide(self, folder: str) -> None:
        """Put an empty disk that is read-only over a folder."""
        self._run("mount", "-t", "tmpfs", "-o", "ro", "none", str(self.path / folder))

    def protect(self, folder: str) -> None:
        """Let nothing be opened to be written in a folder."""
        path = str(self.path / folder)
        self._run("mount", "--bind", path, path)
        self._run("mount", "-o", "remount,bind,ro", path)

    def show(self, folder: str) -> None:
        """Undo either. What is open stays open."""
        self._run("umount", "--lazy", str(self.path / folder))

    def _run(self, *command: str) -> None:
        subprocess.run([*self.inside, *command], check=True, capture_output=True)


@cache
def can_mount() -> bool:
    """Whether this user may have a mount namespace."""
    try:
        done = subprocess.run([*_ALONE, "nsenter", "--version"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@contextmanager
def small_disk(path: Path, *, size: str) -> Iterator[SmallDisk]:
    """A disk of a size such as `4m`, at an empty folder."""
    holder = subprocess.Popen(
        [*_ALONE, "sh", "-c", _MOUNT, "sh", str(path), size],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n", "the kernel mounts it"
        yield SmallDisk(holder.pid, path)
        holder.communicate()
