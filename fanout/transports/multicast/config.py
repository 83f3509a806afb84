"""The configuration of the multicast transport, and its options."""

from collections.abc import Sequence
from typing import Annotated, Final

from fanout.config import TransportConfig
from fanout.config.options import Option
from fanout.config.ranges import check_range
from fanout.errors import ConfigError, UsageError
from fanout.net.addresses import is_loopback
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.group import Group, interface_fault, parse_group
from fanout.protocol.packets import MAX_PACKET_BYTES, MIN_PACKET_BYTES

FANOUT: Final = "fanout"
HFTP: Final = "hftp"
LAYOUTS: Final = (FANOUT, HFTP)
"""What packets can hold: frames, or one record in the layout of `fanout.protocol.hftp`."""


class MulticastConfig(TransportConfig, frozen=True, kw_only=True):
    """Groups of UDP multicast, and how packets are sent to them.

    `group` is the group of the first channel on line A, `group_b` that on line B: the other
    channels' addresses are counted up from these. Line B carries the same packets. An empty
    `interface` leaves the choice to the system. Without `packets_per_s` nothing is paced.
    """

    group: Annotated[
        str,
        Option(
            "Group of the first channel; the next channels have the addresses behind it.",
            metavar="ADDRESS:PORT",
        ),
    ]
    group_b: Annotated[
        str,
        Option(
            "Send every packet there too: a second line, for receivers that take both.",
            metavar="ADDRESS:PORT",
        ),
    ] = ""
    interface: Annotated[
        str,
        Option("Address of the interface to send from; the system's choice without.", metavar="IP"),
    ] = ""
    ttl: Annotated[int, Option("How many networks packets may reach: 1 is this one only.")] = 1
    packet_bytes: Annotated[
        int,
        Option("Longest packet; the network should not have to divide it.", flag="--packet-bytes"),
    ] = 1_400
    packets_per_s: Annotated[
        int,
        Option(
            "Most packets a second on all lines together; 0 sets no limit.", flag="--packets-per-s"
        ),
    ] = 0
    snapshot_s: Annotated[
        float,
        Option(
            "Seconds between two whole snapshots, for receivers that join; 0 sends none.",
            flag="--snapshot-s",
        ),
    ] = 5.0
    packets: Annotated[
        str, Option("fanout, or hftp: one record a packet, prices in doubles.", choices=LAYOUTS)
    ] = FANOUT
    exchange: Annotated[int, Option("What stands for the exchange in packets of hftp.")] = 0

    def __post_init__(self) -> None:
        for flag, text in (("--group", self.group), ("--group-b", self.group_b)):
            if flag == "--group" or text:
                _parsed(flag, text)
        if self.group_b and _parsed("--group-b", self.group_b) == _parsed("--group", self.group):
            raise UsageError(f"--group-b {self.group_b} is that of --group: take another address")
        fault = interface_fault(self.interface)
        if fault:
            raise UsageError(f"--interface: {fault}")
        check_range("--ttl", self.ttl, 0, 255)
        check_range("--packet-bytes", self.packet_bytes, MIN_PACKET_BYTES, MAX_PACKET_BYTES)
        check_range("--packets-per-s", self.packets_per_s, 0, 10_000_000)
        check_range("--snapshot-s", self.snapshot_s, 0, 86_400)
        check_range("--exchange", self.exchange, 0, 255)
        if self.packets not in LAYOUTS:
            raise UsageError(f"--packets {self.packets!r}: {' or '.join(LAYOUTS)}")

    @property
    def lines(self) -> tuple[Group, ...]:
        """The groups of the first channel: line A's, and line B's if there is one."""
        return tuple(_parsed("--group", each) for each in (self.group, self.group_b) if each)

    def claims(self, channels: int) -> tuple[str, ...]:
        """See `TransportConfig.claims`: every group of every channel."""
        return tuple(
            f"multicast group {group}" for both in groups_of(self.lines, channels) for group in both
        )

    def warnings(self) -> list[str]:
        """See `TransportConfig.warnings`."""
        if self.interface and is_loopback(self.interface):
            return []
        words = (
            f"{self.group} is open to the network: multicast has neither a token nor TLS, so "
            "whoever joins the group gets the trades"
        )
        return [words]


def groups_of(firsts: Sequence[Group], channels: int) -> list[tuple[Group, ...]]:
    """The groups of each channel, one for each line, counted up from those of the first channel.
    Raises `ConfigError` if there are not as many, or two channels would have the same."""
    try:
        groups = [tuple(each.of_channel(number) for each in firsts) for number in range(channels)]
    except NotRepresentableError as error:
        raise ConfigError(f"--group: {error}") from error
    known: set[Group] = set()
    for each in (group for both in groups for group in both):
        if each in known:
            raise ConfigError(
                f"--group-b {firsts[1]}: the {channels} channels of --group {firsts[0]} reach to "
                f"{groups[-1][0]}: take an address that is not among them"
            )
        known.add(each)
    return groups


def _parsed(flag: str, text: str) -> Group:
    try:
        return parse_group(text)
    except NotRepresentableError as error:
        raise UsageError(f"{flag}: {error}") from error
