"""The client against the server core of `websockets` over a stream in memory, and against peers
that violate the protocol."""

import logging
import ssl
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trustme
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pair
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from fanout.errors import (
    MAX_BAN_S,
    VenueBusyError,
    VenueError,
    VenueForbiddenError,
    VenueUnreachableError,
)
from fanout.net import websocket
from fanout.net.websocket import (
    IDLE_TIMEOUT_S,
    MAX_MESSAGE_BYTES,
    Protocol,
    WebSocket,
    open_websocket,
)
from fanout.venues.values import Limits, Refusal

LIMITS = Limits()
Stream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class Venue:
    """The far end: `websockets`' server core over the other half of a stream in memory."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.protocol = ServerProtocol()
        self._events: list[object] = []

    async def accept(self) -> None:
        while not (events := self.protocol.events_received()):
            self.protocol.receive_data(bytes(await self.stream.receive_some()))
        self.protocol.send_response(self.protocol.accept(events[0]))  # type: ignore[arg-type]
        await self.flush()

    async def flush(self) -> None:
        await self.stream.send_all(b"".join(self.protocol.data_to_send()))

    async def send(self, *texts: bytes) -> None:
        for text in texts:
            self.protocol.send_text(text)
        await self.flush()

    async def received(self) -> Frame:
        frame = await self.received_next()
        assert not self._events
        return frame

    async def received_next(self) -> Frame:
        while not self._events:
            self.protocol.receive_data(bytes(await self.stream.receive_some()))
            self._events += self.protocol.events_received()
        frame = self._events.pop(0)
        assert isinstance(frame, Frame)
        return frame


@asynccontextmanager
async def connected(limits: Limits = LIMITS) -> AsyncIterator[tuple[WebSocket, Venue]]:
    ours, theirs = memory_stream_pair()
    venue = Venue(theirs)
    protocol = Protocol(parse_uri("ws://venue/public/stream"), limits)
    client = WebSocket(ours, protocol, wall_ns=lambda: 123, monotonic_ns=lambda: 456)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.open)
        await venue.accept()
    yield client, venue


async def test_the_messages_of_one_read_are_one_burst() -> None:
    async with connected() as (client, venue):
        await venue.send(b"one", b"two", b"three")
        await venue.send(b"four")
        burst = await client.receive()
        assert burst.messages == [b"one", b"two", b"three", b"four"]
        assert (burst.received_ns, burst.received_at_ns) == (123, 456)


async def test_a_message_that_is_sent_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected() as (client, venue):
        await client.send("secret")
        assert (await venue.received()).data == b"secret"
        assert "secret" not in str(
            [each.getMessage() for each in caplog.records if "server" not in each.name]
        )
        await client._stream.aclose()
        with pytest.raises(trio.ClosedResourceError) as caught:
            await client.send("secret")
        assert "secret" not in f"{caught.value!r}"


async def test_messages_right_behind_the_handshake_are_not_lost() -> None:
    ours, theirs = memory_stream_pair()
    venue = Venue(theirs)
    client = WebSocket(ours, ClientProtocol(parse_uri("ws://venue/")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.open)
        while not (events := venue.protocol.events_received()):
            venue.protocol.receive_data(bytes(await theirs.receive_some()))
        venue.protocol.send_response(venue.protocol.accept(events[0]))  # type: ignore[arg-type]
        venue.protocol.send_text(b"early")
        await venue.flush()
    assert (await client.receive()).messages == [b"early"]


async def test_a_close_right_behind_the_handshake_is_reported() -> None:
    ours, theirs = memory_stream_pair()
    venue = Venue(theirs)
    client = WebSocket(ours, ClientProtocol(parse_uri("ws://venue/")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.open)
        while not (events := venue.protocol.events_received()):
            venue.protocol.receive_data(bytes(await theirs.receive_some()))
        venue.protocol.send_response(venue.protocol.accept(events[0]))  # type: ignore[arg-type]
        venue.protocol.send_close(1008, "\x1b[31moverloaded")
        await venue.flush()
    with pytest.raises(VenueUnreachableError, match=r"code 1008 .*overloaded"):
        await client.send("subscribe")
    with pytest.raises(VenueUnreachableError, match="code 1008"):
        await client.receive()


async def test_the_arrival_time_of_a_burst_precedes_any_send(
    autojump_clock: object,
) -> None:
    """A pong that waits for the socket makes a burst late; its time must not be."""
    ours, theirs = memory_stream_pair()
    venue = Venue(theirs)
    protocol = ClientProtocol(parse_uri("ws://venue/"))
    client = WebSocket(ours, protocol, wall_ns=lambda: round(trio.current_time() * 1e9))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.open)
        await venue.accept()
    ours.send_stream.send_all_hook = partial(trio.sleep, 3)
    venue.protocol.send_ping(b"x")
    came_at = trio.current_time()
    await venue.send(b"text")
    burst = await client.receive()
    assert trio.current_time() >= came_at + 3
    assert burst.received_ns == round(came_at * 1e9)


async def test_a_connection_that_cannot_send_its_pong_is_closed(autojump_clock: object) -> None:
    async with connected() as (client, venue):
        client._stream.send_stream.send_all_hook = trio.sleep_forever  # type: ignore[attr-defined]
        venue.protocol.send_ping(b"x")
        await venue.flush()
        with pytest.raises(VenueUnreachableError, match="accepted no bytes for 5 s"):
            await client.receive()


async def test_a_ping_is_answered_with_its_payload() -> None:
    async with connected() as (client, venue):
        venue.protocol.send_ping(b"1790370834849")
        await venue.flush()
        await venue.send(b"text")
        await client.receive()
        pong = await venue.received()
        assert (pong.opcode, pong.data) == (Opcode.PONG, b"1790370834849")


async def test_a_fragmented_message_is_joined() -> None:
    async with connected() as (client, venue):
        venue.protocol.send_text(b"on", fin=False)
        await venue.flush()
        venue.protocol.send_ping(b"in between")
        venue.protocol.send_continuation(b"e", fin=True)
        await venue.send(b"two")
        messages: list[bytes] = []
        while len(messages) < 2:
            messages += (await client.receive()).messages
        assert messages == [b"one", b"two"]


async def test_empty_fragments_use_no_memory(autojump_clock: object) -> None:
    async with connected() as (client, venue):
        venue.protocol.send_text(b"on", fin=False)
        for _ in range(10_000):
            venue.protocol.send_continuation(b"", fin=False)
        await venue.flush()
        with trio.move_on_after(1):
            await client.receive()
        assert sys.getsizeof(client._reader._partial) < 200
        venue.protocol.send_continuation(b"e", fin=True)
        await venue.flush()
        assert (await client.receive()).messages == [b"one"]


async def test_text_is_sent_as_a_text_message() -> None:
    async with connected() as (client, venue):
        await client.send("币安人生usdt@trade")
        frame = await venue.received()
        assert (frame.opcode, bytes(frame.data).decode()) == (Opcode.TEXT, "币安人生usdt@trade")


async def test_messages_before_the_end_of_stream_are_delivered_first() -> None:
    async with connected() as (client, venue):
        venue.protocol.send_text(b"last")
        venue.protocol.send_close(1008, "Too many requests")
        await venue.flush()
        assert (await client.receive()).messages == [b"last"]
        with pytest.raises(VenueUnreachableError, match="code 1008 'Too many requests'"):
            await client.receive()


async def test_an_end_of_stream_without_a_close_frame_is_an_error() -> None:
    async with connected() as (client, venue):
        await venue.stream.send_eof()
        with pytest.raises(VenueUnreachableError, match="without a close frame"):
            await client.receive()


async def test_a_broken_stream_is_an_error() -> None:
    async with connected() as (client, venue):
        await venue.stream.aclose()
        with pytest.raises(VenueUnreachableError):
            await client.send("x" * 100)
        with pytest.raises(VenueUnreachableError):
            await client.receive()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff" * 50, id="reserved bits"),
        pytest.param(b"\x81\xff" + bytes(20), id="masked by the server"),
        pytest.param(b"\x81\x7f" + b"\x7f" + b"\xff" * 7, id="a length of 2^63"),
        pytest.param(b"\x80\x01x", id="a continuation of nothing"),
        pytest.param(b"\x09\x00", id="a ping in fragments"),
        pytest.param(
            b"\x81\x7f" + (MAX_MESSAGE_BYTES + 1).to_bytes(8, "big"), id="a message too long"
        ),
    ],
)
async def test_a_protocol_violation_ends_the_connection(data: bytes) -> None:
    async with connected() as (client, venue):
        await venue.stream.send_all(data)
        with pytest.raises(VenueUnreachableError, match="closed the stream"):
            await client.receive()


async def test_a_message_may_be_twice_as_long_as_the_longest_that_is_parsed() -> None:
    limits = Limits(message_bytes=MAX_MESSAGE_BYTES)
    async with connected(limits) as (client, venue):
        longest = b"x" * 2 * MAX_MESSAGE_BYTES
        await venue.send(longest)
        assert (await client.receive()).messages == [longest]
        await venue.stream.send_all(b"\x81\x7f" + (len(longest) + 1).to_bytes(8, "big"))
        with pytest.raises(VenueUnreachableError, match="closed the stream"):
            await client.receive()


async def test_an_announced_message_takes_no_memory_before_it_comes(
    autojump_clock: object,
) -> None:
    async with connected(Limits(message_bytes=1 << 30)) as (client, venue):
        await venue.stream.send_all(b"\x81\x7f" + (1 << 30).to_bytes(8, "big") + bytes(1_000))
        tracemalloc.start()
        try:
            with trio.move_on_after(1):
                await client.receive()
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


async def test_a_flood_of_pings_is_answered_within_the_venues_message_limit(
    autojump_clock: object,
) -> None:
    """It takes ten messages a second, and cuts off who sends more."""
    async with connected() as (client, venue):
        for second in range(3):
            for _ in range(200):
                venue.protocol.send_ping(b"%d" % second)
            await venue.send(b"trade")
            await client.receive()
            await trio.sleep(1)
        await client.send("done")
        pongs: list[Frame] = []
        while (frame := await venue.received_next()).opcode is Opcode.PONG:
            pongs.append(frame)
        assert [each.data for each in pongs] == [
            b"%d" % second for second in range(3) for _ in range(LIMITS.pongs_a_second)
        ]


async def test_a_silent_connection_is_pinged_and_kept_if_it_answers(
    autojump_clock: object,
) -> None:
    async with connected() as (client, venue), trio.open_nursery() as nursery:

        async def answer() -> None:
            ping = await venue.received()
            assert ping.opcode is Opcode.PING
            await venue.flush()
            await trio.sleep(IDLE_TIMEOUT_S / 2)
            await venue.send(b"at last")

        nursery.start_soon(answer)
        assert (await client.receive()).messages == [b"at last"]


async def test_a_silent_connection_ends_if_it_does_not_answer_a_ping(
    autojump_clock: object,
) -> None:
    async with connected() as (client, _):
        started = trio.current_time()
        with pytest.raises(VenueUnreachableError, match="no answer to a ping"):
            await client.receive()
        assert trio.current_time() - started == pytest.approx(2 * IDLE_TIMEOUT_S)


async def test_a_cancelled_receive_loses_nothing(autojump_clock: object) -> None:
    async with connected() as (client, venue):
        with trio.move_on_after(1):
            await client.receive()
        await venue.send(b"later")
        assert (await client.receive()).messages == [b"later"]


@asynccontextmanager
async def answering(
    respond: Callable[[trio.abc.Stream], object], ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    async def handle(stream: trio.abc.Stream) -> None:
        try:
            await stream.receive_some()
            await respond(stream)  # type: ignore[misc]
        except trio.BrokenResourceError:
            return

    serve = trio.serve_tcp
    async with trio.open_nursery() as nursery:
        if ssl_context is None:
            listeners = await nursery.start(serve, handle, 0)
            port = listeners[0].socket.getsockname()[1]
        else:
            tls = await nursery.start(trio.serve_ssl_over_tcp, handle, 0, ssl_context)
            port = tls[0].transport_listener.socket.getsockname()[1]
        yield port
        nursery.cancel_scope.cancel()


def saying(data: bytes) -> Callable[[trio.abc.Stream], object]:
    async def respond(stream: trio.abc.Stream) -> None:
        await stream.send_all(data)

    return respond


async def farewell_to(leave: Callable[[WebSocket, trio.CancelScope], Awaitable[None]]) -> Frame:
    """What the venue is told at the end of a connection that `leave` has seen to."""
    told: list[Frame] = []

    async def handle(stream: trio.SocketStream) -> None:
        venue = Venue(stream)  # type: ignore[arg-type]
        await venue.accept()
        await venue.send(b"hello")
        with suppress(trio.BrokenResourceError):
            told.append(await venue.received_next())

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        port = listeners[0].socket.getsockname()[1]
        with trio.CancelScope() as scope:
            async with open_websocket(f"ws://127.0.0.1:{port}/") as client:
                await leave(client, scope)
        with trio.fail_after(5):
            while not told:  # noqa: ASYNC110
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    return told[0]


async def test_closing_sends_a_close_frame() -> None:
    async def be_done(client: WebSocket, _: trio.CancelScope) -> None:
        await client.receive()

    assert (await farewell_to(be_done)).opcode is Opcode.CLOSE


async def test_cancellation_sends_a_close_frame() -> None:
    """Which is how a connection that is replaced ends, and those of a service that is stopped."""

    async def be_cancelled(client: WebSocket, scope: trio.CancelScope) -> None:
        scope.cancel()
        await client.receive()

    assert (await farewell_to(be_cancelled)).opcode is Opcode.CLOSE


async def test_no_close_frame_is_sent_while_the_venue_is_closing() -> None:
    async with connected() as (client, venue):
        venue.protocol.send_text(b"last")
        venue.protocol.send_close(1001, "going away")
        await venue.flush()
        assert (await client.receive()).messages == [b"last"]
        await client.say_goodbye()


async def refusal_of(url: str, ssl_context: ssl.SSLContext | None = None) -> VenueError:
    with pytest.raises(VenueError) as caught:
        async with open_websocket(url, ssl_context=ssl_context):
            raise AssertionError("it opened")
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (451, VenueForbiddenError, "region or network is blocked"),
        (403, VenueForbiddenError, "region or network is blocked"),
        (429, VenueBusyError, "too many requests"),
        (418, VenueBusyError, "too many requests"),
        (414, VenueUnreachableError, "HTTP 414"),
        (200, VenueUnreachableError, "HTTP 200"),
    ],
)
async def test_a_refused_handshake_raises_the_matching_error(
    status: int, kind: type[VenueError], said: str
) -> None:
    response = f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode()
    async with answering(saying(response)) as port:
        error = await refusal_of(f"ws://127.0.0.1:{port}/public/stream")
    assert isinstance(error, kind)
    assert said in str(error)


@pytest.mark.parametrize(
    ("meaning", "kind"),
    [
        (Refusal.BUSY, VenueBusyError),
        (Refusal.BANNED, VenueBusyError),
        (Refusal.FORBIDDEN, VenueForbiddenError),
        (Refusal.OTHER, VenueUnreachableError),
    ],
)
async def test_the_venue_defines_the_meaning_of_a_handshake_status(
    meaning: Refusal, kind: type[VenueError]
) -> None:
    """Bybit limits with 403, which elsewhere is a firewall."""
    response = b"HTTP/1.1 403 access too frequent\r\nContent-Length: 0\r\n\r\n"
    async with answering(saying(response)) as port:
        with pytest.raises(kind):
            async with open_websocket(f"ws://127.0.0.1:{port}/", refusal=lambda status: meaning):
                raise AssertionError("it opened")


async def test_the_venue_defines_the_ping_intervals(autojump_clock: object) -> None:
    ours, theirs = memory_stream_pair()
    venue = Venue(theirs)
    protocol = Protocol(parse_uri("ws://venue/"), Limits(pongs_a_second=2))
    client = WebSocket(ours, protocol, idle_s=30.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.open)
        await venue.accept()
    for _ in range(20):
        venue.protocol.send_ping(b"ping")
    await venue.send(b"trade")
    await client.receive()
    await client.send("done")
    opcodes = [(await venue.received_next()).opcode for _ in range(3)]
    assert opcodes == [Opcode.PONG, Opcode.PONG, Opcode.TEXT]
    started = trio.current_time()
    with pytest.raises(VenueUnreachableError, match="no answer to a ping within 30 s"):
        await client.receive()
    assert trio.current_time() - started == pytest.approx(60.0)


async def test_a_task_may_send_while_another_receives_and_answers_pings(
    autojump_clock: object,
) -> None:
    """A full socket makes both wait; each frame stays whole."""
    async with connected() as (client, venue):
        gate = trio.Event()
        real = client._stream.send_all

        async def slow(data: bytes) -> None:
            await gate.wait()
            await real(data)

        client._stream.send_all = slow  # type: ignore[method-assign, assignment]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, "subscribe")
            nursery.start_soon(client.receive)
            venue.protocol.send_ping(b"ping")
            await venue.send(b"trade")
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        frames = [await venue.received_next() for _ in range(2)]
        assert {each.opcode for each in frames} == {Opcode.TEXT, Opcode.PONG}


@pytest.mark.parametrize(
    "data", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 100, b"HTTP/1.1 101 X\r\n\r\n"]
)
async def test_a_server_that_speaks_no_websocket_is_an_error(data: bytes) -> None:
    async with answering(saying(data)) as port:
        error = await refusal_of(f"ws://127.0.0.1:{port}/")
    assert "handshake" in str(error) or "closed" in str(error)


async def test_a_refused_connection_names_the_address() -> None:
    async with answering(saying(b"")) as port:
        pass
    error = await refusal_of(f"ws://127.0.0.1:{port}/")
    assert str(error) == f"no connection to 127.0.0.1:{port}: Connection refused"


async def test_a_venue_that_accepts_and_stays_silent_is_abandoned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "CONNECT_TIMEOUT_S", 0.05)

    async def say_nothing(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with answering(say_nothing) as port:
        error = await refusal_of(f"ws://127.0.0.1:{port}/")
    assert "within 0.05 s" in str(error)


async def test_an_untrusted_certificate_is_an_error() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with answering(saying(b""), context) as port:
        error = await refusal_of(f"wss://127.0.0.1:{port}/")
    assert "certificate verify failed" in str(error)


async def test_a_wss_url_uses_tls() -> None:
    authority = trustme.CA()
    served, trusting = (
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.configure_trust(trusting)
    async with answering(saying(b"HTTP/1.1 451 X\r\nContent-Length: 0\r\n\r\n"), served) as port:
        error = await refusal_of(f"wss://127.0.0.1:{port}/", trusting)
    assert isinstance(error, VenueForbiddenError)


async def test_an_invalid_host_name_is_an_error() -> None:
    assert "no connection to" in str(await refusal_of("ws://a..b/"))


async def test_an_invalid_websocket_url_is_an_error() -> None:
    assert "not a WebSocket URL" in str(await refusal_of("http://127.0.0.1/"))


class Counting(ClientProtocol):
    """A core that counts how often it is given something."""

    count = 0

    def receive_data(self, data: bytes) -> None:
        self.count += 1
        super().receive_data(data)


async def test_reading_stops_after_a_failed_handshake() -> None:
    ours, theirs = memory_stream_pair()
    core = Counting(parse_uri("ws://venue/"))
    await theirs.send_all(b"HTTP/1.1 101 X\r\n" + b"\n" * 100_000)
    with pytest.raises(VenueUnreachableError, match="handshake failed"):
        await WebSocket(ours, core).open()
    assert core.count < 10


async def test_a_refusal_with_two_retry_after_headers_is_still_a_refusal() -> None:
    response = b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nRetry-After: 8\r\nContent-Length: 0\r\n\r\n"
    async with answering(saying(response)) as port:
        error = await refusal_of(f"ws://127.0.0.1:{port}/")
    assert isinstance(error, VenueBusyError)
    assert error.pause_s == 7


async def test_handshake_errors_contain_no_control_characters() -> None:
    response = b"HTTP/1.1 101 X\r\nUpgrade: we\x9b31m\r\nConnection: Upgrade\r\n\r\n"
    async with answering(saying(response)) as port:
        error = await refusal_of(f"ws://127.0.0.1:{port}/")
    assert "we?31m" in str(error)


async def test_a_pause_is_at_most_as_long_as_the_longest_ban() -> None:
    response = b"HTTP/1.1 429 X\r\nRetry-After: " + b"9" * 400 + b"\r\nContent-Length: 0\r\n\r\n"
    async with answering(saying(response)) as port:
        error = await refusal_of(f"ws://127.0.0.1:{port}/")
    assert isinstance(error, VenueBusyError)
    assert error.pause_s == MAX_BAN_S
