"""A connection to a NATS server, and its errors in words."""

import logging
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fanout.bridge.nats.options import NatsOptions
from fanout.clients.nats_stream import abandon
from fanout.errors import ConfigError, EngineError, EngineForbiddenError
from fanout.protocol.errors import MissingPackageError, reason

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats

CONNECT_S: Final = 5.0
"""How long a server may take to answer."""

REQUEST_S: Final = 2.0
"""How long JetStream may take to answer. In a cluster nobody does while a stream has no leader."""

PING_S: Final = 5
"""How often the server is pinged. Two pings without an answer end the connection."""

_log = logging.getLogger(__name__)


def package() -> Any:
    """The module `nats`. Raises `MissingPackageError`."""
    try:
        import nats
    except ImportError as error:
        raise MissingPackageError(
            "the bridge needs nats-py, which is not installed: pip install 'fanout[nats]'"
        ) from error
    # It logs what it also raises, with tracebacks.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    return nats


@asynccontextmanager
async def connected(options: NatsOptions) -> AsyncIterator["Nats"]:
    """A connection that ends with its first error, and is not made anew behind our back: what was
    under way then, the stream decides. Raises `EngineError` and `ConfigError`."""
    nats = package()
    met: list[Exception] = []

    async def note(error: Exception) -> None:
        if not isinstance(error, nats.errors.NoServersError):  # which says nothing of why
            met.append(error)

    connection = nats.aio.client.Client()
    try:
        with in_words(options, met):
            await connection.connect(
                servers=list(options.urls),
                name="fanout bridge",
                allow_reconnect=False,
                # Of each server, before it gives up.
                max_reconnect_attempts=1,
                reconnect_time_wait=0.1,
                connect_timeout=CONNECT_S,
                ping_interval=PING_S,
                max_outstanding_pings=2,
                user_credentials=None if options.creds is None else _readable(options.creds),
                tls=_tls(options),
                error_cb=note,
                skip_subject_validation=True,
            )
        yield connection
    finally:
        with suppress(Exception):  # it may be gone already
            await connection.close()
        abandon(connection)


def _readable(path: str) -> str:
    """Raises `ConfigError` for a file that cannot be read."""
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"--creds {path}: {reason(error)}") from error
    return path


def _tls(options: NatsOptions) -> ssl.SSLContext | None:
    if not options.is_tls:
        return None
    try:
        return ssl.create_default_context(cafile=options.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-ca {options.tls_ca}: {reason(error)}") from error


@contextmanager
def in_words(options: NatsOptions, met: Sequence[Exception] = ()) -> Iterator[None]:
    """Turn the package's errors into ours. `met` are those that it met while it connected."""
    from nats import errors
    from nats.js import errors as js_errors

    server = options.server
    try:
        try:
            yield
        except errors.NoServersError as error:
            raise (met or [error])[-1] from None
    except errors.AuthorizationError as error:
        raise EngineForbiddenError(f"{server} refuses the user or the password") from error
    except js_errors.APIError as error:
        raise _api_error(server, error) from error
    except (errors.NoRespondersError, js_errors.NoStreamResponseError) as error:
        raise EngineError(f"{server}: JetStream does not answer") from error
    except errors.Error as error:
        words = " ".join(str(error).split()) or type(error).__name__
        if "authorization" in words.lower():
            raise EngineForbiddenError(f"{server} refuses the user or the password") from error
        raise EngineError(f"{server}: {words}") from error
    except TimeoutError as error:
        raise EngineError(f"{server} did not answer within {CONNECT_S:.0f} s") from error
    except OSError as error:
        raise EngineError(f"{server}: {reason(error)}") from error


def _api_error(server: str, error: Any) -> EngineError | ConfigError:
    words = str(error.description or error).strip()
    if error.code in (400, 403, 404, 409, 500):
        return ConfigError(f"{server}: JetStream refuses: {words}")
    return EngineError(f"{server}: {words}")
