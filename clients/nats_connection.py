"""A connection to a NATS server, and the channels that have a stream there.

nats-py reconnects by itself. That is switched off here: a lost connection ends this object, and the
client makes another one, as over TCP.
"""

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fanout.clients.nats_client import NatsAddress
from fanout.clients.outcomes import DisconnectedError, RefusedError, UnknownChannelError
from fanout.protocol.errors import MissingPackageError, reason
from fanout.protocol.jetstream import Subject, channel_of

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js.client import JetStreamContext

API: Final = "$JS.API"
"""The beginning of JetStream's own subjects."""

CLOSE_S: Final = 2.0
"""How long closing a connection may take."""

_NOT_ADMITTED: Final = re.compile(
    "authorization|authentication(?! timeout)|credentials", re.IGNORECASE
)
"""Words of errors after which another attempt is in vain."""


class NatsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection is made with."""

    address: NatsAddress
    prefix: str
    creds: str | None
    tls: ssl.SSLContext | None
    idle_timeout_s: float
    servers: list[str]
    """Those of the address, and others of the same cluster that a server has named."""


def require_package() -> None:
    """Raises `MissingPackageError` where nats-py is missing."""
    try:
        import nats  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "nats:// needs the package nats-py: pip install 'fanout[nats]'"
        ) from error


@contextmanager
def heeded() -> Iterator[None]:
    """Raise a cancellation of this task that comes within, and that nats-py forgets.

    nats-py waits with `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that
    comes together with the answer. It also takes some for a timeout.
    """
    task = asyncio.current_task()
    assert task is not None, "nats-py is awaited"
    before = task.cancelling()
    try:
        yield
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of nats-py into `DisconnectedError`, and heed cancellations."""
    from nats.errors import Error
    from nats.js.errors import APIError, ServiceUnavailableError

    try:
        with heeded():
            yield
    except TimeoutError as error:
        raise DisconnectedError("the NATS server does not answer") from error
    except ServiceUnavailableError as error:
        why = error.description or "it is off, or has no leader"
        raise DisconnectedError(f"JetStream is not available: {why}") from error
    except APIError as error:
        raise DisconnectedError(f"JetStream: {error.description or error}") from error
    except Error as error:
        raise DisconnectedError(words_of(error)) from error


def words_of(error: Exception) -> str:
    """nats-py's words for an error, in one line."""
    return " ".join(str(error).removeprefix("nats: ").strip("'").split()) or type(error).__name__


class NatsConnection:
    """A connection to a NATS server."""

    def __init__(self, settings: NatsSettings, name: str = "fanout") -> None:
        """`name` is for who looks at the server."""
        self._settings = settings
        self._name = name
        self.news = asyncio.Event()
        """Set when something has arrived, and when the connection is lost."""
        self.fault: str | None = None
        """Why the connection is lost."""
        self._is_begun = False
        self.client: Client
        self.jetstream: JetStreamContext

    async def connect(self) -> None:
        """Connect to the first server that can be reached. Raises `RefusedError` if it does not let
        us in, and `DisconnectedError` or `OSError` if there is none."""
        *others, last = self._settings.servers
        for server in others:
            with suppress(OSError):  # and `DisconnectedError`, which is one
                await self._connect(server)
                return
        await self._connect(last)

    async def _connect(self, server: str) -> None:
        from nats.aio.client import Client

        settings, address = self._settings, self._settings.address
        is_amid = True

        async def failed(error: Exception) -> None:
            if is_amid:
                raise error  # else nats-py would try the same address again, after a pause

        async def closed() -> None:
            error = self.client.last_error
            words = f": {words_of(error)}" if error is not None else ""
            self.fail(f"the connection to NATS was lost{words}")

        options: dict[str, Any] = {}
        if address.user:
            options["user"] = self._secured(address.user)
            options["password"] = self._secured(address.password)
        if settings.creds is not None:
            options["user_credentials"] = _readable(settings.creds)
        if address.is_tls:
            options["tls"] = settings.tls or ssl.create_default_context()
        self.client = Client()
        try:
            with translated():
                await self.client.connect(
                    server,
                    name=self._name,
                    allow_reconnect=False,
                    skip_subject_validation=True,
                    connect_timeout=settings.idle_timeout_s,  # type: ignore[arg-type]
                    error_cb=failed,
                    closed_cb=closed,
                    **options,
                )
            self._require_tls()
        except ssl.SSLError as error:
            self._abandon()
            why = getattr(error, "verify_message", "") or reason(error)
            raise DisconnectedError(f"the TLS handshake with NATS failed: {why}") from error
        except DisconnectedError as error:
            self._abandon()
            if _NOT_ADMITTED.search(str(error)):
                raise RefusedError(f"{address.shown}: the NATS server refuses: {error}") from error
            raise
        except BaseException:
            self._abandon()
            raise
        self._is_begun = True
        is_amid = False
        self.jetstream = self.client.jetstream(timeout=settings.idle_timeout_s)
        scheme = server.partition("://")[0]
        named = [f"{scheme}://{each.netloc}" for each in self.client.discovered_servers]
        settings.servers.extend(each for each in named if each not in settings.servers)

    def fail(self, why: str) -> None:
        """The connection is lost."""
        self.fault = self.fault or why
        self.news.set()

    def _secured(self, secret: str) -> Callable[[], str]:
        """A secret that is given away only to a server that speaks TLS, if that was asked for."""

        def tell() -> str:
            self._require_tls()
            return secret

        return tell

    def _require_tls(self) -> None:
        is_secured = self.client._server_info.get("tls_required", False)
        if self._settings.address.is_tls and not is_secured:
            raise DisconnectedError("the NATS server does not speak TLS: use nats://")

    def _abandon(self) -> None:
        """Close the socket of a connection that failed as it was made. nats-py has no tasks yet
        then, and its own way to close waits for ever where TLS has failed."""
        writer = getattr(self.client._transport, "_bare_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def close(self) -> None:
        """Close the connection, if there is one."""
        from nats.errors import Error

        if self._is_begun:
            try:
                with suppress(OSError, Error):
                    async with asyncio.timeout(CLOSE_S):
                        await self.client.close()
            finally:
                self._abandon()


def _readable(path: str) -> str:
    """Raises `RefusedError` for a file of credentials that cannot be read."""
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        raise RefusedError(f"credentials {path}: {reason(error)}") from error


async def channels_at(connection: NatsConnection, settings: NatsSettings) -> list[str]:
    """The channels that have a stream, in order of their names. Raises `UnknownChannelError` if
    there is none."""
    subject = f"{settings.prefix}.*.{Subject.HEADER.value}"
    names: list[str] = []
    while True:
        wanted = json.dumps({"subject": subject, "offset": len(names)})
        with translated():
            answer = await connection.jetstream._api_request(
                f"{API}.STREAM.NAMES", wanted.encode(), timeout=settings.idle_timeout_s
            )
        more = answer.get("streams") or ()
        names += more
        if not more or len(names) >= answer.get("total", 0):
            break
    channels = {channel_of(settings.prefix, each) for each in names} - {None}
    if not channels:
        raise UnknownChannelError(
            f"{settings.address.shown}: no stream has the prefix {settings.prefix}"
        )
    return sorted(each for each in channels if each is not None)
