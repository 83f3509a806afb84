"""What the transports in shared memory have in common: they make a file, serve one channel in it
until the channel ends, and make it anew if somebody damages or removes it."""

import logging
import platform
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import trio

from fanout.channel.channel import Channel
from fanout.config import TransportConfig
from fanout.errors import BindError
from fanout.protocol.queue_file import UnsupportedMachineError, require_supported_machine
from fanout.transports.base import Transport, channel_named

_LOG = logging.getLogger("fanout")

BEAT_S: Final = 0.1
"""How often the page's heartbeat changes while nothing is published. A busy machine delays it by
its own scheduling: a reader should take two seconds of silence for a hang, and no less."""

HEARTBEAT_S: Final = 1.0
"""Silence in the channel after which readers get a HEARTBEAT frame."""

TRY_AGAIN_S: Final = 1.0
"""Pause between two attempts to make a lost file anew."""

F = TypeVar("F")
"""A file under its name."""


class SharedTransport(Transport, Generic[F]):
    """Serves a channel in a file in shared memory."""

    noun: str
    """What the file is, in messages."""

    def __init__(
        self,
        config: TransportConfig,
        *,
        path: str,
        channel: str,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`channel` names the one to serve, if it is not the first. `wall_ns` gives unix ns, for
        heartbeats."""
        super().__init__(config)
        self._path = path
        self._wanted = channel
        self._wall_ns = wall_ns
        self._channel = ""
        self._trouble = ""
        """Why the channel is not served, while the file cannot be made anew."""

    def troubles(self, channel: str) -> Sequence[str]:
        """See `Transport.troubles`."""
        return (self._trouble,) if self._trouble and channel == self._channel else ()

    @abstractmethod
    def _make(self, channel: Channel) -> F:
        """Make the file. Raises `BindError`."""

    @abstractmethod
    async def _serve(self, channel: Channel, file: F) -> bool:
        """Serve the channel in a file, and close it. True at the end of the log, False if the file
        is not in order."""

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Transport.run`. A cancellation leaves readers without an END.

        A file that somebody cut, overwrote or removed is made anew, as soon as there is room and
        no other file has its name. Raises `ConfigError` for a channel that the service lacks.
        """
        _require_machine()
        channel = channel_named(channels, self._wanted)
        self._channel = channel.name
        file: F | None = self._make(channel)
        task_status.started(self.url)
        while file is not None and not await self._serve(channel, file):
            _LOG.error(
                "%s %s was damaged or removed by somebody: making it anew", self.noun, self._path
            )
            file = await self._make_again(channel)

    async def _make_again(self, channel: Channel) -> F | None:
        """None if the log is closed before. The readers of other transports must not suffer, so
        an obstacle is logged once and waited out."""
        has_complained = False
        while not channel.log.closed:
            try:
                file = self._make(channel)
                self._trouble = ""
                return file
            except BindError as error:
                self._trouble = str(error)
                if not has_complained:
                    _LOG.error("%s; trying again every %g s", error, TRY_AGAIN_S)
                    has_complained = True
            await trio.sleep(TRY_AGAIN_S)
        return None


def _require_machine() -> None:
    try:
        require_supported_machine(platform.machine())
    except UnsupportedMachineError as error:
        raise BindError(str(error)) from error
