import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    Event,
    FeedState,
    Header,
    MalformedError,
    NotRepresentableError,
    decode_event,
    encode_event,
)
from fanout.protocol.constants import MAX_SEQ
from fanout.protocol.framing import seal, unseal
from tests.protocol import golden
from tests.protocol.golden import EVENTS, HEADER
from tests.protocol.strategies import events, headers


@given(headers().flatmap(lambda header: st.tuples(st.just(header), events(header))))
def test_any_event_comes_back(both: tuple[Header, Event]) -> None:
    header, event = both
    assert decode_event(encode_event(event), header) == event


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(replace(EVENTS["status"], seq=-1), id="negative number"),
        pytest.param(replace(EVENTS["status"], seq=0), id="number 0"),
        pytest.param(replace(EVENTS["loss"], last_seq=2**63), id="number over its limit"),
        pytest.param(replace(EVENTS["status"], since_ns=2**64), id="time over 64 bits"),
        pytest.param(replace(EVENTS["status"], why="é" * 128), id="words over 255 bytes"),
        pytest.param(replace(EVENTS["gap"], first_id=2, last_id=1), id="empty gap"),
        pytest.param(replace(EVENTS["loss"], first_seq=2, last_seq=1), id="empty loss"),
        pytest.param(replace(EVENTS["heartbeat"], next_seq=2**64), id="number over 64 bits"),
        pytest.param(replace(EVENTS["end"], retry_ms=2**32 - 1), id="a wait that means never"),
        pytest.param(replace(EVENTS["end"], retry_ms=2**32), id="wait over 32 bits"),
    ],
)
def test_an_event_that_does_not_fit_is_refused(event: Event) -> None:
    with pytest.raises(NotRepresentableError):
        encode_event(event)


@pytest.mark.parametrize(
    "event",
    [
        replace(EVENTS["status"], seq=MAX_SEQ),
        replace(EVENTS["gap"], seq=1, first_id=0, last_id=2**64 - 1),
        replace(EVENTS["loss"], first_seq=1, last_seq=MAX_SEQ),
        replace(EVENTS["heartbeat"], next_seq=MAX_SEQ),
        replace(EVENTS["end"], last_seq=0, retry_ms=0),
        replace(EVENTS["end"], last_seq=MAX_SEQ - 1, retry_ms=2**32 - 2),
    ],
)
def test_numbers_at_their_limits_come_back(event: Event) -> None:
    assert decode_event(encode_event(event), HEADER) == event


@pytest.mark.parametrize("last_seq", [-1, MAX_SEQ])
def test_an_end_after_the_last_number_has_no_next_one(last_seq: int) -> None:
    with pytest.raises(NotRepresentableError, match="out of range"):
        encode_event(replace(EVENTS["end"], last_seq=last_seq))


def test_a_status_of_the_whole_feed_has_no_instrument() -> None:
    event = replace(EVENTS["status"], instrument=None)
    assert decode_event(encode_event(event), HEADER) == event


@pytest.mark.parametrize("name", ["status", "gap"])
def test_an_instrument_that_is_not_in_the_header_is_refused(name: str) -> None:
    one = replace(HEADER, instruments=HEADER.instruments[:1], references=HEADER.references[:1])
    event = replace(EVENTS[name], instrument=HEADER.instruments[1])
    with pytest.raises(MalformedError, match="not in the header"):
        decode_event(encode_event(event), one)


@pytest.mark.parametrize(("name", "offset"), [("gap", 12), ("loss", 1)])
def test_an_empty_range_is_refused(name: str, offset: int) -> None:
    body = bytearray(unseal(golden.payload(name)))
    body[offset : offset + 8] = b"\xff" * 8
    with pytest.raises(MalformedError, match="empty"):
        decode_event(seal(body), HEADER)


def test_an_unknown_state_is_read_as_other() -> None:
    body = bytearray(unseal(golden.payload("status")))
    body[11] = 200
    event = decode_event(seal(body), HEADER)
    assert getattr(event, "state", None) is FeedState.OTHER


@pytest.mark.parametrize("kind", [0x10, 0x02, 0x25, 0x26, 0xFF])
def test_an_invalid_event_is_refused(kind: int) -> None:
    with pytest.raises(MalformedError, match="not an event"):
        decode_event(seal(bytes([kind]) + bytes(40)), HEADER)


@pytest.mark.parametrize("index", [-1, 1_024, 65_535])
def test_an_index_outside_the_header_is_refused(index: int) -> None:
    """65,535 is how the whole feed is written: an instrument of that index would become it."""
    nowhere = replace(golden.BTC, index=index)
    for name in ("status", "gap"):
        with pytest.raises(NotRepresentableError, match=f"index {index}"):
            encode_event(replace(EVENTS[name], instrument=nowhere))
