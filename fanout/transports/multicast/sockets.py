"""Sockets that send to multicast groups, each of one channel on one line.

A send never waits. A packet that the socket's buffer has no room for can be sent later by a task
that may wait, or be dropped: then it is lost to receivers. Packets are never divided into IP
fragments, of which the loss of one would cost all. A packet that the interface cannot carry whole
is refused at the start.
"""

import errno
import logging
import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import trio

from fanout.errors import BindError
from fanout.protocol.errors import reason
from fanout.protocol.group import Group
from fanout.stats.anomalies import Anomalies

_LOG = logging.getLogger("fanout")

SEND_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Room for what a burst brings. The kernel may give less, and counts its own overhead."""

HEADERS_BYTES: Final = 28
"""What IP and UDP add to a packet."""

ROOM_S: Final = 0.5
"""How long a packet waits for room in the buffer. A network of 100 Mbit/s sends 4 MiB in 0.3 s."""

STUCK_S: Final = 5.0
"""How long packets do not wait after one has waited in vain: what is stuck must not hold up the
other line, or the end of the service."""

# Linux's numbers, which the socket module of Python 3.11 does not have.
_IP_MTU_DISCOVER: Final = 10
_IP_PMTUDISC_DO: Final = 2
_IP_MTU: Final = 14

_ADVICE: Final = {
    errno.EADDRNOTAVAIL: "--interface takes an address of this machine: ip -4 addr shows them",
    errno.ENODEV: "--interface takes an address of this machine: ip -4 addr shows them",
    errno.ENETUNREACH: "no interface leads there: give the address of one, --interface IP",
}
_OTHER_ADVICE: Final = "ip route get shows which way packets would take"

_NO_ROOM: Final = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def open_socket(group: Group, *, interface: str, ttl: int, packet_bytes: int) -> socket.socket:
    """A socket whose `send` sends to a group. Raises `BindError`, with words on what to do."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        if interface:
            own = socket.inet_aton(interface)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        sock.connect((group.address, group.port))
        room = sock.getsockopt(socket.IPPROTO_IP, _IP_MTU) - HEADERS_BYTES
    except OSError as error:
        sock.close()
        advice = _ADVICE.get(error.errno or 0, _OTHER_ADVICE)
        raise BindError(f"cannot send to {group}: {reason(error).lower()}; {advice}") from error
    if packet_bytes > room:
        sock.close()
        raise BindError(
            f"--packet-bytes {packet_bytes:,} exceeds {room:,}, which is what the interface to "
            f"{group} carries: take {room:,} or less"
        )
    return sock


def warn_of_small_buffer(sock: socket.socket, group: Group) -> None:
    """Log a warning if the system gave the socket less room than `SEND_BUFFER_BYTES`."""
    given_bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2  # Linux doubles it
    if given_bytes < SEND_BUFFER_BYTES:
        _LOG.warning(
            "%s: the send buffer has %s bytes instead of %s, and packets of a burst may be "
            "dropped: as root, sysctl -w net.core.wmem_max=%d",
            group,
            f"{given_bytes:,}",
            f"{SEND_BUFFER_BYTES:,}",
            SEND_BUFFER_BYTES,
        )


class Sender:
    """Sends packets to a group."""

    def __init__(
        self,
        group: Group,
        sock: socket.socket,
        oddities: Anomalies,
        *,
        addressed: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """`addressed` makes a packet of line A one of this line; None on line A."""
        self.group = group
        self.packets = 0
        self.bytes = 0
        self.unsent = 0
        """Packets that the system did not take."""
        self._sock = sock
        self._oddities = oddities
        self._addressed = addressed
        self._waits_from_s = 0.0
        """When a packet may wait for room again."""

    def send(self, packet: bytes) -> bool:
        """Send a packet. Returns False if the buffer has no room: then `send_later` or `drop` it.
        A packet that the system refuses is counted and dropped."""
        try:
            self._sock.send(packet if self._addressed is None else self._addressed(packet))
        except BlockingIOError:
            return False
        except OSError as error:
            self.drop(error)
            return True
        self.packets += 1
        self.bytes += len(packet)
        return True

    def drop(self, error: OSError = _NO_ROOM) -> None:
        """Count a packet that is not sent: to receivers it is lost."""
        self.unsent += 1
        self._oddities.note("packet not sent", f"{self.group}: {reason(error).lower()}")

    async def send_later(self, packet: bytes) -> None:
        """Send a packet once the buffer has room, or drop it after `ROOM_S`. A cancellation may
        lose it."""
        if trio.current_time() >= self._waits_from_s:
            with trio.move_on_after(ROOM_S):
                while True:
                    await trio.lowlevel.wait_writable(self._sock)
                    if self.send(packet):
                        return
            self._waits_from_s = trio.current_time() + STUCK_S
        self.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sock.close()
