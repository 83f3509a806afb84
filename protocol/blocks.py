"""Blocks of every kind: which functions read and write them, by the first byte of a payload."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from fanout.protocol.block import decode_block, encode_block
from fanout.protocol.book_block import decode_book, decode_orders, encode_book, encode_orders
from fanout.protocol.book_records import (
    LEVEL,
    ORDER,
    BookBlock,
    BookUpdate,
    OrderBlock,
    OrderUpdate,
    QuoteBlock,
)
from fanout.protocol.constants import BlockFlags, BookFlags, FrameKind
from fanout.protocol.errors import MalformedError
from fanout.protocol.events import decode_event, encode_event
from fanout.protocol.feature_block import decode_features, encode_features
from fanout.protocol.feature_rows import FeatureBlock
from fanout.protocol.quote_block import decode_quotes, encode_quotes
from fanout.protocol.records import Header

Updates = QuoteBlock | BookBlock | OrderBlock | FeatureBlock


class _Codec(NamedTuple):
    decode: Callable[[bytes, Header], Any]
    encode: Callable[[Any, Header], bytes]
    records: str
    """The name of the block's field with the records."""


_CODECS: Final[dict[int, _Codec]] = {
    FrameKind.TRADES: _Codec(decode_block, encode_block, "trades"),
    FrameKind.QUOTES: _Codec(decode_quotes, encode_quotes, "quotes"),
    FrameKind.BOOK: _Codec(decode_book, encode_book, "updates"),
    FrameKind.ORDERS: _Codec(decode_orders, encode_orders, "updates"),
    FrameKind.FEATURES: _Codec(decode_features, encode_features, "rows"),
}

BLOCK_KINDS: Final = frozenset(_CODECS)
"""First bytes of the blocks that can be read here."""

UPDATE_DECODERS: Final[dict[int, Callable[[bytes, Header], Updates]]] = {
    FrameKind.QUOTES: decode_quotes,
    FrameKind.BOOK: decode_book,
    FrameKind.ORDERS: decode_orders,
    FrameKind.FEATURES: decode_features,
}
"""What reads a block that is not of trades, by its first byte."""


def block_from(payload: bytes, seq: int, header: Header) -> bytes:
    """The payload of a block with the records from sequence number `seq` on, of one that holds it.
    Raises `PeerError` for a payload that is no block."""
    codec = _CODECS.get(payload[0])
    if codec is None:
        raise MalformedError(f"a frame of kind {payload[0]:#04x} is no block")
    block = codec.decode(payload, header)
    records = getattr(block, codec.records)[seq - block.first_seq :]
    return codec.encode(replace(block, first_seq=seq, **{codec.records: records}), header)


def by_symbol(payload: bytes, header: Header) -> dict[str, list[bytes]]:
    """The payloads of blocks that together have the records of one, by symbol, in the order of each
    symbol's first record. A symbol has one block for each run of numbers that follow on one
    another. Raises `PeerError` for a payload that is no block."""
    codec = _CODECS.get(payload[0])
    if codec is None:
        raise MalformedError(f"a frame of kind {payload[0]:#04x} is no block")
    block = codec.decode(payload, header)
    runs: dict[str, list[list[Any]]] = {}
    last = ""
    for record in getattr(block, codec.records):
        symbol = record.instrument.symbol
        if symbol == last:
            runs[symbol][-1].append(record)
        else:
            runs.setdefault(symbol, []).append([record])
            last = symbol
    if len(runs) == 1:
        return {last: [payload]}
    return {
        symbol: [
            codec.encode(replace(block, first_seq=run[0].seq, **{codec.records: run}), header)
            for run in its
        ]
        for symbol, its in runs.items()
    }


def rest_from(payload: bytes, seq: int, header: Header) -> bytes:
    """`block_from` of a block, and the same of a LOSS, of numbers from `seq` on. Raises `PeerError`
    for any other payload."""
    if payload[0] == FrameKind.LOSS:
        return encode_event(replace(decode_event(payload, header), first_seq=seq))
    return block_from(payload, seq, header)


def divided(payload: bytes, header: Header, most_bytes: int) -> Iterator[bytes]:
    """The payloads of blocks that together have the records of one, each of `most_bytes` at the
    most. A record that does not fit even alone is left out, so its numbers are missing. Only an
    update of a snapshot can be divided itself, since it has no number. Raises `PeerError` for a
    payload that is no block."""
    codec = _CODECS.get(payload[0])
    if codec is None:
        raise MalformedError(f"a frame of kind {payload[0]:#04x} is no block")
    block = codec.decode(payload, header)
    is_snapshot = bool(int(block.flags) & BlockFlags.SNAPSHOT)

    def parts(records: Sequence[Any]) -> Iterator[bytes]:
        first_seq = block.first_seq if is_snapshot else records[0].seq
        changes = {"first_seq": first_seq, codec.records: records}
        made = codec.encode(replace(block, **changes), header)
        if len(made) <= most_bytes:
            yield made
            return
        if len(records) == 1 and is_snapshot:
            records = _halves(records[0])
        if len(records) > 1:
            half = len(records) // 2
            yield from parts(records[:half])
            yield from parts(records[half:])

    return parts(getattr(block, codec.records))


def _halves(update: Any) -> list[Any]:
    """A book update as two, of which the second continues the first. Empty if it has fewer than two
    levels or orders, or is no book update."""
    if not isinstance(update, BookUpdate | OrderUpdate):
        return []
    size = LEVEL.size if isinstance(update, BookUpdate) else ORDER.size
    bids, asks = update.packed_bids, update.packed_asks
    cut = (len(bids) + len(asks)) // size // 2 * size
    if not cut:
        return []
    before, behind = slice(0, max(0, cut - len(bids))), slice(max(0, cut - len(bids)), None)
    return [
        replace(
            update,
            packed_bids=bids[:cut],
            packed_asks=asks[before],
            flags=update.flags | BookFlags.MORE,
        ),
        replace(
            update,
            packed_bids=bids[cut:],
            packed_asks=asks[behind],
            flags=update.flags & ~BookFlags.WHOLE,
        ),
    ]
