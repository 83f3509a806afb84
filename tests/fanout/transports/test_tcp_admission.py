import pytest

from fanout.transports.tcp.admission import FULL_RETRY_MS, RUSH_RETRY_MS, Admission, Refusal


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def admission(
    *, max_clients: int = 100, max_per_address: int = 0, accept_rate: float = 1_000
) -> tuple[Admission, Clock]:
    clock = Clock()
    limits = Admission(
        max_clients=max_clients,
        max_per_address=max_per_address,
        accept_rate=accept_rate,
        clock=clock,
    )
    return limits, clock


def test_who_comes_when_it_is_full_is_told_so_until_somebody_leaves() -> None:
    limits, _ = admission(max_clients=2)
    assert [limits.admit("10.0.0.1"), limits.admit("10.0.0.2")] == [None, None]
    assert limits.admit("10.0.0.3") == Refusal("2 clients are the most", FULL_RETRY_MS)
    limits.leave("10.0.0.1")
    assert limits.admit("10.0.0.3") is None
    assert limits.count == 2


def test_an_address_has_so_many_places_and_no_more() -> None:
    limits, _ = admission(max_per_address=2)
    assert [limits.admit("10.0.0.1"), limits.admit("10.0.0.1")] == [None, None]
    refusal = limits.admit("10.0.0.1")
    assert refusal == Refusal("2 clients of one address are the most", FULL_RETRY_MS)
    assert limits.admit("10.0.0.2") is None
    limits.leave("10.0.0.1")
    assert limits.admit("10.0.0.1") is None


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "10.0.0.1", False),
    ],
)
def test_a_network_of_ip_6_counts_as_one_address(one: str, other: str, is_same: bool) -> None:
    limits, _ = admission(max_per_address=1)
    assert limits.admit(one) is None
    assert (limits.admit(other) is not None) == is_same


def test_who_comes_in_a_rush_is_told_to_come_again() -> None:
    limits, clock = admission(accept_rate=10)
    outcomes = [limits.admit("10.0.0.1") for _ in range(12)]
    rushed = Refusal("more than 10 connections a second", RUSH_RETRY_MS)
    assert outcomes == [None] * 10 + [rushed] * 2
    clock.now_s = 0.25
    assert [limits.admit("10.0.0.1") for _ in range(3)] == [None, None, rushed]


def test_a_quiet_hour_does_not_allow_for_a_greater_rush() -> None:
    limits, clock = admission(accept_rate=10)
    clock.now_s = 3_600.0
    assert sum(limits.admit("10.0.0.1") is None for _ in range(30)) == 10


def test_nothing_is_kept_of_those_who_left() -> None:
    limits, clock = admission(max_per_address=1)
    for number in range(5_000):
        clock.now_s += 1
        host = f"10.0.{number // 256}.{number % 256}"
        assert limits.admit(host) is None
        limits.leave(host)
    assert not limits._present
