"""`fanout ... tcp`: run the service until a signal ends it."""

import logging
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec
import typer

from fanout.cli.logs import log_to_stderr
from fanout.cli.options import with_options
from fanout.cli.outcome import exit_codes, say
from fanout.cli.secrets import read_api_key, read_token
from fanout.config import (
    DEFAULT_ASSETS,
    Config,
    FeedConfig,
    HttpConfig,
    SimConfig,
    TransportConfig,
)
from fanout.config.assets import parse_assets
from fanout.config.options import made_from
from fanout.errors import UsageError
from fanout.net.addresses import is_loopback
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
    if not options.has_assets:
        say(f"no --assets given: taking {','.join(DEFAULT_ASSETS)}")
    for words in open_to_all(config):
        say(words, logging.WARNING)
    from fanout.cli.running import run_until_signal

    received = run_until_signal(config)
    if received is not None:
        raise typer.Exit(128 + received)


def open_to_all(config: Config) -> list[str]:
    """Words of warning about each address that anybody on the network may use."""
    words = [each for transport in config.transports for each in transport.warnings()]
    if config.http is not None and not is_loopback(config.http.host):
        words.append(
            f"{config.http.host} is open to the network: whoever reaches it sees the status and "
            "the addresses of all clients"
        )
    return words


def config_of(options: ServeOptions) -> Config:
    """What to run. Raises `OperatorError`."""
    said = options.said
    venue = said["venue"]
    if venue not in VENUES:
        raise UsageError(f"unknown venue {venue!r}: {', '.join(VENUES)}")
    is_simulated = venue == "sim"
    if is_simulated and (said["ws-url"] or said["rest-url"]):
        raise UsageError("--venue sim brings its own URLs: leave --ws-url and --rest-url out")
    return made_from(
        Config,
        said,
        assets=parse_assets(said["assets"]),
        transports=tuple(options.transports),
        feed=made_from(FeedConfig, said, api_key=read_api_key()),
        sim=SimConfig() if is_simulated else None,
        http=None if said["http-port"] is None else made_from(HttpConfig, said),
    )
