"""What is to be seen of a feed from outside: its counters, as frozen snapshots.

When trades come is noted here, an instrument at a time and once a read; all else is counted where
it happens and read when somebody asks.
"""

from collections import deque
from collections.abc import Sequence

from fanout.feed.lanes import Lanes
from fanout.feed.liveness import Liveness
from fanout.feed.merge import Merge
from fanout.feed.reporter import Reporter
from fanout.feed.units import Units
from fanout.feed.venue_clock import VenueClock
from fanout.net.rest import RestClient
from fanout.protocol.records import Instrument, Trade
from fanout.stats.anomalies import Anomalies
from fanout.stats.histogram import SLICES, Histogram
from fanout.stats.snapshots import FeedStats, InstrumentStats, LinkStats


class _Arrivals:
    """When trades of one instrument came."""

    def __init__(self) -> None:
        self.delay = Histogram()
        self.last_s: float | None = None
        """In seconds of trio's clock."""
        self.past: deque[tuple[float, int]] = deque(maxlen=SLICES)
        """When a slice began, and how many trades there had been."""


class FeedView:
    """Looks at the parts of a feed; changes nothing."""

    def __init__(
        self,
        *,
        units: Units,
        lanes: Lanes,
        merge: Merge,
        liveness: Liveness,
        reporter: Reporter,
        clock: VenueClock,
        rest: RestClient,
        anomalies: Anomalies,
    ) -> None:
        self._arrivals = [_Arrivals() for _ in units.instruments]
        self._units = units
        self._lanes = lanes
        self._merge = merge
        self._liveness = liveness
        self._reporter = reporter
        self._clock = clock
        self._rest = rest
        self._anomalies = anomalies

    def note(self, trade: Trade, *, received_ns: int, now_s: float) -> None:
        """The oldest trade of its instrument in one read, which has waited longest."""
        arrivals = self._arrivals[trade.instrument.index]
        arrivals.delay.add(received_ns - trade.time_ms * 1_000_000)
        arrivals.last_s = now_s

    def turn(self, now_s: float) -> None:
        """Begin another slice of the last minute."""
        for instrument in self._units.instruments:
            arrivals = self._arrivals[instrument.index]
            arrivals.delay.turn()
            stream = self._lanes.stream_of(instrument)
            trades = self._merge.tally(stream, instrument.symbol).trades
            arrivals.past.append((now_s, trades))

    def delay(self, index: int) -> Histogram:
        """From the venue's time in a trade to ours."""
        return self._arrivals[index].delay

    def stats(self, now_s: float) -> FeedStats:
        offset = self._clock.offset
        return FeedStats(
            state=self._reporter.state.name,
            messages=self._lanes.messages,
            connections=self._lanes.connections,
            links=tuple(
                LinkStats(
                    name=link.name,
                    open_s=None if link.opened_s is None else now_s - link.opened_s,
                    won=link.won,
                    rotations=link.rotations,
                )
                for lane in self._lanes
                for link in lane.links
            ),
            instruments=tuple(self._instrument(each, now_s) for each in self._units.instruments),
            clock_offset_ns=offset.offset_ns if offset else None,
            clock_uncertainty_ns=offset.uncertainty_ns if offset else None,
            rest_weight=self._rest.budget.used,
            rest_weight_limit=self._rest.budget.limit,
            anomalies=dict(self._anomalies.counts),
        )

    def states(self) -> dict[str, str]:
        """What each symbol is, by the name of its state."""
        return {
            each.symbol: self._liveness.state(each.index).name for each in self._units.instruments
        }

    def _instrument(self, instrument: Instrument, now_s: float) -> InstrumentStats:
        stream = self._lanes.stream_of(instrument)
        tally = self._merge.tally(stream, instrument.symbol)
        arrivals = self._arrivals[instrument.index]
        return InstrumentStats(
            symbol=instrument.symbol,
            stream=stream,
            state=self._liveness.state(instrument.index).name,
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
            open_gaps=self._merge.open_gaps(instrument.symbol),
            delay=arrivals.delay.quantiles(),
        )


def _rate(past: Sequence[tuple[float, int]], trades: int, now_s: float) -> float:
    """Trades a second since the oldest slice that is kept."""
    if not past or now_s <= past[0][0]:
        return 0.0
    since_s, before = past[0]
    return (trades - before) / (now_s - since_s)
