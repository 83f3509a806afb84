"""One WebSocket subscriber: from its handshake to its end.

trio-websocket handles the protocol: handshake, pings, requests, close. Everything that the venue
says bypasses it, market data and replies in one order. A frame is mostly the same bytes for every
subscriber, so `streams` makes it once, and a burst is one write here (trio-websocket would frame
and write each message for each connection).

The first of a connection's tasks to end ends the connection. So it ends when the client has left,
broken a rule, stopped reading, stopped answering pings, or sent no request in time; when it reaches
the age at which every connection is dropped; and by an announced shutdown or a drop. A close frame
is sent to a client that breaks a rule, and in a drop with `how="close"`. Otherwise the exchange
gives no notice.
"""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import ProtocolError

from fanout.simulator.config import SimulatorConfig
from fanout.simulator.connection.connections import Connection
from fanout.simulator.connection.desk import Desk
from fanout.simulator.connection.head import MAX_HEAD_BYTES
from fanout.simulator.connection.rate_limit import Rate
from fanout.simulator.dialects.base import Close, Pulse, Session

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
    connection: Connection, session: Session, desk: Desk, config: SimulatorConfig
) -> None:
    """Serve a stream whose first bytes are a handshake, until either side ends the connection. It
    begins with the session of its URL.

    When it returns, no task uses the stream. `connection.drop_as` says how the caller ends it.
    """
    try:
        async with trio.open_nursery() as nursery:
            websocket = await _shake_hands(nursery, connection)
            if websocket is not None:
                await _Conversation(websocket, connection, session, desk, config).run()
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
        session: Session,
        desk: Desk,
        config: SimulatorConfig,
    ) -> None:
        self._websocket = websocket
        self._connection = connection
        self._subscriber = connection.subscriber
        self._session = session
        self._end: Close | None = None
        self._desk = desk
        self._lifetime_s = config.lifetime_s
        self._limits = limits = desk.dialect.limits
        self._rate = Rate(config.requests_per_second or limits.messages_per_second)
        self._ping_every_s = config.ping_every_s or limits.ping_every_s
        first_s = trio.current_time() + limits.first_request_s
        self._request_due = trio.CancelScope(deadline=first_s)
        """The connection is cut at its deadline, which each request moves."""

    async def run(self) -> None:
        tasks = (
            self._answer,
            self._push,
            self._keep_alive,
            self._beat,
            self._tell_of_maintenance,
            self._wait_for_requests,
            self._overflow,
            self._grow_old,
            self._obey,
        )
        try:
            with self._connection.listed():
                self._end = self._begin()
                async with trio.open_nursery() as nursery:
                    for task in tasks:
                        nursery.start_soon(_run_and_cancel, task, nursery.cancel_scope)
        finally:
            self._desk.streams.leave(self._subscriber)

    def _begin(self) -> Close | None:
        """Welcome the client. Returns how the connection ends, if it ends at once."""
        if len(self._session.streams) > self._limits.streams:
            return self._limits.too_many_streams
        return self._desk.welcome(self._subscriber, self._session)

    async def _answer(self) -> None:
        try:
            await self._answer_requests()
        except ConnectionClosed:
            if self._connection.drop_as is None:
                raise
            await trio.sleep_forever()  # `_obey` has closed it, and will end it

    async def _answer_requests(self) -> None:
        while self._end is None:
            message = await self._websocket.get_message()
            now_s = trio.current_time()
            self._request_due.deadline = now_s + self._limits.request_s
            if self._rate.allows(now_s):
                self._end = self._desk.answer(self._subscriber, _text(message))
            else:
                self._end = self._limits.too_many_messages
        await self._send_replies()
        await self._close(self._end)

    async def _send_replies(self) -> None:
        """Wait until the last message is sent. No data follows it."""
        self._desk.streams.mute(self._subscriber)
        await self._subscriber.outbox.settled(0)

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
        payload = str(
            self._desk.clock.true_ms()
        )  # not the shifted clock, so no two pings are the same
        with trio.move_on_after(self._limits.pong_within_s) as patience:
            await self._websocket.ping(payload.encode())
        if patience.cancelled_caught:
            pings.cancel()

    async def _beat(self) -> None:
        """The messages on a clock. A session that changes keeps the clocks that it had before."""
        due_s: dict[Pulse, float] = {}
        while True:
            await self._connection.flowing()  # a client cannot answer what a stall holds back
            now_s, changed = trio.current_time(), self._subscriber.changed
            pulses = self._desk.dialect.pulses(self._subscriber.session)
            due_s = {pulse: due_s.get(pulse, now_s + pulse.every_s) for pulse in pulses}
            for pulse in pulses:
                if due_s[pulse] <= now_s:
                    due_s[pulse] = now_s + pulse.every_s
                    self._send_pulse(pulse, now_s)
            with trio.move_on_at(min(due_s.values(), default=inf)):
                await changed.wait()

    def _send_pulse(self, pulse: Pulse, now_s: float) -> None:
        is_sent = self._desk.pulse(self._subscriber, pulse)
        if is_sent and pulse.answer_s is not None:
            deadline = self._request_due.deadline
            self._request_due.deadline = min(deadline, now_s + pulse.answer_s)

    async def _tell_of_maintenance(self) -> None:
        while True:
            await self._desk.faults.maintenance(begins=True)
            self._desk.announce_maintenance(self._subscriber, begins=True)
            await self._desk.faults.maintenance(begins=False)
            self._desk.announce_maintenance(self._subscriber, begins=False)

    async def _wait_for_requests(self) -> None:
        with self._request_due:
            await trio.sleep_forever()

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
        if self._connection.ends_after_replies:
            await self._send_replies()
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
