"""Estimates the offset of the venue's clock from ours, with its uncertainty.

It uses round trips, like NTP. The venue reads its clock between our request and its answer. So the
offset is the venue's time minus the middle of the round trip, and the error is at most half the
round trip. Of the last few round trips the fastest counts.

Pure: nanoseconds in, an estimate out.
"""

from collections import deque
from typing import Final

import msgspec

SAMPLES: Final = 10
"""Round trips that are kept. Clocks drift, so an older one says little."""

RESOLUTION_NS: Final = 500_000
"""The venue's answer is in whole milliseconds, which adds half a millisecond of uncertainty."""

DRIFT_NS: Final = 200_000_000
"""Most that two clocks drift apart meanwhile: 300 parts in a million, for ten minutes. A good clock
drifts a tenth of that."""


class ClockOffset(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's clock minus ours in ns, positive if the venue's is ahead. The error is at most
    `uncertainty_ns`."""

    offset_ns: int
    uncertainty_ns: int


class VenueClock:
    """Estimates the offset from round trips."""

    def __init__(self) -> None:
        self._samples: deque[ClockOffset] = deque(maxlen=SAMPLES)

    @property
    def offset(self) -> ClockOffset | None:
        """The best of the last estimates; None before the first."""
        return min(self._samples, key=lambda each: each.uncertainty_ns, default=None)

    def latest_venue_ms(self, wall_ns: int) -> int:
        """The latest time in unix ms that the venue's clock can have shown at `wall_ns` of ours.

        Before the first measurement the clocks are assumed equal.
        """
        offset = self.offset
        ahead_ns = offset.offset_ns + offset.uncertainty_ns if offset else 0
        return (wall_ns + ahead_ns) // 1_000_000 + 1

    def measured(self, *, asked_ns: int, venue_ms: int, answered_ns: int) -> None:
        """Add a round trip: the venue's clock showed `venue_ms` between request and answer.

        It is ignored if our clock was set back in between.
        """
        if answered_ns < asked_ns:
            return
        # The venue truncates to milliseconds, by half of one on average.
        venue_ns = venue_ms * 1_000_000 + RESOLUTION_NS
        new = ClockOffset(
            offset_ns=venue_ns - (asked_ns + answered_ns) // 2,
            uncertainty_ns=(answered_ns - asked_ns) // 2 + RESOLUTION_NS,
        )
        if any(_contradict(new, each) for each in self._samples):
            self._samples.clear()
        self._samples.append(new)


def _contradict(one: ClockOffset, other: ClockOffset) -> bool:
    """Whether two samples cannot both be right for clocks that only drift: one clock was set."""
    most_ns = one.uncertainty_ns + other.uncertainty_ns + DRIFT_NS
    return abs(one.offset_ns - other.offset_ns) > most_ns
