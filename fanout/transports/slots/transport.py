"""The ring of slots as a transport: one instrument, for one program that reads bitfinex-feeder's
ring.

What is published is pushed within the step that publishes it, if it is little. The transport's task
does the rest, such as whole books. The ring has no place where a reader could show itself. So a
program counts as a reader once the read index moves, and each program that opens the file is given
the book again, `SETTLE_S` later.
"""

import logging
import os
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.channel.log import Cursor, Log
from fanout.errors import ConfigError, shown
from fanout.protocol.constants import DataKinds
from fanout.protocol.records import Header
from fanout.protocol.slots import SLOT_BYTES, SLOT_COUNT
from fanout.stats.snapshots import ConsumerStats, TransportStats
from fanout.transports.base import CHUNK_BYTES, channel_named
from fanout.transports.shared import BEAT_S, SharedTransport
from fanout.transports.slots.config import SlotsConfig
from fanout.transports.slots.delivery import Delivery, instrument_in
from fanout.transports.slots.making import Counts
from fanout.transports.slots.openings import Openings
from fanout.transports.slots.ring_file import OwnedRing, open_ring

_LOG = logging.getLogger("fanout")

SETTLE_S: Final = 0.25
"""From the moment a program opened the file to the book. A reader maps the file and skips to the
write index meanwhile: it would skip a book that came sooner."""

GONE_S: Final = 10.0
"""A reader that leaves slots unread and its index alone for so long is no longer listed."""


class SlotsTransport(SharedTransport[OwnedRing]):
    """Serves one instrument of a channel to the reader of a ring of slots."""

    noun = "ring"
    config: SlotsConfig

    def __init__(self, config: SlotsConfig) -> None:
        path = os.path.join(config.directory, config.name)
        super().__init__(config, path=path, channel=config.channel)
        self.url = f"slots://{config.name}"
        self._ring: OwnedRing | None = None
        self._at: Cursor[Header] | None = None
        """The place in the log, also while the ring is opened anew."""
        self._began_s = 0.0
        self._opened = 0
        self._reader = _ReaderWatch()
        self.counts = Counts()

    def stats(self) -> TransportStats:
        """See `Transport.stats`. `anomalies` counts what did not get into the ring, or not as it
        was."""
        counts = self.counts
        odd = {
            "slot dropped, the ring was full": counts.dropped,
            "value left out, too long for a slot": counts.refused,
            "value rounded for a slot": counts.rounded,
        }
        return TransportStats(
            url=self.url,
            channel=self._channel,
            consumers=self._consumers(),
            accepted=self._opened,
            lost=counts.lost + counts.dropped,
            send=self.sending.quantiles(),
            anomalies={kind: count for kind, count in odd.items() if count},
        )

    def _consumers(self) -> tuple[ConsumerStats, ...]:
        if not self.readers or self._ring is None:
            return ()
        consumer = ConsumerStats(
            address=self.url,
            channel=self._channel,
            age_s=trio.current_time() - self._began_s,
            blocks=self.counts.trades,
            lost=self.counts.lost + self.counts.dropped,
            lag_blocks=self._reader.unread,
            lag_bytes=self._reader.unread * SLOT_BYTES,
            lag_ms=None,
        )
        return (consumer,)

    @property
    def readers(self) -> int:
        """See `Transport.readers`."""
        return int(self._ring is not None and self._reader.is_there)

    @property
    def unread(self) -> float:
        """See `Transport.unread`. Nothing while there is no reader."""
        return min(self._reader.unread / SLOT_COUNT, 1.0) if self.readers else 0.0

    @property
    def stride_bytes(self) -> int:
        """See `Transport.stride_bytes`. A trade takes some 15 bytes of the log, and a slot."""
        return CHUNK_BYTES // 2

    async def run(
        self,
        channels: Sequence[Channel],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Transport.run`.

        A ring that somebody cut, overwrote or removed is opened or made anew. Raises `ConfigError`
        for a channel or a symbol that the service lacks, and if the channel has several instruments
        and the configuration names none.
        """
        channel = channel_named(channels, self.config.channel)
        self._require_kinds(channel)
        self._require_instrument(channel)
        self._at, self._began_s = channel.log.live(), trio.current_time()
        await super().run(channels, task_status=task_status)

    def _make(self, channel: Channel) -> OwnedRing:
        return open_ring(self._path)

    def _require_kinds(self, channel: Channel) -> None:
        if not channel.header.data & (DataKinds.TRADES | DataKinds.BOOK_BY_ORDER):
            raise ConfigError(
                f"slots {self.config.name}: channel {channel.name} has no trades and no books by "
                "order, and a slot holds nothing else: --data trades, or --data trades,orders"
            )

    def _require_instrument(self, channel: Channel) -> None:
        """The instruments may be unknown yet, where the venue does not answer."""
        instruments, symbol = channel.header.instruments, self.config.symbol
        if not instruments or instrument_in(channel.header, symbol):
            return
        known = ", ".join(each.symbol for each in instruments[:10])
        if not symbol:
            raise ConfigError(
                f"slots {self.config.name}: a slot has no room for a symbol, and channel "
                f"{channel.name} has {len(instruments):,}: give --symbol, such as {known}"
            )
        raise ConfigError(
            f"slots {self.config.name}: no symbol {shown(symbol)} in channel {channel.name}: "
            f"it has {known}"
        )

    async def _serve(self, channel: Channel, file: OwnedRing) -> bool:
        """See `SharedTransport._serve`."""
        config, ring, writer = self.config, file, file.writer
        assert self._at is not None, "`run` has set it"
        if writer.mend():
            _LOG.warning("ring %s: its indices were nonsense, and were mended", self._path)
        delivery = Delivery(
            writer,
            channel,
            self.counts,
            at=self._at,
            symbol=config.symbol,
            is_exact=not config.inexact,
        )
        openings = _openings_of(self._path)
        try:
            self._ring = ring
            return await self._deliver(delivery, channel.log, ring, openings)
        finally:
            self._ring = None
            if openings is not None:
                openings.close()
            ring.close()

    async def _deliver(
        self, delivery: Delivery, log: Log[Header], ring: OwnedRing, openings: Openings | None
    ) -> bool:
        writer, repeat = ring.writer, _Repeat(self.config.snapshot_s)
        with log.hand(partial(self._take, ring, delivery), is_quick=True) as hand:
            while ring.is_whole():
                now_s = trio.current_time()
                if writer.mend():
                    delivery.show_book()  # somebody is there who was elsewhere
                opened = openings.take() if openings else 0
                self._opened += opened
                if repeat.is_due(now_s, is_opened=bool(opened)):
                    delivery.show_book()
                first = delivery.position
                delivery.deliver()
                self._note_age(delivery, first)
                self._trouble = "" if delivery.has_instrument else self._missing()
                self._reader.look(writer.read_position, writer.unread, now_s)
                if delivery.position != log.end:
                    await trio.lowlevel.checkpoint()
                    continue
                if log.closed:
                    delivery.finish()
                    return True
                with trio.move_on_after(BEAT_S):
                    await hand.wait()
        return False

    def _take(self, ring: OwnedRing, delivery: Delivery) -> bool:
        """Push what was published, in the publisher's step: see `fanout.channel.hand`."""
        if not ring.is_unharmed():
            return False
        first = delivery.position
        is_all = delivery.take()
        self._note_age(delivery, first)
        return is_all

    def _note_age(self, delivery: Delivery, first: int) -> None:
        """Count how old the frame at `first` was, if it was pushed."""
        if delivery.position != first:
            self.sending.add(delivery.age_ns(first))

    def _missing(self) -> str:
        symbol = self.config.symbol
        lack = f"no symbol {shown(symbol)}" if symbol else "not one symbol only: give --symbol"
        return f"slots {self.config.name}: channel {self._channel} has {lack}"


class _ReaderWatch:
    """Tells from the read index whether there is a reader."""

    def __init__(self) -> None:
        self.unread = 0
        self.is_there = False
        self._position: int | None = None
        self._moved_s = 0.0

    def look(self, position: int, unread: int, now_s: float) -> None:
        """Note where the read index is. A reader is there once it moved, until it leaves slots
        unread for `GONE_S`."""
        if position != self._position:
            self.is_there = self._position is not None
            self._position, self._moved_s = position, now_s
        elif not unread:
            self._moved_s = now_s
        elif now_s - self._moved_s >= GONE_S:
            self.is_there = False
        self.unread = unread


class _Repeat:
    """When the book is given again."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s: float | None = None
        self._settled_s: float | None = None

    def is_due(self, now_s: float, *, is_opened: bool) -> bool:
        """Whether it is to be given now. `is_opened`: a program opened the file just now."""
        if is_opened:
            self._settled_s = now_s + SETTLE_S
        is_settled = self._settled_s is not None and now_s >= self._settled_s
        if is_settled:
            self._settled_s = None
        if not self._every_s:
            return is_settled
        if self._next_s is None:
            self._next_s = now_s + self._every_s
        is_time = now_s >= self._next_s
        if is_time:
            self._next_s = now_s + self._every_s
        return is_settled or is_time


def _openings_of(path: str) -> Openings | None:
    try:
        return Openings(path)
    except OSError as error:
        _LOG.warning(
            "ring %s: programs that open it cannot be noticed (%s), and get no book of their own: "
            "start them first, or give --snapshot-s",
            path,
            error.strerror,
        )
        return None
