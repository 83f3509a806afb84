"""The journal of a run on paper: its own, apart from the market data that the run read.

It is a directory of files, `00000000000000000001.jsonl` for the first start, the next number for
each later one. The first line of a file is `Started`, every other one a report of
`fanout.trading.reports`, in the order in which they happened. A line is written whole or, where the
process or the machine failed, cut off: a last line without its end is no part of the journal.

Times are those of the records, never of a clock. So two runs over the same records write the same
bytes. The shell opens and writes the files (`fanout.cli.trading.files`); here is what stands in
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from fanout.protocol.instrument import Instrument
from fanout.trading.errors import TradingError
from fanout.trading.reports import Report

VERSION: Final = 1
"""Of the format. A reader refuses another one."""

SUFFIX: Final = ".jsonl"

_DIGITS: Final = 20

MAX_SHOWN_CHARS: Final = 80


class JournalError(TradingError):
    """A file that is no journal of a run on paper, or one that is damaged."""


class Started(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first line of a file.

    `instruments` are the symbols that are traded, with all that gives their numbers a meaning:
    exponents, tick, lot, contract, type. `settings` are those of the run, without secrets.
    `inputs` are the addresses that it reads.
    """

    version: int
    fanout: str
    venue: str
    instruments: tuple[Instrument, ...]
    settings: dict[str, Any]
    inputs: tuple[str, ...]


Entry = Started | Report
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
    if isinstance(entry, Started) and entry.version != VERSION:
        raise JournalError(
            f"the journal has version {entry.version}, and this program reads {VERSION}: "
            f"use fanout {entry.fanout}"
        )
    return entry


def whole_lines(data: bytes) -> int:
    """How many bytes of a file are whole lines. What follows was cut off."""
    return data.rfind(b"\n") + 1


def file_name(number: int) -> str:
    """The name of the file of a start, counted from 1."""
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
        yield entry


def reports_of(path: str | Path) -> Iterator[Entry]:
    """All entries of a journal, oldest first: each start, and what it reported. `path` is its
    directory, or one of its files. Raises `JournalError`, and `OSError`."""
    place = Path(path)
    for each in files_in(place) if place.is_dir() else [place]:
        with each.open("rb") as file:
            yield from entries(file, str(each))
