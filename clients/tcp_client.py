"""What the clients over TCP share: where the service is, what it is asked for, and the words for
what goes wrong on the way there."""

import ssl
from typing import Final, Unpack
from urllib.parse import urlsplit

from fanout.clients.client import Client, ClientOptions
from fanout.clients.outcomes import AddressError, DisconnectedError
from fanout.protocol.request import Position, Request, SlowPolicy, Start
from fanout.protocol.text import channel_fault

READ_BYTES: Final = 256 * 1024
"""Most taken from the socket in one read."""

FRAME_TIMEOUTS: Final = 2
"""So many times as long as a connection may be silent, one frame may take: beyond that its length
was corrupted on the way, and promises bytes that nobody sends. With 5 s the longest frame still
passes at 6.4 KiB a second."""

_TLS_ALERT: Final = b"\x15\x03"
"""How a server begins that was to hear TLS and did not."""


_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
"""What OpenSSL, by its version, calls an answer that is not TLS."""


class TcpOptions(ClientOptions, total=False):
    """What every client over TCP can be told. `NetworkClient` says what each of them means."""

    start: str | Position
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
        start: str | Position = "live",
        resume: bool = True,
        slow: str = "skip",
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """`url` is `tcp://HOST:PORT` or `tls://HOST:PORT`, with `/CHANNEL` behind it to read
        another channel than the service's first; anything else raises `AddressError`.

        `start` is where to begin: `"live"`, `"oldest"` for all that the service still has, or a
        client's `position`. What is gone of that comes as a `Loss`. After a disconnect the client
        goes on where it stopped, or, with `resume=False`, live. `slow` is what the service does
        with a client that falls off its log: `"skip"` tells it what it lost, `"disconnect"` ends
        the connection. `token` is the service's, if it wants one. `tls` is for certificates that
        this machine does not trust by itself. Raises `NotRepresentableError` for a token or a
        position that cannot be sent, and while it runs `RefusedError`, after the `End` that says
        why, if the service does not serve this client. `clients.client.Client` has the others.
        """
        request = Request(
            start=start if isinstance(start, Position) else Start(start),
            slow=SlowPolicy(slow),
            token=token,
            channel=channel_in(url),
        )
        super().__init__(url, request=request, resume=resume, **options)
        self._host, self._port, is_tls = parse_address(url)
        if tls is not None and not is_tls:
            raise AddressError(f"{url!r} does not speak TLS, and tls= is given: tls://HOST:PORT")
        self._tls = (tls or ssl.create_default_context()) if is_tls else None
        self._is_greeted = False
        self._frames = 0
        self._amid_frame_s = 0.0
        """How long reads have waited, and brought no whole frame; since the last one did."""

    def _is_connected(self) -> bool:
        # START and the header are for everybody. What follows them, within a second, is for who is
        # served; or it is an END.
        return self._is_over or self._subscription.is_answered

    def _hello(self) -> bytes:
        """What a connection begins with."""
        self._is_greeted, self._amid_frame_s = False, 0.0
        return self._subscription.request()

    def _receive(self, data: bytes, waited_s: float) -> None:
        """Take what a read brought, which waited for so long. Raises `PeerError`, as
        `Subscription.receive` does, and `DisconnectedError` for a frame that does not come to its
        end, however many bytes do. That this program itself was busy in between says nothing."""
        self._mark = None
        if not self._is_greeted:
            self._is_greeted = True
            if data.startswith(_TLS_ALERT):
                raise DisconnectedError("the service speaks TLS: tls:// instead of tcp://")
        self._subscription.receive(data)
        frames = self._subscription.frames
        if frames != self._frames:
            self._frames, self._amid_frame_s = frames, 0.0
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
        raise AddressError(
            f"{url!r} is not an address: tcp://HOST:PORT or tls://HOST:PORT is needed"
        )
    return host, port, parts.scheme == "tls"


def channel_in(url: str) -> str:
    """The channel that an address names; empty if it names none. Raises `AddressError`."""
    _, _, path = url.partition("://")[2].partition("/")
    channel = path.removesuffix("/")
    fault = channel_fault(channel) if channel else None
    if fault:
        raise AddressError(f"{url!r} names no channel that can be: {fault}")
    return channel


def no_connection(timeout_s: float) -> DisconnectedError:
    """The service did not answer in time, in words."""
    return DisconnectedError(f"no connection within {timeout_s:g} s")


def silence(timeout_s: float) -> DisconnectedError:
    """Not even a heartbeat came for so long, in words."""
    return DisconnectedError(f"silent for {timeout_s:g} s")


def no_whole_frame(passed_s: float) -> DisconnectedError:
    """Bytes came for so long, and no frame, in words."""
    return DisconnectedError(f"no whole frame in {passed_s:.0f} s")


def tls_failure(error: BaseException) -> DisconnectedError:
    """A TLS handshake that came to nothing, in words."""
    why = f"TLS handshake: {error}"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"the service's certificate is not trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        why = "the service does not speak TLS: tcp:// instead of tls://"
    elif isinstance(error, TimeoutError):
        why = "the service did not answer the TLS handshake"
    return DisconnectedError(why)
