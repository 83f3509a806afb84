"""A .npy file that grows: rows are appended, and the header in front says how many count.

The header has the same length whatever the count, since numpy leaves room for its digits. So it
can be written anew in place, after the rows it counts are on disk, and the file is a whole .npy at
every moment: `np.load` reads as many rows as the header says, and what may stand behind them does
no harm.
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


def npy_header(dtype: np.dtype[np.void], rows: int) -> bytes:
    """What a .npy of so many rows begins with. Its length depends on the dtype alone."""
    header = io.BytesIO()
    fields = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)}
    npy.write_array_header_1_0(header, cast(Any, fields))
    return header.getvalue()


def batches_of(path: Path) -> Iterator[NDArray[np.void]]:
    """The rows of a .npy that begins with `npy_header`, in order, `BATCH_ROWS` at a time. Each
    batch is read when it is asked for. Raises `OSError`, `ValueError`."""
    with path.open("rb") as file:
        npy.read_magic(file)
        (rows,), _, dtype = npy.read_array_header_1_0(file)
        for first in range(0, rows, BATCH_ROWS):
            yield np.fromfile(file, dtype, min(BATCH_ROWS, rows - first))
