"""Recorded frames, played again byte for byte.

A capture is a file, gzip or plain, of lines `<receive time, unix ns> <frame>`. The dialect's reader
finds trades, quotes and depth updates among the frames, and whole books among the answers of REST.
All other lines are ignored, and so is a symbol whose units cannot be learned: it has neither a
trade nor a level of a book. Several files are merged by receive time. Within a file the order of
lines is kept: a receive time lower than the one above it counts as that one.

The line of an answer may begin with `= <URL>`. Without a URL the answer is that of the only symbol
in the file so far. The line of a client's message begins with `> `.

A capture is read twice. Before anything opens, the survey checks every line, finds the symbols and
their decimals, and keeps the first rows. The replay then reads the files line by line. No file is
held in memory.

REST must not answer with trades that the stream has yet to send. So the past has the trades that a
venue sent on subscribing. A recording without those has no past, and `prime` makes one up: the
first rows, mirrored in time, under the ids before the first one. Only this past is not recorded,
and no stream sends it.
"""

import gzip
import heapq
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from fanout.errors import ConfigError
from fanout.simulator.market.listing import Listing, decimals, unit
from fanout.simulator.market.reader import (
    Found,
    Reader,
    Recorded,
    RecordedAggregate,
    RecordedBook,
    RecordedMessage,
    RecordedPast,
)
from fanout.simulator.market.recorded_books import Message, RecordedBooks
from fanout.simulator.market.ticks import AGGREGATE, TRADE, Aggregate, Rows, Tick, Trade, stream_of

MAX_LINE_BYTES: Final = 4 * 1024 * 1024  # a depth snapshot has some 60 kB
PAST_ROWS: Final = 50

_GZIP_MAGIC: Final = b"\x1f\x8b"
_PRICE: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")  # a combination of options may cost less than 0
_QUANTITY: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_SENT: Final = b"> "
_ANSWERED: Final = b"= "

MakeReader = Callable[[], Reader]
"""Each file has a reader of its own."""


class _Row(msgspec.Struct, frozen=True):
    received_ns: int
    found: Found


class Capture:
    """The files as one market. Made by `survey`."""

    def __init__(self, paths: tuple[Path, ...], make_reader: MakeReader, found: "_Survey") -> None:
        assert found.opening_ns is not None, "there is something to replay"
        self.listings = found.listings()
        self.aggregated = frozenset(found.aggregated)
        self.recorded_books = RecordedBooks(make_reader().levels, found.first_books, self._sent)
        self._paths = paths
        self._make_reader = make_reader
        self._symbols = {listing.symbol for listing in self.listings}
        self._past = found.past()
        self._opening_ns = found.opening_ns
        self._rows_sent = 0

    def prime(self, rows: Rows, origin_ms: int) -> None:
        for past in self._past:
            for trade in past:
                rows.add(trade)

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        self._rows_sent = 0
        for row in _merged(self._paths, self._make_reader):
            found, due_ns = row.found, row.received_ns - self._opening_ns
            if isinstance(found, RecordedBook):
                self.recorded_books.met(found)
            elif found.symbol in self._symbols:
                yield _tick(due_ns, found)
            self._rows_sent += 1

    def _sent(self) -> Iterator[Message]:
        """The messages of books among the rows that the replay has sent so far."""
        for row in islice(_merged(self._paths, self._make_reader), self._rows_sent):
            if isinstance(row.found, RecordedMessage | RecordedBook):
                yield row.found

    def enlist(self, listing: Listing) -> None:
        """A recording holds no trades of a symbol that is listed later."""


def _tick(
    due_ns: int, found: Recorded | RecordedAggregate | RecordedPast | RecordedMessage
) -> Tick:
    payload = found.payload
    match found:
        case Recorded(trade=trade, others=others):
            stream = stream_of(found.symbol, TRADE)
            return Tick(due_ns, stream, trade, recorded=payload, others=others)
        case RecordedAggregate(aggregate=aggregate, trades=trades):
            stream = stream_of(found.symbol, AGGREGATE)
            return Tick(due_ns, stream, aggregate=aggregate, recorded=payload, others=trades)
        case RecordedPast(kind=kind) | RecordedMessage(kind=kind):
            return Tick(due_ns, stream_of(found.symbol, kind), recorded=payload)


class _Survey:
    """The results of reading the files once."""

    def __init__(self, table: Mapping[str, Listing], reader: Reader) -> None:
        self._table = table
        self._reader = reader
        self._first: dict[str, list[Trade]] = {}
        self._before: dict[str, list[Trade]] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._prices: dict[str, str] = {}
        self.aggregated: dict[str, None] = {}
        self.first_books: dict[str, bytes] = {}
        self.opening_ns: int | None = None

    def add(self, row: _Row) -> None:
        if self.opening_ns is None:
            self.opening_ns = row.received_ns
        match row.found:
            case Recorded(trades=trades):
                self._add_trades(self._first, trades)
            case RecordedPast(trades=trades):
                self._add_trades(self._before, trades)
            case RecordedAggregate(aggregate=aggregate, trades=trades):
                self.aggregated[aggregate.symbol] = None
                self._learn(aggregate.symbol, aggregate.price, aggregate.quantity)
                self._add_trades(self._first, trades)
            case RecordedMessage(symbol=symbol, payload=payload):
                if symbol not in self._places or not self._reader.has_fixed_decimals:
                    self._add_levels(symbol, payload)
            case RecordedBook(symbol=str(symbol), body=body):
                self.first_books.setdefault(symbol, body)

    def listings(self) -> tuple[Listing, ...]:
        """First those with trades, in the order of their first ones."""
        traded = dict.fromkeys((*self._first, *self.aggregated))
        return tuple(map(self._listing, dict.fromkeys((*traded, *self._places))))

    def past(self) -> list[list[Trade]]:
        """The trades from before the recording, of each symbol."""
        return [
            _before(self._before[symbol], self._first.get(symbol))
            if symbol in self._before
            else _mirrored(self._first[symbol])
            for symbol in dict.fromkeys((*self._first, *self._before))
        ]

    def _add_trades(self, to: dict[str, list[Trade]], trades: Sequence[Trade]) -> None:
        for trade in trades:
            self._learn(trade.symbol, trade.price, trade.quantity)
            kept = to.setdefault(trade.symbol, [])
            if len(kept) < PAST_ROWS:
                kept.append(trade)

    def _add_levels(self, symbol: str, payload: bytes) -> None:
        with suppress(ValueError):  # a message that cannot be read is replayed all the same
            levels = self._reader.levels(payload)
            for price, quantity in (*levels.bids, *levels.asks):
                self._learn(symbol, price, quantity)

    def _learn(self, symbol: str, price: str, quantity: str) -> None:
        places = decimals(price), decimals(quantity)
        known = self._places.get(symbol)
        if known is None:
            self._places[symbol], self._prices[symbol] = places, price
        elif known != places:
            self._places[symbol] = max(known[0], places[0]), max(known[1], places[1])

    def _listing(self, symbol: str) -> Listing:
        """The table's listing if it has the recording's decimals; otherwise one made from them."""
        places, known = self._places[symbol], self._table.get(symbol)
        first_id = self._first[symbol][0].trade_id if symbol in self._first else 1
        if known and (known.price_precision, known.quantity_precision) == places:
            return msgspec.structs.replace(known, first_trade_id=first_id)
        tick_size, step_size = map(unit, places)
        kind = next((each.contract_type for each in self._table.values()), "")
        price = self._prices[symbol]
        listing = Listing(symbol, price, tick_size, step_size, first_id, contract_type=kind)
        return self._reader.described(listing)


def survey(
    paths: tuple[Path, ...], make_reader: MakeReader, table: Mapping[str, Listing]
) -> Capture:
    """Read the files once. Takes about 6 us a line, and blocks: call it in a thread.

    Raises `ConfigError`, naming file and line, for a file that cannot be read, a line that is not
    as described above, and files without anything to replay.
    """
    found = _Survey(table, make_reader())
    for row in _merged(paths, make_reader):
        found.add(row)
    if not found.listings():
        names = ", ".join(str(path) for path in paths)
        raise ConfigError(
            f"{names}: no line holds a trade or a level of this venue; nothing to replay"
        )
    return Capture(paths, make_reader, found)


def _before(past: list[Trade], first: list[Trade] | None) -> list[Trade]:
    """The past without what the recording has later, and each trade once."""
    end = first[0].trade_id if first else None
    rows = {row.trade_id: row for row in past if end is None or row.trade_id < end}
    return [rows[trade_id] for trade_id in sorted(rows)]


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


def _merged(paths: tuple[Path, ...], make_reader: MakeReader) -> Iterator[_Row]:
    rows = (_rows(path, make_reader()) for path in paths)
    return heapq.merge(*rows, key=lambda row: row.received_ns)


def _rows(path: Path, reader: Reader) -> Iterator[_Row]:
    latest_ns = 0
    symbols: set[str] = set()
    for number, line in enumerate(_lines(path), 1):
        try:
            received_ns, items = _parse(line, reader)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}, line {number}: {error}") from error
        for found in items:
            latest_ns = max(latest_ns, received_ns)
            if found.symbol is not None:
                symbols.add(found.symbol)
                yield _Row(latest_ns, found)
            else:
                yield _Row(latest_ns, _attributed(found, symbols))


def _attributed(found: Found, symbols: set[str]) -> RecordedBook:
    """A book whose request was not recorded is that of the file's only symbol."""
    assert isinstance(found, RecordedBook), "everything else has a symbol"
    return RecordedBook(next(iter(symbols)) if len(symbols) == 1 else None, found.body)


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


def _parse(line: bytes, reader: Reader) -> tuple[int, Sequence[Found]]:
    """The time of a line, and everything in it that is to be replayed. Raises ValueError."""
    received, _, frame = line.strip().partition(b" ")
    if not received.isdigit():
        raise ValueError("does not begin with a receive time in nanoseconds")
    if frame.startswith(_SENT):
        reader.sent(frame.removeprefix(_SENT))
        return int(received), ()
    if frame.startswith(_ANSWERED):
        url, _, body = frame.removeprefix(_ANSWERED).partition(b" ")
        return int(received), reader.answered(url.decode(), body)
    if (frame[:1], frame[-1:]) not in ((b"{", b"}"), (b"[", b"]")):
        raise ValueError("has no whole JSON object or array after the receive time")
    items = reader.read(frame)
    for found in items:
        if isinstance(found, RecordedAggregate):
            _check(found.aggregate)
        if isinstance(found, Recorded | RecordedAggregate | RecordedPast):
            for trade in found.trades:
                _check(trade)
    return int(received), items


def _check(row: Trade | Aggregate) -> None:
    for text, pattern in ((row.price, _PRICE), (row.quantity, _QUANTITY)):
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} is not a decimal number")
