"""The check of a port: opens it in the same way as the service, and holds it until all are
tried."""

import errno
from contextlib import AsyncExitStack
from typing import Final

import trio

from fanout.checks.report import Check, Fault, Name, Subject, time_text
from fanout.errors import BindError
from fanout.net.listeners import open_listeners
from fanout.protocol.errors import reason

NAME_S: Final = 5.0
"""Time limit for resolving the name of a host to listen on."""

_PORT_ADVICE: Final = {
    errno.EADDRINUSE: "another process listens there (ss -ltnp shows it): stop it, or take "
    "another {flag}",
    errno.EACCES: "ports below 1024 are reserved for root: take another {flag}",
}
_HOST_ADVICE: Final = "use an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them"


async def check_port(held: AsyncExitStack, host: str, port: int, flag: str) -> Check:
    """Check that the service can listen on a port.

    The port stays open in `held`, so that a second listener on the same port fails.
    """
    subject = Subject(Name.PORT, f"{host}:{port}")
    try:
        with trio.fail_after(NAME_S):
            for listener in await open_listeners(host, port):
                held.push_async_callback(listener.aclose)
    except trio.TooSlowError:
        found = f"no address of {host} within {time_text(NAME_S)}"
        return subject.failed(found, _HOST_ADVICE, Fault.MACHINE)
    except BindError as error:
        cause = error.__cause__
        code = cause.errno if isinstance(cause, OSError) else None
        advice = _PORT_ADVICE.get(code or 0, _HOST_ADVICE).format(flag=flag)
        return subject.failed(reason(cause or error).lower(), advice, Fault.MACHINE)
    return subject.passed("any free port" if port == 0 else "free")
