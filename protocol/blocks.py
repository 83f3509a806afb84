"""Blocks of every kind: which functions read and write them, by the first byte of a payload."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from fanout.protocol.block import decode_block, encode_block
from fanout.protocol.book_block import decode_book, decode_orders, encode_book, encode_orders
from fanout.protocol.book_records import BookBlock, OrderBlock, QuoteBlock
from fanout.protocol.constants import FrameKind
from fanout.protocol.errors import MalformedError
from fanout.protocol.quote_block import decode_quotes, encode_quotes
from fanout.protocol.records import Header

Updates = QuoteBlock | BookBlock | OrderBlock


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
}

BLOCK_KINDS: Final = frozenset(_CODECS)
"""First bytes of the blocks that can be read here."""

UPDATE_DECODERS: Final[dict[int, Callable[[bytes, Header], Updates]]] = {
    FrameKind.QUOTES: decode_quotes,
    FrameKind.BOOK: decode_book,
    FrameKind.ORDERS: decode_orders,
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
