"""Limits how much of the service's time clients take that are not at the live end.

Sends to such a client happen in its own task. They are short each, but there can be many: new
frames have to wait for all that the scheduler runs before them.
"""

from collections.abc import Callable
from typing import Final

import trio

REPLAY_S: Final = 0.001
"""For how long clients that replay may send without a rest, which is twice as long."""


class Turns:
    """The turns of one transport's clients, whichever of its channels they read."""

    def __init__(self) -> None:
        self.one = trio.Lock()
        """Clients that are behind send one piece at a time, one client after the other, so that
        new frames never wait for more than one of them."""
        self._replays = trio.Lock()
        self._replayed_s = 0.0
        """How long clients that replay have sent since their last rest."""

    async def replay(self, send: Callable[[], None]) -> None:
        """Let a client send once that is sent what is older than the log.

        Such clients can keep the service busy for hours. So they have a third of its time together,
        and the rest is for new frames, also where the machine has other work and each send takes
        longer.
        """
        async with self._replays:
            async with self.one:
                begun_s = trio.current_time()
                send()
                self._replayed_s += trio.current_time() - begun_s
            if self._replayed_s >= REPLAY_S:
                rest_s, self._replayed_s = 2 * self._replayed_s, 0.0
                await trio.sleep(rest_s)
