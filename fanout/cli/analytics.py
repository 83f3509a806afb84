"""`fanout analytics`: what is computed from streams."""

import typer

from fanout.cli.analysing.nbbo import nbbo

analytics = typer.Typer(
    name="analytics",
    help="Features, best prices and signals from a stream.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
analytics.command("nbbo")(nbbo)
