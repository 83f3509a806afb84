import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.feed.timekeeping import keep_time
from fanout.feed.venue_clock import SAMPLES, VenueClock
from fanout.venues import BinanceUsdm
from tests.stand.loopback import Exchange

MS = 1_000_000


class Timeless(BinanceUsdm):
    """A venue that does not show its time."""

    def time_request(self) -> None:  # type: ignore[override]
        return None


def measure(clock: VenueClock, *, offset_ns: int, there_ns: int, back_ns: int, at_ns: int) -> None:
    """A round trip to a venue whose clock is ahead by so much."""
    venue_ms = (at_ns + there_ns + offset_ns) // MS
    clock.measured(asked_ns=at_ns, venue_ms=venue_ms, answered_ns=at_ns + there_ns + back_ns)


def test_there_is_no_offset_before_the_first_round_trip() -> None:
    assert VenueClock().offset is None


@given(
    offset_ms=st.integers(-100_000, 100_000),
    there_ns=st.integers(0, 10**9),
    back_ns=st.integers(0, 10**9),
    at_ns=st.integers(10**18, 2 * 10**18),
)
def test_the_offset_is_within_its_uncertainty(
    offset_ms: int, there_ns: int, back_ns: int, at_ns: int
) -> None:
    clock = VenueClock()
    measure(clock, offset_ns=offset_ms * MS, there_ns=there_ns, back_ns=back_ns, at_ns=at_ns)
    assert clock.offset is not None
    assert abs(clock.offset.offset_ns - offset_ms * MS) <= clock.offset.uncertainty_ns + 1


def test_the_fastest_round_trip_counts() -> None:
    clock = VenueClock()
    measure(clock, offset_ns=0, there_ns=900 * MS, back_ns=0, at_ns=10**18)
    measure(clock, offset_ns=0, there_ns=MS, back_ns=MS, at_ns=10**18)
    measure(clock, offset_ns=0, there_ns=0, back_ns=900 * MS, at_ns=10**18)
    assert clock.offset is not None
    assert clock.offset.uncertainty_ns == pytest.approx(1.5 * MS)


def test_old_round_trips_are_dropped() -> None:
    clock = VenueClock()
    measure(clock, offset_ns=500 * MS, there_ns=0, back_ns=0, at_ns=10**18)
    for _ in range(SAMPLES):
        measure(clock, offset_ns=0, there_ns=5 * MS, back_ns=5 * MS, at_ns=10**18)
    assert clock.offset is not None
    assert abs(clock.offset.offset_ns) <= clock.offset.uncertainty_ns


def test_a_round_trip_with_our_clock_set_back_is_ignored() -> None:
    clock = VenueClock()
    clock.measured(asked_ns=2 * MS, venue_ms=1, answered_ns=MS)
    assert clock.offset is None


async def test_a_venue_that_does_not_show_its_time_is_not_asked_for_it() -> None:
    clock, exchange, venue = VenueClock(), Exchange("BTCUSDT"), Timeless()
    await keep_time(clock, exchange, venue, None, lambda: 0)  # type: ignore[arg-type]
    assert (clock.offset, exchange.requests) == (None, [])
