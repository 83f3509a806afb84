"""How far the venue's clock is from ours, and how sure that is.

It is measured by round trips, as NTP does it. The venue's time lies between question and answer, so
the offset is its distance from their middle, and half the round trip is the most by which that can
be wrong. The quickest of the last few round trips is believed.

Pure: nanoseconds in, an estimate out.
"""

from collections import deque
from typing import Final

import msgspec

SAMPLES: Final = 10
"""Round trips that are kept. Clocks drift, so an older one says little."""

RESOLUTION_NS: Final = 500_000
"""The venue's answer is in whole milliseconds: half of one is added to what can be wrong."""

DRIFT_NS: Final = 200_000_000
"""Most that two clocks drift apart meanwhile: 300 parts in a million, for ten minutes. A good clock
drifts a tenth of that."""


class ClockOffset(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's clock less ours, ns: above 0 where the venue's is ahead. It is off by
    `uncertainty_ns` at the most, if the way there and the way back are equally unknown."""

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
        """The latest time that the venue's clock can have shown at a moment of ours (unix ns), unix
        ms. Clocks that were not compared yet are taken to be the same."""
        offset = self.offset
        ahead_ns = offset.offset_ns + offset.uncertainty_ns if offset else 0
        return (wall_ns + ahead_ns) // 1_000_000 + 1

    def measured(self, *, asked_ns: int, venue_ms: int, answered_ns: int) -> None:
        """The venue's clock showed `venue_ms`, some time between asking and answer by ours. A clock
        of ours that was set back in between says nothing."""
        if answered_ns < asked_ns:
            return
        # Milliseconds that the venue cut off: on average half of one.
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
