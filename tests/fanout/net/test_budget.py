import math

from fanout.net.budget import Budget


class Wall:
    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def test_half_of_what_the_venue_allows_is_taken_and_the_rest_left_to_others() -> None:
    budget = Budget(100, wall_s=Wall(600.0))
    for _ in range(10):
        assert budget.wait_s(5) == 0
        budget.spend(5)
    assert budget.wait_s(1) == 60.0


def test_the_next_clock_minute_has_room_again() -> None:
    wall = Wall(645.0)
    budget = Budget(100, wall_s=wall)
    budget.spend(50)
    assert budget.wait_s(5) == 15.0
    wall.now_s += 15.0
    assert (budget.used, budget.wait_s(5)) == (0, 0)


def test_what_others_use_counts_too() -> None:
    budget = Budget(100, wall_s=Wall(600.0))
    minute = budget.spend(5)
    budget.counted(48, minute)
    assert budget.used == 48
    assert budget.wait_s(5) > 0
    budget.counted(20, minute)
    assert budget.used == 48, "an answer that was overtaken"


def test_something_that_is_heavier_than_a_share_is_asked_for_when_nothing_else_was() -> None:
    budget = Budget(10, wall_s=Wall(600.0))
    assert budget.wait_s(8) == 0
    budget.spend(1)
    assert budget.wait_s(8) > 0


def test_what_was_counted_in_the_minute_before_does_not_count_in_this_one() -> None:
    wall = Wall(659.9)
    budget = Budget(100, wall_s=wall)
    minute = budget.spend(5)
    wall.now_s = 660.2
    budget.counted(90, minute)
    assert (budget.used, budget.wait_s(5)) == (0, 0)


def test_who_takes_all_there_is_waits_for_none_of_it() -> None:
    budget = Budget(100, share=math.inf, wall_s=Wall(600.0))
    budget.counted(100, budget.spend(5))
    assert budget.wait_s(5) == 0
