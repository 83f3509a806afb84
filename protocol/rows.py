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
from fanout.protocol.constants import LENGTH_BYTES, MAX_FRAME_BYTES, FrameKind
from fanout.protocol.errors import PeerError
from fanout.protocol.records import Header, Trade
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

_U32: Final = Struct("<I")

_values_of: Final = attrgetter(*(each.path or each.name for each in FIELDS))


@twin
def rows_of(payloads: Iterable[bytes], header: Header) -> bytearray:
    """A row for each trade of the blocks in `payloads`, in order. Raises the errors of
    `decode_block`."""
    rows = bytearray()
    for payload in payloads:
        rows += rows_from(decode_block(payload, header).trades)
    return rows


@twin
def rows_at(
    frames: bytes, offset: int, next_seq: int, header: Header
) -> tuple[bytearray, int, int]:
    """A row for each trade of the blocks that stand at `offset`, one behind the other; the offset
    behind them; and how many blocks they are.

    They end before the first frame that is no block of trades with the number due, or that cannot
    be read. The numbers begin with `next_seq`.
    """
    rows, blocks = bytearray(), 0
    while payload := _trades_at(frames, offset):
        try:
            block = decode_block(payload, header)
        except PeerError:
            break
        if block.is_snapshot or block.first_seq != next_seq:
            break
        rows += rows_from(block.trades)
        offset += LENGTH_BYTES + len(payload)
        next_seq, blocks = next_seq + len(block.trades), blocks + 1
    return rows, offset, blocks


def rows_from(trades: Iterable[Trade]) -> bytes:
    """A row for each trade."""
    return b"".join(ROW.pack(*_values_of(each)) for each in trades)


def _trades_at(frames: bytes, offset: int) -> bytes:
    """The payload of the frame at an offset, if it is whole and has trades; else nothing."""
    begin = offset + LENGTH_BYTES
    if begin < len(frames) and frames[begin] == FrameKind.TRADES:
        (length,) = _U32.unpack_from(frames, offset)
        if length <= min(MAX_FRAME_BYTES, len(frames) - begin):
            return frames[begin : begin + length]
    return b""
