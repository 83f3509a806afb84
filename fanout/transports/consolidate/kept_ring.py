"""One ring: the trades that wait for it, what is counted of it, and what is known of its past.
For the writing thread alone; the event loop reads the plain counters.

A ring that cannot be opened or written keeps its trades waiting, up to `MAX_WAITING`, and is tried
again each second. Further ones are lost, and counted.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from fanout.errors import BindError
from fanout.protocol.consolidated import TRADE, encode_record
from fanout.protocol.consolidated_trade import PayloadMaker, Stamps, decode_trade
from fanout.protocol.errors import MalformedError, reason
from fanout.protocol.records import Trade
from fanout.stats.snapshots import RingStats
from fanout.transports.consolidate.metrics import Row, Second
from fanout.transports.consolidate.ring_file import OwnedRing

_LOG = logging.getLogger("fanout")

BATCH_TRADES: Final = 64
"""So many are stored before they count, and before the event loop gets its turn."""

PAUSE_S: Final = 0.0001
"""Pause behind a batch when more is to be written. Python's lock is free meanwhile."""

MAX_WAITING: Final = 20_000
"""Trades that wait for a ring that cannot be written, some 10 MB."""

RETRY_S: Final = 1.0

REMEMBERED: Final = 16_384
"""Newest records of a ring in which a start looks for trades that come again: a service with a
journal back-fills what its journal lacks, and that may be in the rings."""

_NS_PER_MS: Final = 1_000_000

Open = Callable[[str, bool], OwnedRing]
"""Opens the ring of a name; True at the first opening. Raises `BindError`."""


class Clocks(NamedTuple):
    """Unix ns, and the clock of the log."""

    wall_ns: Callable[[], int] = time.time_ns
    mono_ns: Callable[[], int] = time.monotonic_ns


REAL_CLOCKS: Final = Clocks()


class Waiting(NamedTuple):
    """A trade that is to be written."""

    maker: PayloadMaker
    trade: Trade
    published_ms: int
    taken_ms: int
    arrived_ns: int
    """By the clock of the log."""


class KeptRing:
    """One ring, and what waits for it."""

    def __init__(self, name: str, channel: str, open_ring: Open, clocks: Clocks) -> None:
        self.name = name
        self.channel = channel
        self.symbols: set[str] = set()
        """Those that the channel has now."""
        self.live: set[str] = set()
        self.why = ""
        """Why it is not written, in words; empty while it is."""
        self.ring: OwnedRing | None = None
        self.trades = self.bytes = self.lost = self.repeated = 0
        """Since the start."""
        self.last = Second()
        """The second that is over."""
        self._second = Second()
        self._open_ring = open_ring
        self._clocks = clocks
        self._was_open = False
        self._waiting: deque[Waiting] = deque()
        self._retry_ns = 0
        self._lost_before = 0
        """What was lost when it could not be written any more."""
        self._known: frozenset[tuple[str, int | str, int]] = frozenset()
        """Asset, id and time of the newest trades of earlier starts."""

    def open(self) -> None:
        """Open the ring. Raises `BindError`."""
        self.ring = ring = self._open_ring(self.name, not self._was_open)
        self._was_open = True
        self._known = frozenset(_known_in(ring))

    def add(self, waiting: Waiting) -> None:
        """Take a trade, unless the ring has it from an earlier start."""
        trade = waiting.trade
        if self._known and (trade.symbol, trade.trade_id, trade.time_ms) in self._known:
            self.repeated += 1
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(waiting)
        else:
            self.lose(1)

    def lose(self, count: int) -> None:
        self.lost += count
        self._second.lost += count

    @property
    def is_due(self) -> bool:
        """Whether something waits that can be tried now."""
        return bool(self._waiting) and self._clocks.mono_ns() >= self._retry_ns

    def write(self) -> None:
        """Write a batch of what waits. A failure is logged, and tried again later."""
        try:
            if self.ring is None:
                self.open()
            assert self.ring is not None, "it was opened"
            self._write(self.ring)
        except Exception as error:  # it must not be tried again at once
            self._fail(error)
            return
        if self.why:
            _LOG.warning(
                "ring %s goes on; %s records were lost meanwhile",
                self.name,
                f"{self.lost - self._lost_before:,}",
            )
            self.why = ""

    def look(self) -> None:
        """See whether the files are still there. One that was removed is made anew."""
        if self.ring is not None and not self.ring.is_whole():
            _LOG.error("ring %s was cut short or removed: opening it anew", self.name)
            self.close()
            try:
                self.open()
            except (BindError, OSError) as error:
                self._fail(error)

    def close(self) -> None:
        ring, self.ring = self.ring, None
        if ring is not None:
            ring.close()

    def drop(self) -> None:
        """At the end: what still waits is lost."""
        if self._waiting:
            _LOG.error("ring %s ends without its last %s trades", self.name, len(self._waiting))
        self.lose(len(self._waiting))
        self._waiting.clear()

    def turn(self) -> Row:
        """End a second."""
        self.last, self._second = self._second, Second()
        return Row(
            ring=self.name,
            second=self.last,
            seq=self.seq,
            dedupe_size=len(self._known),
            symbols_live=len(self.live),
        )

    @property
    def seq(self) -> int:
        ring = self.ring
        return 0 if ring is None else ring.head.seq

    def stats(self) -> RingStats:
        last, ring = self.last, self.ring
        return RingStats(
            name=self.name,
            channel=self.channel,
            why=self.why,
            symbols=len(self.symbols),
            symbols_live=len(self.live),
            seq=self.seq,
            data_bytes=ring.head.capacity if ring else 0,
            index_slots=ring.head.slots if ring else 0,
            trades=self.trades,
            bytes=self.bytes,
            waiting=len(self._waiting),
            lost=self.lost,
            repeated=self.repeated,
            dedupe_size=len(self._known),
            recv_to_write_ms_avg=last.write_ms_avg,
            recv_to_write_ms_max=last.write_ms_max,
            exchange_to_recv_ms_avg=last.delay_ms_avg,
        )

    def _write(self, ring: OwnedRing) -> None:
        now_ms = self._clocks.wall_ns() // _NS_PER_MS
        records: list[bytes] = []
        head = ring.head
        size, seq = 0, head.seq
        most = min(BATCH_TRADES, head.slots // 2)
        for each in self._waiting:
            stamps = Stamps(each.published_ms, each.taken_ms, now_ms, now_ms)
            seq += 1
            record = encode_record(TRADE, seq, each.maker.payload(each.trade, seq, stamps))
            size += len(record)
            if len(records) == most or size > head.margin:
                break
            records.append(record)
        if not records:
            self._waiting.popleft()
            self.lose(1)
            raise BindError(f"a trade of {size:,} bytes has no room in {head.capacity:,}")
        ring.append(records, TRADE)
        mono_ns = self._clocks.mono_ns()
        for record in records:
            each = self._waiting.popleft()
            self._second.add(
                size=len(record),
                write_ns=mono_ns - each.arrived_ns,
                delay_ns=_delay_ns(each.trade),
            )
            self.bytes += len(record)
        self.trades += len(records)

    def _fail(self, error: Exception) -> None:
        is_ours = not isinstance(error, BindError | OSError)
        why = reason(error) if isinstance(error, OSError) else str(error) or type(error).__name__
        if not self.why:
            self._lost_before = self.lost
            _LOG.error(
                "ring %s is not written: %s; trying again each second",
                self.name,
                why,
                exc_info=error if is_ours else None,
            )
        self.why = why
        self._retry_ns = self._clocks.mono_ns() + int(RETRY_S * 1e9)


def _known_in(ring: OwnedRing) -> list[tuple[str, int | str, int]]:
    known = []
    for record in ring.newest(REMEMBERED):
        if record.kind == TRADE:
            try:
                trade = decode_trade(record.payload)
            except MalformedError:
                continue  # of another writer; ours is found again
            known.append((trade.asset, trade.exchange_trade_id, trade.exchange_ts_ms))
    return known


def _delay_ns(trade: Trade) -> int | None:
    if trade.back_filled:
        return None
    ns_per_unit: int = 10 ** (trade.instrument.time_exponent + 9)
    return trade.received_ns - trade.time * ns_per_unit
