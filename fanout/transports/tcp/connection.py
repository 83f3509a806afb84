"""One client's connection: its socket, the unsent rest of its last piece, and when to give it up.

Sending is one non-blocking call. If the socket does not take everything, the client gets a task of
its own, which waits for the socket and sends until the client has caught up. No other client waits
for it. A client that takes nothing for `stall_timeout_s` is closed. The kernel finds clients that
vanished: `tune` sets its timeouts.

A client that asks for what is older than the log gets it first, by `replay`, in such a task too.
"""

import fcntl
import logging
import socket
import ssl
import struct
import termios
from contextlib import suppress
from typing import Final

import trio

from fanout.channel.log import Lag
from fanout.channel.reader import CHUNK_BYTES
from fanout.protocol.constants import EndReason
from fanout.stats.anomalies import Anomalies
from fanout.stats.snapshots import ConsumerStats
from fanout.transports.tcp.broadcaster import Broadcaster, LogReader
from fanout.transports.tcp.greeting import receive_some
from fanout.transports.tcp.past import Replay

_LOG = logging.getLogger("fanout")

SEND_BUFFER_BYTES: Final = 256 * 1024
"""Send buffer of a client's socket. By default the kernel keeps megabytes for each client that
does not read."""

UNSENT_BYTES: Final = 16 * 1024
"""Most bytes that the kernel takes beyond those that are on their way to the client. This keeps the
connection busy. With more, bytes would only wait longer in the kernel."""

MAX_INPUT_BYTES: Final = 64 * 1024
"""Most bytes that a client may send. No request is that long, and reading a flood costs time."""

GOODBYE_S: Final = 2.0
"""How long a client has to read its END and to close, before the service closes."""

SLOW_MS: Final = 1_000
"""Beyond this lag a client is reported as slow."""

QUICK_MS: Final = 100
"""Below this lag a slow client is reported as keeping up again."""

_KEEPALIVES: Final = 3
"""Unanswered keep-alives after which the kernel gives up a silent connection."""


class Connection:
    """One client. The connection lives as long as its nursery: cancelling that closes it."""

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        reader: LogReader,
        nursery: trio.Nursery,
        *,
        stall_timeout_s: float,
        broadcaster: Broadcaster,
        oddities: Anomalies,
    ) -> None:
        self.name = name
        self.reader = reader
        self.descriptor = sock.fileno()
        self.is_plain = not isinstance(sock, ssl.SSLSocket)
        """Whether bytes can be written to the descriptor directly: without TLS."""
        self.is_catching_up = False
        self.is_replaying = False
        """Whether the client is being sent what is older than the log."""
        self.is_finished = False
        """Whether everything has been sent, the END included."""
        self._socket = sock
        self._nursery = nursery
        self._stall_timeout_s = stall_timeout_s
        self._broadcaster = broadcaster
        self._oddities = oddities
        self._unsent = memoryview(b"")
        self._is_half_closed = False
        """Whether the client has closed its sending side."""
        self._came_s = 0.0
        self._has_kept_up = False
        self._is_slow = False
        self._lost_logged = 0
        """Losses that the log has reported."""

    @property
    def lag(self) -> Lag:
        """How far the client is behind."""
        return self.reader.lag(len(self._unsent))

    def stats(self, now_s: float, lag: Lag) -> ConsumerStats:
        """The client's row in the statistics, with its `lag`."""
        is_replaying = self.is_replaying
        return ConsumerStats(
            address=self.name,
            channel=self.reader.channel,
            age_s=now_s - self._came_s,
            blocks=self.reader.blocks,
            lost=self.reader.lost,
            lag_blocks=None if is_replaying else lag.blocks,
            lag_bytes=len(self._unsent) if is_replaying else lag.bytes,
            lag_ms=None if is_replaying else lag.ms,
            is_replaying=is_replaying,
        )

    def close(self) -> None:
        self._nursery.cancel_scope.cancel()

    def greet(self) -> None:
        """Send only the greeting. `begin` sends more."""
        self._unsent = memoryview(self.reader.greeting)
        self._send_unsent()

    def begin(self, frames: bytes) -> None:
        """Send these frames, then everything from the client's position on."""
        self._came_s = trio.current_time()
        self._unsent = memoryview(bytes(self._unsent) + frames)
        self._broadcaster.join(self)
        self.push()

    def replay(self, replay: Replay) -> None:
        """Send what is older than the log, then everything from there on. A task of the client's
        own does it."""
        self._came_s = trio.current_time()
        self.is_replaying = self.is_catching_up = True
        self._broadcaster.join(self)
        self._broadcaster.fall_behind(self)
        self._nursery.start_soon(self._replay, replay)

    async def _replay(self, replay: Replay) -> None:
        frames = await replay.run(self._deliver)
        self.is_replaying = False
        self._unsent = memoryview(frames)
        await self._catch_up()

    def say(self, frames: memoryview) -> None:
        """Send frames that are not in the log. The client has been sent all of the log."""
        assert not self._unsent, "a client that is not catching up was sent everything"
        self.reader.part(self.reader.cursor.position)  # they hold no block of the log
        self._unsent = frames
        self.push()

    def push(self) -> None:
        """Send what the client has not been sent, as far as its socket takes it now. A task of the
        client's own sends the rest."""
        self._broadcaster.part(self)
        if not self._send():
            self._fall_behind()

    def fall_short(self, piece: bytes, taken: int) -> None:
        """The client's socket took only `taken` bytes of a piece that clients share. -1 stands for
        a broken connection."""
        if taken < 0:
            self.close()
        else:
            self._unsent = memoryview(piece)[taken:]
            self._fall_behind()

    def _fall_behind(self) -> None:
        self.is_catching_up = True
        self._broadcaster.fall_behind(self)
        self._nursery.start_soon(self._catch_up)

    def _send(self) -> bool:
        """Send once, without blocking. Returns whether everything has been sent."""
        reader = self.reader
        if not self._unsent and not reader.is_over:
            self._unsent = memoryview(reader.next_piece())
        if self._unsent:
            self._send_unsent()
        if self._unsent:
            return False
        if reader.is_over:
            self._finish()
            return True
        if not reader.has_everything:
            return False
        if reader.log.closed:
            self._finish()
        return True

    def _send_unsent(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._unsent = memoryview(b"")
            self.close()
        else:
            self._unsent = self._unsent[sent:]

    async def _deliver(self, frames: bytes) -> None:
        """Send these frames at the client's pace, `CHUNK_BYTES` at a time in turns with others."""
        for start in range(0, len(frames), CHUNK_BYTES):
            self._unsent = memoryview(frames)[start : start + CHUNK_BYTES]
            while self._unsent:
                await self._writable()
                await self._broadcaster.turns.replay(self._send_unsent)

    async def _catch_up(self) -> None:
        while self.is_catching_up:
            await self._writable()
            async with self._broadcaster.turns.one:
                self.is_catching_up = not self._send()
        self._broadcaster.catch_up(self)

    async def _writable(self) -> None:
        """Wait until the socket takes more. Closes the connection if the client takes nothing for
        `stall_timeout_s`, and is cancelled then."""
        while True:
            waiting = _unacknowledged_bytes(self._socket)
            with trio.move_on_after(self._stall_timeout_s):
                await trio.lowlevel.wait_writable(self._socket)
                return
            # A socket counts as writable when much of its buffer is free. A client that takes a
            # little at a time is slow, not stuck.
            if _unacknowledged_bytes(self._socket) >= waiting:
                why = f"it took nothing for {self._stall_timeout_s:g} s"
                self._oddities.note("client closed", f"{self.name}: {why}")
                self._reset()
                await trio.sleep_forever()

    def _reset(self) -> None:
        """Close at once, and let the kernel drop what it holds for the client."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _finish(self) -> None:
        """Everything is sent: end the stream, and leave it to the client to close first. Otherwise
        a reset could overtake the END."""
        if self.is_finished:
            return
        self.is_finished = True
        self._broadcaster.leave(self)
        if self.reader.fell_off:
            self._oddities.note("client closed", f"{self.name}: {self.reader.fell_off}")
        self._nursery.cancel_scope.deadline = trio.current_time() + GOODBYE_S
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                with suppress(ssl.SSLError, ValueError):
                    self._socket.unwrap()  # sends close_notify, and does not wait for the answer
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
        except OSError:
            self.close()
        if self._is_half_closed:
            self.close()

    async def drop_input(self) -> None:
        """Read what the client sends, and drop it. Returns when both sides have finished, or the
        connection is broken.

        A client may close its sending side and read on, so the end of its stream alone does not
        finish the connection.
        """
        received = 0
        while received <= MAX_INPUT_BYTES:
            try:
                data = await receive_some(self._socket)
            except OSError:
                return
            if not data:
                self._is_half_closed = True
                if self.is_finished:
                    return
                await trio.sleep_forever()
            received += len(data)
        await self._dismiss()

    async def _dismiss(self) -> None:
        """Send END to a client that sent more than `MAX_INPUT_BYTES`, and read no more from it."""
        if self.is_catching_up or self.is_finished:
            return  # its socket is full, or it has its END already
        why = f"more than {MAX_INPUT_BYTES:,} bytes were sent here"
        self.say(memoryview(self.reader.end(EndReason.BAD_REQUEST, retry_ms=None, why=why)))
        await trio.sleep_forever()

    def look(self) -> None:
        """Log once when the client becomes slow, and once when it keeps up again.

        A client that requested old blocks starts far behind. It is not slow before it has caught
        up once.
        """
        if self.is_replaying:
            return
        lag = self.lag
        if self._is_slow and lag.ms <= QUICK_MS:
            lost = self.reader.lost - self._lost_logged
            self._is_slow, self._lost_logged = False, self.reader.lost
            _LOG.info("%s keeps up again; it lost %s trades and events", self.name, f"{lost:,}")
        elif not self._is_slow and self._is_behind(lag):
            self._is_slow = True
            _LOG.warning(
                "%s is slow: %s blocks, %s bytes, %s ms behind",
                self.name,
                *(f"{each:,}" for each in (lag.blocks, lag.bytes, lag.ms)),
            )
        self._has_kept_up |= lag.ms <= QUICK_MS

    def _is_behind(self, lag: Lag) -> bool:
        return self.reader.lost > self._lost_logged or (self._has_kept_up and lag.ms > SLOW_MS)


def tune(sock: socket.socket, *, stall_timeout_s: float) -> None:
    """Limit what the kernel keeps for a client, and how long it waits for a silent one.

    A heartbeat goes out every second, so a vanished client leaves unacknowledged bytes, and
    TCP_USER_TIMEOUT ends the connection. It is a second longer than `stall_timeout_s`, after which
    the service closes the connection itself and logs the reason. Keep-alives cover the time before
    the first heartbeat.
    """
    sock.setblocking(False)
    probe_s = max(1, int(stall_timeout_s / (_KEEPALIVES + 1)))
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES),
        (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, probe_s),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, probe_s),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVES),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall_timeout_s * 1000) + 1_000),
    ):
        with suppress(OSError):  # the client is gone already
            sock.setsockopt(level, option, value)


def hang_up(sock: socket.socket) -> None:
    """End a client's connection, even if a forked process still has a copy of the socket: closing
    ends it only with the last copy. Does nothing if the connection has ended already."""
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _unacknowledged_bytes(sock: socket.socket) -> int:
    """Bytes that the kernel holds for the client."""
    count = bytearray(4)
    fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return int.from_bytes(count, "little")
