"""`fanout journal ls|verify|index|prune DIR`: what is in a journal, whether it is right, and its
upkeep. Without one of these words `fanout journal` is the transport that writes one."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Annotated, Any, Final

import msgspec
import typer
from typer.core import TyperCommand

from fanout.cli.columns import aligned
from fanout.cli.figures import size
from fanout.cli.journal_view import HEAD, finding_lines, row_of, shown, total_line
from fanout.cli.logs import log_to_stderr
from fanout.cli.outcome import emit, exit_codes
from fanout.config.duration import parse_duration
from fanout.config.size import parse_size
from fanout.errors import ConfigError, UsageError
from fanout.journal.browsing import Address, addresses, channels, check, is_written, kept
from fanout.journal.disk import RealDisk
from fanout.journal.reindexing import Reindexed, reindex
from fanout.journal.retention import Limits, Retention
from fanout.journal.verifying import Checked, follow
from fanout.protocol.errors import reason

FAULTY: Final = 1
"""Exit code of a journal that is damaged, or lacks something."""

MOST_JOBS: Final = 256

BYTES_FOR_JOB: Final = 512 * 1024 * 1024
"""How much there has to be for one more process, unless --jobs says how many there are."""

Directory = Annotated[
    str, typer.Argument(help="The journal's directory.", metavar="DIR", show_default=False)
]
Json = Annotated[
    bool, typer.Option("--json", help="An object a line, for programs, instead of a table.")
]
OneChannel = Annotated[
    str | None, typer.Option(help="Only this one.", metavar="CHANNEL", show_default=False)
]

journal = typer.Typer(no_args_is_help=True)


class JournalCommand(TyperCommand):
    """The command of the transport, unless the word behind it is one of the group's."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        group: Any = typer.main.get_command(journal)
        if args and args[0] in group.commands:
            return group.make_context(info_name, args, parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


@journal.command()
def ls(directory: Directory, channel: OneChannel = None, as_json: Json = False) -> None:
    """List what a journal has: a line for each epoch of each channel.

    FIRST and LAST are sequence numbers. STATE is open (a service may be writing
    it), ended (in good order), stopped (without an END, after a kill, say), or
    damaged.

    Example: fanout journal ls /var/lib/fanout
    """
    with _looking_at(directory):
        disk = RealDisk()
        is_open = is_written(disk, directory)
        found = [
            epoch
            for each in _wanted(directory, channel)
            for epoch in kept(disk, directory, each, is_open=is_open)
        ]
        if as_json:
            for epoch in found:
                emit(msgspec.json.encode(epoch).decode())
            return
        for line in aligned([HEAD, *map(row_of, found)]):
            emit(line)


@journal.command()
def verify(
    directory: Directory,
    channel: OneChannel = None,
    jobs: Annotated[
        int,
        typer.Option(
            help="Processes that read at the same time; 0: one for each CPU if there is much.",
            min=0,
            max=MOST_JOBS,
            metavar="N",
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Check a journal: each CRC, number, header and place of an index.

    What is wrong is printed with the file, the bytes and the numbers that are
    missing. Exit code 1 if anything is. A LOSS that the service reported, and
    numbers that it wrote anew after its disk had failed, are no faults.

    Example: fanout journal verify /var/lib/fanout --json
    """
    with _looking_at(directory):
        is_open = is_written(RealDisk(), directory)
        is_right = True
        for each in _wanted(directory, channel):
            segments = addresses(RealDisk(), directory, each)
            found = _checked(segments, jobs)
            checked = follow(list(found.values()), is_open=is_open)
            is_right &= all(one.is_right for one in checked)
            _emit_checked(list(found), checked, as_json=as_json)
        if not is_right:
            raise typer.Exit(FAULTY)


@journal.command()
def index(directory: Directory, channel: OneChannel = None, as_json: Json = False) -> None:
    """Make the indexes of a journal anew, where they are missing or wrong.

    The segment that a service is writing is left out. Exit code 1 if an index
    could not be made.

    Example: fanout journal index /var/lib/fanout
    """
    with _looking_at(directory):
        is_open = is_written(RealDisk(), directory)
        found: list[Reindexed] = []
        for each in _wanted(directory, channel):
            segments = addresses(RealDisk(), directory, each)
            found += [reindex(RealDisk(), one) for one in segments[: -1 if is_open else None]]
        for made in found:
            if as_json:
                emit(msgspec.json.encode(made).decode())
            elif made.fault or made.is_changed:
                emit(f"{made.file}: {made.fault or f'{made.places:,} places'}")
        if not as_json:
            changed = sum(each.is_changed for each in found)
            emit(f"{changed:,} of {len(found):,} indexes made anew")
        if any(each.fault for each in found):
            raise typer.Exit(FAULTY)


@journal.command()
def prune(
    directory: Directory,
    keep: Annotated[
        str,
        typer.Option(help="Remove what is older: 7d, 12h.", metavar="DURATION", show_default=False),
    ] = "",
    keep_bytes: Annotated[
        str,
        typer.Option(
            help="Remove the oldest until all channels together take no more: 50GiB.",
            metavar="BYTES",
            show_default=False,
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be removed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove the oldest segments of a journal, whether a service is writing it or not.

    The newest segment of each channel stays, and so does what is being read.

    Example: fanout journal prune /var/lib/fanout --keep 7d --dry-run
    """
    with _looking_at(directory):
        limits = Limits(
            keep_ns=parse_duration(keep) * 10**9 if keep else 0,
            keep_bytes=parse_size(keep_bytes) if keep_bytes else 0,
        )
        if limits == Limits():
            raise UsageError("give --keep, --keep-bytes or both")
        _wanted(directory, None)
        log_to_stderr()
        removed = Retention(RealDisk(), directory, limits).prune(
            time.time_ns(), spares_readers=True, is_trial=dry_run
        )
        for each in removed:
            path = Address(directory, each.channel, each.epoch_ns, each.first_seq, each.ending).path
            emit(
                msgspec.json.encode(Pruned(path, each.size_bytes)).decode()
                if as_json
                else f"{path}: {size(each.size_bytes)}"
            )
        if not as_json:
            total = size(sum(each.size_bytes for each in removed))
            verb = "would be removed" if dry_run else "removed"
            segments = "segment" if len(removed) == 1 else "segments"
            emit(f"{len(removed):,} {segments} {verb}, {total}")


class Pruned(msgspec.Struct, frozen=True):
    """The object that `--json` prints for each segment that is removed."""

    file: str
    size_bytes: int


def _checked(found: Sequence[Address], jobs: int) -> dict[Address, Checked]:
    """The segments that are still there."""
    workers = min(jobs or _jobs_for(found), len(found))
    if workers <= 1:
        checked = list(map(check, found))
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            checked = list(pool.map(check, found))
    return {each: one for each, one in zip(found, checked, strict=True) if one is not None}


def _jobs_for(found: Sequence[Address]) -> int:
    """A process takes longer to start than to read some hundred MiB."""
    total = sum(os.stat(each.path).st_size for each in found if os.path.exists(each.path))
    return min(os.cpu_count() or 1, 1 + total // BYTES_FOR_JOB)


def _emit_checked(found: Sequence[Address], checked: Sequence[Checked], *, as_json: bool) -> None:
    for address, each in zip(found, checked, strict=True):
        if as_json:
            emit(msgspec.json.encode(shown(address, each)).decode())
        else:
            for line in finding_lines(address, each):
                emit(line)
    if not as_json and found:
        emit(total_line(found[0].channel, checked))


@contextmanager
def _looking_at(directory: str) -> Iterator[None]:
    """With the exit codes of a command that looks at a journal."""
    with exit_codes():
        if not os.path.isdir(directory):
            raise ConfigError(f"{directory} is no directory: give that of a journal")
        try:
            yield
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            where = error.filename or directory
            raise ConfigError(f"cannot read {where}: {reason(error)}") from error


def _wanted(directory: str, channel: str | None) -> list[str]:
    found = channels(RealDisk(), directory)
    if not found:
        raise ConfigError(f"no journal in {directory}: it has no channel's segments")
    if channel is None:
        return found
    if channel not in found:
        raise UsageError(f"no channel {channel!r} in {directory}: it has {', '.join(found)}")
    return [channel]
