"""The frames that come out of packets, as one connection would bring them.

`PacketStream` knows the header that is in force and the number that is due. It takes packets and
frames of a TCP connection in the order of their numbers, leaves out what has come before, and hands
out START, the header with its instruments, and the frames. Another header comes out before the
first frame that was made under it. What is lost comes out as LOSS.

It does not decide what is next: `lines.Lines` does that.
"""

from typing import Final

from msgspec.structs import replace

from fanout.protocol.blocks import rest_from
from fanout.protocol.constants import LENGTH_BYTES, START, FrameKind, LossReason
from fanout.protocol.errors import PeerError
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.header import opening
from fanout.protocol.instruments import with_instruments
from fanout.protocol.joining import run_of, span_of
from fanout.protocol.packet_snapshots import PacketOpenings, SnapshotBlocks
from fanout.protocol.packets import END, ListingSums, Packet, frames_of
from fanout.protocol.records import Header, Loss
from fanout.protocol.request import Begin, Position, Start

MAX_HEADERS: Final = 8
"""Headers that are remembered by their listing."""


class PacketStream:
    """What comes out."""

    def __init__(self) -> None:
        self.header: Header | None = None
        """In force at the number that is due; None before `join`."""
        self.next_seq = 0
        """The number that is due; 0 before `join`."""
        self.is_over = False
        """Whether the END has come out."""
        self.snapshots = SnapshotBlocks()
        self.lost = 0
        """Sequence numbers that came out in a LOSS of ours, or of a TCP connection."""
        self.recovered = 0
        """Sequence numbers that came over TCP."""
        self.malformed = 0
        """Packets that were left out, all or some of their frames."""
        self._frames: list[bytes] = []
        self._listing = 0
        """Of `header`."""
        self._told_listing: int | None = None
        """Of the header that came out last."""
        self._headers: dict[int, Header] = {}
        """Those that are known, by listing."""
        self._sums = ListingSums()
        self._openings = PacketOpenings()
        self._reason = LossReason.UNANNOUNCED
        """The reason for the next loss."""

    def take(self) -> bytes:
        """The frames that came out since the last time."""
        frames, self._frames = self._frames, []
        return b"".join(frames)

    # Headers.

    def know(self, header: Header) -> int:
        """Remember a header. Returns the checksum of its listing."""
        listing = self._sums(header)
        self._headers.pop(listing, None)
        self._headers[listing] = header
        if len(self._headers) > MAX_HEADERS:
            del self._headers[next(iter(self._headers))]
        return listing

    def collect(self, packet: Packet) -> None:
        """Take the header and the instruments of a snapshot's packet, if they are unknown."""
        if packet.listing in self._headers:
            return
        try:
            header = self._openings.take(packet)
        except PeerError:
            self.malformed += 1
            return
        if header is not None:
            self.know(header)

    def header_of(self, packet: Packet) -> Header | None:
        """The header that a packet was made under; None if it is unknown."""
        is_present = self.header is not None and packet.listing == self._listing
        return self.header if is_present else self._headers.get(packet.listing)

    def is_unreadable(self, packet: Packet) -> bool:
        """Whether a packet has records that are new, and were made under an unknown header."""
        return packet.stop_seq > self.next_seq and self.header_of(packet) is None

    def join(self, header: Header, begin: Begin) -> None:
        """Begin under a header, whose `next_seq` is the number that is due there. `begin` is what
        was asked for: what has gone by since is due as well."""
        due, reason = header.next_seq, LossReason.UNANNOUNCED
        if isinstance(begin, Position):
            is_same = begin.epoch_ns == header.epoch_ns
            due = min(begin.seq if is_same else 1, due)
            reason = LossReason.DISCONNECTED if is_same else LossReason.OTHER_EPOCH
        elif begin is Start.OLDEST:
            due, reason = 1, LossReason.EVICTED
        self.next_seq = due
        if due < header.next_seq:
            self._reason = reason
        self._frames.append(frame(START))
        self._use(header)
        self.snapshots.need_all()

    def _use(self, header: Header) -> None:
        """What comes out next was made under `header`. It comes out before, unless it did so
        last."""
        if header is not self.header:
            self._listing = self.know(header)
            self.header = header
        if self._told_listing != self._listing:
            self._frames.append(opening(replace(header, next_seq=self.next_seq)))
            self._told_listing = self._listing

    # Packets.

    def append(self, packet: Packet) -> bool:
        """Take the usual packet: plain, next, and made under the header that came out last. False
        if it is another one."""
        is_usual = (
            packet.next_seq == self.next_seq
            and packet.listing == self._listing == self._told_listing
        )
        if is_usual:
            self.next_seq = packet.stop_seq
            self._frames.append(packet.frames)
        return is_usual

    def pass_on(self, packet: Packet) -> None:
        """Take a packet that does not begin behind the number that is due, and is readable."""
        if packet.is_snapshot:
            self._pass_snapshot(packet)
        elif packet.stop_seq > self.next_seq:
            self._pass_records(packet)
        elif packet.next_seq < self.next_seq:
            return
        elif packet.flags & END:
            self._frames.append(packet.frames)
            self.is_over = True
        elif (header := self.header_of(packet)) is not None:
            self._use(header)
            if packet.is_listing:
                self._change(packet, header)
            else:
                self._frames.append(packet.frames)

    def _pass_records(self, packet: Packet) -> None:
        header = self.header_of(packet)
        assert header is not None, "it is readable"
        self._use(header)
        at = packet.next_seq
        for whole in frames_of(packet.frames):
            payload = whole[LENGTH_BYTES:]
            first, at = span_of(payload, at)
            if first < self.next_seq < at:
                try:
                    whole = frame(rest_from(payload, self.next_seq, header))
                except PeerError:
                    self.malformed += 1
                    return  # the rest of the packet is missing now
            if at > self.next_seq or first == at == self.next_seq:
                self._frames.append(whole)
                self.next_seq = at
            if payload[0] == FrameKind.LOSS:
                self.snapshots.need_books(header)

    def _pass_snapshot(self, packet: Packet) -> None:
        header = self.header_of(packet) if packet.next_seq == self.next_seq else None
        if header is not None and self.snapshots.are_needed:
            self._use(header)
        try:
            self._frames += self.snapshots.passed(packet, header)
        except PeerError:
            self.malformed += 1
            self.snapshots.lost()

    def _change(self, packet: Packet, header: Header) -> None:
        """Take INSTRUMENTS in mid-stream."""
        try:
            for whole in frames_of(packet.frames):
                header = with_instruments(header, whole[LENGTH_BYTES:])
        except PeerError:
            self.malformed += 1
            return
        self._listing = self._told_listing = self.know(header)
        self.header = header
        self._frames.append(packet.frames)

    def lose(self, last_seq: int) -> None:
        """The numbers up to this one are lost."""
        assert self.header is not None, "`join` comes first"
        lost = Loss(first_seq=self.next_seq, last_seq=last_seq, reason=self._reason)
        self._frames.append(frame(encode_event(lost)))
        self.lost += lost.count
        self.next_seq, self._reason = last_seq + 1, LossReason.UNANNOUNCED
        self.snapshots.need_books(self.header)

    # TCP.

    def recover(self, payload: bytes, first: int, stop: int, header: Header) -> None:
        """Take a frame of a TCP connection with the numbers from `first` to before `stop`, some of
        which are new. Raises `PeerError` for a block that is not in order."""
        self._use(header)
        is_cut = first < self.next_seq
        rest = rest_from(payload, self.next_seq, header) if is_cut else payload
        self._frames.append(frame(rest))
        count, self.next_seq, self._reason = stop - self.next_seq, stop, LossReason.UNANNOUNCED
        self.snapshots.lost()  # the packets that had these records may not come any more
        if payload[0] == FrameKind.LOSS:
            self.lost += count
            self.snapshots.need_books(header)
        else:
            self.recovered += count

    def recover_snapshot(self, payload: bytes, header: Header, *, is_first: bool) -> None:
        """Take a snapshot of a TCP connection, unless packets went on beyond its place: they may be
        newer. `is_first` says that nothing has a number yet. Raises `PeerError`."""
        is_here = is_first or run_of(payload)[0] >= self.next_seq
        if is_here and self.snapshots.takes(payload, header):
            self._use(header)
            self._frames.append(frame(payload))

    def recover_end(self, payload: bytes) -> None:
        """Take the END of a TCP connection."""
        self._frames.append(frame(payload))
        self.is_over = True
