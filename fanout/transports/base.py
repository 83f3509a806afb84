"""What a transport is: it hands the frames of channels on to readers, by whatever means.

A new transport is one file with a class that satisfies `Transport`, one line in the registry and
a configuration in `fanout.config`. It sees the log and how a session opens, never the feed. When
the log is closed it delivers what is left (an END is the last frame), within a bounded time, and
returns. The contract checks are in `tests/contracts/transport.py`.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import trio

from fanout.channel.channel import Channel
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import TransportStats

CHUNK_BYTES: Final = 64 * 1024
"""Most that is taken from the log at once, and given to one send: it bounds what a stuck client
keeps in memory beside the log. The same for all, so that readers at one place share the piece."""


class Transport(Protocol):
    """One way out of the service."""

    sending: Histogram
    """How long trades take from the venue's socket to the reader's."""

    def stats(self) -> TransportStats:
        """What there is to be known of it and its readers now."""
        ...

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve the channels until each log is closed and its last frame is delivered.

        The first channel serves readers that ask for none. Reports by `task_status` where readers
        find the transport, as a URL, once they can connect. Raises an `OperatorError` before that
        if it cannot open.
        """
        ...
