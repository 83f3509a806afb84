"""The start of a client's connection: the TLS handshake, if the service uses TLS, and the request.

The client is not trusted yet. Its time and the length of its request are limited. A plain client at
a TLS port, and a TLS client at a plain one, get an error that names the mistake.
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
"""How long the service waits for a request. A client without one gets the default."""

REQUEST_S: Final = 5.0
"""How long a client has to complete a request, or to send one that is required."""

HANDSHAKE_S: Final = 5.0
"""How long a client has for the TLS handshake."""

_HANDSHAKE_BYTE: Final = b"\x16"
"""A client's first byte, if it speaks TLS. In a request it would announce 22 bytes, or 65,558."""

_HANDSHAKES_AT_ONCE: Final = 2
"""A handshake takes a millisecond or more of CPU. It runs in a thread, so that a crowd of new
clients does not delay trades."""


class NoTlsError(PeerError):
    """The client does not speak TLS, or the handshake failed."""


class IncompleteRequestError(MalformedError):
    """The client began a request and did not complete it in time."""


def load_tls(config: TcpConfig) -> ssl.SSLContext | None:
    """The server's TLS context, if TLS is configured. Raises `ConfigError`."""
    if config.tls_cert is None or config.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # Without it OpenSSL asks for an encrypted key's password at the terminal.
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
        return "the key and the certificate do not belong together"
    return "use a PEM certificate and its PEM key, which must not be encrypted"


class TlsGate:
    """Performs TLS handshakes with clients."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._limiter = trio.CapacityLimiter(_HANDSHAKES_AT_ONCE)

    async def enter(self, sock: socket.socket) -> ssl.SSLSocket:
        """The TLS socket to use instead of `sock`. Raises `NoTlsError`. If the client spoke no TLS
        at all, `sock` is still usable."""
        with trio.move_on_after(HANDSHAKE_S):
            await trio.lowlevel.wait_readable(sock)
            try:
                first = sock.recv(1, socket.MSG_PEEK)
            except OSError as error:
                raise NoTlsError(reason(error)) from error
            if first != _HANDSHAKE_BYTE:
                raise NoTlsError("this port speaks TLS: use tls:// instead of tcp://")
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
            raise NoTlsError(f"the TLS handshake failed: {reason(error)}") from error
        except trio.Cancelled:
            tls.close()
            raise


async def receive_some(sock: socket.socket) -> bytes:
    """The next bytes, up to 4 KiB; none at the end of the stream. Raises `OSError`.

    A cancellation loses nothing: bytes that were not returned can still be read.
    """
    await trio.lowlevel.checkpoint()  # a client that sends without pause must not block the loop
    while (data := receive_now(sock)) is None:
        await trio.lowlevel.wait_readable(sock)
    return data


def receive_now(sock: socket.socket) -> bytes | None:
    """`receive_some` without waiting: None if no bytes have arrived."""
    try:
        return sock.recv(4096)
    except (BlockingIOError, ssl.SSLWantReadError):
        return None


async def read_request(sock: socket.socket, *, is_needed: bool) -> Request:
    """A client's request; the default request if none arrives in time.

    With `is_needed` a client without a request is not served, so the service waits longer. Raises
    `PeerError` for a malformed or incomplete request, and `OSError` for a lost connection.
    """
    received = b""
    begun_s = trio.current_time()
    deadline_s = begun_s + (REQUEST_S if is_needed else SILENCE_S)
    while (request := _complete(received)) is None:
        data: bytes | None = None
        with trio.move_on_at(deadline_s):
            data = await receive_some(sock)
        if data is None:
            data = receive_now(sock)  # it may have arrived in time, and the service reads late
        if not data:
            return _unfinished(received)
        received += data
        deadline_s = begun_s + REQUEST_S
    return decode_request(request)


def _unfinished(received: bytes) -> Request:
    """The request of a client that sends no more bytes."""
    if received:
        raise IncompleteRequestError(
            f"request is cut short: {len(received):,} bytes of it came within {REQUEST_S:g} s"
        )
    return Request()


def _complete(received: bytes) -> bytes | None:
    """The request in the bytes received; None if it is not complete."""
    if received.startswith(_HANDSHAKE_BYTE + b"\x03"):
        raise MalformedError("this port does not speak TLS: use tcp:// instead of tls://")
    if len(received) < LENGTH_BYTES:
        return None
    length = int.from_bytes(received[:LENGTH_BYTES], "little")
    if not 0 < length <= MAX_REQUEST_BYTES:
        raise LimitExceededError(f"request of {length:,} bytes: 1 to {MAX_REQUEST_BYTES:,} allowed")
    end = LENGTH_BYTES + length
    return received[LENGTH_BYTES:end] if len(received) >= end else None
