"""The first levels of a book over time, as matrices: a row for each change, a column for each
level."""

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fanout.clients.books import Book, Books
from fanout.clients.columns.frames import floats
from fanout.clients.outcomes import Received
from fanout.protocol.book_records import LEVEL, BookUpdate, OrderUpdate

_LEVEL: Final = np.dtype([("price", "<i8"), ("quantity", "<u8")])


class Tops(msgspec.Struct, frozen=True, kw_only=True):
    """The first levels of one book. Row `i` of each array is its state after the same update.

    Prices and quantities have the shape (rows, levels), the best level first. They are integers at
    `price_exponent` and `quantity_exponent`. Where the book has no such level, the quantity is 0
    and so is the price. `seq`, `update_id`, `time` and `received_ns` are those of the update; `seq`
    and `received_ns` are 0 for a snapshot. `follows_gap` marks rows before which changes of the
    book may be missing: the first row, the first one after a loss or a STATUS other than LIVE, and
    those of snapshots. The parts of a divided update make one row. A reconnect without a loss is no
    gap.
    """

    symbol: str
    seq: NDArray[np.uint64]
    update_id: NDArray[np.uint64]
    time: NDArray[np.uint64]
    received_ns: NDArray[np.uint64]
    follows_gap: NDArray[np.bool_]
    price_exponent: NDArray[np.int8]
    quantity_exponent: NDArray[np.int8]
    bid_prices: NDArray[np.int64]
    bid_quantities: NDArray[np.uint64]
    ask_prices: NDArray[np.int64]
    ask_quantities: NDArray[np.uint64]

    def floats(self, name: str) -> NDArray[np.float64]:
        """`bid_prices`, `bid_quantities` or one of the asks' as the nearest doubles, and nan where
        there is no level."""
        side, what = name.split("_")
        exponent = self.price_exponent if what == "prices" else self.quantity_exponent
        numbers: NDArray[np.int64] = getattr(self, name)
        exponents = np.repeat(exponent, numbers.shape[1])
        near = floats(numbers.ravel(), exponents).reshape(numbers.shape)
        near[getattr(self, f"{side}_quantities") == 0] = np.nan
        return near


def tops_in(records: Iterable[Received], symbol: str, count: int = 10) -> Tops:
    """The first `count` levels of a symbol's book, a row each time that they change.

    `records` are all records of a client, in order, not only those of the book: a `Loss` among them
    makes the book unknown. Raises as `Books.apply`.
    """
    books, rows = Books(), _Rows(count)
    for record in records:
        books.apply(record)
        rows.take(books[symbol], record)
    return rows.tops(symbol)


class _Rows:
    """What `Tops` will be made of."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._shown: tuple[bytes, bytes] | None = None
        """The newest row's levels. None once the book may have missed changes since."""
        self._numbers: list[tuple[int, int, int, int, bool]] = []
        self._exponents: list[tuple[int, int]] = []
        self._bids: list[bytes] = []
        self._asks: list[bytes] = []

    def take(self, book: Book, record: Received) -> None:
        if not book.is_known:
            if not book.is_paused:
                self._shown = None
            return
        if isinstance(record, BookUpdate | OrderUpdate) and record.symbol == book.symbol:
            packed = book.prices.packed(self._count)
            if packed != self._shown:
                self._add(record, packed)

    def _add(self, update: BookUpdate | OrderUpdate, packed: tuple[bytes, bytes]) -> None:
        row_bytes = self._count * LEVEL.size
        # A snapshot may be newer than the updates behind it, which are then ignored.
        follows_gap = self._shown is None or not update.seq
        self._numbers.append(
            (update.seq, update.update_id, update.time, update.received_ns, follows_gap)
        )
        instrument = update.instrument
        self._exponents.append((instrument.price_exponent, instrument.quantity_exponent))
        for rows, side in zip((self._bids, self._asks), packed, strict=True):
            rows.append(side.ljust(row_bytes, b"\0"))
        self._shown = packed

    def tops(self, symbol: str) -> Tops:
        numbers = np.array(self._numbers, np.uint64).reshape(-1, 5)
        exponents = np.array(self._exponents, np.int8).reshape(-1, 2)
        bids, asks = (
            np.frombuffer(b"".join(side), _LEVEL).reshape(len(side), self._count)
            for side in (self._bids, self._asks)
        )
        return Tops(
            symbol=symbol,
            seq=numbers[:, 0],
            update_id=numbers[:, 1],
            time=numbers[:, 2],
            received_ns=numbers[:, 3],
            follows_gap=numbers[:, 4] != 0,
            price_exponent=exponents[:, 0],
            quantity_exponent=exponents[:, 1],
            bid_prices=np.ascontiguousarray(bids["price"]),
            bid_quantities=np.ascontiguousarray(bids["quantity"]),
            ask_prices=np.ascontiguousarray(asks["price"]),
            ask_quantities=np.ascontiguousarray(asks["quantity"]),
        )
