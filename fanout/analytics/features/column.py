"""One column of the rows, found once by its name and then read by its place."""

from collections.abc import Sequence

from fanout.analytics.errors import AnalyticsError
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow


class UnknownColumnError(AnalyticsError):
    """The rows have no column of this name."""


class WrongRowError(AnalyticsError):
    """A row has other columns, or is of another instrument, than the object was made for."""


class Column:
    """The values of one column.

    `columns` are the names of the rows' columns, as in `Header.columns`. Raises
    `UnknownColumnError` with the names there are.
    """

    __slots__ = ("_index", "_width", "name")

    def __init__(self, columns: Sequence[str], name: str) -> None:
        if name not in columns:
            raise UnknownColumnError(f"no column {name}: the rows have {', '.join(columns)}")
        self.name = name
        self._index = columns.index(name)
        self._width = len(columns)

    def value(self, row: FeatureRow) -> float | None:
        """The value in the row's unit; None if it is absent. Raises `WrongRowError` for a row of
        another width."""
        values = row.values
        if len(values) != self._width:
            raise WrongRowError(
                f"a row of {len(values)} values, and {self._width} columns were named: name the "
                "columns of its channel"
            )
        return values[self._index]

    def absence(self, row: FeatureRow) -> Absence:
        """Why the value is absent; PRESENT if it is not."""
        return Absence(row.absences[self._index])

    def why(self, row: FeatureRow) -> str:
        """Why the value is absent, in words: `mid is absent: LOST`."""
        return f"{self.name} is absent: {self.absence(row).name}"
