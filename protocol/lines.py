"""Lines: the packets of one channel, from two lines, as the stream of a TCP connection.

    lines = Lines()
    lines.receive(datagram, line, sender, now_s)    what the socket of a line brought
    frames = lines.take()                           START, header, instruments, frames, in order
    lines.missing                                   the records that are waited for, and since when
    lines.recovered(data, now_s)                    what TCP brought, asked for `wanted`
    lines.give_up()                                 report what is missing as lost, and go on
    lines.is_over                                   the epoch has ended; `following` is the next

Every packet travels on both lines. `Lines` takes each from whichever line is first. A packet that
comes early waits until the ones before have come, or were recovered over TCP, or were given up. So
the frames that come out are in order and none comes twice. Their numbers, together with the ranges
of LOSS, are exactly those from the first on.

                  done                   newest
    places   ... | 7 |  . | 9 | 10 |  . | 12 |
                     ^    '----- early -----'
                     due: the number behind 7

It does no I/O and reads no clock: `now_s` is any clock that only grows. It covers one epoch, as a
connection does. `Lines` decides what is next; `PacketStream` is what comes out.

**Joining.** A reader needs the header with its instruments, and the number that is due under it.
Both come over TCP, where that is possible, or in the packets of a snapshot. Until then packets
wait.

**Instruments.** A packet says which listing its blocks were made under. If that is unknown here, a
packet with INSTRUMENTS was lost. The packet waits for the header, which comes as when joining.

**Snapshots.** A reader that has joined leaves them out. One that lost records of a channel with
books needs the books again. What is passed on is never older than its place in the stream.

**Senders.** Nothing in a packet proves who sent it. A line is the socket that brought a packet,
whatever the packet says, and it sticks to the address of one sender until that is silent. A leap in
the numbers counts once a second packet of that sender agrees with it, and an END once it has come
twice. Over TCP both count at once. Another epoch counts once this one has ended or is silent.
"""

from collections import deque
from collections.abc import Hashable
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from fanout.protocol.constants import NUMBERED_KINDS, EndReason, FrameKind
from fanout.protocol.errors import (
    ChecksumError,
    CutShortError,
    NotAPacketError,
    NotHeardError,
    PeerError,
    RecoveryEndedError,
    WrongEpochError,
)
from fanout.protocol.events import decode_event
from fanout.protocol.framing import frame
from fanout.protocol.joining import run_of, span_of
from fanout.protocol.packet_order import (
    EarlyPackets,
    LineCount,
    LineStatistics,
    PacketOrder,
    agree,
)
from fanout.protocol.packet_stream import PacketStream
from fanout.protocol.packets import END, Packet, decode_packet
from fanout.protocol.records import End, Header
from fanout.protocol.recovery import RecoveryStream, is_before_stream
from fanout.protocol.request import Begin, Moment, Position, Start

SILENCE_S: Final = 3.0
"""After so long without a packet another sender is heard. A sender sends each second."""

MAX_EARLY_PACKETS: Final = 16_384
MAX_EARLY_BYTES: Final = 8 * 1024 * 1024
"""How much waits here. Beyond it the oldest hole is given up."""

MAX_NEXT_PACKETS: Final = 4_096
"""Packets of another epoch that are kept until it is certain that it is the next one."""

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


class LinesStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of datagrams and of records."""

    packets: int
    """Those in order, of this epoch and sender, on both lines."""
    second: int
    """Those of them whose frames had come before."""
    foreign: int
    """With another magic, version or channel."""
    damaged: int
    """With a wrong CRC, of the packet or of a frame."""
    cut: int
    """That ended too soon."""
    malformed: int
    """Out of bounds, or inconsistent."""
    other_epoch: int
    other_sender: int
    far: int
    """Whose numbers are far ahead of all others, without another packet that confirms them."""
    recovered: int
    """Sequence numbers that came over TCP."""
    lost: int
    """Sequence numbers that were reported as lost."""
    early: int
    """Packets that wait now."""
    lines: dict[int, LineStatistics]
    """By line, as the caller of `receive` numbers them."""


class _Counts(msgspec.Struct):
    """The counts that `Lines` keeps itself."""

    packets: int = 0
    second: int = 0
    foreign: int = 0
    damaged: int = 0
    cut: int = 0
    malformed: int = 0
    other_epoch: int = 0
    other_sender: int = 0
    far: int = 0


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
        self.heard_s: float | None = None
        """When a packet of this epoch, or something over TCP, came last."""
        self._begin = begin
        self._channel = channel
        self._max_early_packets = max_early_packets
        self._max_early_bytes = max_early_bytes
        self._stream = PacketStream()
        self._is_over = False
        """Whether another epoch took over."""
        self._order = PacketOrder()
        self._lines: dict[int, LineCount] = {}
        self._done = -1
        """The place of the newest packet that was passed on."""
        self._end = self._sure_end = b""
        """The newest END that came, and the newest that came twice."""
        self._early = EarlyPackets()
        self._hole_since_s: float | None = None
        """When the first early packet came, if it cannot be next. Holes age side by side: one that
        was noticed while another was waited for is as old as that."""
        self._tcp: RecoveryStream | None = None
        self._is_held = False
        """Whether packets wait until the snapshots of the TCP connection have come."""
        self._is_apart = False
        """Whether this reader joined over TCP, and no packet has shown yet that it is where the
        packets are. Until then it goes on over TCP."""
        self._is_dated = False
        """Whether a time was asked for, so that the first number over TCP says where that is."""
        self._next: deque[tuple[Packet, Hashable]] = deque(maxlen=MAX_NEXT_PACKETS)
        """Packets of another epoch, with their senders."""
        self._former_epoch_ns: int | None = None
        """The epoch before this one, of which packets may still come."""
        self._counts = _Counts()

    @property
    def header(self) -> Header | None:
        """In force at the number that is due; None before this reader has joined."""
        return self._stream.header

    @property
    def has_joined(self) -> bool:
        """Whether the header is known, so that frames come out."""
        return self._stream.header is not None

    @property
    def next_seq(self) -> int:
        """The number that comes out next; 0 before this reader has joined."""
        return self._stream.next_seq

    @property
    def is_over(self) -> bool:
        """Whether all of this epoch that will ever come is in `take`."""
        return self._is_over or self._stream.is_over

    @property
    def missing(self) -> Missing | None:
        """What is waited for; None if nothing is. Before this reader has joined: see `wanted`."""
        first, due = self._early.first, self._stream.next_seq
        if self._hole_since_s is None or first is None:
            return None
        return Missing(due, max(first.next_seq, due) - 1, self._hole_since_s)

    @property
    def wanted(self) -> Begin | None:
        """What a TCP connection should be asked for; None if it is not needed. Most holes close by
        themselves a moment later: see `missing`."""
        stream = self._stream
        if self.is_over:
            return None
        if stream.header is None:
            return self._begin
        first = None if self._hole_since_s is None else self._early.first
        is_needed = first is not None and (
            first.next_seq > stream.next_seq or stream.is_unreadable(first)
        )
        if not (is_needed or self._is_held or self._is_apart):
            return None
        return Position(epoch_ns=stream.header.epoch_ns, seq=stream.next_seq)

    @property
    def statistics(self) -> LinesStatistics:
        """The counts so far."""
        counts, stream = self._counts, self._stream
        return LinesStatistics(
            packets=counts.packets,
            second=counts.second,
            foreign=counts.foreign,
            damaged=counts.damaged,
            cut=counts.cut,
            malformed=counts.malformed + stream.malformed,
            other_epoch=counts.other_epoch,
            other_sender=counts.other_sender,
            far=counts.far,
            recovered=stream.recovered,
            lost=stream.lost,
            early=len(self._early),
            lines={line: count.statistics for line, count in sorted(self._lines.items())},
        )

    def take(self) -> bytes:
        """The frames that are in order by now, as a connection would bring them. Empty if there are
        none."""
        return self._stream.take()

    def receive(self, data: bytes, line: int, source: Hashable, now_s: float) -> None:
        """Take a datagram. `line` is the number of the group whose socket brought it, and `source`
        is its sender's address. A datagram that is not in order is counted, and changes nothing."""
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
            if packet.line != line:
                packet = replace(packet, line=line)
            self._receive(packet, source, now_s)

    def following(self, now_s: float, begin: Begin = Start.LIVE) -> "Lines":
        """The lines of the next epoch, with the packets of it that have come. They leave out what
        still comes of this epoch: an END is sent several times."""
        lines = Lines(
            begin=begin,
            channel=self._channel,
            max_early_packets=self._max_early_packets,
            max_early_bytes=self._max_early_bytes,
        )
        lines._former_epoch_ns = self.epoch_ns
        for packet, source in self._next:
            lines._receive(packet, source, now_s)
        return lines

    def give_up(self) -> None:
        """Report what is missing now as lost, in a LOSS, and go on behind it. Nothing happens if
        nothing is missing."""
        first, stream = self._early.first, self._stream
        if self._hole_since_s is None or first is None:
            return
        stream.snapshots.lost()
        if first.next_seq > stream.next_seq:
            stream.lose(first.next_seq - 1)
        elif stream.is_unreadable(first):
            stream.lose(self._unreadable_to())
        else:
            self._done = self._early.first_place - 1  # what is missing has no numbers
        self._hole_since_s = None
        self._advance()

    def _unreadable_to(self) -> int:
        """Leave out the first packets that cannot be read. Returns their last number."""
        last_seq = self._stream.next_seq - 1
        while (packet := self._early.first) is not None and self._stream.is_unreadable(packet):
            last_seq = max(last_seq, packet.stop_seq - 1)
            self._done = max(self._done, self._early.pop()[1])
        return last_seq

    # Packets.

    def _receive(self, packet: Packet, source: Hashable, now_s: float) -> None:
        counts = self._counts
        if self._channel not in (None, packet.channel):
            counts.foreign += 1
            return
        if packet.epoch_ns != self.epoch_ns:
            if packet.epoch_ns == self._former_epoch_ns:
                counts.other_epoch += 1
                return
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
            self._take_far(packet, line, now_s)
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

    def _take_far(self, packet: Packet, line: LineCount, now_s: float) -> None:
        """Keep a packet that is far from all before, until the next one of its sender agrees."""
        far, line.far = line.far, packet
        if far is None or not agree(far, packet):
            self._counts.far += 1
            return
        line.far = None
        self._counts.far -= 1
        self._order.leap_to(far)
        for each in (far, packet):
            self._receive(each, line.source, now_s)

    def _take(self, packet: Packet, place: int, now_s: float) -> None:
        if (
            packet.is_plain
            and place == self._done + 1
            and not (self._early or self._is_held or self._is_apart)
            and self._stream.append(packet)
        ):  # nearly always
            self._done = place
            return
        if packet.flags & END:
            if packet.frames == self._end:
                self._sure_end = self._end
            self._end = packet.frames
        if place in self._early:
            self._counts.second += 1
            return
        if self._is_old(packet, place):
            self._counts.second += 1
            self._is_apart = False
            return
        if packet.is_snapshot:
            self._stream.collect(packet)
        self._early.add(packet, place, now_s)
        if not self.has_joined:
            self._join_by_packets(packet)
        self._advance()
        self._limit()

    def _is_old(self, packet: Packet, place: int) -> bool:
        """Whether everything in a packet has come."""
        due = self._stream.next_seq
        if not self.has_joined or packet.next_seq > due:
            return False
        if packet.flags & END:
            return packet.next_seq < due
        return packet.stop_seq <= due if packet.is_numbered else place <= self._done

    def _join_by_packets(self, newest: Packet) -> None:
        """Join at the first packet with the listing of the newest, if its header is known."""
        header = self._stream.header_of(newest)
        if header is None:
            return
        while (first := self._early.first) is not None and first.listing != newest.listing:
            self._early.pop()
        assert first is not None, "the newest packet has this listing"
        self._done = self._early.first_place - 1
        self._stream.join(replace(header, next_seq=first.next_seq), self._begin)

    def _advance(self) -> None:
        """Pass on the packets that wait no more."""
        if self._is_held or not self.has_joined:
            return
        while (packet := self._early.first) is not None and not self._stream.is_over:
            if not self._is_ready(packet, self._early.first_place):
                if self._hole_since_s is None:
                    self._hole_since_s = self._early.first_came_s
                return
            self._hole_since_s, self._is_apart = None, False
            self._pass(*self._early.pop())
        self._hole_since_s = None

    def _is_ready(self, packet: Packet, place: int) -> bool:
        stream = self._stream
        if packet.next_seq > stream.next_seq:
            return False
        if place > self._done + 1 and packet.next_seq == stream.next_seq:
            # The packets between have no numbers. They may be pieces of a snapshot.
            is_piece = packet.is_snapshot and stream.snapshots.are_needed
            if is_piece or stream.snapshots.is_under_way:
                return False
        return not stream.is_unreadable(packet)

    def _pass(self, packet: Packet, place: int) -> None:
        """Pass on a packet that is next, or leave out what has come before."""
        if place != self._done + 1:
            self._stream.snapshots.lost()
        self._done = max(self._done, place)
        if not packet.flags & END or packet.frames == self._sure_end:
            self._stream.pass_on(packet)

    def _limit(self) -> None:
        """Keep what waits in bounds."""
        early = self._early
        while len(early) > self._max_early_packets or early.bytes > self._max_early_bytes:
            if self._hole_since_s is not None and self._tcp is None:
                self.give_up()
            else:
                early.pop()  # it can be had over TCP, or the numbers show the hole

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
            self._finish()
            self.next_epoch_ns = packet.epoch_ns

    def _finish(self) -> None:
        """Hand out all that has come, since nothing follows."""
        self._is_held = False
        self._advance()
        while self._hole_since_s is not None and not self.is_over:
            self.give_up()
        self._is_over = True

    # TCP.

    def recovered(self, data: bytes, now_s: float) -> bool:
        """Take the bytes of a TCP connection, from its first on, that was asked for `wanted`.
        Returns whether all that was wanted has come; then the connection can be closed.

        Raises `PeerError` for bytes that break the wire, `NotHeardError` if the service began
        elsewhere, `WrongEpochError` if it is at another epoch than the packets, and
        `RecoveryEndedError` if it ended. The connection is over then: call `recovery_lost`.
        """
        tcp = self._tcp = self._tcp or RecoveryStream()
        tcp.feed(data)
        while self.wanted is not None and (payload := tcp.next_payload()) is not None:
            self.heard_s = now_s
            header = tcp.header
            if tcp.is_new_header:
                assert header is not None, "it has just come"
                self._take_header(header, now_s)
            elif not is_before_stream(payload):
                assert header is not None, "the table allows no other frame before it"
                self._take_recovered(payload, header)
            self._advance()
        if self.wanted is not None:
            return False
        self._tcp = None
        return True

    def recovery_lost(self) -> None:
        """The TCP connection is gone. The next bytes are those of another one. A time that was
        asked for is forgotten with it: without a number of that time, the reader goes on live."""
        self._tcp, self._is_held, self._is_dated = None, False, False
        self._stream.snapshots.lost()
        self._advance()

    def _take_header(self, header: Header, now_s: float) -> None:
        before = self._stream.header
        if before is not None:
            if header.epoch_ns != before.epoch_ns:
                raise WrongEpochError(
                    f"the service is at epoch {header.epoch_ns}, and the packets are of epoch "
                    f"{before.epoch_ns}"
                )
            self._stream.know(header)
            return
        packets = self._set_aside(header.epoch_ns) if self.epoch_ns != header.epoch_ns else []
        self._stream.join(header, self._begin)
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

    def _take_recovered(self, payload: bytes, header: Header) -> None:
        """Take a frame of the TCP connection."""
        stream = self._stream
        if payload[0] in NUMBERED_KINDS and not run_of(payload)[1]:
            stream.recover_snapshot(payload, header, is_first=self._is_dated)
            return
        first, stop = span_of(payload, stream.next_seq)
        if payload[0] not in _WITH_NUMBERS:
            return
        if self._is_dated:
            stream.next_seq, self._is_dated = first, False
        if payload[0] == FrameKind.END:
            self._take_recovered_end(payload, first, header)
            return
        if first > stream.next_seq:
            raise NotHeardError(
                f"the service sent number {first}, and {stream.next_seq} was asked for"
            )
        if self._is_held:
            self._is_held = False
            stream.snapshots.need_nothing()
        if payload[0] == FrameKind.HEARTBEAT:
            self._is_apart = False  # nothing is newer than this
        if stop > stream.next_seq:
            stream.recover(payload, first, stop, header)
            self._is_held = payload[0] == FrameKind.LOSS and header.has_books
            early = self._early.first
            if early is not None and early.next_seq <= stop:
                self._done = max(self._done, self._early.first_place - 1)

    def _take_recovered_end(self, payload: bytes, due: int, header: Header) -> None:
        """The service has no more of this epoch, or it ended the connection."""
        end = decode_event(payload, header)
        assert isinstance(end, End), "its kind says so"
        if end.reason is not EndReason.EPOCH_OVER or due != self._stream.next_seq:
            words = f"the service ended: {end.why or end.reason.name}"
            raise RecoveryEndedError(words, frame(payload))
        self._stream.recover_end(payload)
