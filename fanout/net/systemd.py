"""Words to systemd, for a unit with `Type=notify`: ready, alive, stopping.

The protocol is a datagram of lines to the socket that the environment names (sd_notify(3)). Where
none is named nothing is said.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import trio

_WATCHDOG_PART: Final = 0.4
"""Of the time that the watchdog allows: one word may be late, or lost."""


class Notifier:
    """Says what there is to be said to the service manager, if there is one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # An abstract address is written with an @ for its first byte.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._watchdog_s = _watchdog_s(environment)

    def ready(self, status: str) -> None:
        """The service is up."""
        self._say("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        self._say("STOPPING=1", "STATUS=saying goodbye")

    async def keep_alive(self) -> None:
        """Show the watchdog that the event loop turns, for as long as it asks for that."""
        if not self._watchdog_s:
            return
        while True:
            self._say("WATCHDOG=1")
            await trio.sleep(self._watchdog_s * _WATCHDOG_PART)

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        # It is gone, has enough to read, or there is no descriptor left: no reason to end.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """What the watchdog allows; 0 if there is none, or it watches another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() else 0.0
