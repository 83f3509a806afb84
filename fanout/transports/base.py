"""What a transport is: it hands the frames of channels on to readers, by whatever means.

A new transport is a subclass of `Transport`, a configuration and an entry in the registry. It sees
the log and how a session opens, never the feed. When the log is closed it delivers what is left
(an END is the last frame), within a bounded time, and returns. The contract checks are in
`tests/contracts/transport.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

import trio

from fanout.channel.channel import Channel
from fanout.channel.past import PastOf
from fanout.channel.reader import CHUNK_BYTES
from fanout.config import TransportConfig
from fanout.errors import ConfigError, shown
from fanout.protocol.encoding import LONGEST_BYTES
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import TransportStats

__all__ = ["CHUNK_BYTES", "Transport", "channel_named", "longest_frame_of"]


class Transport(ABC):
    """One way out of the service. It runs once."""

    def __init__(self, config: TransportConfig) -> None:
        self.config = config
        self.url = ""
        """Where readers find it; empty until it is known."""
        self.sending = Histogram()
        """How long trades take from the venue's socket to the reader's."""

    def stats(self) -> TransportStats:
        """What there is to be known of it and its readers now."""
        return TransportStats(url=self.url, send=self.sending.quantiles())

    def troubles(self, channel: str) -> Sequence[str]:
        """Why a channel is not served by it as it should be, in lines for `/readyz`. Empty while
        all is well."""
        return ()

    @property
    def readers(self) -> int:
        """How many readers it has."""
        return len(self.stats().consumers)

    @property
    def unread(self) -> float:
        """How much the reader that is furthest behind has yet to read, of what is kept for it: from
        0, nothing, to 1. A feed cannot wait for readers; a replay does."""
        return 0.0

    @property
    def stride_bytes(self) -> int:
        """How much a replay may publish between two looks at `unread`."""
        return CHUNK_BYTES

    @property
    def longest_frame_bytes(self) -> int | None:
        """The longest frame that it can carry, its length included. None if it can carry any."""
        return None

    def at_its_address(self) -> TransportConfig:
        """The configuration of another transport at the address that this one had."""
        return self.config

    def opened(self) -> AbstractAsyncContextManager[PastOf | None]:
        """What it keeps of the time before this start, if it keeps anything. The service asks
        before it asks any venue. Raises an `OperatorError` where the transport cannot be opened at
        all, and then the service does not start."""
        return nullcontext()

    @abstractmethod
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


def longest_frame_of(transports: Sequence[Transport]) -> int:
    """The longest frame that all of these can carry, its length included."""
    limits = [each.longest_frame_bytes for each in transports]
    return min([each for each in limits if each is not None], default=LONGEST_BYTES)


def channel_named(channels: Sequence[Channel], name: str) -> Channel:
    """The channel of that name; the first one for an empty name. Raises `ConfigError`."""
    if not name:
        return channels[0]
    for each in channels:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in channels)
    raise ConfigError(f"no channel {shown(name)}: this service has {known}")
