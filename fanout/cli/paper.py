"""`fanout paper`: a market maker that trades on paper."""

import typer

from fanout.cli.trading.report import report

paper = typer.Typer(
    name="paper",
    help="Trade on paper: no order leaves this machine.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
paper.command("report")(report)
