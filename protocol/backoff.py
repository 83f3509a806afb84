"""How long to wait before the next attempt. A pure generator: no clock, no sleep.

It stands beside the wire because both ends reconnect by it: the feed to its venue, a client to
its service. Full jitter keeps many clients of a restarted service from coming back in step.
"""

from collections.abc import Callable, Iterator


def backoff(
    *, first_s: float, cap_s: float, factor: float = 2.0, uniform: Callable[[float, float], float]
) -> Iterator[float]:
    """Pauses in seconds, for ever: growing from `first_s` by `factor` up to `cap_s`.

    Each is drawn by `uniform(low, high)` between half of the pause and all of it, so that none
    is over the cap and none close to nothing. To begin anew, make another generator.
    """
    pause_s = first_s
    while True:
        yield uniform(pause_s / 2, pause_s)
        pause_s = min(pause_s * factor, cap_s)
