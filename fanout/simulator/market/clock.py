"""Wall time that advances with trio's clock, so that it follows a test's virtual time."""

import trio

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock:
    """Unix time: `start_ns` at construction. From there on it advances with trio's clock.

    `offset_ms` is the error of the exchange's clock: it shows `now_ms`, and acts by `true_ms`.
    """

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._started_s = trio.current_time()
        self.offset_ms = 0

    def true_ms(self) -> int:
        elapsed_ns = round((trio.current_time() - self._started_s) * NS_PER_S)
        return (self._start_ns + elapsed_ns) // NS_PER_MS

    def now_ms(self) -> int:
        return self.true_ms() + self.offset_ms
