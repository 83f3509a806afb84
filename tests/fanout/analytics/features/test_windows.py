"""Windows and lags at their edges, and when they are full."""

import pytest

from fanout.analytics.features import windows as windows_module
from fanout.analytics.features.volatility import SCALE, Volatility, squared_return
from fanout.analytics.features.windows import Lagged, Windows
from fanout.protocol.constants import Absence

OTHER = Absence.OTHER


@pytest.fixture
def _room_for_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "MAX_ENTRIES", 4)


def test_an_entry_is_in_a_window_until_it_is_as_old_as_the_window() -> None:
    windows = Windows([10, 20], 1)
    windows.add(100, (5,))
    windows.add(100, (2,))
    windows.move(109)
    assert windows.sums == [[7], [7]]
    windows.move(110)
    assert windows.sums == [[0], [7]]
    windows.move(120)
    assert windows.sums == [[0], [0]]


def test_a_window_that_begins_in_a_hole_has_no_value() -> None:
    windows = Windows([10], 1)
    assert windows.absence(0, 10**18) == Absence.WARMING_UP
    windows.whole_ns = 100
    assert windows.absence(0, 109) == Absence.WARMING_UP
    assert windows.absence(0, 110) == 0


@pytest.mark.usefixtures("_room_for_four")
def test_a_full_series_drops_the_oldest_and_windows_that_need_it_are_absent() -> None:
    windows = Windows([10, 20], 1)
    windows.whole_ns = 0
    for now in range(100, 106):
        windows.add(now, (1,))
    assert windows.sums == [[4], [4]]
    assert [windows.absence(at, 105) for at in (0, 1)] == [OTHER, OTHER]
    windows.move(111)
    assert (windows.sums[0], windows.absence(0, 111)) == ([4], 0)
    assert windows.absence(1, 111) == OTHER
    windows.move(113)
    windows.add(113, (1,))
    windows.add(114, (1,))
    assert windows.sums == [[3], [4]]
    assert windows.absence(1, 122) == OTHER, "that at 103 was dropped as well"
    assert windows.absence(1, 123) == 0


@pytest.mark.usefixtures("_room_for_four")
def test_changes_of_one_moment_take_one_place() -> None:
    windows = Windows([10], 1)
    windows.whole_ns = 0
    for _ in range(9):
        windows.add(100, (1,))
    assert (windows.sums, windows.absence(0, 100)) == ([[9]], 0)


def test_settings_without_windows_keep_nothing() -> None:
    windows = Windows([], 1)
    windows.add(1, (1,))
    windows.move(2)
    lagged = Lagged([])
    lagged.add(1, 1, 0)
    lagged.move(2)
    assert (windows.sums, lagged.shown) == ([], [])


def values(lagged: Lagged, now: int) -> list[float]:
    """What is shown, and less than 0 the reason of what is absent."""
    lagged.move(now)
    return [-why if value is None else value for _, value, why in lagged.shown]


def test_each_lag_shows_the_newest_sample_by_then() -> None:
    lagged = Lagged([10, 20])
    lagged.add(100, 1, 0)
    lagged.add(105, 2, 0)
    lagged.add(105, 3, 0)
    lagged.add(107, 3, 0)
    assert values(lagged, 109) == [-Absence.WARMING_UP] * 2
    assert values(lagged, 110) == [1, -Absence.WARMING_UP]
    assert values(lagged, 114) == [1, -Absence.WARMING_UP]
    assert values(lagged, 120) == [3, 1]
    assert values(lagged, 1_000) == [3, 3]


@pytest.mark.usefixtures("_room_for_four")
def test_samples_without_room_are_one_that_is_absent() -> None:
    lagged = Lagged([10, 20])
    for now in range(100, 110):
        lagged.add(now, now, 0)
    assert values(lagged, 113) == [103, -Absence.WARMING_UP]
    assert values(lagged, 114) == [-OTHER, -Absence.WARMING_UP], "104 to 109 had no room"
    lagged.add(121, 121, 0)
    assert values(lagged, 131) == [121, -OTHER]
    assert values(lagged, 141) == [121, 121]


@pytest.mark.usefixtures("_room_for_four")
def test_a_full_series_of_samples_does_not_grow() -> None:
    lagged = Lagged([10, 1_000])
    for now in range(100, 400, 3):
        lagged.add(now, now, 0)
        lagged.move(now)
    assert sum(map(len, lagged._stages)) <= 5


def test_a_squared_return_is_an_integer_that_is_exact_for_an_ordinary_move() -> None:
    assert squared_return(2, 2) == 0
    assert squared_return(200_002, 200_000) / SCALE == pytest.approx(9.9999e-11, rel=1e-5)
    assert squared_return(2**63, 1) == squared_return(1, 2**63) < 2**108


def test_a_volatility_is_the_same_after_a_day_of_other_samples() -> None:
    """Sums of integers do not drift."""
    step = 1_000
    old, new = Volatility([10 * step], step), Volatility([10 * step], step)
    old.begin(0)
    for at in range(2_000):
        old.show(at * step, 10**6 + at * at * 7919 % 1_000, 0)
    start = 2_000 * step
    new.begin(start)
    for at in range(12):
        for each in (old, new):
            each.show(start + at * step, 10**6 + at % 3, 0)
    now = start + 12 * step
    for each in (old, new):
        each.move(now)
        assert each.absence(0, now) == 0
    assert old.value(0, now) == new.value(0, now) > 0


def test_a_quiet_mid_is_sampled_without_an_entry_for_each_sample() -> None:
    volatility = Volatility([10_000], 1_000)
    volatility.begin(0)
    volatility.show(1, 100, 0)
    volatility.move(10**12)
    assert volatility.absence(0, 10**12) == 0
    assert volatility.value(0, 10**12) == 0.0


def test_a_mid_that_was_absent_at_every_sample_leaves_the_newest_hole() -> None:
    volatility = Volatility([3_000], 1_000)
    volatility.begin(0)
    volatility.show(0, 0, Absence.LOST)
    volatility.show(9_500, 100, 0)
    for now, why in ((12_000, Absence.LOST), (12_001, 0)):
        volatility.move(now)
        assert volatility.absence(0, now) == why
