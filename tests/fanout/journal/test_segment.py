import errno
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from msgspec.structs import replace

from fanout.channel.channel import Channel, framed
from fanout.journal.files import write_whole
from fanout.journal.segment import Segment
from fanout.protocol import Status, Trade, decode_event
from fanout.protocol.constants import LENGTH_BYTES, START
from fanout.protocol.framing import frame
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    PLACE_EVERY_BYTES,
    FileHeader,
    PlaceKind,
    encode_file_header,
)
from tests.stand.channels import new_channel, publish, publish_bulk
from tests.stand.disk import MemoryDisk, Unsynced
from tests.stand.kept import Kept

FIRST = FileHeader(epoch_ns=7, first_seq=1, created_ns=9)


class Written:
    """A segment that is written to a disk in memory, with the frames of a channel."""

    def __init__(self, disk: MemoryDisk | None = None, *, syncs: bool = True) -> None:
        self.disk = disk or MemoryDisk()
        self.kept = Kept("/j", "one", 7, self.disk)
        self.segment = Segment(self.disk, self.kept.folder, FIRST, syncs=syncs)
        self.channel = new_channel(name="one")
        self._cursor = self.channel.log.live()

    def begin(self) -> "Written":
        self.segment.open()
        self.segment.append([self.channel.greeting()])
        self.segment.publish()
        return self

    def news(self) -> bytes:
        """What the channel published since the last time."""
        data = self.channel.log.read(self._cursor, 10**9)
        assert isinstance(data, bytes)
        return data

    def append(self, *publishing: Callable[[Channel], None]) -> None:
        pieces = []
        for each in publishing:
            each(self.channel)
            pieces.append(self.news())
        self.segment.append(pieces)


def trades(first_id: int, count: int = 1) -> Callable[[Channel], None]:
    return lambda channel: publish(channel, first_id, count)


def bulk(channel: Channel) -> None:
    publish_bulk(channel, PLACE_EVERY_BYTES * 3 // 4)


def frames_of(channel: Channel) -> bytes:
    log = channel.log
    return b"".join(log.entry(each).frame for each in range(log.oldest, log.end))


def new_channel_with(count: int) -> Channel:
    channel = new_channel(name="one")
    publish(channel, 1, count)
    return channel


def test_a_segment_holds_its_header_and_then_the_frames_byte_for_byte() -> None:
    written = Written().begin()
    written.append(trades(1, 3), trades(4))
    data = written.disk.contents(f"{written.kept.folder}/00000000000000000001.fj")
    assert data[:FILE_HEADER_BYTES] == encode_file_header(FIRST)
    opening = new_channel(name="one").greeting()
    assert written.kept.frames(1) == opening + frames_of(written.channel)
    ids = [each.trade_id for each in written.kept.records(1) if isinstance(each, Trade)]
    assert ids == [1, 2, 3, 4]
    assert written.segment.next_seq == 5


def test_a_segment_has_no_name_until_its_head_is_whole() -> None:
    written = Written()
    written.segment.open()
    written.segment.append([written.channel.greeting()])
    assert written.kept.names() == ["00000000000000000001.fj.part"]
    assert not written.segment.sync()
    written.segment.publish()
    assert written.kept.names() == ["00000000000000000001.fi", "00000000000000000001.fj"]


def test_what_an_earlier_attempt_left_is_replaced() -> None:
    written = Written()
    written.segment.open()
    again = Written(written.disk).begin()
    assert again.kept.segments() == [1]
    publish(again.channel, 1)
    anew = Written(written.disk).begin()
    assert anew.kept.accounted() == []
    assert anew.kept.places(1) == []


def test_the_index_has_a_place_each_64_kib_at_the_most() -> None:
    written = Written().begin()
    written.append(*[bulk] * 6)
    places = written.kept.places(1)
    assert {each.kind for each in places} == {PlaceKind.FRAME}
    offsets = [FILE_HEADER_BYTES, *(each.offset for each in places), written.segment.size_bytes]
    assert max(b - a for a, b in pairwise(offsets)) <= PLACE_EVERY_BYTES
    data = written.kept.frames(1)
    for each in places:
        assert each.opening == FILE_HEADER_BYTES + len(frame(START))
        at = each.offset - FILE_HEADER_BYTES + LENGTH_BYTES
        status = decode_event(data[at : at + frame_length(data, at)], written.channel.header)
        assert isinstance(status, Status)
        assert status.seq == each.seq


def frame_length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at - LENGTH_BYTES : at], "little")


def test_headers_and_changes_in_mid_stream_have_places() -> None:
    written = Written().begin()
    channel = written.channel
    reference = replace(channel.header.references[0], trade_id=5)
    written.append(trades(1, 2))
    before = written.segment.size_bytes
    written.append(lambda each: each.change(each.header.instruments[:1], [reference]))
    anew = framed(replace(channel.header, next_seq=3))
    written.segment.append([anew])
    written.append(bulk, bulk)
    change, opening, there = written.kept.places(1)
    first = FILE_HEADER_BYTES + len(frame(START))
    assert (change.kind, change.offset, change.opening) == (PlaceKind.CHANGE, before, first)
    assert (opening.kind, opening.opening) == (PlaceKind.OPENING, first)
    assert (there.kind, there.opening) == (PlaceKind.FRAME, opening.offset)
    assert (change.seq, change.time_ns) == (3, 1)
    at = opening.offset - FILE_HEADER_BYTES
    assert written.kept.frames(1)[at:].startswith(anew)


def test_a_short_write_goes_on() -> None:
    disk = MemoryDisk()
    disk.short_writes = True
    written = Written(disk).begin()
    written.append(trades(1, 3), trades(4), trades(5))
    assert written.kept.accounted() == [1, 2, 3, 4, 5]


def test_a_disk_that_takes_nothing_is_a_failure() -> None:
    class Idle(MemoryDisk):
        def write(self, descriptor: int, offset: int, pieces: Sequence[bytes]) -> int:
            return 0

    disk = Idle()
    disk.make_folder("/j")
    with pytest.raises(OSError, match="the disk took nothing"):
        write_whole(disk, "/j/file", b"some")
    with pytest.raises(OSError, match="the disk took nothing"):
        Written(disk).begin()


def test_a_full_disk_leaves_whole_frames_and_the_number_to_go_on_from() -> None:
    written = Written().begin()
    written.append(trades(1, 3))
    written.disk.room_bytes = 10
    with pytest.raises(OSError, match="No space left"):
        written.append(trades(4, 50))
    assert written.segment.abandon() == 4
    assert written.kept.accounted() == [1, 2, 3]
    assert written.disk.open_files == 0


def test_after_a_failed_sync_only_what_was_synced_counts() -> None:
    written = Written().begin()
    written.append(trades(1, 3))
    assert written.segment.sync()
    written.append(trades(4))
    written.disk.sync_error = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        written.segment.sync()
    written.disk.sync_error = 0
    assert not written.segment.sync(), "the descriptor is used again"
    assert written.segment.abandon() == 4
    assert (
        written.disk.after_power_cut()
        .contents(f"{written.kept.folder}/00000000000000000001.fj")
        .endswith(frames_of(new_channel_with(3)))
    )


def test_a_segment_that_failed_counts_as_far_as_it_can_be_synced() -> None:
    written = Written().begin()
    written.append(trades(1, 3))
    written.disk.write_error = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        written.append(trades(4))
    assert written.segment.abandon() == 4
    assert written.disk.syncs == 2, "of the segment and of its index"


def test_nothing_counts_where_the_last_sync_fails_too() -> None:
    written = Written().begin()
    written.append(trades(1, 3))
    written.disk.write_error = written.disk.sync_error = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        written.append(trades(4))
    assert written.segment.abandon() == 1


def test_without_syncs_what_was_written_counts() -> None:
    written = Written(syncs=False).begin()
    written.append(trades(1, 3))
    assert not written.segment.sync()
    written.disk.room_bytes = 0
    with pytest.raises(OSError, match="No space left"):
        written.append(trades(4))
    assert (written.segment.abandon(), written.disk.syncs) == (4, 0)


def test_a_removed_file_is_a_failure_though_the_disk_reports_none() -> None:
    written = Written().begin()
    written.append(trades(1))
    assert written.segment.sync()
    written.disk.remove_tree("/j")
    written.append(trades(2))
    with pytest.raises(FileNotFoundError):
        written.segment.sync()
    assert written.segment.abandon() == 2


def test_a_head_that_does_not_fit_leaves_nothing() -> None:
    written = Written()
    written.segment.open()
    written.disk.room_bytes = 5
    with pytest.raises(OSError, match="No space left"):
        written.segment.append([written.channel.greeting()])
    assert written.segment.abandon() == 1
    assert written.kept.names() == []


def test_a_disk_with_too_little_room_is_not_begun_with() -> None:
    written = Written()
    written.disk.room_bytes = 100
    with pytest.raises(OSError, match="No space left"):
        written.segment.open(least_free_bytes=101)
    assert written.segment.abandon() == 1


def test_what_was_synced_outlives_a_power_cut_with_its_name() -> None:
    written = Written().begin()
    written.append(trades(1, 3))
    written.segment.sync()
    written.append(trades(4))
    for unsynced in Unsynced:
        after = written.disk.after_power_cut(unsynced, keeps_names=False)
        data = Kept("/j", "one", 7, after).frames(1)
        assert frames_of(new_channel_with(3)) in data


@pytest.mark.parametrize("call", ["write_error", "make_error"])
def test_an_index_that_cannot_be_written_fails_the_segment(call: str) -> None:
    written = Written()
    written.segment.open()
    written.segment.append([written.channel.greeting()])
    setattr(written.disk, call, errno.EROFS)
    with pytest.raises(OSError, match="Read-only"):
        written.segment.publish()
    assert written.segment.abandon() == 1
