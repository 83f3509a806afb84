"""Recorded frames, played again byte for byte.

A capture is a file, gzip or plain, of lines `<receive time, unix ns> <frame>`. The dialect finds
trades, quotes and depth updates among the frames, and whole books among the answers of REST. All
other lines are ignored, and so are books of symbols without a trade. Several files are merged by
receive time. Within a file the order of lines is kept: a receive time lower than the one above it
counts as that one.

The line of an answer may begin with `= <URL>`. Without a URL the answer is that of the only symbol
in the file so far.

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
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

import msgspec

from fanout.errors import ConfigError
from fanout.simulator.market.listing import Listing, decimals, unit
from fanout.simulator.market.recorded_books import Message, RecordedBooks
from fanout.simulator.market.ticks import (
    Recorded,
    RecordedBook,
    RecordedLevels,
    RecordedMessage,
    Rows,
    Tick,
    Trade,
    stream_of,
)

MAX_LINE_BYTES: Final = 4 * 1024 * 1024  # a depth snapshot has some 60 kB
PAST_ROWS: Final = 50

_GZIP_MAGIC: Final = b"\x1f\x8b"
_DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_SENT: Final = b"> "
_ANSWERED: Final = b"= "

Found = Recorded | RecordedMessage | RecordedBook


class Reader(Protocol):
    """How a dialect reads recordings."""

    def recorded(self, frame: bytes) -> Recorded | RecordedMessage | None:
        """A trade or a message of a book; None for another frame. Raises ValueError."""

    def recorded_book(self, url: str | None, body: bytes) -> RecordedBook | None:
        """A whole book that REST has answered with; None for another answer."""

    def recorded_levels(self, payload: bytes) -> RecordedLevels:
        """Of an update or a whole book. Raises ValueError."""


class _Row(msgspec.Struct, frozen=True):
    received_ns: int
    found: Found

    @property
    def symbol(self) -> str | None:
        if isinstance(self.found, Recorded):
            return self.found.trade.symbol
        return self.found.symbol


class Capture:
    """The files as one market. Made by `survey`."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        reader: Reader,
        listings: tuple[Listing, ...],
        first_rows: tuple[list[Trade], ...],
        first_books: dict[str, bytes],
        opening_ns: int,
    ) -> None:
        self.listings = listings
        self.recorded_books = RecordedBooks(reader.recorded_levels, first_books, self._sent)
        self._paths = paths
        self._reader = reader
        self._symbols = {listing.symbol for listing in listings}
        self._first_rows = first_rows
        self._opening_ns = opening_ns
        self._rows_sent = 0

    def prime(self, rows: Rows, origin_ms: int) -> None:
        for first_rows in self._first_rows:
            for trade in _mirrored(first_rows):
                rows.add(trade)

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        self._rows_sent = 0
        for row in _merged(self._paths, self._reader):
            found, due_ns = row.found, row.received_ns - self._opening_ns
            match found:
                case Recorded():
                    stream = stream_of(found.trade.symbol, "trade")
                    yield Tick(due_ns, stream, found.trade, recorded=found.payload)
                case RecordedMessage() if found.symbol in self._symbols:
                    stream = stream_of(found.symbol, found.kind)
                    yield Tick(due_ns, stream, recorded=found.payload)
                case RecordedBook():
                    self.recorded_books.met(found)
            self._rows_sent += 1

    def _sent(self) -> Iterator[Message]:
        """The messages of books among the rows that the replay has sent so far."""
        for row in islice(_merged(self._paths, self._reader), self._rows_sent):
            if not isinstance(row.found, Recorded):
                yield row.found

    def enlist(self, listing: Listing) -> None:
        """A recording holds no trades of a symbol that is listed later."""


class _Survey:
    """The results of reading the files once."""

    def __init__(self, table: Mapping[str, Listing]) -> None:
        self._table = table
        self.price_decimals: dict[str, int] = {}
        self.quantity_decimals: dict[str, int] = {}
        self.first: dict[str, list[Trade]] = {}
        self.first_books: dict[str, bytes] = {}
        self.opening_ns: int | None = None

    def add(self, row: _Row) -> None:
        if isinstance(row.found, RecordedBook) and row.found.symbol is not None:
            self.first_books.setdefault(row.found.symbol, row.found.body)
        if self.opening_ns is None:
            self.opening_ns = row.received_ns
        if not isinstance(row.found, Recorded):
            return
        trade = row.found.trade
        symbol = trade.symbol
        _raise_to(self.price_decimals, symbol, decimals(trade.price))
        _raise_to(self.quantity_decimals, symbol, decimals(trade.quantity))
        first = self.first.setdefault(symbol, [])
        if len(first) < PAST_ROWS:
            first.append(trade)

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


def survey(paths: tuple[Path, ...], reader: Reader, table: Mapping[str, Listing]) -> Capture:
    """Read the files once. Takes about 6 us a line, and blocks: call it in a thread.

    Raises `ConfigError`, naming file and line, for a file that cannot be read, a line that is not
    as described above, and files without any trade.
    """
    found = _Survey(table)
    for row in _merged(paths, reader):
        found.add(row)
    if found.opening_ns is None or not found.first:
        names = ", ".join(str(path) for path in paths)
        raise ConfigError(f"{names}: no line holds a trade of this venue; nothing to replay")
    listings = tuple(found.listing(symbol) for symbol in found.first)
    return Capture(
        paths,
        reader,
        listings,
        tuple(found.first.values()),
        found.first_books,
        found.opening_ns,
    )


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


def _merged(paths: tuple[Path, ...], reader: Reader) -> Iterator[_Row]:
    return heapq.merge(*(_rows(path, reader) for path in paths), key=lambda row: row.received_ns)


def _rows(path: Path, reader: Reader) -> Iterator[_Row]:
    latest_ns = 0
    symbols: set[str | None] = set()
    for number, line in enumerate(_lines(path), 1):
        try:
            row = _parse(line, reader)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}, line {number}: {error}") from error
        if row is None:
            continue
        symbols.add(row.symbol)
        if row.received_ns < latest_ns:
            row = msgspec.structs.replace(row, received_ns=latest_ns)
        latest_ns = row.received_ns
        yield _attributed(row, symbols) if row.symbol is None else row


def _attributed(row: _Row, symbols: set[str | None]) -> _Row:
    """A book whose request was not recorded is that of the file's only symbol."""
    assert isinstance(row.found, RecordedBook), "every other row has a symbol"
    known = [symbol for symbol in symbols if symbol is not None]
    symbol = known[0] if len(known) == 1 else None
    return _Row(row.received_ns, RecordedBook(symbol, row.found.body))


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


def _parse(line: bytes, reader: Reader) -> _Row | None:
    """What a line holds; None for a valid line without anything to replay. Raises ValueError."""
    received, _, frame = line.strip().partition(b" ")
    if not received.isdigit():
        raise ValueError("does not begin with a receive time in nanoseconds")
    if frame.startswith(_SENT):
        return None
    if frame.startswith(_ANSWERED):
        url, _, body = frame.removeprefix(_ANSWERED).partition(b" ")
        return _row(received, reader.recorded_book(url.decode(), body))
    if not (frame.startswith(b"{") and frame.endswith(b"}")):
        raise ValueError("has no whole JSON object after the receive time")
    found = reader.recorded(frame)
    if found is None:
        return _row(received, reader.recorded_book(None, frame))
    if isinstance(found, Recorded):
        for text in (found.trade.price, found.trade.quantity):
            if not _DECIMAL.fullmatch(text):
                raise ValueError(f"{text!r} is not a decimal number")
    return _Row(int(received), found)


def _row(received: bytes, found: RecordedBook | None) -> _Row | None:
    return None if found is None else _Row(int(received), found)


def _raise_to(maxima: dict[str, int], symbol: str, value: int) -> None:
    maxima[symbol] = max(maxima.get(symbol, 0), value)
