"""The exchange: one market, and all who connect to it, over either protocol.

Every accepted connection passes through `Exchange.serve`. Misbehaviour on demand, when it comes,
has its place there.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import trio

from fanout.simulator.aggregate import with_aggregates
from fanout.simulator.clock import Clock
from fanout.simulator.exchange_info import listed
from fanout.simulator.head import Head, RefusedError, Replayed, read_head, refusal
from fanout.simulator.history import History
from fanout.simulator.player import play_flat_out, play_on_time
from fanout.simulator.rest import Response, Rest
from fanout.simulator.rest_connection import serve_rest
from fanout.simulator.routes import destination
from fanout.simulator.streams import Streams
from fanout.simulator.ticks import Source, Tick
from fanout.simulator.websocket import serve_websocket

HEAD_S: Final = 10.0  # for the first request's head to be whole
LINGER_S: Final = 1.0  # for a refused client to read why


class Exchange:
    def __init__(self, source: Source, clock: Clock) -> None:
        listings = listed(source.listings)
        self._source = source
        self._clock = clock
        self._streams = Streams(listing.symbol for listing in source.listings)
        self._history = History(listing.symbol for listing in listings)
        self._rest = Rest(listings, self._history)
        source.prime(self._history, clock.now_ms())

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        """One connection. Whatever the client does, it ends here and troubles nobody else."""
        try:
            await self._serve(stream)
        except RefusedError as error:
            await _refuse(stream, error.status)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone, or never meant it

    async def play(self, speed: float | None) -> None:
        """Open the market once somebody listens; return when its last tick is in their sockets."""
        await self._streams.audience()
        ticks = with_aggregates(self._source.ticks(self._clock.now_ms()))
        if speed is None:
            await play_flat_out(ticks, self._publish, self._streams)
        else:
            await play_on_time(ticks, self._publish, speed)
        await self._streams.settled(0)

    async def _serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        head: Head | None = None
        with trio.move_on_after(HEAD_S):
            head = await read_head(stream)
        if head is None:
            return
        replayed = Replayed(stream, head.raw)
        if head.is_websocket:
            await self._serve_websocket(replayed, head.target)
        else:
            await serve_rest(replayed, self._respond)

    async def _serve_websocket(self, stream: Replayed, target: str) -> None:
        where = destination(target)
        if where is None:
            raise RefusedError(HTTPStatus.NOT_FOUND)
        await serve_websocket(stream, where, self._streams, self._clock)

    def _respond(self, method: str, target: str) -> Response:
        return self._rest.respond(method, target, self._clock.now_ms())

    def _publish(self, ticks: Sequence[Tick]) -> None:
        for tick in ticks:
            if tick.trade is not None:
                self._history.add(tick.trade)
        self._streams.publish(ticks)


async def _refuse(stream: trio.abc.HalfCloseableStream, status: HTTPStatus) -> None:
    """Say why, and wait for the client to leave: closing on unread bytes destroys the answer."""
    try:
        with trio.move_on_after(LINGER_S):
            await stream.send_all(refusal(status))
            await stream.send_eof()
            while await stream.receive_some():
                pass
    except trio.BrokenResourceError:
        pass  # gone already
