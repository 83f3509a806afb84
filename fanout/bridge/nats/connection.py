"""A connection to a NATS server, and its errors in words."""

import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fanout.bridge.nats.options import NatsOptions
from fanout.clients.nats_connection import (
    NatsConnection,
    NatsSettings,
    heeded,
    require_package,
    words_of,
)
from fanout.clients.outcomes import RefusedError
from fanout.errors import ConfigError, EngineError, EngineForbiddenError, EngineRefusedError
from fanout.protocol.errors import reason

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats

CONNECT_S: Final = 5.0
"""How long a server may take to answer."""

REQUEST_S: Final = 2.0
"""How long JetStream may take to answer. In a cluster nobody does while a stream has no leader."""


def package() -> None:
    """Raises `MissingPackageError` where nats-py is missing."""
    require_package()
    # It logs what it also raises, with tracebacks.
    logging.getLogger("nats").setLevel(logging.CRITICAL)


@asynccontextmanager
async def connected(options: NatsOptions) -> AsyncIterator["Nats"]:
    """A connection that ends with its first error, and is not made anew behind our back: what was
    under way then, the stream decides. Raises `EngineError` and `ConfigError`."""
    address = options.address
    connection = NatsConnection(
        NatsSettings(
            address=address,
            prefix=options.prefix,
            creds=None if options.creds is None else _readable(options.creds),
            tls=_tls(options),
            idle_timeout_s=CONNECT_S,
            servers=[*address.servers],
        ),
        name="fanout bridge",
    )
    try:
        try:
            await connection.connect()
        except RefusedError as error:
            raise EngineForbiddenError(str(error)) from error
        except OSError as error:
            raise EngineError(f"{options.server}: {reason(error)}") from error
        yield connection.client
    except EngineError as error:
        # The server says so beside the connection, and then answers nothing.
        met = getattr(getattr(connection, "client", None), "last_error", None)
        words = words_of(met) if met is not None else ""
        if "permissions violation" in words.lower():
            raise EngineForbiddenError(f"{options.server}: {words}") from error
        raise
    finally:
        await connection.close()


def _readable(path: str) -> str:
    """Raises `ConfigError` for a file that cannot be read."""
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"--creds {path}: {reason(error)}") from error
    return path


def _tls(options: NatsOptions) -> ssl.SSLContext | None:
    if not options.address.is_tls:
        return None
    try:
        return ssl.create_default_context(cafile=options.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-ca {options.tls_ca}: {reason(error)}") from error


@contextmanager
def in_words(options: NatsOptions) -> Iterator[None]:
    """Turn the package's errors into ours, and heed cancellations."""
    from nats.errors import Error, NoRespondersError
    from nats.js.errors import APIError, NoStreamResponseError

    server = options.server
    try:
        with heeded():
            yield
    except APIError as error:
        raise _api_error(server, error) from error
    except (NoRespondersError, NoStreamResponseError) as error:
        raise EngineError(f"{server}: JetStream does not answer") from error
    except TimeoutError as error:
        raise EngineError(f"{server} did not answer within {REQUEST_S:.0f} s") from error
    except Error as error:
        raise EngineError(f"{server}: {words_of(error)}") from error
    except OSError as error:
        raise EngineError(f"{server}: {reason(error)}") from error


def _api_error(server: str, error: Any) -> EngineError:
    words = str(error.description or error).strip()
    if error.code in (400, 403, 404, 409, 500):
        return EngineRefusedError(f"{server}: JetStream refuses: {words}")
    return EngineError(f"{server}: {words}")
