"""Wall time that advances with trio's clock, so that a test's virtual hours pass here too."""

import trio

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock:
    """Unix time: `start_ns` at construction, and from there on what trio's clock says.

    `offset_ms` is by how much the exchange errs: it tells `now_ms`, and goes by `true_ms`.
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
