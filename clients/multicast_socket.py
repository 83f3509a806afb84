"""Sockets that receive what is sent to multicast groups.

A socket is bound to the group's address, not only to its port. Otherwise it would get the packets
of every group that any program on this machine has joined at that port.
"""

import logging
import select
import socket
from collections.abc import Sequence
from select import EPOLLIN
from typing import Final, Protocol

from fanout.clients.outcomes import DisconnectedError
from fanout.protocol.errors import reason
from fanout.protocol.group import Group
from fanout.protocol.lines import Lines
from fanout.protocol.packets import MAX_PACKET_BYTES

_LOG = logging.getLogger("fanout.clients")

RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Room for packets that have come while this program does other things. With Linux's default of
208 KiB a client of 30,000 packets a second loses some of them, and with 4 MiB none:
`python -m tests.stress.multicast --buffers 212992 4194304`."""

AT_ONCE: Final = 64
"""Most packets that are taken from one line before the other one has its turn."""


def join(
    group: Group, *, interface: str, buffer_bytes: int = RECEIVE_BUFFER_BYTES
) -> socket.socket:
    """A socket that gets what is sent to a group, and does not block. An empty `interface` leaves
    the choice to the system. Raises `DisconnectedError`.

    Logs a warning if the system gives less room than `buffer_bytes`.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        # Several programs of this machine may receive from one group.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.bind((group.address, group.port))
        request = socket.inet_aton(group.address) + socket.inet_aton(interface or "0.0.0.0")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        given_bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # Linux doubles it
    except OSError as error:
        sock.close()
        where = f" on {interface}" if interface else ""
        raise DisconnectedError(
            f"cannot join {group}{where}: {reason(error).lower()}; interface= takes the address of "
            "one of this machine's interfaces"
        ) from error
    if given_bytes < buffer_bytes:
        _LOG.warning(
            "%s: the receive buffer has %s bytes instead of %s, and a burst may overrun it: "
            "as root, sysctl -w net.core.rmem_max=%d",
            group,
            f"{given_bytes:,}",
            f"{buffer_bytes:,}",
            buffer_bytes,
        )
    return sock


class Watched(Protocol):
    """A socket that is watched besides those of the lines."""

    socket: socket.socket
    events: int
    """The `epoll` events that it waits for."""


class Receivers:
    """The sockets of both lines, and an `epoll` that is ready when one of them is, or another
    socket."""

    def __init__(self, groups: Sequence[Group], *, interface: str, buffer_bytes: int) -> None:
        """Raises `DisconnectedError`, and `OSError` if there are too many files."""
        self._poll = select.epoll()
        self.sockets: list[socket.socket] = []
        try:
            for each in groups:
                sock = join(each, interface=interface, buffer_bytes=buffer_bytes)
                self.sockets.append(sock)
                self._poll.register(sock, EPOLLIN)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Of the `epoll`: it can be read from when a socket is ready."""
        return self._poll.fileno()

    def wait(self, timeout_s: float) -> None:
        """Return once a socket is ready, or the time is over."""
        self._poll.poll(timeout_s)

    def watch(self, other: Watched) -> None:
        """Watch another socket for its `events`, until it is closed."""
        try:
            self._poll.modify(other.socket, other.events)
        except FileNotFoundError:
            self._poll.register(other.socket, other.events)

    def receive(self, lines: Lines, now_s: float) -> bool:
        """Give packets that have come to `lines`. Returns whether there were any. Raises
        `OSError`."""
        is_any = False
        for line, sock in enumerate(self.sockets):
            try:
                for _ in range(AT_ONCE):
                    data, sender = sock.recvfrom(MAX_PACKET_BYTES)
                    lines.receive(data, line, sender, now_s)
                    is_any = True
            except BlockingIOError:
                continue
        return is_any

    def close(self) -> None:
        """Leave the groups."""
        for each in self.sockets:
            each.close()
        self._poll.close()
