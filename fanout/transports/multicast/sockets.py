"""Sockets that send to multicast groups, each of one channel on one line.

A send never waits: what the socket's buffer has no room for is a packet that receivers have to do
without. Packets are never divided into IP fragments, of which the loss of one would cost all. A
packet that the interface cannot carry whole is refused at the start.
"""

import errno
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from fanout.errors import BindError
from fanout.protocol.errors import reason
from fanout.protocol.group import Group
from fanout.stats.anomalies import Anomalies

SEND_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Room for what a burst brings. The kernel may give less, and counts its own overhead."""

HEADERS_BYTES: Final = 28
"""What IP and UDP add to a packet."""

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

    def send(self, packet: bytes) -> None:
        """Send a packet. One that the system does not take is counted and dropped: to receivers it
        is lost."""
        try:
            self._sock.send(packet if self._addressed is None else self._addressed(packet))
        except OSError as error:
            self.unsent += 1
            self._oddities.note("packet not sent", f"{self.group}: {reason(error).lower()}")
            return
        self.packets += 1
        self.bytes += len(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sock.close()
