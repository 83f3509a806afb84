"""Trades as numpy columns: exact integers, no Python object a trade.

    from clients.columns import trades_of

    trades = trades_of(payloads, header)  # blocks of one session, as `ShmClient.pop` gives them
    trades["price"] * 10.0 ** header.instruments[0].price_exponent

A row has what `protocol.Trade` has. Integers are at the exponents of the trade's instrument, which
is `header.instruments[row["instrument"]]`; nothing is rounded, and nothing is a float.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.records import Header
from protocol.rows import ROW_BYTES, rows_of

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
        "formats": ["<u8", "<u8", "<u8", "<i8", "<u8", "<u8", "u1", "u1", "?", "?"],
        "itemsize": ROW_BYTES,
    }
)
"""A row: `protocol.rows`, by name. 56 bytes."""


def trades_of(payloads: Iterable[bytes], header: Header) -> NDArray[np.void]:
    """The trades of blocks, in their order: an array of shape (trades,) and dtype `TRADE`.

    Raises `PeerError` for a payload that is not a block in order.
    """
    return np.frombuffer(rows_of(payloads, header), TRADE)
