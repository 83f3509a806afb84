"""Listening TCP sockets, and their addresses."""

import errno
from contextlib import suppress
from typing import Final

import trio

from fanout.errors import BindError
from fanout.net.addresses import authority
from fanout.protocol.errors import reason

ATTEMPTS: Final = 10
"""Attempts to find a port that is free at every address of a host."""

_PORT_ADVICE: Final = {
    errno.EADDRINUSE: "another process listens there (ss -ltnp shows it): stop it, or take "
    "another {flag}",
    errno.EACCES: "ports below 1024 are reserved for root: take another {flag}",
}
_HOST_ADVICE: Final = "use an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them"


async def open_listeners(
    host: str, port: int, *, flag: str = "--port"
) -> list[trio.SocketListener]:
    """Listening TCP sockets, one for each address of the host, all at the same port. Port 0 takes a
    free one. `flag` is the option that sets the port. Raises `BindError`."""
    try:
        return await _open(host, port)
    except (OSError, UnicodeError) as error:
        what = f"cannot listen on {host}:{port}: {reason(error).lower()}"
        raise BindError(f"{what}; {advice_on(error, flag)}") from error


def advice_on(error: BaseException | None, flag: str = "--port") -> str:
    """What the operator can do about an error that kept a socket from listening."""
    code = error.errno if isinstance(error, OSError) else None
    return _PORT_ADVICE.get(code or 0, _HOST_ADVICE).format(flag=flag)


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
