"""One segment that is being written, and its index.

It is made under another name until its head is whole, then renamed: so whatever has the name of a
segment begins with a header and what belongs to it.

    append    whole frames, at the end
    publish   the head is whole: readers may find the segment
    sync      what was appended before would outlive a power cut
    close     nothing follows: the index is synced too
    abandon   the disk failed: gives the number that has to be written anew

A call that fails raises `OSError`. After that only `abandon` is left: nobody knows what the disk
did. One thread writes. Another one may call `sync`, and nothing else.
"""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock

from fanout.journal.disk import Disk
from fanout.journal.files import write_all
from fanout.journal.places import Places
from fanout.protocol.journal import (
    INDEX,
    INDEX_MAGIC,
    PART,
    SEGMENT,
    FileHeader,
    encode_file_header,
    encode_places,
    numbered,
)


class Segment:
    """Appends frames to a segment of `folder`, which is the one of an epoch of a channel."""

    def __init__(self, disk: Disk, folder: str, header: FileHeader, *, syncs: bool = True) -> None:
        """`syncs` says whether anything is ever synced."""
        self._disk = disk
        self._folder = folder
        self._path = os.path.join(folder, numbered(header.first_seq, SEGMENT))
        self._index_path = os.path.join(folder, numbered(header.first_seq, INDEX))
        self._header = header
        self._syncs = syncs
        self._places = Places(header.first_seq)
        self._file = -1
        self._index = -1
        self._index_bytes = 0
        self._pending = b""
        """Places that the index lacks."""
        self._closing = Lock()
        """Held while the file is synced or closed, so that neither happens during the other."""
        self._is_folder_synced = False
        self._synced_bytes = 0
        self._is_cut_short = False
        """Whether a part of a frame may stand at the end."""
        self.size_bytes = 0
        """Up to the end of the last frame that was appended."""
        self.is_published = False
        self.fault: OSError | None = None
        """What a sync raised. The segment must be abandoned."""
        self.next_seq = header.first_seq
        """The number that is due behind what was appended."""
        self.synced_seq = header.first_seq
        """The number that is due behind what was synced."""

    def open(self, *, least_free_bytes: int = 0) -> None:
        """Make the file, if at least so much is free."""
        disk, part = self._disk, self._path + PART
        disk.make_folder(self._folder)
        if least_free_bytes and disk.free_bytes(self._folder) < least_free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._folder)
        if os.path.basename(part) in disk.names(self._folder):
            disk.remove(part)
        self._file = disk.open(part, make=True)
        write_all(disk, self._file, 0, [encode_file_header(self._header)])
        self.size_bytes = self._places.offset

    def append(self, pieces: Sequence[bytes]) -> None:
        """Write pieces of whole frames."""
        places = [place for piece in pieces for place in self._places.take(piece)]
        self._is_cut_short = True
        write_all(self._disk, self._file, self.size_bytes, pieces)
        self._is_cut_short = False
        self.next_seq = self._places.next_seq  # before the size: a sync may look between the two
        self.size_bytes = self._places.offset
        self._pending += encode_places(places)
        if self._pending and self.is_published:
            self._write_index()

    def publish(self) -> None:
        """Give the segment its name, and the index the places so far."""
        disk, name = self._disk, os.path.basename(self._index_path)
        if name in disk.names(self._folder):
            disk.remove(self._index_path)
        self._index = disk.open(self._index_path, make=True)
        self._pending = encode_file_header(self._header, INDEX_MAGIC) + self._pending
        self._write_index()
        disk.rename(self._path + PART, self._path)
        self.is_published = True

    def sync(self, *, is_head: bool = False) -> bool:
        """Sync what was appended so far, unless the segment is not published yet, or closed. With
        `is_head` the writer syncs a head before it publishes it: only a head that the disk can keep
        takes the place of a segment of the same name. False if there was nothing to sync. Raises
        once, and keeps what it raised in `fault`."""
        with self._closing:
            if not (self.is_published or is_head) or self._file < 0 or self.fault is not None:
                return False
            try:
                return self._sync()
            except OSError as error:
                self.fault = error
                raise

    def close(self) -> None:
        """Sync the index, and close the files. Of the frames, those count that were synced."""
        self._sync_index()
        self._close_files()

    def abandon(self) -> int:
        """Close the files. Returns the first number that is not known to be on the disk.

        A frame of which a part was written is cut off. What was written before it counts if it can
        be synced, unless it was a sync that failed.
        """
        next_seq = self.next_seq
        try:
            if not self.is_published:
                next_seq = self._header.first_seq
                self._drop_part()
            elif self._syncs or self.fault:
                next_seq = self.synced_seq
                self._cut_back()
                self.sync()
                next_seq = self.synced_seq
                self._sync_index()
            else:
                self._cut_back()
        except OSError:
            pass  # it is the disk that failed before
        finally:
            self._close_files()
        return next_seq

    def _sync(self) -> bool:
        size, next_seq = self.size_bytes, self.next_seq
        if self.is_published and not self._disk.is_at(self._file, self._path):
            raise FileNotFoundError(errno.ENOENT, "the file was removed", self._path)
        if not self._syncs or size == self._synced_bytes:
            return False
        self._disk.sync(self._file)
        if not self.is_published:
            return True
        if not self._is_folder_synced:
            epoch = self._folder
            for folder in (epoch, os.path.dirname(epoch), os.path.dirname(os.path.dirname(epoch))):
                self._disk.sync_folder(folder)
            self._is_folder_synced = True
        self._synced_bytes, self.synced_seq = size, next_seq
        return True

    def _sync_index(self) -> None:
        """Readers search an index without checking all of it, so a power cut must not leave a part
        of one behind. A start completes that of the last segment only."""
        if self._syncs and self._index >= 0:
            self._disk.sync(self._index)

    def _close_files(self) -> None:
        with self._closing:
            files, self._file, self._index = (self._file, self._index), -1, -1
        for each in files:
            if each >= 0:
                with suppress(OSError):  # the descriptor is gone all the same
                    self._disk.close(each)

    def _cut_back(self) -> None:
        if self._is_cut_short and self.fault is None:
            self._disk.truncate(self._file, self.size_bytes)
            self._is_cut_short = False

    def _drop_part(self) -> None:
        if self._file >= 0:
            self._disk.remove(self._path + PART)

    def _write_index(self) -> None:
        write_all(self._disk, self._index, self._index_bytes, [self._pending])
        self._index_bytes += len(self._pending)
        self._pending = b""
