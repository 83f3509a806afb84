"""Labelled rows as a Parquet file, a batch at a time."""

from collections.abc import Callable, Iterable
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fanout.clients.columns.frames import needed, to_arrow, unit_of
from fanout.clients.columns.rows import labelled_dtype


def write_parquet(file: str | IO[bytes], batches: Callable[[], Iterable[NDArray[np.void]]]) -> None:
    """Write batches of labelled rows, each a row group, with the columns of `to_arrow`.

    `batches` is called twice: the first time to see which unit holds all times, so that no more
    than a batch is in memory. Needs pyarrow. Raises as `to_arrow` does, and `OSError`.
    """
    parquet = needed("pyarrow.parquet", "write_parquet")
    unit = unit_of(batches())
    nothing = to_arrow(np.empty(0, labelled_dtype(1)), time_unit=unit)
    with parquet.ParquetWriter(file, nothing.schema) as writer:
        for rows in batches():
            writer.write_table(to_arrow(rows, time_unit=unit))
