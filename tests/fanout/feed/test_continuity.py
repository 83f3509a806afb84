from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.feed.continuity import MAX_RUNS, WINDOW_S, Continuity, Gap
from fanout.protocol import GapState

OPEN, FILLED, LOST, SPENT = (
    GapState.OPEN,
    GapState.BACK_FILLED,
    GapState.UNRECOVERABLE,
    GapState.NO_TRADE,
)


def seen(*ids: int) -> Continuity:
    """What is known after these ids, at second 0."""
    continuity = Continuity()
    for each in ids:
        assert continuity.is_new(each)
        assert continuity.take(each, 0.0) == []
    return continuity


def gaps_after(*ids: int) -> Continuity:
    continuity = seen(*ids)
    continuity.due(WINDOW_S)
    return continuity


def test_consecutive_ids_give_no_report() -> None:
    continuity = seen(7, 8, 9)
    assert continuity.due(1e9) == []
    assert continuity.next_id == 10


def test_an_id_is_new_once() -> None:
    continuity = seen(7, 8, 12)
    assert [each for each in range(5, 15) if continuity.is_new(each)] == [9, 10, 11, 13, 14]


def test_late_trades_within_the_window_are_no_gap() -> None:
    continuity = seen(7, 10)
    assert continuity.due(WINDOW_S / 2) == []
    assert continuity.take(9, 0.1) == []
    assert continuity.take(8, 0.2) == []
    assert continuity.due(1e9) == []


def test_a_persistent_hole_is_reported_once_with_only_its_missing_ids() -> None:
    continuity = seen(7, 20)
    continuity.take(12, 0.1)
    assert continuity.due(WINDOW_S) == [Gap(8, 11, OPEN), Gap(13, 19, OPEN)]
    assert continuity.due(1e9) == []
    assert continuity.gaps == [(8, 11), (13, 19)]


def test_a_gap_whose_last_id_comes_late_is_filled() -> None:
    continuity = gaps_after(7, 10)
    assert continuity.take(8, 9.0) == []
    assert continuity.take(9, 9.0) == [Gap(8, 9, FILLED)]
    assert continuity.gaps == []


def test_late_ids_without_a_trade_are_reported_as_no_trades() -> None:
    continuity = gaps_after(7, 14)
    for each, is_spent in ((9, True), (8, False), (12, True), (11, True), (13, False)):
        assert continuity.take(each, 9.0, is_spent=is_spent) == []
    assert continuity.take(10, 9.0) == [
        Gap(8, 8, FILLED),
        Gap(9, 9, SPENT),
        Gap(10, 10, FILLED),
        Gap(11, 11, SPENT),
        Gap(12, 12, SPENT),
        Gap(13, 13, FILLED),
    ]


def test_runs_of_ids_without_a_trade_are_bounded_like_missing_runs() -> None:
    last = 3 * MAX_RUNS + 1
    continuity = gaps_after(0, last)
    for each in range(1, last, 2):
        continuity.take(each, 9.0, is_spent=True)
        continuity.take(each + 1, 9.0)
    told = continuity.settle((1, last - 1), [(1, last - 1)])
    assert {i for each in told if each.state is SPENT for i in _ids(each)} == {*range(1, last, 2)}
    assert {i for each in told if each.state is FILLED for i in _ids(each)} == {*range(2, last, 2)}


def _ids(gap: Gap) -> range:
    return range(gap.first_id, gap.last_id + 1)


def test_a_gap_is_settled_to_the_id() -> None:
    continuity = gaps_after(7, 20)
    for each in (10, 11, 15):
        continuity.take(each, 9.0)
    assert continuity.settle((8, 19), spent=[(12, 12), (17, 30), (1, 8)]) == [
        Gap(8, 8, SPENT),
        Gap(9, 9, LOST),
        Gap(10, 11, FILLED),
        Gap(12, 12, SPENT),
        Gap(13, 14, LOST),
        Gap(15, 15, FILLED),
        Gap(16, 16, LOST),
        Gap(17, 19, SPENT),
    ]
    assert continuity.gaps == []
    assert continuity.settle((8, 19), spent=[]) == []


def test_ids_of_a_closed_gap_are_not_new() -> None:
    continuity = gaps_after(7, 10)
    continuity.settle((8, 9), spent=[])
    assert not continuity.is_new(8)


def test_is_missing_tells_the_missing_ids_of_a_gap() -> None:
    continuity = gaps_after(7, 12)
    continuity.take(9, 1.0)
    assert [each for each in range(6, 14) if continuity.is_missing(each, (8, 11))] == [8, 10, 11]
    assert not continuity.is_missing(8, (8, 10))
    continuity.take(20, 1.0)
    assert not continuity.is_missing(15, (13, 19)), "that one was not told yet"


def test_next_due_s_is_the_time_of_the_next_check() -> None:
    continuity = seen(7)
    assert continuity.next_due_s == inf
    continuity.take(9, 3.0)
    continuity.take(12, 4.0)
    assert continuity.next_due_s == 3.0 + WINDOW_S
    continuity.due(3.0 + WINDOW_S)
    assert continuity.next_due_s == 4.0 + WINDOW_S
    continuity.due(4.0 + WINDOW_S)
    assert continuity.next_due_s == inf


def test_a_restart_of_the_numbering_accounts_for_the_old_ids() -> None:
    continuity = gaps_after(7, 10)
    continuity.take(8, 9.0)
    continuity.take(13, 9.0)
    assert continuity.begin_anew(1) == [
        Gap(11, 12, OPEN),
        Gap(8, 8, FILLED),
        Gap(9, 9, LOST),
        Gap(11, 12, LOST),
    ]
    assert (continuity.gaps, continuity.next_id) == ([], 1)


def test_consecutive_unusable_trades_are_one_gap() -> None:
    continuity = seen(7)
    for each in (8, 9, 10):
        assert continuity.miss(each, 1.0) == []
    continuity.miss(9, 1.0)
    assert continuity.next_id == 11
    assert continuity.due(1.0 + WINDOW_S) == [Gap(8, 10, OPEN)]


def test_end_reports_and_closes_all_gaps() -> None:
    continuity = gaps_after(7, 10)
    continuity.take(20, 9.0)
    assert continuity.end() == [Gap(11, 19, OPEN), Gap(8, 9, LOST), Gap(11, 19, LOST)]
    assert (continuity.gaps, continuity.end()) == ([], [])


def test_too_many_holes_close_the_oldest_as_lost() -> None:
    continuity = seen(*range(0, 2 * MAX_RUNS + 1, 2))
    assert continuity.take(2 * MAX_RUNS + 2, 0.0) == [Gap(1, 1, OPEN), Gap(1, 1, LOST)]
    continuity.due(WINDOW_S)
    assert continuity.take(2 * MAX_RUNS + 4, 0.0) == [Gap(3, 3, LOST)]
    assert len(continuity.gaps) == MAX_RUNS - 1


IDS = st.lists(st.integers(0, 60), max_size=60)


@given(IDS, st.lists(st.floats(0, 1), max_size=60), st.data())
def test_every_id_is_accounted_for_exactly_once(
    ids: list[int], pauses: list[float], data: st.DataObject
) -> None:
    continuity, now_s = Continuity(), 0.0
    taken: list[int] = []
    told: list[Gap] = []
    for place, each in enumerate(ids):
        now_s += pauses[place % len(pauses)] if pauses else 0
        if continuity.is_new(each):
            taken.append(each)
            told += continuity.take(each, now_s)
        is_due = continuity.next_due_s <= now_s
        gaps = continuity.due(now_s)
        assert bool(gaps) == is_due
        told += gaps
    told += continuity.due(1e9)
    for gap in continuity.gaps:
        spent = data.draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=3))
        told += continuity.settle(gap, [each for each in spent if each[0] <= each[1]])
    assert len(set(taken)) == len(taken)
    assert numbers(told, OPEN) == sorted(numbers(told, FILLED, LOST, SPENT))
    missing = numbers(told, LOST, SPENT)
    if taken:
        assert sorted(taken + missing) == list(range(taken[0], max(taken) + 1))
    assert not set(taken) & set(missing)
    assert set(numbers(told, FILLED)) <= set(taken)


def numbers(told: list[Gap], *states: GapState) -> list[int]:
    return sorted(
        each for gap in told if gap.state in states for each in range(gap.first_id, gap.last_id + 1)
    )


@pytest.mark.parametrize("early", [3, 6])
def test_ids_before_the_first_are_not_new(early: int) -> None:
    assert not seen(7).is_new(early)


def test_gaps_of_an_earlier_start_are_open_again() -> None:
    continuity = Continuity()
    assert continuity.resume(30, [(5, 6), (20, 20)]) == [Gap(5, 6, OPEN), Gap(20, 20, OPEN)]
    assert continuity.gaps == [(5, 6), (20, 20)]
    assert continuity.miss(31, 1.0) == []
    assert continuity.due(inf) == [Gap(30, 31, OPEN)]
    assert continuity.take(20, 1.0) == [Gap(20, 20, FILLED)]


def test_gaps_of_an_earlier_start_close_if_they_are_too_many_or_of_other_ids() -> None:
    continuity = Continuity()
    gaps = [(2 * each, 2 * each) for each in range(MAX_RUNS + 1)]
    told = continuity.resume(9_000, [*gaps, (9_000, 9_001)])
    assert told[-3:] == [Gap(9_000, 9_001, OPEN), Gap(9_000, 9_001, LOST), Gap(0, 0, LOST)]
    assert continuity.gaps == gaps[1:]
