"""Writers of recordings, one for each file format.

A recording buffers records in memory until `save`, which returns once they are on disk. A record
counts as saved only then. Memory is bounded: a recording with `MAX_PENDING` buffered records saves
them by itself.

JSON Lines hold every record. The other formats are tables, and a table holds one kind of records
(`fanout.cli.formats.KINDS`). So `TableRecording` keeps a file for each kind: that of the trades has
the name that was asked for, and the others have theirs in front of the suffix.

CSV and JSON Lines are appended. Rows go into a .npy file that is valid at every moment. A Parquet
file is unreadable without the index at its end. So its rows go into a .npy file first, and become
Parquet in batches when the recording is complete.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from fanout.cli.formats import KINDS, Line, csv_line, json_line, require_same
from fanout.cli.lines import Form, csv_form, json_form, trade_lines
from fanout.cli.outcome import OutputError
from fanout.cli.saving.aside import Aside, leftovers, require_free
from fanout.cli.saving.tally import counted
from fanout.clients.columns.features import columns_of, feature_dtype, features_in
from fanout.clients.columns.frames import PLACES, TimeUnit, needed, unit_of
from fanout.clients.columns.journal import TradeRows
from fanout.clients.columns.npy import batches_of, npy_header
from fanout.clients.columns.parquet import write_parquet
from fanout.clients.columns.rows import labelled_dtype, trades_in
from fanout.clients.columns.updates import (
    level_dtype,
    levels_in,
    order_dtype,
    orders_in,
    quote_dtype,
    quotes_in,
)
from fanout.errors import ConfigError, UsageError
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote
from fanout.protocol.errors import MissingPackageError, reason
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.records import Header, Record, Trade

ANOTHER_NAME: Final = "save the rest under another name"
"""What to do when the columns of rows of features change."""

MAX_PENDING: Final = 16_384
"""Most records buffered in memory: some megabytes of trades."""

MAX_PENDING_BYTES: Final = 16 * 1024 * 1024
"""Most bytes of levels buffered in memory. One update may have 32 KiB of them."""


class Recording(ABC):
    """A file that is being recorded, or several. All methods raise `OutputError` if they cannot
    write."""

    def __init__(self, target: Path) -> None:
        self.target = target

    @property
    @abstractmethod
    def saved(self) -> Counter[type]:
        """Records on disk, by their type. Events do not count."""

    @property
    def trades(self) -> int:
        """Trades that are on disk."""
        return self.saved[Trade]

    @property
    @abstractmethod
    def files(self) -> "list[FileRecording]":
        """The files that `complete` makes."""

    def begin(self, header: Header, *, force: bool) -> None:  # noqa: B027, only tables need it
        """Learn of a session header. Raises `UsageError` if a file for a kind of records that the
        channel has exists already."""

    @abstractmethod
    def add(self, record: Record, header: Header) -> bool:
        """Add a record received under `header`. False if the format cannot hold its kind."""

    @abstractmethod
    def add_rows(self, trades: TradeRows) -> None:
        """Add trades that were received at once, as `add` adds each of them."""

    @abstractmethod
    def save(self) -> None:
        """Return once all added records are on disk."""

    @abstractmethod
    def complete(self, *, force: bool) -> None:
        """Save, and rename each file to its target."""

    @abstractmethod
    def discard(self) -> None:
        """Delete the temporary files."""


class FileRecording(Recording, ABC):
    """A recording in one file."""

    def __init__(self, target: Path, kind: str = "") -> None:
        super().__init__(target)
        self.aside = Aside(target, kind)
        self._added: Counter[type] = Counter()
        self._saved: Counter[type] = Counter()
        self._pending: list[Any] = []
        self._pending_bytes = 0

    @property
    def saved(self) -> Counter[type]:
        return self._saved

    @property
    def files(self) -> "list[FileRecording]":
        return [self]

    def _is_full(self, record: Record) -> bool:
        """Whether the buffer has to be saved before anything else is added behind `record`."""
        if isinstance(record, BookUpdate | OrderUpdate):
            self._pending_bytes += len(record.packed_bids) + len(record.packed_asks)
        return len(self._pending) >= MAX_PENDING or self._pending_bytes >= MAX_PENDING_BYTES

    def _taken(self) -> list[Any]:
        taken, self._pending, self._pending_bytes = self._pending, [], 0
        return taken

    def complete(self, *, force: bool) -> None:
        self.save()
        self.aside.complete(force=force)

    def discard(self) -> None:
        self.aside.discard()


class LineRecording(FileRecording):
    """CSV or JSON Lines, the same lines that `fanout tail` prints."""

    def __init__(
        self,
        target: Path,
        line_of: Line,
        form_of: Callable[[Header], Form],
        first_line: str | None = None,
    ) -> None:
        super().__init__(target)
        self._line_of = line_of
        self._form_of = form_of
        self._form: tuple[Header, Form] | None = None
        """That of the newest rows, with the header that it is for."""
        self._is_written = False
        """Whether something is written that is not known to be on disk."""
        self._pending = [] if first_line is None else [first_line]

    def add(self, record: Record, header: Header) -> bool:
        line = self._line_of(record, header.epoch_ns, header.columns)
        if line is None:
            return False
        self._pending.append(line)
        self._added[type(record)] += type(record) in KINDS
        if self._is_full(record):
            self.save()
        return True

    def add_rows(self, trades: TradeRows) -> None:
        self._write()
        header = trades.header
        if self._form is None or self._form[0] is not header:
            self._form = header, self._form_of(header)
        self.aside.write(trade_lines(trades.packed, self._form[1]))
        self._is_written = True
        self._added[Trade] += len(trades)

    def _write(self) -> None:
        lines = self._taken()
        if lines:
            self.aside.write("".join(f"{each}\n" for each in lines).encode())
            self._is_written = True

    def save(self) -> None:
        self._write()
        if self._is_written:
            self.aside.sync()
            self._is_written = False
        self._saved = self._added.copy()


class FeatureLines(LineRecording):
    """CSV of rows of features, whose columns the first header names."""

    def __init__(self, target: Path) -> None:
        super().__init__(target, partial(csv_line, table=FeatureRow), csv_form)
        self._columns: tuple[str, ...] = ()

    def add(self, record: Record, header: Header) -> bool:
        if type(record) is not FeatureRow:
            return False
        if not self._columns:
            self._columns = header.columns
            self._pending.append(KINDS[FeatureRow].csv_header_with(header.columns))
        require_same(str(self.target), self._columns, header.columns, ANOTHER_NAME)
        return super().add(record, header)


class Rows(NamedTuple):
    """How records of one kind become rows."""

    dtype: Callable[[int], Any]
    """numpy's, of rows with room for symbols of so many characters; still without the columns of
    rows of features."""
    rows_in: Callable[[list[Any], Header], Any]
    """An array."""


ROWS: Final[dict[type, Rows]] = {
    Trade: Rows(labelled_dtype, trades_in),
    Quote: Rows(quote_dtype, quotes_in),
    BookUpdate: Rows(level_dtype, levels_in),
    OrderUpdate: Rows(order_dtype, orders_in),
    FeatureRow: Rows(partial(feature_dtype, ()), features_in),
}


class RowRecording(FileRecording):
    """A .npy file of labelled rows of one kind of records."""

    def __init__(self, target: Path, kind: str = "", table: type = Trade) -> None:
        super().__init__(target, kind)
        self._kind = kind
        self._table = table
        self._header: Header | None = None
        """The header of the buffered records."""
        self._rows = 0
        """Rows that are on disk, and counted in the file's header."""
        self._written = 0
        """Rows in the file."""
        self._unit: TimeUnit = unit_of([])
        """The coarsest one in which all their times are whole."""
        self._dtype = ROWS[table].dtype(1)
        try:
            self.aside.write(npy_header(self._dtype, 0))
        except BaseException:
            self.discard()
            raise

    def add(self, record: Record, header: Header) -> bool:
        if type(record) is not self._table:
            return False
        if header is not self._header:
            self.save()
            self._header = header
        self._pending.append(record)
        if self._is_full(record):
            self.save()
        return True

    def add_rows(self, trades: TradeRows) -> None:
        assert self._table is Trade, "rows of trades have no place in another table"
        self._write()
        self._put(trades.labelled)
        self._added[Trade] += len(trades)

    def _write(self) -> None:
        records = self._taken()
        if records:
            assert self._header is not None, "add() sets it with the first record"
            self._put(ROWS[self._table].rows_in(records, self._header))
            self._added[self._table] += len(records)

    def _put(self, rows: Any) -> None:
        if self._written:
            before, now = columns_of(self._dtype), columns_of(rows.dtype)
            require_same(str(self.target), before or (), now or (), ANOTHER_NAME)
        if rows.dtype.itemsize > self._dtype.itemsize:
            self._widen(rows.dtype)
        self._unit = max(self._unit, unit_of([rows]), key=PLACES.__getitem__)
        self.aside.write(rows.astype(self._dtype, copy=False).data.cast("B"))
        self._written += len(rows)

    def save(self) -> None:
        self._write()
        self._count()
        self._saved = self._added.copy()

    def _count(self) -> None:
        """Put the rows on disk, then write their number into the file's header."""
        if self._written > self._rows:
            self.aside.sync()
            self.aside.write_front(npy_header(self._dtype, self._written))
            self.aside.sync()
            self._rows = self._written

    def _widen(self, dtype: Any) -> None:
        """Rewrite the rows with a wider symbol column. That happens at the first records, and when
        a restarted service has longer symbols."""
        self._count()
        narrow, wide = self.aside, Aside(self.target, self._kind)
        try:
            wide.write(npy_header(dtype, self._rows))
            for rows in batches_of(narrow.path):
                wide.write(rows.astype(dtype).tobytes())
            wide.sync()
        except BaseException:
            wide.discard()
            raise
        self.aside, self._dtype = wide, dtype
        narrow.discard()


class ParquetRecording(RowRecording):
    """Rows that become Parquet at the end, in batches that fit in memory."""

    def __init__(self, target: Path, table: type = Trade) -> None:
        try:
            needed("pyarrow.parquet", target.name)
        except MissingPackageError as error:
            raise ConfigError(f"{error}; or save .npy, .csv or .jsonl") from error
        super().__init__(target, ".npy", table)

    def complete(self, *, force: bool) -> None:
        self.save()
        whole = Aside(self.target)
        try:
            write_parquet(
                str(whole.path),
                lambda: batches_of(self.aside.path),
                self._dtype,
                time_unit=self._unit,
            )
            whole.complete(force=force)
        except BaseException as error:
            whole.discard()
            if isinstance(error, OSError):
                raise OutputError(f"cannot write {self.target}: {reason(error)}") from error
            raise
        self.aside.discard()


class TableRecording(Recording):
    """A file for each kind of records. That of the trades is there from the start, unless the
    channel has none. The others begin with the first record of their kind."""

    def __init__(self, target: Path, make: Callable[[Path, type], FileRecording]) -> None:
        super().__init__(target)
        self._make = make
        self._tables: dict[type, FileRecording] = {Trade: make(target, Trade)}
        self._is_forced = False

    @property
    def saved(self) -> Counter[type]:
        return Counter({kind: each.saved[kind] for kind, each in self._tables.items()})

    @property
    def files(self) -> list[FileRecording]:
        return list(self._tables.values())

    def begin(self, header: Header, *, force: bool) -> None:
        self._is_forced = force
        if KINDS[Trade].data not in header.data and not self.trades:
            trades = self._tables.pop(Trade, None)
            if trades is not None:
                trades.discard()
        for table, kind in KINDS.items():
            if kind.data in header.data and table not in self._tables:
                require_free(_target_of(self.target, table), force=force)

    def add(self, record: Record, header: Header) -> bool:
        table = type(record)
        if table not in KINDS:
            return False
        return self._table(table).add(record, header)

    def add_rows(self, trades: TradeRows) -> None:
        self._table(Trade).add_rows(trades)

    def _table(self, table: type) -> FileRecording:
        """The recording of a kind, which begins with its first record."""
        recording = self._tables.get(table)
        if recording is None:
            target = _target_of(self.target, table)
            require_free(target, force=self._is_forced)
            recording = self._tables[table] = self._make(target, table)
        return recording

    def save(self) -> None:
        for each in self._tables.values():
            each.save()

    def complete(self, *, force: bool) -> None:
        for each in self._tables.values():
            each.complete(force=force)

    def discard(self) -> None:
        for each in self._tables.values():
            each.discard()


def _target_of(target: Path, table: type) -> Path:
    """The file for a kind of records: that of the trades is `target`."""
    name = KINDS[table].name
    return target.with_suffix(f".{name}{target.suffix}") if name else target


def _csv(target: Path, table: type) -> FileRecording:
    if table is FeatureRow:
        return FeatureLines(target)
    line_of = partial(csv_line, table=table)
    return LineRecording(target, line_of, csv_form, KINDS[table].csv_header)


def _json(target: Path) -> Recording:
    return LineRecording(target, json_line, json_form)


def _npy(target: Path, table: type) -> FileRecording:
    return RowRecording(target, table=table)


RECORDINGS: Final[dict[str, Callable[[Path], Recording]]] = {
    ".csv": partial(TableRecording, make=_csv),
    ".jsonl": _json,
    ".ndjson": _json,
    ".npy": partial(TableRecording, make=_npy),
    ".parquet": partial(TableRecording, make=ParquetRecording),
}


def recording_of(target: Path) -> Callable[[Path], Recording]:
    """The writer for the suffix of `target`. Raises `UsageError` for an unknown suffix."""
    make = RECORDINGS.get(target.suffix.lower())
    if make is None:
        raise UsageError(f"{target}: the name has to end in {', '.join(RECORDINGS)}")
    return make


def left_behind(target: Path) -> list[Path]:
    """Temporary files of interrupted recordings of `target`, with those of all kinds of tables."""
    return [path for table in KINDS for path in leftovers(_target_of(target, table))]


def in_words(saved: Counter[type]) -> str:
    """The numbers of records of each kind."""
    counts = [counted(saved[kind], KINDS[kind].noun) for kind in KINDS if saved[kind]]
    return ", ".join(counts) or "0 trades"
