"""The journal of a run on paper: its own, apart from the market data that the run read.

It is a directory of files, `00000000000000000001.jsonl` and so on. Each start begins a file, and so
does a file that would become too long, or the first report of a UTC day.

    Started       the run, and which file of its start it is
    Checkpoint    what the files before have left; not in the first file of a run
    reports       of `fanout.trading.reports`, in the order in which they happened

A line is written whole or, where the process or the machine failed, cut off: a last line without
its end is no part of the journal.

Times are those of the records, never of a clock, and a file ends by times and sizes alone. So two
runs over the same records write the same bytes in the same files. The shell opens and writes them
(`fanout.cli.trading.writing`); here is what stands in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from fanout.protocol.instrument import Instrument
from fanout.trading.errors import TradingError
from fanout.trading.reports import Report
from fanout.trading.running.checkpoint import Checkpoint

VERSION: Final = 2
"""Of the format that is written."""

READ_VERSIONS: Final = (1, VERSION)
"""Of the formats that are read. Version 1 has no checkpoints, and a file for each start."""

SUFFIX: Final = ".jsonl"

_DIGITS: Final = 20

MAX_SHOWN_CHARS: Final = 80

DAY_NS: Final = 86_400 * 1_000_000_000


class JournalError(TradingError):
    """A file that is no journal of a run on paper, or one that is damaged."""


class Started(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first line of a file.

    `instruments` are the symbols that are traded, with all that gives their numbers a meaning:
    exponents, tick, lot, contract, type. `settings` are those of the run, without secrets.
    `inputs` are the addresses that it reads. `part` counts the files of a start from 1: above 1 the
    run was not started here, and goes on from the file before.
    """

    version: int
    fanout: str
    venue: str
    instruments: tuple[Instrument, ...]
    settings: dict[str, Any]
    inputs: tuple[str, ...]
    part: int = 1


Entry = Started | Checkpoint | Report
"""A line."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """A line, with its end."""
    return _encoder.encode(entry) + b"\n"


def decode(line: bytes) -> Entry:
    """A line, with or without its end. Raises `JournalError`."""
    try:
        entry = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        shown = line[:MAX_SHOWN_CHARS].decode(errors="replace").strip()
        raise JournalError(f"no line of a journal of a run: {shown!r}: {error}") from error
    if isinstance(entry, Started) and entry.version not in READ_VERSIONS:
        raise JournalError(
            f"the journal has version {entry.version}, and this program reads "
            f"{READ_VERSIONS[0]} to {VERSION}: use fanout {entry.fanout}"
        )
    return entry


def whole_lines(data: bytes) -> int:
    """How many bytes of a file are whole lines. What follows was cut off."""
    return data.rfind(b"\n") + 1


def is_new_day(before_ns: int, time_ns: int) -> bool:
    """Whether a UTC day has begun between two reports. There is none before the first, 0."""
    return before_ns > 0 and before_ns // DAY_NS < time_ns // DAY_NS


def file_name(number: int) -> str:
    """The name of a file, counted from 1."""
    return f"{number:0{_DIGITS}}{SUFFIX}"


def files_in(directory: str | Path) -> list[Path]:
    """The files of a journal, oldest first."""
    found = Path(directory).glob(f"{'[0-9]' * _DIGITS}{SUFFIX}")
    return sorted(found, key=lambda path: path.name)


def entries(lines: Iterable[bytes], name: str) -> Iterator[Entry]:
    """The entries of one file, whose lines have their ends. A last line without one is left out.
    `name` is for errors. Raises `JournalError`."""
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return
        try:
            entry = decode(line)
        except JournalError as error:
            raise JournalError(f"{name}, line {number:,}: {error}") from error
        if isinstance(entry, Started) is not (number == 1):
            raise JournalError(f"{name}, line {number:,}: Started has to be the first line")
        if isinstance(entry, Checkpoint) and number != 2:
            raise JournalError(f"{name}, line {number:,}: Checkpoint has to be the second line")
        yield entry


def reports_of(path: str | Path) -> Iterator[Entry]:
    """All entries of a journal, oldest first: each start, and what it reported. `path` is its
    directory, or one of its files. Raises `JournalError`, and `OSError`."""
    place = Path(path)
    if place.is_dir():
        yield from entries_of(files_in(place))
    else:
        yield from _entries_in(place)


def needed_files(directory: str | Path) -> list[Path]:
    """The files that a restart needs, oldest first: the newest one that begins with a whole
    checkpoint, and those behind it. Without a checkpoint they are all needed, from the first of the
    run on. Raises as `reports_of`, and where a file is missing."""
    files = files_in(directory)
    for at in range(len(files) - 1, -1, -1):
        if any(isinstance(each, Checkpoint) for each in islice(_entries_in(files[at]), 2)):
            return files[at:]
    if files and files[0].name != file_name(1):
        raise JournalError(
            f"{files[0]}: neither this file nor a later one has a whole checkpoint, and the files "
            "before it are gone"
        )
    return files


def entries_of(files: Iterable[Path]) -> Iterator[Entry]:
    """The entries of several files. Raises as `reports_of`."""
    for each in files:
        # A run that goes on meanwhile may remove its oldest files.
        with suppress(FileNotFoundError):
            yield from _entries_in(each)


def _entries_in(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        yield from entries(file, str(path))
