"""Trades as columns: numpy arrays, and from there Arrow, polars and pandas.

    from fanout.clients.columns import to_polars, trades_in

    trades = trades_in(records, client.header)  # what iterating over a client gave
    frame = to_polars(trades)

The wire carries integers and exponents. Every conversion keeps them, unless the caller asks for
decimals or floats. Only floats are rounded. numpy comes with fanout. polars, pyarrow and pandas are
imported by the function that needs them, and its error names a missing one.

`rows` has the arrays, `frames` the conversions, `npy` and `parquet` files in batches.
"""

from fanout.clients.columns.frames import (
    MissingPackageError,
    Values,
    to_arrow,
    to_pandas,
    to_polars,
)
from fanout.clients.columns.parquet import write_parquet
from fanout.clients.columns.rows import TRADE, labelled, labelled_dtype, trades_in, trades_of

__all__ = [
    "TRADE",
    "MissingPackageError",
    "Values",
    "labelled",
    "labelled_dtype",
    "to_arrow",
    "to_pandas",
    "to_polars",
    "trades_in",
    "trades_of",
    "write_parquet",
]
