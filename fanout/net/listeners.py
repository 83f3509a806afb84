"""Listening TCP sockets, and their addresses."""

from contextlib import suppress
from typing import Final

import trio

from fanout.errors import BindError
from fanout.net.addresses import authority
from fanout.protocol.errors import reason

ATTEMPTS: Final = 10
"""Attempts to find a port that is free at every address of a host."""


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listening TCP sockets, one for each address of the host, all at the same port. Port 0 takes a
    free one. Raises `BindError`."""
    try:
        return await _open(host, port)
    except (OSError, UnicodeError) as error:
        raise BindError(f"cannot listen on {host}:{port}: {reason(error).lower()}") from error


async def _open(host: str, port: int) -> list[trio.SocketListener]:
    for _ in range(ATTEMPTS):
        listeners = await trio.open_tcp_listeners(port, host=host)
        ports = {each.socket.getsockname()[1] for each in listeners}
        if len(ports) == 1:
            return listeners
        # Each address got a free port of its own. Take the first one's for all.
        for each in listeners:
            await each.aclose()
        with suppress(OSError):  # the port is taken at another address
            return await trio.open_tcp_listeners(min(ports), host=host)
    raise OSError(f"no port is free at all addresses of {host}")


def authority_of(listener: trio.SocketListener) -> str:
    """The address of a listener, as `HOST:PORT`."""
    host, port = listener.socket.getsockname()[:2]
    return authority(host, port)
