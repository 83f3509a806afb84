"""TCP sockets that listen, and where they do."""

import trio

from fanout.errors import BindError
from fanout.net.addresses import authority
from fanout.protocol.errors import reason


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listening TCP sockets. Raises `BindError`, with words on what to do."""
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except (OSError, UnicodeError) as error:
        raise BindError(f"cannot listen on {host}:{port}: {reason(error).lower()}") from error


def authority_of(listener: trio.SocketListener) -> str:
    """Where it listens, as `HOST:PORT`."""
    host, port = listener.socket.getsockname()[:2]
    return authority(host, port)
