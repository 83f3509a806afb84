"""Where the places of an index stand, over stories of blocks, changes, headers and heartbeats.

Whatever comes in whatever pieces, a check finds no fault with the index, and a reader that begins
at a number has the instruments that are in force there. The same holds after a recovery, wherever
the index was cut off.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.channel.channel import framed
from fanout.journal import places, survey
from fanout.journal.files import write_whole
from fanout.journal.findings import Finding, FindingKind
from fanout.journal.recovery import recover
from fanout.journal.segment import Segment
from fanout.journal.verifying import check_segment
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX,
    INDEX_MAGIC,
    FileHeader,
    Place,
    PlaceKind,
    encode_file_header,
    encode_places,
)
from fanout.protocol.journal_folder import ChannelFolder
from fanout.protocol.journal_segment import Seen
from fanout.protocol.journal_segment import Segment as Readable
from fanout.protocol.records import Header
from tests.stand.channels import new_channel, publish
from tests.stand.disk import MemoryDisk
from tests.stand.kept import Kept
from tests.thoroughness import examples

FIRST = FileHeader(epoch_ns=1, first_seq=1, created_ns=9)
EVERY_BYTES = 150
HEAD_END = FILE_HEADER_BYTES + len(new_channel(name="one").greeting())


@pytest.fixture(autouse=True, scope="module")
def _places_are_close_together() -> Iterator[None]:
    """So that each story has some."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (places, survey):
            patch.setattr(module, "PLACE_EVERY_BYTES", EVERY_BYTES)
        yield


class Story:
    """A segment that is written in pieces."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.kept = Kept("/j", "one", FIRST.epoch_ns, self.disk)
        self.in_force: dict[int, Header] = {}
        """The header under which each number was published."""
        self._channel = new_channel(name="one")
        self._cursor = self._channel.log.live()
        self._tick = 100
        self._segment = Segment(self.disk, self.kept.folder, FIRST)
        self._segment.open()
        self._segment.append([self._channel.greeting()])
        self._segment.publish()

    def tell(self, pieces: Sequence[Sequence[str]]) -> "Story":
        """Write the pieces, each of which has the frames of its acts."""
        for acts in pieces:
            self._segment.append([b"".join(map(self._act, acts))])
        self._segment.sync()
        self._segment.close()
        return self

    def _act(self, name: str) -> bytes:
        channel = self._channel
        match name:
            case "heartbeat":
                return channel.heartbeat(channel.log.next_seq * 10)
            case "header":
                return framed(replace(channel.header, next_seq=channel.log.next_seq))
            case "change":
                self._tick += 1
                changed = replace(channel.header.instruments[0], tick=self._tick)
                channel.change((changed,), channel.header.references[:1])
            case _:
                count = {"trade": 1, "trades": 9}[name]
                seq = channel.log.next_seq
                self.in_force |= dict.fromkeys(range(seq, seq + count), channel.header)
                publish(channel, seq, count)
        data = channel.log.read(self._cursor, 10**9)
        assert isinstance(data, bytes)
        return data


def index_path(disk: MemoryDisk) -> str:
    (path,) = [each for each in disk.paths() if each.endswith(INDEX)]
    return path


def findings(disk: MemoryDisk) -> tuple[Finding, ...]:
    """What a check of the segment finds."""
    with closing(ChannelFolder(disk, "/j/one").open(FIRST.epoch_ns, 1)) as file:
        return check_segment(
            file.read, file.size(), file.index(), channel="one", epoch_ns=1, first_seq=1
        ).findings


def judge(disk: MemoryDisk, story: Story) -> None:
    """Check the segment, and seek each of its numbers."""
    assert findings(disk) == ()
    with closing(ChannelFolder(disk, "/j/one").open(FIRST.epoch_ns, 1)) as file:
        segment = Readable(file, FIRST.epoch_ns, 1, Seen())
        for seq, header in story.in_force.items():
            assert segment.seek(seq).header.instruments == header.instruments


def with_index(story: Story, places: Sequence[Place]) -> MemoryDisk:
    """The disk of a story, whose index is another one."""
    disk = story.disk
    write_whole(
        disk, index_path(disk), encode_file_header(FIRST, INDEX_MAGIC) + encode_places(places)
    )
    return disk


acts = st.sampled_from(("trade", "trades", "change", "header", "heartbeat"))
pieces = st.lists(st.lists(acts, max_size=4), max_size=8)


@given(pieces)
@settings(max_examples=examples(60))
def test_an_index_is_right_whatever_was_written_in_whatever_pieces(
    pieces: list[list[str]],
) -> None:
    story = Story().tell(pieces)
    judge(story.disk, story)
    offsets = [each.offset for each in story.kept.places(1)]
    assert len(set(offsets)) == len(offsets)


@given(pieces, st.integers(0, 1_000))
@settings(max_examples=examples(60))
def test_an_index_that_was_cut_off_anywhere_is_right_after_a_recovery(
    pieces: list[list[str]], cut: int
) -> None:
    story = Story().tell(pieces)
    disk = story.disk
    index = disk.contents(index_path(disk))
    write_whole(disk, index_path(disk), index[: len(index) - cut % (len(index) + 1)])
    recover(disk, "/j")
    judge(disk, story)


@pytest.mark.parametrize(
    ("name", "kind"), [("change", PlaceKind.CHANGE), ("header", PlaceKind.OPENING)]
)
def test_a_change_where_a_place_is_due_anyway_has_one_place(name: str, kind: PlaceKind) -> None:
    story = Story().tell([[name, "trades"]])
    (place,) = story.kept.places(1)
    assert (place.offset, place.kind) == (HEAD_END, kind)
    judge(story.disk, story)


def test_a_change_that_has_two_places_is_right() -> None:
    """As earlier versions wrote them."""
    story = Story().tell([["change", "trades"], ["trades"]])
    change, *rest = story.kept.places(1)
    judge(with_index(story, [replace(change, kind=PlaceKind.FRAME), change, *rest]), story)


def test_a_recovery_adds_the_place_of_a_change_that_has_only_another_one() -> None:
    """An index with two places of a frame was cut off between them."""
    story = Story().tell([["change", "trades"], ["trades"]])
    change, *rest = story.kept.places(1)
    frame = replace(change, kind=PlaceKind.FRAME)
    disk = with_index(story, [frame])
    recover(disk, "/j")
    assert story.kept.places(1) == [frame, change, *rest]
    judge(disk, story)


def test_a_place_of_another_kind_does_not_stand_for_that_of_a_change() -> None:
    story = Story().tell([["change", "trades"], ["trades"]])
    change, *rest = story.kept.places(1)
    (finding,) = findings(with_index(story, [replace(change, kind=PlaceKind.FRAME), *rest]))
    assert (finding.kind, finding.why) == (
        FindingKind.INDEX,
        f"no place for the change at {HEAD_END}",
    )
