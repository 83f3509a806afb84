"""Snapshots of a feed's counters for monitoring.

This module records the arrival of trades, once per instrument and read. The other parts keep their
own counters, and a snapshot reads them.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from fanout.feed.parts import Parts
from fanout.feed.venue_clock import VenueClock
from fanout.net.rest import RestClient
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.stats.anomalies import Anomalies
from fanout.stats.histogram import SLICES, Histogram
from fanout.stats.pieces import Pieces
from fanout.stats.snapshots import BookStats, FeedStats, InstrumentStats, LinkStats

PIECE: Final = 25
"""Instruments that are looked at without a pause: half a millisecond's work."""


class _Arrivals:
    """Arrival times of one instrument's trades."""

    def __init__(self) -> None:
        self.delay = Histogram()
        self.last_s: float | None = None
        """Arrival of the last trade, in seconds of trio's clock."""
        self.past: deque[tuple[float, int]] = deque(maxlen=SLICES)
        """Begin of each slice, and the number of trades until then."""


class FeedView:
    """Reads the parts of a feed."""

    def __init__(
        self, parts: Parts, clock: VenueClock, rest: RestClient, anomalies: Anomalies
    ) -> None:
        self._arrivals: dict[int, _Arrivals] = {}
        self._parts = parts
        self._clock = clock
        self._rest = rest
        self._anomalies = anomalies

    def _of(self, index: int) -> _Arrivals:
        arrivals = self._arrivals.get(index)
        if arrivals is None:
            arrivals = self._arrivals[index] = _Arrivals()
        return arrivals

    def note(self, trade: Trade, *, received_ns: int, now_s: float) -> None:
        """Note the oldest trade of an instrument in one read. It has waited longest."""
        index = trade.instrument.index
        arrivals = self._arrivals.get(index) or self._of(index)
        arrivals.delay.add(received_ns - trade.time_ms * 1_000_000)
        arrivals.last_s = now_s

    def turn(self, now_s: float) -> None:
        """Begin a new slice of the last minute."""
        for entry in self._parts.roster:
            arrivals = self._of(entry.instrument.index)
            arrivals.delay.turn()
            symbol = entry.instrument.symbol
            stream = self._parts.connections.stream_of(symbol)
            arrivals.past.append((now_s, self._parts.sequences.tally(stream, symbol).trades))

    def delay(self, index: int) -> Histogram:
        """Delays from the venue's time in a trade to its arrival."""
        return self._of(index).delay

    def pieces(self, now_s: float) -> Pieces[FeedStats]:
        """All of it, some instruments at a time. Those that are looked at later may be newer by
        what came meanwhile."""
        instruments: list[InstrumentStats] = []
        for each in self._parts.roster.instruments:
            if instruments and not len(instruments) % PIECE:
                yield
            instruments.append(self._instrument(each, now_s))
        return self._stats(tuple(instruments), now_s)

    def _stats(self, instruments: tuple[InstrumentStats, ...], now_s: float) -> FeedStats:
        offset = self._clock.offset
        connections = self._parts.connections
        return FeedStats(
            state=self._parts.announcer.state.name,
            messages=connections.messages,
            connections=connections.connections,
            links=tuple(
                LinkStats(
                    name=link.name,
                    open_s=None if link.opened_s is None else now_s - link.opened_s,
                    won=link.won,
                    rotations=link.rotations,
                )
                for link in connections.links
            ),
            instruments=instruments,
            clock_offset_ns=offset.offset_ns if offset else None,
            clock_uncertainty_ns=offset.uncertainty_ns if offset else None,
            rest_weight=self._rest.budget.used,
            rest_weight_limit=self._rest.budget.limit,
            anomalies=dict(self._anomalies.counts),
        )

    def states(self) -> dict[str, str]:
        """The state of each served symbol. Delisted symbols are left out."""
        return {
            each.instrument.symbol: self._parts.liveness.state(each.instrument.index).name
            for each in self._parts.roster
            if not each.is_gone
        }

    def _instrument(self, instrument: Instrument, now_s: float) -> InstrumentStats:
        stream = self._parts.connections.stream_of(instrument.symbol)
        tally = self._parts.sequences.tally(stream, instrument.symbol)
        arrivals = self._of(instrument.index)
        quotes = self._parts.quotes.tally(instrument.index)
        return InstrumentStats(
            symbol=instrument.symbol,
            stream=stream,
            state=self._parts.liveness.state(instrument.index).name,
            trades=tally.trades,
            trades_per_s=_rate(arrivals.past, tally.trades, now_s),
            last_trade_s=None if arrivals.last_s is None else now_s - arrivals.last_s,
            back_filled=tally.back_filled,
            duplicates=tally.duplicates,
            spent=tally.spent,
            refused=tally.refused,
            missing=tally.missing,
            lost=tally.lost,
            no_trade=tally.no_trade,
            open_gaps=self._parts.sequences.open_gaps(instrument.symbol),
            delay=arrivals.delay.quantiles(),
            continuity=self._parts.sequences.continuity(stream).name,
            unproven_s=tally.unproven_s,
            quotes=quotes.quotes,
            old_quotes=quotes.old,
            book=self._book(instrument.index),
        )

    def _book(self, index: int) -> BookStats | None:
        books = self._parts.books
        return books.stats(index) if books.kind else None


def _rate(past: Sequence[tuple[float, int]], trades: int, now_s: float) -> float:
    """Trades per second since the oldest kept slice."""
    if not past or now_s <= past[0][0]:
        return 0.0
    since_s, before = past[0]
    return (trades - before) / (now_s - since_s)
