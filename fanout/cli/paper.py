"""`fanout paper`: a market maker that trades on paper."""

import typer

from fanout.cli.trading.kill import kill, reset
from fanout.cli.trading.run import run
from fanout.cli.trading.status import status

paper = typer.Typer(
    name="paper",
    help="Trade on paper: no order leaves this machine.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
paper.command("run")(run)
paper.command("kill")(kill)
paper.command("reset")(reset)
paper.command("status")(status)
