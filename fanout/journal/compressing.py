"""Compresses the segments of a journal that are complete: all but the newest of each channel.

A thread of its own does it, a mebibyte at a time, at the lowest priority, and it rests between two
of them: whatever else the machine does comes first. (The thread that syncs cannot do it: an
ordinary user cannot raise a priority again.) One segment:

    1  FIRSTSEQ.fj.zst.part is written, and synced
    2  it is decompressed and compared with what was read before
    3  it is renamed to FIRSTSEQ.fj.zst, and the folder synced: both files are there, .fj counts
    4  a second later .fj is removed: so whoever lists the folder meanwhile sees one or the other

A crash leaves .fj as long as the other file is not whole and safe. The next start removes the other
one, if both are there. A reader that has .fj open reads it to its end.

Where there is no room for a segment a second time, or it cannot be read, it stays as it is.
"""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from os.path import basename, dirname, join
from typing import Final, Protocol
from zlib import crc32

from fanout.journal.disk import NO_ROOM, Disk
from fanout.journal.files import write_all
from fanout.protocol.errors import MalformedError, reason
from fanout.protocol.journal import LOCK, PACKED, PART, SEGMENT
from fanout.protocol.journal_folder import ChannelFolder
from fanout.protocol.journal_packed import CHUNK_BYTES, Chunk, encode_table
from fanout.protocol.text import channel_fault
from fanout.protocol.zstd import Zstd

_LOG = logging.getLogger("fanout")

LOOK_S: Final = 10.0
"""How often it is looked for segments that are complete."""

BOTH_S: Final = 1.0
"""How long both files of a segment are there."""

REST: Final = 9
"""How many times as long as a piece of work takes, the thread rests after it."""

SYNC_CHUNKS: Final = 16
"""How many pieces are synced at once: a lot of them would delay the syncs of what is written."""

NICE: Final = 19
"""The lowest priority there is."""


class Codec(Protocol):
    """What compresses: `Zstd`, or what a test has in its place."""

    def pack(self, data: bytes) -> bytes: ...

    def unpack(self, packed: bytes, size: int) -> bytes: ...


class Compressor:
    """Compresses what is complete in a journal's directory. Its generators do a piece of work at a
    time, and yield how many seconds must pass before the next one."""

    def __init__(self, disk: Disk, directory: str, codec: Codec | None = None) -> None:
        """Raises `MissingPackageError`."""
        self._disk = disk
        self._directory = directory
        self._codec = codec or Zstd()
        self._refused: set[str] = set()
        """Segments that stay as they are."""
        self._is_full = False
        """Whether it was said that there is no room."""

    def run(self) -> Generator[float]:
        """Compress what is complete now, the oldest of each channel first. Raises `OSError` for a
        folder that cannot be read. It can be closed at any time."""
        for path in self._complete():
            if path in self._refused:
                continue
            try:
                yield from self._compress(path)
            except (OSError, MalformedError) as error:
                if isinstance(error, OSError) and error.errno in NO_ROOM:
                    self._say_full(path)
                    continue  # there may be room later
                self._refused.add(path)
                _LOG.warning("journal: %s stays uncompressed: %s", path, reason(error))

    def _complete(self) -> Iterator[str]:
        """The paths of segments that are to be compressed."""
        for name in self._disk.names(self._directory):
            if channel_fault(name) or name == LOCK:
                continue
            folder = ChannelFolder(self._disk, join(self._directory, name))
            found = [
                (folder.file_path(epoch_ns, first_seq), ending)
                for epoch_ns in folder.epochs()
                for first_seq, ending in folder.endings(epoch_ns).items()
            ]
            yield from (path for path, ending in found[:-1] if ending == SEGMENT)

    def _compress(self, path: str) -> Generator[float]:
        disk, part = self._disk, path.removesuffix(SEGMENT) + PACKED + PART
        try:
            segment = disk.open_to_read(path)
        except FileNotFoundError:
            return  # it was removed since
        try:
            size = disk.size(segment)
            if not disk.share(segment):
                return  # it is just being removed
            if disk.free_bytes(dirname(path)) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            if basename(part) in disk.names(dirname(part)):
                disk.remove(part)
            packed = disk.open(part, make=True)
            try:
                yield from self._write(segment, size, packed)
            finally:
                disk.close(packed)
            if not disk.is_at(segment, path):
                return  # it was too old
            disk.rename(part, part.removesuffix(PART))
            disk.sync_folder(dirname(path))
        finally:
            disk.close(segment)
            with suppress(OSError):
                disk.remove(part)  # unless it has its name
        yield BOTH_S
        with suppress(FileNotFoundError):
            disk.remove(path)
        self._is_full = False

    def _write(self, segment: int, size: int, packed: int) -> Generator[float]:
        """Write the compressed file, sync it, and compare it with the segment."""
        disk, codec = self._disk, self._codec
        chunks: list[Chunk] = []
        checksums: list[int] = []
        end = 0
        for offset in range(0, size, CHUNK_BYTES):
            data = disk.read(segment, offset, CHUNK_BYTES)
            if len(data) != min(CHUNK_BYTES, size - offset):
                raise OSError(errno.EIO, "it was read short")
            frame = codec.pack(data)
            write_all(disk, packed, end, [frame])
            chunks.append(Chunk(len(frame), len(data)))
            checksums.append(crc32(data))
            end += len(frame)
            if len(chunks) % SYNC_CHUNKS == 0:
                disk.sync(packed)
            yield 0.0
        write_all(disk, packed, end, [encode_table(chunks)])
        disk.sync(packed)
        offset = 0
        for chunk, checksum in zip(chunks, checksums, strict=True):
            frame = disk.read(packed, offset, chunk.packed_bytes)
            if crc32(codec.unpack(frame, chunk.size)) != checksum:
                raise MalformedError("what was compressed is not the same")
            offset += chunk.packed_bytes
            yield 0.0

    def _say_full(self, path: str) -> None:
        if not self._is_full:
            _LOG.warning("journal: no room to compress %s: it stays uncompressed for now", path)
        self._is_full = True


class CompressingThread:
    """Lets a compressor work as long as the service runs."""

    def __init__(
        self, compressor: Compressor, *, clock_s: Callable[[], float] = time.perf_counter
    ) -> None:
        self._compressor = compressor
        self._clock_s = clock_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-compress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let it end after the piece that it is at. What was not complete is removed."""
        self._stopped.set()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while not self._stopped.is_set():
            try:
                self._compress_all()
            except Exception:
                _LOG.exception("an internal fault in the journal")
            self._stopped.wait(LOOK_S)

    def _compress_all(self) -> None:
        """Compress what is complete, with rests. Returns early once it is stopped."""
        work = self._compressor.run()
        begun_s = self._clock_s()
        with suppress(OSError), closing(work):  # a folder that cannot be read is looked at again
            for pause_s in work:
                took_s = self._clock_s() - begun_s
                if self._stopped.wait(max(pause_s, took_s * REST)):
                    return
                begun_s = self._clock_s()
