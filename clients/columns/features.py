"""Rows of features as numpy arrays, and the columns of Arrow that come of them.

A row of the array has a double for each column of the channel, by its name. numpy has no null, so
an absent value is nan, and the code of its reason is in `absences`. In Arrow an absent value is
null.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanout.protocol.constants import I64_MAX, Absence
from fanout.protocol.errors import CallerError, NotRepresentableError
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.records import Header

_BEFORE: Final = (("seq", "<u8"), ("time_ns", "<u8"))
_AFTER: Final = (("received_ns", "<u8"), ("epoch_ns", "<u8"))

RESERVED: Final = ("seq", "time_ns", "time", "received_ns", "epoch_ns", "absences", "symbol")
"""Names of fields that rows have anyway. No column can have one of them."""

_NAMES: Final = tuple(each.name for each in Absence)
_NAME_INDEX: Final = np.array([_NAMES.index(Absence(each).name) for each in range(256)], np.int8)
"""The place in `_NAMES` of each code. A code without a name is OTHER."""


def feature_dtype(columns: Sequence[str], symbol_chars: int) -> np.dtype[np.void]:
    """The dtype of rows with these columns, and with room for symbols of `symbol_chars` characters.

    Raises `CallerError` for a column that has the name of another field.
    """
    for name in columns:
        if name in RESERVED:
            raise CallerError(f"column {name} has the name of a field that rows have: rename it")
    values = [(name, "<f8") for name in columns]
    absences = ("absences", "u1", (len(columns),))
    return np.dtype([*_BEFORE, *values, *_AFTER, absences, ("symbol", f"<U{symbol_chars}")])


def features_in(records: Iterable[object], header: Header) -> NDArray[np.void]:
    """The rows of features among a client's records, in order, as an array of shape (rows,).

    It has a field of doubles for each of the header's columns, nan where there is no value.
    `absences`, of shape (rows, columns), has the codes of `fanout.protocol.Absence`, 0 where there
    is one. `seq` is 0 in a snapshot. Raises `CallerError` for a row of another number of columns.
    """
    found = [each for each in records if isinstance(each, FeatureRow)]
    count = len(header.columns)
    odd = next((each for each in found if len(each.values) != count), None)
    if odd is not None:
        raise CallerError(
            f"row {odd.seq} of {odd.symbol} has {len(odd.values)} values, and the header {count} "
            "columns: pass the header under which it came"
        )
    symbols = {*header.instruments, *(each.instrument for each in found)}
    chars = max((len(each.symbol) for each in symbols), default=1)
    rows = np.empty(len(found), feature_dtype(header.columns, chars))
    values = np.array([each.values for each in found], "<f8").reshape(len(found), count)
    for place, name in enumerate(header.columns):
        rows[name] = values[:, place]
    codes = b"".join([each.absences for each in found])
    rows["absences"] = np.frombuffer(codes, np.uint8).reshape(len(found), count)
    rows["epoch_ns"] = header.epoch_ns
    for name in ("seq", "time_ns", "received_ns", "symbol"):
        rows[name] = np.array([getattr(each, name) for each in found], rows.dtype[name])
    return rows


def columns_of(dtype: np.dtype[np.void]) -> tuple[str, ...] | None:
    """The columns of rows of this dtype; None if it is not one of `feature_dtype`."""
    names = dtype.names or ()
    if "absences" not in names:
        return None
    return tuple(names[len(_BEFORE) : names.index("received_ns")])


def arrow_columns(
    pa: Any, rows: NDArray[np.void], columns: Sequence[str], unit: str, symbols: Any
) -> Iterator[tuple[str, Any]]:
    """Names and arrays of Arrow. `unit` is that of the timestamps, `symbols` the column of symbols.

    `absences` is a struct with the name of the reason for each column, null where there is a value.
    The names are plain text: pyarrow cannot read dictionaries back from a struct in several row
    groups of Parquet (26.0: "Nested data conversions not implemented").
    Raises `NotRepresentableError` for a time that is not whole in the unit, or not one of 63 bits.
    """
    yield "seq", _plain(pa, rows, "seq")
    yield "symbol", symbols
    yield "time", _timestamps(pa, rows["time_ns"], unit)
    for name in columns:
        values = np.ascontiguousarray(rows[name])
        yield name, pa.array(values, mask=np.isnan(values))
    yield "absences", _reasons(pa, rows["absences"], columns)
    yield "received_ns", _plain(pa, rows, "received_ns")
    yield "epoch_ns", _plain(pa, rows, "epoch_ns")


def _plain(pa: Any, rows: NDArray[np.void], name: str) -> Any:
    return pa.array(np.ascontiguousarray(rows[name]))


def _timestamps(pa: Any, times: NDArray[np.uint64], unit: str) -> Any:
    ns_per_unit = {"ns": 1, "us": 1_000, "ms": 1_000_000}[unit]
    latest = int(times.max(initial=0))
    if latest > I64_MAX or (times % np.uint64(ns_per_unit)).any():
        raise NotRepresentableError(f"times up to {latest} ns are no timestamps[{unit}]")
    whole = (times // np.uint64(ns_per_unit)).astype(np.int64)
    return pa.array(whole).cast(pa.timestamp(unit, tz="UTC"))


def _reasons(pa: Any, codes: NDArray[np.uint8], columns: Sequence[str]) -> Any:
    names = pa.array(_NAMES)
    arrays = []
    for place in range(len(columns)):
        of_column = np.ascontiguousarray(codes[:, place])
        arrays.append(names.take(pa.array(_NAME_INDEX[of_column], mask=of_column == 0)))
    return pa.StructArray.from_arrays(arrays, list(columns))
