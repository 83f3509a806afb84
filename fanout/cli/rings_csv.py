"""The files of `fanout rings csv`: one for each symbol, with a row for each trade.

There may be more symbols than a process may have open files, so that only those of the latest
trades are open.
"""

import csv
import errno
import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from fanout.cli.outcome import OutputError
from fanout.clients.consolidated import ConsolidatedTrade
from fanout.protocol.errors import reason

COLUMNS: Final = ConsolidatedTrade.__struct_fields__

MOST_OPEN: Final = 128


class CsvFiles:
    """Writes trades to OUT/EXCHANGE_SYMBOL.csv."""

    def __init__(self, out: Path) -> None:
        """Raises `OutputError` if the directory cannot be made."""
        self.rows = 0
        self._out = out
        self._made: set[tuple[str, str]] = set()
        self._open: OrderedDict[tuple[str, str], FileIO] = OrderedDict()
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {out}: {reason(error).lower()}") from error

    @property
    def symbols(self) -> int:
        return len(self._made)

    def add(self, trades: Sequence[ConsolidatedTrade]) -> None:
        """Write trades, so that a reader of the files finds them. Raises `OutputError` for a file
        that was there before, and `OSError`."""
        texts: dict[tuple[str, str], list[ConsolidatedTrade]] = {}
        for each in trades:
            texts.setdefault((each.exchange, each.asset), []).append(each)
        for name, rows in texts.items():
            _write(self._file(name), "".join(map(_row, rows)))
            self.rows += len(rows)

    def close(self) -> None:
        for each in self._open.values():
            each.close()
        self._open.clear()

    def _file(self, name: tuple[str, str]) -> FileIO:
        file = self._open.get(name)
        if file is not None:
            self._open.move_to_end(name)
            return file
        path = self._out / f"{quote('_'.join(name), safe='')}.csv"
        is_new = name not in self._made
        try:
            file = path.open("xb" if is_new else "ab", buffering=0)
        except FileExistsError as error:
            raise OutputError(f"{path} is there already: give another --out") from error
        if is_new:
            self._made.add(name)
        self._open[name] = file
        if is_new:
            _write(file, ",".join(COLUMNS) + "\n")
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        return file


def _write(file: FileIO, text: str) -> None:
    """Write whole rows, or none of them. Raises `OSError`."""
    data, size = text.encode(), file.seek(0, os.SEEK_END)
    if file.write(data) != len(data):
        file.truncate(size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)


def _row(trade: ConsolidatedTrade) -> str:
    row = io.StringIO()
    csv.writer(row, lineterminator="\n").writerow(msgspec.structs.astuple(trade))
    return row.getvalue()
