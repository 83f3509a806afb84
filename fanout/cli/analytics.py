"""`fanout analytics`: features, best prices and signals from a stream."""

import typer

from fanout.cli.analysing.fit import fit
from fanout.cli.analysing.nbbo.command import nbbo
from fanout.cli.analysing.run import run

analytics = typer.Typer(
    name="analytics",
    help="Features, best prices and signals from a stream.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
analytics.command("run")(run)
analytics.command("nbbo")(nbbo)
analytics.add_typer(fit)
