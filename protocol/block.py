"""Blocks of trades, kind 0x10: many trades, few bytes, and each block readable by itself.

They begin as all blocks do: see `runs`. The kind's own byte is the block's ordinary trade kind.

    trade:  u8 head: the index's five lowest bits, 0x20 more of it follows, 0x40 escape,
               0x80 the buyer is the maker
            u8 trade kind, if the head has 0x40
            varint index >> 5, if the head has 0x20
            varint zigzag(trade id - (previous trade id + 1))
            varint zigzag(time - previous time)
            varint zigzag(price - previous price)
            varint quantity

*Previous* is the trade of the same instrument before this one in the same block, or else the
header's reference. That is the one idea: nothing outside the header and the block is needed, so
a reader may begin, or begin again, at any block. Deltas are modulo 2**64. A trade whose kind is
not the block's ordinary one has the escape bit. The first 32 instruments, which should be the
busiest, take one byte.

References are looked up when a trade needs them. A block's cost does not grow with the number of
instruments in the header.
"""

from collections.abc import Sequence

from fanout.protocol.constants import (
    ESCAPE_BIT,
    I64_MAX,
    I64_MIN,
    LOW_INDEX,
    MAKER_BIT,
    MAX_BLOCK_TRADES,
    MORE_BIT,
    U64_MAX,
    BlockFlags,
    FrameKind,
    TradeKind,
)
from fanout.protocol.errors import MalformedError, NotRepresentableError
from fanout.protocol.framing import seal
from fanout.protocol.records import Block, Header, Reference, Trade
from fanout.protocol.runs import (
    FLAGS,
    append_head,
    as_i64,
    begun,
    opened,
    read,
    read_index,
    reference_at,
    require_count,
)
from fanout.protocol.speedups import twin
from fanout.protocol.varint import append_varint, unzigzag, zigzag

_KINDS = tuple(TradeKind(code) for code in range(256))


@twin
def encode_block(block: Block, header: Header) -> bytes:
    """A block's payload. The trades' own `seq` and `received_ns` are not looked at: the block's
    count. Raises `NotRepresentableError`, naming the value that does not fit."""
    trades = block.trades
    require_count(len(trades), MAX_BLOCK_TRADES, "trades")
    ordinary = trades[0].kind
    body = begun(block, FrameKind.TRADES, ordinary, len(trades))
    _append_trades(body, trades, ordinary, header)
    return seal(body)


def _append_trades(
    body: bytearray, trades: Sequence[Trade], ordinary: TradeKind, header: Header
) -> None:
    references = header.references
    previous: dict[int, Trade | Reference] = {}
    for trade in trades:
        index = trade.instrument.index
        before = previous.get(index)
        if before is None:
            if not 0 <= index < len(references):
                raise _refusal(trade, header)
            before = references[index]
        if not is_representable(trade):
            raise _refusal(trade, header)
        if index <= LOW_INDEX and trade.kind == ordinary:
            body.append(index | MAKER_BIT if trade.buyer_is_maker else index)
        else:
            maker = MAKER_BIT if trade.buyer_is_maker else 0
            if trade.kind == ordinary:
                append_head(body, index, maker)
            else:
                append_head(body, index, maker | ESCAPE_BIT, bytes((trade.kind,)))
        append_varint(body, zigzag(trade.trade_id - before.trade_id - 1))
        append_varint(body, zigzag(trade.time - before.time))
        append_varint(body, zigzag(trade.price - before.price))
        append_varint(body, trade.quantity)
        previous[index] = trade


def is_representable(trade: Trade) -> bool:
    """Whether a trade's numbers fit their fields: price an i64, the others u64."""
    return (
        I64_MIN <= trade.price <= I64_MAX
        and 0 <= trade.quantity <= U64_MAX
        and 0 <= trade.trade_id <= U64_MAX
        and 0 <= trade.time <= U64_MAX
    )


def _refusal(trade: Trade, header: Header) -> NotRepresentableError:
    index = trade.instrument.index
    if not 0 <= index < len(header.instruments):
        return NotRepresentableError(f"instrument index {index} is not in the header")
    return NotRepresentableError(
        f"{trade.symbol} trade {trade.trade_id}: time {trade.time}, price {trade.price}, "
        f"quantity {trade.quantity} do not all fit 64 bits"
    )


@twin
def decode_block(payload: bytes, header: Header) -> Block:
    """The block in a payload. Raises `PeerError` for every other payload."""
    body, offset, bits, ordinary, seqs, first_seq, received_ns, held_ns = opened(
        payload, FrameKind.TRADES, MAX_BLOCK_TRADES, "trades"
    )
    back_filled = bool(bits & BlockFlags.BACK_FILLED.value)
    try:
        trades = _read_trades(
            body, offset, header, seqs, _KINDS[ordinary], received_ns, back_filled
        )
    except IndexError as error:
        raise MalformedError(f"block of {len(seqs):,} trades is cut short") from error
    return Block(
        first_seq=first_seq,
        trades=trades,
        received_ns=received_ns,
        held_ns=held_ns,
        flags=FLAGS[bits],
    )


def _read_trades(
    body: bytes,
    offset: int,
    header: Header,
    seqs: Sequence[int],
    ordinary: TradeKind,
    received_ns: int,
    back_filled: bool,
) -> list[Trade]:
    previous: dict[int, Trade | Reference] = {}
    trades: list[Trade] = []
    for seq in seqs:
        head, kind = body[offset], ordinary
        index = head & LOW_INDEX
        offset += 1
        if head & ESCAPE_BIT:
            kind = _KINDS[body[offset]]
            offset += 1
        if head & MORE_BIT:
            index, offset = read_index(body, offset, head)
        before = previous.get(index)
        if before is None:
            before = reference_at(header, index)
        id_delta, offset = read(body, offset)
        time_delta, offset = read(body, offset)
        price_delta, offset = read(body, offset)
        quantity, offset = read(body, offset)
        price = before.price + unzigzag(price_delta)
        trade = Trade(
            header.instruments[index],
            (before.trade_id + 1 + unzigzag(id_delta)) & U64_MAX,
            (before.time + unzigzag(time_delta)) & U64_MAX,
            price if I64_MIN <= price <= I64_MAX else as_i64(price),
            quantity,
            head >= MAKER_BIT,
            kind,
            seq,
            received_ns,
            back_filled,
        )
        previous[index] = trade
        trades.append(trade)
    return trades
