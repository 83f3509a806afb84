"""The report on a run for people: tables of text."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.table import Table

from fanout.cli.figures import span
from fanout.cli.trading.amounts import money
from fanout.cli.trading.lines import moment_of
from fanout.config.moment import moment_text
from fanout.trading.report.figures import ModelFigures, Move, Ratio, RunFigures, SymbolFigures

MOMENTS: Final = 12
"""Rows of the table over time."""

_DAY_NS: Final = 86_400 * 10**9


def show(figures: RunFigures) -> Iterator[str]:
    """The lines of the report."""
    for number, each in enumerate(figures.symbols):
        if number:
            yield ""
        yield from _symbol(each)


def _symbol(figures: SymbolFigures) -> Iterator[str]:
    if not figures.over_time:
        yield f"{figures.symbol} at {figures.venue}: nothing reported yet"
        return
    yield from _head(figures)
    yield ""
    yield from _lines(_table(["", *(each.model for each in figures.models)], _rows(figures)))
    yield ""
    yield "Moves of the mid against the fills, in bps (positive: adverse selection)"
    yield from _lines(_moves(figures.models))
    yield ""
    yield from _lines(_over_time(figures))


def _head(figures: SymbolFigures) -> Iterator[str]:
    starts = "" if figures.starts == 1 else f", {figures.starts} starts"
    yield (
        f"{figures.symbol} at {figures.venue}: {moment_text(figures.first_ns)} to "
        f"{moment_text(figures.last_ns)}, {span(figures.observed_s)}{starts}"
    )
    if figures.opened_ns is not None:
        yield f"files of the journal from before {moment_text(figures.opened_ns)} are not there:"
        yield "position, profit, realised and fees are of the whole run, the rest is since then"
    frozen = f"{figures.freezes:,}, for {span(figures.frozen_s)}" if figures.freezes else "none"
    yield f"{figures.quotes:,} changes of the quotes; freezes of fills: {frozen}"
    if figures.refusals:
        counts = ", ".join(f"{name} {count:,}" for name, count in figures.refusals.items())
        yield f"limits that began to refuse: {counts}"
    for kill in figures.kills:
        cause = f" by {kill.cause}" if kill.cause else ""
        yield f"kill switch {kill.state}{cause} {moment_of(kill.time_ns)}: {kill.why}"


def _rows(figures: SymbolFigures) -> Iterator[list[str]]:
    models = figures.models
    currency = models[0].profit.currency
    yield [f"profit, {currency}", *(money(each.profit.total) for each in models)]
    parts = ("spread", "inventory")
    for name in parts if figures.opened_ns is None else ("opening", *parts):
        yield [f"  {name}", *(money(getattr(each.profit, name)) for each in models)]
    yield ["  fees", *(money(_negative(each.profit.fees)) for each in models)]
    for name in ("realised", "unrealised"):
        yield [f"{name}, before fees", *(money(getattr(each.profit, name)) for each in models)]
    yield ["largest drawdown", *(money(each.max_drawdown) for each in models)]
    yield ["turnover", *(money(each.turnover) for each in models)]
    yield ["position", *(each.position for each in models)]
    yield ["  from, to", *(f"{each.shortest}, {each.longest}" for each in models)]
    yield ["  time with one", *(_share(each.in_position) for each in models)]
    yield ["fills", *(_fills(each) for each in models)]
    yield ["orders filled at all", *(_of(each.orders) for each in models)]
    yield ["bought, of what was bid", *(_of(each.bought) for each in models)]
    yield ["sold, of what was offered", *(_of(each.sold) for each in models)]


def _fills(model: ModelFigures) -> str:
    taken = f", {model.taker_fills:,} as taker" if model.taker_fills else ""
    return f"{model.fills:,}{taken}"


def _moves(models: Sequence[ModelFigures]) -> Table:
    names = [name for each in models for name in (each.model, "fills")]
    rows = [["better than the mid", *_cells([each.edge for each in models])]]
    for number, horizon in enumerate(models[0].adverse):
        moves = [each.adverse[number] for each in models]
        rows.append([f"{horizon.horizon_s:g} s after the fill", *_cells(moves)])
    return _table(["", *names], rows)


def _cells(moves: Sequence[Move]) -> Iterator[str]:
    for each in moves:
        if each.bps is None:
            yield "-"
        else:
            error = "?" if each.bps_error is None else f"{each.bps_error:.3f}"
            yield f"{each.bps:+.3f} ± {error}"
        yield f"{each.count:,}" + (f" (+{each.unobserved:,} unseen)" if each.unobserved else "")


def _over_time(figures: SymbolFigures) -> Table:
    points = figures.over_time
    last = len(points) - 1
    chosen = sorted({round(last * each / (MOMENTS - 1)) for each in range(MOMENTS)})
    names = [each.model for each in figures.models]
    columns = [f"{over}\n{what}" for name in names for over, what in _columns(name)]
    is_long = figures.last_ns - figures.first_ns >= _DAY_NS
    rows = []
    for point in [points[at] for at in chosen]:
        moment = moment_text(point.time_ns)
        cells = [f"{moment[5:10]} {moment[11:16]}" if is_long else moment[11:19], point.mid or "-"]
        for name in names:
            model = point.models[name]
            cells += [model.position, money(model.total, 2), money(model.drawdown, 2)]
        rows.append(cells)
    return _table(["\nUTC", "\nmid", *columns], rows)


def _columns(model: str) -> Iterator[tuple[str, str]]:
    """The columns of a model, whose name stands over the first."""
    for what in ("position", "profit", "drawdown"):
        yield model if what == "position" else "", what


def _table(columns: Sequence[str], rows: Any) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, each in enumerate(columns):
        table.add_column(each, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _lines(table: RenderableType) -> Iterator[str]:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(table)
    yield from (line.rstrip() for line in capture.get().rstrip().splitlines())


def _negative(text: str) -> str:
    return str(-Decimal(text))


def _of(ratio: Ratio) -> str:
    share = "-" if ratio.ratio is None else f"{ratio.ratio:.1%}"
    return f"{ratio.part} of {ratio.whole} ({share})"


def _share(ratio: Ratio) -> str:
    return "-" if ratio.ratio is None else f"{ratio.ratio:.1%}"
