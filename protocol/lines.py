"""Lines: the packets of one channel, from two lines, as the stream of a TCP connection.

    lines = Lines()
    lines.receive(datagram, sender, now_s)    what a socket of either line brought
    frames = lines.take()                     START, header, instruments, frames, in order
    lines.missing                             the records that are waited for, and since when
    lines.recovered(data, now_s)              what a TCP connection brought, asked for `wanted`
    lines.give_up(now_s)                      report what is missing as lost, and go on
    lines.is_over                             the epoch has ended; `following` makes the next Lines

Every packet travels on both lines. `Lines` takes each from whichever line is first. A packet that
comes early waits until the ones before have come, or were recovered over TCP, or were given up. So
the frames that come out are in order and none comes twice. Their numbers, together with the ranges
of LOSS, are exactly those from the first on.

                  done                   newest
    places   ... | 7 |  . | 9 | 10 |  . | 12 |
                     ^    '----- early -----'
                     due: the number behind 7

It does no I/O and reads no clock: `now_s` is any clock that only grows. It covers one epoch, as a
connection does.

**Joining.** A reader needs the header with its instruments, and the number that is due under it.
Both come over TCP, where that is possible, or in the packets of a snapshot. Until then packets
wait.

**Instruments.** A packet says which listing its blocks were made under. If that is unknown here, a
packet with INSTRUMENTS was lost. The packet waits for the header, which comes as when joining.

**Snapshots.** A reader that has joined leaves them out. One that lost records of a channel with
books needs the books again. What is passed on is never older than its place in the stream.

**Who sends.** Nothing in a packet proves that. A line sticks to one sender's address, and another
epoch counts only once the present one has ended or is silent.
"""

from collections import deque
from collections.abc import Hashable
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from fanout.protocol.blocks import block_from
from fanout.protocol.constants import (
    LENGTH_BYTES,
    NUMBERED_KINDS,
    START,
    EndReason,
    FrameKind,
    LossReason,
)
from fanout.protocol.errors import (
    ChecksumError,
    CutShortError,
    NotAPacketError,
    NotHeardError,
    PeerError,
    RecoveryEndedError,
    WrongEpochError,
)
from fanout.protocol.events import decode_event, encode_event
from fanout.protocol.framing import frame
from fanout.protocol.header import opening
from fanout.protocol.instruments import with_instruments
from fanout.protocol.joining import run_of, span_of
from fanout.protocol.packet_order import EarlyPackets, LineCount, LineStatistics, PacketOrder
from fanout.protocol.packet_snapshots import PacketOpenings, SnapshotBlocks, has_books
from fanout.protocol.packets import (
    END,
    ListingSums,
    Packet,
    decode_packet,
    frames_of,
)
from fanout.protocol.records import End, Header, Loss
from fanout.protocol.recovery import RecoveryStream, is_before_stream
from fanout.protocol.request import Begin, Moment, Position, Start

SILENCE_S: Final = 3.0
"""After so long without a packet another sender is heard. A sender sends each second."""

MAX_EARLY_PACKETS: Final = 16_384
MAX_EARLY_BYTES: Final = 8 * 1024 * 1024
"""How much waits here. Beyond it the oldest hole is given up."""

MAX_NEXT_PACKETS: Final = 4_096
"""Packets of another epoch that are kept until it is certain that it is the next one."""

MAX_HEADERS: Final = 8
"""Headers that are remembered by their listing."""

_WITH_NUMBERS: Final = frozenset(
    {
        *NUMBERED_KINDS,
        FrameKind.STATUS,
        FrameKind.GAP,
        FrameKind.LOSS,
        FrameKind.HEARTBEAT,
        FrameKind.END,
    }
)
"""Kinds of frames that say where the numbering stands, beside headers."""


class Missing(NamedTuple):
    """What is waited for. `last_seq` is `first_seq` - 1 where no record is known to be missing, but
    the header under which the next packet can be read, or a packet of a snapshot."""

    first_seq: int
    last_seq: int
    since_s: float


class LinesStatistics(msgspec.Struct, kw_only=True):
    """Counts of datagrams and of records."""

    packets: int = 0
    """Those in order, of this epoch and sender, on both lines."""
    second: int = 0
    """Those of them whose frames had come before."""
    foreign: int = 0
    """With another magic, version or channel."""
    damaged: int = 0
    """With a wrong CRC, of the packet or of a frame."""
    cut: int = 0
    """That ended too soon."""
    malformed: int = 0
    """Out of bounds, or inconsistent."""
    other_epoch: int = 0
    other_sender: int = 0
    far: int = 0
    """Whose numbers are far from all others, without another packet that confirms them."""
    recovered: int = 0
    """Sequence numbers that came over TCP."""
    lost: int = 0
    """Sequence numbers that were reported as lost."""
    early: int = 0
    """Packets that wait now."""
    lines: dict[int, LineStatistics] = msgspec.field(default_factory=dict)
    """By line: 0 is A, 1 is B."""


class Lines:
    """One epoch of a channel, from its packets."""

    def __init__(
        self,
        *,
        begin: Begin = Start.LIVE,
        channel: int | None = None,
        max_early_packets: int = MAX_EARLY_PACKETS,
        max_early_bytes: int = MAX_EARLY_BYTES,
    ) -> None:
        """`begin` is where the caller wants to begin, as in a request over TCP. Without TCP, the
        records that have gone by are reported as lost. `channel` is the channel's number; the first
        packet decides if it is None."""
        self.epoch_ns: int | None = None
        """None before the first packet, or the first header over TCP."""
        self.next_epoch_ns: int | None = None
        """The epoch that follows, once this one is over and packets of that one have come."""
        self.header: Header | None = None
        """In force at the number that is due; None before this reader has joined."""
        self.next_seq = 0
        """The number that comes out next; 0 before this reader has joined."""
        self.is_over = False
        """Whether all of this epoch that will ever come is in `take`."""
        self.heard_s: float | None = None
        """When a packet of this epoch, or something over TCP, came last."""
        self._begin = begin
        self._channel = channel
        self._max_early_packets = max_early_packets
        self._max_early_bytes = max_early_bytes
        self._out: list[bytes] = []
        self._hole = LossReason.UNANNOUNCED
        """The reason for the next loss that is reported here."""
        self._hole_since_s: float | None = None
        """When it was noticed that the first early packet cannot be next."""
        self._listing = 0
        """Of `header`."""
        self._told_listing: int | None = None
        """Of the header that came out last."""
        self._sums = ListingSums()
        self._headers: dict[int, Header] = {}
        """Those that are known, by listing."""
        self._openings = PacketOpenings()
        self._snapshots = SnapshotBlocks()
        self._order = PacketOrder()
        self._lines: dict[int, LineCount] = {}
        self._done = -1
        """The place of the newest packet that was passed on."""
        self._early = EarlyPackets()
        self._stream: RecoveryStream | None = None
        self._is_held = False
        """Whether packets wait until the snapshots of the TCP connection have come."""
        self._is_apart = False
        """Whether this reader joined over TCP, and no packet has shown yet that it is where the
        packets are. Until then it goes on over TCP."""
        self._is_dated = False
        """Whether a time was asked for, so that the first number over TCP says where that is."""
        self._next: deque[tuple[Packet, Hashable]] = deque(maxlen=MAX_NEXT_PACKETS)
        """Packets of another epoch, with their senders."""
        self._counts = LinesStatistics()

    @property
    def has_joined(self) -> bool:
        """Whether the header is known, so that frames come out."""
        return self.header is not None

    @property
    def missing(self) -> Missing | None:
        """What is waited for; None if nothing is. Before this reader has joined: see `wanted`."""
        first = self._early.first
        if self._hole_since_s is None or first is None:
            return None
        last_seq = max(first.next_seq, self.next_seq) - 1
        return Missing(self.next_seq, last_seq, self._hole_since_s)

    @property
    def wanted(self) -> Begin | None:
        """What a TCP connection should be asked for; None if it is not needed. Most holes close by
        themselves a moment later: see `missing`."""
        if self.is_over:
            return None
        if self.header is None:
            return self._begin
        first = None if self._hole_since_s is None else self._early.first
        is_needed = first is not None and (
            first.next_seq > self.next_seq or self._is_unreadable(first)
        )
        if not (is_needed or self._is_held or self._is_apart):
            return None
        return Position(epoch_ns=self.header.epoch_ns, seq=self.next_seq)

    @property
    def statistics(self) -> LinesStatistics:
        """The counts so far."""
        lines = {line: count.statistics for line, count in sorted(self._lines.items())}
        return replace(self._counts, early=len(self._early), lines=lines)

    def take(self) -> bytes:
        """The frames that are in order by now, as a connection would bring them. Empty if there are
        none."""
        out, self._out = self._out, []
        return b"".join(out)

    def receive(self, data: bytes, source: Hashable, now_s: float) -> None:
        """Take a datagram. `source` is its sender's address. One that is not in order is counted,
        and changes nothing."""
        try:
            packet = decode_packet(data)
        except NotAPacketError:
            self._counts.foreign += 1
        except CutShortError:
            self._counts.cut += 1
        except ChecksumError:
            self._counts.damaged += 1
        except PeerError:
            self._counts.malformed += 1
        else:
            self._receive(packet, source, now_s)

    def following(self, now_s: float, begin: Begin = Start.LIVE) -> "Lines":
        """The lines of the next epoch, with the packets of it that have come."""
        lines = Lines(
            begin=begin,
            channel=self._channel,
            max_early_packets=self._max_early_packets,
            max_early_bytes=self._max_early_bytes,
        )
        for packet, source in self._next:
            lines._receive(packet, source, now_s)
        return lines

    def give_up(self, now_s: float) -> None:
        """Report what is missing now as lost, in a LOSS, and go on behind it. Nothing happens if
        nothing is missing."""
        first = self._early.first
        if self._hole_since_s is None or first is None:
            return
        self._snapshots.lost()
        if first.next_seq > self.next_seq:
            self._lose(first.next_seq - 1)
        elif self._is_unreadable(first):
            self._lose(self._unreadable_to())
        else:
            self._done = self._early.first_place - 1  # what is missing has no numbers
        self._hole_since_s = None
        self._advance(now_s)

    # Packets.

    def _receive(self, packet: Packet, source: Hashable, now_s: float) -> None:
        counts = self._counts
        if self._channel not in (None, packet.channel):
            counts.foreign += 1
            return
        if packet.epoch_ns != self.epoch_ns:
            if self.epoch_ns is not None:
                self._take_other(packet, source, now_s)
                return
            self.epoch_ns = packet.epoch_ns
        self._channel = packet.channel
        line = self._line(packet.line, source, now_s)
        if line is None:
            counts.other_sender += 1
            return
        place = self._order.place_of(packet)
        if place is None:
            counts.far += 1
            return
        counts.packets += 1
        self.heard_s = now_s
        line.take(place, now_s)
        if not self.is_over:
            self._take(packet, place, now_s)

    def _line(self, number: int, source: Hashable, now_s: float) -> LineCount | None:
        """A line; None if another sender has it. One that is silent for long loses it."""
        line = self._lines.get(number)
        if line is None or (line.source != source and now_s - line.heard_s >= SILENCE_S):
            line = self._lines[number] = LineCount(source, now_s)
        return line if line.source == source else None

    def _take(self, packet: Packet, place: int, now_s: float) -> None:
        if (
            packet.next_seq == self.next_seq
            and place == self._done + 1
            and packet.listing == self._listing == self._told_listing
            and packet.is_plain
            and not (self._early or self._is_held or self._is_apart)
        ):  # nearly always
            self._done, self.next_seq = place, packet.stop_seq
            self._out.append(packet.frames)
            return
        if place in self._early:
            self._counts.second += 1
            return
        if self._is_old(packet, place):
            self._counts.second += 1
            self._is_apart = False
            return
        if packet.is_snapshot and packet.listing not in self._headers:
            self._collect(packet)
        self._early.add(packet, place)
        if self.header is None and packet.listing in self._headers:
            self._join_by_packets(self._headers[packet.listing], packet.listing)
        self._advance(now_s)
        self._limit(now_s)

    def _is_old(self, packet: Packet, place: int) -> bool:
        """Whether everything in a packet has come."""
        if self.header is None or packet.next_seq > self.next_seq:
            return False
        if packet.flags & END:
            return packet.next_seq < self.next_seq
        return packet.stop_seq <= self.next_seq if packet.is_numbered else place <= self._done

    def _collect(self, packet: Packet) -> None:
        """Take the header and the instruments of a snapshot."""
        try:
            header = self._openings.take(packet)
        except PeerError:
            self._counts.malformed += 1
            return
        if header is not None:
            self._know(header)

    def _know(self, header: Header) -> int:
        """Remember a header. Returns the checksum of its listing."""
        listing = self._sums(header)
        self._headers.pop(listing, None)
        self._headers[listing] = header
        if len(self._headers) > MAX_HEADERS:
            del self._headers[next(iter(self._headers))]
        return listing

    def _join_by_packets(self, header: Header, listing: int) -> None:
        """Join at the first packet of this listing."""
        packet, place = next(
            (packet, place) for packet, place in self._early.in_order() if packet.listing == listing
        )
        while self._early.first_place < place:
            self._early.pop()
        self._done = place - 1
        self._join(header, packet.next_seq)

    def _join(self, header: Header, next_seq: int) -> None:
        """Begin to hand out frames, where `next_seq` is the number that the header says."""
        begin = self._begin
        due, reason = next_seq, LossReason.UNANNOUNCED
        if isinstance(begin, Position):
            is_same = begin.epoch_ns == header.epoch_ns
            due = min(begin.seq if is_same else 1, next_seq)
            reason = LossReason.DISCONNECTED if is_same else LossReason.OTHER_EPOCH
        elif begin is Start.OLDEST:
            due, reason = 1, LossReason.EVICTED
        self.next_seq = due
        if due < next_seq:
            self._hole = reason
        self._out.append(frame(START))
        self._use(header)
        self._snapshots.need_all()

    def _use(self, header: Header) -> None:
        """What comes out next was made under `header`. It comes out before, unless it did so
        last."""
        if header is not self.header:
            self._listing = self._know(header)
            self.header = header
        if self._told_listing != self._listing:
            self._out.append(opening(replace(header, next_seq=self.next_seq)))
            self._told_listing = self._listing

    def _advance(self, now_s: float) -> None:
        """Pass on the packets that wait no more."""
        if self.header is None or self._is_held:
            return
        early = self._early
        while (packet := early.first) is not None and not self.is_over:
            if not self._is_ready(packet, early.first_place):
                if self._hole_since_s is None:
                    self._hole_since_s = now_s
                return
            self._hole_since_s, self._is_apart = None, False
            self._pass(*early.pop())
        self._hole_since_s = None

    def _is_ready(self, packet: Packet, place: int) -> bool:
        if packet.next_seq > self.next_seq:
            return False
        if place > self._done + 1 and packet.next_seq == self.next_seq:
            # The packets between have no numbers. They may be pieces of a snapshot.
            is_piece = packet.is_snapshot and self._snapshots.are_needed
            if is_piece or self._snapshots.is_under_way:
                return False
        return not self._is_unreadable(packet)

    def _is_unreadable(self, packet: Packet) -> bool:
        """Whether a packet has records that were made under a listing that is not known here."""
        return packet.stop_seq > self.next_seq and self._header_of(packet) is None

    def _pass(self, packet: Packet, place: int) -> None:
        """Pass on a packet that is next, or leave out what has come before."""
        if place != self._done + 1:
            self._snapshots.lost()
        self._done = max(self._done, place)
        if packet.is_snapshot:
            self._pass_snapshot(packet)
        elif packet.stop_seq > self.next_seq:
            self._pass_records(packet)
        elif packet.next_seq < self.next_seq:
            return
        elif packet.flags & END:
            self._out.append(packet.frames)
            self.is_over = True
        elif (header := self._header_of(packet)) is not None:
            self._use(header)
            if packet.is_listing:
                self._change(packet, header)
            else:
                self._out.append(packet.frames)

    def _header_of(self, packet: Packet) -> Header | None:
        """The header that a packet was made under; None if it is unknown."""
        is_present = packet.listing == self._listing
        return self.header if is_present else self._headers.get(packet.listing)

    def _pass_records(self, packet: Packet) -> None:
        header = self._header_of(packet)
        assert header is not None, "it is readable"
        self._use(header)
        at = packet.next_seq
        for whole in frames_of(packet.frames):
            payload = whole[LENGTH_BYTES:]
            first, at = span_of(payload, at)
            if first < self.next_seq < at:
                try:
                    whole = _from(payload, self.next_seq, header)
                except PeerError:
                    self._counts.malformed += 1
                    return  # the rest of the packet is missing now
            if at > self.next_seq or first == at == self.next_seq:
                self._out.append(whole)
                self.next_seq = at
            if payload[0] == FrameKind.LOSS:
                self._snapshots.need_books(header)

    def _pass_snapshot(self, packet: Packet) -> None:
        header = self._header_of(packet) if packet.next_seq == self.next_seq else None
        if header is not None and self._snapshots.are_needed:
            self._use(header)
        try:
            self._out += self._snapshots.passed(packet, header)
        except PeerError:
            self._counts.malformed += 1
            self._snapshots.lost()

    def _change(self, packet: Packet, header: Header) -> None:
        """Take INSTRUMENTS in mid-stream."""
        try:
            for whole in frames_of(packet.frames):
                header = with_instruments(header, whole[LENGTH_BYTES:])
        except PeerError:
            self._counts.malformed += 1
            return
        self._listing = self._told_listing = self._know(header)
        self.header = header
        self._out.append(packet.frames)

    def _unreadable_to(self) -> int:
        """Leave out the first packets that cannot be read. Returns their last number."""
        last_seq = self.next_seq - 1
        while (packet := self._early.first) is not None and self._is_unreadable(packet):
            last_seq = max(last_seq, packet.stop_seq - 1)
            self._done = max(self._done, self._early.pop()[1])
        return last_seq

    def _lose(self, last_seq: int) -> None:
        assert self.header is not None, "this reader has joined"
        lost = Loss(first_seq=self.next_seq, last_seq=last_seq, reason=self._hole)
        self._out.append(frame(encode_event(lost)))
        self._counts.lost += lost.count
        self.next_seq, self._hole = last_seq + 1, LossReason.UNANNOUNCED
        self._snapshots.need_books(self.header)

    def _limit(self, now_s: float) -> None:
        """Keep what waits in bounds."""
        early = self._early
        while len(early) > self._max_early_packets or early.bytes > self._max_early_bytes:
            if self._hole_since_s is not None:
                self.give_up(now_s)
            else:
                early.pop()  # not joined: the numbers show that as a hole later

    # Another epoch.

    def _take_other(self, packet: Packet, source: Hashable, now_s: float) -> None:
        """Count a packet of another epoch, and keep it in case that is the next one. Two of them
        have to come, and this epoch has to have ended or to be silent."""
        self._counts.other_epoch += 1
        if self._next and self._next[0][0].epoch_ns != packet.epoch_ns:
            if self.next_epoch_ns is not None:
                return
            self._next.clear()
        self._next.append((packet, source))
        is_silent = self.heard_s is None or now_s - self.heard_s >= SILENCE_S
        is_confirmed = self._next[0][0].number != packet.number
        if is_confirmed and (self.is_over or is_silent):
            self._finish(now_s)
            self.next_epoch_ns = packet.epoch_ns

    def _finish(self, now_s: float) -> None:
        """Hand out all that has come, since nothing follows."""
        self._is_held = False
        self._advance(now_s)
        while self._hole_since_s is not None and not self.is_over:
            self.give_up(now_s)
        self.is_over = True

    # TCP.

    def recovered(self, data: bytes, now_s: float) -> bool:
        """Take the bytes of a TCP connection, from its first on, that was asked for `wanted`.
        Returns whether all that was wanted has come; then the connection can be closed.

        Raises `PeerError` for bytes that break the wire, `NotHeardError` if the service began
        elsewhere, `WrongEpochError` if it is at another epoch than the packets, and
        `RecoveryEndedError` if it ended. The connection is over then: call `recovery_lost`.
        """
        stream = self._stream = self._stream or RecoveryStream()
        stream.feed(data)
        while self.wanted is not None and (payload := stream.next_payload()) is not None:
            self.heard_s = now_s
            if stream.is_new_header:
                self._take_header(stream, now_s)
            elif not is_before_stream(payload):
                self._take_recovered(payload, stream)
            self._advance(now_s)
        if self.wanted is not None:
            return False
        self._stream = None
        return True

    def recovery_lost(self, now_s: float) -> None:
        """The TCP connection is gone. The next bytes are those of another one."""
        self._stream, self._is_held, self._is_dated = None, False, False
        self._snapshots.lost()
        self._advance(now_s)

    def _take_header(self, stream: RecoveryStream, now_s: float) -> None:
        header = stream.header
        assert header is not None, "it has just come"
        if self.header is not None:
            if header.epoch_ns != self.header.epoch_ns:
                raise WrongEpochError(
                    f"the service is at epoch {header.epoch_ns}, and the packets are of epoch "
                    f"{self.header.epoch_ns}"
                )
            self._know(header)
            return
        packets = self._set_aside(header.epoch_ns) if self.epoch_ns != header.epoch_ns else []
        self._join(header, header.next_seq)
        self._is_held = self._is_apart = True
        self._is_dated = isinstance(self._begin, Moment)
        for packet, source in packets:
            self._receive(packet, source, now_s)

    def _set_aside(self, epoch_ns: int) -> list[tuple[Packet, Hashable]]:
        """The service is at another epoch than the packets so far. Theirs may be the next one.
        Returns packets of this epoch that came as those of another."""
        waiting = [(each, self._lines[each.line].source) for each, _ in self._early.in_order()]
        others = list(self._next)
        is_this = bool(others) and others[0][0].epoch_ns == epoch_ns
        self._next.clear()
        self._next.extend(waiting or ([] if is_this else others))
        self._early, self._order, self._lines = EarlyPackets(), PacketOrder(), {}
        self.epoch_ns = epoch_ns
        return others if is_this else []

    def _take_recovered(self, payload: bytes, stream: RecoveryStream) -> None:
        """Take a frame of the TCP connection."""
        header = stream.header
        assert header is not None, "the table allows no other frame before it"
        if payload[0] in NUMBERED_KINDS and not run_of(payload)[1]:
            self._take_recovered_snapshot(payload, header)
            return
        first, stop = span_of(payload, self.next_seq)
        if payload[0] not in _WITH_NUMBERS:
            return
        if self._is_dated:
            self.next_seq, self._is_dated = first, False
        if payload[0] == FrameKind.END:
            self._take_recovered_end(payload, first, header)
            return
        if first > self.next_seq:
            raise NotHeardError(
                f"the service sent number {first}, and {self.next_seq} was asked for"
            )
        if self._is_held:
            self._is_held = False
            self._snapshots.need_nothing()
        if payload[0] == FrameKind.HEARTBEAT:
            self._is_apart = False  # nothing is newer than this
        if stop > self.next_seq:
            self._take_recovered_records(payload, first, stop, header)

    def _take_recovered_records(
        self, payload: bytes, first: int, stop: int, header: Header
    ) -> None:
        self._use(header)
        is_cut = first < self.next_seq
        self._out.append(_from(payload, self.next_seq, header) if is_cut else frame(payload))
        count, self.next_seq, self._hole = stop - self.next_seq, stop, LossReason.UNANNOUNCED
        self._snapshots.lost()  # the packets that had these records may not come any more
        if payload[0] == FrameKind.LOSS:
            self._counts.lost += count
            self._snapshots.need_books(header)
            self._is_held = has_books(header)
        else:
            self._counts.recovered += count

    def _take_recovered_snapshot(self, payload: bytes, header: Header) -> None:
        """Pass on a snapshot, unless packets went on beyond its place: they may be newer."""
        is_here = self._is_dated or run_of(payload)[0] >= self.next_seq
        if is_here and self._snapshots.takes(payload, header):
            self._use(header)
            self._out.append(frame(payload))

    def _take_recovered_end(self, payload: bytes, due: int, header: Header) -> None:
        """The service has no more of this epoch, or it ended the connection."""
        end = decode_event(payload, header)
        assert isinstance(end, End), "its kind says so"
        if end.reason is not EndReason.EPOCH_OVER or due != self.next_seq:
            raise RecoveryEndedError(f"the service ended: {end.why or end.reason.name}")
        self._out.append(frame(payload))
        self.is_over = True


def _from(payload: bytes, seq: int, header: Header) -> bytes:
    """The frame with the records of a block, or the numbers of a LOSS, from `seq` on."""
    if payload[0] == FrameKind.LOSS:
        return frame(encode_event(replace(decode_event(payload, header), first_seq=seq)))
    return frame(block_from(payload, seq, header))
