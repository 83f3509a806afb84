"""Where the numbering stands at a frame, whatever kind it is of."""

import pytest
from msgspec.structs import replace

from protocol import MalformedError, decode_block
from protocol.framing import seal
from protocol.joining import block_from, first_seq
from tests.protocol.golden import EVENTS, HEADER, TRADES, payload, received


@pytest.mark.parametrize(
    ("name", "seq"),
    [
        ("header", 1_001),
        ("trades", 1_001),
        ("status", 1_004),
        ("gap", 1_005),
        ("loss", 1_006),
        ("heartbeat", 2_006),
        ("end", 2_006),
    ],
)
def test_a_frame_says_its_number_or_the_one_that_comes_next(name: str, seq: int) -> None:
    assert first_seq(payload(name), HEADER) == seq


def test_a_frame_of_an_unknown_kind_says_nothing() -> None:
    assert first_seq(seal(b"\x30new"), HEADER) is None


@pytest.mark.parametrize("place", range(3))
def test_a_block_can_begin_at_any_of_its_trades(place: int) -> None:
    rest = decode_block(block_from(payload("trades"), 1_001 + place, HEADER), HEADER)
    whole = received(TRADES)
    assert rest == replace(whole, first_seq=1_001 + place, trades=whole.trades[place:])


@pytest.mark.parametrize("name", EVENTS)
def test_what_is_no_block_has_no_rest(name: str) -> None:
    with pytest.raises(MalformedError):
        block_from(payload(name), 1_001, HEADER)
