"""The order of packets: their numbers without the wrap, which of them each line brought, and those
that came early.

A packet's number has 32 bits and wraps. `PacketOrder` gives it a place that only grows.

A packet that is some thousands ahead of all before, by its own number or by its sequence numbers,
has no place yet. It gets one when the next packet of its sender agrees with it. So one wrong
packet, be it forged or damaged in a way that no checksum shows, cannot make a reader give up more
records than `MAX_SEQ_LEAP`. Real packets lose nothing by that: another one follows within a second,
since a quiet channel has heartbeats.
"""

from heapq import heappop, heappush
from typing import Final

import msgspec

from fanout.protocol.packets import Packet

_SPAN: Final = 2**32

MAX_LEAP: Final = 65_536
"""How far the number of a packet can be from the newest one. A sender whose numbers are further off
has begun to count anew."""

MAX_PACKETS_AHEAD: Final = 4_096
"""How far the number of one packet may be ahead of the newest one, if no second packet agrees."""

MAX_SEQ_LEAP: Final = 16_384
"""How far the sequence numbers of one packet may be ahead, if no second packet agrees: more than
the records that fit into one packet."""

SEEN: Final = 256
"""How many packets back a line knows which ones it brought."""

_SEEN_BITS: Final = 2**SEEN - 1


class PacketOrder:
    """Places of packets, from 0 on."""

    def __init__(self) -> None:
        self._newest: Packet | None = None
        self._place = 0
        """Of the newest packet."""

    def place_of(self, packet: Packet) -> int | None:
        """A packet's place. None if it is far from the packets before: see `leap_to`."""
        newest = self._newest
        if newest is None:
            self._newest = packet
            return 0
        leap = _leap(newest, packet)
        is_near = -MAX_LEAP <= leap <= MAX_PACKETS_AHEAD
        if is_near and packet.stop_seq - newest.stop_seq <= MAX_SEQ_LEAP:
            place = self._place + leap
            if leap > 0:
                self._newest, self._place = packet, place
            return place
        return None

    def leap_to(self, far: Packet) -> None:
        """Go on at a packet that was far, now that another one agrees with it: both have places."""
        assert self._newest is not None, "it was far from that"
        leap = _leap(self._newest, far)
        # Places only grow, also where a sender has begun to count anew.
        self._place += leap if 0 < leap <= MAX_LEAP else 2 * MAX_LEAP
        self._newest = far


def _leap(from_: Packet, to: Packet) -> int:
    """How far ahead a packet's number is; negative for one that is behind."""
    return (to.number - from_.number + _SPAN // 2) % _SPAN - _SPAN // 2


def agree(one: Packet, other: Packet) -> bool:
    """Whether two packets can be of one sender at nearly one time. The same packet twice cannot."""
    is_near = 0 < abs(_leap(one, other)) <= MAX_PACKETS_AHEAD
    return is_near and abs(other.stop_seq - one.stop_seq) <= MAX_SEQ_LEAP


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
        self.far: Packet | None = None
        """Its newest packet that was far from all before."""
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
        self._came_s: dict[int, float] = {}
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

    @property
    def first_came_s(self) -> float:
        """When the first packet came; there has to be one."""
        return self._came_s[self._places[0]]

    def add(self, packet: Packet, place: int, now_s: float) -> None:
        """Keep a packet whose place is free."""
        self._packets[place] = packet
        self._came_s[place] = now_s
        heappush(self._places, place)
        self.bytes += len(packet.frames)

    def pop(self) -> tuple[Packet, int]:
        """Take out the first packet, with its place; there has to be one."""
        place = heappop(self._places)
        packet = self._packets.pop(place)
        del self._came_s[place]
        self.bytes -= len(packet.frames)
        return packet, place

    def in_order(self) -> list[tuple[Packet, int]]:
        """All of them."""
        return [(self._packets[place], place) for place in sorted(self._places)]
