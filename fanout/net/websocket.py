"""A WebSocket client for the feed: `websockets`' sans-I/O core, driven over a trio stream.

The unit is a *burst*: all messages of one read of the socket, with the time at which that read
returned. Under load the bursts grow, and no message costs a task switch.

The client pings a silent connection, and gives it up if no answer comes.
"""

import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from fanout.errors import VenueBusyError, VenueForbiddenError, VenueUnreachableError, shown
from fanout.net.addresses import Proxy
from fanout.net.proxy import open_tcp
from fanout.net.ws_messages import MessageReader
from fanout.protocol.errors import reason
from fanout.venues.values import Limits, Refusal, usual_refusal

READ_BYTES: Final = 256 * 1024
"""Most bytes of one read, some 1,500 trades. Limits the size of a burst."""

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Longest message, unless the venue's limits call for more. The protocol core closes the connection
instead of buffering a longer one."""

ROOM: Final = 2
"""Longest message as a multiple of the longest that is parsed. One in between costs what is in it,
and not the connection."""

CONNECT_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 5.0
"""Longest time for the venue to accept bytes. Also the silence before a ping, and the time for its
answer, unless the venue's limits have another value."""

_USUAL: Final = Limits()

BUSY_S: Final = {Refusal.BUSY: 60.0, Refusal.BANNED: 120.0}
"""Pause after a limit or a ban for which the venue names none."""


class Burst(msgspec.Struct, frozen=True):
    """The messages of one read. `received_ns` is unix ns and `received_at_ns` monotonic ns, both
    taken when the read returned."""

    received_ns: int
    received_at_ns: int
    messages: list[bytes]


class Protocol(ClientProtocol):
    """The protocol core, with limits on messages and pongs. In a flood of pings it is enough to
    answer the newest (RFC 6455, 5.5.3), and the venue counts pongs as messages."""

    def __init__(self, uri: WebSocketURI, limits: Limits = _USUAL) -> None:
        super().__init__(uri, max_size=max(MAX_MESSAGE_BYTES, ROOM * limits.message_bytes))
        self.debug = False  # else the core logs all frames, and ours may hold a secret
        pongs = limits.pongs_a_second
        self._pongs: deque[float] = deque([float("-inf")] * pongs, pongs)

    def send_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            now_s = trio.current_time()
            if now_s - self._pongs[0] < 1:
                return
            self._pongs.append(now_s)
        super().send_frame(frame)


class WebSocket:
    """An open connection. `receive` gives bursts, and at the end `VenueUnreachableError`."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        protocol: ClientProtocol,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        idle_s: float = IDLE_TIMEOUT_S,
        refusal: Callable[[int], Refusal] = usual_refusal,
    ) -> None:
        self._stream = stream
        self._idle_s = idle_s
        self._refusal = refusal
        self._sending = trio.Lock()
        self._protocol = protocol
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._reader = MessageReader(protocol)
        self._messages: list[bytes] = []
        self._received_ns = 0
        self._received_at_ns = 0

    async def send(self, text: str) -> None:
        """Send a text message. A cancellation may leave half of it sent: close the connection."""
        if self._protocol.state is not State.OPEN:
            raise self._closed()
        self._protocol.send_text(text.encode())
        await self._flush()

    async def receive(self) -> Burst:
        """The next burst of at least one message. Answers pings meanwhile.

        Raises `VenueUnreachableError` when the connection has ended in any way. A cancellation
        loses nothing.
        """
        while not self._messages:
            if self._protocol.state is not State.OPEN:
                raise self._closed()
            await self._read()
        messages, self._messages = self._messages, []
        return Burst(self._received_ns, self._received_at_ns, messages)

    def _closed(self) -> VenueUnreachableError:
        return VenueUnreachableError(f"the venue closed the stream: {_farewell(self._protocol)}")

    async def _read(self) -> None:
        try:
            data = await self._read_or_ping()
            self._received_ns, self._received_at_ns = self._wall_ns(), self._monotonic_ns()
            if data:
                self._reader.take(bytes(data), self._messages)
            else:
                self._protocol.receive_eof()
        except trio.BrokenResourceError as error:
            raise VenueUnreachableError(f"the stream broke: {reason(error)}") from error
        await self._flush()

    async def _read_or_ping(self) -> bytes | bytearray:
        with trio.move_on_after(self._idle_s):
            return await self._stream.receive_some(READ_BYTES)
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            await self._flush()
        with trio.move_on_after(self._idle_s):
            return await self._stream.receive_some(READ_BYTES)
        raise VenueUnreachableError(f"silence: no answer to a ping within {self._idle_s:g} s")

    async def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if not data:
            return
        try:
            # The reading task may answer a ping while another task sends.
            async with self._sending:
                with trio.fail_after(IDLE_TIMEOUT_S):
                    await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            raise VenueUnreachableError(f"the stream broke: {reason(error)}") from error
        except trio.TooSlowError as error:
            what = f"the venue accepted no bytes for {IDLE_TIMEOUT_S:g} s"
            raise VenueUnreachableError(what) from error

    async def open(self) -> None:
        """The opening handshake. Raises a `VenueError`."""
        protocol = self._protocol
        protocol.send_request(protocol.connect())
        await self._flush()
        while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
            await self._read()
        if protocol.handshake_exc is not None:
            raise _failure(protocol.handshake_exc, self._refusal) from protocol.handshake_exc

    async def say_goodbye(self) -> None:
        """Send a close frame, unless the socket does not take it within half a second."""
        if self._protocol.state is not State.OPEN:
            return  # it is closed already, or about to be
        with trio.move_on_after(0.5) as scope:
            scope.shield = True
            try:
                self._protocol.send_close()
                await self._flush()
            except VenueUnreachableError:
                return


@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    proxy: Proxy | None = None,
    ssl_context: ssl.SSLContext | None = None,
    wall_ns: Callable[[], int] = time.time_ns,
    limits: Limits = _USUAL,
    refusal: Callable[[int], Refusal] = usual_refusal,
) -> AsyncIterator[WebSocket]:
    """Connect, and close at the end. Raises a `VenueError` if the connection fails.

    `proxy` is the proxy to connect through, if any. `ssl_context` is for `wss://`; None trusts the
    system's certificates. `wall_ns` gives unix ns, for bursts. `limits` and `refusal` are the
    venue's: the longest message, when to ping, and the meaning of the HTTP status of a handshake.
    """
    try:
        uri = parse_uri(url)
    except InvalidURI as error:
        raise VenueUnreachableError(f"{url!r} is not a WebSocket URL") from error
    stream: trio.abc.Stream
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            stream = await open_tcp(uri.host, uri.port, proxy)
            if uri.secure:
                context = ssl_context or ssl.create_default_context()
                stream = trio.SSLStream(
                    stream, context, server_hostname=uri.host, https_compatible=True
                )
            websocket = WebSocket(
                stream,
                Protocol(uri, limits),
                wall_ns=wall_ns,
                idle_s=limits.idle_s,
                refusal=refusal,
            )
            try:
                await websocket.open()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
    except trio.TooSlowError as error:
        what = f"no connection to {uri.host}:{uri.port} within {CONNECT_TIMEOUT_S:g} s"
        raise VenueUnreachableError(what) from error
    except (OSError, UnicodeError) as error:
        what = f"no connection to {uri.host}:{uri.port}: {reason(error)}"
        raise VenueUnreachableError(what) from error
    try:
        yield websocket
    finally:
        await websocket.say_goodbye()
        await trio.aclose_forcefully(stream)


def _failure(
    fault: Exception, refusal: Callable[[int], Refusal]
) -> VenueUnreachableError | VenueForbiddenError | VenueBusyError:
    if not isinstance(fault, InvalidStatus):
        detail = str(fault) if isinstance(fault, InvalidHandshake) else reason(fault)
        return VenueUnreachableError(f"the WebSocket handshake failed: {shown(detail)}")
    status = fault.response.status_code
    meaning = refusal(status)
    if meaning is Refusal.FORBIDDEN:
        return VenueForbiddenError(
            f"the venue refuses this address with HTTP {status}: its region or network is blocked"
        )
    if meaning in BUSY_S:
        after = "".join(
            fault.response.headers.get_all("Retry-After")[:1]
        )  # the header may come twice
        pause_s = float(after) if after.isascii() and after.isdigit() else BUSY_S[meaning]
        why = f"the venue refuses with HTTP {status}: too many requests from this address"
        return VenueBusyError(why, pause_s)
    return VenueUnreachableError(f"the venue answers the WebSocket handshake with HTTP {status}")


def _farewell(protocol: ClientProtocol) -> str:
    if protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
        return f"{protocol.parser_exc}"
    if protocol.close_rcvd is None:
        return "end of stream without a close frame"
    words = f" {protocol.close_rcvd.reason!r}" if protocol.close_rcvd.reason else ""
    return shown(f"code {protocol.close_rcvd.code}{words}")
