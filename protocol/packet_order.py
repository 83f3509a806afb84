"""The order of packets: their numbers without the wrap, which of them each line brought, and those
that came early.

A packet's number has 32 bits and wraps. `PacketOrder` gives it a place that only grows. A number
that is far from all before, or a sequence number that is, counts only once a second packet agrees:
a forged packet, or one that a faulty card damaged in a way that no checksum shows, must not make a
reader give up millions of records.
"""

from heapq import heappop, heappush
from typing import Final

import msgspec

from fanout.protocol.packets import Packet

_SPAN: Final = 2**32

MAX_LEAP: Final = 65_536
"""How far the number of a packet may be from the newest one: a second at the most that a service
has been seen to send."""

MAX_SEQ_LEAP: Final = 2**24
"""How far a packet's sequence number may be ahead: minutes at the most that has been seen."""

SEEN: Final = 256
"""How many packets back a line knows which ones it brought."""

_SEEN_BITS: Final = 2**SEEN - 1


class PacketOrder:
    """Places of packets, from 0 on."""

    def __init__(self) -> None:
        self._newest: Packet | None = None
        self._place = 0
        """Of the newest packet."""
        self._far: Packet | None = None
        """A packet that was far from all before it."""

    def place_of(self, packet: Packet) -> int | None:
        """A packet's place. None if it is far from the packets before, and the first such."""
        newest = self._newest
        if newest is None:
            self._newest = packet
            return 0
        leap = _leap(newest, packet)
        if abs(leap) <= MAX_LEAP and packet.next_seq - newest.stop_seq <= MAX_SEQ_LEAP:
            place = self._place + leap
            if leap > 0:
                self._newest, self._place = packet, place
            return place
        far, self._far = self._far, packet
        if far is None or not _agree(far, packet):
            return None
        # Places only grow, also where a sender has begun to count anew.
        self._far, self._newest = None, packet
        self._place += 2 * MAX_LEAP
        return self._place


def _leap(from_: Packet, to: Packet) -> int:
    """How far ahead a packet's number is; negative for one that is behind."""
    return (to.number - from_.number + _SPAN // 2) % _SPAN - _SPAN // 2


def _agree(one: Packet, other: Packet) -> bool:
    leap = _leap(one, other)
    is_near = 0 < abs(leap) <= MAX_LEAP
    return is_near and abs(other.next_seq - one.stop_seq) <= MAX_SEQ_LEAP


class LineStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a line brought."""

    packets: int
    """In order and of the epoch, doubled ones included."""
    lost: int
    """Packets that did not come, as far as their numbers tell."""
    reordered: int
    """Packets that came behind a later one."""
    doubled: int
    """Packets that came again."""


class LineCount:
    """Counts the packets of one line, by their places."""

    def __init__(self, source: object, now_s: float) -> None:
        self.source = source
        """The sender's address."""
        self.heard_s = now_s
        """When its newest packet came."""
        self._newest: int | None = None
        self._seen = 0
        """The places behind the newest one, a bit each, of those that came."""
        self._packets = self._lost = self._reordered = self._doubled = 0

    @property
    def statistics(self) -> LineStatistics:
        return LineStatistics(
            packets=self._packets,
            lost=self._lost,
            reordered=self._reordered,
            doubled=self._doubled,
        )

    def take(self, place: int, now_s: float) -> None:
        """Count a packet."""
        self._packets += 1
        self.heard_s = now_s
        if self._newest is None:
            self._newest, self._seen = place, 1
            return
        ahead = place - self._newest
        if ahead > MAX_LEAP:  # the sender counts anew
            self._newest, self._seen = place, 1
        elif ahead > 0:
            self._lost += ahead - 1
            self._newest = place
            self._seen = (self._seen << min(ahead, SEEN) | 1) & _SEEN_BITS
        elif self._seen >> -ahead & 1:
            self._doubled += 1
        else:
            self._reordered += 1
            self._lost = max(0, self._lost - 1)
            if -ahead < SEEN:
                self._seen |= 1 << -ahead


class EarlyPackets:
    """Packets that wait for those before them, by place."""

    def __init__(self) -> None:
        self.bytes = 0
        """Of their frames."""
        self._packets: dict[int, Packet] = {}
        self._places: list[int] = []
        """A heap."""

    def __len__(self) -> int:
        return len(self._packets)

    def __contains__(self, place: int) -> bool:
        return place in self._packets

    @property
    def first(self) -> Packet | None:
        return self._packets[self._places[0]] if self._places else None

    @property
    def first_place(self) -> int:
        """The first packet's; there has to be one."""
        return self._places[0]

    def add(self, packet: Packet, place: int) -> None:
        """Keep a packet whose place is free."""
        self._packets[place] = packet
        heappush(self._places, place)
        self.bytes += len(packet.frames)

    def pop(self) -> tuple[Packet, int]:
        """Take out the first packet, with its place; there has to be one."""
        place = heappop(self._places)
        packet = self._packets.pop(place)
        self.bytes -= len(packet.frames)
        return packet, place

    def in_order(self) -> list[tuple[Packet, int]]:
        """All of them."""
        return [(self._packets[place], place) for place in sorted(self._places)]
