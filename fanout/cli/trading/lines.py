"""What happens on paper as lines on standard output: in plain words, or as the journal has it."""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from fanout.cli.analysing.stdout import LinesOutput
from fanout.config.moment import moment_text
from fanout.protocol.constants import Side
from fanout.protocol.instrument import Instrument
from fanout.trading.kill import KillState
from fanout.trading.reports import Fill, KillReport, QuoteReport, Report, RiskDecision, Trust
from fanout.trading.running.journal import encode
from fanout.trading.running.standing import QuoteStanding, quote_standing

MOST_LINES: Final = 10_000
"""Lines that wait for a reader who is slow: two megabytes."""

LAST_S: Final = 1.0
"""How long the last lines may take to be written."""

Named = Callable[[str], Instrument]
"""The instrument of a symbol."""


def moment_of(time_ns: int) -> str:
    """When something was, behind what it was. 0 is the time of what came before any record."""
    return f"at {moment_text(time_ns)}" if time_ns else "before the first record"


def line_of(report: Report, named: Named, *, with_quotes: bool = False) -> str | None:
    """A report in plain words; None for one that is for the journal alone."""
    match report:
        case Fill():
            words = _fill(report, named(report.symbol))
        case KillReport():
            words = _kill(report)
        case RiskDecision(is_allowed=False):
            words = f"order refused: {report.why}" if report.check else report.why
        case Trust():
            done = "fills are frozen" if report.is_frozen else "fills go on"
            words = f"{done}: {report.why}" if report.is_frozen else done
        case QuoteReport() if with_quotes:
            words = _quote(report, named(report.symbol))
        case _:
            return None
    when = moment_text(report.time_ns) if report.time_ns else moment_of(0)
    return f"{when} {report.symbol} {words}"


def quote_words(quote: QuoteStanding) -> str:
    """What the strategy wants."""
    bid = f"{quote.bid_quantity} at {quote.bid_price}" if quote.bid_price else "nothing"
    ask = f"{quote.ask_quantity} at {quote.ask_price}" if quote.ask_price else "nothing"
    reasons = f"fair {quote.fair_value:.10g}, skew {quote.skew:.6g}"
    return f"buy {bid}, sell {ask}; {reasons}"


def _quote(report: QuoteReport, instrument: Instrument) -> str:
    """What the strategy wants, with all reasons."""
    changed = [f"changed: {each}" for each in report.clamps]
    refused = [f"refused: {each}" for each in report.risk]
    words = quote_words(quote_standing(report, instrument))
    return f"quotes: {'; '.join([words, *changed, *refused])}"


def _fill(fill: Fill, instrument: Instrument) -> str:
    done = "bought" if fill.side is Side.BID else "sold"
    left = f", {instrument.quantity_text(fill.remaining)} left" if fill.remaining else ""
    return (
        f"{done} {instrument.quantity_text(fill.quantity)} at {instrument.price_text(fill.price)} "
        f"({fill.model.name.lower()}, order {fill.order_id}{left}), "
        f"position {instrument.quantity_text(fill.position)}, fee {fill.fee}"
    )


def _kill(report: KillReport) -> str:
    match report.state:
        case KillState.CANCELLING:
            count = len(report.open_orders)
            orders = f"{count} orders are" if count != 1 else "1 order is"
            return f"KILLED by {report.cause}: {report.why}; {orders} open"
        case KillState.LATCHED:
            return "nothing is open; it stays killed until fanout paper reset --who NAME"
    return f"armed again: {report.why}"


class WordsOutput(LinesOutput):
    """Reports in plain words, quotes with their reasons only if they are asked for."""

    def __init__(self, descriptor: int, named: Named, *, with_quotes: bool = False) -> None:
        super().__init__(descriptor)
        self._named = named
        self._with_quotes = with_quotes

    def add(self, rows: Sequence[Report]) -> None:
        """See `Output.add`."""
        self._pending += [f"{each}\n".encode() for each in self._lines(rows)]

    def count(self, rows: Sequence[Report]) -> int:
        """How many lines these reports have."""
        return len(self._lines(rows))

    def _lines(self, rows: Sequence[Report]) -> list[str]:
        quotes = self._with_quotes
        lines = (line_of(each, self._named, with_quotes=quotes) for each in rows)
        return [each for each in lines if each is not None]


class JsonOutput(LinesOutput):
    """The lines of the journal."""

    def add(self, rows: Sequence[Report]) -> None:
        """See `Output.add`."""
        self._pending += map(encode, rows)

    def count(self, rows: Sequence[Report]) -> int:
        """How many lines these reports have."""
        return len(rows)


class PatientOutput:
    """Keeps a slow reader of standard output from holding up a run on a live stream: what is beyond
    `MOST_LINES` is dropped, and counted. The journal has all of it. A run on a journal waits."""

    def __init__(self, inner: WordsOutput | JsonOutput, waits: Callable[[], bool]) -> None:
        self.dropped = 0
        """Lines that were not printed."""
        self._inner = inner
        self._waits = waits
        self._arrived = trio.Event()
        self._lock = trio.Lock()
        """Of who writes."""

    def add(self, rows: Sequence[Report]) -> None:
        """See `Output.add`."""
        if self._inner.unwritten > MOST_LINES and not self._waits():
            self.dropped += self._inner.count(rows)
        else:
            self._inner.add(rows)

    async def flush(self) -> None:
        """See `Output.flush`. On a live stream it leaves to `run` what a reader has no room for."""
        if self._waits():
            await self._write()
            return
        if not self._lock.locked():
            self._inner.flush_at_once()
        if self._inner.unwritten:
            self._arrived.set()

    async def run(self) -> None:
        """Write until cancelled. Raises as `LinesOutput.flush`."""
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            await self._write()

    async def end(self) -> None:
        """Write what is left, for as long as `LAST_S`."""
        with trio.move_on_after(LAST_S):
            await self._write()

    async def _write(self) -> None:
        async with self._lock:
            await self._inner.flush()
