"""Pauses between attempts to reconnect: exponential backoff with jitter, without clock or sleep.

It is part of `protocol` since both ends use it: the feed reconnects to its venue, and a client to
its service. The jitter keeps the clients of a restarted service from reconnecting all at once.
"""

from collections.abc import Callable, Iterator


def backoff(
    *, first_s: float, cap_s: float, factor: float = 2.0, uniform: Callable[[float, float], float]
) -> Iterator[float]:
    """Yield pauses in seconds without end, growing from `first_s` by `factor` up to `cap_s`.

    `uniform(low, high)` draws each between half of the pause and the full pause, so it is never
    above the cap and never near 0. A new generator starts over.
    """
    pause_s = first_s
    while True:
        yield uniform(pause_s / 2, pause_s)
        pause_s = min(pause_s * factor, cap_s)
