"""Send the same bytes to many sockets."""

import os
from array import array

from fanout.speedups import twin


@twin
def send_to_each(descriptors: "array[int]", data: bytes) -> list[tuple[int, int]]:
    """Send `data` to each of these sockets, in one non-blocking call each.

    Returns the sockets that did not take all bytes: the index in `descriptors`, and how many bytes
    were taken, or -1 for a broken connection. The compiled twin releases the GIL meanwhile.
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
