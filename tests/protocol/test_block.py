import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    MAX_BLOCK_TRADES,
    MAX_FRAME_BYTES,
    Block,
    BlockFlags,
    Header,
    NotRepresentableError,
    Reference,
    Trade,
    TradeKind,
    decode_block,
    encode_block,
)
from fanout.protocol.constants import MAX_TRADE_BYTES
from fanout.protocol.framing import seal, unseal
from tests.protocol.golden import BTC, HEADER, TRADES
from tests.protocol.strategies import blocks, headers
from tests.thoroughness import examples


def as_received(block: Block) -> list[Trade]:
    """The trades as a reader gets them: numbered, and with what the block says."""
    return [
        replace(
            trade,
            seq=block.first_seq + place,
            received_ns=block.received_ns,
            back_filled=BlockFlags.BACK_FILLED in block.flags,
        )
        for place, trade in enumerate(block.trades)
    ]


@given(headers().flatmap(lambda header: st.tuples(st.just(header), blocks(header))))
def test_any_trades_come_back_exactly(both: tuple[Header, Block]) -> None:
    header, block = both
    got = decode_block(encode_block(block, header), header)
    assert got.trades == as_received(block)
    assert (got.first_seq, got.received_ns, got.held_ns) == (
        block.first_seq,
        block.received_ns,
        block.held_ns,
    )
    assert got.flags == block.flags


@settings(max_examples=examples(25))
@given(
    headers().flatmap(
        lambda header: st.tuples(st.just(header), st.lists(blocks(header), min_size=2, max_size=3))
    ),
    st.randoms(use_true_random=False),
)
def test_any_block_decodes_alone_and_in_any_order(
    both: tuple[Header, list[Block]], chance: object
) -> None:
    header, many = both
    payloads = [encode_block(each, header) for each in many]
    for block, payload in reversed(list(zip(many, payloads, strict=True))):
        assert decode_block(payload, header).trades == as_received(block)


def test_a_block_depends_on_the_references_of_the_header() -> None:
    other = replace(
        HEADER, references=(replace(HEADER.references[0], price=0), HEADER.references[1])
    )
    assert decode_block(encode_block(TRADES, HEADER), other).trades[0].price == 720


def test_the_ordinary_kind_costs_nothing_whichever_it_is() -> None:
    def size(*kinds: TradeKind) -> int:
        trades = [replace(TRADES.trades[0], kind=kind) for kind in kinds]
        return len(encode_block(replace(TRADES, trades=trades), HEADER))

    assert size(TradeKind.AGGREGATE, TradeKind.AGGREGATE) == size(
        TradeKind.MARKET, TradeKind.MARKET
    )
    assert size(TradeKind.MARKET, TradeKind.ADL) == size(TradeKind.MARKET, TradeKind.MARKET) + 1


def test_the_worst_block_fits_a_frame() -> None:
    zero = Reference(price=0, quantity=0, trade_id=0, time=0)
    instruments = tuple(replace(BTC, index=i, symbol=str(i)) for i in range(33))
    header = replace(HEADER, instruments=instruments, references=(zero,) * 33)
    half, last = 2**63, instruments[32]
    worst = [
        Trade(last, half * (i % 2 == 0), half * (i % 2 == 0), -half * (i % 2 == 0), 2**64 - 1, True,
              TradeKind.MARKET if i == 0 else TradeKind.ADL)
        for i in range(MAX_BLOCK_TRADES)
    ]  # fmt: skip
    block = Block(first_seq=1, trades=worst, received_ns=2**64 - 1, held_ns=2**64 - 1)
    payload = encode_block(block, header)
    assert 40 * MAX_BLOCK_TRADES < len(payload) <= MAX_FRAME_BYTES
    assert decode_block(payload, header).trades == as_received(block)
    one_less = encode_block(replace(block, trades=worst[:-1]), header)
    assert len(payload) - len(one_less) == MAX_TRADE_BYTES


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trade_id": -1}, "BTCUSDT trade -1: time 1791382992838, price 8309170, quantity 22 do"),
        ({"trade_id": 2**64}, "BTCUSDT trade 18446744073709551616"),
        ({"time": -1}, "BTCUSDT trade 8153634394: time -1"),
        ({"time": 2**64}, "BTCUSDT trade"),
        ({"price": 2**63}, "BTCUSDT trade"),
        ({"price": -(2**63) - 1}, "BTCUSDT trade"),
        ({"quantity": -1}, "BTCUSDT trade"),
        ({"quantity": 2**64}, "BTCUSDT trade"),
    ],
)
def test_a_trade_that_does_not_fit_is_refused_and_named(
    changes: dict[str, object], said: str
) -> None:
    trade = replace(TRADES.trades[0], **changes)
    with pytest.raises(NotRepresentableError, match=said):
        encode_block(replace(TRADES, trades=[trade]), HEADER)


def test_an_unknown_trade_kind_is_read_as_other() -> None:
    body = bytearray(unseal(encode_block(TRADES, HEADER)))
    body[2] = 77
    assert decode_block(seal(body), HEADER).trades[0].kind is TradeKind.OTHER
