"""`fanout ... tcp`: run the service until a signal ends it."""

import logging
from collections.abc import Callable
from typing import Annotated, Final, cast

import msgspec
import typer

from fanout.cli.logs import log_to_stderr
from fanout.cli.outcome import exit_codes, say
from fanout.cli.secrets import read_api_key, read_token
from fanout.cli.size import parse_size
from fanout.cli.source_tables import SourceTable, source_of
from fanout.cli.venues import check_venue, keyed, spelled
from fanout.config import (
    DEFAULT_ASSETS,
    Config,
    FeedConfig,
    HttpConfig,
    ShmConfig,
    SimConfig,
    SourceConfig,
    TcpConfig,
    TransportConfig,
)
from fanout.config.assets import parse_assets
from fanout.errors import ConfigError, UsageError
from fanout.net.addresses import is_loopback

DEFAULT: Final = TcpConfig()


class ServeOptions(msgspec.Struct, kw_only=True):
    """The options in front of the transports, as they were typed, and the transports so far."""

    assets: tuple[str, ...]
    venue: str
    ws_url: str | None
    rest_url: str | None
    log_bytes: str
    stream: str
    connections: int
    symbols_per_connection: int
    rotate_after_s: float
    first_trade_timeout_s: float
    strict: bool
    patient: bool
    proxy: str | None
    http_port: int | None
    http_host: str
    act: Callable[["ServeOptions"], None]
    """What is done once the last transport is known."""
    tables: list[SourceTable] = []
    """The [[source]] tables of the configuration file."""
    transports: list[TransportConfig] = []
    contexts: list[typer.Context] = []
    """Of the command and of its transports, for who wants to know where values came from."""


def serve_tcp(
    context: typer.Context,
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", envvar="FANOUT_TCP_PORT")
    ] = DEFAULT.port,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 opens it to the network.", envvar="FANOUT_TCP_HOST"
        ),
    ] = DEFAULT.host,
    token_file: Annotated[
        str | None,
        typer.Option(
            help="File with the token that clients have to know; or set FANOUT_TOKEN.",
            envvar="FANOUT_TOKEN_FILE",
            metavar="FILE",
        ),
    ] = None,
    tls_cert: Annotated[
        str | None,
        typer.Option(
            help="Speak TLS, with this certificate (PEM).",
            envvar="FANOUT_TLS_CERT",
            metavar="FILE",
        ),
    ] = None,
    tls_key: Annotated[
        str | None,
        typer.Option(help="Its key (PEM).", envvar="FANOUT_TLS_KEY", metavar="FILE"),
    ] = None,
    max_clients: Annotated[
        int, typer.Option(help="Clients served at once.", envvar="FANOUT_MAX_CLIENTS")
    ] = DEFAULT.max_clients,
    max_per_address: Annotated[
        int,
        typer.Option(
            help="Clients of one address at once; 0 sets no limit.", envvar="FANOUT_MAX_PER_ADDRESS"
        ),
    ] = DEFAULT.max_per_address,
    accept_rate: Annotated[
        float, typer.Option(help="New connections a second.", envvar="FANOUT_ACCEPT_RATE")
    ] = DEFAULT.accept_rate,
    stall_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds after which a client that takes nothing, or is gone, is closed.",
            envvar="FANOUT_STALL_TIMEOUT",
        ),
    ] = DEFAULT.stall_timeout_s,
    max_lag: Annotated[
        float,
        typer.Option(
            help="A client that fell off the log goes on at its oldest block, or live if that is "
            "older than so many seconds.",
            envvar="FANOUT_MAX_LAG",
        ),
    ] = DEFAULT.max_lag_s,
    wire: Annotated[
        int,
        typer.Option(help="2, or 1 for the clients of perp_signal_hft.", envvar="FANOUT_WIRE"),
    ] = DEFAULT.wire,
) -> None:
    """Serve trades to any number of TCP clients.

    Example: fanout --assets BTCUSDT,ETHUSDT tcp --port 9000
    """
    with exit_codes():
        _add(
            context,
            TcpConfig(
                host=host,
                port=port,
                wire=wire,
                max_clients=max_clients,
                max_per_address=max_per_address,
                accept_rate=accept_rate,
                stall_timeout_s=stall_timeout,
                max_lag_s=max_lag,
                token=read_token(token_file),
                tls_cert=tls_cert,
                tls_key=tls_key,
            ),
        )


def serve_shm(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Option(help="Name of the queue, under /dev/shm.", envvar="FANOUT_SHM_NAME"),
    ],
    capacity: Annotated[
        str,
        typer.Option(
            help="Room for unread frames, a power of two: bytes, or KiB, MiB, GiB.",
            envvar="FANOUT_SHM_CAPACITY",
        ),
    ] = "1MiB",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the queue there at the end.")] = False,
) -> None:
    """Serve trades to one consumer on this machine, through a queue in shared memory.

    Example: fanout --assets BTCUSDT,ETHUSDT shm --name trade_queue --capacity 1MiB

    Each consumer takes a queue of its own: fanout shm --name a shm --name b
    """
    with exit_codes():
        _add(context, ShmConfig(name=name, capacity_bytes=parse_size(capacity), keep=keep))


TRANSPORT_COMMANDS: Final = {"tcp": serve_tcp, "shm": serve_shm}
TRANSPORT_SETTINGS: Final = {"allow_extra_args": True, "allow_interspersed_args": False}
"""A transport's command leaves what stands behind its options to the next transport."""


def _add(context: typer.Context, transport: TransportConfig) -> None:
    """Note a transport; go on to the next one, or act if this is the last."""
    options: ServeOptions = context.obj
    options.transports.append(transport)
    options.contexts.append(context)
    if context.args:
        add_transports(fanout_of(context), context.args, behind=str(context.info_name))
    else:
        options.act(options)


def fanout_of(context: typer.Context) -> typer.Context:
    """The context of `fanout` itself, of which this one is a command's."""
    assert context.parent is not None, "a command is one of fanout"
    return cast(typer.Context, context.parent)


def add_transports(parent: typer.Context, words: list[str], *, behind: str) -> None:
    """Go on with the transports in these words, which stand behind another one or a command."""
    name, *arguments = words
    if name not in TRANSPORT_COMMANDS:
        raise UsageError(f"{name!r} behind {behind}: {', '.join(TRANSPORT_COMMANDS)}")
    command = getattr(parent.command, "commands")[name]  # noqa: B009  typer types it as a command
    with command.make_context(name, arguments, parent=parent) as following:
        command.invoke(following)


def transports_in(parent: typer.Context) -> list[str]:
    """The transports that the configuration file has tables for."""
    return [name for name in TRANSPORT_COMMANDS if name in (parent.default_map or {})]


def serve(options: ServeOptions) -> None:
    """Run the service until a signal ends it."""
    config = config_of(options)
    log_to_stderr()
    if not (options.assets or options.tables):
        say(f"no --assets given: taking {','.join(DEFAULT_ASSETS)}")
    for words in open_to_all(config):
        say(words, logging.WARNING)
    from fanout.cli.running import run_until_signal

    received = run_until_signal(config)
    if received is not None:
        raise typer.Exit(128 + received)


def open_to_all(config: Config) -> list[str]:
    """Words of warning about each address that anybody on the network may use."""
    words = [
        f"{each.host} is open to the network: whoever reaches it gets the trades; "
        "--token-file would close it, and --tls-cert keep the token secret"
        for each in config.transports
        if isinstance(each, TcpConfig) and each.is_open
    ]
    words += [
        f"{each.host} is open to the network, and the token passes over it as it is: "
        "--tls-cert would hide it"
        for each in config.transports
        if isinstance(each, TcpConfig) and each.is_overheard
    ]
    if config.http is not None and not is_loopback(config.http.host):
        words.append(
            f"{config.http.host} is open to the network: whoever reaches it sees the status and "
            "the addresses of all clients"
        )
    return words


def config_of(options: ServeOptions) -> Config:
    """What to run. Raises `OperatorError`."""
    return Config(
        sources=_apart(_sources(options)),
        transports=tuple(options.transports),
        log_bytes=parse_size(options.log_bytes),
        http=None
        if options.http_port is None
        else HttpConfig(host=options.http_host, port=options.http_port),
    )


def _sources(options: ServeOptions) -> dict[str, list[SourceConfig]]:
    """The sources by who named them: those of --assets, one of each venue, and those of the
    configuration file, one of each table."""
    check_venue("--venue", options.venue)
    if options.venue == "sim" and (options.ws_url or options.rest_url):
        raise UsageError("--venue sim brings its own URLs: leave --ws-url and --rest-url out")
    feed = FeedConfig(
        stream=options.stream,
        connections=options.connections,
        symbols_per_connection=options.symbols_per_connection,
        rotate_after_s=options.rotate_after_s,
        first_trade_timeout_s=options.first_trade_timeout_s,
        strict=options.strict,
        patient=options.patient,
        proxy=options.proxy,
        api_key=read_api_key(),
    )
    named: dict[str, list[SourceConfig]] = {}
    if options.assets or not options.tables:
        assets = parse_assets(options.assets or DEFAULT_ASSETS, venue=options.venue)
        named["--assets"] = [_source(options, feed, *each) for each in assets.items()]
    for table in options.tables:
        named[table.where] = [source_of(table, venue=options.venue, feed=feed)]
    return named


def _source(
    options: ServeOptions, feed: FeedConfig, venue: str, assets: tuple[str, ...]
) -> SourceConfig:
    check_venue("--assets", venue)
    is_default = venue == options.venue
    return SourceConfig(
        venue=venue,
        assets=spelled(venue, assets),
        ws_url=options.ws_url if is_default else None,
        rest_url=options.rest_url if is_default else None,
        feed=keyed(feed, venue),
        sim=SimConfig() if venue == "sim" else None,
    )


def _apart(named: dict[str, list[SourceConfig]]) -> tuple[SourceConfig, ...]:
    """All sources. Raises `ConfigError` where two would feed one channel."""
    feeders: dict[str, str] = {}
    for where, sources in named.items():
        for each in sources:
            if each.name in feeders:
                raise ConfigError(
                    f"{where}: the channel {each.name} is that of {feeders[each.name]} already: "
                    "name another one here, channel = ..."
                )
            feeders[each.name] = where
    return tuple(each for sources in named.values() for each in sources)
