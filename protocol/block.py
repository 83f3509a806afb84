"""Blocks of trades: many trades, few bytes, and each block readable by itself.

    u8   kind = 0x10
    u8   flags: 1 back-filled, 2 snapshot
    u8   the ordinary trade kind of this block
    u16  count, 1 to 1,024
    u64  first_seq
    u64  received_ns
    varint  held_ns
    count x trade
    u32  CRC-32

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
from struct import Struct
from struct import error as StructError  # noqa: N812

from fanout.protocol.constants import (
    ESCAPE_BIT,
    I64_MAX,
    I64_MIN,
    LOW_INDEX,
    LOW_INDEX_BITS,
    MAKER_BIT,
    MAX_BLOCK_TRADES,
    MAX_INSTRUMENTS,
    MAX_SEQ,
    MORE_BIT,
    U64_MAX,
    BlockFlags,
    FrameKind,
    TradeKind,
)
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.framing import seal, unseal
from fanout.protocol.records import Block, Header, Reference, Trade
from fanout.protocol.speedups import twin
from fanout.protocol.varint import append_varint, read_varint, unzigzag, zigzag

_PREFIX = Struct("<BBBHQQ")
assert _PREFIX.size == 21

_MAX_HIGH_INDEX = (MAX_INSTRUMENTS - 1) >> LOW_INDEX_BITS
assert _MAX_HIGH_INDEX < 0x80, "the higher bits take one byte: MAX_TRADE_BYTES counts on it"

_KINDS = tuple(TradeKind(code) for code in range(256))
_FLAGS = tuple(BlockFlags(bits & 0x03) for bits in range(256))


@twin
def encode_block(block: Block, header: Header) -> bytes:
    """A block's payload. The trades' own `seq` and `received_ns` are not looked at: the block's
    count. Raises `NotRepresentableError`, naming the value that does not fit."""
    trades = block.trades
    if not 1 <= len(trades) <= MAX_BLOCK_TRADES:
        raise NotRepresentableError(f"{len(trades):,} trades: 1 to {MAX_BLOCK_TRADES:,} fit")
    if not 1 <= block.first_seq <= _last_first_seq(len(trades), block.is_snapshot):
        raise NotRepresentableError(f"sequence number {block.first_seq} is out of range")
    ordinary = trades[0].kind
    try:
        body = bytearray(
            _PREFIX.pack(
                FrameKind.TRADES,
                block.flags,
                ordinary,
                len(trades),
                block.first_seq,
                block.received_ns,
            )
        )
    except StructError as error:
        raise NotRepresentableError(f"received_ns {block.received_ns} does not fit") from error
    append_varint(body, block.held_ns)
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
            _append_long_head(body, trade, ordinary)
        append_varint(body, zigzag(trade.trade_id - before.trade_id - 1))
        append_varint(body, zigzag(trade.time - before.time))
        append_varint(body, zigzag(trade.price - before.price))
        append_varint(body, trade.quantity)
        previous[index] = trade


def _append_long_head(body: bytearray, trade: Trade, ordinary: TradeKind) -> None:
    """The head of a trade of another kind, or of an instrument beyond the first 32."""
    index = trade.instrument.index
    head, high = index & LOW_INDEX, index >> LOW_INDEX_BITS
    if trade.buyer_is_maker:
        head |= MAKER_BIT
    if high:
        head |= MORE_BIT
    if trade.kind == ordinary:
        body.append(head)
    else:
        body += bytes((head | ESCAPE_BIT, trade.kind))
    if high:
        body.append(high)


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
    body = unseal(payload)
    if len(body) < _PREFIX.size or body[0] != FrameKind.TRADES:
        raise MalformedError(f"payload of {len(payload)} bytes is not a block of trades")
    _, bits, ordinary, count, first_seq, received_ns = _PREFIX.unpack_from(body)
    if not 1 <= count <= MAX_BLOCK_TRADES:
        raise LimitExceededError(f"block of {count:,} trades: 1 to {MAX_BLOCK_TRADES:,} allowed")
    is_snapshot = bool(bits & BlockFlags.SNAPSHOT.value)
    if not 1 <= first_seq <= _last_first_seq(count, is_snapshot):
        raise MalformedError(f"sequence number {first_seq} is out of range")
    held_ns, offset = read_varint(body, _PREFIX.size)
    seqs = [0] * count if is_snapshot else range(first_seq, first_seq + count)
    back_filled = bool(bits & BlockFlags.BACK_FILLED.value)
    try:
        trades = _read_trades(
            body, offset, header, seqs, _KINDS[ordinary], received_ns, back_filled
        )
    except IndexError as error:
        raise MalformedError(f"block of {count:,} trades is cut short") from error
    return Block(
        first_seq=first_seq,
        trades=trades,
        received_ns=received_ns,
        held_ns=held_ns,
        flags=_FLAGS[bits],
    )


def _last_first_seq(count: int, is_snapshot: bool) -> int:
    """The greatest number that `count` trades may begin with. A snapshot's are not numbered: they
    are from before the reader joined, and its number is the one that follows."""
    return MAX_SEQ if is_snapshot else MAX_SEQ - count + 1


def _read_trades(
    body: bytes,
    offset: int,
    header: Header,
    seqs: Sequence[int],
    ordinary: TradeKind,
    received_ns: int,
    back_filled: bool,
) -> list[Trade]:
    references = header.references
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
            high, offset = _read(body, offset)
            if not high:
                raise MalformedError(f"index {index} is longer than it needs to be")
            index |= high << LOW_INDEX_BITS
        before = previous.get(index)
        if before is None:
            if index >= len(references):
                raise MalformedError(f"instrument index {index} is not in the header")
            before = references[index]
        id_delta, offset = _read(body, offset)
        time_delta, offset = _read(body, offset)
        price_delta, offset = _read(body, offset)
        quantity, offset = _read(body, offset)
        price = before.price + unzigzag(price_delta)
        trade = Trade(
            header.instruments[index],
            (before.trade_id + 1 + unzigzag(id_delta)) & U64_MAX,
            (before.time + unzigzag(time_delta)) & U64_MAX,
            price if I64_MIN <= price <= I64_MAX else (price - I64_MIN) % 2**64 + I64_MIN,
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


def _read(body: bytes, offset: int) -> tuple[int, int]:
    """`read_varint`, quick for the one-byte values that most are."""
    byte = body[offset]
    return (byte, offset + 1) if byte < 0x80 else read_varint(body, offset)
