"""A stream that begins in a journal and goes on live, without a hole between the two."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from fanout.cli.inputs import Batches
from fanout.clients.outcomes import Received
from fanout.protocol.records import Header
from fanout.protocol.request import Position

Live = Callable[[Position], AbstractAsyncContextManager[Batches]]
"""Opens the live stream at a position."""


class HistoryThenLive:
    """Records of a journal to its end, then those of a service from the next number on. If the
    service has these no more, its client reports a LOSS."""

    def __init__(self, history: Batches, live: Live, begun: Callable[[], None]) -> None:
        """`begun` is called when the live part begins."""
        self._now = history
        self._live = live
        self._begun = begun
        self.url = history.url

    @property
    def header(self) -> Header | None:
        """That of the part which is read."""
        return self._now.header

    @property
    def position(self) -> Position | None:
        """See `Batches`."""
        return self._now.position

    @property
    def is_any_ready(self) -> bool:
        """See `Batches`."""
        return self._now.is_any_ready

    @property
    def heartbeat_ns(self) -> int:
        """See `Batches`."""
        return self._now.heartbeat_ns

    async def connect(self) -> Header:
        """Connect to the part which is read."""
        return await self._now.connect()

    async def __aiter__(self) -> AsyncIterator[Received]:
        async for record in self._now:
            yield record
        position = self._now.position
        assert position is not None, "the journal has a header"
        async with self._live(position) as live:
            self._now = live
            self.url = live.url
            self._begun()
            async for record in live:
                yield record
