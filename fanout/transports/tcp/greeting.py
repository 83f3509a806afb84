"""What passes before a client's data begins: TLS, if it is spoken here, and what it asks for.

A stranger speaks here. Its time and the length of what it says are bounded, and what cannot be
understood is answered in words that fit what it seems to be: a plain client at a TLS port, a TLS
client at a plain one.
"""

import socket
import ssl
from typing import Final

import trio

from fanout.errors import ConfigError
from fanout.protocol.constants import LENGTH_BYTES
from fanout.protocol.errors import LimitExceededError, MalformedError, PeerError, reason
from fanout.protocol.request import MAX_REQUEST_BYTES, Request, decode_request
from fanout.transports.tcp.config import TcpConfig

SILENCE_S: Final = 0.1
"""How long a client that has nothing to ask is waited for."""

REQUEST_S: Final = 5.0
"""How long a client has for a request that it has begun, or without which it is not served."""

HANDSHAKE_S: Final = 5.0
"""How long a client has for the TLS handshake."""

_HANDSHAKE_BYTE: Final = b"\x16"
"""A client's first byte, if it speaks TLS; it would be a request of 22 bytes or 65,558."""

_HANDSHAKES_AT_ONCE: Final = 2
"""A handshake takes a millisecond or more of arithmetic. A thread does it, so that clients who
come in a rush do not hold up the trades."""


class NoTlsError(PeerError):
    """The client does not speak TLS, or not in a way that leads anywhere."""


class IncompleteRequestError(MalformedError):
    """The client has begun a request, and not completed it in time."""


def load_tls(config: TcpConfig) -> ssl.SSLContext | None:
    """The server's side of TLS, if it is asked for. Raises `ConfigError`."""
    if config.tls_cert is None or config.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # An encrypted key would have a password asked for at the terminal.
        context.load_cert_chain(config.tls_cert, config.tls_key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot use --tls-cert {config.tls_cert} with --tls-key {config.tls_key}: "
            f"{_why_unusable(error)}"
        ) from error
    return context


def _why_unusable(error: Exception) -> str:
    if not isinstance(error, ssl.SSLError):
        return reason(error)
    if error.reason == "KEY_VALUES_MISMATCH":
        return "they do not belong together"
    return "a PEM certificate and its PEM key are needed, the key not encrypted"


class TlsGate:
    """Takes clients through the handshake."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._limiter = trio.CapacityLimiter(_HANDSHAKES_AT_ONCE)

    async def enter(self, sock: socket.socket) -> ssl.SSLSocket:
        """The socket to be used instead. Raises `NoTlsError`; the one that was given is as it was
        if the client spoke no TLS at all."""
        with trio.move_on_after(HANDSHAKE_S):
            await trio.lowlevel.wait_readable(sock)
            try:
                first = sock.recv(1, socket.MSG_PEEK)
            except OSError as error:
                raise NoTlsError(reason(error)) from error
            if first != _HANDSHAKE_BYTE:
                raise NoTlsError("TLS is spoken here: tls:// instead of tcp://")
            return await self._shake_hands(sock)
        raise NoTlsError(f"no TLS handshake within {HANDSHAKE_S:g} s")

    async def _shake_hands(self, sock: socket.socket) -> ssl.SSLSocket:
        try:
            tls = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            raise NoTlsError(reason(error)) from error
        try:
            while True:
                try:
                    await trio.to_thread.run_sync(tls.do_handshake, limiter=self._limiter)
                    return tls
                except ssl.SSLWantReadError:
                    await trio.lowlevel.wait_readable(tls)
                except ssl.SSLWantWriteError:
                    await trio.lowlevel.wait_writable(tls)
        except OSError as error:
            tls.close()
            raise NoTlsError(f"TLS handshake: {reason(error)}") from error
        except trio.Cancelled:
            tls.close()
            raise


async def receive_some(sock: socket.socket) -> bytes:
    """What has come, up to 4 KiB; nothing at the end of the stream. Raises `OSError`.

    A cancellation loses nothing: what it has not given is still there to be read.
    """
    await trio.lowlevel.checkpoint()  # one that sends without end must not keep us here
    while (data := receive_now(sock)) is None:
        await trio.lowlevel.wait_readable(sock)
    return data


def receive_now(sock: socket.socket) -> bytes | None:
    """`receive_some` without waiting: None if nothing has come."""
    try:
        return sock.recv(4096)
    except (BlockingIOError, ssl.SSLWantReadError):
        return None


async def read_request(sock: socket.socket, *, is_needed: bool) -> Request:
    """What a client asks for; the plain request if it says nothing in time, or no more.

    `is_needed`: a client that says nothing will not be served, and is waited for longer. Raises
    `PeerError` for what is no request, or an incomplete one, and `OSError` if it is gone.
    """
    received = b""
    begun_s = trio.current_time()
    deadline_s = begun_s + (REQUEST_S if is_needed else SILENCE_S)
    while (request := _complete(received)) is None:
        data: bytes | None = None
        with trio.move_on_at(deadline_s):
            data = await receive_some(sock)
        if data is None:
            data = receive_now(sock)  # it may have come in time, and we were late to look
        if not data:
            return _unfinished(received)
        received += data
        deadline_s = begun_s + REQUEST_S
    return decode_request(request)


def _unfinished(received: bytes) -> Request:
    """What is meant by one who says no more."""
    if received:
        raise IncompleteRequestError(
            f"request is cut short: {len(received):,} bytes of it came within {REQUEST_S:g} s"
        )
    return Request()


def _complete(received: bytes) -> bytes | None:
    """The request in what has been received; None if there is more to come."""
    if received.startswith(_HANDSHAKE_BYTE + b"\x03"):
        raise MalformedError("TLS is not spoken here: tcp:// instead of tls://")
    if len(received) < LENGTH_BYTES:
        return None
    length = int.from_bytes(received[:LENGTH_BYTES], "little")
    if not 0 < length <= MAX_REQUEST_BYTES:
        raise LimitExceededError(f"request of {length:,} bytes: 1 to {MAX_REQUEST_BYTES:,} allowed")
    end = LENGTH_BYTES + length
    return received[LENGTH_BYTES:end] if len(received) >= end else None
