"""The weight of a UTC minute: up to the limit, over it, and banned."""

import pytest

from fanout.simulator.connection.rate_limit import LONGEST_BAN_MS, Rate, RateLimit, Spent

MINUTE_MS = 60_000


@pytest.fixture
def limit() -> RateLimit:
    """Ten a minute; two violations go unpunished."""
    return RateLimit(weight_limit=10, tolerated_429s=2)


def test_up_to_the_limit_a_request_is_served(limit: RateLimit) -> None:
    assert [limit.spend(5, 0) for _ in range(2)] == [Spent(5), Spent(10)]


def test_over_the_limit_a_request_is_refused_and_costs_its_weight(limit: RateLimit) -> None:
    limit.spend(10, 0)
    assert limit.spend(1, 0) == Spent(11, is_over=True)


def test_the_next_minute_begins_anew(limit: RateLimit) -> None:
    limit.spend(11, MINUTE_MS - 1)
    assert limit.spend(1, MINUTE_MS) == Spent(1)


def test_a_client_that_does_not_back_off_is_banned_for_two_minutes(limit: RateLimit) -> None:
    spent = [limit.spend(11, 1_000) for _ in range(3)]
    assert [each.is_over for each in spent] == [True, True, False]
    assert spent[2].banned_until_ms == 1_000 + 2 * MINUTE_MS
    assert limit.spend(1, 2 * MINUTE_MS).banned_until_ms == 1_000 + 2 * MINUTE_MS
    assert limit.spend(1, 1_000 + 2 * MINUTE_MS) == Spent(2)


def test_violations_are_forgiven_with_the_minute(limit: RateLimit) -> None:
    for minute in range(20):
        assert limit.spend(11, minute * MINUTE_MS).is_over


def test_bans_grow_to_three_days(limit: RateLimit) -> None:
    now_ms, lengths = 0, []
    for _ in range(14):
        while (until_ms := limit.spend(11, now_ms).banned_until_ms) is None:
            pass
        lengths.append(until_ms - now_ms)
        now_ms = until_ms
    assert lengths[:3] == [2 * MINUTE_MS, 4 * MINUTE_MS, 8 * MINUTE_MS]
    assert lengths[-1] == lengths[-2] == LONGEST_BAN_MS


def test_fifteen_requests_in_a_second_pass_and_the_sixteenth_does_not() -> None:
    rate = Rate(15)
    assert all(rate.allows(0.01 * number) for number in range(15))
    assert not rate.allows(0.99)


def test_a_second_after_the_first_request_another_passes() -> None:
    rate = Rate(15)
    for number in range(15):
        rate.allows(0.01 * number)
    assert rate.allows(1.0)
    assert not rate.allows(1.005)


def test_a_venue_may_have_another_window_other_statuses_and_no_bans() -> None:
    limit = RateLimit(
        weight_limit=10, tolerated_429s=0, window_ms=5_000, over_status=403, ban_status=None
    )
    spent = [limit.spend(11, 12_000) for _ in range(3)]
    assert [each.used for each in spent if each.is_over] == [11, 22, 33]
    assert (limit.status(spent[-1]), limit.wait_s(spent[-1], 12_000)) == (403, 3)
    assert limit.spend(1, 15_000) == Spent(1)
