import math

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
    assert budget.used == 48, "an answer that was overtaken"


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


def test_an_infinite_share_never_waits() -> None:
    budget = Budget(100, share=math.inf, wall_s=Wall(600.0))
    budget.counted(100, budget.spend(5))
    assert budget.wait_s(5) == 0
