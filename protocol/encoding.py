"""Records of one kind to frames: how many fit a block, and how a block of them is encoded.

Blocks are made here and nowhere else in a channel: those that everybody gets, which are numbered,
and the snapshots for a reader that joins, which are not.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from fanout.protocol.block import encode_block
from fanout.protocol.book_block import encode_book, encode_orders
from fanout.protocol.book_common import pieces
from fanout.protocol.book_records import (
    LEVEL,
    ORDER,
    BookBlock,
    BookUpdate,
    OrderBlock,
    OrderUpdate,
    Quote,
    QuoteBlock,
)
from fanout.protocol.constants import (
    LENGTH_BYTES,
    MAX_BLOCK_LEVELS,
    MAX_BLOCK_ORDERS,
    MAX_BLOCK_QUOTES,
    MAX_BLOCK_ROWS,
    MAX_BLOCK_TRADES,
    MAX_BLOCK_UPDATES,
    MAX_BLOCK_VALUES,
    MAX_FRAME_BYTES,
    BlockFlags,
    BookFlags,
)
from fanout.protocol.feature_block import encode_features
from fanout.protocol.feature_rows import FeatureBlock, FeatureRow
from fanout.protocol.framing import frame
from fanout.protocol.quote_block import encode_quotes
from fanout.protocol.records import Block, Header, Trade

LONGEST_BYTES: Final = LENGTH_BYTES + MAX_FRAME_BYTES
"""The longest frame there is, its length included."""

_AROUND_BYTES: Final = LENGTH_BYTES + 35
"""What a block takes beside its records, its length included: see MAX_BLOCK_TRADES."""


class Form(NamedTuple):
    """What the kinds of records differ in."""

    divided: Callable[[list[Any]], Iterable[list[Any]]]
    """Divides a run into lists that fit a block each."""
    encode: Callable[[int, Sequence[Any], int, int, BlockFlags, Header], bytes]
    """The payload of a block, from its first number, its records, `received_ns`, `held_ns` and its
    flags."""


def snapshot_of(kind: type, records: Sequence[Any], next_seq: int, header: Header) -> bytes:
    """The frame of records that a reader gets before it goes on at `next_seq`."""
    return frame(FORMS[kind].encode(next_seq, records, 0, 0, BlockFlags.SNAPSHOT, header))


def snapshots_of(
    kind: type, records: list[Any], next_seq: int, header: Header, longest_bytes: int
) -> bytes:
    """The same as several frames, if one would be longer than `longest_bytes`, its length
    included."""
    whole = snapshot_of(kind, records, next_seq, header)
    parts = shorter(records, len(whole), longest_bytes)
    if not parts:
        return whole
    return b"".join(snapshots_of(kind, each, next_seq, header, longest_bytes) for each in parts)


def shorter(records: list[Any], size_bytes: int, longest_bytes: int) -> list[list[Any]]:
    """Divide records whose frame takes `size_bytes` into lists whose frames should not exceed
    `longest_bytes`. Of one update of a book several are made, which are continued.

    Empty if the frame is short enough, or if it has one record that cannot be divided. Records
    differ in length, so a list may have to be divided once more.
    """
    if size_bytes <= longest_bytes:
        return []
    # The first item of each instrument in a block is longer than those behind it: an eighth more.
    wanted = size_bytes * 9 // (8 * (longest_bytes - _AROUND_BYTES)) + 1
    if len(records) > 1:
        most = max(1, len(records) // wanted)
        return [records[start : start + most] for start in range(0, len(records), most)]
    (record,) = records
    entry_bytes = _ENTRY_BYTES.get(type(record))
    if entry_bytes is None:
        return []
    entries = (len(record.packed_bids) + len(record.packed_asks)) // entry_bytes
    if entries < 2:
        return []
    return [[each] for each in _parts_of(record, max(1, entries // wanted) * entry_bytes)]


# A function for each kind, though they are alike: to name a field by a value takes a dictionary for
# every block, and this is the way of every trade.


def _trades(
    first_seq: int,
    trades: Sequence[Trade],
    received_ns: int,
    held_ns: int,
    flags: BlockFlags,
    header: Header,
) -> bytes:
    block = Block(
        first_seq=first_seq, trades=trades, received_ns=received_ns, held_ns=held_ns, flags=flags
    )
    return encode_block(block, header)


def _quotes(
    first_seq: int,
    quotes: Sequence[Quote],
    received_ns: int,
    held_ns: int,
    flags: BlockFlags,
    header: Header,
) -> bytes:
    block = QuoteBlock(
        first_seq=first_seq, quotes=quotes, received_ns=received_ns, held_ns=held_ns, flags=flags
    )
    return encode_quotes(block, header)


def _updates(
    first_seq: int,
    updates: Sequence[BookUpdate],
    received_ns: int,
    held_ns: int,
    flags: BlockFlags,
    header: Header,
) -> bytes:
    block = BookBlock(
        first_seq=first_seq, updates=updates, received_ns=received_ns, held_ns=held_ns, flags=flags
    )
    return encode_book(block, header)


def _order_updates(
    first_seq: int,
    updates: Sequence[OrderUpdate],
    received_ns: int,
    held_ns: int,
    flags: BlockFlags,
    header: Header,
) -> bytes:
    block = OrderBlock(
        first_seq=first_seq, updates=updates, received_ns=received_ns, held_ns=held_ns, flags=flags
    )
    return encode_orders(block, header)


def _rows(
    first_seq: int,
    rows: Sequence[FeatureRow],
    received_ns: int,
    held_ns: int,
    flags: BlockFlags,
    header: Header,
) -> bytes:
    block = FeatureBlock(
        first_seq=first_seq, rows=rows, received_ns=received_ns, held_ns=held_ns, flags=flags
    )
    return encode_features(block, header)


def _divided_at(most: int) -> Callable[[list[Any]], Iterable[list[Any]]]:
    def divided(run: list[Any]) -> Iterable[list[Any]]:
        if len(run) <= most:
            return (run,)
        return [run[start : start + most] for start in range(0, len(run), most)]

    return divided


def _divided_by_values(run: list[FeatureRow]) -> Iterable[list[FeatureRow]]:
    """For rows, all of which have as many values as the channel has columns."""
    columns = max(1, len(run[0].values))
    return _divided_at(max(1, min(MAX_BLOCK_ROWS, MAX_BLOCK_VALUES // columns)))(run)


def _divided_by_bytes(most_bytes: int) -> Callable[[list[Any]], Iterable[list[Any]]]:
    """For updates of books: runs that fit a block each. An update with too many levels or orders is
    divided, into updates that are continued."""

    def divided(updates: list[Any]) -> Iterator[list[Any]]:
        block: list[Any] = []
        room = most_bytes
        for update in updates:
            size = len(update.packed_bids) + len(update.packed_asks)
            if size > room or len(block) == MAX_BLOCK_UPDATES:
                if block:
                    yield block
                block, room = [], most_bytes
            if size > most_bytes:
                parts = _parts_of(update, most_bytes)
                yield from ([each] for each in parts[:-1])
                update = parts[-1]
                size = len(update.packed_bids) + len(update.packed_asks)
            block.append(update)
            room -= size
        if block:
            yield block

    return divided


def _parts_of(update: Any, most_bytes: int) -> list[Any]:
    kept = update.flags & (BookFlags.MORE | BookFlags.TOP_ONLY)
    cut = list(pieces(update.packed_bids, update.packed_asks, most_bytes))
    parts = []
    for number, (bids, asks, flags) in enumerate(cut, 1):
        if not update.is_whole:
            flags &= ~BookFlags.WHOLE
        flags |= kept if number == len(cut) else kept & BookFlags.TOP_ONLY
        parts.append(
            msgspec.structs.replace(update, packed_bids=bids, packed_asks=asks, flags=flags)
        )
    return parts


_ENTRY_BYTES: Final[dict[type, int]] = {BookUpdate: LEVEL.size, OrderUpdate: ORDER.size}
"""What a level or an order takes in the packed form of an update."""

FORMS: Final[dict[type, Form]] = {
    Trade: Form(_divided_at(MAX_BLOCK_TRADES), _trades),
    Quote: Form(_divided_at(MAX_BLOCK_QUOTES), _quotes),
    BookUpdate: Form(_divided_by_bytes(MAX_BLOCK_LEVELS * LEVEL.size), _updates),
    OrderUpdate: Form(_divided_by_bytes(MAX_BLOCK_ORDERS * ORDER.size), _order_updates),
    FeatureRow: Form(_divided_by_values, _rows),
}
