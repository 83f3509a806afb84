"""The same bytes to many sockets."""

import os
from array import array

from fanout.speedups import twin


@twin
def send_to_each(descriptors: "array[int]", data: bytes) -> list[tuple[int, int]]:
    """Send `data` to each of these sockets, in one non-blocking call each.

    Gives those that did not take all of it: the place in `descriptors`, and how many bytes it did
    take, -1 if it is broken. The compiled twin lets other threads run meanwhile.
    """
    short: list[tuple[int, int]] = []
    for place, descriptor in enumerate(descriptors):
        try:
            taken = os.write(descriptor, data)
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = -1
        if taken < len(data):
            short.append((place, taken))
    return short
