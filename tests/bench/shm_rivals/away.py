"""How much of the time a core is away, at work for the kernel, the hypervisor or another process.

    python -m tests.bench.shm_rivals.away SECONDS

It reads the clock again and again, and adds up the steps that are longer than a reading takes. A
frame that comes meanwhile is late, whichever way it comes. Prints the share of the time, from 0 to
1, as JSON.
"""

import json
import sys
import time
from typing import Final

STEP_NS: Final = 1_000
"""Two readings of the clock take a tenth of this."""


def away(seconds: float) -> float:
    clock = time.perf_counter_ns
    begun_ns = before_ns = clock()
    end_ns = begun_ns + int(seconds * 1e9)
    away_ns = 0
    while before_ns < end_ns:
        now_ns = clock()
        if now_ns - before_ns > STEP_NS:
            away_ns += now_ns - before_ns
        before_ns = now_ns
    return away_ns / (before_ns - begun_ns)


if __name__ == "__main__":
    print(json.dumps(away(float(sys.argv[1]))))
