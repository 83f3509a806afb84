import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from fanout.errors import ConfigError
from fanout.journal.disk import RealDisk
from fanout.journal.recovery import MOST_NAMED, recover
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    PLACE_BYTES,
    PLACE_EVERY_BYTES,
    PlaceKind,
    decode_places,
    numbered,
)
from fanout.protocol.journal_scan import scan
from tests.fanout.journal.kept import EPOCH_NS, Keeper, files_below, make_channel, write_journal

Caplog = pytest.LogCaptureFixture


def recovered(directory: Path) -> dict[str, int]:
    return recover(RealDisk(), str(directory))


def frame_ends(data: bytes) -> list[int]:
    """Where the frames of a segment end."""
    ends, seq = [FILE_HEADER_BYTES], 1
    while ends[-1] < len(data):
        found = scan(data, ends[-1], seq, 0, stop=ends[-1] + 1)
        assert found.frames
        ends.append(found.offset)
        seq = found.next_seq
    return ends[1:]


def test_an_empty_directory_has_no_channels(tmp_path: Path) -> None:
    assert recovered(tmp_path) == {}


def test_a_journal_in_order_stays_as_it_is(tmp_path: Path, caplog: Caplog) -> None:
    write_journal(tmp_path, 3, *[1000] * 30, 2)
    write_journal(tmp_path, 3, 2, epoch_ns=EPOCH_NS + 5)
    before = files_below(tmp_path)
    assert recovered(tmp_path) == {"test": EPOCH_NS + 5}
    assert (files_below(tmp_path), caplog.messages) == (before, [])


def test_a_torn_end_is_kept_elsewhere_and_cut_off(tmp_path: Path, caplog: Caplog) -> None:
    segment = write_journal(tmp_path, 3, 2)
    whole = segment.read_bytes()
    begin = frame_ends(whole)[-2]
    torn = segment.with_suffix(".torn")
    for size in (begin + 1, begin + 4, begin + 40, len(whole) - 1):
        segment.write_bytes(whole[:size])
        caplog.clear()
        assert recovered(tmp_path) == {"test": EPOCH_NS}
        assert segment.read_bytes() == whole[:begin]
        assert torn.read_bytes() == whole[begin:size]
        torn.unlink()
        (line,) = caplog.messages
        assert line == (
            f"{segment}: {size - begin} bytes behind number 3 are no whole frames: cut off, and "
            f"kept in {torn.name}"
        )


@pytest.mark.parametrize("rest", [b"\0" * 1_200_000, b"\xff" * 70_000, b"\x10"])
def test_what_holds_no_frame_is_torn(tmp_path: Path, rest: bytes) -> None:
    segment = write_journal(tmp_path, 3, 2)
    whole = segment.read_bytes()
    segment.write_bytes(whole + rest)
    recovered(tmp_path)
    assert segment.read_bytes() == whole
    assert segment.with_suffix(".torn").read_bytes() == rest


def test_what_was_torn_before_is_kept_too(tmp_path: Path) -> None:
    segment = write_journal(tmp_path, 3)
    whole = segment.read_bytes()
    for rest in (b"one", b"two", b"three", b"two"):
        segment.write_bytes(whole + rest)
        recovered(tmp_path)
    kept = {each.name: each.read_bytes() for each in segment.parent.glob("*.torn*")}
    name = numbered(1, ".torn")
    assert kept == {name: b"one", f"{name}.2": b"two", f"{name}.3": b"three"}


def test_right_frames_behind_damaged_ones_stay(tmp_path: Path, caplog: Caplog) -> None:
    segment = write_journal(tmp_path, 3, 2, 4, 1)
    data = bytearray(segment.read_bytes())
    begin, end = frame_ends(bytes(data))[-4:-2]
    data[end - 7] ^= 1
    segment.write_bytes(data)
    recovered(tmp_path)
    assert segment.read_bytes() == data
    (line,) = caplog.messages
    assert line == (
        f"{segment}: {end - begin} bytes at {begin} are damaged: readers get numbers 4 to 5 "
        "reported as lost"
    )


def test_of_many_holes_some_are_named(tmp_path: Path, caplog: Caplog) -> None:
    segment = write_journal(tmp_path, *[1] * 40)
    data = bytearray(segment.read_bytes())
    for end in frame_ends(bytes(data))[-40:-1:2]:
        data[end - 7] ^= 1
    segment.write_bytes(data)
    recovered(tmp_path)
    assert len(caplog.messages) == MOST_NAMED + 1
    assert caplog.messages[-1] == f"{segment}: {20 - MOST_NAMED} more places are damaged"


def test_old_frames_behind_the_end_are_torn(tmp_path: Path) -> None:
    segment = write_journal(tmp_path, 3, 2)
    whole = segment.read_bytes()
    begin = frame_ends(whole)[-2]
    segment.write_bytes(whole + whole[begin:])  # a right frame whose numbers were before
    recovered(tmp_path)
    assert segment.read_bytes() == whole


def without(index: Path) -> None:
    index.unlink()


def cut(index: Path) -> None:
    os.truncate(index, FILE_HEADER_BYTES + PLACE_BYTES + 7)


def garbage(index: Path) -> None:
    index.write_bytes(b"\x55" * 5_000)


def of_another(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[24] ^= 1
    index.write_bytes(data)


@pytest.mark.parametrize("spoil", [without, cut, garbage, of_another])
def test_an_index_is_completed_or_made_anew(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    keeper = Keeper(str(tmp_path), make_channel())
    keeper.publish(*[1000] * 30)
    header = keeper.channel.header
    changed = replace(header.instruments[0], tick=7)
    keeper.channel.change((changed,), header.references[:1])
    keeper.publish(*[1000] * 15)
    keeper.seal()
    segment = Path(keeper.folder) / numbered(1, ".fj")
    index = segment.with_suffix(".fi")
    before = decode_places(index.read_bytes()[FILE_HEADER_BYTES:])
    (change,) = [each for each in before if each.kind is PlaceKind.CHANGE]
    spoil(index)
    recovered(tmp_path)
    after = decode_places(index.read_bytes()[FILE_HEADER_BYTES:])
    assert change in after
    offsets = [0, *(each.offset for each in after), segment.stat().st_size]
    assert all(b - a < PLACE_EVERY_BYTES + 6_000 for a, b in pairwise(offsets))
    files = files_below(tmp_path)
    recovered(tmp_path)
    assert files_below(tmp_path) == files, "it is right now"


def test_an_index_loses_what_the_segment_lacks(tmp_path: Path) -> None:
    segment = write_journal(tmp_path, *[1000] * 60)
    size = segment.stat().st_size
    os.truncate(segment, size // 2)
    recovered(tmp_path)
    index = segment.with_suffix(".fi").read_bytes()
    assert FILE_HEADER_BYTES < len(index) < FILE_HEADER_BYTES + PLACE_BYTES * size // 2 // 60_000
    before = files_below(tmp_path)
    recovered(tmp_path)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("size", [0, 7, 64, 70, 100])
def test_a_segment_without_a_record_is_no_segment_any_more(
    tmp_path: Path, caplog: Caplog, size: int
) -> None:
    keeper = Keeper(str(tmp_path), make_channel())
    keeper.publish(3, 2)
    keeper.seal()
    keeper.begin()
    keeper.seal()
    segment = Path(keeper.folder) / numbered(6, ".fj")
    os.truncate(segment, size)
    first = Path(keeper.folder) / numbered(1, ".fj")
    whole = first.read_bytes()
    first.write_bytes(whole + b"x")
    recovered(tmp_path)
    assert not segment.exists()
    assert segment.with_suffix(".torn").stat().st_size == size
    assert first.read_bytes() == whole, "then the one before it may be torn as well"
    assert f"{segment}: holds no whole record: kept as {numbered(6, '.torn')}" in caplog.messages


def test_a_damaged_head_is_no_torn_end(tmp_path: Path, caplog: Caplog) -> None:
    segment = write_journal(tmp_path, 3, 2)
    data = bytearray(segment.read_bytes())
    for at in (0, 16, 80):
        segment.write_bytes(data[:at] + bytes(8) + data[at + 8 :])
        before = files_below(tmp_path)
        caplog.clear()
        recovered(tmp_path)
        assert files_below(tmp_path) == before
        assert "its head is damaged" in caplog.text


def test_files_of_others_stay_and_are_named(tmp_path: Path, caplog: Caplog) -> None:
    segment = write_journal(tmp_path, 3)
    folder = segment.parent
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "Notes").mkdir()
    (folder.parent / "12").mkdir()
    (folder.parent / numbered(5)).write_text("a file")
    (folder.parent / numbered(EPOCH_NS + 9)).write_text("a file")
    (folder / numbered(9, ".fj")).mkdir()
    (folder / numbered(8, ".fj")).symlink_to(segment)
    (folder / numbered(7, ".fj")).write_text("not a segment, though it is named as one")
    shutil.copy(segment, folder / numbered(6, ".fj"))
    (folder / "core.part").write_text("mine")
    before = files_below(tmp_path)
    assert recovered(tmp_path) == {"test": EPOCH_NS + 9}
    assert files_below(tmp_path) == before
    assert len(caplog.messages) == MOST_NAMED + 1
    assert caplog.messages[0] == f"journal: {tmp_path}/Notes is no file of a journal: it stays"
    assert caplog.messages[-1] == f"journal: {9 - MOST_NAMED} more files are none"


def test_unfinished_files_are_removed(tmp_path: Path, caplog: Caplog) -> None:
    segment = write_journal(tmp_path, 3)
    before = files_below(tmp_path)
    for ending in (".fj", ".fi", ".fs", ".torn", ".torn.2"):
        (segment.parent / f"{numbered(4, ending)}.part").write_bytes(b"half")
    recovered(tmp_path)
    assert (files_below(tmp_path), caplog.messages) == (before, [])


def test_unfinished_files_of_earlier_epochs_are_removed_too(tmp_path: Path) -> None:
    """As `fanout journal index` leaves one if it is interrupted."""
    old = write_journal(tmp_path, 3)
    write_journal(tmp_path, 3, epoch_ns=EPOCH_NS + 1)
    before = files_below(tmp_path)
    (old.parent / f"{numbered(1, '.fi')}.part").write_bytes(b"half")
    recovered(tmp_path)
    assert files_below(tmp_path) == before


def test_an_epoch_without_a_segment_keeps_its_number(tmp_path: Path) -> None:
    segment = write_journal(tmp_path, 3)
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"x")
    (segment.parent.parent / numbered(EPOCH_NS + 1)).mkdir()
    assert recovered(tmp_path) == {"test": EPOCH_NS + 1}
    assert segment.read_bytes() == whole, "the epoch before is the newest one with a segment"


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    segment = write_journal(tmp_path, 3)
    data = bytearray(segment.read_bytes())
    data[8] = 2
    segment.write_bytes(data)
    with pytest.raises(ConfigError, match="is of a later version: start a later fanout") as caught:
        recovered(tmp_path)
    assert str(segment) in str(caught.value)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    class Closed(RealDisk):
        def open(self, path: str, *, make: bool = False) -> int:
            raise PermissionError(13, "Permission denied", path)

    write_journal(tmp_path, 3)
    with pytest.raises(PermissionError):
        recover(Closed(), str(tmp_path))
