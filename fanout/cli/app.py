"""The commands, and the options in front of them."""

import sys
from typing import Annotated, Any, Final, NoReturn

import typer

from fanout.cli.analytics import analytics
from fanout.cli.book import book
from fanout.cli.bridge import bridge
from fanout.cli.check import check
from fanout.cli.compare import compare
from fanout.cli.config_file import DEFAULT, SOURCE, name_variables, read_config, source_of
from fanout.cli.journal import JournalCommand
from fanout.cli.logs import LogFormat, choose
from fanout.cli.memory import end_when_out_of_memory
from fanout.cli.options import with_options
from fanout.cli.outcome import emit, exit_codes, refuse
from fanout.cli.paper import paper
from fanout.cli.replay import ReplayCommand, replay
from fanout.cli.rings import rings
from fanout.cli.save import save
from fanout.cli.serve import (
    TRANSPORT_SETTINGS,
    ServeOptions,
    add_transports,
    serve,
    transport_command,
    transports_in,
)
from fanout.cli.show_config import show_config
from fanout.cli.simulate import simulate
from fanout.cli.status import status
from fanout.cli.symbols import symbols
from fanout.cli.tail import tail
from fanout.cli.venue_list import venues
from fanout.config import Config, SourceConfig
from fanout.config.options import options_of
from fanout.config.simulate import SimulateConfig
from fanout.errors import UsageError
from fanout.transports import TRANSPORTS
from fanout.versions import versions

_EXAMPLES: Final = """
[bold]One exchange connection, many consumers, every trade accounted for.[/bold]

Serve two symbols to any number of clients, and watch them from another shell:

  fanout --assets BTCUSDT,ETHUSDT tcp --port 9000

  fanout tail tcp://127.0.0.1:9000

Without an exchange, from the built-in simulator:

  fanout --venue sim --assets BTCUSDT,ETHUSDT tcp --port 9000
"""

app = typer.Typer(
    name="fanout",
    help=_EXAMPLES,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _read_config(context: typer.Context, path: str | None) -> str | None:
    """Have the file's values take the place of the defaults, before any other option is read."""
    if path and not context.resilient_parsing:
        with exit_codes():
            context.default_map = read_config(path, context.command, frozenset(TRANSPORTS))
    return path


def _print_version(wanted: bool) -> None:
    if wanted:
        known = versions()
        emit(f"fanout {known['fanout']}, wire {known['wire']}, {known['functions']}")
        raise typer.Exit


def options(
    context: typer.Context,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            help="human, or json: an object a line, for a collector.", envvar="FANOUT_LOG_FORMAT"
        ),
    ] = LogFormat.HUMAN,
    verbose: Annotated[
        int,
        typer.Option("-v", "--verbose", help="Say more.", count=True, envvar="FANOUT_VERBOSE"),
    ] = 0,
    quiet: Annotated[
        int,
        typer.Option(
            "-q",
            "--quiet",
            help="Say less: warnings, -qq errors.",
            count=True,
            envvar="FANOUT_QUIET",
        ),
    ] = 0,
    config: Annotated[
        str | None,
        typer.Option(
            help="TOML file with any of these options; a table for each transport's.",
            envvar="FANOUT_CONFIG",
            metavar="FILE",
            is_eager=True,
            callback=_read_config,
        ),
    ] = None,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print versions and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
    **said: Any,
) -> None:
    """Note the options, and serve what the configuration file has tables for if no command
    follows."""
    choose(log_format, verbose - quiet)
    context.obj = ServeOptions(
        said=said,
        has_assets=source_of(context, "assets") != DEFAULT,
        tables=(context.default_map or {}).get(SOURCE, []),
        act=serve,
    )
    if context.invoked_subcommand is None:
        with exit_codes():
            _serve_configured(context)


app.callback(invoke_without_command=True)(with_options(options, options_of(SourceConfig, Config)))


def _serve_configured(context: typer.Context) -> None:
    """Without a command: what the configuration file has tables for."""
    words = transports_in(context)
    if not words:
        raise UsageError(f"no transport given: add {' or '.join(TRANSPORTS)}; fanout --help")
    add_transports(context, words, behind="fanout")


for _entry in TRANSPORTS.values():
    app.command(
        _entry.name,
        cls=JournalCommand if _entry.name == "journal" else None,
        context_settings=TRANSPORT_SETTINGS,
    )(transport_command(_entry))
app.command("config", context_settings=TRANSPORT_SETTINGS)(show_config)
app.command("status")(status)
app.command("check", context_settings=TRANSPORT_SETTINGS)(check)
app.command("replay", cls=ReplayCommand, context_settings=TRANSPORT_SETTINGS)(replay)
app.command("tail")(tail)
app.command("save")(save)
app.command("book")(book)
app.command("compare")(compare)
app.add_typer(analytics)
app.add_typer(paper)
app.add_typer(bridge)
app.add_typer(rings)
app.command("venues")(venues)
app.command("symbols")(symbols)
app.command("simulate")(with_options(simulate, options_of(SimulateConfig), command="simulate"))


def run() -> NoReturn:
    """Do what the command line says, and exit."""
    end_when_out_of_memory()
    try:
        with exit_codes():
            command = typer.main.get_command(app)
            name_variables(command)
            sys.exit(command.main(prog_name="fanout", standalone_mode=False))
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except typer.TyperException as error:
        refuse(error)
