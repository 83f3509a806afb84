"""Recorded frames, played again. Nothing is invented: payloads go out as they were received.

A capture is a file, gzip or plain, of lines `<receive time, unix ns> <frame>`. Only the `@trade`
frames of a combined stream are played; order books and snapshots are passed over. Several files
are merged by receive time. Inside a file the order of lines stands: a receive time before the one
above it counts as that one.

A capture is read twice. The survey, before anything opens, checks every line, learns which symbols
there are and how many decimals they have, and keeps a few rows to preview. The replay then streams
the files, a line at a time. No file is held in memory.
"""

import gzip
import heapq
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from fanout.errors import ConfigError
from fanout.simulator.symbols import TABLE, Listing, decimals
from fanout.simulator.ticks import TRADE_SUFFIX, Rows, Tick, Trade

MAX_LINE_BYTES: Final = 4 * 1024 * 1024  # a depth snapshot has some 60 kB
PREVIEW_ROWS: Final = 50

_GZIP_MAGIC: Final = b"\x1f\x8b"
_DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_MARK: Final = f'{TRADE_SUFFIX}"'.encode()


class _Frame(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_trade = msgspec.json.Decoder(Trade).decode


class Recorded(msgspec.Struct, frozen=True):
    """A recorded trade and, verbatim, the payload that told of it."""

    received_ns: int
    stream: str
    payload: bytes
    trade: Trade


class Capture:
    """The files as one market. Made by `survey`."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        listings: tuple[Listing, ...],
        first_rows: list[Trade],
        opening_ns: int,
    ) -> None:
        self.listings = listings
        self._paths = paths
        self._first_rows = first_rows
        self._opening_ns = opening_ns

    def prime(self, rows: Rows, origin_ms: int) -> None:
        for trade in self._first_rows:
            rows.preview(trade)

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        for row in _merged(self._paths):
            due_ns = row.received_ns - self._opening_ns
            yield Tick(due_ns, row.stream, row.payload, row.trade)


class _Survey:
    """What one reading of the files learns."""

    def __init__(self) -> None:
        self.price_decimals: dict[str, int] = {}
        self.quantity_decimals: dict[str, int] = {}
        self.first: dict[str, list[Trade]] = {}
        self.opening_ns: int | None = None

    def add(self, row: Recorded) -> None:
        trade, symbol = row.trade, row.trade.symbol
        _raise_to(self.price_decimals, symbol, decimals(trade.price))
        _raise_to(self.quantity_decimals, symbol, decimals(trade.quantity))
        first = self.first.setdefault(symbol, [])
        if len(first) < PREVIEW_ROWS:
            first.append(trade)
        if self.opening_ns is None:
            self.opening_ns = row.received_ns

    def listing(self, symbol: str) -> Listing:
        """The table's, where the recording agrees with it; else as fine as its decimals."""
        places = self.price_decimals[symbol], self.quantity_decimals[symbol]
        known = TABLE.get(symbol)
        if known and (known.price_precision, known.quantity_precision) == places:
            return known
        first = self.first[symbol][0]
        tick_size, step_size = map(_unit, places)
        return Listing(symbol, first.price, tick_size, step_size, first.trade_id)


def survey(paths: tuple[Path, ...]) -> Capture:
    """Read the files once. Takes about 6 us a line, and blocks: call it in a thread.

    Raises `ConfigError`, naming file and line, for a file that cannot be read, a line that is not
    as described above, and files without any trade.
    """
    found = _Survey()
    for row in _merged(paths):
        found.add(row)
    if found.opening_ns is None:
        names = ", ".join(str(path) for path in paths)
        raise ConfigError(f"{names}: no line holds a {TRADE_SUFFIX} frame; nothing to replay")
    listings = tuple(found.listing(symbol) for symbol in found.first)
    first_rows = [trade for rows in found.first.values() for trade in rows]
    return Capture(paths, listings, first_rows, found.opening_ns)


def _merged(paths: tuple[Path, ...]) -> Iterator[Recorded]:
    return heapq.merge(*map(_recorded, paths), key=lambda row: row.received_ns)


def _recorded(path: Path) -> Iterator[Recorded]:
    latest_ns = 0
    for number, line in enumerate(_lines(path), 1):
        try:
            row = _parse(line)
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


def _parse(line: bytes) -> Recorded | None:
    """A trade; or None for a line that is in order and of no interest. Raises ValueError."""
    received, _, frame = line.strip().partition(b" ")
    if not received.isdigit():
        raise ValueError("does not begin with a receive time in nanoseconds")
    if not (frame.startswith(b"{") and frame.endswith(b"}")):
        raise ValueError("holds no whole JSON object after the receive time")
    if _MARK not in frame:
        return None
    stream, payload = _split(frame)
    if not stream.endswith(TRADE_SUFFIX):
        return None
    return Recorded(int(received), stream, payload, _trade(stream, payload))


def _split(frame: bytes) -> tuple[str, bytes]:
    envelope = _decode_frame(frame)
    return envelope.stream, bytes(envelope.data)


def _trade(stream: str, payload: bytes) -> Trade:
    trade = _decode_trade(payload)
    if stream != trade.symbol.lower() + TRADE_SUFFIX:
        raise ValueError(f"a trade of {trade.symbol} on stream {stream}")
    for text in (trade.price, trade.quantity):
        if not _DECIMAL.fullmatch(text):
            raise ValueError(f"{text!r} is not a decimal number")
    return trade


def _raise_to(maxima: dict[str, int], symbol: str, value: int) -> None:
    maxima[symbol] = max(maxima.get(symbol, 0), value)


def _unit(places: int) -> str:
    """One of the last decimal: 2 is "0.01", 0 is "1"."""
    return f"0.{'1':0>{places}}" if places else "1"
