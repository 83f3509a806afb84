"""`fanout analytics fit`: make a fit from a journal, and say how well it predicts."""

from pathlib import Path
from typing import Annotated

import typer

from fanout.cli.outcome import exit_codes

fit = typer.Typer(
    name="fit",
    help="Make a fit from a journal: linear, microprice.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Symbol = Annotated[str, typer.Argument(help="The instrument.", metavar="SYMBOL")]
From = Annotated[
    str,
    typer.Option(
        "--from",
        help="journal://DIR, or journal://DIR/CHANNEL for another channel than the only one.",
        metavar="JOURNAL",
    ),
]
Out = Annotated[Path, typer.Option(help="The file of the fit, as JSON.", metavar="FILE")]
Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it exists, at the end.")]
Begin = Annotated[
    str | None,
    typer.Option(
        "--start", help="Begin there: a time like 2026-11-29T13:00Z, unix ns, or EPOCH_NS:SEQ."
    ),
]
Stop = Annotated[str | None, typer.Option("--to", help="End before this time.", metavar="TIME")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the fit as an object, instead of a table.")
]


@fit.command()
def linear(
    symbol: Symbol,
    journal: From,
    out: Out,
    horizon: Annotated[
        str, typer.Option(help="Of the mid's return that is predicted: 15s, 500ms.")
    ] = "15s",
    every: Annotated[
        str, typer.Option(help="Take a row at each multiple of this, by the records' time.")
    ] = "1s",
    columns: Annotated[
        str | None,
        typer.Option(
            help="The features. Numbers in their names can be others: volatility_5000ms.",
            metavar="COLUMN,...",
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Tests out of sample.", min=2, max=100)] = 5,
    start: Begin = None,
    to: Stop = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fit the mid's return over a horizon to features, by least squares.

    Example: fanout analytics fit linear BTCUSDT --from journal:///data/journal --out btc.json

    The journal needs books (--data book) or, for features of the best prices
    only, quotes. The fit is tested walk-forward: each of the folds is fitted on
    the time before it. R2 is given in sample and out of sample, with its
    standard error. Rows whose horizon has a hole are left out and counted.

    Without --columns the features are order_book_imbalance,
    liquidity_imbalance_10bps and order_flow_imbalance_1000ms.
    """
    with exit_codes():
        from fanout.cli.analysing.fitting import fit_line
        from fanout.cli.analysing.reading import Reading

        reading = Reading.of(symbol, journal, start, to)
        fit_line(
            reading,
            out,
            horizon=horizon,
            every=every,
            columns=columns,
            folds=folds,
            force=force,
            as_json=as_json,
        )


@fit.command()
def microprice(
    symbol: Symbol,
    journal: From,
    out: Out,
    spreads: Annotated[
        int, typer.Option(help="Spreads to tell apart, in ticks; the last has all wider ones.")
    ] = 4,
    buckets: Annotated[
        int, typer.Option(help="Parts of equal width of the imbalance of the best quantities.")
    ] = 10,
    tick: Annotated[
        str | None, typer.Option(help="Tick size. \\[default: the venue's]", metavar="PRICE")
    ] = None,
    start: Begin = None,
    to: Stop = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Estimate Stoikov's microprice (2018): where the mid will go, by spread and imbalance.

    Example: fanout analytics fit microprice BTCUSDT --from journal:///data/journal --out btc.json

    The journal needs books (--data book) or quotes.
    """
    with exit_codes():
        from fanout.cli.analysing.fitting import fit_microprice
        from fanout.cli.analysing.reading import Reading

        reading = Reading.of(symbol, journal, start, to)
        fit_microprice(
            reading,
            out,
            spreads=spreads,
            buckets=buckets,
            tick=tick,
            force=force,
            as_json=as_json,
        )
