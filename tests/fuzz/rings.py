"""A target of the ring: its page, its table and its data, written over by somebody.

Inputs are patches, as in `tests.fuzz.queues`, laid over a ring that is in order.
"""

from collections.abc import Callable

from fanout.protocol import FrameReader
from fanout.protocol.constants import MAX_SEQ
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.ring import Lapped, Place, RingReader, RingWriter
from fanout.protocol.ring_page import DATA_AT, TABLE_AT, TABLE_BYTES
from fanout.protocol.speedups import PLAIN
from tests.fuzz.queues import CAPACITY_BYTES, FRAMES, patched_over
from tests.fuzz.target import outcome_of
from tests.protocol.golden import HEADER, payload

Pop = Callable[[RingReader], bytes | None]


def new_ring(start: int = 0) -> bytearray:
    """A ring with a few frames, a snapshot and another header, whose positions began at `start`."""
    buffer = bytearray(DATA_AT + CAPACITY_BYTES)
    writer = RingWriter(buffer, header=HEADER, pid=1, start=start)
    for number, each in enumerate(payloads_of(FRAMES)):
        writer.push(frame(each), HEADER.next_seq + number)
    writer.push_header(HEADER)
    writer.begin_snapshot()
    writer.push(frame(payload("quotes")), HEADER.next_seq + 9)
    writer.end_snapshot()
    writer.end()
    writer.release()
    return buffer


def ring(patches: bytes) -> None:
    """From each place that there is, frame by frame or in pieces, a reader finds the same, compiled
    or not; a place has a number that can be one; and no reader gets beyond the ring."""
    buffer = patched_over(new_ring, patches)
    reader = RingReader(memoryview(buffer).toreadonly())
    begins: tuple[Callable[[], Place | None], ...] = (
        reader.begin_oldest,
        reader.begin_middle,
        reader.begin_live,
        reader.begin_snapshot,
        lambda: reader.begin_before(HEADER.next_seq + 1),
    )
    for begin in begins:
        try:
            place = outcome_of(begin)
        except Lapped:
            continue
        if isinstance(place, Place):
            assert 1 <= place.next_seq <= MAX_SEQ
            _read_from(buffer, place.position)
    table = memoryview(buffer)[TABLE_AT : TABLE_AT + TABLE_BYTES]
    listed = RingReader(buffer, table=table, slot=63, pid=2)
    listed.ask_snapshot()
    listed.note(lapped=1, lost=1)
    assert (reader.is_intact, reader.has_ended) == (True, reader.has_ended)
    reader.begin_oldest()


def _read_from(buffer: bytearray, position: int) -> None:
    popped = outcome_of(_drained, buffer, position, RingReader.pop)
    assert popped == outcome_of(_drained, buffer, position, PLAIN["RingReader_pop"])
    read = outcome_of(_read, buffer, position)
    if type(popped) is list:  # otherwise pieces may end before what is broken in the middle of one
        assert popped == read


def _drained(buffer: bytearray, position: int, pop: Pop) -> list[bytes]:
    reader = RingReader(buffer)
    reader.return_to(position)
    found = []
    try:
        while (each := pop(reader)) is not None:
            found.append(each)
            assert len(found) <= CAPACITY_BYTES
    except Lapped:
        found.append(b"lapped")
    return found


def _read(buffer: bytearray, position: int) -> list[bytes]:
    reader, frames = RingReader(buffer), FrameReader()
    reader.return_to(position)
    lapped = []
    try:
        while data := reader.read(100):
            frames.feed(data)
    except Lapped:
        lapped = [b"lapped"]
    return [*iter(frames.next_payload, None), *lapped]
