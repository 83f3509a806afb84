"""A segment that is compressed, FIRSTSEQ.fj.zst: zstd frames of 1 MiB of the segment each, one
behind the other, and a table that tells where each is.

    | zstd frame: bytes 0 .. 1 MiB - 1 of the segment | zstd frame | ... | table |

So `zstd -dc` gives the segment byte for byte: it skips the table. That is laid out as in zstd's
seekable format, little-endian:

     0  u32  0x184D2A5E, a skippable frame
     4  u32  bytes that follow = 8 n + 9
     8  n entries of 8 bytes, one for each zstd frame:
          0  u32  bytes of the zstd frame
          4  u32  bytes of the segment in it
        u32  n
        u8   flags = 0: the entries have no checksums, since each zstd frame has one
        u32  0x8F92EAB1

https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md

A reader of `PackedFile` has the segment with its own offsets, and need not know. A zstd frame that
is damaged reads as zeros, which are no frames of ours: so its reader goes on behind it, and reports
the numbers in it as lost.
"""

import errno
from array import array
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate
from struct import Struct
from typing import Final

import msgspec

from fanout.protocol.errors import MalformedError
from fanout.protocol.journal import MAX_SEGMENT_BYTES
from fanout.protocol.journal_kept import Kept
from fanout.protocol.zstd import Zstd

CHUNK_BYTES: Final = 1024 * 1024
"""How much of a segment a zstd frame holds. A reader unpacks that much for a single record."""

START_BYTES: Final = 64 * 1024
"""Of a segment's first bytes no more are unpacked than are asked for, up to so many: whoever begins
in its midst looks at its header first."""

PACKED_START_BYTES: Final = 64 * 1024
"""How much of the file is read for that at first. It nearly always holds the first block of the
zstd frame, which has 128 KiB of the segment: less than a block cannot be unpacked."""

MAX_CHUNK_BYTES: Final = 16 * CHUNK_BYTES
"""Most that a zstd frame may hold or take. It is what a reader holds in memory while it unpacks."""

MAX_CHUNKS: Final = 2 * MAX_SEGMENT_BYTES // CHUNK_BYTES
"""Limits how much of a file is read as its table. A segment may become a little longer than it is
meant to."""

_SKIPPABLE: Final = 0x184D2A5E
_SEEKABLE: Final = 0x8F92EAB1

_HEAD = Struct("<II")
_ENTRY = Struct("<II")
_FOOT = Struct("<IBI")
assert _FOOT.size == 9

ReadAt = Callable[[int, int], bytes]
"""Gives up to so many bytes, the second number, from an offset on; fewer at the end."""


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One zstd frame."""

    packed_bytes: int
    size: int
    """Of what it holds."""


def encode_table(chunks: Sequence[Chunk]) -> bytes:
    """The table behind the last zstd frame."""
    entries = b"".join(_ENTRY.pack(each.packed_bytes, each.size) for each in chunks)
    head = _HEAD.pack(_SKIPPABLE, len(entries) + _FOOT.size)
    return head + entries + _FOOT.pack(len(chunks), 0, _SEEKABLE)


def read_table(read: ReadAt, file_bytes: int) -> list[Chunk]:
    """The table of a file of so many bytes. Raises `MalformedError` if it does not fit the file,
    and what `read` raises."""
    foot = read(max(0, file_bytes - _FOOT.size), _FOOT.size)
    if len(foot) < _FOOT.size:
        raise MalformedError(f"{file_bytes} bytes hold no table of zstd frames")
    count, flags, magic = _FOOT.unpack(foot)
    if magic != _SEEKABLE or flags or count > MAX_CHUNKS:
        raise MalformedError("no table of zstd frames stands at the end of the file")
    size = _HEAD.size + count * _ENTRY.size + _FOOT.size
    table = read(max(0, file_bytes - size), size)
    if len(table) < size or _HEAD.unpack_from(table) != (_SKIPPABLE, size - _HEAD.size):
        raise MalformedError("the table of zstd frames is not whole")
    chunks = [Chunk(*each) for each in _ENTRY.iter_unpack(table[_HEAD.size : -_FOOT.size])]
    if sum(each.packed_bytes for each in chunks) != file_bytes - size:
        raise MalformedError("the table of zstd frames does not fit the file")
    if not all(_is_plausible(each) for each in chunks):
        raise MalformedError(f"a zstd frame has no bytes, or over {MAX_CHUNK_BYTES:,}")
    return chunks


def _is_plausible(chunk: Chunk) -> bool:
    return 0 < chunk.size <= MAX_CHUNK_BYTES and 0 < chunk.packed_bytes <= MAX_CHUNK_BYTES


class Table:
    """Where each zstd frame is."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.begins = array("Q", accumulate((each.size for each in chunks), initial=0))
        """Of each zstd frame in the segment, and of its end."""
        packed = accumulate((each.packed_bytes for each in chunks), initial=0)
        self.packed_begins = array("Q", packed)
        """The same in the file."""
        self.start_bytes = min(START_BYTES, chunks[0].size if chunks else 0)
        """How much can be had of the first zstd frame without the rest."""


class Unpacked:
    """What was unpacked of compressed segments, for all who read there. Bounded. Threads may share
    it."""

    TABLE_BYTES: Final = 4 * 1024 * 1024
    """What tables may take together: those of 1,000 segments of 256 MiB."""
    CHUNK_BYTES: Final = 16 * CHUNK_BYTES
    """What zstd frames may take together, once unpacked."""

    def __init__(self) -> None:
        self.tables = Kept[Table](self.TABLE_BYTES)
        self.chunks = Kept[bytes](self.CHUNK_BYTES)
        self._zstd: Zstd | None = None

    @property
    def zstd(self) -> Zstd:
        """What decompresses: to look for the package takes as long as all else of a search. Raises
        `MissingPackageError`."""
        if self._zstd is None:
            self._zstd = Zstd()
        return self._zstd


class PackedFile:
    """Reads a compressed segment as if it was not."""

    def __init__(self, read: ReadAt, file_bytes: int, unpacked: Unpacked, name: Hashable) -> None:
        """`read` reads the file, which has `file_bytes`. `name` is its own among those that share
        `unpacked`. Raises `MissingPackageError`."""
        self._zstd = unpacked.zstd
        self._read = read
        self._file_bytes = file_bytes
        self._unpacked = unpacked
        self._name = name, file_bytes

    def size(self) -> int:
        """Of the segment. Raises `OSError` if the table is damaged, and what `read` raises."""
        return self._table().begins[-1]

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the segment; fewer at its end. Raises as `size` does."""
        table = self._table()
        begins = table.begins
        if not offset and 0 < size <= table.start_bytes:
            return self._start(table, size)
        stop = min(offset + size, begins[-1])
        pieces: list[bytes] = []
        while offset < stop:
            index = bisect_right(begins, offset) - 1
            at = offset - begins[index]
            pieces.append(self._chunk(table, index)[at : at + stop - offset])
            offset += len(pieces[-1])
        return b"".join(pieces)

    def _table(self) -> Table:
        """The table, which is read when it is first needed: a file with a damaged one can be
        opened, like every other damaged file."""
        table = self._unpacked.tables.get(self._name)
        if table is None:
            try:
                table = Table(read_table(self._read, self._file_bytes))
            except MalformedError as error:
                raise OSError(errno.EIO, str(error)) from error
            size = len(table.begins) * (table.begins.itemsize + table.packed_begins.itemsize)
            self._unpacked.tables.keep(self._name, table, size)
        return table

    def _start(self, table: Table, size: int) -> bytes:
        """The first bytes of the segment. All are in the first zstd frame."""
        chunk = self._unpacked.chunks.get((self._name, 0))
        if chunk is not None:
            return chunk[:size]
        whole = table.packed_begins[1]
        try:
            data = self._zstd.unpack_start(self._read(0, min(PACKED_START_BYTES, whole)), size)
            if len(data) < size:
                data = self._zstd.unpack_start(self._read(0, whole), size)
        except MalformedError:
            return bytes(size)
        return data

    def _chunk(self, table: Table, index: int) -> bytes:
        data = self._unpacked.chunks.get((self._name, index))
        if data is None:
            begin, end = table.packed_begins[index : index + 2]
            packed = self._read(begin, end - begin)
            size = table.begins[index + 1] - table.begins[index]
            try:
                data = self._zstd.unpack(packed, size)
            except MalformedError:
                data = bytes(size)
            self._unpacked.chunks.keep((self._name, index), data, size)
        return data
