from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    MAX_BLOCK_LEVELS,
    MAX_BLOCK_ORDERS,
    MAX_BLOCK_UPDATES,
    MAX_FRAME_BYTES,
    BookBlock,
    BookFlags,
    BookUpdate,
    Header,
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    OrderBlock,
    OrderUpdate,
    Reference,
    decode_book,
    decode_orders,
    encode_book,
    encode_orders,
    pack_levels,
    pack_orders,
)
from fanout.protocol.constants import (
    MAX_LEVEL_BYTES,
    MAX_ORDER_BYTES,
    MAX_UPDATE_BYTES,
)
from fanout.protocol.framing import seal, unseal
from fanout.protocol.varint import append_varint
from tests.protocol.golden import BOOK, BTC, HEADER, ORDERS
from tests.protocol.strategies import book_blocks, headers, order_blocks
from tests.thoroughness import examples

HEAD_AT = 24
"""Where the first update's head is: `held_ns` takes three bytes."""


class Kind(NamedTuple):
    """How blocks of one kind are written and read, and one of them."""

    encode: Callable[[Any, Header], bytes]
    decode: Callable[[bytes, Header], Any]
    block: Any
    blocks: Callable[[Header], st.SearchStrategy[Any]]
    update: type[BookUpdate] | type[OrderUpdate]
    most: int
    packed_bytes: int
    """What a level or an order takes in its packed form."""
    entry_bytes: int
    """The most that it takes on the wire."""


HALF, MOST = 2**63, 2**64 - 1
KINDS = {
    "by price": Kind(
        encode_book, decode_book, BOOK, book_blocks, BookUpdate, MAX_BLOCK_LEVELS,
        16, MAX_LEVEL_BYTES,
    ),
    "by order": Kind(
        encode_orders, decode_orders, ORDERS, order_blocks, OrderUpdate, MAX_BLOCK_ORDERS,
        24, MAX_ORDER_BYTES,
    ),
}  # fmt: skip

each_kind = pytest.mark.parametrize("kind", [pytest.param(v, id=k) for k, v in KINDS.items()])


def as_received(block: BookBlock | OrderBlock) -> list[Any]:
    """The updates as a reader gets them: numbered, and with what the block says."""
    return [
        replace(update, seq=block.first_seq + place, received_ns=block.received_ns)
        for place, update in enumerate(block.updates)
    ]


@each_kind
@given(st.data())
def test_any_updates_come_back_exactly(kind: Kind, data: st.DataObject) -> None:
    header = data.draw(headers())
    block = data.draw(kind.blocks(header))
    got = kind.decode(kind.encode(block, header), header)
    assert got == replace(block, updates=as_received(block))


@each_kind
@settings(max_examples=examples(25))
@given(st.data())
def test_any_block_decodes_alone_and_in_any_order(kind: Kind, data: st.DataObject) -> None:
    header = data.draw(headers())
    many = data.draw(st.lists(kind.blocks(header), min_size=2, max_size=3))
    payloads = [kind.encode(each, header) for each in many]
    for block, written in reversed(list(zip(many, payloads, strict=True))):
        assert kind.decode(written, header).updates == as_received(block)


@each_kind
def test_a_block_depends_on_the_references_of_the_header(kind: Kind) -> None:
    zero = Reference(price=0, quantity=0, trade_id=0, time=0, update_id=0)
    other = replace(HEADER, references=(zero, zero))
    got = kind.decode(kind.encode(kind.block, HEADER), other).updates[0]
    sent, base = kind.block.updates[0], HEADER.references[0]
    assert (got.time, got.update_id) == (sent.time - base.time, sent.update_id - base.update_id)
    assert [each.price for each in got.bids] == [each.price - base.price for each in sent.bids]
    assert [each.price for each in got.asks] == [each.price - base.price for each in sent.asks]


@each_kind
def test_an_update_without_anything_in_it_takes_five_bytes(kind: Kind) -> None:
    """An exchange sends such: its update id goes on."""
    base = HEADER.references[0]
    empty = kind.update(BTC, base.update_id, base.time, b"", b"")
    sizes = [
        len(kind.encode(replace(kind.block, updates=[empty] * count), HEADER)) for count in (1, 2)
    ]
    assert sizes[1] - sizes[0] == 5
    flagged = replace(empty, flags=BookFlags.MORE)
    assert len(kind.encode(replace(kind.block, updates=[flagged]), HEADER)) == sizes[0] + 1


def test_the_worst_block_of_levels_fits_a_frame() -> None:
    """Prices of a side go one way, so only its first can be a half of all from the one before."""
    zero = Reference(price=0, quantity=0, trade_id=0, time=0)
    instruments = tuple(replace(BTC, index=i, symbol=str(i)) for i in range(33))
    header = replace(HEADER, instruments=instruments, references=(zero,) * 33)
    side = pack_levels([(-HALF, MOST)])
    worst = [
        BookUpdate(
            instruments[32], HALF * (i % 2 == 0), HALF * (i % 2 == 0), side, side, BookFlags.MORE
        )
        for i in range(MAX_BLOCK_UPDATES)
    ]
    block = BookBlock(first_seq=1, updates=worst, received_ns=MOST, held_ns=MOST)
    written = encode_book(block, header)
    assert len(written) <= MAX_FRAME_BYTES
    assert decode_book(written, header).updates == as_received(block)
    one_less = encode_book(replace(block, updates=worst[:-1]), header)
    counts_over_one_byte = 2
    assert len(written) - len(one_less) == (
        MAX_UPDATE_BYTES - counts_over_one_byte + 2 * MAX_LEVEL_BYTES
    )


@each_kind
def test_no_values_whatever_make_a_block_too_long(kind: Kind) -> None:
    around = 35
    most = around + MAX_BLOCK_UPDATES * MAX_UPDATE_BYTES + kind.most * kind.entry_bytes
    assert most <= MAX_FRAME_BYTES


def test_the_longest_order_is_as_long_as_its_limit_says() -> None:
    zero = Reference(price=0, quantity=0, trade_id=0, time=0)
    header = replace(HEADER, references=(zero, zero))
    orders = [(HALF * (i % 2 == 0), -HALF * (i % 2 == 0), MOST) for i in range(MAX_BLOCK_ORDERS)]

    def size(count: int) -> int:
        update = OrderUpdate(BTC, 0, 0, pack_orders(orders[:count]), b"")
        return len(encode_orders(replace(ORDERS, updates=[update]), header))

    assert size(MAX_BLOCK_ORDERS) - size(MAX_BLOCK_ORDERS - 1) == MAX_ORDER_BYTES


@each_kind
def test_levels_over_the_limit_are_refused_by_both_ends(kind: Kind) -> None:
    prices = range(kind.most + 1)
    side = (
        pack_levels((price, 1) for price in prices)
        if kind.update is BookUpdate
        else pack_orders((price, price, 1) for price in prices)
    )
    packed_bytes = kind.packed_bytes
    most = kind.update(BTC, 1, 2, b"", side[packed_bytes:])
    none = kind.update(BTC, 1, 2, b"", b"")
    for updates in ([most], [none, most, none]):
        block = replace(kind.block, updates=updates)
        assert kind.decode(kind.encode(block, HEADER), HEADER).updates == as_received(block)
    one = kind.update(BTC, 1, 2, side[:packed_bytes], b"")
    over = kind.update(BTC, 1, 2, b"", side)
    for updates in ([over], [most, one], [one, most]):
        with pytest.raises(NotRepresentableError, match=f"over {kind.most:,} (levels|orders)"):
            kind.encode(replace(kind.block, updates=updates), HEADER)
    for bids, asks in ((kind.most, 1), (2**64 - 1, 2**64 - 1), (0, kind.most + 1)):
        body = bytearray(unseal(kind.encode(replace(kind.block, updates=[none]), HEADER))[:-2])
        append_varint(body, bids)
        append_varint(body, asks)
        with pytest.raises(LimitExceededError, match=f"over {kind.most:,} (levels|orders)"):
            kind.decode(seal(body), HEADER)


@each_kind
def test_more_updates_than_a_block_may_have_are_refused(kind: Kind) -> None:
    updates = [replace(kind.block.updates[0], packed_bids=b"", packed_asks=b"")] * 513
    with pytest.raises(NotRepresentableError, match="513 updates: 1 to 512"):
        kind.encode(replace(kind.block, updates=updates), HEADER)
    block = replace(kind.block, updates=updates[:512])
    assert kind.decode(kind.encode(block, HEADER), HEADER).updates == as_received(block)


@each_kind
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *(
            ({field: value}, "BTCUSDT update .* do not both fit 64 bits")
            for field in ("update_id", "time")
            for value in (-1, 2**64)
        ),
        ({"packed_bids": bytes(23)}, "BTCUSDT update .*: packed bids of 23 bytes"),
        ({"packed_asks": bytes(25)}, "BTCUSDT update .*: packed asks of 25 bytes"),
    ],
)
def test_an_update_that_does_not_fit_is_refused_and_named(
    kind: Kind, changes: dict[str, object], said: str
) -> None:
    update = replace(kind.block.updates[0], **changes)
    with pytest.raises(NotRepresentableError, match=said):
        kind.encode(replace(kind.block, updates=[update]), HEADER)


INWARDS = [
    pytest.param("packed_bids", (10, 11), "bids do not fall: 11 stands behind 10", id="bids rise"),
    pytest.param("packed_bids", (10, 10), "bids do not fall: 10 stands behind 10", id="bid twice"),
    pytest.param("packed_asks", (11, 10), "asks do not rise: 10 stands behind 11", id="asks fall"),
    pytest.param("packed_asks", (-3, -3), "asks do not rise: -3 stands behind -3", id="ask twice"),
]


@pytest.mark.parametrize(("side", "prices", "said"), INWARDS)
def test_levels_that_do_not_stand_outwards_are_refused(
    side: str, prices: tuple[int, ...], said: str
) -> None:
    update = replace(BOOK.updates[0], **{side: pack_levels((price, 1) for price in prices)})
    with pytest.raises(NotRepresentableError, match=f"BTCUSDT update {update.update_id}: {said}"):
        encode_book(replace(BOOK, updates=[update]), HEADER)


@pytest.mark.parametrize(("side", "prices", "said"), INWARDS)
def test_levels_that_do_not_come_outwards_are_refused(
    side: str, prices: tuple[int, ...], said: str
) -> None:
    """As one level a side they are in order. Then the second is made the first one's neighbour."""
    zero = Reference(price=0, quantity=0, trade_id=0, time=0)
    header = replace(HEADER, references=(zero, zero))
    update = BookUpdate(BTC, 0, 0, b"", b"")
    body = bytearray(unseal(encode_book(replace(BOOK, updates=[update]), header))[:-2])
    body += b"\2\0" if side == "packed_bids" else b"\0\2"
    first, second = prices
    for delta in (first, second - first):
        append_varint(body, 2 * delta if delta >= 0 else -2 * delta - 1)
        append_varint(body, 1)
    with pytest.raises(MalformedError, match=said):
        decode_book(seal(body), header)


def test_a_price_that_wraps_round_does_not_stand_outwards() -> None:
    """Deltas are modulo 2**64: the order is that of the prices."""
    low, high = -(2**63), 2**63 - 1
    asks = BookUpdate(BTC, 0, 0, b"", pack_levels([(low, 1), (high, 1)]))
    block = replace(BOOK, updates=[asks])
    assert decode_book(encode_book(block, HEADER), HEADER).updates[0].asks == asks.asks
    with pytest.raises(NotRepresentableError, match="do not rise"):
        encode_book(
            replace(BOOK, updates=[replace(asks, packed_asks=pack_levels([(high, 1), (low, 1)]))]),
            HEADER,
        )


def test_orders_stand_as_the_venue_gave_them() -> None:
    orders = [(3, 10, 1), (3, 10, 1), (1, 12, 0), (2, 9, 5)]
    update = OrderUpdate(BTC, 1, 2, pack_orders(orders), pack_orders(orders[::-1]))
    block = replace(ORDERS, updates=[update])
    assert decode_orders(encode_orders(block, HEADER), HEADER).updates == as_received(block)


@each_kind
def test_what_is_reserved_is_ignored(kind: Kind) -> None:
    block = replace(kind.block, updates=[replace(kind.block.updates[0], flags=BookFlags.MORE)])
    body = bytearray(unseal(kind.encode(block, HEADER)))
    whole = kind.decode(seal(body), HEADER)
    body[2] = 77
    body[HEAD_AT] |= 0x80
    assert kind.decode(seal(body), HEADER) == whole
    for bits in range(256):
        body[HEAD_AT + 1] = bits
        (update,) = kind.decode(seal(body), HEADER).updates
        assert update.flags == BookFlags(bits & 7)


@each_kind
def test_reserved_flags_are_written_as_zero(kind: Kind) -> None:
    update = replace(kind.block.updates[0], flags=BookFlags(0xF8))
    written = kind.encode(replace(kind.block, updates=[update]), HEADER)
    plain = kind.encode(replace(kind.block, updates=[replace(update, flags=BookFlags(0))]), HEADER)
    assert written == plain
