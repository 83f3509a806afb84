"""Rows as a Parquet file.

The columns are `venue`, `symbol` and `time` (ns, UTC), the features as nullable doubles, and
`absences`, a struct with the reason for each feature that is null: those of
`fanout.clients.columns.to_arrow`, without the numbers of a channel.

The file gets its name once it is whole, at the end; until then it is `.FILE.XXXXXXXX.part` beside
it. Parquet has its index at its end, so a file whose writer was killed cannot be read. The next run
for the same name says so: a journal gives the same rows again.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from fanout.analytics.consumer.consumer import PlacedRow
from fanout.analytics.consumer.roster import Listed
from fanout.cli.outcome import OutputError, say
from fanout.cli.saving.aside import SUFFIX, Aside, leftovers, require_free
from fanout.clients.columns.features import features_in
from fanout.clients.columns.frames import needed, to_arrow
from fanout.errors import UsageError
from fanout.protocol.constants import DataKinds
from fanout.protocol.errors import reason
from fanout.protocol.records import Header

BATCH_ROWS: Final = 16_384
"""Rows of a row group, and most that are in memory."""


class ParquetOutput:
    """A file that is being written."""

    def __init__(self, target: Path, columns: Sequence[str], listed: Sequence[Listed]) -> None:
        """Raises `MissingPackageError`, and `OutputError` if the file cannot be made."""
        self._pa: Any = needed("pyarrow", f"--parquet {target}")
        parquet: Any = needed("pyarrow.parquet", f"--parquet {target}")
        self._header = _header(columns)
        self._listed = listed
        self._pending: list[PlacedRow] = []
        self.rows = 0
        self.aside = Aside(target)
        self._file: Any = self._pa.PythonFile(_Appended(self.aside), mode="w")
        self._writer: Any = parquet.ParquetWriter(self._file, self._table([]).schema)

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
        table = to_arrow(features_in((row for _, row in batch), self._header), time_unit="ns")
        venues = self._pa.array(
            [self._listed[place].venue for place, _ in batch], self._pa.string()
        ).dictionary_encode()
        return table.drop_columns(["seq", "received_ns", "epoch_ns"]).add_column(0, "venue", venues)

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


def _header(columns: Sequence[str]) -> Header:
    """A header that says nothing but the columns."""
    return Header(
        epoch_ns=0,
        next_seq=1,
        venue="features",
        instruments=(),
        references=(),
        data=DataKinds.FEATURES,
        columns=tuple(columns),
    )


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


def _unreadable(target: Path) -> list[Path]:
    """Files of writers that were killed. Those of `fanout save` can be read, and are left out."""
    names = rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\{SUFFIX}"
    return [each for each in leftovers(target) if re.fullmatch(names, each.name)]


@asynccontextmanager
async def open_parquet(
    target: Path, columns: Sequence[str], listed: Sequence[Listed], *, force: bool
) -> AsyncIterator[ParquetOutput]:
    """A file that is complete at the end, also after an error elsewhere. Raises `UsageError` if
    there is a file of that name, and as `ParquetOutput`."""
    if target.suffix != ".parquet":
        raise UsageError(f"--parquet {target}: a name that ends in .parquet")
    require_free(target, force=force)
    for each in _unreadable(target):
        say(f"{each} is left of a run that was killed, and cannot be read: delete it")
    output = ParquetOutput(target, columns, listed)
    try:
        yield output
    finally:
        try:
            output.complete(force=force)
        except BaseException:
            output.abandon()
            raise
