"""Where the numbering stands at a frame, whatever kind it is of."""

import pytest

from fanout.protocol import MalformedError
from fanout.protocol.framing import seal
from fanout.protocol.joining import first_seq, run_of, span_of
from tests.protocol.golden import payload


@pytest.mark.parametrize(
    ("name", "seq"),
    [
        ("header", 1_001),
        ("trades", 1_001),
        ("quotes", 1_001),
        ("book", 1_001),
        ("orders", 1_001),
        ("status", 1_004),
        ("gap", 1_005),
        ("loss", 1_006),
        ("heartbeat", 2_006),
        ("end", 2_006),
    ],
)
def test_a_frame_has_its_own_number_or_the_next_one(name: str, seq: int) -> None:
    assert first_seq(payload(name)) == seq


@pytest.mark.parametrize("kind", [0, 1, 0x30])
def test_a_frame_of_an_unknown_kind_has_no_first_number(kind: int) -> None:
    assert first_seq(seal(bytes([kind]) + b"new")) is None


def test_instruments_have_no_first_number() -> None:
    assert first_seq(payload("instruments")) is None


@pytest.mark.parametrize("kind", [0x10, 0x13, 0x1F])
def test_records_of_any_kind_say_their_first_number_and_how_many_they_are(kind: int) -> None:
    body = bytes([kind, 0, 0, 3, 0]) + (77).to_bytes(8, "little")
    assert (first_seq(seal(body)), run_of(seal(body))) == (77, (77, 3))
    snapshot = bytes([kind, 2]) + body[2:]
    assert (first_seq(seal(snapshot)), run_of(seal(snapshot))) == (77, (77, 0))


@pytest.mark.parametrize(
    "body",
    [
        b"\x13" + bytes(11),
        b"\x13\0\0\0\0" + (5).to_bytes(8, "little"),
        b"\x13\0\0\1\0" + bytes(8),
        b"\x22" + bytes(7),
        b"\x22" + bytes(8),
        b"\x23" + b"\xff" * 8,
        b"\x24" + (2**63 - 1).to_bytes(8, "little"),
    ],
)
def test_numbers_that_cannot_be_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        first_seq(seal(body))


@pytest.mark.parametrize(
    ("name", "first", "stop"),
    [
        ("header", 1_001, 1_001),
        ("instruments", 9, 9),
        ("trades", 1_001, 1_004),
        ("snapshot", 9, 9),
        ("orders", 1_001, 1_003),
        ("status", 1_004, 1_005),
        ("gap", 1_005, 1_006),
        ("loss", 1_006, 2_006),
        ("heartbeat", 2_006, 2_006),
        ("end", 2_006, 2_006),
    ],
)
def test_a_frame_takes_numbers_or_says_which_one_is_due(name: str, first: int, stop: int) -> None:
    assert span_of(payload(name), 9) == (first, stop)


def test_a_frame_of_an_unknown_kind_leaves_the_number_that_is_due() -> None:
    assert span_of(seal(b"\x30new"), 9) == (9, 9)
    with pytest.raises(MalformedError):
        span_of(b"\x30new", 9)


@pytest.mark.parametrize("last", [0, 4, 2**63])
def test_a_loss_that_is_no_range_is_refused(last: int) -> None:
    loss = b"\x22" + (5).to_bytes(8, "little") + last.to_bytes(8, "little") + b"\0"
    with pytest.raises(MalformedError, match="is no range"):
        span_of(seal(loss), 5)
    with pytest.raises(MalformedError, match="is cut short"):
        span_of(seal(loss[:12]), 5)
