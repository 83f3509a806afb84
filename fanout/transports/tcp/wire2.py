"""Wire 2 over TCP: a channel's own frames, as they stand in its log.

`fanout.channel.reader.Reader` decides what a client gets at its position in the log.
"""

from collections.abc import Callable

from fanout.channel.channel import Channel
from fanout.channel.reader import Reader
from fanout.protocol.constants import EndReason
from fanout.protocol.request import Request
from fanout.transports.tcp.past import Replay, find_passage


class Wire2:
    """What all clients of a channel share."""

    is_asked = True
    """Whether a client may begin with a request."""

    def __init__(self, channel: Channel, *, max_lag_ms: int, wall_ns: Callable[[], int]) -> None:
        """A client that falls off the log goes on live if the oldest frame is older than
        `max_lag_ms`. `wall_ns` gives unix ns."""
        self.name = channel.name
        self.log = channel.log
        self._channel = channel
        self._max_lag_ms = max_lag_ms
        self._wall_ns = wall_ns

    async def run(self) -> None:
        """Do nothing: the log is in wire 2."""

    def reader(self) -> Reader:
        """A reader for a new client, at the log's end."""
        return Reader(self._channel, max_lag_ms=self._max_lag_ms)

    @property
    def has_past(self) -> bool:
        """Whether a client may be sent what is older than the log. Then its header depends on its
        request."""
        return self._channel.past is not None

    async def replay(self, request: Request) -> Replay | None:
        """What a client gets before the log can serve it; None if the log has what it asks for, or
        nothing older is kept."""
        passage = await find_passage(self._channel, request)
        return Replay(passage, self.reader(), request) if passage else None

    def heartbeat(self) -> bytes:
        return self._channel.heartbeat(self._wall_ns())

    def refusal(self, reason: EndReason, retry_ms: int | None, why: str) -> bytes:
        """All that a client gets if it is not served."""
        reader = self.reader()
        return reader.greeting + reader.end(reason, retry_ms=retry_ms, why=why)
