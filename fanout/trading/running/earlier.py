"""What earlier starts of a run have left, by its journal: read once, entry by entry.

Little of it is kept, however long the journal is: positions, the orders that are not over, and the
newest state of each kill switch, account and quote. So little fits in a line: `checkpoint` gives
all of it, and an `Earlier` that takes that line is the same again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Self

from msgspec.structs import replace

from fanout.protocol.instrument import Instrument
from fanout.trading.errors import LimitsError
from fanout.trading.kill import KillCause, KillRecord, KillState
from fanout.trading.reports import (
    AccountReport,
    Fill,
    KillReport,
    Mark,
    OrderReport,
    PositionReport,
    QuoteReport,
    Report,
    RiskDecision,
    Trust,
)
from fanout.trading.restart import Past
from fanout.trading.risk import RiskRecord
from fanout.trading.running.checkpoint import Checkpoint, SymbolRecord
from fanout.trading.running.journal import Entry, JournalError, Started

_UNITS: Final = (
    "price_exponent",
    "quantity_exponent",
    "time_exponent",
    "contract_mantissa",
    "contract_exponent",
    "type",
)


_OF_THE_EXCHANGE: Final = (OrderReport, Fill, PositionReport, RiskDecision)


class Left:
    """What is left of one symbol, from a checkpoint on, where there is one."""

    def __init__(self, instrument: Instrument, record: SymbolRecord | None = None) -> None:
        self.past = Past(instrument, record=record)
        self.kill = KillRecord() if record is None else record.kill
        self.risk: RiskRecord | None = None if record is None else record.risk
        """None if nothing was reported of it."""
        self.quote: QuoteReport | None = None if record is None else record.quote
        self._mark: Mark | None = None if record is None else record.mark
        self._trust: Trust | None = None if record is None else record.trust

    def take(self, report: Report) -> None:
        """Take the next report of the symbol."""
        if isinstance(report, _OF_THE_EXCHANGE):  # most of them
            self.past.take(report)
            return
        match report:
            case KillReport():
                self.kill = _kill(self.kill, report)
            case AccountReport():
                self.risk = _risk(report)
            case QuoteReport():
                self.quote = report
            case Mark():
                self.past.take(report)
                self._mark = report
            case Trust():
                self.past.take(report)
                self._trust = report

    def export(self) -> SymbolRecord:
        """The same, for a checkpoint."""
        return replace(
            self.past.export(),
            kill=self.kill,
            risk=self.risk,
            quote=self.quote,
            mark=self._mark,
            trust=self._trust,
        )


def _kill(before: KillRecord, report: KillReport) -> KillRecord:
    state = KillState(report.state)
    # A switch latches some time after it was pulled: that time is kept.
    since_ns = before.since_ns if state is KillState.LATCHED else report.time_ns
    return KillRecord(state=state, cause=KillCause(report.cause), why=report.why, since_ns=since_ns)


def _risk(report: AccountReport) -> RiskRecord:
    return RiskRecord(
        day=report.day, at_start=report.at_start, highest=report.highest, equity=report.equity
    )


class Earlier:
    """What earlier starts have left."""

    def __init__(self) -> None:
        self.started: Started | None = None
        """The newest start, None if there was none."""
        self.newest_ns = 0
        """The time of the newest report."""
        self._left: dict[str, Left] = {}
        self._instruments: dict[str, Instrument] = {}

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """Of all entries of a journal."""
        earlier = cls()
        for each in entries:
            earlier.take(each)
        return earlier

    def take(self, entry: Entry) -> None:
        """Take the next entry."""
        if isinstance(entry, Started):
            self.started = entry
            for each in entry.instruments:
                self._instruments[each.symbol] = each
                if each.symbol not in self._left:
                    self._left[each.symbol] = Left(each)
            return
        if isinstance(entry, Checkpoint):
            self._go_on(entry)
            return
        if entry.time_ns > self.newest_ns:
            self.newest_ns = entry.time_ns
        left = self._left.get(entry.symbol)
        if left is not None:
            left.take(entry)

    def _go_on(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint: what was taken before it makes no difference. Raises
        `JournalError`."""
        self.newest_ns = checkpoint.time_ns
        for each in checkpoint.symbols:
            instrument = self._instruments.get(each.symbol)
            if instrument is None:
                raise JournalError(f"the checkpoint has {each.symbol}, which is not traded")
            self._left[each.symbol] = Left(instrument, each)

    def checkpoint(self) -> Checkpoint:
        """All of it, for the next file."""
        symbols = tuple(each.export() for each in self._left.values())
        return Checkpoint(time_ns=self.newest_ns, symbols=symbols)

    def left_of(self, symbol: str) -> Left | None:
        """What is left of a symbol; None if it was not traded."""
        return self._left.get(symbol)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the newest start."""
        return {} if self.started is None else self.started.settings

    def require_same(self, instruments: dict[str, Instrument]) -> None:
        """Raises `LimitsError` where a symbol is gone, or has other units: its positions would mean
        something else."""
        for symbol, before in self._instruments.items():
            now = instruments.get(symbol)
            if now is None:
                raise LimitsError(
                    f"the journal has {symbol}, which is not among the symbols now: "
                    "start a new run in another directory"
                )
            for name in _UNITS:
                one, other = getattr(before, name), getattr(now, name)
                if one != other:
                    raise LimitsError(
                        f"the {name} of {symbol} was {one} in the journal, and is {other}: "
                        "start a new run in another directory"
                    )
