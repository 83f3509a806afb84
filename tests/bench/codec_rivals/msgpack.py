"""A rival: MessagePack by msgspec, typed structs as arrays.

Its best: its own records, which it encodes as they are and makes again, with an instrument's index
in place of the instrument and a number in place of the kind. What trades share is said once, and
stays there.
"""

from typing import Final

import msgspec

from fanout.protocol import Block
from tests.bench.codec_rivals.way import Values, Way


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    index: int
    trade_id: int
    time: int
    price: int
    quantity: int
    buyer_is_maker: bool
    kind: int


class Rows(msgspec.Struct, array_like=True, frozen=True):
    first_seq: int
    received_ns: int
    trades: list[Row]


def _given(block: Block) -> Rows:
    trades = [
        Row(
            each.instrument.index,
            each.trade_id,
            each.time,
            each.price,
            each.quantity,
            each.buyer_is_maker,
            int(each.kind),
        )
        for each in block.trades
    ]
    return Rows(block.first_seq, block.received_ns, trades)


def _values(rows: Rows) -> list[Values]:
    return [
        (*msgspec.structs.astuple(each), seq, rows.received_ns)
        for seq, each in enumerate(rows.trades, rows.first_seq)
    ]


WAYS: Final = (
    Way(
        name="msgpack, by msgspec",
        encode=msgspec.msgpack.Encoder().encode,
        decode=msgspec.msgpack.Decoder(Rows).decode,
        given=_given,
        values=_values,
    ),
)
