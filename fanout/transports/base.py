"""What a transport is: it hands the log's frames on to readers, by whatever means.

A new transport is one file with a class that satisfies `Transport`, one line in the registry and
a configuration in `fanout.config`. It sees the log and how a session opens, never the feed. When
the log is closed it delivers what is left (an END is the last frame), within a bounded time, and
returns. The contract checks are in `tests/contracts/transport.py`.
"""

from typing import Final, Protocol

import trio

from fanout.channel.log import Log
from fanout.protocol.records import Header
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import TransportStats

CHUNK_BYTES: Final = 64 * 1024
"""Most that is taken from the log at once, and given to one send: it bounds what a stuck client
keeps in memory beside the log. The same for all, so that readers at one place share the piece."""


class Broadcast(Protocol):
    """What a transport sees of the service."""

    @property
    def log(self) -> Log[Header]: ...

    def greeting(self) -> bytes:
        """START and the header, for a reader that begins at the log's end."""
        ...

    def snapshot(self) -> bytes:
        """The frame that follows for such a reader, with each instrument's newest trade. Empty if
        there is none."""
        ...


class Transport(Protocol):
    """One way out of the service."""

    sending: Histogram
    """How long trades take from the venue's socket to the reader's."""

    def stats(self) -> TransportStats:
        """What there is to be known of it and its readers now."""
        ...

    async def run(
        self, broadcast: Broadcast, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until the log is closed and what is left is delivered.

        Says by `task_status` where readers find it, as a URL, once they can. Raises `BindError`
        before that if it cannot open.
        """
        ...
