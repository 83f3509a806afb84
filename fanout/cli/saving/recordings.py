"""Writers of recordings, one for each file format.

A recording buffers records in memory until `save`, which returns once they are on disk. A record
counts as saved only then. Memory is bounded: a recording with `MAX_PENDING` buffered records saves
them by itself.

CSV and JSON Lines are appended. Rows go into a .npy file that is valid at every moment. A Parquet
file is unreadable without the index at its end. So its rows go into a .npy file first, and become
Parquet in batches when the recording is complete.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fanout.cli.formats import CSV_HEADER, Line, csv_line, json_line
from fanout.cli.outcome import OutputError
from fanout.cli.saving.aside import Aside
from fanout.clients.columns.frames import MissingPackageError, needed
from fanout.clients.columns.npy import batches_of, npy_header
from fanout.clients.columns.parquet import write_parquet
from fanout.clients.columns.rows import labelled_dtype, trades_in
from fanout.errors import ConfigError, UsageError
from fanout.protocol.errors import reason
from fanout.protocol.records import Header, Record, Trade

MAX_PENDING: Final = 16_384
"""Most records buffered in memory: some megabytes."""


class Recording(ABC):
    """A file that is being recorded. All methods raise `OutputError` if they cannot write."""

    def __init__(self, target: Path, kind: str = "") -> None:
        self.target = target
        self.aside = Aside(target, kind)
        self.trades = 0
        """Trades that are on disk."""
        self._pending: list[Any] = []

    @abstractmethod
    def add(self, record: Record, header: Header) -> bool:
        """Add a record received under `header`. False if the format cannot hold its kind."""

    @abstractmethod
    def save(self) -> None:
        """Return once all added records are on disk."""

    def complete(self, *, force: bool) -> None:
        """Save, and rename the file to its target."""
        self.save()
        self.aside.complete(force=force)

    def discard(self) -> None:
        """Delete the temporary file."""
        self.aside.discard()


class LineRecording(Recording):
    """CSV or JSON Lines, the same lines that `fanout tail` prints."""

    def __init__(self, target: Path, line_of: Line, first_line: str | None = None) -> None:
        super().__init__(target)
        self._line_of = line_of
        self._trades = 0
        self._pending = [] if first_line is None else [first_line]

    def add(self, record: Record, header: Header) -> bool:
        line = self._line_of(record, header.epoch_ns)
        if line is None:
            return False
        self._pending.append(line)
        self._trades += isinstance(record, Trade)
        if len(self._pending) >= MAX_PENDING:
            self.save()
        return True

    def save(self) -> None:
        lines, self._pending = self._pending, []
        if lines:
            self.aside.write("".join(f"{each}\n" for each in lines).encode())
            self.aside.sync()
        self.trades = self._trades


class RowRecording(Recording):
    """A .npy file of labelled rows. It holds trades only, no events."""

    def __init__(self, target: Path, kind: str = "") -> None:
        super().__init__(target, kind)
        self._kind = kind
        self._header: Header | None = None
        """The header of the buffered trades."""
        self._dtype = labelled_dtype(1)
        try:
            self.aside.write(npy_header(self._dtype, 0))
        except BaseException:
            self.discard()
            raise

    def add(self, record: Record, header: Header) -> bool:
        if not isinstance(record, Trade):
            return False
        if header is not self._header or len(self._pending) >= MAX_PENDING:
            self.save()
            self._header = header
        self._pending.append(record)
        return True

    def save(self) -> None:
        trades, self._pending = self._pending, []
        if not trades:
            return
        assert self._header is not None, "add() sets it with the first trade"
        rows = trades_in(trades, self._header)
        if rows.dtype.itemsize > self._dtype.itemsize:
            self._widen(rows.dtype)
        self.aside.write(rows.astype(self._dtype).tobytes())
        self._count(self.aside, self._dtype, self.trades + len(rows))

    def _count(self, aside: Aside, dtype: Any, trades: int) -> None:
        """Put the rows on disk, then write their number into the file's header."""
        aside.sync()
        aside.write_front(npy_header(dtype, trades))
        aside.sync()
        self.trades = trades

    def _widen(self, dtype: Any) -> None:
        """Rewrite the rows with a wider symbol column. That happens at the first trades, and when
        a restarted service has longer symbols."""
        narrow, wide = self.aside, Aside(self.target, self._kind)
        try:
            wide.write(npy_header(dtype, 0))
            for rows in batches_of(narrow.path):
                wide.write(rows.astype(dtype).tobytes())
            self._count(wide, dtype, self.trades)
        except BaseException:
            wide.discard()
            raise
        self.aside, self._dtype = wide, dtype
        narrow.discard()


class ParquetRecording(RowRecording):
    """Rows that become Parquet at the end, in batches that fit in memory."""

    def __init__(self, target: Path) -> None:
        try:
            needed("pyarrow.parquet", target.name)
        except MissingPackageError as error:
            raise ConfigError(f"{error}; or save .npy, .csv or .jsonl") from error
        super().__init__(target, ".npy")

    def complete(self, *, force: bool) -> None:
        self.save()
        whole = Aside(self.target)
        try:
            write_parquet(str(whole.path), lambda: batches_of(self.aside.path))
            whole.complete(force=force)
        except BaseException as error:
            whole.discard()
            if isinstance(error, OSError):
                raise OutputError(f"cannot write {self.target}: {reason(error)}") from error
            raise
        self.aside.discard()


def _csv(target: Path) -> Recording:
    return LineRecording(target, csv_line, CSV_HEADER)


def _json(target: Path) -> Recording:
    return LineRecording(target, json_line)


RECORDINGS: Final[dict[str, Callable[[Path], Recording]]] = {
    ".csv": _csv,
    ".jsonl": _json,
    ".ndjson": _json,
    ".npy": RowRecording,
    ".parquet": ParquetRecording,
}


def recording_of(target: Path) -> Callable[[Path], Recording]:
    """The writer for the suffix of `target`. Raises `UsageError` for an unknown suffix."""
    make = RECORDINGS.get(target.suffix.lower())
    if make is None:
        raise UsageError(f"{target}: the name has to end in {', '.join(RECORDINGS)}")
    return make
