"""The common part of the clients over TCP: the service's address, the request, and the errors of
connecting."""

import ssl
from typing import Final, Unpack
from urllib.parse import urlsplit

from fanout.clients.client import Client, ClientOptions
from fanout.clients.outcomes import AddressError, DisconnectedError, without_password
from fanout.protocol.request import Moment, Position, Request, SlowPolicy, Start
from fanout.protocol.text import channel_fault

READ_BYTES: Final = 256 * 1024
"""Most taken from the socket in one read."""

FRAME_TIMEOUTS: Final = 2
"""One frame may take this many times the longest silence. If it takes longer, its length was
corrupted on the way, and announces bytes that nobody sends. With 5 s the longest frame still passes
at 6.4 KiB a second."""

_TLS_ALERT: Final = b"\x15\x03"
"""First bytes of a TLS server's answer to a client that does not speak TLS."""


_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
"""OpenSSL's names for an answer that is not TLS; they depend on its version."""


class TcpOptions(ClientOptions, total=False):
    """Options of every client over TCP. `NetworkClient` describes them."""

    start: str | Position | Moment
    resume: bool
    slow: str
    token: str | None
    tls: ssl.SSLContext | None


class NetworkClient(Client):
    """A subscriber over TCP."""

    def __init__(
        self,
        url: str,
        *,
        start: str | Position | Moment = "live",
        resume: bool = True,
        slow: str = "skip",
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """`url` is `tcp://HOST:PORT` or `tls://HOST:PORT`, followed by `/CHANNEL` for another
        channel than the service's first. Any other URL raises `AddressError`.

        `start` is where to begin: `"live"`, `"oldest"` for all records that the service still has
        of its present epoch, a client's `position`, or a `Moment` for the first record at or after
        a time. The service reports records that it no longer has as a `Loss`; of a time before its
        oldest record nothing counts as lost. A service with a journal also has the records of
        earlier epochs. It sends those of one epoch over one connection, and then the client
        connects again by itself for the next epoch.

        After a disconnect the client resumes where it stopped, or, with `resume=False`, at the
        newest record. `slow` is for a client that is lapped: with `"skip"` the service reports what
        it lost, with `"disconnect"` it ends the connection. `token` is for a service that requires
        one. `tls` is for certificates that this machine does not trust by default.

        Raises `NotRepresentableError` for a token or a position that cannot be sent. If the
        service refuses this client, `RefusedError` follows the `End` that gives the reason.
        `fanout.clients.client.Client` has the other parameters.
        """
        request = Request(
            start=start if isinstance(start, Position | Moment) else Start(start),
            slow=SlowPolicy(slow),
            token=token,
            channel=channel_in(url),
        )
        super().__init__(url, request=request, resume=resume, **options)
        self._host, self._port, is_tls = parse_address(url)
        if tls is not None and not is_tls:
            raise AddressError(
                f"tls= is given, but {url!r} is not a TLS address: use tls://HOST:PORT"
            )
        self._tls = (tls or ssl.create_default_context()) if is_tls else None
        self._is_greeted = False
        self._amid_frame_s = 0.0
        """Time that reads have waited since the last whole frame."""

    def _is_connected(self) -> bool:
        # The service sends START and the header to everybody. A client that it serves gets the next
        # frame within a second; any other gets an END.
        return self._is_over or self._subscription.is_answered

    def _hello(self) -> bytes:
        """The request, with which a connection begins."""
        self._is_greeted, self._amid_frame_s = False, 0.0
        return self._subscription.request()

    def _receive(self, data: bytes, waited_s: float) -> None:
        """Take the bytes of a read that waited for `waited_s`. Raises `PeerError`, as
        `Subscription.receive` does, and `DisconnectedError` for a frame that takes too long. Time
        that this program spent elsewhere does not count."""
        self._mark = None
        if not self._is_greeted:
            self._is_greeted = True
            if data.startswith(_TLS_ALERT):
                raise DisconnectedError("the service speaks TLS: use tls:// instead of tcp://")
        if self._subscription.receive(data):
            self._amid_frame_s = 0.0
            return
        self._amid_frame_s += waited_s
        if self._amid_frame_s > FRAME_TIMEOUTS * self._idle_timeout_s:
            raise no_whole_frame(self._amid_frame_s)


def parse_address(url: str) -> tuple[str, int, bool]:
    """Host and port of `tcp://HOST:PORT` or `tls://HOST:PORT`, with or without a channel, and
    whether it is TLS. Raises `AddressError`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:  # UnicodeError among them
        host, port = None, None
    if not host or not port or parts.scheme not in ("tcp", "tls"):
        # It may be one of NATS whose scheme was forgotten, with a password.
        raise AddressError(
            f"{without_password(url)!r} is not an address: use tcp://HOST:PORT or tls://HOST:PORT"
        )
    return host, port, parts.scheme == "tls"


def channel_in(url: str) -> str:
    """The channel that an address names; empty if it names none. Raises `AddressError`."""
    _, _, path = url.partition("://")[2].partition("/")
    channel = path.removesuffix("/")
    fault = channel_fault(channel) if channel else None
    if fault:
        raise AddressError(f"{without_password(url)!r} does not end with a channel name: {fault}")
    return channel


def no_connection(timeout_s: float) -> DisconnectedError:
    """The error where the service did not answer in time."""
    return DisconnectedError(f"no connection within {timeout_s:g} s")


def silence(timeout_s: float) -> DisconnectedError:
    """The error where not even a heartbeat came."""
    return DisconnectedError(f"the service was silent for {timeout_s:g} s")


def no_whole_frame(passed_s: float) -> DisconnectedError:
    """The error where bytes came, but no whole frame."""
    return DisconnectedError(f"no whole frame in {passed_s:.0f} s")


def tls_failure(error: BaseException) -> DisconnectedError:
    """The error where the TLS handshake failed."""
    why = f"the TLS handshake failed: {error}"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"the service's certificate is not trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        why = "the service does not speak TLS: use tcp:// instead of tls://"
    elif isinstance(error, TimeoutError):
        why = "the service did not answer the TLS handshake"
    return DisconnectedError(why)
