"""How a reader of a ring tells the frames of snapshots from the others."""

from fanout.protocol.ring import RingReader, RingWriter
from fanout.protocol.ring_page import DATA_AT
from tests.protocol.golden import HEADER


def pair() -> tuple[RingWriter, RingReader]:
    buffer = bytearray(DATA_AT + 4096)
    writer = RingWriter(buffer, header=HEADER, pid=1, start=2**64 - 50)
    return writer, RingReader(buffer)


def push(writer: RingWriter) -> None:
    writer.push(b"\5\0\0\0frame", writer.position % 1_000 + 1)


def test_a_reader_knows_behind_which_position_there_is_no_snapshot() -> None:
    writer, reader = pair()
    start = reader.position
    assert reader.has_passed_snapshots(start)
    push(writer)
    assert reader.has_passed_snapshots(start)
    writer.begin_snapshot()
    begun = writer.position
    assert not reader.has_passed_snapshots(begun)
    push(writer)
    assert not reader.has_passed_snapshots(begun)
    writer.end_snapshot()
    end = writer.position
    assert not reader.has_passed_snapshots(start)
    assert not reader.has_passed_snapshots(begun)
    assert reader.has_passed_snapshots(end)
    push(writer)
    assert reader.has_passed_snapshots(end)
    writer.begin_snapshot()
    assert not reader.has_passed_snapshots(end)


def test_a_snapshot_right_behind_another_is_seen() -> None:
    writer, reader = pair()
    for _ in range(2):
        writer.begin_snapshot()
        begun = writer.position
        assert not reader.has_passed_snapshots(begun)
        push(writer)
        assert not reader.has_passed_snapshots(begun)
        assert not reader.has_passed_snapshots(writer.position)
        writer.end_snapshot()
        assert not reader.has_passed_snapshots(begun)
        assert reader.has_passed_snapshots(writer.position)


def test_a_reader_knows_whether_a_whole_snapshot_lies_between_two_positions() -> None:
    writer, reader = pair()
    start = reader.position
    assert not reader.has_snapshot_between(start, start)
    push(writer)
    begun = writer.position
    writer.begin_snapshot()
    for _ in range(8):  # the positions begin again at 0 among them
        push(writer)
    assert not reader.has_snapshot_between(start, writer.position)
    writer.end_snapshot()
    end = writer.position
    push(writer)
    assert reader.has_snapshot_between(start, writer.position)
    assert reader.has_snapshot_between(begun, end)
    assert not reader.has_snapshot_between(begun + 9, end)
    assert not reader.has_snapshot_between(begun, end - 9)


def test_a_reader_knows_the_number_at_the_live_end() -> None:
    writer, reader = pair()
    assert reader.next_seq == HEADER.next_seq
    writer.push(b"\1\0\0\0x", 7)
    assert reader.next_seq == 7
