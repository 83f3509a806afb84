"""One subscriber in virtual time: pings, the 24 hours, readers that stall, rules that are broken.

The streams are in memory, so that the clock may jump whenever nobody has anything to do.
"""

import json

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from wsproto.events import CloseConnection, Message, Ping, TextMessage

from fanout.simulator.config import SimulatorConfig
from fanout.simulator.connection.connections import Connection, Connections
from fanout.simulator.connection.desk import Desk
from fanout.simulator.connection.head import Replayed
from fanout.simulator.connection.outbox import OUTBOX_BYTES
from fanout.simulator.connection.streams import Streams
from fanout.simulator.connection.websocket import (
    STALLED_S,
    serve_websocket,
)
from fanout.simulator.dialects.base import Destination, Form, Session
from fanout.simulator.dialects.binance_usdm.routes import PUBLIC
from fanout.simulator.market.clock import Clock
from tests.fanout.simulator.support import TRADES, USDM, payload, tick, trade
from tests.stand.callers import RawClient
from tests.stand.memory import MemoryServer

START_NS = 1_790_000_000_123_000_000
PING_EVERY_S, PONG_WITHIN_S = 180.0, 600.0
HEARS = Destination(PUBLIC, Session(("btcusdt@trade",), Form(combined=True)))
FULL = Destination(PUBLIC, Session(tuple(f"s{n}@trade" for n in range(1_025)), Form(combined=True)))


class ServedConnection(MemoryServer):
    """One client's connection, the exchange's streams behind it, and when serving ended."""

    def __init__(self, nursery: trio.Nursery, where: Destination, *, lockstep: bool = False):
        super().__init__(nursery, self._serve, lockstep=lockstep)
        self.streams = Streams(USDM, ["BTCUSDT"])
        self.connections = Connections()
        self._where = where
        self.client = self.connect()

    async def _serve(self, server: trio.abc.HalfCloseableStream) -> None:
        where = self._where
        connection = Connection(Replayed(server, b""), self.connections, where.route)
        desk = Desk(USDM, self.streams, Clock(START_NS))
        await serve_websocket(connection, where.session, desk, SimulatorConfig())

    async def raw(self) -> RawClient:
        client = RawClient(self.client)
        await client.shake_hands(TRADES)
        return client

    async def polite(self, nursery: trio.Nursery) -> WebSocketConnection:
        """A client that answers pings by itself."""
        return await wrap_client_stream(nursery, self.client, "simulator", "/")


async def test_a_ping_comes_every_three_minutes_with_the_time_in_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = await ServedConnection(nursery, HEARS).raw()
    for number in (1, 2, 3):
        event = await client.event()
        assert isinstance(event, Ping)
        assert trio.current_time() == pytest.approx(number * PING_EVERY_S)
        assert int(event.payload) == START_NS // 1_000_000 + 180_000 * number
        await client.send(event.response())


async def test_a_client_that_answers_no_ping_is_dropped_after_ten_minutes(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = await ServedConnection(nursery, HEARS).raw()
    while isinstance(await client.event(), Ping):
        pass
    assert trio.current_time() == pytest.approx(PING_EVERY_S + PONG_WITHIN_S)


async def test_a_client_that_stops_answering_is_dropped_ten_minutes_after_the_first_miss(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = await ServedConnection(nursery, HEARS).raw()
    event = await client.event()
    assert isinstance(event, Ping)
    await client.send(event.response())
    while isinstance(await client.event(), Ping):
        pass
    assert trio.current_time() == pytest.approx(2 * PING_EVERY_S + PONG_WITHIN_S)


async def test_every_connection_is_dropped_after_24_hours_without_notice(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    served = ServedConnection(nursery, HEARS)
    client = await served.polite(nursery)
    with pytest.raises(ConnectionClosed) as caught:
        await client.get_message()
    assert trio.current_time() == pytest.approx(24 * 3_600)
    assert caught.value.reason is not None
    assert caught.value.reason.code == 1006


async def test_a_live_subscriber_that_falls_too_far_behind_is_dropped(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    served = ServedConnection(nursery, HEARS, lockstep=True)
    await served.raw()
    await served.streams.audience()
    row = tick(trade())
    served.streams.publish([row] * (OUTBOX_BYTES // len(payload(row))))
    await trio.sleep(0.001)
    assert served.ended_s == pytest.approx(0.0)


async def test_a_subscriber_that_stops_reading_is_dropped_after_ten_seconds(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    served = ServedConnection(nursery, HEARS, lockstep=True)
    await served.raw()
    await served.streams.audience()
    served.streams.publish([tick(trade())])
    await served.streams.settled(0)
    assert trio.current_time() == pytest.approx(STALLED_S)
    await trio.sleep(0.001)
    assert served.ended_s == pytest.approx(STALLED_S)


async def test_a_slow_subscriber_that_keeps_reading_is_kept(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    served = ServedConnection(nursery, HEARS, lockstep=True)
    client = await served.raw()
    await served.streams.audience()
    for number in range(3):
        served.streams.publish([tick(trade(number))])
        await trio.sleep(STALLED_S - 1)
        event = await client.event()
        assert isinstance(event, TextMessage)
        assert json.loads(event.data)["data"]["t"] == number
    assert served.ended_s is None


async def test_more_than_1024_streams_in_a_url_end_the_connection(nursery: trio.Nursery) -> None:
    client = await ServedConnection(nursery, FULL).polite(nursery)
    with pytest.raises(ConnectionClosed) as caught:
        await client.get_message()
    assert caught.value.reason is not None
    assert caught.value.reason.code == 1008


async def test_a_client_that_does_not_answer_a_close_is_disconnected(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    served = ServedConnection(nursery, HEARS)
    client = await served.raw()
    await client.send(TextMessage(data="no JSON"))
    events = [await client.event() for _ in range(2)]
    assert isinstance(events[0], Message)
    assert isinstance(events[1], CloseConnection)
    assert (events[1].code, events[1].reason) == (1008, "Invalid request")
    assert await client.event() is None
    assert 0 < trio.current_time() < 60


async def test_a_handshake_without_a_key_is_refused_and_closed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    served = ServedConnection(nursery, HEARS)
    await served.client.send_all(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    assert (await served.client.receive_some()).startswith(b"HTTP/1.1 400")
    await trio.sleep(60)
    assert served.ended_s is not None


@pytest.mark.parametrize(
    "host", [b"x" * 80, b"..", b"\xff\xfe"], ids=["long label", "empty labels", "no text"]
)
async def test_an_odd_host_header_affects_no_other_client(
    nursery: trio.Nursery, autojump_clock: MockClock, host: bytes
) -> None:
    served = ServedConnection(nursery, HEARS)
    await served.client.send_all(
        b"GET /ws HTTP/1.1\r\nHost: " + host + b"\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n"
    )
    await served.client.aclose()
    await trio.sleep(60)
    assert served.ended_s is not None


@pytest.mark.parametrize(
    "garbage",
    [b"\x00" * 50, b"\xff" * 50, b"\x81\x05hello", b"\x89\xfe\x00\x80", b"\xc1\x80abcd"],
)
async def test_garbage_in_place_of_a_frame_ends_that_connection(
    nursery: trio.Nursery, autojump_clock: MockClock, garbage: bytes
) -> None:
    served = ServedConnection(nursery, HEARS)
    client = await served.raw()
    await client.stream.send_all(garbage)
    await client.stream.aclose()
    await trio.sleep(60)
    assert served.ended_s is not None


async def test_a_message_without_end_is_too_large(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    served = ServedConnection(nursery, HEARS)
    client = await served.raw()
    await client.send(TextMessage(data="x" * 1_000_000))
    event = await client.event()
    assert isinstance(event, CloseConnection)
    assert event.code == 1009
    await trio.sleep(60)
    assert served.ended_s is not None


async def test_cancelling_leaves_no_subscriber_behind() -> None:
    async with trio.open_nursery() as nursery:
        served = ServedConnection(nursery, HEARS)
        await served.raw()
        await served.streams.audience()
        nursery.cancel_scope.cancel()
    with trio.move_on_after(0) as scope:
        await served.streams.audience()
    assert scope.cancelled_caught
