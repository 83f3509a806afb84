"""Rows as tables of Arrow, polars and pandas.

Every conversion goes through Arrow, so the columns are the same in every tool and in a Parquet
file:

    seq                                 u64
    symbol                              text, as a dictionary (polars and pandas: categorical)
    trade_id                            u64
    time                                timestamp in UTC; unit of the finest clock: ms, us or ns;
                                        null where the venue gives no time (0 in the rows)
    price, price_exponent               i64, i8: price * 10**price_exponent of the quote currency
    quantity, quantity_exponent         u64, i8
    received_ns                         u64, unix ns
    kind                                the name of a `fanout.protocol.TradeKind`, as a dictionary
    buyer_is_maker, back_filled         bool
    epoch_ns                            u64, unix ns

Quotes have `update_id`, `bid_price`, `ask_price`, `bid_quantity` and `ask_quantity` in place of the
fields of a trade. Levels have `update_id`, `side` (BID, ASK or NONE), `price`, `quantity`, and the
flags `is_whole`, `has_more` and `is_top_only` of their update; orders have `order_id` too.

Rows of features have `seq`, `symbol`, `time` (in ns), a double for each column, null where there is
no value, `absences`, `received_ns` and `epoch_ns`. `absences` is a struct: for each column the name
of a `fanout.protocol.Absence`, null where there is a value.

`values="decimal"` gives price and quantity as decimals of up to 38 digits, at the finest scale of
these trades. `values="float"` gives the nearest doubles. Either replaces integer and exponent. Only
floats may be rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fanout.clients.columns.features import arrow_columns, columns_of
from fanout.clients.columns.rows import labelled
from fanout.clients.columns.updates import SIDES
from fanout.protocol.constants import I64_MAX, BookFlags, TradeKind
from fanout.protocol.errors import CallerError, MissingPackageError, NotRepresentableError
from fanout.protocol.fixedpoint import to_float
from fanout.protocol.records import Header

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Values = Literal["exact", "decimal", "float"]
TimeUnit = Literal["ms", "us", "ns"]

PLACES: Final[dict[TimeUnit, int]] = {"ms": 3, "us": 6, "ns": 9}
"""Decimals of a second in each unit. Parquet has no coarser unit."""

DECIMAL_DIGITS: Final = 38
"""Digits that 128 bits hold. polars has no decimals of 256 bits."""

_EXACT_FLOAT: Final = 2**53
"""Integers up to this one are exact as doubles, so dividing by a power of ten rounds only once."""

_TENS: Final = np.array([float(10**power) for power in range(19)])
_KINDS: Final = tuple(each.name for each in TradeKind)
_KIND_INDEX: Final = np.array([_KINDS.index(TradeKind(each).name) for each in range(256)], np.int8)
"""The place in `_KINDS` of each code. A code without a name is OTHER."""

_SIDE_INDEX: Final = np.array([min(each, 2) for each in range(256)], np.int8)
"""The place in `SIDES` of each code."""

_FLAGS: Final = {
    "is_whole": BookFlags.WHOLE.value,
    "has_more": BookFlags.MORE.value,
    "is_top_only": BookFlags.TOP_ONLY.value,
}

_BEFORE: Final = ("seq", "symbol")
_PRICE: Final = ("price", "price_exponent")
_QUANTITY: Final = ("quantity", "quantity_exponent")
_UPDATE: Final = (*_BEFORE, "update_id", "time")

TABLES: Final = (
    (
        *(*_BEFORE, "trade_id", "time", *_PRICE, *_QUANTITY, "received_ns", "kind"),
        *("buyer_is_maker", "back_filled", "epoch_ns"),
    ),
    (
        *(*_UPDATE, "bid_price", "ask_price", "price_exponent"),
        *("bid_quantity", "ask_quantity", "quantity_exponent", "received_ns", "epoch_ns"),
    ),
    (*_UPDATE, "side", "order_id", *_PRICE, *_QUANTITY, "flags", "received_ns", "epoch_ns"),
    (*_UPDATE, "side", *_PRICE, *_QUANTITY, "flags", "received_ns", "epoch_ns"),
)
"""The fields of trades, quotes, orders and levels, in the order of their columns."""

_EXPONENT_OF: Final = {
    "price": "price_exponent",
    "bid_price": "price_exponent",
    "ask_price": "price_exponent",
    "quantity": "quantity_exponent",
    "bid_quantity": "quantity_exponent",
    "ask_quantity": "quantity_exponent",
}


def to_arrow(
    trades: NDArray[np.void],
    header: Header | None = None,
    values: Values = "exact",
    time_unit: TimeUnit | None = None,
) -> pyarrow.Table:
    """A table with a row for each trade, quote, level, order or row of features. Needs pyarrow.

    `trades` are labelled rows of one kind, or rows of `TRADE` and their `header`. Without
    `time_unit` the table has the coarsest unit in which its times are whole; give one for tables
    that are to be joined.
    Raises `NotRepresentableError` for times that do not fit 63 bits in that unit, and for decimals
    of more than 38 digits. Raises `MissingPackageError` without pyarrow.
    """
    pa = needed("pyarrow", "to_arrow")
    rows = _with_labels(trades, header)
    features = columns_of(rows.dtype)
    if features is not None:
        symbols = _symbols(pa, np.ascontiguousarray(rows["symbol"]))
        unit = time_unit or unit_of([rows])
        return pa.table(dict(arrow_columns(pa, rows, features, unit, symbols)))
    columns: dict[str, Any] = {}
    for name in table_of(rows.dtype):
        columns |= _column(pa, rows, name, values, time_unit)
    return pa.table(columns)


def table_of(dtype: np.dtype[np.void]) -> tuple[str, ...]:
    """The columns of labelled rows other than those of features. Raises `CallerError` for rows of
    something else."""
    names = set(dtype.names or ())
    for table in TABLES:
        if names.issuperset(table):
            return table
    raise CallerError(f"rows of {', '.join(sorted(names))} are neither trades, quotes nor levels")


def _column(
    pa: Any, rows: NDArray[np.void], name: str, values: Values, time_unit: TimeUnit | None
) -> dict[str, Any]:
    """A column, or several that stand for one field of the rows."""
    if name in _EXPONENT_OF and values != "exact":
        exponents = rows[_EXPONENT_OF[name]]
        convert = _decimals if values == "decimal" else _floats
        return {name: convert(pa, name, np.ascontiguousarray(rows[name]), exponents)}
    match name:
        case "price_exponent" | "quantity_exponent" if values != "exact":
            return {}
        case "time":
            return {name: _timestamps(pa, rows, time_unit or unit_of([rows]))}
        case "kind":
            return {name: _named(pa, rows[name], _KINDS, _KIND_INDEX)}
        case "side":
            return {name: _named(pa, rows[name], SIDES, _SIDE_INDEX)}
        case "flags":
            bits = rows[name]
            return {each: pa.array((bits & flag) != 0) for each, flag in _FLAGS.items()}
        case "symbol":
            return {name: _symbols(pa, np.ascontiguousarray(rows[name]))}
        case _:
            return {name: pa.array(np.ascontiguousarray(rows[name]))}


def _symbols(pa: Any, symbols: NDArray[np.str_]) -> Any:
    """Symbols as a dictionary. Only the first of each run is looked at as text."""
    chars = symbols.view("<u4").reshape(len(symbols), symbols.itemsize // 4)
    is_first = np.ones(len(symbols), np.bool_)
    is_first[1:] = (chars[1:] != chars[:-1]).any(axis=1)
    (firsts,) = np.nonzero(is_first)
    encoded = pa.array(symbols[firsts]).dictionary_encode()
    lengths = np.diff(firsts, append=len(symbols))
    indices = pa.array(np.repeat(encoded.indices.to_numpy(), lengths))
    return pa.DictionaryArray.from_arrays(indices, encoded.dictionary)


def to_polars(
    trades: NDArray[np.void], header: Header | None = None, values: Values = "exact"
) -> polars.DataFrame:
    """A polars frame. Needs polars and pyarrow. Arguments and errors are those of `to_arrow`."""
    pl = needed("polars", "to_polars")
    needed("pyarrow", "to_polars")
    frame: polars.DataFrame = pl.from_arrow(to_arrow(trades, header, values))
    return frame


def to_pandas(
    trades: NDArray[np.void], header: Header | None = None, values: Values = "exact"
) -> pandas.DataFrame:
    """A pandas frame with numpy's types; decimals, which numpy does not have, with Arrow's. Needs
    pandas and pyarrow. Arguments and errors are those of `to_arrow`."""
    pd = needed("pandas", "to_pandas")
    pa = needed("pyarrow", "to_pandas")

    def of_arrow(kind: Any) -> Any:
        return pd.ArrowDtype(kind) if pa.types.is_decimal(kind) else None

    return to_arrow(trades, header, values).to_pandas(types_mapper=of_arrow)


def needed(package: str, function: str) -> Any:
    """An optional package. Raises `MissingPackageError`."""
    try:
        return import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise MissingPackageError(f"{function} needs {name}: pip install {name}") from error


def unit_of(batches: Iterable[NDArray[np.void]]) -> TimeUnit:
    """The coarsest unit in which the times of all these labelled rows are whole. It is ns for rows
    of features."""
    places = max(map(_places_of, batches), default=0)
    return next(unit for unit, its in PLACES.items() if its >= places)


def _places_of(rows: NDArray[np.void]) -> int:
    if columns_of(rows.dtype) is not None:
        return PLACES["ns"]
    return -int(rows["time_exponent"].min(initial=0))


def _with_labels(trades: NDArray[np.void], header: Header | None) -> NDArray[np.void]:
    if "symbol" in (trades.dtype.names or ()):
        return trades
    if header is None:
        raise CallerError("rows of dtype TRADE mean nothing without the header of their session")
    return labelled(trades, header)


def _timestamps(pa: Any, rows: NDArray[np.void], unit: TimeUnit) -> Any:
    times = np.zeros(len(rows), np.int64)
    for exponent, of_it in _by_exponent(rows["time_exponent"]):
        shift = exponent + PLACES[unit]
        of_these = rows["time"][of_it]
        latest = int(of_these.max())
        if shift < 0 or latest * 10**shift > I64_MAX:
            raise NotRepresentableError(
                f"time {latest} of 10**{exponent} s is no timestamp[{unit}]"
            )
        times[of_it] = of_these.astype(np.int64) * np.int64(10**shift)
    return pa.array(times, mask=times == 0).cast(pa.timestamp(unit, tz="UTC"))


def _named(pa: Any, codes: NDArray[np.uint8], names: Sequence[str], index: NDArray[np.int8]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(index[codes]), pa.array(list(names)))


def _floats(pa: Any, _name: str, numbers: NDArray[Any], exponents: NDArray[np.int8]) -> Any:
    return pa.array(floats(numbers, exponents))


def floats(numbers: NDArray[Any], exponents: NDArray[np.int8]) -> NDArray[np.float64]:
    """The doubles nearest to numbers * 10**exponents: `to_float` for arrays."""
    tens = _TENS[np.abs(exponents)]
    near: NDArray[np.float64] = np.where(exponents < 0, numbers / tens, numbers * tens)
    # Beyond 2**53 the integer itself would be rounded first, and then the quotient.
    (large,) = np.nonzero((numbers > _EXACT_FLOAT) | (numbers < -_EXACT_FLOAT))
    near[large] = [to_float(int(numbers[each]), int(exponents[each])) for each in large]
    return near


def _decimals(pa: Any, name: str, numbers: NDArray[Any], exponents: NDArray[np.int8]) -> Any:
    """Decimals at the finest exponent of all. Arrow keeps a decimal as an integer of 128 bits, low
    word first. An i64 or u64 is the low word, and its sign gives the high one."""
    scale = -int(exponents.min(initial=0))
    words = np.empty((len(numbers), 2), "<u8")
    words[:, 0] = numbers.view(np.uint64)
    words[:, 1] = np.where(numbers < 0, np.uint64(2**64 - 1), np.uint64(0))
    for exponent, of_it in _by_exponent(exponents):
        _require_digits(name, numbers[of_it], exponent, scale)
        if exponent != -scale:
            words[of_it] = _rescaled(pa, words[of_it], exponent, scale)
    return _from_words(pa, words, scale)


def _require_digits(name: str, numbers: NDArray[Any], exponent: int, scale: int) -> None:
    largest = max(int(numbers.max()), -int(numbers.min()))
    if largest * 10 ** (exponent + scale) >= 10**DECIMAL_DIGITS:
        raise NotRepresentableError(
            f"{name} {largest} at exponent {exponent} takes more than {DECIMAL_DIGITS} digits "
            f"beside one at exponent {-scale}: take exact, or fewer symbols at once"
        )


def _rescaled(pa: Any, words: NDArray[np.uint64], exponent: int, scale: int) -> NDArray[np.uint64]:
    """The same numbers at a finer scale than 10**exponent. Arrow multiplies the 128 bits."""
    finer = _from_words(pa, words, -exponent).cast(pa.decimal128(DECIMAL_DIGITS, scale))
    return np.frombuffer(finer.buffers()[1], "<u8").reshape(-1, 2)[finer.offset :]


def _from_words(pa: Any, words: NDArray[np.uint64], scale: int) -> Any:
    kind = pa.decimal128(DECIMAL_DIGITS, scale)
    return pa.Array.from_buffers(kind, len(words), [None, pa.py_buffer(words.tobytes())])


def _by_exponent(exponents: NDArray[np.int8]) -> list[tuple[int, NDArray[np.bool_]]]:
    """Each exponent that occurs, and which rows have it."""
    return [(int(each), exponents == each) for each in np.unique(exponents)]
