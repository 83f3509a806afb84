"""Puts a journal on the disk every so often, in a thread of its own: the run never waits for it.

What is written outlives the process at once, and a power cut once it is synced. A file that has
ended is synced before the one behind it, and files are removed only once that one is on the disk.
So there is a whole checkpoint on the disk at any time.
"""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from fanout.journal.disk import RealDisk

PATIENCE_S: Final = 2.0
"""How long the last sync may take before people hear of it."""

_DISK: Final = RealDisk()


class Syncer:
    """Syncs the files of a directory. The thread begins with the first file, and never keeps the
    process from ending."""

    def __init__(self, directory: Path, every_s: float) -> None:
        self.written_bytes = 0
        """How much was written so far. The writer counts it."""
        self.failure: OSError | None = None
        """Why the disk did not take what was written before, None if it did."""
        self.unremoved: OSError | None = None
        """Why the newest file that could not be removed is there still."""
        self._directory = directory
        self._every_s = every_s
        self._turn = threading.Lock()
        self._synced_bytes = 0
        self._open: int | None = None
        self._is_new = False
        self._ended: list[int] = []
        self._surplus: list[Path] = []
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, descriptor: int) -> None:
        """Go on with the next file. That before it is closed once it is on the disk."""
        with self._turn:
            if self._open is not None:
                self._ended.append(self._open)
            self._open, self._is_new = descriptor, True
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="paper-sync", daemon=True)
            thread.start()
            self._thread = thread

    def remove(self, surplus: Sequence[Path]) -> None:
        """Remove files once the newest one is on the disk. One that cannot be removed stays."""
        if surplus:
            with self._turn:
                self._surplus += surplus

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            self.sync()
        self.sync()

    def sync(self) -> None:
        """Put on the disk what was written before this call."""
        with self._turn:
            ended, self._ended = self._ended, []
            surplus, self._surplus = self._surplus, []
            is_new, self._is_new = self._is_new, False
            newest, written_bytes = self._open, self.written_bytes
        try:
            for each in ended:
                os.fdatasync(each)
            if newest is not None and written_bytes > self._synced_bytes:
                os.fdatasync(newest)
                self._synced_bytes = written_bytes
            if is_new:
                _DISK.sync_folder(os.fspath(self._directory))
        except OSError as error:
            self.failure = error
        else:
            for path in surplus:
                self._remove(path)
        finally:
            for each in ended:
                with suppress(OSError):  # the disk has it, or the failure is known
                    os.close(each)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self.unremoved = error  # it is asked for again with the next file

    def close(self, on_late: Callable[[], None] = lambda: None) -> None:
        """Sync for the last time, and close what is open. The thread syncs: a signal can end this
        wait, and no call of a disk that hangs. `on_late` is called once if it takes long."""
        self._closing.set()
        if self._thread is None:
            self.sync()
        else:
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive():
                on_late()
                self._thread.join()
        if self._open is not None:
            with suppress(OSError):
                os.close(self._open)
            self._open = None
