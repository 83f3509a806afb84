"""Rows and their labels: what is used, and what is left out and why."""

from collections.abc import Sequence

import pytest

from fanout.analytics.errors import FitError
from fanout.analytics.features.column import UnknownColumnError
from fanout.analytics.fits.samples import BACK, HOLE, NO_END, Samples
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow
from tests.fanout.analytics.rows import COLUMNS, OFI, S, row


def samples(horizon: int = 2) -> Samples:
    return Samples(COLUMNS, [OFI], horizon_ns=horizon * S, every_ns=S)


def at(second: int, mid: float | Absence, flow: float | Absence = 1.0) -> FeatureRow:
    return row(second * S, mid=mid, **{OFI: flow})


def taken(rows: Sequence[FeatureRow], horizon: int = 2) -> Samples:
    found = samples(horizon)
    found.add_all(rows)
    assert len(found) + found.left_out.total() == len(rows)
    return found


def times(found: Samples) -> list[int]:
    return [each // S for each in found.times]


def test_a_label_is_the_mids_return_over_the_horizon() -> None:
    found = taken([at(1, 100.0, 7.0), at(2, 101.0, 8.0), at(3, 102.0), at(4, 99.0)])
    assert times(found) == [1, 2]
    assert list(found.labels) == pytest.approx([0.02, 99 / 101 - 1])
    assert list(found.values) == [7.0, 8.0]
    assert found.left_out == {NO_END: 2}
    assert found.overlap == 2


def test_no_rows_give_nothing() -> None:
    found = taken([])
    assert (list(found.times), list(found.values), list(found.labels)) == ([], [], [])
    assert found.left_out == {}


def test_a_row_without_a_feature_is_left_out_and_its_mid_is_used() -> None:
    found = taken([at(1, 100.0), at(2, 101.0, Absence.LOST), at(3, 102.0), at(4, 103.0)])
    assert times(found) == [1]
    assert found.left_out == {f"{OFI} is absent: LOST": 1, NO_END: 2}


def test_a_label_over_a_mid_that_was_absent_is_left_out() -> None:
    rows = [at(each, 100.0) for each in range(1, 9)]
    rows[3] = at(4, Absence.NOT_LIVE)
    found = taken(rows)
    assert times(found) == [1, 5, 6]
    assert found.left_out == {"mid is absent: NOT_LIVE": 1, HOLE: 2, NO_END: 2}


def test_a_mid_of_zero_has_no_return() -> None:
    found = taken([at(1, 100.0), at(2, 0.0), at(3, 100.0), at(4, 100.0), at(5, 100.0)])
    assert times(found) == [3]
    assert found.left_out["mid is not above 0"] == 1


def test_a_label_over_a_row_that_is_missing_is_left_out() -> None:
    found = taken([at(each, 100.0) for each in (1, 2, 3, 5, 6, 7)])
    assert times(found) == [1, 5]
    assert found.left_out == {HOLE: 2, NO_END: 2}


def test_a_long_silence_is_one_hole() -> None:
    found = taken([at(each, 100.0) for each in (1, 2, 3, 1000, 1001, 1002)])
    assert times(found) == [1, 1000]


def test_a_label_over_a_hole_between_two_rows_is_left_out() -> None:
    """The rows look whole: a loss, and a new book before the next row."""
    found = samples()
    for second in range(1, 8):
        if second == 4:
            found.hole()
        found.add(at(second, 100.0))
    found.end()
    assert times(found) == [1, 4, 5]
    assert found.left_out == {HOLE: 2, NO_END: 2}


def test_a_clock_that_was_set_back_is_a_hole() -> None:
    found = taken([at(each, 100.0) for each in (1, 2, 3, 4, 2, 3, 4, 5, 6, 7)])
    assert times(found) == [1, 2, 5]
    assert found.left_out == {BACK: 3, HOLE: 2, NO_END: 2}


def test_the_first_rows_may_be_at_any_time() -> None:
    found = taken([at(each, 100.0) for each in (77, 78, 79)])
    assert times(found) == [77]


def test_a_row_at_no_multiple_of_the_interval_is_refused() -> None:
    with pytest.raises(FitError, match="at no multiple of 1000000000 ns"):
        samples().add(row(S + 1, mid=1.0))


@pytest.mark.parametrize(("horizon_ns", "every_ns"), [(0, S), (S, 0), (-S, S), (S, 2 * S), (3, 2)])
def test_a_horizon_that_is_no_multiple_of_the_interval_is_refused(
    horizon_ns: int, every_ns: int
) -> None:
    with pytest.raises(FitError, match="both above 0, and the horizon a multiple"):
        Samples(COLUMNS, [OFI], horizon_ns=horizon_ns, every_ns=every_ns)


def test_columns_that_cannot_be_are_refused() -> None:
    for features in ([], [OFI, OFI]):
        with pytest.raises(FitError, match="name each once, at least one"):
            Samples(COLUMNS, features, horizon_ns=S, every_ns=S)
    with pytest.raises(UnknownColumnError, match="no column flow"):
        Samples(COLUMNS, ["flow"], horizon_ns=S, every_ns=S)
    with pytest.raises(UnknownColumnError, match="no column mid"):
        Samples([OFI], [OFI], horizon_ns=S, every_ns=S)
