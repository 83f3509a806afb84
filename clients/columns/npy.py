"""A .npy file that grows: rows are appended, and the header has the number of complete rows.

numpy leaves room for the digits of that number, so the length of the header never changes. The
writer replaces the header in place once the rows are on disk. So the file is a valid .npy at every
moment: `np.load` reads as many rows as the header has, and ignores any bytes behind them.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

BATCH_ROWS: Final = 131_072
"""Rows in memory at once while a file is read: some ten megabytes."""

_NPY: Final = cast(Any, npy)
"""Not every version of numpy says the types of these functions."""

MAX_HEADER_BYTES: Final = 65_535
"""The longest header of a file. numpy refuses those over 10,000 bytes unless told: rows of features
may have that many columns."""


def npy_header(dtype: np.dtype[np.void], rows: int) -> bytes:
    """The first bytes of a .npy file of so many rows. Their number depends only on the dtype."""
    header = io.BytesIO()
    fields = {"descr": _NPY.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)}
    _NPY.write_array_header_1_0(header, fields)
    return header.getvalue()


def batches_of(path: Path) -> Iterator[NDArray[np.void]]:
    """The rows of a .npy file that begins with `npy_header`, in order, `BATCH_ROWS` at a time. Each
    batch is read when the caller asks for it. Raises `OSError`, `ValueError`."""
    with path.open("rb") as file:
        _NPY.read_magic(file)
        (rows,), _, dtype = _NPY.read_array_header_1_0(file, max_header_size=MAX_HEADER_BYTES)
        for first in range(0, rows, BATCH_ROWS):
            yield np.fromfile(file, dtype, min(BATCH_ROWS, rows - first))
