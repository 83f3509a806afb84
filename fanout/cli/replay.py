"""`fanout replay`: serve a journal as if it were live."""

import logging
from functools import partial
from typing import Annotated, Any, Final

import msgspec
import typer
from typer.core import TyperCommand

from fanout.cli.config_file import source_of
from fanout.cli.logs import log_to_stderr
from fanout.cli.outcome import exit_codes, say
from fanout.cli.serve import (
    ServeOptions,
    add_transports,
    fanout_of,
    open_to_all,
    transports_in,
)
from fanout.config import HttpConfig
from fanout.config.moment import parse_moment
from fanout.config.options import made_from
from fanout.config.replay import MAX_SPEED, UNLIMITED, ReplayConfig
from fanout.config.size import parse_size
from fanout.errors import UsageError, shown

NOT_OURS: Final = ("assets", "venue", "data", "ws-url", "rest-url")
"""Options that say what a service takes from an exchange."""


class _Said(msgspec.Struct, frozen=True):
    """The options of the command, as they were typed."""

    directory: str
    channel: str
    begin: str
    end: str
    speed: str


class ReplayCommand(TyperCommand):
    """The command with its options on both sides of DIR. What follows the last of them is left to
    the transports."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`."""
        behind = self._behind_directory(ctx, args)
        at = len(args) - len(behind) - 1
        if at >= 0 and behind:
            stop = len(behind) - len(self._behind_directory(ctx, behind)) - 1
            args = [*args[:at], *behind[:stop], args[at], *behind[stop:]]
        return super().parse_args(ctx, args)

    def _behind_directory(self, ctx: Any, args: list[str]) -> list[str]:
        """What stands behind the first word that is no option."""
        _, rest, _ = self.make_parser(ctx).parse_args(args=[*args])
        return list(rest)


def replay(
    context: typer.Context,
    directory: Annotated[str, typer.Argument(help="The journal.", metavar="DIR")],
    channel: Annotated[
        str, typer.Option(help="Only this channel. \\[default: all]", metavar="NAME")
    ] = "",
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            help="Begin there: a time like 2026-11-29T13:00:00Z, or unix ns.",
            metavar="TIME",
        ),
    ] = "",
    end: Annotated[str, typer.Option("--to", help="End there.", metavar="TIME")] = "",
    speed: Annotated[
        str,
        typer.Option(
            help="Seconds of the journal in one second, or max: as fast as the readers take it.",
            metavar="1|10|max",
        ),
    ] = "1",
) -> None:
    """Serve a journal as if it were live, by any transport.

    Example: fanout replay /var/lib/fanout --from 2026-11-29T13:00:00Z --speed 10 tcp --port 9000

    Clients get the epochs, the numbers and the bytes of then. Where the service
    was restarted, they see a restart. A hole of more than 5 seconds is
    replayed as one of 5 seconds.

    With --speed max the replay waits for a reader before it begins, and
    whenever a reader is far behind, so that no reader loses anything. At other
    speeds a slow reader loses what the log cannot hold, as with a service.

    A journal that a service is writing is replayed up to where it ended when
    the replay began. Numbers that the journal lacks, or that are damaged, come
    as LOSS.

    Exit code: 0 at the end of the journal.
    """
    with exit_codes():
        options: ServeOptions = context.obj
        said = _Said(directory, channel, begin, end, speed)
        options.act = partial(_replay, said=said)
        parent = fanout_of(context)
        for each in NOT_OURS:
            if source_of(parent, each) == f"--{each}":
                raise UsageError(f"--{each}: a replay takes what the journal has; leave it out")
        words = context.args or transports_in(parent)
        if not words:
            raise UsageError("no transport given: fanout replay DIR tcp --port 9000")
        add_transports(parent, words, behind="replay")


def _replay(options: ServeOptions, *, said: _Said) -> None:
    config = config_of(options, said)
    log_to_stderr()
    for words in open_to_all(config):
        say(words, logging.WARNING)
    from fanout.cli.running import replay_until_signal

    received = replay_until_signal(config)
    if received is not None:
        raise typer.Exit(128 + received)


def config_of(options: ServeOptions, said: _Said) -> ReplayConfig:
    """What to replay. Raises `OperatorError`."""
    front = options.said
    return ReplayConfig(
        directory=said.directory,
        channel=said.channel,
        from_ns=parse_moment(said.begin, "--from") if said.begin else None,
        to_ns=parse_moment(said.end, "--to") if said.end else None,
        speed=parse_speed(said.speed),
        transports=tuple(options.transports),
        log_bytes=parse_size(front["log-bytes"]),
        http=None if front["http-port"] is None else made_from(HttpConfig, front),
    )


def parse_speed(text: str) -> float:
    """Raises `UsageError`."""
    try:
        speed = UNLIMITED if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if text != "max" and not 0 < speed <= MAX_SPEED:  # NaN included
        raise UsageError(f"--speed {shown(text)}: a number above 0, to {MAX_SPEED:,.0f}, or max")
    return speed
