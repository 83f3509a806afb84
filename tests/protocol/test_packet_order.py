"""Places of packets, the counts of a line, and packets that wait."""

import pytest

from fanout.protocol import Packet
from fanout.protocol.packet_order import (
    MAX_LEAP,
    MAX_PACKETS_AHEAD,
    MAX_SEQ_LEAP,
    SEEN,
    EarlyPackets,
    LineCount,
    LineStatistics,
    PacketOrder,
    agree,
)


def packet(number: int, next_seq: int = 1, stop_seq: int | None = None) -> Packet:
    stop_seq = stop_seq or next_seq + 1
    return Packet(0, 0, 0, 0, 1, next_seq, stop_seq, 0, number, False, True, b"frames")


def test_places_go_on_where_numbers_wrap() -> None:
    order = PacketOrder()
    numbers = (2**32 - 2, 2**32 - 1, 0, 2, 1, 2**32 - 3)
    assert [order.place_of(packet(each)) for each in numbers] == [0, 1, 2, 4, 3, -1]


@pytest.mark.parametrize(
    "far",
    [
        packet(100 + MAX_PACKETS_AHEAD + 2),
        packet(100 - MAX_LEAP - 1),
        packet(101, next_seq=MAX_SEQ_LEAP + 2),
        packet(101, next_seq=2, stop_seq=MAX_SEQ_LEAP + 3),
    ],
)
def test_a_packet_that_is_far_from_all_others_counts_for_nothing(far: Packet) -> None:
    order = PacketOrder()
    assert order.place_of(packet(100)) == 0
    assert order.place_of(far) is None
    assert order.place_of(packet(101)) == 1
    assert not agree(far, far), "the same once more confirms nothing"


def test_packets_agree_that_are_near_each_other_in_both_numbers() -> None:
    one = packet(2**32 - 1, next_seq=10**9)
    assert agree(one, packet(0, next_seq=10**9 + 1))
    assert agree(packet(0, next_seq=10**9 + 1), one)
    assert not agree(one, packet(MAX_PACKETS_AHEAD, next_seq=10**9 + 1))
    assert not agree(one, packet(0, next_seq=10**9 + MAX_SEQ_LEAP + 1))
    assert not agree(one, packet(0, next_seq=10**9 + 1, stop_seq=10**12))


@pytest.mark.parametrize(
    ("number", "place"),
    [(1 + MAX_PACKETS_AHEAD, 1 + MAX_PACKETS_AHEAD), (MAX_LEAP, MAX_LEAP), (10**6, 2 * MAX_LEAP)],
)
def test_a_leap_leads_behind_all_places_before(number: int, place: int) -> None:
    order = PacketOrder()
    order.place_of(packet(0))
    far = packet(number, next_seq=10**9)
    assert order.place_of(far) is None
    order.leap_to(far)
    assert order.place_of(far) == place
    assert order.place_of(packet(number + 1, next_seq=10**9 + 1)) == place + 1


def counted(*places: int) -> LineStatistics:
    count = LineCount("sender", 0.0)
    for now, place in enumerate(places):
        count.take(place, float(now))
    assert count.heard_s == len(places) - 1
    return count.statistics


@pytest.mark.parametrize(
    ("places", "lost", "reordered", "doubled"),
    [
        ((5,), 0, 0, 0),
        ((5, 6, 7), 0, 0, 0),
        ((5, 8), 2, 0, 0),
        ((5, 8, 6), 1, 1, 0),
        ((5, 8, 6, 6, 8), 1, 1, 2),
        ((5, 4), 0, 1, 0),
        ((0, SEEN + 9), SEEN + 8, 0, 0),
        ((0, SEEN + 9, 2), SEEN + 7, 1, 0),
        ((0, 1, SEEN + 1, 1), SEEN - 2, 1, 0),
        ((0, 2 * MAX_LEAP, 2 * MAX_LEAP + 2), 1, 0, 0),
    ],
)
def test_a_line_counts_what_it_lost_doubled_and_reordered(
    places: tuple[int, ...], lost: int, reordered: int, doubled: int
) -> None:
    assert counted(*places) == LineStatistics(
        packets=len(places), lost=lost, reordered=reordered, doubled=doubled
    )


def test_packets_that_wait_come_out_by_place() -> None:
    early = EarlyPackets()
    assert early.first is None
    for place in (7, 3, 5):
        early.add(packet(place), place, place / 2)
    assert early.first_came_s == 1.5
    assert (len(early), early.bytes, 3 in early, 4 in early) == (3, 18, True, False)
    assert [place for _, place in early.in_order()] == [3, 5, 7]
    assert early.first_place == 3
    assert [early.pop()[1] for _ in range(3)] == [3, 5, 7]
    assert (len(early), early.bytes) == (0, 0)
