"""Blocks of book updates: kind 0x12 by price, 0x13 by order. They begin as all blocks do: see
`runs`.

    update: u8 head: the index's five lowest bits, 0x20 more of it follows, 0x40 flags follow, 0x80
               reserved
            u8 flags, if the head has 0x40: 1 whole, 2 more, 4 top only
            varint index >> 5, if the head has 0x20
            varint zigzag(update id - previous update id)
            varint zigzag(time - previous time)
            varint number of bids
            varint number of asks
            bids, asks

    level:  varint zigzag(price - price before)
            varint quantity

    order:  varint zigzag(order id - order id before)
            varint zigzag(price - price before)
            varint quantity

*Previous* is the update of the same instrument before this one in the same block, or else the
header's reference. *Before* is the level or order before this one, of the same side of the same
update; the first of a side begins at the reference's price, and its order id at 0. Deltas are
modulo 2**64.

Levels stand from the best outwards: bids strictly falling, asks strictly rising. So no price comes
twice, and a reader can merge them into its book in one pass. Orders stand in any order.

Levels and orders go between the wire and the packed form of `BookUpdate` without an object for
each.
"""

from collections.abc import Callable, Sequence
from operator import gt, lt
from struct import Struct
from typing import NamedTuple, TypeVar

from fanout.protocol.book_records import (
    LEVEL,
    ORDER,
    BookBlock,
    BookUpdate,
    OrderBlock,
    OrderUpdate,
)
from fanout.protocol.constants import (
    BOOK_FLAGS_BIT,
    I64_MAX,
    I64_MIN,
    MAX_BLOCK_LEVELS,
    MAX_BLOCK_ORDERS,
    MAX_BLOCK_UPDATES,
    U64_MAX,
    BookFlags,
    FrameKind,
)
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.framing import seal
from fanout.protocol.records import Header
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
    require_index,
)
from fanout.protocol.speedups import twin
from fanout.protocol.varint import append_varint, unzigzag, zigzag

_ALL_FLAGS = 0x07
_BOOK_FLAGS = tuple(BookFlags(bits & _ALL_FLAGS) for bits in range(256))

_Follows = Callable[[int, int], bool]


class _Form(NamedTuple):
    """What the two kinds of updates differ in."""

    kind: FrameKind
    entries: str
    most: int
    packed: Struct
    append_side: Callable[[bytearray, bytes, int, _Follows], None]
    """Raises `_OutOfOrder`."""
    read_side: Callable[[bytes, int, int, int, _Follows], tuple[bytes, int]]
    """Raises `_OutOfOrder`."""


class _OutOfOrder(Exception):  # noqa: N818
    """A level that does not stand behind the one before it."""


@twin
def encode_book(block: BookBlock, header: Header) -> bytes:
    """A block's payload. The updates' own `seq` and `received_ns` are not looked at: the block's
    count. Raises `NotRepresentableError`, naming the value that does not fit."""
    return _encoded(block, header, _BY_PRICE)


@twin
def decode_book(payload: bytes, header: Header) -> BookBlock:
    """The block in a payload. Raises `PeerError` for every other payload."""
    body, offset, bits, _, seqs, first_seq, received_ns, held_ns = opened(
        payload, FrameKind.BOOK, MAX_BLOCK_UPDATES, "book updates"
    )
    return BookBlock(
        first_seq=first_seq,
        updates=_read_updates(body, offset, header, seqs, received_ns, _BY_PRICE, BookUpdate),
        received_ns=received_ns,
        held_ns=held_ns,
        flags=FLAGS[bits],
    )


@twin
def encode_orders(block: OrderBlock, header: Header) -> bytes:
    """As `encode_book`, for updates by order."""
    return _encoded(block, header, _BY_ORDER)


@twin
def decode_orders(payload: bytes, header: Header) -> OrderBlock:
    """As `decode_book`, for updates by order."""
    body, offset, bits, _, seqs, first_seq, received_ns, held_ns = opened(
        payload, FrameKind.ORDERS, MAX_BLOCK_UPDATES, "order updates"
    )
    return OrderBlock(
        first_seq=first_seq,
        updates=_read_updates(body, offset, header, seqs, received_ns, _BY_ORDER, OrderUpdate),
        received_ns=received_ns,
        held_ns=held_ns,
        flags=FLAGS[bits],
    )


def _encoded(block: BookBlock | OrderBlock, header: Header, form: _Form) -> bytes:
    updates = block.updates
    require_count(len(updates), MAX_BLOCK_UPDATES, "updates")
    body = begun(block, form.kind, 0, len(updates))
    previous: dict[int, tuple[int, int]] = {}
    entries = 0
    for update in updates:
        index = update.instrument.index
        before = previous.get(index)
        if before is None:
            require_index(header, index)
            reference = header.references[index]
            before = reference.update_id, reference.time
        if not (0 <= update.update_id <= U64_MAX and 0 <= update.time <= U64_MAX):
            raise NotRepresentableError(
                f"{update.symbol} update {update.update_id}: time {update.time} and update id do "
                "not both fit 64 bits"
            )
        flags = int(update.flags) & _ALL_FLAGS
        if flags:
            append_head(body, index, BOOK_FLAGS_BIT, bytes((flags,)))
        else:
            append_head(body, index, 0)
        append_varint(body, zigzag(update.update_id - before[0]))
        append_varint(body, zigzag(update.time - before[1]))
        entries += _append_sides(body, update, header.references[index].price, form)
        if entries > form.most:
            raise NotRepresentableError(
                f"over {form.most:,} {form.entries} in the updates of a block"
            )
        previous[index] = update.update_id, update.time
    return seal(body)


def _append_sides(
    body: bytearray, update: BookUpdate | OrderUpdate, price: int, form: _Form
) -> int:
    """Append both sides with their counts. Gives how many entries they have."""
    bids, asks = (
        _count_of(packed, side, update, form)
        for packed, side in ((update.packed_bids, "bids"), (update.packed_asks, "asks"))
    )
    append_varint(body, bids)
    append_varint(body, asks)
    try:
        form.append_side(body, update.packed_bids, price, lt)
        form.append_side(body, update.packed_asks, price, gt)
    except _OutOfOrder as error:
        raise NotRepresentableError(f"{update.symbol} update {update.update_id}: {error}") from None
    return bids + asks


def _count_of(packed: bytes, side: str, update: BookUpdate | OrderUpdate, form: _Form) -> int:
    count, rest = divmod(len(packed), form.packed.size)
    if rest:
        raise NotRepresentableError(
            f"{update.symbol} update {update.update_id}: packed {side} of {len(packed):,} bytes: "
            f"{form.entries} take {form.packed.size} each"
        )
    return count


def _append_levels(body: bytearray, packed: bytes, price: int, follows: _Follows) -> None:
    last = _before_all(follows)
    for level_price, quantity in LEVEL.iter_unpack(packed):
        if not follows(level_price, last):
            raise _not_outwards(level_price, last, follows)
        append_varint(body, zigzag(level_price - price))
        append_varint(body, quantity)
        price = last = level_price


def _append_orders(body: bytearray, packed: bytes, price: int, _: _Follows) -> None:
    order_id = 0
    for next_id, next_price, quantity in ORDER.iter_unpack(packed):
        append_varint(body, zigzag(next_id - order_id))
        append_varint(body, zigzag(next_price - price))
        append_varint(body, quantity)
        order_id, price = next_id, next_price


def _before_all(follows: _Follows) -> int:
    """What every price follows."""
    return U64_MAX if follows is lt else -U64_MAX


def _not_outwards(price: int, last: int, follows: _Follows) -> _OutOfOrder:
    side, how = ("bids", "fall") if follows is lt else ("asks", "rise")
    return _OutOfOrder(f"{side} do not {how}: {price} stands behind {last}")


_Update = TypeVar("_Update", BookUpdate, OrderUpdate)


def _read_updates(
    body: bytes,
    offset: int,
    header: Header,
    seqs: Sequence[int],
    received_ns: int,
    form: _Form,
    update_type: type[_Update],
) -> list[_Update]:
    previous: dict[int, tuple[int, int]] = {}
    updates: list[_Update] = []
    left = form.most
    try:
        for seq in seqs:
            head, flags = body[offset], 0
            offset += 1
            if head & BOOK_FLAGS_BIT:
                flags = body[offset]
                offset += 1
            index, offset = read_index(body, offset, head)
            reference = reference_at(header, index)
            before = previous.get(index) or (reference.update_id, reference.time)
            id_delta, offset = read(body, offset)
            time_delta, offset = read(body, offset)
            bids, offset = read(body, offset)
            asks, offset = read(body, offset)
            left -= bids + asks
            if left < 0:
                raise LimitExceededError(
                    f"block with over {form.most:,} {form.entries} in its updates"
                )
            update_id = (before[0] + unzigzag(id_delta)) & U64_MAX
            time = (before[1] + unzigzag(time_delta)) & U64_MAX
            packed_bids, offset = form.read_side(body, offset, bids, reference.price, lt)
            packed_asks, offset = form.read_side(body, offset, asks, reference.price, gt)
            updates.append(
                update_type(
                    header.instruments[index],
                    update_id,
                    time,
                    packed_bids,
                    packed_asks,
                    _BOOK_FLAGS[flags],
                    seq,
                    received_ns,
                )
            )
            previous[index] = update_id, time
    except IndexError as error:
        raise MalformedError(f"block of {len(seqs):,} updates is cut short") from error
    except _OutOfOrder as error:
        raise MalformedError(str(error)) from None
    return updates


def _read_levels(
    body: bytes, offset: int, count: int, price: int, follows: _Follows
) -> tuple[bytes, int]:
    packed = bytearray()
    last = _before_all(follows)
    for _ in range(count):
        price_delta, offset = read(body, offset)
        quantity, offset = read(body, offset)
        price += unzigzag(price_delta)
        if not I64_MIN <= price <= I64_MAX:
            price = as_i64(price)
        if not follows(price, last):
            raise _not_outwards(price, last, follows)
        packed += LEVEL.pack(price, quantity)
        last = price
    return bytes(packed), offset


def _read_orders(
    body: bytes, offset: int, count: int, price: int, _: _Follows
) -> tuple[bytes, int]:
    packed = bytearray()
    order_id = 0
    for _place in range(count):
        id_delta, offset = read(body, offset)
        price_delta, offset = read(body, offset)
        quantity, offset = read(body, offset)
        order_id = (order_id + unzigzag(id_delta)) & U64_MAX
        price = as_i64(price + unzigzag(price_delta))
        packed += ORDER.pack(order_id, price, quantity)
    return bytes(packed), offset


_BY_PRICE = _Form(FrameKind.BOOK, "levels", MAX_BLOCK_LEVELS, LEVEL, _append_levels, _read_levels)
_BY_ORDER = _Form(FrameKind.ORDERS, "orders", MAX_BLOCK_ORDERS, ORDER, _append_orders, _read_orders)
