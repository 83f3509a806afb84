"""A ring in shared memory as a transport: any number of readers on this machine, for the cost of
none.

What is published is pushed into the ring within the step that publishes it, whoever reads the ring.
The transport's task does what takes longer. A reader attaches without our help. Ten times a second
the task looks whether one has asked for a snapshot, and changes the heartbeat, which shows that the
writer is alive.
"""

import os
import time
from collections.abc import Callable
from functools import partial

import trio

from fanout.channel.channel import Channel
from fanout.protocol.constants import START
from fanout.protocol.framing import frame
from fanout.protocol.header import decode_opening
from fanout.protocol.ring import ReaderEntry
from fanout.stats.snapshots import ConsumerStats, TransportStats
from fanout.transports.base import CHUNK_BYTES
from fanout.transports.ring.config import RingConfig
from fanout.transports.ring.delivery import Delivery
from fanout.transports.ring.readers import Readers, behind_bytes
from fanout.transports.ring.ring_file import OwnedRing, create
from fanout.transports.shared import BEAT_S, HEARTBEAT_S, SharedTransport


class RingTransport(SharedTransport[OwnedRing]):
    """Serves a channel to the readers of a ring."""

    noun = "ring"
    config: RingConfig

    def __init__(self, config: RingConfig, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        """`wall_ns` gives unix ns, for heartbeats."""
        path = os.path.join(config.directory, config.name)
        super().__init__(config, path=path, channel=config.channel, wall_ns=wall_ns)
        self.url = f"ring://{config.name}"
        self._ring: OwnedRing | None = None
        self._readers = Readers()
        self._quiet_since_s = 0.0
        self._blocks = 0
        """Frames of the log that were pushed."""
        self._lost = 0
        """Numbers that the log dropped before they were."""

    def stats(self) -> TransportStats:
        """See `Transport.stats`. The consumers are the readers in the ring's table."""
        ring, readers = self._whole_ring(), self._readers
        consumers: tuple[ConsumerStats, ...] = ()
        if ring is not None:
            consumers = readers.stats(
                ring, channel=self._channel, now_s=trio.current_time(), blocks=self._blocks
            )
        return TransportStats(
            url=self.url,
            channel=self._channel,
            consumers=consumers,
            accepted=readers.accepted,
            lost=readers.lost + self._lost,
            send=self.sending.quantiles(),
        )

    @property
    def readers(self) -> int:
        """See `Transport.readers`. Readers that may not write to the ring are not counted."""
        ring = self._whole_ring()
        return len(self._look(ring)) if ring is not None else 0

    @property
    def unread(self) -> float:
        """See `Transport.unread`. Of the readers in the ring's table."""
        ring = self._whole_ring()
        if ring is None:
            return 0.0
        behind = max((behind_bytes(ring, each) for each in self._look(ring)), default=0)
        return behind / ring.writer.capacity

    @property
    def stride_bytes(self) -> int:
        """See `Transport.stride_bytes`."""
        return min(CHUNK_BYTES, self.config.capacity_bytes // 8)

    def _whole_ring(self) -> OwnedRing | None:
        """The ring, unless it is out of order: touching a file that was cut would end this process,
        see `OwnedFile.is_whole`."""
        return self._ring if self._ring is not None and self._ring.is_whole() else None

    def _look(self, ring: OwnedRing) -> list[ReaderEntry]:
        return self._readers.look(ring, trio.current_time(), self._blocks)

    def _make(self, channel: Channel) -> OwnedRing:
        header = decode_opening(channel.greeting()[len(frame(START)) :])
        return create(self._path, capacity_bytes=self.config.capacity_bytes, header=header)

    async def _serve(self, channel: Channel, file: OwnedRing) -> bool:
        """See `SharedTransport._serve`."""
        log, self._ring = channel.log, file
        delivery, lost_before = Delivery(file.writer, channel), self._lost
        now_s = trio.current_time()
        self._quiet_since_s, look_s, snapshot_s = now_s, now_s, now_s
        try:
            with log.hand(partial(self._take, file, delivery), is_quick=True) as hand:
                while file.is_whole():
                    file.writer.beat(self._wall_ns())
                    first = delivery.position
                    delivery.deliver()
                    self._count(delivery, first)
                    self._lost = lost_before + delivery.lost
                    if log.closed:
                        delivery.finish()
                        return True
                    now_s = trio.current_time()
                    if now_s - self._quiet_since_s >= HEARTBEAT_S:
                        self._quiet_since_s = now_s
                        delivery.say(channel.heartbeat(self._wall_ns()))
                    if now_s >= look_s:
                        look_s = now_s + BEAT_S
                        self._look(file)
                        is_due = 0 < self.config.snapshot_s <= now_s - snapshot_s
                        if is_due or delivery.wants_snapshot or file.writer.asked:
                            snapshot_s = now_s
                            delivery.show()
                    if delivery.is_giving_books:
                        await trio.lowlevel.checkpoint()
                        continue
                    with trio.move_on_after(BEAT_S):
                        await hand.wait()
            return False
        finally:
            self._ring = None
            self._readers.leave()
            file.close(keep=False)

    def _take(self, file: OwnedRing, delivery: Delivery) -> bool:
        """Push what was published, in the publisher's step: see `fanout.channel.hand`."""
        if not file.is_uncut():
            return False
        first = delivery.position
        is_all = delivery.take()
        self._count(delivery, first)
        return is_all

    def _count(self, delivery: Delivery, first: int) -> None:
        """Count the frames of the log from position `first` on, which were pushed."""
        if delivery.position != first:
            self._blocks += delivery.position - first
            self._quiet_since_s = trio.current_time()
            self.sending.add(delivery.age_ns(first))
