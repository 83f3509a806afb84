"""What one segment refuses, and the places of an index that lead nowhere."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.protocol.errors import MalformedError
from fanout.protocol.journal import (
    INDEX_MAGIC,
    FileHeader,
    Place,
    PlaceKind,
    encode_file_header,
    encode_places,
)
from fanout.protocol.journal_segment import HEAD_BYTES, Seen, Segment
from tests.protocol.golden import BTC, HEADER
from tests.protocol.test_journal_play import Story, block_at, whole
from tests.stand.channels import new_channel, publish
from tests.stand.journals import MemoryFiles, Recorder


def opened(story: Story, first_seq: int) -> Segment:
    return Segment(story.files.open(1, first_seq), 1, first_seq, Seen())


def test_a_file_under_another_name_is_refused() -> None:
    story = whole()
    story.files.all[1, 10] = story.segment(19)
    with pytest.raises(MalformedError, match="named after another segment"):
        opened(story, 10)


def test_a_segment_that_begins_with_another_number_is_refused() -> None:
    story = whole()
    head = encode_file_header(FileHeader(epoch_ns=1, first_seq=10, created_ns=0))
    story.segment(10).data[:] = head + story.segment(19).data[64:]
    with pytest.raises(MalformedError, match="begins at number 19"):
        opened(story, 10)


def test_a_header_may_be_longer_than_what_is_read_first() -> None:
    header = replace(
        new_channel().header,
        instruments=tuple(replace(BTC, index=each, symbol=f"S{each}") for each in range(300)),
        references=HEADER.references[:1] * 300,
    )
    files = MemoryFiles()
    Recorder(files, Channel(header, log_bytes=1_000_000, wall_ns=lambda: 1))
    segment = Segment(files.open(1, 1), 1, 1, Seen())
    assert segment.head.offset > HEAD_BYTES
    assert segment.head.header == header


@pytest.mark.parametrize(
    "wrong",
    [
        lambda offset: Place(seq=22, time_ns=0, offset=offset + 1, opening=73),
        lambda offset: Place(seq=21, time_ns=0, offset=offset, opening=73),
        lambda offset: Place(seq=22, time_ns=0, offset=offset, opening=offset),
        lambda offset: Place(seq=22, time_ns=0, offset=2**40, opening=73),
        lambda offset: Place(seq=22, time_ns=0, offset=64, opening=64),
    ],
    ids=["no frame", "another number", "no header", "behind the end", "before the head"],
)
def test_a_place_that_is_wrong_is_passed_over(wrong: Callable[[int], Place]) -> None:
    story = Story().blocks(10)
    segment = story.segment(1)
    at, _ = block_at(segment, 22)
    header = FileHeader(epoch_ns=1, first_seq=1, created_ns=0)
    segment.index = encode_file_header(header, INDEX_MAGIC) + encode_places([wrong(at)])
    found = opened(story, 1)
    assert found.seek(22).offset == at
    assert (found.seek(22).seq, found.seek(99).seq) == (22, 31)


def test_what_is_read_at_a_place_is_not_read_again_to_go_on_from_there() -> None:
    story = Story()
    for seq in range(1, 1_801, 3):
        publish(story.channel, seq, 3)
    story.recorder.write()
    segment = opened(story, 1)
    before = story.segment(1).reads
    assert segment.seek(301).seq == 301
    assert story.segment(1).reads == before + 1


def test_a_change_that_is_not_there_makes_a_place_wrong() -> None:
    story = Story().blocks(10)
    segment = story.segment(1)
    at, _ = block_at(segment, 22)
    before, _ = block_at(segment, 10)
    header = FileHeader(epoch_ns=1, first_seq=1, created_ns=0)
    places = [
        Place(seq=10, time_ns=0, offset=before, opening=73, kind=PlaceKind.CHANGE),
        Place(seq=22, time_ns=0, offset=at, opening=73),
    ]
    segment.index = encode_file_header(header, INDEX_MAGIC) + encode_places(places)
    assert opened(story, 1).seek(22).offset == at
