"""A rival: records of fixed size, packed by `struct`, behind a head with what trades share.

Its best: one bound `pack` a trade and one join, and `iter_unpack` with a format that gives bools.
Trades are the same objects as ours, made in one comprehension; as bare tuples, without a name,
an instrument or a number, they are shown for comparison.
"""

from struct import Struct
from typing import Final

from fanout.protocol import Block, Trade
from tests.bench.codec_rivals.way import INSTRUMENTS, KINDS, Values, Way, values_of

_HEAD: Final = Struct("<HQQ")
_RECORD: Final = Struct("<BQQqQ?B")


def encode(block: Block) -> bytes:
    pack = _RECORD.pack
    records = [
        pack(
            each.instrument.index,
            each.trade_id,
            each.time,
            each.price,
            each.quantity,
            each.buyer_is_maker,
            each.kind,
        )
        for each in block.trades
    ]
    return _HEAD.pack(len(records), block.first_seq, block.received_ns) + b"".join(records)


def decode(data: bytes) -> list[Trade]:
    _, first_seq, received_ns = _HEAD.unpack_from(data)
    records = _RECORD.iter_unpack(data[_HEAD.size :])
    return [
        Trade(
            INSTRUMENTS[index],
            trade_id,
            time,
            price,
            quantity,
            buyer_is_maker,
            KINDS[kind],
            seq,
            received_ns,
        )
        for seq, (index, trade_id, time, price, quantity, buyer_is_maker, kind) in enumerate(
            records, first_seq
        )
    ]


def decode_tuples(data: bytes) -> tuple[int, int, list[Values]]:
    _, first_seq, received_ns = _HEAD.unpack_from(data)
    return first_seq, received_ns, list(_RECORD.iter_unpack(data[_HEAD.size :]))


def _tuple_values(decoded: tuple[int, int, list[Values]]) -> list[Values]:
    first_seq, received_ns, records = decoded
    return [(*each, seq, received_ns) for seq, each in enumerate(records, first_seq)]


WAYS: Final = (
    Way(name="struct", encode=encode, decode=decode, values=values_of),
    Way(
        name="struct, bare tuples",
        encode=encode,
        decode=decode_tuples,
        values=_tuple_values,
        shows=("decode",),
        compared=False,
    ),
)
