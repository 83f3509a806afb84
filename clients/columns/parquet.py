"""Labelled rows as a Parquet file, a batch at a time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fanout.clients.columns.frames import TimeUnit, needed, to_arrow, unit_of
from fanout.clients.columns.rows import labelled_dtype


def write_parquet(
    file: str | IO[bytes],
    batches: Callable[[], Iterable[NDArray[np.void]]],
    dtype: np.dtype[np.void] | None = None,
    *,
    time_unit: TimeUnit | None = None,
) -> None:
    """Write batches of labelled rows, each a row group, with the columns of `to_arrow`.

    All batches have rows of the kind of `dtype`, trades unless it is given. Two batches are in
    memory at a time: one is made while the one before is written, in a thread. Without `time_unit`
    `batches` is called twice: first to find the unit that holds all times, then to write. Needs
    pyarrow. Raises `OSError`, and the errors of `to_arrow`.
    """
    parquet = needed("pyarrow.parquet", "write_parquet")
    nothing = np.empty(0, dtype or labelled_dtype(1))
    unit = time_unit or unit_of(chain([nothing], batches()))
    schema = to_arrow(nothing, time_unit=unit).schema
    with parquet.ParquetWriter(file, schema) as writer, ThreadPoolExecutor(1) as thread:
        written = thread.submit(int)
        for rows in batches():
            table = to_arrow(rows, time_unit=unit)
            written.result()
            written = thread.submit(writer.write_table, table)
        written.result()
