import math

from hypothesis import given
from hypothesis import strategies as st

from fanout.net.budget import Budget


class Wall:
    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def test_half_of_the_venues_weight_limit_is_used() -> None:
    budget = Budget(100, wall_s=Wall(600.0))
    for _ in range(10):
        assert budget.wait_s(5) == 0
        budget.spend(5)
    assert budget.wait_s(1) == 60.0


def test_the_budget_is_renewed_at_the_next_clock_minute() -> None:
    wall = Wall(645.0)
    budget = Budget(100, wall_s=wall)
    budget.spend(50)
    assert budget.wait_s(5) == 15.0
    wall.now_s += 15.0
    assert (budget.used, budget.wait_s(5)) == (0, 0)


def test_weight_used_by_other_programs_counts() -> None:
    budget = Budget(100, wall_s=Wall(600.0))
    minute = budget.spend(5)
    budget.counted(48, minute)
    assert budget.used == 48
    assert budget.wait_s(5) > 0
    budget.counted(20, minute)
    assert (budget.used, budget.others) == (48, 43), "an answer that was overtaken"
    budget.spend(7)
    assert (budget.used, budget.others) == (55, 43)


def test_a_request_heavier_than_the_share_is_allowed_in_an_unused_minute() -> None:
    budget = Budget(10, wall_s=Wall(600.0))
    assert budget.wait_s(8) == 0
    budget.spend(1)
    assert budget.wait_s(8) > 0


def test_a_count_of_the_previous_minute_is_ignored() -> None:
    wall = Wall(659.9)
    budget = Budget(100, wall_s=wall)
    minute = budget.spend(5)
    wall.now_s = 660.2
    budget.counted(90, minute)
    assert (budget.used, budget.wait_s(5)) == (0, 0)


def test_a_window_may_be_shorter_than_a_minute() -> None:
    wall = Wall(601.5)
    budget = Budget(20, window_s=2, wall_s=wall)
    sent = []
    for _ in range(25):
        wall.now_s += budget.wait_s(1)
        budget.spend(1)
        sent.append(wall.now_s)
    assert sent == [601.5] * 10 + [602.0] * 10 + [604.0] * 5


@given(st.floats(0.1, 60), st.lists(st.tuples(st.integers(1, 5), st.floats(0, 10)), max_size=60))
def test_no_window_of_the_venue_gets_more_than_its_limit_wherever_it_begins(
    window_s: float, requests: list[tuple[int, float]]
) -> None:
    wall = Wall(600.0)
    budget = Budget(20, window_s=window_s, wall_s=wall)
    sent: list[tuple[float, int]] = []
    for weight, pause_s in requests:
        wall.now_s += pause_s
        while (wait_s := budget.wait_s(weight)) > 0:
            wall.now_s += max(wait_s, 1e-6)  # a float of less would not move the clock
        budget.spend(weight)
        sent.append((wall.now_s, weight))
    for began_s, _ in sent:
        end_s = began_s + window_s * 0.999
        assert sum(weight for at_s, weight in sent if began_s <= at_s < end_s) <= 20


def test_an_infinite_share_never_waits() -> None:
    budget = Budget(100, share=math.inf, wall_s=Wall(600.0))
    budget.counted(100, budget.spend(5))
    assert budget.wait_s(5) == 0
