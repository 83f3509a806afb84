"""What holds for blocks of every kind: their beginning, their numbers, and what is refused."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from fanout.protocol import (
    MAX_BLOCK_QUOTES,
    MAX_BLOCK_ROWS,
    MAX_BLOCK_TRADES,
    MAX_BLOCK_UPDATES,
    BlockFlags,
    Header,
    LimitExceededError,
    Loss,
    LossReason,
    MalformedError,
    NotRepresentableError,
    PeerError,
    decode_block,
    decode_book,
    decode_event,
    decode_features,
    decode_orders,
    decode_quotes,
    encode_block,
    encode_book,
    encode_event,
    encode_features,
    encode_orders,
    encode_quotes,
)
from fanout.protocol.blocks import (
    BLOCK_KINDS,
    UPDATE_DECODERS,
    block_from,
    by_symbol,
    divided,
    rest_from,
)
from fanout.protocol.constants import MAX_SEQ
from fanout.protocol.framing import seal, unseal
from fanout.protocol.joining import run_of
from fanout.protocol.runs import renumbered
from tests.protocol.golden import (
    BOOK,
    EVENTS,
    FEATURES,
    LIFE,
    ORDERS,
    QUOTES,
    ROWS_HEADER,
    TRADES,
    decode,
    payload,
    received,
)

COUNT_AT, FIRST_SEQ_AT = 3, 5

HEADER = ROWS_HEADER
"""Blocks of all kinds can be made under it."""


class Kind(NamedTuple):
    """How blocks of one kind are written and read, and one of them."""

    encode: Callable[[Any, Header], bytes]
    decode: Callable[[bytes, Header], Any]
    block: Any
    field: str
    """The name of the field with the records."""
    most: int
    items: str
    """What the records are called where a block is refused."""

    @property
    def records(self) -> Any:
        return getattr(self.block, self.field)

    def changed(self, **changes: Any) -> Any:
        """The block with other fields, and its records by the name of `records`."""
        if "records" in changes:
            changes[self.field] = changes.pop("records")
        return replace(self.block, **changes)

    def body(self) -> bytearray:
        return bytearray(unseal(self.encode(self.block, HEADER)))


KINDS = {
    "trades": Kind(encode_block, decode_block, TRADES, "trades", MAX_BLOCK_TRADES, "trades"),
    "quotes": Kind(encode_quotes, decode_quotes, QUOTES, "quotes", MAX_BLOCK_QUOTES, "quotes"),
    "book": Kind(encode_book, decode_book, BOOK, "updates", MAX_BLOCK_UPDATES, "book updates"),
    "orders": Kind(
        encode_orders, decode_orders, ORDERS, "updates", MAX_BLOCK_UPDATES, "order updates"
    ),
    "features": Kind(encode_features, decode_features, FEATURES, "rows", MAX_BLOCK_ROWS, "rows"),
}

each_kind = pytest.mark.parametrize("kind", [pytest.param(v, id=k) for k, v in KINDS.items()])


@each_kind
@pytest.mark.parametrize("count", [0, 1])
def test_a_block_with_too_few_or_too_many_records_is_refused(kind: Kind, count: int) -> None:
    records = kind.records[:1] * (kind.most + 1) * count
    said = f"{len(records):,} {kind.field}: 1 to {kind.most:,} fit"
    with pytest.raises(NotRepresentableError, match=said):
        kind.encode(kind.changed(records=records), HEADER)


@each_kind
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"first_seq": 0}, "number 0 is out of range", id="number 0"),
        pytest.param({"first_seq": MAX_SEQ}, "out of range", id="a last number over the limit"),
        pytest.param({"received_ns": -1}, "received_ns -1", id="negative receive time"),
        pytest.param({"received_ns": 2**64}, "received_ns 184", id="receive time over 64 bits"),
        pytest.param({"held_ns": -1}, "-1 does not fit", id="negative hold"),
        pytest.param({"held_ns": 2**64}, "18446744073709551616", id="hold over 64 bits"),
    ],
)
def test_a_block_that_does_not_fit_is_refused(
    kind: Kind, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(NotRepresentableError, match=said):
        kind.encode(kind.changed(**changes), HEADER)


@each_kind
def test_the_last_number_of_a_block_may_be_the_last_of_all(kind: Kind) -> None:
    last = MAX_SEQ - len(kind.records) + 1
    block = kind.changed(first_seq=last)
    assert kind.decode(kind.encode(block, HEADER), HEADER).first_seq == last
    with pytest.raises(NotRepresentableError, match="out of range"):
        kind.encode(kind.changed(first_seq=last + 1), HEADER)


@each_kind
@pytest.mark.parametrize("index", [2, -1])
def test_a_record_of_an_instrument_that_the_header_does_not_have_is_refused(
    kind: Kind, index: int
) -> None:
    record = replace(kind.records[0], instrument=replace(LIFE, index=index))
    with pytest.raises(NotRepresentableError, match=f"index {index} is not in the header"):
        kind.encode(kind.changed(records=[record]), HEADER)


@each_kind
def test_a_count_over_the_limit_is_refused_before_anything_is_read(kind: Kind) -> None:
    body = kind.body()
    body[COUNT_AT : COUNT_AT + 2] = (kind.most + 1).to_bytes(2, "little")
    with pytest.raises(LimitExceededError, match=f"block of {kind.most + 1:,} {kind.items}"):
        kind.decode(seal(body), HEADER)


@each_kind
def test_more_records_than_there_are_is_refused(kind: Kind) -> None:
    body = kind.body()
    body[COUNT_AT] += 1
    with pytest.raises(MalformedError, match="cut short"):
        kind.decode(seal(body), HEADER)


@each_kind
def test_a_number_out_of_range_is_refused(kind: Kind) -> None:
    body = kind.body()
    one_too_high = MAX_SEQ - len(kind.records) + 2
    for first_seq in (0, one_too_high, MAX_SEQ, MAX_SEQ + 1, 2**64 - 1):
        body[FIRST_SEQ_AT : FIRST_SEQ_AT + 8] = first_seq.to_bytes(8, "little")
        with pytest.raises(MalformedError, match="out of range"):
            kind.decode(seal(body), HEADER)


@each_kind
def test_an_instrument_that_is_not_in_the_header_is_refused(kind: Kind) -> None:
    one = replace(HEADER, instruments=HEADER.instruments[:1], references=HEADER.references[:1])
    with pytest.raises(PeerError, match="index 1 is not in the header"):
        kind.decode(kind.encode(kind.block, HEADER), one)


@each_kind
def test_reserved_flags_are_ignored(kind: Kind) -> None:
    body = kind.body()
    for bits in range(256):
        body[1] = bits
        assert kind.decode(seal(body), HEADER).flags == BlockFlags(bits & 3)


@pytest.mark.parametrize("name", [*KINDS, "status"])
@each_kind
def test_a_frame_of_another_kind_is_refused(kind: Kind, name: str) -> None:
    if KINDS.get(name) is kind:
        return
    with pytest.raises(MalformedError, match=f"is not a block of {kind.items}"):
        kind.decode(payload(name), HEADER)


@each_kind
def test_records_of_a_snapshot_have_no_numbers(kind: Kind) -> None:
    block = kind.changed(flags=BlockFlags.SNAPSHOT, received_ns=0)
    got = kind.decode(kind.encode(block, HEADER), HEADER)
    assert (got.is_snapshot, got.first_seq) == (True, block.first_seq)
    numbers = [(each.seq, each.received_ns) for each in getattr(got, kind.field)]
    assert numbers == [(0, 0)] * len(kind.records)


@each_kind
def test_a_snapshot_may_come_before_the_last_number_whatever_it_holds(kind: Kind) -> None:
    """Its records take no numbers: only the one that follows has to fit."""
    block = kind.changed(first_seq=MAX_SEQ, received_ns=0, flags=BlockFlags.SNAPSHOT)
    assert kind.decode(kind.encode(block, HEADER), HEADER).first_seq == MAX_SEQ
    with pytest.raises(NotRepresentableError, match="out of range"):
        kind.encode(replace(block, flags=BlockFlags.NONE), HEADER)


@pytest.mark.parametrize("name", KINDS)
def test_a_block_can_begin_at_any_of_its_records(name: str) -> None:
    whole: Any = decode(name, payload(name))
    records = getattr(whole, KINDS[name].field)
    for place in range(len(records)):
        rest = block_from(payload(name), 1_001 + place, HEADER)
        expected = replace(whole, first_seq=1_001 + place, **{KINDS[name].field: records[place:]})
        assert decode(name, rest) == expected
        assert run_of(rest) == (1_001 + place, len(records) - place)


def test_so_can_the_first_block_of_all() -> None:
    block = encode_block(replace(TRADES, first_seq=1), HEADER)
    assert decode_block(block_from(block, 3, HEADER), HEADER).trades == [
        replace(received(TRADES).trades[2], seq=3)
    ]


@pytest.mark.parametrize("seq", [1, 1_001, MAX_SEQ])
@pytest.mark.parametrize("name", KINDS)
def test_a_snapshot_renumbered_is_the_snapshot_encoded_with_that_number(
    name: str, seq: int
) -> None:
    snapshot = replace(decode(name, payload(name)), flags=BlockFlags.SNAPSHOT)
    encoded = KINDS[name].encode(snapshot, HEADER)
    assert renumbered(encoded, seq) == KINDS[name].encode(replace(snapshot, first_seq=seq), HEADER)


@pytest.mark.parametrize("name", EVENTS)
def test_what_is_no_block_has_no_rest(name: str) -> None:
    with pytest.raises(MalformedError):
        block_from(payload(name), 1_001, HEADER)


def test_a_loss_has_a_rest_as_a_block_has() -> None:
    lost = Loss(first_seq=5, last_seq=9, reason=LossReason.SLOW)
    rest = rest_from(encode_event(lost), 7, HEADER)
    assert decode_event(rest, HEADER) == replace(lost, first_seq=7)
    trades = payload("trades")
    assert rest_from(trades, 1_002, HEADER) == block_from(trades, 1_002, HEADER)
    with pytest.raises(MalformedError, match="is no block"):
        rest_from(payload("status"), 1_001, HEADER)


def test_a_block_of_a_kind_to_come_has_no_rest() -> None:
    with pytest.raises(MalformedError, match="a frame of kind 0x15 is no block"):
        block_from(seal(b"\x15" + payload("trades")[1:-4]), 1_002, HEADER)


def test_every_kind_of_block_is_known_by_its_first_byte() -> None:
    assert {payload(name)[0] for name in KINDS} == BLOCK_KINDS
    assert BLOCK_KINDS - set(UPDATE_DECODERS) == {payload("trades")[0]}
    for name in ("quotes", "book", "orders", "features"):
        decoder = UPDATE_DECODERS[payload(name)[0]]
        assert decoder(payload(name), HEADER).records == getattr(
            decode(name, payload(name)), KINDS[name].field
        )


@pytest.mark.parametrize("name", ["trades", "quotes", "book", "orders", "features"])
def test_a_block_is_divided_into_blocks_with_the_same_records(name: str) -> None:
    whole = payload(name)
    assert list(divided(whole, HEADER, len(whole))) == [whole]
    parts = [decode(name, each) for each in divided(whole, HEADER, len(whole) - 1)]
    assert len(parts) > 1
    records = "trades" if name == "trades" else "records"
    found = [each for part in parts for each in getattr(part, records)]
    assert found == list(getattr(decode(name, whole), records))
    assert parts[0].first_seq == 1_001
    assert list(divided(whole, HEADER, 20)) == []


def test_only_a_block_can_be_divided() -> None:
    with pytest.raises(MalformedError, match="kind 0x20 is no block"):
        list(divided(payload("status"), HEADER, 10))


def test_a_record_of_a_snapshot_that_is_too_long_is_left_out() -> None:
    book = replace(BOOK, flags=BlockFlags.SNAPSHOT)
    assert list(divided(encode_book(book, HEADER), HEADER, 20)) == []
    quotes = replace(QUOTES, flags=BlockFlags.SNAPSHOT)
    assert list(divided(encode_quotes(quotes, HEADER), HEADER, 20)) == []


@pytest.mark.parametrize("name", ["trades", "quotes", "book", "orders", "features"])
def test_a_block_is_divided_by_symbol_into_runs_of_numbers(name: str) -> None:
    whole = payload(name)
    records = "trades" if name == "trades" else "records"
    parts = by_symbol(whole, HEADER)
    found = []
    for symbol, payloads in parts.items():
        for each in payloads:
            its = getattr(decode(name, each), records)
            assert {record.instrument.symbol for record in its} == {symbol}
            assert [record.seq for record in its] == list(range(its[0].seq, its[-1].seq + 1))
            found += its
    wanted = list(getattr(decode(name, whole), records))
    assert sorted(found, key=lambda record: record.seq) == wanted
    assert list(parts) == list(dict.fromkeys(each.instrument.symbol for each in wanted))
    first, (alone, *_) = next(iter(parts.items()))
    assert by_symbol(alone, HEADER) == {first: [alone]}


def test_only_a_block_can_be_divided_by_symbol() -> None:
    with pytest.raises(MalformedError, match="kind 0x20 is no block"):
        by_symbol(payload("status"), HEADER)
