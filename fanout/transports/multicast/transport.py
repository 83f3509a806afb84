"""Multicast as a transport: each packet is sent once, however many receivers there are.

Each channel has a group of its own, and with `--group-b` one on a second line too. The service does
not know its receivers. It never waits for them, and no receiver can do anything to it or to the
others.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import trio
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.protocol.group import Group
from fanout.protocol.packets import PACKET_HEADER_BYTES, Line, on_line
from fanout.protocol.packing import Packer
from fanout.stats.anomalies import Anomalies
from fanout.stats.snapshots import TransportStats
from fanout.transports.base import Transport
from fanout.transports.multicast.carrier import Carrier, Layout
from fanout.transports.multicast.config import FANOUT, HFTP, MulticastConfig, groups_of
from fanout.transports.multicast.hftp import HftpLayout
from fanout.transports.multicast.pace import Pace
from fanout.transports.multicast.sockets import Sender, open_socket, warn_of_small_buffer


class MulticastTransport(Transport):
    """Sends channels to multicast groups."""

    config: MulticastConfig

    def __init__(
        self,
        config: MulticastConfig,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wall_ns` gives unix ns, for packets and heartbeats."""
        super().__init__(config)
        self.url = " ".join(f"multicast://{each}" for each in config.lines)
        self._wall_ns = wall_ns
        self._oddities = Anomalies(clock=monotonic)
        self._carriers: list[Carrier] = []

    def stats(self) -> TransportStats:
        """See `Transport.stats`. Nobody knows the receivers."""
        groups = tuple(each.stats() for each in self._carriers)
        return TransportStats(
            url=self.url,
            lost=sum(each.lost for each in groups),
            send=self.sending.quantiles(),
            anomalies=dict(self._oddities.counts),
            groups=groups,
        )

    @property
    def readers(self) -> int:
        """See `Transport.readers`. It counts as one reader of its own, since nobody knows whether
        there are receivers: a replay does not wait for them."""
        return 1

    @property
    def unread(self) -> float:
        """See `Transport.unread`."""
        return max([each.unread for each in self._carriers], default=0.0)

    @property
    def longest_frame_bytes(self) -> int:
        """See `Transport.longest_frame_bytes`."""
        return self.config.packet_bytes - PACKET_HEADER_BYTES

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Transport.run`. Receivers get no END if it is cancelled. Raises `ConfigError` if the
        channels have no groups of their own."""
        pace = Pace(self.config.packets_per_s)
        groups = groups_of(self.config.lines, len(channels))
        with ExitStack() as opened:
            for number, channel in enumerate(channels):
                senders = [
                    opened.enter_context(self._sender(each, line))
                    for each, line in zip(groups[number], Line, strict=False)
                ]
                self._carriers.append(self._carrier(channel, number, senders, pace))
            async with trio.open_nursery() as nursery:
                for each in self._carriers:
                    nursery.start_soon(each.run)
                task_status.started(self.url)

    def _sender(self, group: Group, line: Line) -> Sender:
        config = self.config
        sock = open_socket(
            group, interface=config.interface, ttl=config.ttl, packet_bytes=config.packet_bytes
        )
        if line is Line.A and not self._carriers:  # all sockets get the same
            warn_of_small_buffer(sock, group)
        is_ours = config.packets == FANOUT
        addressed = partial(on_line, line=line) if is_ours and line is not Line.A else None
        return Sender(group, sock, self._oddities, addressed=addressed)

    def _carrier(
        self, channel: Channel, number: int, senders: Sequence[Sender], pace: Pace
    ) -> Carrier:
        return Carrier(
            channel,
            self._layout(channel, number),
            senders,
            pace,
            snapshot_s=self.config.snapshot_s,
            sending=self.sending,
            wall_ns=self._wall_ns,
        )

    def _layout(self, channel: Channel, number: int) -> Layout:
        config, header = self.config, replace(channel.header, next_seq=channel.log.next_seq)
        if config.packets == HFTP:
            return HftpLayout(header, exchange=config.exchange, packet_bytes=config.packet_bytes)
        return Packer(header, channel=number, packet_bytes=config.packet_bytes)
