"""One WebSocket subscriber: from its handshake to its end.

trio-websocket handles the protocol: handshake, pings, requests, close. Market data bypasses it.
Frames are the same bytes for every subscriber, so `streams` makes them once, and a burst is one
write here (trio-websocket would frame and write each message for each connection).

The first of a connection's tasks to end ends the connection. So it ends when the client has left,
broken a rule, stopped reading or stopped answering pings; when it reaches the age at which every
connection is dropped; and by an announced shutdown or a drop. A close frame is sent to a client
that breaks a rule, and in a drop with `how="close"`. Otherwise the exchange gives no notice.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import ProtocolError

from fanout.simulator.config import SimulatorConfig
from fanout.simulator.connection.connections import Connection
from fanout.simulator.connection.head import MAX_HEAD_BYTES
from fanout.simulator.connection.rate_limit import MessageRate
from fanout.simulator.connection.streams import Streams
from fanout.simulator.dialects.base import Close, Destination, Dialect
from fanout.simulator.market.clock import Clock

STALLED_S: Final = 10.0  # a client that does not take one burst in this time is not reading
HANDSHAKE_S: Final = 5.0
CLOSE_S: Final = 5.0
MAX_REQUEST_BYTES: Final = 128 * 1024  # 1024 names fit well

# A client causes these when it leaves, breaks the protocol or sends an invalid header. Some come
# from trio-websocket's reader, which runs in our nursery.
MISHAPS: Final = (
    ConnectionClosed,
    ProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    UnicodeError,
)


async def serve_websocket(
    connection: Connection,
    destination: Destination,
    streams: Streams,
    clock: Clock,
    config: SimulatorConfig,
    dialect: Dialect,
) -> None:
    """Serve a stream whose first bytes are a handshake, until either side ends the connection.

    When it returns, no task uses the stream. `connection.drop_as` says how the caller ends it.
    """
    try:
        async with trio.open_nursery() as nursery:
            websocket = await _shake_hands(nursery, connection)
            if websocket is not None:
                conversation = _Conversation(
                    websocket, connection, destination, streams, clock, config, dialect
                )
                await conversation.run()
            nursery.cancel_scope.cancel()
    except* MISHAPS:
        pass  # the client has left or is at fault; the caller closes the socket


async def _shake_hands(nursery: trio.Nursery, connection: Connection) -> WebSocketConnection | None:
    await connection.flowing()
    # After a handshake that is refused, wrap_server_stream would wait forever.
    with trio.move_on_after(HANDSHAKE_S):
        request = await wrap_server_stream(
            nursery,
            connection,
            max_message_size=MAX_REQUEST_BYTES,
            receive_buffer_size=MAX_HEAD_BYTES,
        )
        return await request.accept()
    return None


class _Conversation:
    def __init__(
        self,
        websocket: WebSocketConnection,
        connection: Connection,
        destination: Destination,
        streams: Streams,
        clock: Clock,
        config: SimulatorConfig,
        dialect: Dialect,
    ) -> None:
        self._websocket = websocket
        self._connection = connection
        self._session = destination.session
        self._streams = streams
        self._clock = clock
        self._subscriber = connection.subscriber
        self._lifetime_s = config.lifetime_s
        self._dialect, self._limits = dialect, dialect.limits
        per_second = config.requests_per_second or self._limits.messages_per_second
        self._rate = MessageRate(per_second)
        self._ping_every_s = config.ping_every_s or self._limits.ping_every_s

    async def run(self) -> None:
        tasks = (
            self._answer,
            self._push,
            self._keep_alive,
            self._overflow,
            self._grow_old,
            self._obey,
        )
        try:
            with self._connection.listed():
                async with trio.open_nursery() as nursery:
                    for task in tasks:
                        nursery.start_soon(_run_and_cancel, task, nursery.cancel_scope)
        finally:
            self._streams.leave(self._subscriber)

    async def _answer(self) -> None:
        try:
            await self._answer_requests()
        except ConnectionClosed:
            if self._connection.drop_as is None:
                raise
            await trio.sleep_forever()  # `_obey` has closed it, and will end it

    async def _answer_requests(self) -> None:
        if len(self._session.streams) > self._limits.streams:
            return await self._close(self._limits.too_many_streams)
        self._streams.tune(self._subscriber, self._session)
        while True:
            message = await self._websocket.get_message()
            if not self._rate.allows(trio.current_time()):
                return await self._close(self._limits.too_many_messages)
            reply = self._dialect.answer(self._session, _text(message), self._clock.now_ms())
            for each in reply.replies:
                await self._websocket.send_message(each)
            if reply.close is not None:
                return await self._close(reply.close)
            self._session = reply.session
            self._streams.tune(self._subscriber, self._session)

    async def _push(self) -> None:
        outbox = self._subscriber.outbox
        while True:
            burst = await outbox.take()
            await self._connection.flowing()  # our stall must not count as the client's
            if self._websocket.closed is not None:
                await trio.sleep_forever()  # no data follows a close frame; `_answer` will end it
            with trio.move_on_after(STALLED_S) as patience:
                await self._connection.send_all(burst)
            if patience.cancelled_caught:
                return
            outbox.written(len(burst))

    async def _keep_alive(self) -> None:
        async with trio.open_nursery() as pings:
            while True:
                await trio.sleep(self._ping_every_s)
                # A client cannot answer a ping that a stall holds back.
                await self._connection.flowing()
                pings.start_soon(self._ping, pings.cancel_scope)

    async def _ping(self, pings: trio.CancelScope) -> None:
        payload = str(self._clock.true_ms())  # not the shifted clock, so no two pings are the same
        with trio.move_on_after(self._limits.pong_within_s) as patience:
            await self._websocket.ping(payload.encode())
        if patience.cancelled_caught:
            pings.cancel()

    async def _overflow(self) -> None:
        await self._subscriber.outbox.overflown.wait()

    async def _grow_old(self) -> None:
        ends = self._connection.ends
        ends.deadline = min(ends.deadline, trio.current_time() + self._lifetime_s)
        with ends:
            await trio.sleep_forever()

    async def _obey(self) -> None:
        await self._connection.dropped.wait()
        fault = self._connection.drop_as
        if fault is not None and fault.how == "close":
            await self._close(Close(fault.code, fault.reason))

    async def _close(self, close: Close) -> None:
        with trio.move_on_after(CLOSE_S):
            await self._websocket.aclose(close.code, close.reason)


async def _run_and_cancel(task: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    await task()
    scope.cancel()


def _text(message: str | bytes) -> str:
    return message if isinstance(message, str) else message.decode(errors="replace")
