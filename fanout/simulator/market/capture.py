"""Recorded frames, played again byte for byte.

A capture is a file, gzip or plain, of lines `<receive time, unix ns> <frame>`. The dialect finds
the trades among the frames. Order books, snapshots and frames that a client sent are ignored.
Several files are merged by receive time. Within a file the order of lines is kept: a receive time
lower than the one above it counts as that one.

A capture is read twice. Before anything opens, the survey checks every line, finds the symbols and
their decimals, and keeps the first rows. The replay then reads the files line by line. No file is
held in memory.

A recording has no past, and REST must not answer with trades that the stream has yet to send. So
`prime` makes a past up: the first rows, mirrored in time, under the ids before the first one. Only
this past is not recorded, and no stream sends it.
"""

import gzip
import heapq
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from fanout.errors import ConfigError
from fanout.simulator.market.listing import Listing, decimals, unit
from fanout.simulator.market.ticks import Recorded, Rows, Tick, Trade, stream_of

MAX_LINE_BYTES: Final = 4 * 1024 * 1024  # a depth snapshot has some 60 kB
PAST_ROWS: Final = 50

_GZIP_MAGIC: Final = b"\x1f\x8b"
_DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_SENT: Final = b"> "
_ANSWERED: Final = b"= "

Read = Callable[[bytes], Recorded | None]
"""The trade in a frame, as a dialect finds it. Raises ValueError."""


class _Row(msgspec.Struct, frozen=True):
    received_ns: int
    recorded: Recorded


class Capture:
    """The files as one market. Made by `survey`."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        read: Read,
        listings: tuple[Listing, ...],
        first_rows: tuple[list[Trade], ...],
        opening_ns: int,
    ) -> None:
        self.listings = listings
        self._paths = paths
        self._read = read
        self._first_rows = first_rows
        self._opening_ns = opening_ns

    def prime(self, rows: Rows, origin_ms: int) -> None:
        for first_rows in self._first_rows:
            for trade in _mirrored(first_rows):
                rows.add(trade)

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        for row in _merged(self._paths, self._read):
            trade = row.recorded.trade
            due_ns = row.received_ns - self._opening_ns
            stream = stream_of(trade.symbol, "trade")
            yield Tick(due_ns, stream, trade, recorded=row.recorded.payload)

    def enlist(self, listing: Listing) -> None:
        """A recording holds no trades of a symbol that is listed later."""


class _Survey:
    """The results of reading the files once."""

    def __init__(self, table: Mapping[str, Listing]) -> None:
        self._table = table
        self.price_decimals: dict[str, int] = {}
        self.quantity_decimals: dict[str, int] = {}
        self.first: dict[str, list[Trade]] = {}
        self.opening_ns: int | None = None

    def add(self, row: _Row) -> None:
        trade = row.recorded.trade
        symbol = trade.symbol
        _raise_to(self.price_decimals, symbol, decimals(trade.price))
        _raise_to(self.quantity_decimals, symbol, decimals(trade.quantity))
        first = self.first.setdefault(symbol, [])
        if len(first) < PAST_ROWS:
            first.append(trade)
        if self.opening_ns is None:
            self.opening_ns = row.received_ns

    def listing(self, symbol: str) -> Listing:
        """The table's listing if it has the recording's decimals; otherwise one made from them."""
        places = self.price_decimals[symbol], self.quantity_decimals[symbol]
        first, known = self.first[symbol][0], self._table.get(symbol)
        if known and (known.price_precision, known.quantity_precision) == places:
            return msgspec.structs.replace(known, first_trade_id=first.trade_id)
        tick_size, step_size = map(unit, places)
        kind = next((each.contract_type for each in self._table.values()), "")
        return Listing(
            symbol, first.price, tick_size, step_size, first.trade_id, contract_type=kind
        )


def survey(paths: tuple[Path, ...], read: Read, table: Mapping[str, Listing]) -> Capture:
    """Read the files once. Takes about 6 us a line, and blocks: call it in a thread.

    Raises `ConfigError`, naming file and line, for a file that cannot be read, a line that is not
    as described above, and files without any trade.
    """
    found = _Survey(table)
    for row in _merged(paths, read):
        found.add(row)
    if found.opening_ns is None:
        names = ", ".join(str(path) for path in paths)
        raise ConfigError(f"{names}: no line holds a trade of this venue; nothing to replay")
    listings = tuple(found.listing(symbol) for symbol in found.first)
    return Capture(paths, read, listings, tuple(found.first.values()), found.opening_ns)


def _mirrored(rows: list[Trade]) -> list[Trade]:
    """Fills like the given ones, in reverse, that lead up to the first of them."""
    first = rows[0]
    past = [
        msgspec.structs.replace(
            row,
            trade_id=first.trade_id - number,
            time_ms=2 * first.time_ms - row.time_ms - 1,
            event_ms=2 * first.time_ms - row.time_ms - 1,
        )
        for number, row in enumerate((row for row in rows if row.is_fill), 1)
    ]
    return [row for row in reversed(past) if row.trade_id > 0]


def _merged(paths: tuple[Path, ...], read: Read) -> Iterator[_Row]:
    return heapq.merge(*(_rows(path, read) for path in paths), key=lambda row: row.received_ns)


def _rows(path: Path, read: Read) -> Iterator[_Row]:
    latest_ns = 0
    for number, line in enumerate(_lines(path), 1):
        try:
            row = _parse(line, read)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}, line {number}: {error}") from error
        if row is None:
            continue
        if row.received_ns < latest_ns:
            row = msgspec.structs.replace(row, received_ns=latest_ns)
        latest_ns = row.received_ns
        yield row


def _lines(path: Path) -> Iterator[bytes]:
    number = 0
    try:
        with _open(path) as file:
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                yield line
    except (OSError, EOFError, zlib.error) as error:
        where = f"{path}, line {number + 1}" if number else f"{path}"
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{where}: cannot be read: {reason}") from error


def _open(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        is_gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    return gzip.open(path) if is_gzip else path.open("rb")


def _parse(line: bytes, read: Read) -> _Row | None:
    """The trade in a line; None for a valid line without one. Raises ValueError."""
    received, _, frame = line.strip().partition(b" ")
    if not received.isdigit():
        raise ValueError("does not begin with a receive time in nanoseconds")
    if frame.startswith((_SENT, _ANSWERED)):
        return None
    if not (frame.startswith(b"{") and frame.endswith(b"}")):
        raise ValueError("has no whole JSON object after the receive time")
    recorded = read(frame)
    if recorded is None:
        return None
    for text in (recorded.trade.price, recorded.trade.quantity):
        if not _DECIMAL.fullmatch(text):
            raise ValueError(f"{text!r} is not a decimal number")
    return _Row(int(received), recorded)


def _raise_to(maxima: dict[str, int], symbol: str, value: int) -> None:
    maxima[symbol] = max(maxima.get(symbol, 0), value)
