"""Quotes and book updates as numpy arrays: exact integers, like the trades in `rows`.

All rows here are labelled: they carry symbol, exponents and epoch. A quote is one row. A book
update is a row for each of its levels, or orders: first the bids, then the asks, both in the order
of the update. An update without any has one row of side NONE, so that a book that was emptied can
be told from nothing. Rows of a snapshot have the sequence number 0.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanout.protocol.book_records import LEVEL, ORDER, BookUpdate, OrderUpdate, Quote
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header

SIDES: Final = ("BID", "ASK", "NONE")
"""The names of the codes in `side`."""

_Fields = tuple[tuple[str, str], ...]

_BEFORE: Final[_Fields] = (("seq", "<u8"), ("update_id", "<u8"), ("time", "<u8"))
_LABELS: Final[_Fields] = (
    ("received_ns", "<u8"),
    ("epoch_ns", "<u8"),
    ("price_exponent", "i1"),
    ("quantity_exponent", "i1"),
    ("time_exponent", "i1"),
)
_QUOTE: Final[_Fields] = (
    ("bid_price", "<i8"),
    ("bid_quantity", "<u8"),
    ("ask_price", "<i8"),
    ("ask_quantity", "<u8"),
)
_LEVEL: Final[_Fields] = (("price", "<i8"), ("quantity", "<u8"))
_ORDER: Final[_Fields] = (("order_id", "<u8"), *_LEVEL)
_UPDATE: Final[_Fields] = (("side", "u1"), ("flags", "u1"))


def quote_dtype(symbol_chars: int) -> np.dtype[np.void]:
    """The dtype of quotes, with room for symbols of `symbol_chars` characters."""
    return _dtype(*_BEFORE, *_QUOTE, *_LABELS, chars=symbol_chars)


def level_dtype(symbol_chars: int) -> np.dtype[np.void]:
    """The dtype of levels. `side` is a place in `SIDES`, `flags` are `fanout.protocol.BookFlags`
    of the update."""
    return _dtype(*_BEFORE, *_LEVEL, *_LABELS, *_UPDATE, chars=symbol_chars)


def order_dtype(symbol_chars: int) -> np.dtype[np.void]:
    """The dtype of orders: that of levels, with `order_id`."""
    return _dtype(*_BEFORE, *_ORDER, *_LABELS, *_UPDATE, chars=symbol_chars)


def _dtype(*fields: tuple[str, str], chars: int) -> np.dtype[np.void]:
    return np.dtype([*fields, ("symbol", f"<U{chars}")])


def quotes_in(records: Iterable[object], header: Header) -> NDArray[np.void]:
    """The quotes among a client's records, in order, as rows of shape (quotes,)."""
    quotes = [each for each in records if isinstance(each, Quote)]
    rows = np.empty(len(quotes), quote_dtype(_chars(quotes, header)))
    for name, _ in (*_BEFORE, *_QUOTE):
        rows[name] = _column(quotes, name, rows.dtype[name])
    _label(rows, quotes, header, lambda column: column)
    return rows


def levels_in(records: Iterable[object], header: Header) -> NDArray[np.void]:
    """The levels of the book updates by price among a client's records, as rows."""
    updates = [each for each in records if isinstance(each, BookUpdate)]
    return _items_of(updates, header, level_dtype, _LEVEL, LEVEL.size)


def orders_in(records: Iterable[object], header: Header) -> NDArray[np.void]:
    """The orders of the book updates by order among a client's records, as rows."""
    updates = [each for each in records if isinstance(each, OrderUpdate)]
    return _items_of(updates, header, order_dtype, _ORDER, ORDER.size)


def _items_of(
    updates: Sequence[BookUpdate] | Sequence[OrderUpdate],
    header: Header,
    dtype_of: Callable[[int], np.dtype[np.void]],
    fields: _Fields,
    item_bytes: int,
) -> NDArray[np.void]:
    parts = [(each.packed_bids, each.packed_asks, _nothing(each, item_bytes)) for each in updates]
    counts = np.array([len(side) // item_bytes for part in parts for side in part], np.int64)
    items = np.frombuffer(b"".join([side for part in parts for side in part]), np.dtype([*fields]))
    rows = np.empty(len(items), dtype_of(_chars(updates, header)))
    for name, _ in fields:
        rows[name] = items[name]
    rows["side"] = np.repeat(np.tile(np.arange(3, dtype=np.uint8), len(parts)), counts)
    of_each = counts.reshape(-1, 3).sum(axis=1)

    def repeated(column: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(column, of_each)

    for name, _ in (*_BEFORE, ("flags", "u1")):
        rows[name] = repeated(_column(updates, name, rows.dtype[name]))
    _label(rows, updates, header, repeated)
    return rows


def _nothing(update: BookUpdate | OrderUpdate, item_bytes: int) -> bytes:
    """The row of an update without levels."""
    return b"" if update.packed_bids or update.packed_asks else bytes(item_bytes)


def _label(
    rows: NDArray[np.void],
    records: Sequence[Quote | BookUpdate | OrderUpdate],
    header: Header,
    spread: Callable[[NDArray[Any]], NDArray[Any]],
) -> None:
    """Fill the fields of `_LABELS`, and the symbol."""
    rows["epoch_ns"] = header.epoch_ns
    rows["received_ns"] = spread(_column(records, "received_ns", np.dtype("<u8")))
    for name in ("price_exponent", "quantity_exponent", "time_exponent", "symbol"):
        rows[name] = spread(_column(records, f"instrument.{name}", rows.dtype[name]))


def _column(records: Sequence[object], path: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.array(list(map(attrgetter(path), records)), dtype)


def _chars(records: Sequence[Quote | BookUpdate | OrderUpdate], header: Header) -> int:
    instruments: set[Instrument] = {*header.instruments, *(each.instrument for each in records)}
    return max((len(each.symbol) for each in instruments), default=1)
