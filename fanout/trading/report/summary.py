"""The report on a run: profit in parts, fill ratios, adverse selection, drawdown, from its journal.

    summary = RunSummary()
    for entry in reports_of(directory):
        summary.take(entry)
    figures = summary.figures()

Both fill models stand side by side, as a bracket around the truth: `figures` has the values and
their meaning. The mids come from the marks in the journal (`marks`), so the market data is not
needed. A run that was started several times is one run: positions go on, and the time between two
starts counts nowhere. Where the oldest files are not there, the figures begin with the checkpoint
of the oldest one that is, and its position and profit.
"""

from __future__ import annotations

from collections import Counter, deque
from fractions import Fraction
from typing import Final

from msgspec.structs import replace

from fanout.protocol.constants import Side
from fanout.protocol.fixedpoint import to_text
from fanout.protocol.instrument import Instrument
from fanout.trading.exchange.own_order import MODELS
from fanout.trading.kill import KillState
from fanout.trading.orders import OrderEvent
from fanout.trading.report.figures import FillPoint, Kill, RunFigures, SymbolFigures, TimePoint
from fanout.trading.report.model_summary import ModelSummary, SummaryError
from fanout.trading.report.points import Points
from fanout.trading.reports import (
    Fill,
    KillReport,
    Mark,
    OrderReport,
    QuoteReport,
    Report,
    RiskDecision,
    Trust,
)
from fanout.trading.running.checkpoint import Checkpoint, SymbolRecord
from fanout.trading.running.journal import Entry, Started

MAX_KILLS: Final = 1_000
"""Most changes of the kill switch that are kept. The newest ones count."""

MAX_STARTS: Final = 1_000
"""Most starts whose times are kept. The newest ones count."""

MAX_FILLS: Final = 512
"""Most fills of a model and a side that are kept for a picture, evenly spread."""

OTHER: Final = "strategy"
"""Refusals that no limit made: a strategy raised."""


class SymbolSummary:
    """One symbol of a run, so far. With a `record` it begins with a checkpoint, of `opened_ns`."""

    def __init__(
        self,
        venue: str,
        instrument: Instrument,
        record: SymbolRecord | None = None,
        *,
        opened_ns: int = 0,
    ) -> None:
        self.instrument = instrument
        self._record = record
        self._venue = venue
        self._starts = 0
        self._first_ns = self._last_ns = self._opened_ns = opened_ns
        self._observed_ns = self._began_ns = 0
        """The newest time of the starts before this one. What a start reports before its first
        record has that time, or 0 if there was none."""
        self._is_running = False
        """Whether a later report of this start has come."""
        self._begun: deque[int] = deque(maxlen=MAX_STARTS)
        self._twice_mid = 0
        """The newest mid in half units of the price, 0 where it is not known."""
        self._quoted: QuoteReport | None = None
        self._quotes = self._freezes = self._frozen_ns = 0
        self._frozen_since_ns: int | None = None
        self._is_quoting = False
        """Whether the newest quote works. A freeze or a kill ends that. An order that is sent then
        shows that it works again: a quote that is the same is not reported twice."""
        self._refusals: Counter[str] = Counter()
        self._kills: list[Kill] = []
        twice_mid = 0 if record is None or record.mark is None else _twice_mid(record.mark)
        self._models = {
            model: ModelSummary(model, instrument, record, twice_mid) for model in MODELS
        }
        self._points: Points[TimePoint] = Points()
        self._fills = {
            (model, side): Points[FillPoint](MAX_FILLS) for model in MODELS for side in Side
        }

    def start(self, newest_ns: int = 0) -> None:
        """The run is started, or started again. `newest_ns` is the newest time so far, of all
        symbols."""
        self.end()
        self._starts += 1
        self._began_ns, self._is_running = newest_ns, False
        self._twice_mid = 0
        self._quoted = None

    def go_on(self) -> None:
        """The run was started before the checkpoint with which this begins."""
        record = self._record
        assert record is not None, "it begins with one"
        self._is_running = True
        self._quoted = record.quote
        self._is_quoting = bool(record.orders) and record.kill.state is KillState.ARMED
        if record.mark is not None:
            self._twice_mid = _twice_mid(record.mark)
        if record.trust is not None:
            self._trust(replace(record.trust, time_ns=self._last_ns))

    def follows(self, record: SymbolRecord) -> bool:
        """Whether a checkpoint goes on from here."""
        return all(each.follows(record) for each in self._models.values())

    def end(self) -> None:
        """There is nothing more of this start."""
        for each in self._models.values():
            each.settle(self._last_ns + 1, self._twice_mid)
            each.end()
        self._thaw(self._last_ns)

    def take(self, report: Report) -> None:
        """Take the next report of the symbol. Raises `SummaryError`."""
        self._pass_time(report.time_ns)
        match report:
            case Mark():
                self._mark(report)
            case Fill():
                self._models[report.model].fill(report, self._twice_mid)
                self._note_fill(report)
            case OrderReport():
                self._models[report.model].order(report)
                self._is_quoting = self._is_quoting or report.event is OrderEvent.SEND
            case QuoteReport():
                self._quotes += 1
                self._quoted, self._is_quoting = report, True
            case Trust():
                self._trust(report)
            case RiskDecision(is_allowed=False):
                self._refusals[report.check or OTHER] += 1
            case KillReport():
                self._kill(report)
            case _:
                return
        if self._last_ns and self._points.is_due(report.time_ns):
            self._points.add(self._point())

    def _pass_time(self, time_ns: int) -> None:
        if self._is_running and time_ns > self._last_ns:
            passed_ns = time_ns - self._last_ns
            self._observed_ns += passed_ns
            for each in self._models.values():
                each.pass_time(passed_ns)
        if not self._is_running and time_ns > self._began_ns:
            self._is_running = True
            self._begun.append(time_ns)
        self._first_ns = self._first_ns or time_ns
        self._last_ns = max(self._last_ns, time_ns)

    def _mark(self, mark: Mark) -> None:
        for each in self._models.values():
            each.settle(mark.since_ns, self._twice_mid)
        self._twice_mid = _twice_mid(mark)
        if self._twice_mid:
            for each in self._models.values():
                each.mark(self._twice_mid, mark.time_ns)

    def _note_fill(self, fill: Fill) -> None:
        points = self._fills[fill.model, fill.side]
        if points.is_due(fill.time_ns):
            points.add(
                FillPoint(
                    time_ns=fill.time_ns,
                    model=fill.model.name.lower(),
                    side=fill.side.name.lower(),
                    price=self.instrument.price_text(fill.price),
                    quantity=self.instrument.quantity_text(fill.quantity),
                )
            )

    def _trust(self, report: Trust) -> None:
        self._is_quoting = self._is_quoting and not report.is_frozen
        if not report.is_frozen:
            self._thaw(report.time_ns)
        elif self._frozen_since_ns is None:
            self._freezes += 1
            self._frozen_since_ns = report.time_ns

    def _thaw(self, time_ns: int) -> None:
        if self._frozen_since_ns is not None:
            self._frozen_ns += time_ns - self._frozen_since_ns
            self._frozen_since_ns = None

    def _kill(self, report: KillReport) -> None:
        self._is_quoting = self._is_quoting and report.state == KillState.ARMED
        kill = Kill(time_ns=report.time_ns, state=report.state, cause=report.cause, why=report.why)
        self._kills = [*self._kills, kill][-MAX_KILLS:]

    def _point(self) -> TimePoint:
        quoted = self._quoted if self._is_quoting else None
        exponent = self.instrument.price_exponent
        mid = to_text(5 * self._twice_mid, exponent - 1) if self._twice_mid else None
        return TimePoint(
            time_ns=self._last_ns,
            mid=mid,
            bid=None if quoted is None else self._price(quoted.bid_price),
            ask=None if quoted is None else self._price(quoted.ask_price),
            models={model.name.lower(): each.point for model, each in self._models.items()},
        )

    def _price(self, price: int | None) -> str | None:
        return None if price is None else self.instrument.price_text(price)

    def figures(self) -> SymbolFigures:
        """All of it, once `end` was called."""
        points = self._points.kept
        if self._last_ns and (not points or points[-1].time_ns < self._last_ns):
            points = [*points, self._point()]
        return SymbolFigures(
            venue=self._venue,
            symbol=self.instrument.symbol,
            opened_ns=None if self._record is None else self._opened_ns,
            starts=self._starts,
            begun_ns=tuple(self._begun),
            first_ns=self._first_ns,
            last_ns=self._last_ns,
            observed_s=_seconds(self._observed_ns),
            quotes=self._quotes,
            freezes=self._freezes,
            frozen_s=_seconds(self._frozen_ns),
            refusals=dict(self._refusals.most_common()),
            kills=tuple(self._kills),
            models=tuple(each.figures(self._observed_ns) for each in self._models.values()),
            over_time=tuple(points),
            fills=tuple(
                sorted(
                    [fill for each in self._fills.values() for fill in each.kept],
                    key=lambda each: each.time_ns,
                )
            ),
        )


class RunSummary:
    """A run, so far. See the module."""

    def __init__(self) -> None:
        self._started: Started | None = None
        self._files = self._newest_ns = 0
        self._symbols: dict[str, SymbolSummary] = {}

    def take(self, entry: Entry) -> None:
        """Take the next entry of the journal. Raises `SummaryError`."""
        if isinstance(entry, Started):
            self._start(entry)
            return
        if isinstance(entry, Checkpoint):
            self._go_on(entry)
            return
        summary = self._symbols.get(entry.symbol)
        if summary is None:
            raise _untraded(entry.symbol)
        summary.take(entry)
        self._newest_ns = max(self._newest_ns, entry.time_ns)

    def _start(self, started: Started) -> None:
        self._started = started
        self._files += 1
        for each in started.instruments:
            known = self._symbols.setdefault(each.symbol, SymbolSummary(started.venue, each))
            _require_same(known.instrument, each)
            if started.part == 1 or self._files == 1:
                known.start(self._newest_ns)

    def _go_on(self, checkpoint: Checkpoint) -> None:
        """Begin with a checkpoint unless the files before it are there, all of them, or nothing was
        reported in them."""
        assert self._started is not None, "its line is the first"
        begins = self._files == 1 and checkpoint.time_ns > 0
        self._newest_ns = max(self._newest_ns, checkpoint.time_ns)
        for record in checkpoint.symbols:
            known = self._symbols.get(record.symbol)
            if known is None:
                raise _untraded(record.symbol)
            if begins or not known.follows(record):
                self._symbols[record.symbol] = opened = SymbolSummary(
                    self._started.venue, known.instrument, record, opened_ns=checkpoint.time_ns
                )
                opened.start(self._newest_ns)
                if self._started.part > 1:
                    opened.go_on()

    def figures(self) -> RunFigures:
        """All of it. Raises `SummaryError` where nothing was reported."""
        if self._started is None:
            raise SummaryError("the journal is empty: no run has begun")
        for each in self._symbols.values():
            each.end()
        return RunFigures(
            fanout=self._started.fanout,
            inputs=self._started.inputs,
            settings=self._started.settings,
            symbols=tuple(each.figures() for each in self._symbols.values()),
        )


def _untraded(symbol: str) -> SummaryError:
    return SummaryError(f"{symbol} is reported, and the run does not trade it")


def _twice_mid(mark: Mark) -> int:
    """The mid in half units of the price, 0 where there is none."""
    if mark.bid is None or mark.ask is None:
        return 0
    return max(mark.bid + mark.ask, 0)


def _require_same(known: Instrument, now: Instrument) -> None:
    for name in _UNITS:
        before, after = getattr(known, name), getattr(now, name)
        if before != after:
            raise SummaryError(
                f"{now.symbol} has {name} {after} from a start on, and {before} before it: report "
                "on each start alone, by the name of its file"
            )


_UNITS: Final = (
    "price_exponent",
    "quantity_exponent",
    "contract_mantissa",
    "contract_exponent",
    "type",
)


def _seconds(ns: int) -> float:
    return float(Fraction(ns, 10**9))
