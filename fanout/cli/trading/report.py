"""`fanout paper report`: what a run on paper earned, and where, from its journal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from fanout.cli.outcome import emit, exit_codes, say
from fanout.cli.trading import DEFAULT_JOURNAL
from fanout.config.assets import typed_symbols
from fanout.errors import ConfigError, UsageError, shown
from fanout.protocol.errors import reason

if TYPE_CHECKING:
    from fanout.trading.figures import RunFigures

_MODELS = ("conservative", "probabilistic", "both")


def report(
    directory: Annotated[
        Path, typer.Argument(help="The journal of a run, or one of its files.", metavar="[DIR]")
    ] = Path(DEFAULT_JOURNAL),
    symbol: Annotated[
        str | None, typer.Option(help="Of one symbol only.", metavar="SYMBOL")
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="Of one fill model only: conservative, probabilistic.", metavar="MODEL"),
    ] = "both",
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw quotes and fills, inventory, profit in parts and drawdown over time. "
            "Needs matplotlib.",
            metavar="FILE.png",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.png if it exists.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all figures as an object, with every digit.")
    ] = False,
) -> None:
    """Report on a run on paper: profit in parts, fill ratios, adverse selection, drawdown.

    Example: fanout paper report
    Example: fanout paper report runs/btc --picture btc.png

    Both fill models are shown side by side: the truth is likely between them. A run
    that is still going can be reported on.
    """
    with exit_codes():
        from fanout.cli.trading.report_view import show

        if model not in _MODELS:
            raise UsageError(f"--model {shown(model)}: give one of {', '.join(_MODELS)}")
        if picture is not None:
            from fanout.cli.trading.picture import draw, require_target

            require_target(picture, force=force)
        figures = _chosen(_figures(directory), symbol, model)
        if picture is not None:
            draw(figures, picture, force=force)
        if as_json:
            emit(msgspec.json.encode(figures).decode())
        else:
            for line in show(figures):
                emit(line)
        for each in figures.symbols:
            if not any(of_model.fills for of_model in each.models):
                say(f"{each.symbol}: no fills yet")
        if picture is not None:
            say(f"saved to {picture}")


def _figures(directory: Path) -> "RunFigures":
    from fanout.trading.errors import TradingError
    from fanout.trading.journal import files_in, reports_of
    from fanout.trading.summary import RunSummary

    summary = RunSummary()
    try:
        if not directory.exists():
            raise ConfigError(f"{directory} does not exist: give the directory of a run's journal")
        if directory.is_dir() and not files_in(directory):
            raise ConfigError(
                f"{directory} has no journal of a run on paper, which are files such as "
                "00000000000000000001.jsonl: give the directory that `fanout paper run` writes"
            )
        for entry in reports_of(directory):
            summary.take(entry)
        figures = summary.figures()
    except TradingError as error:
        raise ConfigError(_placed(directory, str(error))) from error
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename or directory}: {reason(error)}") from error
    if not any(each.last_ns for each in figures.symbols):
        raise ConfigError(f"{directory}: the run has reported nothing yet")
    return figures


def _placed(directory: Path, why: str) -> str:
    return why if why.startswith(str(directory)) else f"{directory}: {why}"


def _chosen(figures: "RunFigures", symbol: str | None, model: str) -> "RunFigures":
    """The figures of what was asked for. Raises `UsageError` for a symbol that is not there."""
    replace = msgspec.structs.replace
    symbols = figures.symbols
    if symbol is not None:
        wanted = typed_symbols([symbol])
        symbols = tuple(each for each in symbols if each.symbol in wanted)
        if not symbols:
            traded = ", ".join(each.symbol for each in figures.symbols)
            raise UsageError(f"--symbol {shown(symbol)}: the run trades {traded}")
    if model != "both":
        symbols = tuple(
            replace(
                each,
                models=tuple(of for of in each.models if of.model == model),
                fills=tuple(of for of in each.fills if of.model == model),
                over_time=tuple(
                    replace(point, models={model: point.models[model]}) for point in each.over_time
                ),
            )
            for each in symbols
        )
    return replace(figures, symbols=symbols)
