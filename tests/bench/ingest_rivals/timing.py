"""The stop watch, the same for every contender, and what each prints."""

import json
import time
from collections.abc import Sequence

from tests.bench.ingest_rivals.workload import checksum


class Watch:
    """Started when the connection is open, before trades are asked for; stopped when the last of
    them is in a log. Seconds, and seconds of this process's CPU."""

    def __init__(self) -> None:
        self._cpu_s = self._wall_s = 0.0

    def start(self) -> None:
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self._wall_s = time.perf_counter() - self._wall_s
        self._cpu_s = time.process_time() - self._cpu_s

    def report(self, records: Sequence[bytes], **details: object) -> None:
        """Print what was measured, and what proves that all came, `RECORD` by `RECORD`."""
        print(
            json.dumps(
                {
                    "trades": len(records),
                    "seconds": self._wall_s,
                    "cpu_s": self._cpu_s,
                    "checksum": checksum(records),
                    **details,
                }
            )
        )
