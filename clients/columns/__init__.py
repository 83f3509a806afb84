"""Records as columns: numpy arrays, and from there Arrow, polars and pandas.

    from fanout.clients.columns import quotes_in, to_polars, tops_in, trades_in

    trades = trades_in(records, client.header)  # what iterating over a client gave
    frame = to_polars(trades)
    quotes = to_polars(quotes_in(records, client.header))
    features = to_polars(features_in(records, client.header))  # of a channel of rows
    tops = tops_in(records, "BTCUSDT", 10)  # the first ten levels of a book over time

The wire carries integers and exponents. Every conversion keeps them, unless the caller asks for
decimals or floats. Only floats are rounded. numpy comes with fanout. polars, pyarrow and pandas are
imported by the function that needs them, and its error names a missing one.

`rows` has the arrays of trades, `updates` those of quotes and book updates, `features` those of
rows of features, `tops` the matrices of a book, `frames` the conversions, `npy` and `parquet` files
in batches, and `journal` the pieces of a journal.
"""

from fanout.clients.columns.features import feature_dtype, features_in
from fanout.clients.columns.frames import Values, to_arrow, to_pandas, to_polars
from fanout.clients.columns.parquet import write_parquet
from fanout.clients.columns.rows import TRADE, labelled, labelled_dtype, trades_in, trades_of
from fanout.clients.columns.tops import Tops, tops_in
from fanout.clients.columns.updates import (
    SIDES,
    level_dtype,
    levels_in,
    order_dtype,
    orders_in,
    quote_dtype,
    quotes_in,
)
from fanout.protocol.errors import MissingPackageError

__all__ = [
    "SIDES",
    "TRADE",
    "MissingPackageError",
    "Tops",
    "Values",
    "feature_dtype",
    "features_in",
    "labelled",
    "labelled_dtype",
    "level_dtype",
    "levels_in",
    "order_dtype",
    "orders_in",
    "quote_dtype",
    "quotes_in",
    "to_arrow",
    "to_pandas",
    "to_polars",
    "tops_in",
    "trades_in",
    "trades_of",
    "write_parquet",
]
