"""Decodes blocks into rows: each trade is a record of fixed size, for numpy and other columns.

    u64  sequence number
    u64  trade id
    u64  time
    i64  price
    u64  quantity
    u64  received_ns
    u16  instrument index
    u8   trade kind
    u8   1 if the buyer is the maker
    u8   1 if back-filled
    3 x  0

All fields are little-endian, at the instrument's exponents, as in `records.Trade`. Rows are no wire
format: they stay in the process.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from fanout.protocol.block import decode_block
from fanout.protocol.records import Header
from fanout.protocol.speedups import twin

ROW: Final = Struct("<QQQqQQHBBB3x")
ROW_BYTES: Final = ROW.size

assert ROW_BYTES == 56


@twin
def rows_of(payloads: Iterable[bytes], header: Header) -> bytearray:
    """A row for each trade of the blocks in `payloads`, in order. Raises the errors of
    `decode_block`."""
    rows = bytearray()
    for payload in payloads:
        for trade in decode_block(payload, header).trades:
            rows += ROW.pack(
                trade.seq,
                trade.trade_id,
                trade.time,
                trade.price,
                trade.quantity,
                trade.received_ns,
                trade.instrument.index,
                trade.kind,
                trade.buyer_is_maker,
                trade.back_filled,
            )
    return rows
