"""Checks of the multicast transport: a socket to each group, and packets that fit the network."""

from collections.abc import Sequence

from fanout.checks.report import Check, Fault, Name, Subject
from fanout.errors import BindError
from fanout.protocol.group import Group
from fanout.transports.multicast.config import MulticastConfig
from fanout.transports.multicast.sockets import open_socket


def check(configs: Sequence[MulticastConfig]) -> tuple[Check, ...]:
    """See `TransportEntry.check`. Nothing is sent."""
    return tuple(_check_group(config, each) for config in configs for each in config.lines)


def _check_group(config: MulticastConfig, group: Group) -> Check:
    subject = Subject(Name.GROUP, str(group))
    try:
        sock = open_socket(
            group, interface=config.interface, ttl=config.ttl, packet_bytes=config.packet_bytes
        )
    except BindError as error:
        found, _, advice = str(error).partition("; ")
        return subject.failed(found, advice or "see docs/running.md", Fault.MACHINE)
    with sock:
        source = sock.getsockname()[0]
    return subject.passed(f"{config.packet_bytes:,} bytes fit a packet, sent from {source}")
