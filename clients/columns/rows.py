"""Trades as numpy arrays: exact integers, one row for each trade.

There are two kinds of rows. Rows of dtype `TRADE` have what a block has. Their symbol and units are
those of `header.instruments[row["instrument"]]`, so they mean nothing without that header. Labelled
rows carry symbol, exponents and epoch themselves. So one array can hold rows from before and after
a change of units, or from two runs of a service, and a file of them needs nothing beside it.

Prices, quantities and times are integers at the exponents of the trade's instrument. Nothing is
rounded, and nothing is a float.
"""

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanout.protocol.records import Header, Trade
from fanout.protocol.rows import FIELDS, ROW_BYTES, rows_of

_FORMATS: Final = {"Q": "<u8", "q": "<i8", "H": "<u2", "B": "u1", "?": "?"}
"""numpy's formats, by those of `struct`."""

TRADE: Final = np.dtype(
    {
        "names": [each.name for each in FIELDS],
        "formats": [_FORMATS[each.code] for each in FIELDS],
        "itemsize": ROW_BYTES,
    }
)
"""A row of `fanout.protocol.rows`: 56 bytes."""

_LABELS: Final = ("symbol", "price_exponent", "quantity_exponent", "time_exponent")
"""What a labelled row has of its instrument."""

_EPOCH: Final = ("epoch_ns", "<u8", "")


def _labelled_fields() -> Iterator[tuple[str, str, str]]:
    """The fields of `TRADE`, with the labels in place of the instrument's index."""
    symbol, *exponents = _LABELS
    for each in FIELDS:
        if each.name == "instrument":
            yield _EPOCH
            yield from ((name, "i1", f"instrument.{name}") for name in exponents)
        else:
            yield each.name, _FORMATS[each.code], each.path or each.name
    yield symbol, "<U", f"instrument.{symbol}"


_LABELLED: Final = tuple(_labelled_fields())
"""The fields of a labelled row: name, format, and where a `Trade` has it. A trade does not have its
epoch. The width of the symbol depends on the symbols."""

_AT_EPOCH: Final = _LABELLED.index(_EPOCH)
_values_of: Final = attrgetter(*(path for *_, path in _LABELLED if path))


def labelled_dtype(symbol_chars: int) -> np.dtype[np.void]:
    """The dtype of labelled rows with room for symbols of `symbol_chars` characters: 62 bytes, and
    4 for each character. `time` is in units of 10**time_exponent seconds since 1970. `kind` is the
    code of a `fanout.protocol.TradeKind`."""
    return np.dtype(
        [(name, f"<U{symbol_chars}" if name == "symbol" else of) for name, of, _ in _LABELLED]
    )


def trades_of(payloads: Iterable[bytes], header: Header) -> NDArray[np.void]:
    """The trades of blocks, in order: an array of shape (trades,) and dtype `TRADE`.

    `payloads` are blocks of one session, as `ShmClient.pop` returns them. Raises `PeerError` for a
    payload that is no valid block.
    """
    return np.frombuffer(rows_of(payloads, header), TRADE)


def labelled(trades: NDArray[np.void], header: Header) -> NDArray[np.void]:
    """Rows of `TRADE` as labelled rows, an array of the same shape.

    `header` is the one that the rows were decoded with. Label rows of different headers separately,
    and join them with `np.concatenate`.
    """
    chars = _longest(each.symbol for each in header.instruments)
    of_each = np.zeros(len(header.instruments), labelled_dtype(chars))
    of_each["epoch_ns"] = header.epoch_ns
    for name in _LABELS:
        of_each[name] = [getattr(each, name) for each in header.instruments]
    spans, of_each = _spans(chars), of_each.view(_spans(chars))
    rows, trades = np.empty(trades.shape, spans), trades.view(_TRADE_SPANS)
    for name in ("numbers", "kind"):
        rows[name] = trades[name]
    for name in ("exponents", "symbol"):
        of_all = of_each[name]
        rows[name] = of_all[0] if len(of_all) == 1 else of_all[trades["instrument"]]
    return rows.view(labelled_dtype(chars))


def _spans(symbol_chars: int) -> np.dtype[np.void]:
    """A labelled row as few spans of bytes. To copy a row span by span takes a quarter of the time
    that it takes field by field."""
    sizes = (("numbers", 48), ("exponents", 11), ("kind", 3), ("symbol", 4 * symbol_chars))
    return np.dtype([(name, f"V{size}") for name, size in sizes])


_TRADE_SPANS: Final = np.dtype(
    [("numbers", "V48"), ("instrument", "<u2"), ("kind", "V3"), ("zeros", "V3")]
)
"""Likewise a row of `TRADE`."""

assert _TRADE_SPANS.itemsize == TRADE.itemsize


def trades_in(records: Iterable[object], header: Header) -> NDArray[np.void]:
    """The trades among a client's records, in order, as labelled rows of shape (trades,).

    Each row has the exponents of its own instrument. All rows get the epoch of `header`, and room
    for each of its symbols.
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
