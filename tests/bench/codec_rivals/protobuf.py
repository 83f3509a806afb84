"""A rival: Protocol Buffers, in its C implementation.

In two schemas, as either is quicker somewhere: a message for each trade, and columns, a packed
repeated field for each value. Both are filled from the same trades and read into the same ones. A
message that was parsed is not read yet: its numbers become Python's one by one, when they are asked
for. So parsing alone is shown too, for comparison.

The descriptors are built here, in place of a compiler for .proto files:

    message Trade   { uint32 index = 1; uint64 trade_id = 2; uint64 time = 3; sint64 price = 4;
                      uint64 quantity = 5; bool buyer_is_maker = 6; uint32 kind = 7; }
    message Trades  { uint64 first_seq = 1; uint64 received_ns = 2; repeated Trade trades = 3; }
    message Columns { as Trades, but repeated fields 3 to 9 for those of Trade }
"""

from itertools import count
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from fanout.protocol import Block, Trade
from tests.bench.codec_rivals.way import INSTRUMENTS, KINDS, Way, values_of

_Field = descriptor_pb2.FieldDescriptorProto

_SHARED: Final = (("first_seq", _Field.TYPE_UINT64), ("received_ns", _Field.TYPE_UINT64))
_OF_A_TRADE: Final = (
    ("index", _Field.TYPE_UINT32),
    ("trade_id", _Field.TYPE_UINT64),
    ("time", _Field.TYPE_UINT64),
    ("price", _Field.TYPE_SINT64),
    ("quantity", _Field.TYPE_UINT64),
    ("buyer_is_maker", _Field.TYPE_BOOL),
    ("kind", _Field.TYPE_UINT32),
)


def _classes() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="trades.proto", package="p", syntax="proto3")
    trade, trades, columns = (
        file.message_type.add(name=each) for each in ("Trade", "Trades", "Columns")
    )
    _add(trade, _OF_A_TRADE, _Field.LABEL_OPTIONAL)
    for message in (trades, columns):
        _add(message, _SHARED, _Field.LABEL_OPTIONAL)
    _add(columns, _OF_A_TRADE, _Field.LABEL_REPEATED)
    trades.field.add(
        name="trades",
        number=3,
        type=_Field.TYPE_MESSAGE,
        type_name=".p.Trade",
        label=_Field.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = (pool.FindMessageTypeByName(each) for each in ("p.Trades", "p.Columns"))
    trades_class, columns_class = map(message_factory.GetMessageClass, made)
    return trades_class, columns_class


def _add(message: Any, fields: tuple[tuple[str, Any], ...], label: Any) -> None:
    for number, (name, kind) in zip(count(len(message.field) + 1), fields, strict=False):
        message.field.add(name=name, number=number, type=kind, label=label)


_Trades, _Columns = _classes()


def encode(block: Block) -> Any:
    message = _Trades(first_seq=block.first_seq, received_ns=block.received_ns)
    add = message.trades.add
    for each in block.trades:
        row = add()
        row.index = each.instrument.index
        row.trade_id = each.trade_id
        row.time = each.time
        row.price = each.price
        row.quantity = each.quantity
        row.buyer_is_maker = each.buyer_is_maker
        row.kind = each.kind
    return message.SerializeToString()


def decode(data: bytes) -> list[Trade]:
    message = _Trades.FromString(data)
    received_ns = message.received_ns
    return [
        Trade(
            INSTRUMENTS[row.index],
            row.trade_id,
            row.time,
            row.price,
            row.quantity,
            row.buyer_is_maker,
            KINDS[row.kind],
            seq,
            received_ns,
        )
        for seq, row in enumerate(message.trades, message.first_seq)
    ]


def encode_columns(block: Block) -> Any:
    trades = block.trades
    return _Columns(
        first_seq=block.first_seq,
        received_ns=block.received_ns,
        index=[each.instrument.index for each in trades],
        trade_id=[each.trade_id for each in trades],
        time=[each.time for each in trades],
        price=[each.price for each in trades],
        quantity=[each.quantity for each in trades],
        buyer_is_maker=[each.buyer_is_maker for each in trades],
        kind=[each.kind for each in trades],
    ).SerializeToString()


def decode_columns(data: bytes) -> list[Trade]:
    message = _Columns.FromString(data)
    received_ns = message.received_ns
    columns = zip(
        message.index,
        message.trade_id,
        message.time,
        message.price,
        message.quantity,
        message.buyer_is_maker,
        message.kind,
        strict=True,
    )
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
            columns, message.first_seq
        )
    ]


WAYS: Final = (
    Way(name="protobuf, a message a trade", encode=encode, decode=decode, values=values_of),
    Way(name="protobuf, columns", encode=encode_columns, decode=decode_columns, values=values_of),
    Way(
        name="protobuf, parsed and not read",
        encode=encode,
        decode=_Trades.FromString,
        values=lambda message: values_of(decode(message.SerializeToString())),
        shows=("decode",),
        compared=False,
    ),
)
