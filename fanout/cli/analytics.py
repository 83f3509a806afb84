"""`fanout analytics`: features, best prices and signals from a stream."""

import typer

from fanout.cli.analysing.fit import fit

analytics = typer.Typer(
    name="analytics",
    help="Features, best prices and signals from a stream.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
analytics.add_typer(fit)
