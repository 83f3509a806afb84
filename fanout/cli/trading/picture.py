"""The picture of a run: four panels over time, drawn with matplotlib.

    prices       the mid, the own quotes, and the fills
    position     of each fill model
    profit       its parts, of each fill model, and the total
    drawdown     of each fill model

Colours are for what is shown, line styles for the fill models: the conservative one is solid.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from fanout.cli.outcome import OutputError
from fanout.cli.saving.aside import require_free, writing
from fanout.clients.columns.frames import needed
from fanout.config.moment import moment_text
from fanout.errors import ConfigError, UsageError
from fanout.protocol.errors import reason
from fanout.trading.report.figures import RunFigures, SymbolFigures, TimePoint

_STYLES: Final = {"conservative": "-", "probabilistic": "--"}
_FACES: Final = {"conservative": True, "probabilistic": False}
_PARTS: Final = (
    ("spread", "tab:blue"),
    ("inventory", "tab:orange"),
    ("fees", "tab:red"),
    ("total", "black"),
)
_OPENING: Final = ("opening", "tab:gray")
"""Drawn where the figures do not begin with the run."""
_BUY, _SELL = "tab:green", "tab:red"
_SIZE: Final = (12, 11)
_DPI: Final = 110
_SUFFIXES: Final = (".png", ".svg", ".pdf")


def require_target(target: Path, *, force: bool) -> None:
    """Raises `UsageError` and `MissingPackageError` where no picture can be drawn into the file,
    whose name says the format."""
    if target.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--picture {target}: the name has to end with {', '.join(_SUFFIXES)}")
    require_free(target, force=force)
    needed("matplotlib", f"--picture {target}")


def draw(figures: RunFigures, target: Path, *, force: bool) -> None:
    """Draw the one symbol into a file that `require_target` has accepted. Raises `UsageError`,
    `ConfigError` and `OutputError`."""
    if len(figures.symbols) > 1:
        names = ", ".join(each.symbol for each in figures.symbols)
        raise UsageError(f"--picture shows one symbol: choose with --symbol one of {names}")
    if not figures.symbols[0].over_time:
        raise ConfigError(f"{figures.symbols[0].symbol}: nothing reported yet, so nothing to draw")
    figure = _drawn(figures.symbols[0])
    with writing(target, force=force) as aside:
        try:
            figure.savefig(aside.path, format=target.suffix[1:].lower(), dpi=_DPI)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {reason(error)}") from error
        aside.complete(force=force)


def _drawn(figures: SymbolFigures) -> Any:
    # Without pyplot there is no window, no global state and no choice of a backend.
    figure = needed("matplotlib.figure", "--picture").Figure(figsize=_SIZE, layout="constrained")
    panels = figure.subplots(4, 1, sharex=True, height_ratios=(3, 1.3, 2.2, 1.3))
    times = [_time(each.time_ns) for each in figures.over_time]
    _prices(panels[0], figures)
    _position(panels[1], figures, times)
    _profit(panels[2], figures, times)
    _drawdown(panels[3], figures, times)
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.margins(x=0.01)
    _time_axis(panels[-1], times)
    figure.suptitle(
        f"{figures.symbol} at {figures.venue}, on paper: {_moment(figures.first_ns)} to "
        f"{_moment(figures.last_ns)}"
    )
    return figure


def with_pauses(figures: SymbolFigures) -> Iterator[TimePoint]:
    """The points over time. Behind the last one before each later start stands one without prices:
    nobody looked at the market between two starts."""
    begun, before = deque(figures.begun_ns), None
    for point in figures.over_time:
        while begun and begun[0] <= point.time_ns:
            if before is not None and before.time_ns < begun[0]:
                yield replace(before, mid=None, bid=None, ask=None)
            begun.popleft()
        yield point
        before = point


def _prices(axes: Any, figures: SymbolFigures) -> None:
    points = list(with_pauses(figures))
    times = [_time(each.time_ns) for each in points]
    bids, asks = ([_number(getattr(e, side)) for e in points] for side in ("bid", "ask"))
    axes.fill_between(
        times, bids, asks, step="post", color="tab:blue", alpha=0.2, lw=0, label="own quotes"
    )
    for quotes in (bids, asks):
        axes.plot(times, quotes, c="tab:blue", lw=0.6, drawstyle="steps-post")
    mids = [_number(each.mid) for each in points]
    axes.plot(times, mids, c="black", lw=0.8, drawstyle="steps-post", label="mid")
    for model in figures.models:
        for side, marker, colour in (("bid", "^", _BUY), ("ask", "v", _SELL)):
            of_side = [e for e in figures.fills if e.model == model.model and e.side == side]
            verb = "bought" if side == "bid" else "sold"
            axes.plot(
                [_time(each.time_ns) for each in of_side],
                [float(each.price) for each in of_side],
                marker,
                ms=3 if _FACES[model.model] else 5.5,
                mec=colour,
                mew=0.6,
                mfc=colour if _FACES[model.model] else "none",
                label=f"{verb}, {model.model}",
            )
    drawn, made = len(figures.fills), sum(each.fills for each in figures.models)
    axes.set_ylabel("price" if drawn == made else f"price ({drawn:,} of {made:,} fills)")
    _legend(axes)


def _position(axes: Any, figures: SymbolFigures, times: list[datetime]) -> None:
    for model in figures.models:
        held = [float(each.models[model.model].position) for each in figures.over_time]
        axes.plot(
            times,
            held,
            _STYLES[model.model],
            lw=1,
            c="tab:purple",
            drawstyle="steps-post",
            label=model.model,
        )
    axes.axhline(0, c="grey", lw=0.6)
    axes.set_ylabel("position")
    _legend(axes)


def _profit(axes: Any, figures: SymbolFigures, times: list[datetime]) -> None:
    for model in figures.models:
        for part, colour in _PARTS if figures.opened_ns is None else (_OPENING, *_PARTS):
            amounts = [float(getattr(each.models[model.model], part)) for each in figures.over_time]
            if part == "fees":
                amounts = [-each for each in amounts]
            axes.plot(
                times,
                amounts,
                _STYLES[model.model],
                lw=1.4 if part == "total" else 0.9,
                c=colour,
                label=f"{part}, {model.model}",
            )
    axes.axhline(0, c="grey", lw=0.6)
    axes.set_ylabel(f"profit, {figures.models[0].profit.currency}")
    _legend(axes)


def _drawdown(axes: Any, figures: SymbolFigures, times: list[datetime]) -> None:
    for model in figures.models:
        fallen = [-float(each.models[model.model].drawdown) for each in figures.over_time]
        if model is figures.models[0]:
            axes.fill_between(times, fallen, 0, color="tab:red", alpha=0.2, lw=0)
        axes.plot(times, fallen, _STYLES[model.model], lw=1, c="tab:red", label=model.model)
    axes.set_ylabel(f"drawdown, {figures.models[0].profit.currency}")
    _legend(axes)


def _legend(axes: Any) -> None:
    """Beside the panel, where it hides nothing."""
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.005, 1),
        borderaxespad=0,
        fontsize="small",
        frameon=False,
    )


def _time_axis(axes: Any, times: list[datetime]) -> None:
    dates = needed("matplotlib.dates", "--picture")
    locator = dates.AutoDateLocator(tz=UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlabel("UTC")


def _moment(time_ns: int) -> str:
    return moment_text(time_ns)[:19].replace("T", " ")


def _time(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / 1e9, UTC)


def _number(text: str | None) -> float:
    """A price, or a gap in the line."""
    return float("nan") if text is None else float(text)
