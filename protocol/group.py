"""Multicast groups as people write them, and the groups of a service's channels.

`239.10.1.1:9100` is an IPv4 multicast address and a UDP port. Each channel of a service has a group
of its own. Their addresses are counted up from that of the first channel, and the port is the same:
receivers bind to the address, so that they get nothing of the other groups.
"""

from ipaddress import IPv4Address

import msgspec

from fanout.protocol.errors import NotRepresentableError


class Group(msgspec.Struct, frozen=True):
    """An IPv4 multicast address and a UDP port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"

    def of_channel(self, number: int) -> "Group":
        """The group of the channel with this number, where this one is that of number 0. Raises
        `NotRepresentableError` if there is no multicast address so far up."""
        value = int(IPv4Address(self.address)) + number
        if value >= 2**32 or not IPv4Address(value).is_multicast:
            raise NotRepresentableError(
                f"channel {number} has no group: counted up from {self.address}, its address "
                "exceeds 239.255.255.255"
            )
        return Group(str(IPv4Address(value)), self.port)


def parse_group(text: str) -> Group:
    """The group in `ADDRESS:PORT`. Raises `NotRepresentableError`."""
    address, _, port = text.rpartition(":")
    try:
        is_group = IPv4Address(address).is_multicast and port.isdecimal() and port.isascii()
    except ValueError:
        is_group = False
    if not is_group or len(port) > 5 or not 1 <= int(port) <= 65_535:
        raise NotRepresentableError(
            f"{text[:60]!r} is no group: an address from 224.0.0.0 to 239.255.255.255 and a port, "
            "such as 239.10.1.1:9100, are needed"
        )
    return Group(address, int(port))


def interface_fault(text: str) -> str | None:
    """What is wrong with the address of a network interface; None if nothing is. An empty one
    leaves the choice to the system."""
    if not text:
        return None
    try:
        IPv4Address(text)
    except ValueError:
        return f"{text[:60]!r} is no address of an interface: an IPv4 address of this machine"
    return None
