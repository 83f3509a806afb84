"""The check of a port: opens it in the same way as the service, and holds it until all are
tried."""

from contextlib import AsyncExitStack
from typing import Final

import trio

from fanout.checks.report import Check, Fault, Name, Subject, time_text
from fanout.errors import BindError
from fanout.net.listeners import advice_on, open_listeners
from fanout.protocol.errors import reason

NAME_S: Final = 5.0
"""Time limit for resolving the name of a host to listen on."""


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
        return subject.failed(found, advice_on(None), Fault.MACHINE)
    except BindError as error:
        cause = error.__cause__
        return subject.failed(reason(cause or error).lower(), advice_on(cause, flag), Fault.MACHINE)
    return subject.passed("any free port" if port == 0 else "free")
