import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    MAX_BLOCK_QUOTES,
    MAX_FRAME_BYTES,
    Header,
    NotRepresentableError,
    Quote,
    QuoteBlock,
    Reference,
    decode_quotes,
    encode_quotes,
)
from fanout.protocol.constants import MAX_QUOTE_BYTES
from fanout.protocol.framing import seal, unseal
from tests.protocol.golden import BTC, HEADER, QUOTES
from tests.protocol.strategies import headers, quote_blocks
from tests.thoroughness import examples

HEAD_AT = 24
"""Where the first quote's head is: `held_ns` takes three bytes."""


def as_received(block: QuoteBlock) -> list[Quote]:
    """The quotes as a reader gets them: numbered, and with what the block says."""
    return [
        replace(quote, seq=block.first_seq + place, received_ns=block.received_ns)
        for place, quote in enumerate(block.quotes)
    ]


@given(headers().flatmap(lambda header: st.tuples(st.just(header), quote_blocks(header))))
def test_any_quotes_come_back_exactly(both: tuple[Header, QuoteBlock]) -> None:
    header, block = both
    got = decode_quotes(encode_quotes(block, header), header)
    assert got == replace(block, quotes=as_received(block))


@settings(max_examples=examples(25))
@given(
    headers().flatmap(
        lambda header: st.tuples(st.just(header), st.lists(quote_blocks(header), min_size=2))
    )
)
def test_any_block_decodes_alone_and_in_any_order(both: tuple[Header, list[QuoteBlock]]) -> None:
    header, many = both
    payloads = [encode_quotes(each, header) for each in many]
    for block, data in reversed(list(zip(many, payloads, strict=True))):
        assert decode_quotes(data, header).quotes == as_received(block)


def test_a_block_depends_on_the_references_of_the_header() -> None:
    zero = Reference(price=0, quantity=0, trade_id=0, time=0, update_id=0)
    other = replace(HEADER, references=(zero, zero))
    got = decode_quotes(encode_quotes(QUOTES, HEADER), other).quotes[0]
    sent, base = QUOTES.quotes[0], HEADER.references[0]
    assert (got.bid_price, got.time, got.update_id) == (
        sent.bid_price - base.price,
        sent.time - base.time,
        sent.update_id - base.update_id,
    )


def test_the_worst_block_fits_a_frame() -> None:
    zero = Reference(price=0, quantity=0, trade_id=0, time=0)
    instruments = tuple(replace(BTC, index=i, symbol=str(i)) for i in range(33))
    header = replace(HEADER, instruments=instruments, references=(zero,) * 33)
    half, most = 2**63, 2**64 - 1
    low, high = (0, 0, 0, most, -half, most), (half, half, -half, most, 0, most)
    worst = [
        Quote(instruments[32], *(high if i % 2 == 0 else low)) for i in range(MAX_BLOCK_QUOTES)
    ]
    block = QuoteBlock(first_seq=1, quotes=worst, received_ns=most, held_ns=most)
    data = encode_quotes(block, header)
    assert 60 * MAX_BLOCK_QUOTES < len(data) <= MAX_FRAME_BYTES
    assert decode_quotes(data, header).quotes == as_received(block)
    one_less = encode_quotes(replace(block, quotes=worst[:-1]), header)
    assert len(data) - len(one_less) == MAX_QUOTE_BYTES


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *(
            ({field: value}, "BTCUSDT quote ")
            for field in ("update_id", "time", "bid_quantity", "ask_quantity")
            for value in (-1, 2**64)
        ),
        *(
            ({field: value}, "BTCUSDT quote .* do not all fit 64 bits")
            for field in ("bid_price", "ask_price")
            for value in (-(2**63) - 1, 2**63)
        ),
    ],
)
def test_a_quote_that_does_not_fit_is_refused_and_named(
    changes: dict[str, object], said: str
) -> None:
    quote = replace(QUOTES.quotes[0], **changes)
    with pytest.raises(NotRepresentableError, match=said):
        encode_quotes(replace(QUOTES, quotes=[quote]), HEADER)


def test_what_is_reserved_is_ignored() -> None:
    whole = decode_quotes(encode_quotes(QUOTES, HEADER), HEADER)
    body = bytearray(unseal(encode_quotes(QUOTES, HEADER)))
    body[2] = 77
    assert decode_quotes(seal(body), HEADER) == whole
    body[2], body[HEAD_AT] = 0, body[HEAD_AT] | 0xC0
    assert decode_quotes(seal(body), HEADER) == whole
