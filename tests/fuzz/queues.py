"""Targets of the shared-memory queue: its page and its data, written over by somebody.

An input is a list of *patches*, each u16 place, u8 length and that many bytes, laid over a queue
that is in order. So a mutation meets a word of the page, and not one of eight thousand bytes.
"""

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from fanout.clients.shm_file import attach
from fanout.protocol import FrameReader, QueueReader, QueueWriter
from fanout.protocol.framing import frame
from fanout.protocol.queue_page import PAGE_BYTES
from fanout.protocol.speedups import PLAIN
from tests.fuzz.target import outcome_of
from tests.protocol.golden import HEADER, NAMES, payload

CAPACITY_BYTES: Final = 4096
ASIDE: Final = ("header", "instruments", "quotes", "book", "orders")
"""What comes before the first frame of a queue, and blocks that have the numbers of `trades`."""

FRAMES: Final = b"".join(frame(payload(each)) for each in NAMES if each not in ASIDE)


def new_queue(start: int = 0) -> bytearray:
    """A queue with a few frames, whose cursors began at `start`."""
    buffer = bytearray(PAGE_BYTES + CAPACITY_BYTES)
    writer = QueueWriter(buffer, header=HEADER, pid=1, start=start)
    assert writer.push(FRAMES)
    writer.mark(HEADER.next_seq)
    writer.end(frame(payload("end")))
    writer.release()
    return buffer


def patched(patches: bytes) -> bytearray:
    """A queue with patches."""
    return patched_over(new_queue, patches)


def patched_over(new: Callable[[int], bytearray], patches: bytes) -> bytearray:
    """A buffer of `new` with patches. The first byte says where its cursors began; so a frame can
    lie across the end of the data area."""
    buffer = new(0 if not patches or patches[0] < 128 else CAPACITY_BYTES - 64)
    at = 1
    while at + 4 <= len(patches):
        place = int.from_bytes(patches[at : at + 3], "little") % len(buffer)
        piece = patches[at + 4 : at + 4 + patches[at + 3]][: len(buffer) - place]
        buffer[place : place + len(piece)] = piece
        at += 4 + patches[at + 3]
    return buffer


def patch(place: int, piece: bytes) -> bytes:
    return place.to_bytes(3, "little") + bytes((len(piece),)) + piece


def queue(patches: bytes) -> None:
    """Frame by frame, in pieces or without taking them: a reader finds the same, compiled or not,
    and its place stays between the cursors."""
    buffer = patched(patches)
    popped = outcome_of(_drained, buffer, QueueReader.pop)
    assert popped == outcome_of(_drained, buffer, PLAIN["QueueReader_pop"])
    read, seen = outcome_of(_read, buffer), outcome_of(_seen, buffer)
    if type(popped) is list:  # otherwise pieces may end before what is broken in the middle of one
        assert popped == read == seen
    reader = QueueReader(bytearray(buffer), pid=2)
    for ask in (reader.header, reader.tail, reader.marked_seq, lambda: reader.unread_bytes):
        outcome_of(ask)
    reader.skip()
    assert reader.pop() is None
    reader.release()
    _drained(buffer, QueueReader.pop)


def _drained(buffer: bytearray, pop: Callable[[QueueReader], bytes | None]) -> list[bytes]:
    reader = QueueReader(bytearray(buffer), pid=2)
    found = []
    while (each := pop(reader)) is not None:
        found.append(each)
        assert len(found) <= CAPACITY_BYTES
    return found


def _read(buffer: bytearray) -> list[bytes]:
    reader, frames = QueueReader(bytearray(buffer), pid=2), FrameReader()
    while data := reader.read(100):
        frames.feed(data)
    return list(iter(frames.next_payload, None))


def _seen(buffer: bytearray) -> list[bytes]:
    return list(QueueReader(bytearray(buffer), pid=2).unread())


def queue_file(patches: bytes) -> None:
    """A reader that attaches to the file begins with a header that it made, and gives it back."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        path = Path(directory) / "queue"
        path.write_bytes(patched(patches))
        with closing(attach(str(path), now_s=0.0)) as attached:
            assert attached.opening()
            attached.trouble(0.0, 1.0)
            while attached.reader.read(1):
                pass
