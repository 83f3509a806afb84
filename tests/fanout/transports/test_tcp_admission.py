import resource
from collections.abc import Iterator

import pytest

from fanout.net.descriptors import RESERVED_DESCRIPTORS, Descriptors
from fanout.transports.tcp.admission import (
    FULL_RETRY_MS,
    RUSH_RETRY_MS,
    Admission,
    Places,
    Refusal,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Descriptors, "taken", 0)
    return


def admission(accept_rate: float = 1_000) -> tuple[Admission, Clock]:
    clock = Clock()
    limits = Admission(max_clients=100, max_per_address=0, accept_rate=accept_rate, clock=clock)
    return limits, clock


def test_a_full_service_refuses_clients_until_one_leaves() -> None:
    places = Places(2, 0, "clients at once")
    assert [places.enter("10.0.0.1"), places.enter("10.0.0.2")] == [None, None]
    full = Refusal("the service is full: at most 2 clients at once", FULL_RETRY_MS)
    assert places.enter("10.0.0.3") == full
    places.leave("10.0.0.1")
    assert places.enter("10.0.0.3") is None
    assert places.count == 2


def test_an_address_has_a_limit_of_its_own() -> None:
    places = Places(100, 2, "clients at once")
    assert [places.enter("10.0.0.1"), places.enter("10.0.0.1")] == [None, None]
    refusal = places.enter("10.0.0.1")
    assert refusal == Refusal(
        "the service is full: at most 2 clients at once from one address", FULL_RETRY_MS
    )
    assert places.enter("10.0.0.2") is None
    places.leave("10.0.0.1")
    assert places.enter("10.0.0.1") is None


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
def test_an_ipv6_network_counts_as_one_address(one: str, other: str, is_same: bool) -> None:
    places = Places(100, 1, "clients")
    assert places.enter(one) is None
    assert (places.enter(other) is not None) == is_same


def test_clients_over_the_rate_are_refused_with_a_retry_delay() -> None:
    limits, clock = admission(accept_rate=10)
    outcomes = [limits.arrive() for _ in range(12)]
    rushed = Refusal("too many new clients: at most 10 connections a second", RUSH_RETRY_MS)
    assert outcomes == [None] * 10 + [rushed] * 2
    clock.now_s = 0.25
    assert [limits.arrive() for _ in range(3)] == [None, None, rushed]


def test_a_quiet_hour_does_not_raise_the_size_of_a_burst() -> None:
    limits, clock = admission(accept_rate=10)
    clock.now_s = 3_600.0
    assert sum(limits.arrive() is None for _ in range(30)) == 10


def test_all_transports_together_leave_some_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (RESERVED_DESCRIPTORS + 3, 0))
    (one, _), (other, _) = admission(), admission()
    assert [one.arrive(), other.arrive(), one.arrive()] == [None] * 3
    out = Refusal("the service is full: it is out of descriptors", FULL_RETRY_MS)
    assert [one.arrive(), other.arrive()] == [out, out]
    one.depart()
    assert other.arrive() is None
    assert (one.count, other.count) == (1, 2)


def test_a_client_that_left_uses_no_memory() -> None:
    places = Places(100, 1, "clients")
    for number in range(5_000):
        host = f"10.0.{number // 256}.{number % 256}"
        assert places.enter(host) is None
        places.leave(host)
    assert not places._present
