"""`fanout ... tcp`: run the service until a signal ends it."""

import logging
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec
import typer

from fanout.cli.logs import log_to_stderr
from fanout.cli.options import with_options
from fanout.cli.outcome import exit_codes, say
from fanout.cli.secrets import read_credentials, read_token
from fanout.cli.source_tables import SourceTable, source_of
from fanout.cli.venues import check_venue, spelled
from fanout.config import (
    Config,
    FeedConfig,
    HttpConfig,
    SimConfig,
    SourceConfig,
    TransportConfig,
)
from fanout.config.assets import parse_assets, split_words
from fanout.config.options import made_from
from fanout.config.replay import ReplayConfig
from fanout.errors import ConfigError, UsageError
from fanout.net.addresses import serves_loopback
from fanout.transports import TRANSPORTS, TransportEntry
from fanout.venues import VENUES


class ServeOptions(msgspec.Struct, kw_only=True):
    """The options in front of the transports, as they were typed, and the transports so far."""

    said: dict[str, Any]
    """By the options' names."""
    has_assets: bool
    """Whether the symbols were given, and are not the default."""
    act: Callable[["ServeOptions"], None]
    """What is done once the last transport is known."""
    tables: list[SourceTable] = []
    """The [[source]] tables of the configuration file."""
    transports: list[TransportConfig] = []
    contexts: list[typer.Context] = []
    """Of the command and of its transports, for `fanout config`."""


TRANSPORT_SETTINGS: Final = {"allow_extra_args": True, "allow_interspersed_args": False}
"""A transport's command leaves what stands behind its options to the next transport."""


def transport_command(entry: TransportEntry) -> Callable[..., None]:
    """The command that serves by a kind of transport."""

    def serve_by(context: typer.Context, **said: Any) -> None:
        with exit_codes():
            _add(context, made_from(entry.config, said, token=read_token))

    serve_by.__doc__ = entry.help
    return with_options(serve_by, entry.options, command=entry.name)


def _add(context: typer.Context, transport: Any) -> None:
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
    if name not in TRANSPORTS:
        raise UsageError(f"{name!r} behind {behind}: {', '.join(TRANSPORTS)}")
    command = getattr(parent.command, "commands")[name]  # noqa: B009  typer types it as a command
    with command.make_context(name, arguments, parent=parent) as following:
        command.invoke(following)


def transports_in(parent: typer.Context) -> list[str]:
    """The transports that the configuration file has tables for."""
    return [name for name in TRANSPORTS if name in (parent.default_map or {})]


def serve(options: ServeOptions) -> None:
    """Run the service until a signal ends it."""
    config = config_of(options)
    log_to_stderr()
    if not (options.has_assets or options.tables):
        say(f"no --assets given: taking {','.join(config.sources[0].assets)}")
    for words in open_to_all(config):
        say(words, logging.WARNING)
    from fanout.cli.running import run_until_signal

    received = run_until_signal(config)
    if received is not None:
        raise typer.Exit(128 + received)


def open_to_all(config: Config | ReplayConfig) -> list[str]:
    """Words of warning about each address that anybody on the network may use."""
    words = [each for transport in config.transports for each in transport.warnings()]
    if config.http is not None and not serves_loopback(config.http.host):
        words.append(
            f"{config.http.host} is open to the network: whoever reaches it sees the status and "
            "the addresses of all clients"
        )
    return words


def config_of(options: ServeOptions) -> Config:
    """What to run. Raises `OperatorError`."""
    said = options.said
    return made_from(
        Config,
        said,
        sources=_apart(_sources(options)),
        transports=tuple(options.transports),
        http=None if said["http-port"] is None else made_from(HttpConfig, said),
    )


def _sources(options: ServeOptions) -> dict[str, list[SourceConfig]]:
    """The sources by where they are named: --assets makes one for each venue, and each [[source]]
    table of the configuration file makes one."""
    said, venue = options.said, options.said["venue"]
    check_venue("--venue", venue)
    if venue == "sim" and (said["ws-url"] or said["rest-url"]):
        raise UsageError("--venue sim brings its own URLs: leave --ws-url and --rest-url out")
    feed = made_from(FeedConfig, said)
    named: dict[str, list[SourceConfig]] = {}
    if options.has_assets or not options.tables:
        words = said["assets"] if options.has_assets else VENUES[venue].default_assets
        assets = parse_assets(words, venue=venue)
        named["--assets"] = [_source(said, feed, *each) for each in assets.items()]
    for table in options.tables:
        named[table.where] = [
            source_of(
                table,
                venue=venue,
                data=split_words(said["data"]),
                feed=feed,
                checksums=said["checksums"],
            )
        ]
    return {where: list(map(_with_credentials, sources)) for where, sources in named.items()}


def _with_credentials(source: SourceConfig) -> SourceConfig:
    credentials = read_credentials(VENUES[source.venue].secrets)
    return msgspec.structs.replace(source, credentials=credentials)


def _source(
    said: dict[str, Any], feed: FeedConfig, venue: str, assets: tuple[str, ...]
) -> SourceConfig:
    """The source of a venue that --assets names. The URLs are those of --venue's."""
    is_default = venue == said["venue"]
    return SourceConfig(
        venue=venue,
        assets=spelled(venue, assets),
        data=split_words(said["data"]),
        ws_url=said["ws-url"] if is_default else None,
        rest_url=said["rest-url"] if is_default else None,
        checksums=said["checksums"],
        feed=feed,
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
