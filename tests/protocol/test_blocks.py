"""What holds for blocks of every kind."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.protocol import (
    BlockFlags,
    Header,
    MalformedError,
    decode_block,
    encode_block,
    encode_book,
    encode_orders,
    encode_quotes,
)
from fanout.protocol.blocks import BLOCK_KINDS, UPDATE_DECODERS, block_from
from fanout.protocol.constants import MAX_SEQ
from fanout.protocol.framing import seal
from fanout.protocol.joining import run_of
from fanout.protocol.runs import renumbered
from tests.protocol.golden import EVENTS, HEADER, TRADES, decode, payload, received

ENCODERS: dict[str, Callable[[Any, Header], bytes]] = {
    "trades": encode_block,
    "quotes": encode_quotes,
    "book": encode_book,
    "orders": encode_orders,
}
ITEMS = {"trades": "trades", "quotes": "quotes", "book": "updates", "orders": "updates"}


@pytest.mark.parametrize("name", ITEMS)
def test_a_block_can_begin_at_any_of_its_records(name: str) -> None:
    whole: Any = decode(name, payload(name))
    records = getattr(whole, ITEMS[name])
    for place in range(len(records)):
        rest = block_from(payload(name), 1_001 + place, HEADER)
        expected = replace(whole, first_seq=1_001 + place, **{ITEMS[name]: records[place:]})
        assert decode(name, rest) == expected
        assert run_of(rest) == (1_001 + place, len(records) - place)


def test_so_can_the_first_block_of_all() -> None:
    block = encode_block(replace(TRADES, first_seq=1), HEADER)
    assert decode_block(block_from(block, 3, HEADER), HEADER).trades == [
        replace(received(TRADES).trades[2], seq=3)
    ]


@pytest.mark.parametrize("seq", [1, 1_001, MAX_SEQ])
@pytest.mark.parametrize("name", ITEMS)
def test_a_snapshot_renumbered_is_the_snapshot_encoded_with_that_number(
    name: str, seq: int
) -> None:
    snapshot = replace(decode(name, payload(name)), flags=BlockFlags.SNAPSHOT)
    encoded = ENCODERS[name](snapshot, HEADER)
    assert renumbered(encoded, seq) == ENCODERS[name](replace(snapshot, first_seq=seq), HEADER)


@pytest.mark.parametrize("name", EVENTS)
def test_what_is_no_block_has_no_rest(name: str) -> None:
    with pytest.raises(MalformedError):
        block_from(payload(name), 1_001, HEADER)


def test_a_block_of_a_kind_to_come_has_no_rest() -> None:
    with pytest.raises(MalformedError, match="a frame of kind 0x14 is no block"):
        block_from(seal(b"\x14" + payload("trades")[1:-4]), 1_002, HEADER)


def test_every_kind_of_block_is_known_by_its_first_byte() -> None:
    assert {payload(name)[0] for name in ITEMS} == BLOCK_KINDS
    assert BLOCK_KINDS - set(UPDATE_DECODERS) == {payload("trades")[0]}
    for name in ("quotes", "book", "orders"):
        decoder = UPDATE_DECODERS[payload(name)[0]]
        assert decoder(payload(name), HEADER).records == getattr(
            decode(name, payload(name)), ITEMS[name]
        )
