import errno
import io
import random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.protocol.errors import MalformedError
from fanout.protocol.journal_packed import (
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    PACKED_START_BYTES,
    Chunk,
    PackedFile,
    ReadAt,
    Unpacked,
    encode_table,
    read_table,
)
from fanout.protocol.zstd import Zstd
from tests.stand.packed import packed
from tests.thoroughness import examples

DATA = bytes(range(256)) * 4 + b"1234"
FILE = packed(DATA, 300)
ENTRIES = 8 * 4
TABLE = 8 + ENTRIES + 9


def reader(data: bytes) -> ReadAt:
    return lambda offset, size: data[offset : offset + size]


def opened(data: bytes = FILE) -> PackedFile:
    return PackedFile(reader(data), len(data), Unpacked(), "file")


def test_the_table_is_laid_out_as_in_the_seekable_format() -> None:
    table = encode_table([Chunk(5, 1024), Chunk(6, 513)])
    assert table.hex(" ") == (
        "5e 2a 4d 18 19 00 00 00 "  # a skippable frame of 25 bytes
        "05 00 00 00 00 04 00 00 "  # 5 bytes for 1,024
        "06 00 00 00 01 02 00 00 "  # 6 bytes for 513
        "02 00 00 00 00 b1 ea 92 8f"  # 2 entries, no checksums
    )
    file = b"ABCDEFGHIJK" + table
    assert read_table(reader(file), len(file)) == [Chunk(5, 1024), Chunk(6, 513)]


def test_zstd_itself_gives_the_segment_byte_for_byte() -> None:
    stream = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(FILE), read_across_frames=True)
    assert stream.read() == DATA


@given(st.integers(0, len(DATA) + 5), st.integers(0, len(DATA) + 5))
@settings(max_examples=examples(60))
def test_any_part_is_read_as_from_the_segment(offset: int, size: int) -> None:
    file = opened()
    assert file.size() == len(DATA)
    assert file.read(offset, size) == DATA[offset : offset + size]
    assert file.read(0, 10) == DATA[:10]


def test_each_zstd_frame_is_unpacked_once_by_a_reader_that_goes_on() -> None:
    reads: list[tuple[int, int]] = []

    def read(offset: int, size: int) -> bytes:
        reads.append((offset, size))
        return FILE[offset : offset + size]

    unpacked = Unpacked()
    file = PackedFile(read, len(FILE), unpacked, "file")
    assert b"".join(file.read(at, 50) for at in range(0, len(DATA), 50)) == DATA
    assert len(reads) == 2 + 1 + 4
    another = PackedFile(read, len(FILE), unpacked, "file")
    assert another.read(0, 50) == DATA[:50]
    assert another.read(10, len(DATA)) == DATA[10:]
    assert len(reads) == 2 + 1 + 4, "readers share what was unpacked"
    PackedFile(read, len(FILE), unpacked, "another file").read(10, 50)
    assert len(reads) == 2 + 1 + 4 + 3


def test_what_readers_share_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unpacked, "CHUNK_BYTES", 700)
    unpacked = Unpacked()
    file = PackedFile(reader(FILE), len(FILE), unpacked, "file")
    for _ in range(2):
        assert b"".join(file.read(at, 50) for at in range(0, len(DATA), 50)) == DATA
    assert (len(unpacked.chunks), unpacked.chunks.size) == (2, len(DATA) - 600)


@pytest.mark.parametrize(("letters", "is_enough"), [(4, True), (48, False)])
def test_no_more_of_the_file_is_read_for_the_start_than_is_needed(
    letters: int, is_enough: bool
) -> None:
    """Less than a block of 128 KiB cannot be unpacked."""
    data = bytes(random.Random(19).choices(range(letters), k=400_000))
    file = packed(data, len(data))
    reads: list[int] = []

    def read(offset: int, size: int) -> bytes:
        reads.append(size)
        return file[offset : offset + size]

    assert PackedFile(read, len(file), Unpacked(), "file").read(0, 64) == data[:64]
    whole = read_table(reader(file), len(file))[0].packed_bytes
    assert reads[2:] == [PACKED_START_BYTES] + [whole] * (not is_enough)


def test_the_start_of_a_segment_is_read_without_the_rest() -> None:
    damaged = bytearray(FILE)
    damaged[read_table(reader(FILE), len(FILE))[0].packed_bytes - 1] ^= 1  # in a checksum
    file = opened(bytes(damaged))
    assert file.read(0, 64) == DATA[:64]
    assert file.read(1, 64) == bytes(64), "here the checksum counts"
    assert file.read(0, 64) == bytes(64), "as it is known now"
    damaged[0] ^= 1
    assert opened(bytes(damaged)).read(0, 64) == bytes(64)


def test_a_damaged_zstd_frame_reads_as_zeros() -> None:
    first = read_table(reader(FILE), len(FILE))[0]
    for at in (first.packed_bytes, first.packed_bytes + 20):
        damaged = bytearray(FILE)
        damaged[at] ^= 1
        found = opened(bytes(damaged)).read(0, 10_000)
        assert found == DATA[:300] + bytes(300) + DATA[600:]


def test_every_other_file_is_refused() -> None:
    """It can be opened, as every other damaged file can be; nothing in it can be read."""
    bad = [FILE[:size] for size in (*range(0, len(FILE), 25), *range(len(FILE) - TABLE, len(FILE)))]
    for at in range(len(FILE) - TABLE, len(FILE)):
        for bit in (0, 3, 7):
            damaged = bytearray(FILE)
            damaged[at] ^= 1 << bit
            bad.append(bytes(damaged))
    is_other = 0
    for each in bad:
        file = opened(each)
        try:
            size = file.size()
        except OSError as error:
            refused = error
        else:  # an entry says another size: then that zstd frame is damaged
            is_other += 1
            assert size != len(DATA)
            assert file.read(0, len(DATA)) != DATA
            continue
        assert refused.errno == errno.EIO
        with pytest.raises(OSError, match="zstd frame"):
            file.read(0, 1)
    assert 0 < is_other <= 4 * 3 * 3


def test_limits_are_checked_before_anything_is_read() -> None:
    for chunk in (Chunk(1, 0), Chunk(1, MAX_CHUNK_BYTES + 1), Chunk(MAX_CHUNK_BYTES + 1, 1)):
        file = encode_table([chunk])
        size = chunk.packed_bytes + len(file)
        with pytest.raises(MalformedError, match="has no bytes, or over 16,777,216"):
            read_table(lambda at, n: file[at - size :][:n], size)  # noqa: B023
    huge = encode_table([])[:-9] + (MAX_CHUNKS + 1).to_bytes(4, "little") + FILE[-5:]
    reads: list[int] = []

    def read(offset: int, size: int) -> bytes:
        reads.append(size)
        return huge[offset : offset + size]

    with pytest.raises(MalformedError, match="no table of zstd frames stands"):
        read_table(read, len(huge))
    assert reads == [9]


def test_a_segment_without_a_byte_is_one_too() -> None:
    assert opened(packed(b"")).size() == 0
    assert opened(packed(b"")).read(0, 100) == b""
    assert opened(Zstd().pack(b"1") + encode_table([Chunk(14, 1)])).read(0, 9) == b"1"
