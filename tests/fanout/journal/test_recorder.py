import errno

import pytest

from fanout.journal.recorder import LEAST_FREE_BYTES, RETRY_S, TRANSITIONS, Event, Recorder, State

DAY_NS = 86_400 * 10**9
FULL = OSError(errno.ENOSPC, "No space left on device")
BROKEN = OSError(errno.EIO, "Input/output error")


def recorder() -> Recorder:
    """One whose first segment is written."""
    each = Recorder(epoch_ns=7, segment_bytes=1000)
    each.begin(1, wall_ns=0)
    each.headed(1)
    return each


def test_each_segment_has_a_number_of_its_own_and_says_where_it_begins() -> None:
    each = Recorder(epoch_ns=7, segment_bytes=1000)
    first = each.begin(1, wall_ns=5)
    second = each.begin(90, wall_ns=6)
    assert (first.epoch_ns, first.first_seq, first.created_ns) == (7, 1, 5)
    assert (second.first_seq, second.created_ns, each.serial) == (90, 6, 2)


@pytest.mark.parametrize(
    ("size_bytes", "wall_ns", "is_due"),
    [
        (999, 0, False),
        (1000, 0, True),
        (0, DAY_NS - 1, False),
        (0, DAY_NS, True),
        (0, 3 * DAY_NS, True),
        (0, -5, False),
    ],
)
def test_a_segment_is_over_by_size_and_at_midnight(
    size_bytes: int, wall_ns: int, is_due: bool
) -> None:
    each = recorder()
    each.give(size_bytes)
    assert each.is_long_enough(wall_ns=wall_ns) is is_due


def test_a_clock_that_is_set_back_begins_no_segment() -> None:
    each = recorder()
    each.begin(5, wall_ns=2 * DAY_NS)
    assert not each.is_long_enough(wall_ns=DAY_NS)
    assert each.is_long_enough(wall_ns=3 * DAY_NS)


@pytest.mark.parametrize(
    ("error", "state", "why", "least_free_bytes"),
    [
        (FULL, State.FULL, "No space left on device", LEAST_FREE_BYTES),
        (OSError(errno.EDQUOT, "Quota"), State.FULL, "Quota", LEAST_FREE_BYTES),
        (BROKEN, State.AWAY, "Input/output error", 0),
        (OSError(errno.EROFS, "Read-only"), State.AWAY, "Read-only", 0),
        (AssertionError("no frame"), State.AWAY, "no frame", 0),
    ],
)
def test_a_failure_is_told_and_the_next_segment_comes_after_a_pause(
    error: Exception, state: State, why: str, least_free_bytes: int
) -> None:
    each = recorder()
    assert each.failed(1, error, now_s=100)
    assert (each.state, each.why, each.retry_s) == (state, why, 100 + RETRY_S)
    assert (each.is_broken, each.least_free_bytes) == (True, least_free_bytes)
    assert not each.failed(1, error, now_s=105), "it is known"
    each.begin(4, wall_ns=0)
    assert not each.is_broken
    assert each.state is state
    assert each.headed(2)
    assert (each.state, each.why, each.least_free_bytes) == (State.WRITING, "", 0)
    assert not each.headed(2)


def test_a_failure_may_change_its_kind() -> None:
    each = recorder()
    for error, state in ((FULL, State.FULL), (BROKEN, State.AWAY), (FULL, State.FULL)):
        assert each.failed(each.serial, error, now_s=0)
        assert each.state is state
        each.begin(1, wall_ns=0)


def test_reports_of_segments_that_were_given_up_change_nothing() -> None:
    each = recorder()
    each.begin(5, wall_ns=0)
    assert not each.failed(1, BROKEN, now_s=0)
    each.complete(1)
    assert each.failed(2, BROKEN, now_s=0)
    assert not each.headed(1)
    assert not each.headed(2)
    assert each.state is State.AWAY


def test_the_end_is_reached_once() -> None:
    each = recorder()
    each.complete(1)
    each.complete(1)
    assert each.state is State.ENDED


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_what_the_table_lacks_is_our_fault(state: State, event: Event) -> None:
    each = recorder()
    each.state = state
    if (state, event) in TRANSITIONS:
        each._move(event)
        assert each.state is TRANSITIONS[state, event]
    else:
        with pytest.raises(AssertionError, match=f"{event.name} while {state.name}"):
            each._move(event)
