"""Targets of packets: a datagram, and what two lines and a TCP connection bring together.

The CRCs are no obstacle: that of a packet's header and those of its frames are made right.
"""

from collections.abc import Iterator
from typing import Final
from zlib import crc32

from fanout.protocol import (
    Lines,
    Packer,
    PeerError,
    Start,
    decode_packet,
    encode_packet,
    frame,
    opening,
)
from fanout.protocol.constants import START
from fanout.protocol.framing import FrameReader
from fanout.protocol.joining import span_of
from fanout.protocol.packets import (
    PACKET_HEADER_BYTES,
    SNAPSHOT,
    Line,
    check_frames,
    frames_of,
)
from fanout.protocol.recovery import is_before_stream
from fanout.protocol.speedups import PLAIN
from tests.fuzz.target import outcome_of, slices
from tests.fuzz.wire import mended
from tests.protocol.golden import HEADER, payload

CRC_AT: Final = PACKET_HEADER_BYTES - 4
TCP: Final = 2
"""In a story, in place of a line: what follows came over TCP."""


def sealed(data: bytes) -> bytes:
    """A datagram with the CRCs that it should have."""
    head = data[:CRC_AT]
    if len(data) < PACKET_HEADER_BYTES:
        return data
    return head + crc32(head).to_bytes(4, "little") + mended(data[PACKET_HEADER_BYTES:])


def packet(data: bytes) -> None:
    """The compiled function and the plain one check a packet alike, and what is read of it can be
    written."""
    data = sealed(data)
    count, due = int.from_bytes(data[10:12], "little"), int.from_bytes(data[24:32], "little")
    arguments = (data, PACKET_HEADER_BYTES, count, due, bool(data[5:6] and data[5] & SNAPSHOT))
    assert outcome_of(check_frames, *arguments) == outcome_of(PLAIN["check_frames"], *arguments)
    found = decode_packet(data)
    assert found.next_seq <= found.stop_seq
    again = encode_packet(
        list(frames_of(found.frames)),
        next_seq=found.next_seq,
        number=found.number,
        epoch_ns=found.epoch_ns,
        listing=found.listing,
        sent_ns=found.sent_ns,
        flags=found.flags,
        channel=found.channel,
        line=Line(found.line),
    )
    assert decode_packet(again) == found


def lines(story: bytes) -> None:
    """Whatever comes, the frames that come out have the numbers from the first on, each once."""
    told, heard = Lines(max_early_packets=64), _Account()
    for step, (line, data) in enumerate(_parts(story)):
        if line == TCP:
            _recover(told, mended(data), float(step))
        else:
            told.receive(sealed(data), line, line, float(step))
        if step % 7 == 6:
            told.give_up()
        heard.take(told.take())
        assert told.statistics.early <= 65
    while told.missing is not None:
        told.give_up()
        heard.take(told.take())
    following = told.following(1e9, Start.OLDEST)
    assert following.epoch_ns != told.epoch_ns or following.epoch_ns is None


def _recover(told: Lines, data: bytes, now_s: float) -> None:
    try:
        for each in slices(data):
            if told.recovered(each, now_s):
                return
    except PeerError:
        pass
    told.recovery_lost()


class _Account:
    """The numbers of the frames that come out."""

    def __init__(self) -> None:
        self._frames = FrameReader()
        self._due: int | None = None

    def take(self, data: bytes) -> None:
        self._frames.feed(data)
        while (got := self._frames.next_payload()) is not None:
            if is_before_stream(got):
                continue
            first, stop = span_of(got, self._due or 0)
            assert self._due in (None, first) or not first
            self._due = stop or None


def _parts(story: bytes) -> Iterator[tuple[int, bytes]]:
    """The parts of a story: u8 line, u16 length, and that many bytes."""
    at = 0
    while at + 3 <= len(story):
        stop = at + 3 + int.from_bytes(story[at + 1 : at + 3], "little")
        yield story[at] % 3, story[at + 3 : stop]
        at = stop


def part(line: int, data: bytes) -> bytes:
    return bytes((line,)) + len(data).to_bytes(2, "little") + data


def datagrams() -> list[bytes]:
    """Packets of every sort."""
    packer = Packer(HEADER)
    made = packer.opening(1) + packer.snapshot(frame(payload("snapshot")), 1, is_last=True)
    for name in ("trades", "status", "gap", "instruments", "loss"):
        made += packer.pack(frame(payload(name)), 1)
    return [*made, packer.heartbeat(1)]


def stories() -> list[bytes]:
    """A reader that joins by packets, one that joins over TCP, and one that lacks a packet."""
    made = datagrams()
    stream = frame(START) + opening(HEADER)
    stream += b"".join(decode_packet(each).frames for each in made[2:4])
    every = b"".join(part(number % 2, each) for number, each in enumerate(made))
    holed = b"".join(part(0, each) for each in made[:2] + made[3:])
    return [every, part(TCP, stream) + every, holed + part(TCP, stream)]
