"""Reading a journal in memory, whole and damaged, at rest and while it is written."""

import errno
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    START,
    EndReason,
    FeedState,
    Loss,
    LossReason,
    Position,
    Record,
    Skipped,
    Snapshot,
    Start,
    Status,
    SubscriberSession,
    Trade,
    frame,
)
from fanout.protocol.events import encode_event
from fanout.protocol.framing import payloads_of, seal
from fanout.protocol.header import encode_header, opening
from fanout.protocol.journal import FILE_HEADER_BYTES, encode_file_header
from fanout.protocol.journal_play import Playback, Seen
from fanout.protocol.journal_segment import snapshots_end
from fanout.protocol.request import Begin, Moment
from tests.protocol.golden import BTC, HEADER, LIFE
from tests.stand.book_channel import Feeder, book_channel
from tests.stand.channels import new_channel, publish
from tests.stand.journals import MemoryFiles, MemorySegment, Recorder
from tests.thoroughness import examples

OLDEST = Position(epoch_ns=1, seq=1)


class Story:
    """A channel that is recorded, block by block: three trades each."""

    def __init__(self, *, epoch_ns: int = 1, files: MemoryFiles | None = None) -> None:
        self.channel = new_channel()
        self.channel.header = self.channel.log.context = replace(
            self.channel.header, epoch_ns=epoch_ns
        )
        self.files = files or MemoryFiles()
        self.recorder = Recorder(self.files, self.channel)

    def blocks(self, count: int, *, at_ns: int = 1) -> "Story":
        for _ in range(count):
            first = self.channel.log.next_seq
            trades = [Trade(BTC, first + each, 5, 6, 7, False) for each in range(3)]
            self.channel.publish(trades, received_ns=at_ns, held_ns=1)
            self.recorder.write()
        return self

    def rotate(self, created_ns: int = 0) -> "Story":
        self.recorder.begin(created_ns)
        return self

    def segment(self, first_seq: int, epoch_ns: int = 1) -> MemorySegment:
        return self.files.all[epoch_ns, first_seq]


def whole() -> Story:
    """Numbers 1 to 27 in three segments, which begin at 1, 10 and 19."""
    return Story().blocks(3).rotate(100).blocks(3).rotate(200).blocks(3)


class Heard:
    """What a session makes of a playback."""

    def __init__(self, playback: Playback, start: Begin = OLDEST) -> None:
        self.playback = playback
        self.session = SubscriberSession()
        self.session.ask(start)
        self.session.receive(playback.greeting)
        self.records: list[Record] = []
        self.read()

    def read(self, limit: int = 256 * 1024) -> list[Record]:
        """What is new."""
        before = len(self.records)
        while data := self.playback.read(limit):
            assert payloads_of(data)
            self.session.receive(data)
        while (records := self.session.next_records()) is not None:
            self.records += records
        if self.session.next_seq is not None and len(self.records) > before:
            assert self.session.next_seq == self.playback.next_seq
            assert self.session.header is not None
            assert replace(self.session.header, next_seq=1) == replace(
                self.playback.header, next_seq=1
            )
        return self.records[before:]

    @property
    def numbers(self) -> list[int]:
        return [seq for each in self.records if (seq := getattr(each, "seq", 0))]

    @property
    def lost(self) -> list[tuple[int, int, LossReason]]:
        losses = (each for each in self.records if isinstance(each, Loss))
        return [(each.first_seq, each.last_seq, each.reason) for each in losses]


def heard(files: MemoryFiles, start: Begin = OLDEST, limit: int = 256 * 1024) -> Heard:
    playback = Playback(files)
    assert playback.begin(start)
    found = Heard(playback, start)
    playback.close()
    assert not any(each.is_open for each in files.opened)
    return found


def test_it_reads_over_all_segments_without_a_seam() -> None:
    found = heard(whole().files)
    assert found.numbers == list(range(1, 28))
    assert found.lost == []
    assert len(found.records) == 27  # and no snapshot of a later head


@pytest.mark.parametrize("limit", [1, 60, 1_000])
def test_what_it_reads_at_once_is_limited(limit: int) -> None:
    playback = Playback(whole().files)
    playback.begin(Start.OLDEST)
    longest = 0
    while data := playback.read(limit):
        longest = max(longest, len(data))
    assert playback.next_seq == 28
    assert longest <= max(limit, 200) or limit == 1


def test_it_begins_at_any_number() -> None:
    story = whole()
    for seq in range(1, 28):
        found = heard(story.files, Position(epoch_ns=1, seq=seq))
        assert found.numbers == list(range(seq, 28))


def test_it_begins_at_any_number_without_an_index() -> None:
    story = whole()
    for segment in story.files.all.values():
        segment.index = None
    for seq in range(1, 28):
        assert heard(story.files, Position(epoch_ns=1, seq=seq)).numbers == list(range(seq, 28))


def test_an_index_of_which_a_power_cut_left_zeros_hides_nothing() -> None:
    story = Story().blocks(50)
    segment = story.segment(1)
    index = segment.index
    assert index is not None
    for size in range(64, len(index), 40):
        segment.index = index[:size] + bytes(len(index) - size)
        for seq in (2, 90):
            found = heard(story.files, Position(epoch_ns=1, seq=seq))
            assert (found.numbers, found.lost) == (list(range(seq, 151)), [])


def test_an_index_of_another_segment_does_no_harm() -> None:
    story = whole()
    story.segment(10).index = story.segment(19).index
    assert heard(story.files, Position(epoch_ns=1, seq=14)).numbers == list(range(14, 28))


def test_a_number_that_is_still_to_come_is_waited_for() -> None:
    story = Story().blocks(2)
    playback = Playback(story.files)
    assert playback.begin(Position(epoch_ns=1, seq=11))
    found = Heard(playback, Position(epoch_ns=1, seq=11))
    assert (playback.next_seq, found.records) == (11, [])
    story.blocks(1)
    assert found.read() == []
    story.channel.change([replace(LIFE, tick=7)], [HEADER.references[1]])
    story.blocks(2)
    assert [getattr(each, "seq", 0) for each in found.read()] == [11, 12, 13, 14, 15]


def test_it_goes_on_with_what_is_written_later() -> None:
    story = Story().blocks(1)
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    found = Heard(playback)
    assert found.read() == []
    story.blocks(1)
    assert len(found.read()) == 3
    story.rotate().blocks(1)
    assert len(found.read()) == 3
    assert playback.read() == b""
    assert found.numbers == list(range(1, 10))


def test_it_reads_whole_frames_only() -> None:
    story = Story().blocks(1)
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    found = Heard(playback)
    size = len(story.recorder.segment.data)
    story.blocks(1)
    data = bytes(story.recorder.segment.data)
    for cut in range(size, len(data)):
        story.recorder.segment.data[:] = data[:cut]
        assert found.read() == []
    story.recorder.segment.data[:] = data
    assert len(found.read()) == 3


@pytest.mark.parametrize("is_followed", [True, False])
def test_a_segment_that_is_replaced_under_its_reader_is_read_on(is_followed: bool) -> None:
    """A writer whose disk failed writes the records anew, in a segment of the same name."""
    story = Story().blocks(3).rotate(100).blocks(2)
    playback = Playback(story.files)
    assert playback.begin(OLDEST)
    found = Heard(playback)
    assert found.numbers == list(range(1, 16))
    old, new, made = (
        story.segment(10),
        MemorySegment(),
        replace(story.recorder.made, created_ns=200),
    )
    at, _ = block_at(old, 13)
    new.data += encode_file_header(made) + old.data[FILE_HEADER_BYTES:at]
    story.files.all[1, 10] = story.recorder.segment = new
    story.recorder.made = made
    if is_followed:
        assert found.read() == []
        assert found.read() == []
    new.data += old.data[at:]
    story.blocks(2)
    if not is_followed:
        story.rotate(300).blocks(1)
    found.read()
    assert found.numbers == list(range(1, 22 if is_followed else 25))
    assert found.lost == []
    playback.close()
    assert not any(each.is_open for each in story.files.opened)


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_name_that_shows_no_segment_any_more_changes_nothing(is_gone: bool) -> None:
    story = Story().blocks(2)
    playback = Playback(story.files)
    assert playback.begin(OLDEST)
    found = Heard(playback)
    if is_gone:
        story.files.withheld.add((1, 1))
    else:
        story.files.all[1, 1] = MemorySegment()
    assert found.read() == []
    assert found.numbers == list(range(1, 7))


def test_what_is_written_between_two_looks_is_not_lost() -> None:
    story = Story().blocks(2)
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    found = Heard(playback)
    segment = story.recorder.segment
    story.blocks(2)
    segment.early = (segment.reads + 1,)
    found.read()
    assert (found.numbers, found.lost) == (list(range(1, 13)), [])


def test_the_live_end_is_a_place() -> None:
    story = whole()
    playback = Playback(story.files)
    assert playback.begin(Start.LIVE)
    assert playback.next_seq == 28
    found = Heard(playback, Start.LIVE)
    story.blocks(1)
    assert len(found.read()) == 3


def test_a_time_is_a_place() -> None:
    story = Story()
    for at_ns in (10, 20, 30):
        story.blocks(2, at_ns=at_ns)
    story.rotate(created_ns=35).blocks(2, at_ns=40).rotate(created_ns=45).blocks(1, at_ns=50)
    for time_ns, seq in ((0, 1), (10, 1), (11, 7), (20, 7), (25, 13), (31, 19), (40, 19), (41, 25)):
        playback = Playback(story.files, Seen())
        assert playback.begin(Moment(time_ns=time_ns))
        assert playback.next_seq == seq
        assert Heard(playback, Position(epoch_ns=1, seq=seq)).numbers == list(range(seq, 28))
    assert playback.begin(Moment(time_ns=51))
    assert (playback.next_seq, playback.read()) == (28, b"")


def test_records_without_a_time_come_with_the_first_that_has_one() -> None:
    story = Story().blocks(1, at_ns=10)
    later = Story(epoch_ns=100, files=story.files)
    playback = Playback(story.files)
    assert playback.begin(Moment(time_ns=50))
    assert (playback.epoch_ns, playback.next_seq) == (100, 1)
    later.blocks(1, at_ns=110)
    assert playback.begin(Moment(time_ns=50))
    assert (playback.epoch_ns, playback.next_seq) == (100, 1)


def test_segments_that_cannot_be_read_are_passed_over_in_the_search_for_a_time() -> None:
    story = whole()
    story.segment(10).data[:] = b"?"
    playback = Playback(story.files)
    assert playback.begin(Moment(time_ns=100))
    assert playback.next_seq == 28
    story.files.withheld = {(1, first_seq) for first_seq in (1, 10, 19)}
    assert not playback.begin(Moment(time_ns=100))


@pytest.mark.parametrize("at", [16, 80], ids=["its file header", "the header in it"])
def test_a_damaged_segment_hides_no_other_in_the_search_for_a_time(at: int) -> None:
    """What is damaged may be of that time: then it is a loss, as in the search for a number."""
    story = Story().blocks(1, at_ns=30).blocks(1, at_ns=60)
    for made_ns in range(100, 800, 100):
        story.rotate(made_ns).blocks(1, at_ns=made_ns + 30).blocks(1, at_ns=made_ns + 60)
    for bad in range(8):
        flip(story.segment(6 * bad + 1), at)
        for time_ns in range(5, 800, 20):
            first = 6 * (time_ns // 100) + 1 + 3 * sum(time_ns % 100 > each for each in (30, 60))
            is_unknown = first == 6 * bad + 7 and time_ns < 100 * (bad + 1)
            if first // 6 == bad or is_unknown:
                first = 6 * bad + 1
            playback = Playback(story.files)
            assert playback.begin(Moment(time_ns=time_ns))
            assert playback.next_seq == first, (bad, time_ns)
            found = Heard(playback, Position(epoch_ns=1, seq=first))
            lost = range(6 * bad + 1, 6 * bad + 7) if first <= 6 * bad + 1 else range(0)
            if bad < 7:
                assert [n for a, b, _ in found.lost for n in range(a, b + 1)] == [*lost]
            assert found.numbers == [n for n in range(first, 49 - 6 * (bad == 7)) if n not in lost]
            playback.close()
        flip(story.segment(6 * bad + 1), at)


def test_heartbeats_are_marks_of_time() -> None:
    story = Story()
    story.recorder.heartbeat(10)
    story.recorder.heartbeat(20)
    playback = Playback(story.files)
    assert playback.begin(Moment(time_ns=15))
    assert playback.read()


def test_nothing_is_kept_in_an_empty_folder() -> None:
    playback = Playback(MemoryFiles())
    for start in (Start.OLDEST, Start.LIVE, OLDEST, Moment(time_ns=5)):
        assert not playback.begin(start)
    assert playback.read() == b""
    assert not playback.next_epoch()
    story = whole()
    story.files.withheld = {(1, first_seq) for first_seq in (1, 10, 19)}
    assert not Playback(story.files).begin(Start.OLDEST)


def test_an_epoch_that_is_not_kept_stands_for_the_first_one_after_it() -> None:
    story = Story(epoch_ns=5).blocks(1)
    playback = Playback(story.files)
    assert playback.begin(Position(epoch_ns=3, seq=1_000))
    assert (playback.epoch_ns, playback.next_seq) == (5, 1)
    assert not playback.begin(Position(epoch_ns=6, seq=1))


def test_one_epoch_can_be_asked_for() -> None:
    story = Story(epoch_ns=5).blocks(1)
    Story(epoch_ns=9, files=story.files).blocks(2)
    playback = Playback(story.files)
    assert playback.begin(Start.OLDEST, epoch_ns=9)
    assert playback.epoch_ns == 9
    assert not playback.begin(Start.OLDEST, epoch_ns=8)


def test_it_goes_from_one_epoch_to_the_next() -> None:
    story = Story(epoch_ns=5).blocks(2)
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    Heard(playback)
    assert not playback.next_epoch()
    story.blocks(1)
    Story(epoch_ns=9, files=story.files).blocks(2)
    assert not playback.next_epoch()  # this one has more
    assert playback.read()
    assert playback.next_seq == 10
    assert playback.next_epoch()
    assert (playback.epoch_ns, playback.next_seq) == (9, 1)
    assert Heard(playback, Position(epoch_ns=9, seq=1)).numbers == list(range(1, 7))
    playback.close()
    assert not playback.next_epoch()


def test_an_epoch_that_is_damaged_all_over_is_not_passed_over_in_silence() -> None:
    """Nobody can tell which numbers it had."""
    story = Story(epoch_ns=5).blocks(2)
    Story(epoch_ns=9, files=story.files).blocks(3).rotate().blocks(1)
    Story(epoch_ns=15, files=story.files).blocks(1)
    for first_seq in (1, 10):
        flip(story.segment(first_seq, 9), 20)
    playback = Playback(story.files)
    assert playback.begin(Start.OLDEST)
    assert Heard(playback).numbers == list(range(1, 7))
    starts: list[Begin] = [Position(epoch_ns=7, seq=1), Position(epoch_ns=9, seq=4)]
    starts.append(Moment(time_ns=9))
    attempts = [playback.next_epoch, *(partial(Playback(story.files).begin, s) for s in starts)]
    for attempt in attempts:
        with pytest.raises(OSError, match="no segment of epoch 9 can be read: begin at epoch 15 "):
            attempt()
    assert playback.begin(Position(epoch_ns=15, seq=1))
    assert playback.begin(Moment(time_ns=15))
    playback = Playback(story.files, skips_damaged=True)
    assert playback.begin(Start.OLDEST)
    Heard(playback)
    assert playback.next_epoch()
    assert playback.epoch_ns == 15
    assert playback.begin(Moment(time_ns=9))
    del story.files.all[15, 1]
    with pytest.raises(OSError, match=r"no segment of epoch 9 can be read$"):
        Playback(story.files).begin(Start.LIVE)
    story.files.withheld = {(9, 1), (9, 10)}
    assert Playback(story.files).begin(Start.LIVE), "what was removed is not kept"


def test_the_end_of_an_epoch_is_not_read_but_shown() -> None:
    story = Story().blocks(1)
    story.channel.end(EndReason.SHUTDOWN, retry_ms=5, why="bye")
    story.recorder.write()
    for start in (OLDEST, Position(epoch_ns=1, seq=4), Position(epoch_ns=1, seq=9)):
        playback = Playback(story.files)
        playback.begin(start)
        found = Heard(playback, start)
        assert found.numbers == list(range(start.seq, 4))
        assert b"bye" in playback.ended
    assert playback.begin(Moment(time_ns=2))
    assert playback.next_seq == 4


def test_removed_segments_are_a_loss() -> None:
    story = whole()
    del story.files.all[1, 1]
    assert heard(story.files).lost == [(1, 9, LossReason.EVICTED)]
    at_3 = heard(story.files, Position(epoch_ns=1, seq=3))
    assert at_3.lost == [(3, 9, LossReason.EVICTED)]
    assert at_3.numbers == list(range(10, 28))
    assert sum(isinstance(each, Snapshot) for each in at_3.records) == 1


@pytest.mark.parametrize("is_listed", [True, False])
def test_segments_that_vanish_while_it_reads_are_a_loss(is_listed: bool) -> None:
    story = whole()
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    if is_listed:
        story.files.withheld = {(1, 10)}
    else:
        del story.files.all[1, 1], story.files.all[1, 10]
    found = Heard(playback)
    assert found.lost == [(10, 18, LossReason.EVICTED)]
    assert found.numbers == [*range(1, 10), *range(19, 28)]
    assert sum(isinstance(each, Snapshot) for each in found.records) == 1


def test_a_segment_that_cannot_be_opened_now_is_no_loss() -> None:
    """A process may be out of descriptors for a moment."""
    story = whole()
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    story.files.errors[1, 10] = OSError(errno.EMFILE, "Too many open files")
    found: list[bytes] = [playback.read()]
    for _ in range(2):
        with pytest.raises(OSError, match="Too many open files"):
            found.append(playback.read())
    assert playback.next_seq == 10
    starts: list[Begin] = [Position(epoch_ns=1, seq=12), Moment(time_ns=100), Moment(time_ns=200)]
    for start in starts:
        with pytest.raises(OSError, match="Too many open files"):
            Playback(story.files).begin(start)
    story.files.errors.clear()
    while data := playback.read():
        found.append(data)
    session = SubscriberSession()
    session.receive(playback.greeting + b"".join(found))
    records: list[Record] = []
    while (more := session.next_records()) is not None:
        records += more
    assert [each.seq for each in records if isinstance(each, Trade)] == list(range(1, 28))
    assert not any(isinstance(each, Loss) for each in records)
    playback.close()
    assert not any(each.is_open for each in story.files.opened)


def test_what_is_no_plain_file_is_damaged() -> None:
    story = whole()
    for number in (errno.ELOOP, errno.EINVAL, errno.ENXIO):
        story.files.errors[1, 10] = OSError(number, "no plain file")
        assert heard(story.files).lost == [(10, 18, LossReason.DAMAGED)]
        playback = Playback(story.files)
        assert playback.begin(Moment(time_ns=150))
        playback.close()


def test_an_index_that_cannot_be_read_now_is_tried_again() -> None:
    story = whole()
    index, seen = story.segment(10).index, Seen()
    for each in (None, index):
        story.segment(10).index = each
        playback = Playback(story.files, seen)
        assert playback.begin(Position(epoch_ns=1, seq=14))
        assert (seen.index(1, 10, is_sealed=True) is None) == (each is None)
        playback.close()


def test_an_epoch_that_vanishes_has_no_more() -> None:
    story = whole()
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    story.files.all.clear()
    assert Heard(playback).numbers == list(range(1, 10))


def test_a_segment_whose_head_is_damaged_is_a_loss() -> None:
    story = whole()
    head = bytes(story.segment(10).data)
    for at in (0, 30, 66, 80, 150):
        story.segment(10).data[:] = head
        story.segment(10).data[at] ^= 1
        found = heard(story.files)
        assert found.lost == [(10, 18, LossReason.DAMAGED)], at
        found = heard(story.files, Position(epoch_ns=1, seq=12))
        assert found.lost == [(12, 18, LossReason.DAMAGED)]
    story.segment(19).data[:] = b""
    assert heard(story.files).numbers == list(range(1, 10))
    at_20 = heard(story.files, Position(epoch_ns=1, seq=20))
    assert (at_20.records, at_20.playback.next_seq) == ([], 20)


def test_a_torn_tail_of_a_sealed_segment_is_its_end() -> None:
    story = whole()
    del story.segment(10).data[-10:]
    found = heard(story.files)
    assert found.lost == [(16, 18, LossReason.DAMAGED)]
    assert heard(story.files, Position(epoch_ns=1, seq=17)).lost == [(17, 18, LossReason.DAMAGED)]


def test_a_torn_tail_of_an_epoch_that_is_over_is_its_end() -> None:
    story = whole()
    del story.segment(19).data[-10:]
    Story(epoch_ns=9, files=story.files).blocks(1)
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    assert Heard(playback).numbers == list(range(1, 25))
    assert playback.next_epoch()


def test_a_segment_may_hold_numbers_of_the_next_one() -> None:
    """A writer whose disk failed writes them anew."""
    story = Story().blocks(3)
    recorder = story.recorder
    story.rotate()
    data = bytes(story.segment(10).data)
    for first_seq in (4, 5, 8):
        channel = new_channel()
        publish(channel, 1, first_seq - 1)
        again = Recorder(MemoryFiles(), channel)
        publish(channel, first_seq, 12 - first_seq)
        again.write()
        story.files.all = {(1, 1): story.segment(1), (1, first_seq): again.segment}
        assert heard(story.files).numbers == list(range(1, 12))
        assert heard(story.files, Position(epoch_ns=1, seq=first_seq)).numbers[0] == first_seq
    assert recorder is story.recorder
    assert data


def test_another_header_in_the_next_segment_is_given_to_the_reader() -> None:
    story = Story().blocks(1)
    story.channel.change([replace(LIFE, tick=7)], [HEADER.references[1]])
    story.rotate().blocks(1)  # and the change is in no segment
    found = heard(story.files)
    assert found.numbers == list(range(1, 7))
    assert found.playback.header.instruments[1].tick == 7


def test_the_header_in_force_is_found_for_any_number() -> None:
    story = Story().blocks(2)
    for tick in range(2, 6):
        story.channel.change([replace(LIFE, tick=tick)], [HEADER.references[1]])
        story.blocks(1)
        header = replace(story.channel.header, next_seq=story.channel.log.next_seq)
        if tick % 2:
            story.recorder.segment.data += opening(header)
        story.blocks(2)
    for seq in range(1, story.channel.log.next_seq):
        playback = Playback(story.files)
        playback.begin(Position(epoch_ns=1, seq=seq))
        assert playback.header.instruments[1].tick == (0 if seq <= 6 else (seq - 7) // 9 + 2)


def flip(segment: MemorySegment, at: int, bits: int = 1) -> None:
    segment.data[at] ^= bits


def block_at(segment: MemorySegment, seq: int) -> tuple[int, int]:
    """Where the frame of a block begins that has this first number, and where it ends."""
    data, at = bytes(segment.data), 64
    while at < len(data):
        size = 4 + int.from_bytes(data[at : at + 4], "little")
        is_new = data[at + 4] == 0x10 and not data[at + 5] & 2
        if is_new and int.from_bytes(data[at + 9 : at + 17], "little") == seq:
            return at, at + size
        at += size
    raise AssertionError(f"no block begins with {seq}")


DAMAGES: dict[str, Callable[[bytearray, int, int], None]] = {
    "a bit": lambda data, at, stop: data.__setitem__(at + 20, data[at + 20] ^ 1),
    "the kind": lambda data, at, stop: data.__setitem__(at + 4, 0x77),
    "the length": lambda data, at, stop: data.__setitem__(at, data[at] ^ 1),
    "a length of 4 GB": lambda data, at, stop: data.__setitem__(at + 3, 0xFF),
    "zeros": lambda data, at, stop: data.__setitem__(slice(at, stop), bytes(stop - at)),
    "all": lambda data, at, stop: data.__setitem__(slice(at, stop), b"\xff" * (stop - at)),
    "no more there": lambda data, at, stop: data.__delitem__(slice(at, stop)),
    "half": lambda data, at, stop: data.__delitem__(slice(at + 15, stop)),
    "twice": lambda data, at, stop: data.__setitem__(slice(stop, stop), data[at:stop]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_as_exactly_the_numbers_that_are_lost(damage: str) -> None:
    story = Story().blocks(3).rotate().blocks(20).rotate().blocks(1)
    segment = story.segment(10)
    at, stop = block_at(segment, 22)
    DAMAGES[damage](segment.data, at, stop)
    lost = [] if damage == "twice" else [(22, 24, LossReason.DAMAGED)]
    found = heard(story.files)
    assert found.lost == lost
    assert found.numbers == [n for n in range(1, 73) if not (lost and 22 <= n <= 24)]
    for seq, left in (
        (21, lost),
        (23, lost and [(23, 24, LossReason.DAMAGED)]),
        (25, []),
        (50, []),
    ):
        found = heard(story.files, Position(epoch_ns=1, seq=seq))
        assert found.lost == left
        assert found.playback.next_seq == 73


def test_without_an_index_damage_is_told_as_exactly() -> None:
    story = Story().blocks(3).rotate().blocks(20).rotate().blocks(1)
    segment = story.segment(10)
    segment.index = b""
    at, stop = block_at(segment, 22)
    segment.data[at:stop] = bytes(stop - at)
    assert heard(story.files).lost == [(22, 24, LossReason.DAMAGED)]


def test_a_damaged_part_may_be_longer_than_the_way_to_the_next_place() -> None:
    story = Story().blocks(3).rotate().blocks(30).rotate().blocks(1)
    segment = story.segment(10)
    begin, stop = block_at(segment, 22)[0], block_at(segment, 67)[0]
    assert stop - begin > 2 * 300
    segment.data[begin:stop] = bytes(stop - begin)
    found = heard(story.files)
    assert found.lost == [(22, 66, LossReason.DAMAGED)]
    assert found.numbers == [*range(1, 22), *range(67, 103)]


@pytest.mark.parametrize("within", [0, 8])
def test_a_part_that_the_disk_does_not_give_is_a_loss(within: int) -> None:
    story = Story().blocks(3).rotate().blocks(30).rotate().blocks(1)
    segment = story.segment(10)
    at, _ = block_at(segment, 22)
    segment.unreadable = (at + within,)
    found = heard(story.files)
    assert found.lost[0][0] == 22
    assert found.lost[0][1] < 60
    assert len(found.lost) == 1
    assert found.playback.next_seq == 103
    segment.index = b""
    assert heard(story.files).lost == [(22, 99, LossReason.DAMAGED)]
    segment.is_gone = True
    assert heard(story.files).lost == [(22, 99, LossReason.DAMAGED)]


def test_damage_at_the_end_of_a_segment_that_is_written_is_waited_on() -> None:
    story = Story().blocks(3)
    at, _ = block_at(story.segment(1), 7)
    flip(story.segment(1), at + 20)
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    found = Heard(playback)
    assert found.numbers == list(range(1, 7))
    assert found.read() == []  # and it is not searched again
    story.blocks(1)
    found.read()
    assert found.lost == [(7, 9, LossReason.DAMAGED)]
    at, _ = block_at(story.segment(1), 10)
    story.blocks(1)
    flip(story.segment(1), block_at(story.segment(1), 13)[0] + 20)
    found.read()
    story.rotate().blocks(1)
    found.read()
    assert found.lost[1:] == [(13, 15, LossReason.DAMAGED)]
    assert found.playback.next_seq == 19


def test_records_behind_a_damaged_header_are_lost_up_to_the_next_one() -> None:
    """Their units would be those of the header before."""
    for is_indexed in (True, False):
        story = Story().blocks(1)
        at = len(story.recorder.segment.data)
        story.channel.change([replace(LIFE, tick=7)], [HEADER.references[1]])
        story.blocks(1)
        story.channel.change([replace(LIFE, tick=8)], [HEADER.references[1]])
        story.blocks(1)
        header = replace(story.channel.header, next_seq=10)
        story.recorder.segment.data += opening(header)
        story.blocks(1)
        if not is_indexed:
            story.segment(1).index = b""
        flip(story.segment(1), at + 30)
        found = heard(story.files)
        assert found.lost == [(4, 9, LossReason.DAMAGED)]
        assert found.numbers == [1, 2, 3, 10, 11, 12]
        assert found.playback.header.instruments[1].tick == 8


def test_without_another_header_all_are_lost_up_to_the_next_segment() -> None:
    story = Story().blocks(1)
    at = len(story.recorder.segment.data)
    story.channel.change([replace(LIFE, tick=7)], [HEADER.references[1]])
    story.blocks(2).rotate().blocks(1)
    flip(story.segment(1), at + 30)
    found = heard(story.files)
    assert found.lost == [(4, 9, LossReason.DAMAGED)]
    assert found.playback.header.instruments[1].tick == 7


def appended(*frames: bytes) -> Story:
    """Three trades, frames that no service writes, and three trades more."""
    story = Story().blocks(1)
    for each in frames:
        story.recorder.segment.data += each
    story.blocks(1)
    return story


def test_frames_that_a_connection_cannot_have_are_left_out() -> None:
    header = replace(new_channel().header, next_seq=4)
    other = replace(header, epoch_ns=99)
    many = encode_header(header)
    assert heard(appended(frame(START)).files).numbers == [1, 2, 3, 4, 5, 6]
    for bad in (
        opening(other),
        frame(many),  # its instruments are missing
        frame(many) + frame(seal(b"\x25\0")),
        frame(seal(b"\x25\0\0\0\x09\0")),  # nine entries are missing
        frame(seal(b"\x02\0")),
    ):
        story = appended(bad)
        story.rotate().blocks(1)
        found = heard(story.files)
        assert found.lost == [(4, 6, LossReason.DAMAGED)]
        assert found.numbers == [1, 2, 3, 7, 8, 9]


def test_an_opening_that_is_still_being_written_is_waited_for() -> None:
    story = Story().blocks(1)
    playback = Playback(story.files)
    playback.begin(Start.OLDEST)
    found = Heard(playback)
    before = bytes(story.recorder.segment.data)
    frames = opening(replace(story.channel.header, next_seq=4))
    for cut in range(0, len(frames), 7):
        story.recorder.segment.data[:] = before + frames[:cut]
        assert found.read() == []
        assert playback.read() == b""
    story.recorder.segment.data[:] = before + frames
    story.blocks(1)
    assert len(found.read()) == 3
    assert found.read(1) == []


def test_a_reader_that_is_due_in_the_middle_of_a_loss_gets_the_rest_of_it() -> None:
    loss = Loss(first_seq=4, last_seq=9, reason=LossReason.SLOW)
    unknown = (
        b"\x1f\0" + bytes(1) + (6).to_bytes(2, "little") + (4).to_bytes(8, "little") + bytes(8)
    )
    for payload, reason, kind in (
        (encode_event(loss), LossReason.SLOW, Loss),
        (seal(unknown), LossReason.DAMAGED, Skipped),
    ):
        story = Story().blocks(1)
        story.recorder.segment.data += frame(payload)
        found = heard(story.files, Position(epoch_ns=1, seq=6))
        assert found.lost == [(6, 9, reason)]
        whole = heard(story.files)
        assert whole.playback.next_seq == 10
        assert isinstance(whole.records[-1], kind)


def test_events_are_read_as_records_are() -> None:
    story = Story().blocks(1)
    story.channel.publish_status(BTC, FeedState.DOWN, "why")
    story.recorder.write()
    assert isinstance(heard(story.files).records[-1], Status)


def test_whole_books_stand_in_each_head_and_are_read_only_if_they_are_needed() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(levels=20)
    files = MemoryFiles()
    recorder = Recorder(files, channel)
    for price in range(5):
        feeder.change([(900 + price, 1)])
    recorder.write()
    recorder.begin()
    feeder.change([(800, 1)])
    recorder.write()
    first, second = files.segments(1)
    found = heard(files, Position(epoch_ns=1, seq=first))
    assert found.lost == []
    assert found.numbers == list(range(first, second + 1))
    assert sum(getattr(each, "is_whole", False) for each in found.records) == 1
    del files.all[1, first]
    found = heard(files, Position(epoch_ns=1, seq=first))
    assert found.lost == [(first, second - 1, LossReason.EVICTED)]
    assert sum(getattr(each, "is_whole", False) for each in found.records) == 1
    playback = Playback(files)
    playback.begin(Start.OLDEST)
    small = bytearray()
    while data := playback.read(1):
        small += data
    assert snapshots_end(bytes(small)) == 0


def test_what_was_seen_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    story = whole()
    monkeypatch.setattr(Seen, "INSTRUMENTS", 1)
    monkeypatch.setattr(Seen, "SEGMENTS", 1)
    monkeypatch.setattr(Seen, "INDEX_BYTES", 300)
    seen = Seen()
    playback = Playback(story.files, seen)
    story.channel.change([replace(LIFE, tick=7)], [HEADER.references[1]])
    story.rotate(300).blocks(1)
    for _ in range(2):
        for seq in range(1, 31):
            assert playback.begin(Position(epoch_ns=1, seq=seq))
            assert playback.begin(Moment(time_ns=seq * 10))
    assert len(seen._instruments) == len(seen._created) == 1
    assert len(seen._heads) <= 1
    assert sum(each.size_bytes for each in seen._indexes.values()) <= 300


def test_an_older_state_of_an_index_serves_for_what_it_has() -> None:
    """Most readers that fell off the log begin in the segment that is being written."""
    story, seen = Story(), Seen()
    story.blocks(10, at_ns=10).blocks(10, at_ns=20)
    segment = story.recorder.segment

    def found(start: Begin) -> int:
        playback = Playback(story.files, seen)
        assert playback.begin(start)
        playback.close()
        return playback.next_seq

    assert found(Position(epoch_ns=1, seq=40)) == 40
    story.blocks(20, at_ns=30)
    newer, segment.index = segment.index, None
    assert found(Position(epoch_ns=1, seq=20)) == 20
    assert found(Moment(time_ns=15)) == 31
    older = seen.index(1, 1, is_sealed=False)
    segment.index = newer
    assert found(Position(epoch_ns=1, seq=20)) == 20
    assert seen.index(1, 1, is_sealed=False) is older
    for start, seq in ((Moment(time_ns=25), 61), (Position(epoch_ns=1, seq=119), 119)):
        assert found(start) == seq
        index = seen.index(1, 1, is_sealed=False)
        assert index is not None
        assert index.last_seq > 100
    story.rotate().blocks(1)
    assert found(Position(epoch_ns=1, seq=119)) == 119
    assert seen.index(1, 1, is_sealed=True) is not None


def test_readers_of_a_channel_share_what_they_read_of_sealed_segments() -> None:
    story, seen = whole(), Seen()

    def reads(start: Begin) -> int:
        """How often it is read on the way to a place."""
        before = sum(each.reads for each in story.files.all.values())
        playback = Playback(story.files, seen)
        assert playback.begin(start)
        playback.close()
        return sum(each.reads for each in story.files.all.values()) - before

    for start in (Position(epoch_ns=1, seq=14), Moment(time_ns=100)):
        reads(start)
    at_14 = Position(epoch_ns=1, seq=14)
    assert reads(at_14) == 1, "the frames, and no head"
    assert heard(story.files, at_14).numbers == list(range(14, 28))
    story.segment(10).data[:] = b"?"
    playback = Playback(story.files, seen)
    assert playback.begin(at_14), "the head is known"
    playback.close()


@given(
    bad=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4),
    run=st.integers(1, 80),
    seq=st.integers(1, 57),
)
@settings(max_examples=examples(20), deadline=None)
def test_whatever_is_damaged_each_number_comes_once(
    bad: list[tuple[int, int]], run: int, seq: int
) -> None:
    """Behind the heads, whatever bytes are changed: what comes is what was published, and the rest
    is told."""
    story = Story().blocks(5).rotate().blocks(6)
    story.channel.change([replace(LIFE, tick=7)], [HEADER.references[1]])
    story.blocks(3).rotate().blocks(5)
    truth = {each.seq: each for each in heard(story.files).records if isinstance(each, Trade)}
    bodies = [(each, block_at(each, first)[0]) for (_, first), each in story.files.all.items()]
    for at, value in bad:
        segment, begin = bodies[at % 3]
        first = begin + at % (len(segment.data) - begin)
        size = len(segment.data[first : first + run])
        segment.data[first : first + run] = bytes([value]) * size
    start = Position(epoch_ns=1, seq=seq)
    found = heard(story.files, start)
    trades = {each.seq: each for each in found.records if isinstance(each, Trade)}
    assert all(truth[number] == each for number, each in trades.items())
    told = [n for first, last, _ in found.lost for n in range(first, last + 1)]
    assert sorted([*trades, *told]) == list(range(seq, found.playback.next_seq))
    assert found.numbers == sorted(found.numbers)
