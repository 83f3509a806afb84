"""What earlier starts of a run have left, by its journal: read once, entry by entry.

Little of it is kept, however long the journal is: positions, the orders that are not over, and the
newest state of each kill switch, account and quote.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Self

from fanout.protocol.instrument import Instrument
from fanout.trading.errors import LimitsError
from fanout.trading.journal import Entry, Started
from fanout.trading.kill import KillCause, KillRecord, KillState
from fanout.trading.reports import AccountReport, KillReport, QuoteReport, Report
from fanout.trading.restart import Past
from fanout.trading.risk import RiskRecord

_UNITS: Final = (
    "price_exponent",
    "quantity_exponent",
    "time_exponent",
    "contract_mantissa",
    "contract_exponent",
    "type",
)


class Left:
    """What is left of one symbol."""

    def __init__(self, instrument: Instrument) -> None:
        self.past = Past(instrument)
        self.kill = KillRecord()
        self.risk: RiskRecord | None = None
        """None if nothing was reported of it."""
        self.quote: QuoteReport | None = None

    def take(self, report: Report) -> None:
        """Take the next report of the symbol."""
        match report:
            case KillReport():
                self.kill = _kill(self.kill, report)
            case AccountReport():
                self.risk = RiskRecord(
                    day=report.day,
                    at_start=report.at_start,
                    highest=report.highest,
                    equity=report.equity,
                )
            case QuoteReport():
                self.quote = report
            case _:
                self.past.take(report)


def _kill(before: KillRecord, report: KillReport) -> KillRecord:
    state = KillState(report.state)
    # A switch latches some time after it was pulled: that time is kept.
    since_ns = before.since_ns if state is KillState.LATCHED else report.time_ns
    return KillRecord(state=state, cause=KillCause(report.cause), why=report.why, since_ns=since_ns)


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
        if entry.time_ns > self.newest_ns:
            self.newest_ns = entry.time_ns
        left = self._left.get(entry.symbol)
        if left is not None:
            left.take(entry)

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
