"""Blocks of quotes, kind 0x11. They begin as all blocks do: see `runs`.

    quote:  u8 head: the index's five lowest bits, 0x20 more of it follows, 0x40 and 0x80 reserved
            varint index >> 5, if the head has 0x20
            varint zigzag(update id - previous update id)
            varint zigzag(time - previous time)
            varint zigzag(bid price - previous bid price)
            varint zigzag(ask price - bid price)
            varint bid quantity
            varint ask quantity

*Previous* is the quote of the same instrument before this one in the same block, or else the
header's reference, whose price stands for the bid's. Deltas are modulo 2**64.
"""

from collections.abc import Sequence

from fanout.protocol.book_records import Quote, QuoteBlock
from fanout.protocol.constants import I64_MAX, I64_MIN, MAX_BLOCK_QUOTES, U64_MAX, FrameKind
from fanout.protocol.errors import MalformedError, NotRepresentableError
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


@twin
def encode_quotes(block: QuoteBlock, header: Header) -> bytes:
    """A block's payload. The quotes' own `seq` and `received_ns` are not looked at: the block's
    count. Raises `NotRepresentableError`, naming the value that does not fit."""
    quotes = block.quotes
    require_count(len(quotes), MAX_BLOCK_QUOTES, "quotes")
    body = begun(block, FrameKind.QUOTES, 0, len(quotes))
    previous: dict[int, tuple[int, int, int]] = {}
    for quote in quotes:
        index = quote.instrument.index
        before = previous.get(index)
        if before is None:
            require_index(header, index)
            reference = header.references[index]
            before = reference.update_id, reference.time, reference.price
        if not _is_representable(quote):
            raise _refusal(quote)
        update_id, time, bid_price = before
        append_head(body, index, 0)
        append_varint(body, zigzag(quote.update_id - update_id))
        append_varint(body, zigzag(quote.time - time))
        append_varint(body, zigzag(quote.bid_price - bid_price))
        append_varint(body, zigzag(quote.ask_price - quote.bid_price))
        append_varint(body, quote.bid_quantity)
        append_varint(body, quote.ask_quantity)
        previous[index] = quote.update_id, quote.time, quote.bid_price
    return seal(body)


def _is_representable(quote: Quote) -> bool:
    return (
        I64_MIN <= quote.bid_price <= I64_MAX
        and I64_MIN <= quote.ask_price <= I64_MAX
        and 0 <= quote.bid_quantity <= U64_MAX
        and 0 <= quote.ask_quantity <= U64_MAX
        and 0 <= quote.update_id <= U64_MAX
        and 0 <= quote.time <= U64_MAX
    )


def _refusal(quote: Quote) -> NotRepresentableError:
    return NotRepresentableError(
        f"{quote.symbol} quote {quote.update_id}: time {quote.time}, bid {quote.bid_quantity} at "
        f"{quote.bid_price}, ask {quote.ask_quantity} at {quote.ask_price} do not all fit 64 bits"
    )


@twin
def decode_quotes(payload: bytes, header: Header) -> QuoteBlock:
    """The block in a payload. Raises `PeerError` for every other payload."""
    body, offset, bits, _, seqs, first_seq, received_ns, held_ns = opened(
        payload, FrameKind.QUOTES, MAX_BLOCK_QUOTES, "quotes"
    )
    try:
        quotes = _read_quotes(body, offset, header, seqs, received_ns)
    except IndexError as error:
        raise MalformedError(f"block of {len(seqs):,} quotes is cut short") from error
    return QuoteBlock(
        first_seq=first_seq,
        quotes=quotes,
        received_ns=received_ns,
        held_ns=held_ns,
        flags=FLAGS[bits],
    )


def _read_quotes(
    body: bytes, offset: int, header: Header, seqs: Sequence[int], received_ns: int
) -> list[Quote]:
    previous: dict[int, tuple[int, int, int]] = {}
    quotes: list[Quote] = []
    for seq in seqs:
        index, offset = read_index(body, offset + 1, body[offset])
        before = previous.get(index)
        if before is None:
            reference = reference_at(header, index)
            before = reference.update_id, reference.time, reference.price
        id_delta, offset = read(body, offset)
        time_delta, offset = read(body, offset)
        bid_delta, offset = read(body, offset)
        ask_delta, offset = read(body, offset)
        bid_quantity, offset = read(body, offset)
        ask_quantity, offset = read(body, offset)
        update_id = (before[0] + unzigzag(id_delta)) & U64_MAX
        time = (before[1] + unzigzag(time_delta)) & U64_MAX
        bid_price = as_i64(before[2] + unzigzag(bid_delta))
        ask_price = as_i64(bid_price + unzigzag(ask_delta))
        quotes.append(
            Quote(
                header.instruments[index],
                update_id,
                time,
                bid_price,
                bid_quantity,
                ask_price,
                ask_quantity,
                seq,
                received_ns,
            )
        )
        previous[index] = update_id, time, bid_price
    return quotes
