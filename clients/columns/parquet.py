"""Labelled rows as a Parquet file, a batch at a time."""

from collections.abc import Callable, Iterable
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fanout.clients.columns.frames import needed, to_arrow, unit_of
from fanout.clients.columns.rows import labelled_dtype


def write_parquet(
    file: str | IO[bytes],
    batches: Callable[[], Iterable[NDArray[np.void]]],
    dtype: np.dtype[np.void] | None = None,
) -> None:
    """Write batches of labelled rows, each a row group, with the columns of `to_arrow`.

    All batches have rows of the kind of `dtype`, trades unless it is given. Only one batch is in
    memory at a time. So `batches` is called twice: first to find the unit that holds all times,
    then to write. Needs pyarrow. Raises `OSError`, and the errors of `to_arrow`.
    """
    parquet = needed("pyarrow.parquet", "write_parquet")
    unit = unit_of(batches())
    nothing = to_arrow(np.empty(0, dtype or labelled_dtype(1)), time_unit=unit)
    with parquet.ParquetWriter(file, nothing.schema) as writer:
        for rows in batches():
            writer.write_table(to_arrow(rows, time_unit=unit))
