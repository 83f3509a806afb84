"""Packing: a channel's frames into packets.

A `Packer` numbers the packets of one channel. It puts as many frames into a packet as fit. A block
that is too long is divided, and its parts are encoded anew, since every part has to decode alone.
A record that is longer than a packet is left out, like an update of a book with many levels. Its
number is missing then. Readers notice that as they notice every loss, and ask for it over TCP.

    packer.pack(frames, sent_ns)          what the channel publishes
    packer.skip(first_seq, last_seq)      what is lost before it is packed
    packer.heartbeat(sent_ns)             a packet for a quiet channel
    packer.opening(sent_ns)               for readers that join: the header and its instruments,
    packer.snapshot(frames, sent_ns)      then the newest trades and quotes, and the whole books
    packer.end(end, sent_ns)              the last packet

INSTRUMENTS change the meaning of what follows, so they get packets of their own. All packets are
made for line A; `packets.on_line` makes them for the other one.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from msgspec.structs import replace

from fanout.protocol.blocks import BLOCK_KINDS, divided
from fanout.protocol.constants import LENGTH_BYTES, BlockFlags, FrameKind
from fanout.protocol.errors import MalformedError, NotRepresentableError
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.header import encode_header
from fanout.protocol.instruments import encode_entry, runs_of, with_instruments
from fanout.protocol.joining import span_of
from fanout.protocol.packets import (
    END,
    HEARTBEAT,
    LAST,
    MAX_PACKET_BYTES,
    MIN_PACKET_BYTES,
    PACKET_BYTES,
    PACKET_HEADER_BYTES,
    SNAPSHOT,
    ListingSums,
    encode_packet,
    frames_of,
)
from fanout.protocol.records import End, Header, Heartbeat

_NUMBERS: Final = 2**32

_BLOCK: Final = Struct("<IBBBHQ")
"""The length of a block, and how its payload begins: see `runs`."""


class Packer:
    """Makes the packets of one channel."""

    def __init__(
        self,
        header: Header,
        *,
        channel: int = 0,
        packet_bytes: int = PACKET_BYTES,
        number: int = 0,
    ) -> None:
        """`header` is in force before the first frame, whose number is its `next_seq`. `channel` is
        the channel's place among those of the service, and `number` that of the first packet. A
        transport that begins again within an epoch goes on with the number that was due.

        Raises `NotRepresentableError` for a limit below `MIN_PACKET_BYTES` or over
        `MAX_PACKET_BYTES`, and for columns that fit no packet.
        """
        if not MIN_PACKET_BYTES <= packet_bytes <= MAX_PACKET_BYTES:
            raise NotRepresentableError(
                f"packets of {packet_bytes:,} bytes: {MIN_PACKET_BYTES:,} to "
                f"{MAX_PACKET_BYTES:,} are possible"
            )
        self.header = header
        """The instruments that the next frames are made under."""
        self.next_seq = header.next_seq
        """The number that is due next."""
        self.number = number
        """Of the next packet."""
        self.left_out = 0
        """Sequence numbers of records that fit no packet."""
        self._channel = channel
        self._room = packet_bytes - PACKET_HEADER_BYTES
        self._require_room()
        self._sums = ListingSums()
        self._listing = self._sums(header)
        self._frames: list[bytes] = []
        """Of the packet that is being filled."""
        self._size = 0
        self._first_seq = header.next_seq
        """The number that is due before it."""

    def _require_room(self) -> None:
        """A header can do without the names of the other channels, but not without its columns."""
        if not self.header.columns:
            return
        size = LENGTH_BYTES + len(encode_header(replace(self.header, channels=())))
        if size > self._room:
            raise NotRepresentableError(
                f"a header of {len(self.header.columns)} columns takes {size:,} bytes of a packet "
                f"that has room for {self._room:,}: choose larger packets, or fewer columns"
            )

    @property
    def longest_frame_bytes(self) -> int:
        """The longest frame, with its length, that fits a packet undivided."""
        return self._room

    def pack(self, frames: bytes, sent_ns: int) -> list[bytes]:
        """The packets with whole frames of the channel's log, which follow those before. `sent_ns`
        is unix ns. Raises `PeerError` for frames that are none of ours."""
        packet = self._packed_alone(frames, sent_ns)
        if packet is not None:
            return [packet]
        packets = list[bytes]()
        for whole in frames_of(frames):
            payload = whole[LENGTH_BYTES:]
            if payload[0] == FrameKind.INSTRUMENTS:
                packets += self._flushed(sent_ns)
                packets += self._change(payload, sent_ns)
                continue
            span = span_of(payload, self.next_seq)
            if len(whole) <= self._room:
                packets += self._add(whole, span, sent_ns)
                continue
            for part in self._parts(whole):
                part_span = span_of(part[LENGTH_BYTES:], self.next_seq)
                packets += self._add(part, part_span, sent_ns)
            if span[1] != self.next_seq:
                self.left_out += span[1] - self.next_seq
                packets += self._flushed(sent_ns)
                self.next_seq = span[1]
        return packets + self._flushed(sent_ns)

    def _packed_alone(self, frames: bytes, sent_ns: int) -> bytes | None:
        """The packet of one block that is next and fits, which is what nearly always comes. None
        for anything else."""
        if not _BLOCK.size <= len(frames) <= self._room:
            return None
        length, kind, flags, _, count, seq = _BLOCK.unpack_from(frames)
        is_alone = length + LENGTH_BYTES == len(frames) and kind in BLOCK_KINDS
        if not is_alone or seq != self.next_seq or flags & BlockFlags.SNAPSHOT.value:
            return None
        self.next_seq = seq + count
        return self._packet([frames], sent_ns, 0, seq)

    def skip(self, first_seq: int, last_seq: int) -> None:
        """These numbers, which were due next, do not come. Readers notice by the next packet."""
        self.next_seq = last_seq + 1

    def heartbeat(self, sent_ns: int) -> bytes:
        """A packet that says which number is due. It holds a HEARTBEAT of the time `sent_ns`."""
        beat = encode_event(Heartbeat(next_seq=self.next_seq, time_ns=sent_ns))
        return self._packet([frame(beat)], sent_ns, HEARTBEAT)

    def end(self, end: End, sent_ns: int) -> bytes:
        """The last packet. It may be sent several times."""
        self.next_seq = end.last_seq + 1
        return self._packet([frame(encode_event(end))], sent_ns, END)

    def opening(self, sent_ns: int, *, is_last: bool = False) -> list[bytes]:
        """The packets of the header and its instruments, with which a snapshot begins. A header
        that is too long leaves the names of the other channels out. `is_last` says that nothing
        follows, for a channel that has nothing to show."""
        header = replace(self.header, next_seq=self.next_seq)
        payload = encode_header(header)
        if len(payload) + LENGTH_BYTES > self._room:
            payload = encode_header(replace(header, channels=()))
        pairs = zip(header.instruments, header.references, strict=True)
        runs = runs_of(
            0, [encode_entry(*pair) for pair in pairs], max_bytes=self._room - LENGTH_BYTES
        )
        return self._snapshot(map(frame, (payload, *runs)), sent_ns, is_last=is_last)

    def snapshot(self, frames: bytes, sent_ns: int, *, is_last: bool = False) -> list[bytes]:
        """The packets with blocks flagged snapshot, which have to be made under `header`. All
        pieces of one book have to be in one call, since nothing else may come between them.
        `is_last` says that the snapshot ends with them."""
        parts = (part for whole in frames_of(frames) for part in self._parts(whole))
        return self._snapshot(parts, sent_ns, is_last=is_last)

    def _snapshot(self, parts: Iterator[bytes], sent_ns: int, *, is_last: bool) -> list[bytes]:
        runs: list[list[bytes]] = [[]]
        size = 0
        for part in parts:
            if size + len(part) > self._room:
                runs.append([])
                size = 0
            runs[-1].append(part)
            size += len(part)
        flags = [SNAPSHOT] * len(runs)
        flags[-1] |= LAST if is_last else 0
        pairs = zip(runs, flags, strict=True)
        return [self._packet(run, sent_ns, flag) for run, flag in pairs if run]

    def _parts(self, whole: bytes) -> Iterator[bytes]:
        """A frame that fits, or the frames that have its records. Empty if there are none."""
        if len(whole) <= self._room:
            yield whole
        elif whole[LENGTH_BYTES] in BLOCK_KINDS:
            parts = divided(whole[LENGTH_BYTES:], self.header, self._room - LENGTH_BYTES)
            yield from map(frame, parts)

    def _add(self, whole: bytes, span: tuple[int, int], sent_ns: int) -> list[bytes]:
        """Put a frame with these numbers into the packet that is being filled. Returns the packet
        before, if it is full, or if numbers are missing in between."""
        seq, stop = span
        if seq < self.next_seq:
            raise MalformedError(f"sequence number {seq} comes again: {self.next_seq} is next")
        packets = list[bytes]()
        if seq != self.next_seq or self._size + len(whole) > self._room:
            packets = self._flushed(sent_ns)
            self.left_out += seq - self.next_seq
        if not self._frames:
            self._first_seq = seq
        self._frames.append(whole)
        self._size += len(whole)
        self.next_seq = stop
        return packets

    def _flushed(self, sent_ns: int) -> list[bytes]:
        frames, self._frames, self._size = self._frames, [], 0
        return [self._packet(frames, sent_ns, 0, self._first_seq)] if frames else []

    def _change(self, payload: bytes, sent_ns: int) -> list[bytes]:
        """The packets with INSTRUMENTS, under which later frames are made."""
        header = with_instruments(self.header, payload)
        first = int.from_bytes(payload[2:4], "little")
        stop = first + int.from_bytes(payload[4:6], "little")
        pairs = zip(header.instruments[first:stop], header.references[first:stop], strict=True)
        entries = [encode_entry(*pair) for pair in pairs]
        packets = []
        for run in runs_of(first, entries, max_bytes=self._room - LENGTH_BYTES):
            packets.append(self._packet([frame(run)], sent_ns, 0))
            self.header = with_instruments(self.header, run)
            self._listing = self._sums(self.header)
        return packets

    def _packet(
        self, frames: Sequence[bytes], sent_ns: int, flags: int, next_seq: int | None = None
    ) -> bytes:
        number, self.number = self.number, (self.number + 1) % _NUMBERS
        return encode_packet(
            frames,
            next_seq=self.next_seq if next_seq is None else next_seq,
            number=number,
            epoch_ns=self.header.epoch_ns,
            listing=self._listing,
            sent_ns=sent_ns,
            flags=flags,
            channel=self._channel,
        )
