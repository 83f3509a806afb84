"""Trades as numpy arrays: exact integers, one row a trade.

There are two kinds of rows. Those of `TRADE` have what a block has: their symbol and units are
`header.instruments[row["instrument"]]`, and they mean nothing without that header. Labelled rows
carry symbol, exponents and epoch themselves: rows from before and after a change of units, or from
two runs of a service, can stand in one array, and a file of them needs nothing beside it.

Integers are at the exponents of the trade's instrument; nothing is rounded, nothing is a float.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanout.protocol.records import Header, Trade
from fanout.protocol.rows import ROW_BYTES, rows_of

TRADE: Final = np.dtype(
    {
        "names": [
            "seq",
            "trade_id",
            "time",
            "price",
            "quantity",
            "received_ns",
            "instrument",
            "kind",
            "buyer_is_maker",
            "back_filled",
        ],
        "formats": ["<u8", "<u8", "<u8", "<i8", "<u8", "<u8", "<u2", "u1", "?", "?"],
        "itemsize": ROW_BYTES,
    }
)
"""A row: `fanout.protocol.rows`, by name. 56 bytes."""

_LABELS: Final = ("symbol", "price_exponent", "quantity_exponent", "time_exponent")

_EPOCH: Final = ("epoch_ns", "<u8", "")
_LABELLED: Final = (
    ("seq", "<u8", "seq"),
    ("trade_id", "<u8", "trade_id"),
    ("time", "<u8", "time"),
    ("price", "<i8", "price"),
    ("quantity", "<u8", "quantity"),
    ("received_ns", "<u8", "received_ns"),
    _EPOCH,
    ("price_exponent", "i1", "instrument.price_exponent"),
    ("quantity_exponent", "i1", "instrument.quantity_exponent"),
    ("time_exponent", "i1", "instrument.time_exponent"),
    ("kind", "u1", "kind"),
    ("buyer_is_maker", "?", "buyer_is_maker"),
    ("back_filled", "?", "back_filled"),
    ("symbol", "<U", "instrument.symbol"),
)
"""The fields of a labelled row: name, format, and where a `Trade` has it. The epoch is not in a
trade, and the width of the symbol depends on the symbols."""

_AT_EPOCH: Final = _LABELLED.index(_EPOCH)
_values_of: Final = attrgetter(*(path for *_, path in _LABELLED if path))


def labelled_dtype(symbol_chars: int) -> np.dtype[np.void]:
    """A row that needs no header, with room for symbols of so many characters: 62 bytes and four
    for each of these. `time` is at 10**time_exponent seconds since 1970; `kind` is a
    `fanout.protocol.TradeKind`."""
    return np.dtype(
        [(name, f"<U{symbol_chars}" if name == "symbol" else of) for name, of, _ in _LABELLED]
    )


def trades_of(payloads: Iterable[bytes], header: Header) -> NDArray[np.void]:
    """The trades of blocks, in their order: an array of shape (trades,) and dtype `TRADE`.

    `payloads` are blocks of one session, as `ShmClient.pop` gives them. Raises `PeerError` for a
    payload that is not a block in order.
    """
    return np.frombuffer(rows_of(payloads, header), TRADE)


def labelled(trades: NDArray[np.void], header: Header) -> NDArray[np.void]:
    """Rows of `TRADE` as labelled rows, an array of the same shape. `header` is the one they were
    made with; what was made with another one is labelled apart, and put together by
    `np.concatenate`."""
    rows = np.empty(
        trades.shape, labelled_dtype(_longest(each.symbol for each in header.instruments))
    )
    rows["epoch_ns"] = header.epoch_ns
    for name in _LABELS:
        of_each = np.array([getattr(each, name) for each in header.instruments], rows.dtype[name])
        rows[name] = of_each[trades["instrument"]]
    for name in set(rows.dtype.names or ()).intersection(trades.dtype.names or ()):
        rows[name] = trades[name]
    return rows


def trades_in(records: Iterable[object], header: Header) -> NDArray[np.void]:
    """The trades among a client's records, in their order, as labelled rows of shape (trades,).

    Each is at the exponents of its own instrument. All are of the epoch of `header`, and there is
    room for each of its symbols.
    """
    trades = [each for each in records if isinstance(each, Trade)]
    instruments = {*header.instruments, *(each.instrument for each in trades)}
    dtype = labelled_dtype(_longest(each.symbol for each in instruments))
    return np.array([_values(each, header.epoch_ns) for each in trades], dtype)


def _values(trade: Trade, epoch_ns: int) -> tuple[object, ...]:
    """A trade's fields, in the order of a labelled row."""
    values = _values_of(trade)
    return (*values[:_AT_EPOCH], epoch_ns, *values[_AT_EPOCH:])


def _longest(symbols: Iterable[str]) -> int:
    return max(map(len, symbols), default=1)
