"""What is kept of a channel: its trades, by ring, and what is known to be missing. For the writing
thread alone; the event loop reads the plain counters.

    Taken --KeptChannel--> trades by ring --KeptRing--> records --OwnedRing--> files
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from fanout.channel.log import Entry
from fanout.errors import BindError
from fanout.protocol.block import decode_block
from fanout.protocol.consolidated import ring_name
from fanout.protocol.consolidated_trade import PayloadMaker
from fanout.protocol.constants import FeedState, FrameKind, GapState
from fanout.protocol.events import decode_event
from fanout.protocol.framing import payloads_of
from fanout.protocol.records import Gap, Header, Loss, Status
from fanout.transports.consolidate.kept_ring import REAL_CLOCKS, Clocks, KeptRing, Open, Waiting

_LOG = logging.getLogger("fanout")

_NS_PER_MS: Final = 1_000_000

Assign = Callable[[str, Sequence[str]], dict[str, int]]
"""The chunk of each symbol of a channel. Raises `BindError`."""


class Taken(msgspec.Struct, frozen=True):
    """What was taken from a channel's log. `lost` numbers were gone before."""

    entries: list[Entry[Header]]
    lost: int
    taken_ms: int
    size: int


class KeptChannel:
    """The rings of one channel."""

    def __init__(
        self, channel: str, *, assign: Assign, open_ring: Open, clocks: Clocks = REAL_CLOCKS
    ) -> None:
        self.channel = channel
        self.rings: list[KeptRing] = []
        """By the number of the chunk."""
        self.lost = 0
        """Numbers that the log dropped before they were taken, and trades of symbols without a
        chunk, since the start."""
        self._assign = assign
        self._open_ring = open_ring
        self._clocks = clocks
        self._header: Header | None = None
        self._chunks: dict[str, int] = {}
        self._has_unplaced = False
        self._places: list[tuple[KeptRing, PayloadMaker] | None] = []
        """By the instrument's index."""

    def use(self, header: Header) -> None:
        """Take the instruments of a header. Raises `BindError` if new symbols cannot be assigned
        to chunks."""
        symbols = [each.symbol for each in header.instruments]
        self._chunks = self._assign(self.channel, symbols)
        self._arrange(header)

    def look(self) -> None:
        """Try again what failed, and see whether the files are still there."""
        if self._has_unplaced and self._header is not None:
            self._follow(self._header)
        for each in self.rings:
            each.look()

    def _follow(self, header: Header) -> None:
        """Take the instruments of a header. Where new symbols cannot be assigned, the others go
        on."""
        try:
            self.use(header)
        except BindError as error:
            if not self._has_unplaced:
                _LOG.error("new symbols of %s are not kept: %s", self.channel, error)
            self._has_unplaced = True
            self._arrange(header)
            return
        self._has_unplaced = False

    def _arrange(self, header: Header) -> None:
        chunks = self._chunks
        for number in range(len(self.rings), max(chunks.values(), default=-1) + 1):
            name = ring_name(self.channel, number)
            self.rings.append(KeptRing(name, self.channel, self._open_ring, self._clocks))
        for ring in self.rings:
            ring.symbols = set()
        self._places = [None] * len(header.instruments)
        for each in header.instruments:
            if each.symbol in chunks:
                ring = self.rings[chunks[each.symbol]]
                ring.symbols.add(each.symbol)
                self._places[each.index] = ring, PayloadMaker(header.venue, each)
        for ring in self.rings:
            ring.live &= ring.symbols
        self._header = header

    def take(self, taken: Taken) -> None:
        """Take what the loop took from the log. Nothing is written yet."""
        if taken.lost:
            self._lose(taken.lost)
        for entry in taken.entries:
            try:
                self._take_entry(entry, taken.taken_ms)
            except Exception:  # the next block may be in order
                _LOG.exception("an internal fault in consolidate")
                self._lose(entry.next_seq - entry.first_seq)

    def _take_entry(self, entry: Entry[Header], taken_ms: int) -> None:
        if entry.context is not self._header:
            self._follow(entry.context)
        for payload in payloads_of(entry.frame):
            self._take_payload(payload, entry, taken_ms)

    def _take_payload(self, payload: bytes, entry: Entry[Header], taken_ms: int) -> None:
        kind, header = payload[0], entry.context
        if kind == FrameKind.TRADES:
            block = decode_block(payload, header)
            if block.is_snapshot:
                return
            published_ms = (block.received_ns + block.held_ns) // _NS_PER_MS
            for trade in block.trades:
                place = self._places[trade.instrument.index]
                if place is None:
                    self.lost += 1
                else:
                    ring, maker = place
                    ring.add(Waiting(maker, trade, published_ms, taken_ms, entry.arrived_ns))
        elif kind in (FrameKind.STATUS, FrameKind.GAP, FrameKind.LOSS):
            event = decode_event(payload, header)
            match event:
                case Status():
                    self._take_status(event)
                case Gap(state=GapState.UNRECOVERABLE):
                    place = self._places[event.instrument.index]
                    if place is not None:
                        place[0].lose(event.last_id - event.first_id + 1)
                case Loss():
                    self._lose(event.count)

    def _take_status(self, status: Status) -> None:
        if status.instrument is not None:
            place = self._places[status.instrument.index]
            if place is not None:
                live = place[0].live
                is_live = status.state is FeedState.LIVE
                (live.add if is_live else live.discard)(status.instrument.symbol)
        elif status.state is not FeedState.LIVE:
            for ring in self.rings:
                ring.live = set()

    def _lose(self, count: int) -> None:
        """Numbers are lost, of which nobody knows the symbols: they count for each ring."""
        self.lost += count
        for ring in self.rings:
            ring.lose(count)
        _LOG.error("the rings of %s lost %s records", self.channel, f"{count:,}")
