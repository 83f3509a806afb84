"""Notifications to systemd for a unit with `Type=notify`: ready, alive, stopping.

A notification is a datagram of lines to the socket that NOTIFY_SOCKET names (sd_notify(3)). Without
that variable nothing is sent.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import trio

_WATCHDOG_PART: Final = 0.4
"""Interval between notifications as a share of the watchdog's time, so that one may be lost."""


class Notifier:
    """Sends notifications to the service manager, if there is one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # systemd writes the zero byte of an abstract address as @.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._watchdog_s = _watchdog_s(environment)

    def ready(self, status: str) -> None:
        """Report that the service serves."""
        self._say("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        self._say("STOPPING=1", "STATUS=saying goodbye")

    async def keep_alive(self) -> None:
        """Notify the watchdog regularly, which shows that the event loop runs."""
        if not self._watchdog_s:
            return
        while True:
            self._say("WATCHDOG=1")
            await trio.sleep(self._watchdog_s * _WATCHDOG_PART)

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        # systemd is gone, its queue is full, or no descriptor is left. The service goes on.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """The watchdog's time limit; 0 without a watchdog, or if it watches another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() else 0.0
