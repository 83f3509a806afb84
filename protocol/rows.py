"""Decodes blocks into rows: each trade is a record of fixed size, for numpy and other columns.

`FIELDS` is the layout of a row: all fields of a `records.Trade`, little-endian, in this order and
without gaps, at the instrument's exponents. Three zero bytes follow. Rows are no wire format: they
stay in the process.
"""

from collections.abc import Iterable
from operator import attrgetter
from struct import Struct
from typing import Final

import msgspec

from fanout.protocol.block import decode_block
from fanout.protocol.records import Header
from fanout.protocol.speedups import twin


class Field(msgspec.Struct, frozen=True):
    """A field of a row, under its name in a `Trade`."""

    name: str
    code: str
    """Its format in `struct`."""
    path: str = ""
    """Where a `Trade` has the value, if not under the name."""


FIELDS: Final = (
    Field("seq", "Q"),
    Field("trade_id", "Q"),
    Field("time", "Q"),
    Field("price", "q"),
    Field("quantity", "Q"),
    Field("received_ns", "Q"),
    Field("instrument", "H", "instrument.index"),
    Field("kind", "B"),
    Field("buyer_is_maker", "?"),
    Field("back_filled", "?"),
)

ROW: Final = Struct(f"<{''.join(each.code for each in FIELDS)}3x")
ROW_BYTES: Final = ROW.size

assert ROW_BYTES == 56

_values_of: Final = attrgetter(*(each.path or each.name for each in FIELDS))


@twin
def rows_of(payloads: Iterable[bytes], header: Header) -> bytearray:
    """A row for each trade of the blocks in `payloads`, in order. Raises the errors of
    `decode_block`."""
    rows = bytearray()
    for payload in payloads:
        for trade in decode_block(payload, header).trades:
            rows += ROW.pack(*_values_of(trade))
    return rows
