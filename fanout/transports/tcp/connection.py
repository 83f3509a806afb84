"""One client's connection: its socket, the unsent rest of its last piece, and when to give it up.

Sending is one non-blocking call. If the socket does not take everything, a task of the client's own
waits for the socket and sends until the client has caught up; nobody else waits for it. A client
that takes nothing at all is closed after a while. So is one that vanished without a word: the
kernel is told to find out.
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
from fanout.protocol.constants import EndReason
from fanout.stats.anomalies import Anomalies
from fanout.stats.snapshots import ConsumerStats
from fanout.transports.tcp.broadcaster import Broadcaster, LogReader
from fanout.transports.tcp.greeting import receive_some

_LOG = logging.getLogger("fanout")

SEND_BUFFER_BYTES: Final = 256 * 1024
"""Send buffer of a client's socket. By default the kernel takes megabytes for each client that
does not read."""

UNSENT_BYTES: Final = 16 * 1024
"""What the kernel takes beyond the bytes that are on their way to the client. This is enough to
keep the client's kernel busy. More would only make the waiting bytes older."""

MAX_INPUT_BYTES: Final = 64 * 1024
"""Most that a client may send. No request is that long, and a flood would cost time."""

GOODBYE_S: Final = 2.0
"""How long a client has to read its END, and to close, before we do."""

SLOW_MS: Final = 1_000
"""Beyond this lag a client is reported as slow."""

QUICK_MS: Final = 100
"""Below this lag a slow client is reported as keeping up again."""

_KEEPALIVES: Final = 3
"""Unanswered keep-alives after which the kernel gives up a silent connection."""


class Connection:
    """One client. The nursery is its lifetime: to cancel that is to close the connection."""

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
        """Whether bytes may be sent to the descriptor as they are."""
        self.is_catching_up = False
        self.is_finished = False
        """Everything is sent, the END included."""
        self._socket = sock
        self._nursery = nursery
        self._stall_timeout_s = stall_timeout_s
        self._broadcaster = broadcaster
        self._oddities = oddities
        self._unsent = memoryview(b"")
        self._says_no_more = False
        """It has closed its sending side."""
        self._came_s = 0.0
        self._has_kept_up = False
        self._is_slow = False
        self._lost_said = 0

    @property
    def lag(self) -> Lag:
        """How far the client is behind."""
        return self.reader.lag(len(self._unsent))

    def stats(self, now_s: float, lag: Lag) -> ConsumerStats:
        """Of a client that is so far behind."""
        return ConsumerStats(
            address=self.name,
            channel=self.reader.channel,
            age_s=now_s - self._came_s,
            blocks=self.reader.blocks,
            lost=self.reader.lost,
            lag_blocks=lag.blocks,
            lag_bytes=lag.bytes,
            lag_ms=lag.ms,
        )

    def close(self) -> None:
        self._nursery.cancel_scope.cancel()

    def greet(self) -> None:
        """Send the greeting, and nothing else as yet."""
        self._unsent = memoryview(self.reader.greeting)
        self._send_unsent()

    def begin(self, frames: bytes) -> None:
        """Send these frames, and then what follows at the client's place."""
        self._came_s = trio.current_time()
        self._unsent = memoryview(bytes(self._unsent) + frames)
        self._broadcaster.join(self)
        self.push()

    def say(self, frames: memoryview) -> None:
        """Send frames that are not in the log to a client that was sent all of the log."""
        assert not self._unsent, "a client that is not catching up was sent everything"
        self._unsent = frames
        self.push()

    def push(self) -> None:
        """Send what the client has not seen, as far as its socket takes it now. A task of the
        client's sends the rest."""
        self._broadcaster.part(self)
        if not self._send():
            self._fall_behind()

    def fall_short(self, piece: bytes, taken: int) -> None:
        """The client's socket took so many bytes of a shared piece; -1 if it is broken."""
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
        """One non-blocking send. Whether there is nothing left to be sent."""
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
        if reader.cursor.position != reader.log.end:
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

    async def _catch_up(self) -> None:
        while self.is_catching_up:
            if not await self._writable():
                why = f"it took nothing for {self._stall_timeout_s:g} s"
                self._oddities.note("client closed", f"{self.name}: {why}")
                self._reset()
                return
            async with self._broadcaster.turns:
                self.is_catching_up = not self._send()
        self._broadcaster.catch_up(self)

    async def _writable(self) -> bool:
        """Wait until the socket takes more. False if the client takes nothing for too long."""
        while True:
            waiting = _unacknowledged_bytes(self._socket)
            with trio.move_on_after(self._stall_timeout_s):
                await trio.lowlevel.wait_writable(self._socket)
                return True
            # A socket counts as writable when much of its buffer is free. A client that takes a
            # little at a time is slow, not stuck.
            if _unacknowledged_bytes(self._socket) >= waiting:
                return False

    def _reset(self) -> None:
        """Close at once, and have the kernel forget what it holds for the client."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _finish(self) -> None:
        """Everything is sent: let the client read to the end of the stream. It closes first, and
        we only after it, so that no reset overtakes the END."""
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
        if self._says_no_more:
            self.close()

    async def drop_input(self) -> None:
        """Read what the client sends, and drop it. Returns when the connection is finished on both
        sides or broken.

        The end of its stream alone is no reason: a reader may close its sending side and read on.
        """
        received = 0
        while received <= MAX_INPUT_BYTES:
            try:
                data = await receive_some(self._socket)
            except OSError:
                return
            if not data:
                self._says_no_more = True
                if self.is_finished:
                    return
                await trio.sleep_forever()
            received += len(data)
        await self._dismiss()

    async def _dismiss(self) -> None:
        """Send END to a client that sends more than it may, and read no more from it."""
        if self.is_catching_up or self.is_finished:
            return  # it takes nothing either, or has its END already
        why = f"more than {MAX_INPUT_BYTES:,} bytes were sent here"
        self.say(memoryview(self.reader.end(EndReason.BAD_REQUEST, retry_ms=None, why=why)))
        await trio.sleep_forever()

    def look(self) -> None:
        """Report when the client becomes slow, and when it keeps up again, once each.

        A client that asked for old blocks is behind by its own wish until it has caught up once.
        """
        lag = self.lag
        if self._is_slow and lag.ms <= QUICK_MS:
            lost = self.reader.lost - self._lost_said
            self._is_slow, self._lost_said = False, self.reader.lost
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
        return self.reader.lost > self._lost_said or (self._has_kept_up and lag.ms > SLOW_MS)


def tune(sock: socket.socket, *, stall_timeout_s: float) -> None:
    """Limit what the kernel keeps for a client, and how long it waits for a silent one.

    A heartbeat goes out every second, so TCP_USER_TIMEOUT decides: a second longer than our own
    wait, which can log a reason. Keep-alives cover the time before the first heartbeat.
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
    """End a client's connection, also where a forked process still has a copy of the socket: the
    last copy alone would end it. A socket that was reset or has gone already is left alone."""
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _unacknowledged_bytes(sock: socket.socket) -> int:
    """Bytes that the kernel holds for the client."""
    count = bytearray(4)
    fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return int.from_bytes(count, "little")
