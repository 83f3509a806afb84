"""What time it is at the services: the newest time of their records, and what has passed since.

    passing.note(received_ns, here_ns)      a record came, at this time of a clock that runs here
    passing.now_ns(here_ns)

The clock that runs here need not know the time. The difference between the two is the largest that
was seen within the last seconds: that of the record that came fastest. If a service's clock is set
back, the old difference is forgotten after two to three times `WINDOW_NS`.
"""

from typing import Final

WINDOW_NS: Final = 5 * 10**9


class Passing:
    def __init__(self) -> None:
        self._newest: int | None = None
        """The largest difference since `_since_ns`."""
        self._before: int | None = None
        """That of the window before."""
        self._since_ns = 0

    def note(self, received_ns: int, here_ns: int) -> None:
        """A record came. Without a time, it says nothing."""
        if not received_ns:
            return
        difference = received_ns - here_ns
        if self._newest is None or here_ns - self._since_ns > WINDOW_NS:
            self._before, self._newest, self._since_ns = self._newest, difference, here_ns
        elif difference > self._newest:
            self._newest = difference

    def now_ns(self, here_ns: int) -> int:
        """The time at the services; 0 before the first record."""
        known = [each for each in (self._before, self._newest) if each is not None]
        return here_ns + max(known) if known else 0
