"""Keeps what a comparison finds in a directory.

    DIR/summary.json        the addresses, the verdict and all counts
    DIR/summary.csv         a row for each symbol
    DIR/symbols/SYMBOL.csv  a row for each finding, up to `MOST_ROWS`

Rows are written as they are found, so a comparison that is killed leaves what it had.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from fanout.cli.formats import csv_text
from fanout.cli.outcome import OutputError
from fanout.compare import Finding, Report, SymbolReport
from fanout.compare.values import Spread, States
from fanout.errors import UsageError
from fanout.protocol.errors import reason

MOST_ROWS: Final = 10_000
"""Findings of one symbol that are written. All of them are counted."""

COLUMNS: Final = ("what", "number", "time_ms", "field", "a", "b")


class Findings:
    """What was found: the first of each kind, and rows for the files."""

    def __init__(self, directory: Path | None) -> None:
        """Raises `UsageError` for a directory that is not empty, and `OutputError` for one that
        cannot be made."""
        self.first: dict[str, Finding] = {}
        """The first difference of each kind."""
        self._directory = directory
        self._rows: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()
        if directory is not None:
            self._make(directory)

    def _make(self, directory: Path) -> None:
        try:
            (directory / "symbols").mkdir(parents=True, exist_ok=True)
            others = [each.name for each in directory.iterdir() if each.name != "symbols"]
            if others or any((directory / "symbols").iterdir()):
                raise UsageError(f"--out {directory} is not empty: name another directory")
        except OSError as error:
            raise OutputError(f"cannot write --out {directory}: {reason(error)}") from error

    def add(self, finding: Finding) -> None:
        """Take a finding."""
        if not finding.what.is_reported:
            self.first.setdefault(finding.what.value, finding)
        if self._directory is None:
            return
        self._counts[finding.symbol] += 1
        if self._counts[finding.symbol] <= MOST_ROWS:
            row = (
                finding.what.value,
                finding.number,
                finding.time_ms,
                finding.field,
                finding.a,
                finding.b,
            )
            self._rows.setdefault(finding.symbol, []).append(csv_text(row))

    def save(self) -> None:
        """Write the rows since the last call. Raises `OutputError`."""
        if self._directory is None:
            return
        rows, self._rows = self._rows, {}
        for symbol, lines in rows.items():
            self._append(symbol, lines)

    def _append(self, symbol: str, lines: Iterable[str]) -> None:
        assert self._directory is not None, "rows are for files"
        path = self._directory / "symbols" / f"{quote(symbol, safe='')}.csv"
        try:
            with path.open("a", encoding="utf-8") as file:
                if not file.tell():
                    file.write(csv_text(COLUMNS) + "\n")
                file.writelines(f"{each}\n" for each in lines)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {reason(error)}") from error

    def complete(self, report: Report, summary: dict[str, Any]) -> None:
        """Write what is left, and the summaries. Raises `OutputError`."""
        self.save()
        if self._directory is None:
            return
        for each in report.symbols:
            self._append(each.symbol, ())
        table = "\n".join((csv_text(SUMMARY), *(csv_text(row_of(each)) for each in report.symbols)))
        self._write("summary.csv", table + "\n")
        self._write("summary.json", msgspec.json.format(msgspec.json.encode(summary)).decode())

    def _write(self, name: str, text: str) -> None:
        assert self._directory is not None, "summaries are files"
        path = self._directory / name
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {reason(error)}") from error


FIELDS: Final = ("time", "price", "quantity", "side", "kind")
"""Fields of a trade that are compared."""

_COUNTS: Final = (
    *("trades_a", "trades_b"),
    *("matched", "only_a", "only_b", "double_a", "double_b", "order"),
    *("lost_a", "lost_b", "again_a", "again_b", "outside", "undecided"),
    *("first_ms", "last_ms", "first_id", "last_id"),
)
_SPREAD: Final = tuple(each for each in Spread.__struct_fields__)
_STATES: Final = tuple(each for each in States.__struct_fields__)

SUMMARY: Final = (
    "symbol",
    *_COUNTS,
    *(f"unequal_{each}" for each in FIELDS),
    *(f"{side}_later_{each}" for side in "ab" for each in _SPREAD),
    *(f"{kind}_{each}" for kind in ("quotes", "books") for each in _STATES),
)
"""The columns of `summary.csv`."""


def row_of(report: SymbolReport) -> tuple[object, ...]:
    """A row of `summary.csv`. What there is none of is empty."""
    return (
        report.symbol,
        *(_or_empty(getattr(report, each)) for each in _COUNTS),
        *(report.unequal.get(each, 0) for each in FIELDS),
        *(
            getattr(spread, each) if spread else ""
            for spread in (report.a_later, report.b_later)
            for each in _SPREAD
        ),
        *(getattr(of, each) for of in (report.quotes, report.books) for each in _STATES),
    )


def _or_empty(value: object) -> object:
    return "" if value is None else value
