"""How many packets may be sent now, so that a burst does not overrun a switch.

A bucket of tokens: each packet takes one, and they come back at a steady rate. The bucket holds
what comes back in `BURST_S`, so that a short burst leaves at once.
"""

from typing import Final

BURST_S: Final = 0.005
"""A burst of so many seconds' worth of packets is sent without a pause."""


class Pace:
    """Paces packets. All channels and lines of a transport share one."""

    def __init__(self, packets_per_s: int) -> None:
        """0 sets no limit."""
        self._per_s = packets_per_s
        self._most = max(1.0, packets_per_s * BURST_S)
        self._left = self._most
        self._at_s = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether packets may have to wait."""
        return self._per_s > 0

    def take(self, packets: int, now_s: float) -> float:
        """Take the tokens of some packets. Gives how many seconds to wait before these packets are
        sent, 0 if they may be sent at once."""
        if not self._per_s:
            return 0.0
        back = max(0.0, now_s - self._at_s) * self._per_s
        self._left = min(self._most, self._left + back) - packets
        self._at_s = now_s
        return max(0.0, -self._left / self._per_s)
