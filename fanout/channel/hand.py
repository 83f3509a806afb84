"""A transport's hand in a log: it takes what was published at once, in the publisher's own step.

To wake a task costs some ten microseconds, and the task runs one pass of the scheduler later. A
hand is a function instead, which the log calls when a burst has been published:

    feed -> append, append, hand_on -> take() of each hand -> back to the feed
                                         |
                                         '- not all, or a fault -> the transport's task, in `wait`

`take` must not wait. It does what is quick and bounded, and leaves the rest to the transport's
task. The feed and the other transports see nothing of a transport's trouble:

- What `take` raises is raised in the transport's task, by `wait`, and nowhere else.
- A hand is used at most once in a pass of the scheduler, and not while its task is about to run.
  So it takes no more of the feed's time than its task would. When several bursts come in one pass,
  the task takes all but the first in one piece.
- `take` sees the context variables of the transport's task, which name the source of log lines.
"""

from collections.abc import Callable
from contextvars import copy_context

import trio


class Hand(trio.abc.Instrument):
    """One transport's hand in one log. Made by `Log.hand`."""

    def __init__(self, take: Callable[[], bool]) -> None:
        """`take` returns whether it took all there is. If not, `wait` returns."""
        self._take = take
        self._context = copy_context()
        self._is_due = True
        """Whether the task is about to run. It also looks once before it first waits."""
        self._is_free = False
        """Whether nothing was published in this pass of the scheduler yet, and no task is due."""
        self._fault: BaseException | None = None
        self._task = trio.lowlevel.ParkingLot()

    def before_io_wait(self, timeout: float) -> None:
        """Trio calls this once in each pass."""
        self._is_free = not self._is_due

    def offer(self) -> None:
        """Take what was published, or wake the task for it. Raises nothing."""
        is_free, self._is_free = self._is_free, False
        if not (is_free and self._has_taken_all()):
            self.wake()

    def _has_taken_all(self) -> bool:
        try:
            return self._context.run(self._take)
        except BaseException as fault:
            self._fault = fault
            return False

    def wake(self) -> None:
        """Let the task look."""
        self._is_due = True
        self._task.unpark_all()

    async def wait(self) -> None:
        """For the transport's task: return once there is something that `take` has not taken, or
        the log was closed. Raises what `take` raised; the hand is not used again after that."""
        if self._is_due:
            await trio.lowlevel.checkpoint()
        while not self._is_due:
            await self._task.park()
        if self._fault is not None:
            raise self._fault
        self._is_due = False
