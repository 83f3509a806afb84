"""Rows as a Parquet file.

The columns are `time` (ns, UTC), `venue` and `symbol`, the features as nullable doubles, and
`absences`: a byte for each feature, the `fanout.protocol.Absence` of a value that is not there and
0 for one that is. The file gets its name once it is whole, at the end; until then it is
`.FILE.XXXXXXXX.part` beside it. Parquet has its index at its end, so a file whose writer was killed
cannot be read: a journal can, and gives the same rows again.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from fanout.analytics.consumer import PlacedRow
from fanout.analytics.roster import Listed
from fanout.cli.outcome import OutputError
from fanout.cli.saving.aside import Aside, require_free
from fanout.clients.columns.frames import needed
from fanout.errors import UsageError
from fanout.protocol.errors import reason

BATCH_ROWS: Final = 16_384
"""Rows of a row group, and most that are in memory."""


class ParquetOutput:
    """A file that is being written."""

    def __init__(self, target: Path, columns: Sequence[str], listed: Sequence[Listed]) -> None:
        """Raises `MissingPackageError`, and `OutputError` if the file cannot be made."""
        self._pa: Any = needed("pyarrow", f"--parquet {target}")
        parquet: Any = needed("pyarrow.parquet", f"--parquet {target}")
        self._columns = tuple(columns)
        self._listed = listed
        self._pending: list[PlacedRow] = []
        self._schema = self._made_schema()
        self.rows = 0
        self.aside = Aside(target)
        self._file: Any = self._pa.PythonFile(_Appended(self.aside), mode="w")
        self._writer: Any = parquet.ParquetWriter(self._file, self._schema)

    def _made_schema(self) -> Any:
        pa = self._pa
        names = pa.dictionary(pa.int32(), pa.string())
        return pa.schema(
            [
                ("time", pa.timestamp("ns", tz="UTC")),
                ("venue", names),
                ("symbol", names),
                *((each, pa.float64()) for each in self._columns),
                ("absences", pa.binary(len(self._columns))),
            ]
        )

    def add(self, rows: Sequence[PlacedRow]) -> None:
        """See `Output.add`."""
        self._pending += rows

    async def flush(self) -> None:
        """See `Output.flush`. Writes whole row groups, in a thread. Raises `OutputError`."""
        while len(self._pending) >= BATCH_ROWS:
            batch, self._pending = self._pending[:BATCH_ROWS], self._pending[BATCH_ROWS:]
            # A group that is cut off by a cancellation would be in the file in half.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._write, batch)

    def _write(self, batch: Sequence[PlacedRow]) -> None:
        try:
            self._writer.write_table(self._table(batch))
        except OSError as error:
            raise OutputError(f"cannot write {self.aside.target}: {reason(error)}") from error
        self.rows += len(batch)

    def _table(self, batch: Sequence[PlacedRow]) -> Any:
        pa, schema = self._pa, self._schema
        listed = self._listed
        places = [listed[place] for place, _ in batch]
        rows = [row for _, row in batch]
        values = zip(*(row.values for row in rows), strict=True)
        arrays = [
            pa.array([row.time_ns for row in rows], schema.field("time").type),
            pa.array([each.venue for each in places]).dictionary_encode(),
            pa.array([each.symbol for each in places]).dictionary_encode(),
            *(pa.array(column, pa.float64()) for column in values),
            pa.array([row.absences for row in rows], schema.field("absences").type),
        ]
        return pa.Table.from_arrays(arrays, schema=schema)

    def complete(self, *, force: bool) -> None:
        """Write what is left, and give the file its name. Raises `OutputError`."""
        if self._pending:
            self._write(self._pending)
            self._pending = []
        try:
            self._writer.close()
            self._file.close()
        except OSError as error:
            raise OutputError(f"cannot write {self.aside.target}: {reason(error)}") from error
        self.aside.complete(force=force)

    def abandon(self) -> None:
        """Leave no file behind."""
        self.aside.discard()


class _Appended:
    """A temporary file with the methods that pyarrow needs."""

    closed = False

    def __init__(self, aside: Aside) -> None:
        self._aside = aside
        self._size = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._aside.write(view)
        self._size += len(view)
        return len(view)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None: ...

    def close(self) -> None: ...


@asynccontextmanager
async def open_parquet(
    target: Path, columns: Sequence[str], listed: Sequence[Listed], *, force: bool
) -> AsyncIterator[ParquetOutput]:
    """A file that is complete at the end, also after an error elsewhere. Raises `UsageError` if
    there is a file of that name, and as `ParquetOutput`."""
    if target.suffix != ".parquet":
        raise UsageError(f"--parquet {target}: a name that ends in .parquet")
    require_free(target, force=force)
    output = ParquetOutput(target, columns, listed)
    try:
        yield output
    finally:
        try:
            output.complete(force=force)
        except BaseException:
            output.abandon()
            raise
