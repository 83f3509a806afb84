"""Trades as numpy arrays: exact integers, one row a trade.

There are two kinds of rows. Those of `TRADE` have what a block has: their symbol and units are
`header.instruments[row["instrument"]]`, and they mean nothing without that header. Labelled rows
carry symbol, exponents and epoch themselves: rows from before and after a change of units, or from
two runs of a service, can stand in one array, and a file of them needs nothing beside it.

Integers are at the exponents of the trade's instrument; nothing is rounded, nothing is a float.
"""

from collections.abc import Iterable
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


def labelled_dtype(symbol_chars: int) -> np.dtype[np.void]:
    """A row that needs no header, with room for symbols of so many characters: 62 bytes and four
    for each of these. `time` is at 10**time_exponent seconds since 1970; `kind` is a
    `fanout.protocol.TradeKind`."""
    return np.dtype(
        [
            ("seq", "<u8"),
            ("trade_id", "<u8"),
            ("time", "<u8"),
            ("price", "<i8"),
            ("quantity", "<u8"),
            ("received_ns", "<u8"),
            ("epoch_ns", "<u8"),
            ("price_exponent", "i1"),
            ("quantity_exponent", "i1"),
            ("time_exponent", "i1"),
            ("kind", "u1"),
            ("buyer_is_maker", "?"),
            ("back_filled", "?"),
            ("symbol", f"<U{symbol_chars}"),
        ]
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
    instrument = trade.instrument
    return (
        trade.seq,
        trade.trade_id,
        trade.time,
        trade.price,
        trade.quantity,
        trade.received_ns,
        epoch_ns,
        instrument.price_exponent,
        instrument.quantity_exponent,
        instrument.time_exponent,
        trade.kind,
        trade.buyer_is_maker,
        trade.back_filled,
        instrument.symbol,
    )


def _longest(symbols: Iterable[str]) -> int:
    return max(map(len, symbols), default=1)
