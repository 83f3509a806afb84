"""Push and pop in one process.

    python -m tests.bench.ring_parts.alone FRAMES

Prints as JSON what a push, a pop and a look into an empty ring take, in ns; the loop around them is
part of it.
"""

import json
import sys
import time
from itertools import repeat

from fanout.protocol import frame, ring_page
from fanout.protocol.ring import RingReader, RingWriter

BLOCK: bytes = frame(bytes(range(196)))
CAPACITY_BYTES = 2**24
AT_ONCE = 5_000
"""Frames that are pushed before they are popped: a megabyte, which stays in the cache."""


def main(frames: int) -> None:
    buffer = bytearray(ring_page.DATA_AT + CAPACITY_BYTES)
    writer = RingWriter(buffer, header=None, pid=1)
    reader = RingReader(buffer)
    push, pop, clock = writer.push, reader.pop, time.perf_counter_ns
    pushed = popped = looked = 0
    turns = max(1, frames // AT_ONCE)
    for turn in range(-1, turns):
        began = clock()
        for _ in repeat(None, AT_ONCE):
            push(BLOCK, 2)
        between = clock()
        for _ in repeat(None, AT_ONCE):
            pop()
        empty = clock()
        for _ in repeat(None, AT_ONCE):
            pop()
        ended = clock()
        if turn < 0:
            continue  # to warm up
        pushed += between - began
        popped += empty - between
        looked += ended - empty
    print(json.dumps([each / turns / AT_ONCE for each in (pushed, popped, looked)]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
