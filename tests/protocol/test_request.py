import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from fanout.protocol import (
    LimitExceededError,
    MalformedError,
    NotRepresentableError,
    PeerError,
    Position,
    Request,
    SlowPolicy,
    Start,
    decode_request,
    encode_request,
)
from fanout.protocol.constants import MAX_SEQ, U64_MAX
from fanout.protocol.request import MAX_REQUEST_BYTES

POSITIONS = st.builds(Position, epoch_ns=st.integers(0, U64_MAX), seq=st.integers(1, MAX_SEQ))
REQUESTS = st.builds(
    Request,
    start=st.sampled_from(Start) | POSITIONS,
    slow=st.sampled_from(SlowPolicy),
    token=st.none() | st.text(max_size=100),
)


@given(REQUESTS)
def test_a_request_comes_back_as_it_was(request: Request) -> None:
    assert decode_request(encode_request(request)) == request


def test_an_empty_request_asks_for_live_records_and_to_skip() -> None:
    assert decode_request(b"{}") == Request(start=Start.LIVE, slow=SlowPolicy.SKIP, token=None)
    assert encode_request(Request()) == b"{}"


def test_members_of_a_later_version_are_ignored() -> None:
    later = b'{"start":{"epoch_ns":7,"seq":5,"of":"BTCUSDT"},"compress":[1,2]}'
    assert decode_request(later) == Request(start=Position(epoch_ns=7, seq=5))


def test_numbers_may_be_strings_for_languages_that_have_only_doubles() -> None:
    text = b'{"start":{"epoch_ns":"1795219200000000001","seq":"5"}}'
    assert decode_request(text).start == Position(epoch_ns=1_795_219_200_000_000_001, seq=5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not a request"),
        (b"GET / HTTP/1.1\r\n", "not a request"),
        (b"[]", "not a request"),
        (b"[" * 4_000, "not a request"),
        (b'{"x":' + b"[" * 4_000, "not a request"),
        (b'{"token":"\xff"}', "not a request"),
        (b'{"token":5}', r"\$\.token"),
        (b'{"start":"now"}', "'now'"),
        (b'{"start":null}', r"\$\.start"),
        (b'{"slow":"wait"}', "'wait'"),
        (b'{"start":{"epoch_ns":7}}', "seq"),
        (b'{"start":{"epoch_ns":7,"seq":0}}', "out of range"),
        (b'{"start":{"epoch_ns":-1,"seq":1}}', "out of range"),
        (b'{"start":{"epoch_ns":7,"seq":%d}}' % (MAX_SEQ + 1), "out of range"),
        (b'{"start":{"epoch_ns":%d,"seq":1}}' % (U64_MAX + 1), "out of range"),
    ],
)
def test_an_invalid_request_is_refused_with_a_reason(text: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        decode_request(text)


def test_a_request_that_is_too_long_is_refused_on_both_sides() -> None:
    request = Request(token="x" * MAX_REQUEST_BYTES)
    with pytest.raises(NotRepresentableError, match="exceeds 4,096"):
        encode_request(request)
    with pytest.raises(LimitExceededError, match="exceeds 4,096"):
        decode_request(json.dumps({"token": request.token}).encode())


def test_one_of_the_longest_size_passes_on_both_sides() -> None:
    request = Request(token="x" * (MAX_REQUEST_BYTES - len(b'{"token":""}')))
    payload = encode_request(request)
    assert len(payload) == MAX_REQUEST_BYTES
    assert decode_request(payload) == request


def test_a_token_that_json_cannot_say_is_not_asked_for() -> None:
    with pytest.raises(NotRepresentableError, match="JSON cannot say"):
        encode_request(Request(token="\ud800"))


@pytest.mark.parametrize(
    ("epoch_ns", "seq", "what"),
    [
        (1, 0, "seq"),
        (1, MAX_SEQ + 1, "seq"),
        (-1, 1, "epoch_ns"),
        (U64_MAX + 1, 1, "epoch_ns"),
        (10**5_000, 1, "epoch_ns"),
    ],
    ids=range(5),
)
def test_a_place_that_cannot_be_is_not_asked_for(epoch_ns: int, seq: int, what: str) -> None:
    with pytest.raises(NotRepresentableError, match=f"position: {what} is out of range"):
        encode_request(Request(start=Position(epoch_ns=epoch_ns, seq=seq)))


@given(st.binary(max_size=200))
def test_garbage_raises_only_a_peer_error(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        decode_request(data)


def test_a_token_is_not_shown_but_whether_there_is_one() -> None:
    shown = (
        "Request(start=<Start.LIVE: 'live'>, slow=<SlowPolicy.SKIP: 'skip'>, token={}, channel='')"
    )
    assert repr(Request(token="hunter2")) == shown.format("***")
    assert repr(Request()) == shown.format("None")
    assert "token='***'" in pretty_repr(Request(token="hunter2"))
    assert "hunter2" not in pretty_repr(Request(token="hunter2"))
    assert "token=None" in pretty_repr(Request())
