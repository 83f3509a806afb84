"""The commands, and the options in front of them."""

import sys
from typing import Annotated, Final, NoReturn

import typer

from fanout.cli.check import check
from fanout.cli.config_file import DEFAULT, SOURCE, name_variables, read_config, source_of
from fanout.cli.logs import LogFormat, choose
from fanout.cli.memory import end_when_out_of_memory
from fanout.cli.outcome import emit, exit_codes, refuse
from fanout.cli.save import save
from fanout.cli.serve import (
    TRANSPORT_COMMANDS,
    TRANSPORT_SETTINGS,
    ServeOptions,
    add_transports,
    serve,
    serve_shm,
    serve_tcp,
    transports_in,
)
from fanout.cli.show_config import show_config
from fanout.cli.simulate import simulate
from fanout.cli.status import status
from fanout.cli.tail import tail
from fanout.config import DEFAULT_ASSETS, DEFAULT_LOG_BYTES, FeedConfig, HttpConfig
from fanout.config.source import STREAMS
from fanout.errors import UsageError
from fanout.venues import VENUES
from fanout.versions import versions

_EXAMPLES: Final = """
[bold]One exchange connection, many consumers, every trade accounted for.[/bold]

Serve two symbols to any number of clients, and watch them from another shell:

  fanout --assets BTCUSDT,ETHUSDT tcp --port 9000

  fanout tail tcp://127.0.0.1:9000

Without an exchange, from the built-in simulator:

  fanout --venue sim --assets BTCUSDT,ETHUSDT tcp --port 9000
"""

FEED: Final = FeedConfig()

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
            context.default_map = read_config(path, context.command, frozenset(TRANSPORT_COMMANDS))
    return path


def _print_version(wanted: bool) -> None:
    if wanted:
        known = versions()
        emit(f"fanout {known['fanout']}, wire {known['wire']}, {known['functions']}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    assets: Annotated[
        list[str],
        typer.Option(
            help="Symbols, comma-separated or repeated: SYMBOL of --venue, VENUE:SYMBOL, a pattern "
            "such as '*USDT', or all.",
            envvar="FANOUT_ASSETS",
            metavar="SYMBOL,...",
        ),
    ] = list(DEFAULT_ASSETS),  # noqa: B006  typer copies it
    venue: Annotated[
        str,
        typer.Option(
            help=f"Where trades come from: {', '.join(VENUES)}.",
            envvar="FANOUT_VENUE",
            autocompletion=lambda: list(VENUES),
        ),
    ] = "binance",
    ws_url: Annotated[
        str | None,
        typer.Option(help="WebSocket base URL instead of the venue's.", envvar="FANOUT_WS_URL"),
    ] = None,
    rest_url: Annotated[
        str | None,
        typer.Option(help="REST base URL instead of the venue's.", envvar="FANOUT_REST_URL"),
    ] = None,
    stream: Annotated[
        str,
        typer.Option(
            help="trade, aggTrade, or auto: trades, and aggregates where those stay silent.",
            envvar="FANOUT_STREAM",
            autocompletion=lambda: list(STREAMS),
        ),
    ] = FEED.stream,
    connections: Annotated[
        int,
        typer.Option(
            help="Connections to the exchange at once; the first to bring a trade wins.",
            envvar="FANOUT_CONNECTIONS",
        ),
    ] = FEED.connections,
    symbols_per_connection: Annotated[
        int,
        typer.Option(
            help="Symbols of a connection, on average; fewer where the exchange allows fewer.",
            envvar="FANOUT_SYMBOLS_PER_CONNECTION",
        ),
    ] = FEED.symbols_per_connection,
    rotate_after: Annotated[
        float,
        typer.Option(
            help="Seconds after which a connection is replaced, without a break; the exchange "
            "cuts it after 24 hours.",
            envvar="FANOUT_ROTATE_AFTER",
        ),
    ] = FEED.rotate_after_s,
    first_trade_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds after which a symbol without a trade is called stale.",
            envvar="FANOUT_FIRST_TRADE_TIMEOUT",
        ),
    ] = FEED.first_trade_timeout_s,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="End with exit code 69 if that happens.", envvar="FANOUT_STRICT"
        ),
    ] = False,
    patient: Annotated[
        bool,
        typer.Option(
            "--patient",
            help="At the start, wait for an exchange that limits or bans; else that ends it, 75.",
            envvar="FANOUT_PATIENT",
        ),
    ] = False,
    proxy: Annotated[
        str | None,
        typer.Option(
            help="Way to the exchange: http://HOST:PORT or socks5://HOST:PORT. "
            "\\[default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY]",
            envvar="FANOUT_PROXY",
            metavar="URL",
        ),
    ] = None,
    log_bytes: Annotated[
        str,
        typer.Option(
            help="Memory for what slow clients have not read yet: bytes, or KiB, MiB, GiB.",
            envvar="FANOUT_LOG_BYTES",
        ),
    ] = f"{DEFAULT_LOG_BYTES // 1024**2}MiB",
    http_port: Annotated[
        int | None,
        typer.Option(
            help="Answer /metrics, /healthz, /readyz and /status there; 0 takes a free port. "
            "\\[default: off]",
            envvar="FANOUT_HTTP_PORT",
        ),
    ] = None,
    http_host: Annotated[
        str, typer.Option(help="Address to answer on.", envvar="FANOUT_HTTP_HOST")
    ] = HttpConfig().host,
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
) -> None:
    choose(log_format, verbose - quiet)
    context.obj = ServeOptions(
        assets=() if source_of(context, "assets") == DEFAULT else tuple(assets),
        venue=venue,
        ws_url=ws_url,
        rest_url=rest_url,
        log_bytes=log_bytes,
        stream=stream,
        connections=connections,
        symbols_per_connection=symbols_per_connection,
        rotate_after_s=rotate_after,
        first_trade_timeout_s=first_trade_timeout,
        strict=strict,
        patient=patient,
        proxy=proxy,
        http_port=http_port,
        http_host=http_host,
        tables=(context.default_map or {}).get(SOURCE, []),
        act=serve,
    )
    if context.invoked_subcommand is None:
        with exit_codes():
            _serve_configured(context)


def _serve_configured(context: typer.Context) -> None:
    """Without a command: what the configuration file has tables for."""
    words = transports_in(context)
    if not words:
        raise UsageError("what is to be served? fanout [OPTIONS] tcp, or shm; fanout --help")
    add_transports(context, words, behind="fanout")


app.command("tcp", context_settings=TRANSPORT_SETTINGS)(serve_tcp)
app.command("shm", context_settings=TRANSPORT_SETTINGS)(serve_shm)
app.command("config", context_settings=TRANSPORT_SETTINGS)(show_config)
app.command("status")(status)
app.command("check", context_settings=TRANSPORT_SETTINGS)(check)
app.command("tail")(tail)
app.command("save")(save)
app.command("simulate")(simulate)


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
