"""Shows people what a comparison found."""

from collections.abc import Iterator, Sequence
from typing import Final

from fanout.cli.columns import aligned
from fanout.compare import Clock, Finding, Report, SideReport, SymbolReport, What
from fanout.compare.values import Spread
from fanout.config.moment import moment_text

MOST_SHOWN: Final = 20
"""Symbols without a difference that are shown."""

HEAD: Final = (
    *("SYMBOL", "MATCHED", "ONLY A", "ONLY B", "UNEQUAL", "DOUBLE", "ORDER"),
    *("LOST A", "LOST B", "OUTSIDE", "BOOKS", "A LATER p50/p90/p99/max", "B LATER"),
)

_WORDS: Final = {
    What.ONLY_A: "is only in A",
    What.ONLY_B: "is only in B",
    What.UNEQUAL: "differs",
    What.DOUBLE_A: "came twice in A",
    What.DOUBLE_B: "came twice in B",
    What.ORDER: "stands in another order",
    What.QUOTE: "differs",
    What.BOOK: "differs",
    What.UNDECIDED: "waited too long for the other stream",
}


def lines_of(
    report: Report, addresses: Sequence[str], clock: Clock, first: Sequence[Finding]
) -> Iterator[str]:
    """The table, what each side reported, the first of each kind of difference, and the verdict."""
    shown = sorted(report.symbols, key=lambda each: not each.differences)
    count = sum(bool(each.differences) for each in shown) + MOST_SHOWN
    yield from aligned([HEAD, *map(_row, shown[:count])])
    if shown[count:]:
        yield f"and {len(shown) - count:,} more symbols without a difference"
    for name, address, side in zip("AB", addresses, (report.a, report.b), strict=True):
        yield f"{name}: {address}: {_told(side)}"
    for name, symbols in (("A", report.only_served_by_a), ("B", report.only_served_by_b)):
        if symbols:
            yield f"only {name} has {_some(symbols)}"
    for name, has, lacks in (("A", "trades_a", "trades_b"), ("B", "trades_b", "trades_a")):
        alone = [each.symbol for each in shown if getattr(each, has) and not getattr(each, lacks)]
        if alone:
            yield f"only {name} has trades of {_some(alone)}"
    if any(each.a_later or each.b_later for each in shown):
        yield f"later: by the time of {_CLOCKS[clock]}"
    for each in first:
        yield f"first: {_finding(each)}"
    yield verdict(report)


_CLOCKS: Final = {
    Clock.ARRIVAL: "arrival here",
    Clock.RECEIVED: "receipt at each service, by its own clock",
}


def verdict(report: Report) -> str:
    """The outcome in a line."""
    matched = sum(each.matched for each in report.symbols)
    states = sum(each.quotes.matched + each.books.matched for each in report.symbols)
    what = _counted(matched, "trade") + (f" and {states:,} quotes and books" if states else "")
    if report.differences:
        return f"different: {_counted(report.differences, 'difference')}; {what} matched"
    if not report.compared:
        return "nothing could be compared: there is no time that both streams saw"
    windows = [each for each in report.symbols if each.first_ms is not None]
    if not windows:
        return f"equal: {what}"
    first_ms = min(each.first_ms or 0 for each in windows)
    last_ms = max(each.last_ms or 0 for each in windows)
    since, until = (moment_text(each * 1_000_000) for each in (first_ms, last_ms))
    return f"equal: {what}, from {since} to {until}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _row(report: SymbolReport) -> tuple[str, ...]:
    books = report.books.matched + report.quotes.matched
    unequal = report.books.unequal + report.quotes.unequal
    undecided = report.books.undecided + report.quotes.undecided
    counts = (
        report.matched,
        report.only_a,
        report.only_b,
        sum(report.unequal.values()),
        report.double_a + report.double_b,
        report.order,
        report.lost_a,
        report.lost_b,
        report.outside,
    )
    return (
        report.symbol,
        *(f"{each:,}" for each in counts),
        f"{books - unequal:,}/{books + undecided:,}" if books or undecided else "-",
        _spread(report.a_later),
        _spread(report.b_later),
    )


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    times = (spread.p50_ns, spread.p90_ns, spread.p99_ns, spread.max_ns)
    return "/".join(_ms(each / 1e6) for each in times) + " ms"


def _ms(value: float) -> str:
    """Three digits, or whole ms."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _told(side: SideReport) -> str:
    told = (
        (side.lost_records, "record lost", "records lost"),
        (side.lost_ids, "trade id unrecoverable", "trade ids unrecoverable"),
        (side.open_ids, "trade id of an open gap", "trade ids of open gaps"),
        (side.interruptions, "time not LIVE", "times not LIVE"),
        (side.disconnects, "disconnect", "disconnects"),
        (side.restarts, "restart", "restarts"),
        (side.excess, "more trade missing than reported", "more trades missing than reported"),
    )
    words = [f"{count:,} {one if count == 1 else many}" for count, one, many in told if count]
    return ", ".join((_counted(side.trades, "trade"), *(words or ["no loss reported"])))


def _some(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - 10} more" if len(symbols) > 10 else ""
    return ", ".join(symbols[:10]) + more


def _finding(finding: Finding) -> str:
    noun = finding.what.value if finding.what in (What.QUOTE, What.BOOK) else "trade"
    field = f" in {finding.field}: A {finding.a}, B {finding.b}" if finding.field else ""
    when = f" of {moment_text(finding.time_ms * 1_000_000)}" if finding.time_ms else ""
    return f"{finding.symbol} {noun} {finding.number}{when} {_WORDS[finding.what]}{field}"
