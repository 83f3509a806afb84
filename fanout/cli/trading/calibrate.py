"""`fanout paper calibrate`: A, k and sigma of an instrument, from a journal of market data."""

from pathlib import Path
from typing import Annotated

import typer

from fanout.cli.outcome import exit_codes


def calibrate(
    symbol: Annotated[str, typer.Argument(help="The instrument.", metavar="SYMBOL")],
    journal: Annotated[
        str,
        typer.Option(
            "--from",
            help="journal://DIR, or journal://DIR/CHANNEL for another channel than the only one.",
            metavar="JOURNAL",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the fit there as JSON, for calibration = FILE in \\[strategy].",
            metavar="FILE",
        ),
    ] = None,
    horizon: Annotated[
        str, typer.Option(help="Of the moves of the mid that sigma is made from: 1s, 500ms.")
    ] = "1s",
    nearest: Annotated[
        str | None,
        typer.Option(
            help="First distance from the mid. \\[default: the mean half spread and a tick]",
            metavar="PRICE",
        ),
    ] = None,
    farthest: Annotated[
        str | None,
        typer.Option(
            help="Last distance. \\[default: where a twentieth of those orders reach]",
            metavar="PRICE",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start", help="Begin there: a time like 2026-11-29T13:00Z, unix ns, or EPOCH_NS:SEQ."
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="End before this time.", metavar="TIME")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the fit as an object, instead of a table.")
    ] = False,
) -> None:
    """Fit A, k and sigma for Avellaneda-Stoikov and GLFT, with the errors of the fit.

    Example: fanout paper calibrate BTCUSDT --from journal:///data/journal --out btc.json

    A quote at a distance d from the mid is hit A exp(-k d) times a second: by the
    taker orders of the journal that reached that far from the mid just before them.
    The journal needs trades and books (--data trades,book). docs/trading.md has the
    definitions.
    """
    with exit_codes():
        from fanout.cli.analysing.reading import Reading
        from fanout.cli.trading.calibrating import fit_intensity

        fit_intensity(
            Reading.of(symbol, journal, start, to),
            out,
            horizon=horizon,
            nearest=nearest,
            farthest=farthest,
            force=force,
            as_json=as_json,
        )
