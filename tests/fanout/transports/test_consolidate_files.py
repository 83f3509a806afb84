"""The files of rings: what is there is continued or refused, and half of something is mended."""

import errno
import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from fanout.checks.report import Fault
from fanout.clients.consolidated import (
    ConsolidatedClient,
    ConsolidatedTrade,
    Missed,
    Start,
    Why,
)
from fanout.errors import BindError, UsageError
from fanout.protocol.consolidated import TRADE, encode_record
from fanout.transports.consolidate import chunks
from fanout.transports.consolidate.check import check_rings
from fanout.transports.consolidate.chunks import assigned
from fanout.transports.consolidate.config import ConsolidateConfig
from fanout.transports.consolidate.ring_file import OwnedRing, head_of, open_ring, writer_of
from tests.stand.packed_ring import PackedRing, payload_of

MIB = 2**20


def opened(folder: Path, **options: int) -> OwnedRing:
    made = {"capacity": 8192, "slots": 128, "given_slots": 0, "reinit": False, **options}
    return open_ring(str(folder / "x_trade_chunk0"), **made)  # type: ignore[arg-type]


def add(ring: OwnedRing, *numbers: int) -> None:
    first = ring.head.seq + 1
    records = [
        encode_record(TRADE, first + place, payload_of(number))
        for place, number in enumerate(numbers)
    ]
    ring.append(records, TRADE)


def ids(folder: Path) -> list[int | str]:
    with ConsolidatedClient(str(folder), start=Start.OLDEST, follow=False) as client:
        return [each.exchange_trade_id for each in client if isinstance(each, ConsolidatedTrade)]


def test_a_ring_holds_what_an_independent_packing_makes(tmp_path: Path) -> None:
    ring, packed = opened(tmp_path), PackedRing()
    for number in range(1, 60):
        add(ring, number)
        packed.trade(number)
    ring.close()
    assert (tmp_path / "x_trade_chunk0.meta").read_bytes() == packed.meta_file
    assert (tmp_path / "x_trade_chunk0.data").read_bytes() == packed.data_file


def test_a_ring_of_another_writer_is_continued(tmp_path: Path) -> None:
    packed = PackedRing()
    packed.trade(1)
    packed.write(tmp_path)
    ring = opened(tmp_path, given_slots=128)
    add(ring, 2, 3)
    ring.close()
    assert ids(tmp_path) == [1, 2, 3]


def test_a_ring_that_was_left_half_written_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed behind the data, behind the slot, and behind the tail."""
    packed = PackedRing()
    packed.trade(1)
    packed.append(payload_of(2), counts=False)
    packed.write(tmp_path)
    ring = opened(tmp_path)
    add(ring, 3)
    ring.close()
    assert not caplog.text
    with (tmp_path / "x_trade_chunk0.meta").open("r+b") as file:
        file.seek(16)
        (tail,) = struct.unpack("<Q", file.read(8))
        file.seek(16)
        file.write(struct.pack("<Q", tail + 400))
    ring = opened(tmp_path)
    add(ring, 4)
    ring.close()
    assert "left half written; it goes on at number 3" in caplog.text
    assert ids(tmp_path) == [1, 3, 4]


class KilledError(BaseException):
    """Ends a writer between two bytes that it stores."""


def test_a_writer_may_be_killed_behind_any_byte_of_any_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads then has each record that counted, and those of the next writer, once."""
    real, left = os.pwrite, 0

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        nonlocal left
        taken = real(fd, data[:left], offset) if left else 0
        left -= taken
        if taken < len(data):
            raise KilledError
        return taken

    number, counted = 0, list[int | str]()
    for spared in range(0, 1_100, 37):
        ring = opened(tmp_path)
        batch, number = [number + 1, number + 2], number + 2
        with monkeypatch.context() as patched, suppress(KilledError):
            left = spared
            patched.setattr(os, "pwrite", pwrite)
            add(ring, *batch)
        ring.close()
        found = ids(tmp_path)
        if found[-2:] == batch:
            counted += batch
        assert found == counted[-len(found) :]
        if len(counted) < 10:
            assert found == counted
    assert 0 < len(counted) < number


@pytest.mark.parametrize("slots", [128, 4_096])
def test_a_reader_that_is_overtaken_again_and_again_has_each_number_once(
    tmp_path: Path, slots: int
) -> None:
    """The writer is a thread. It goes round the ring some thirty times meanwhile."""
    ring = opened(tmp_path, capacity=65_536, slots=slots)

    def write() -> None:
        for first in range(1, 6_400, 16):
            add(ring, *range(first, first + 16))

    client = ConsolidatedClient(str(tmp_path), start=Start.OLDEST, poll_s=0)
    due, trades, writer = client.poll()[0].next_seq, 0, Thread(target=write)  # type: ignore[union-attr]
    writer.start()
    is_over = False
    while not is_over:
        is_over = not writer.is_alive()
        for each in client.poll():
            if isinstance(each, ConsolidatedTrade):
                assert each.exchange_trade_id == each.writer_seq == due
                due, trades = due + 1, trades + 1
            else:
                assert isinstance(each, Missed)
                assert (each.first_seq, each.why) == (due, Why.LAPPED)
                due = each.last_seq + 1
    client.close()
    ring.close()
    assert due == 6_401
    assert trades >= 100


def test_a_ring_whose_newest_record_is_damaged_goes_on_behind_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = PackedRing()
    packed.trade(1)
    packed.damage(packed.trade(2) + 50)
    packed.write(tmp_path)
    ring = opened(tmp_path)
    add(ring, 3)
    ring.close()
    assert "its newest record 2 is damaged" in caplog.text
    assert ids(tmp_path) == [1, 3]


def refusal(folder: Path, **options: int) -> str:
    with pytest.raises(BindError) as error:
        opened(folder, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_ring_of_another_kind_is_refused_in_one_line(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert "8,192 bytes, and --data-bytes is 16,384" in refusal(tmp_path, capacity=16_384)
    assert "128 slots, and --index-slots is 256" in refusal(tmp_path, given_slots=256)
    meta, data = (tmp_path / f"x_trade_chunk0.{each}" for each in ("meta", "data"))
    os.truncate(data, 5_000)
    assert "5,000 bytes, and its head says 8,192: it is half a file" in refusal(tmp_path)
    data.unlink()
    assert "no such file" in refusal(tmp_path)
    kept = meta.read_bytes()
    meta.unlink()
    data.touch()
    assert "x_trade_chunk0.data has no .meta: bring it back, or give --reinit" in refusal(tmp_path)
    meta.write_bytes(kept)
    data.touch()
    meta.write_bytes(b"NORING" + meta.read_bytes()[6:])
    assert "NORING" in refusal(tmp_path)
    meta.write_bytes(b"")
    assert "0 bytes" in refusal(tmp_path)
    assert writer_of(str(tmp_path / "x_trade_chunk0")) is None
    opened(tmp_path, reinit=True).close()
    assert ids(tmp_path) == []


def test_a_ring_has_one_writer(tmp_path: Path) -> None:
    ring = opened(tmp_path)
    stem = str(tmp_path / "x_trade_chunk0")
    assert f"belongs to process {os.getpid()}, which is running" in refusal(tmp_path)
    assert writer_of(stem) == os.getpid()
    ring.close()
    assert writer_of(stem) is None
    Path(f"{stem}.lock").unlink()
    assert writer_of(stem) is None
    Path(f"{stem}.lock").symlink_to("/etc/passwd")
    assert "cannot open" in refusal(tmp_path)


@pytest.mark.parametrize("call", ["pwrite", "ftruncate"])
def test_a_disk_that_does_not_take_the_lock_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        assert "x_trade_chunk0.lock: No space left on device" in refusal(tmp_path)
    opened(tmp_path).close()


def test_another_program_that_writes_the_ring_is_noticed(tmp_path: Path) -> None:
    """One that knows nothing of the lock."""
    ring = opened(tmp_path)
    add(ring, 1)
    other = PackedRing()
    other.trade(7)
    other.trade(8)
    other.write(tmp_path)
    with pytest.raises(BindError, match="another program writes the ring"):
        add(ring, 2)
    ring.close()
    assert ids(tmp_path) == [7, 8]


def test_a_lock_that_is_removed_counts_as_a_ring_that_is(tmp_path: Path) -> None:
    ring = opened(tmp_path)
    assert ring.is_whole()
    (tmp_path / "x_trade_chunk0.lock").unlink()
    assert not ring.is_whole()
    ring.close()


def test_a_ring_that_is_mended_goes_on_and_a_store_that_failed_is_no_other_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring, real = opened(tmp_path), os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if offset == 24:
            raise OSError(errno.EIO, "cut")
        return real(fd, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        with pytest.raises(OSError, match="cut"):
            add(ring, 1)
    add(ring, 2)
    ring.close()
    assert ids(tmp_path) == [2]


def test_a_full_disk_leaves_no_half_of_a_ring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def posix_fallocate(fd: int, offset: int, size: int) -> None:
        if size == 8192:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", posix_fallocate)
    assert "no 11,304 bytes are free there: make room" in refusal(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["x_trade_chunk0.lock"]


def test_a_disk_that_takes_nothing_appends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = opened(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda fd, data, offset: 0)
        with pytest.raises(OSError, match="took nothing"):
            add(ring, 1)
    add(ring, 2)
    ring.close()
    assert ids(tmp_path) == [2]


def test_chunks_are_full_before_another_begins(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert assigned(folder, "a", ["D", "B", "C"], 2) == {"B": 0, "C": 0, "D": 1}
    assert assigned(folder, "b", ["B"], 2) == {"B": 0}
    assert assigned(folder, "a", ["A", "B", "E"], 2) == {"B": 0, "C": 0, "D": 1, "A": 1, "E": 2}
    assert assigned(folder, "a", ["F"], 3)["F"] == 0
    assert assigned(folder, "a", [], 2)["A"] == 1


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": [[1]]}', '{"a": [["B"], ["B"]]}', '{"\xff', "[" * 100_000]
)
def test_chunks_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "chunks.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BindError, match=r"chunks\.json: ") as error:
        assigned(str(tmp_path), "a", ["B"], 2)
    assert "\n" not in str(error.value)


def test_a_lock_of_the_chunks_that_another_holds_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "PATIENCE_S", 0.0)
    assigned(str(tmp_path), "a", ["B"], 2)
    path = tmp_path / ".chunks.json.lock"
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(BindError, match=f"another process holds {path}: stop it"):
            assigned(str(tmp_path), "a", ["C"], 2)
    assert assigned(str(tmp_path), "a", ["C"], 2) == {"B": 0, "C": 0}


def test_chunks_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="cannot keep"):
        assigned(str(tmp_path / "none"), "a", ["B"], 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rings": ""}, "--rings ''"),
        ({"chunk_symbols": 0}, "--chunk-symbols 0"),
        ({"data_bytes": MIB - 1}, "--data-bytes 1,048,575"),
        ({"index_slots": 127}, "--index-slots 127"),
    ],
)
def test_options_that_make_no_ring_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ConsolidateConfig(**{"rings": "x", **options})  # type: ignore[arg-type]


def test_the_index_covers_all_data_unless_it_is_given() -> None:
    config = ConsolidateConfig(rings="x")
    assert config.slots == 2 * MIB
    assert ConsolidateConfig(rings="x", index_slots=32_768).slots == 32_768


def test_the_check_looks_at_the_room_the_rings_and_their_writer(tmp_path: Path) -> None:
    config = ConsolidateConfig(rings=str(tmp_path / "rings"), data_bytes=MIB)
    assert "needed for each new ring" in check_rings(config).found
    (tmp_path / "rings").mkdir()
    ring = open_ring(
        str(tmp_path / "rings" / "x"), capacity=MIB, slots=128, given_slots=0, reinit=False
    )
    assert f"belongs to process {os.getpid()}" in check_rings(config).found
    ring.close()
    assert "1 there" in check_rings(config).found
    larger = check_rings(ConsolidateConfig(rings=str(tmp_path / "rings"), data_bytes=2 * MIB))
    assert "x has 1,048,576 bytes, and --data-bytes is 2,097,152" in larger.found
    (tmp_path / "rings" / "x.meta").write_bytes(b"x")
    failed = check_rings(config)
    assert (failed.fault, "x.meta is no ring" in failed.found) == (Fault.MACHINE, True)
    assert head_of(str(tmp_path / "none")) is None


def test_the_check_finds_a_full_disk(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    full = os.statvfs_result((*status[:3], 0, 0, *status[5:]))
    config = ConsolidateConfig(rings=str(tmp_path), data_bytes=MIB)
    failed = check_rings(config, statvfs=lambda path: full)
    assert failed.fault is Fault.MACHINE
    (tmp_path / "file").touch()
    under = ConsolidateConfig(rings=str(tmp_path / "file" / "rings"), data_bytes=MIB)
    assert check_rings(under).fault is Fault.MACHINE
