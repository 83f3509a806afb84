"""Live requests: what is acked, what is refused, and what ends the connection."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.simulator.dialects.base import Answer, Session
from fanout.simulator.dialects.binance import requests
from fanout.simulator.dialects.binance.requests import (
    INVALID_REQUEST,
    MAX_STREAMS,
)

VARIANTS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
SUBSCRIBE = '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}'


def answer(session: Session, text: str) -> Answer:
    """With the ids that futures take."""
    return requests.answer(session, text, requests.is_unsigned)


def ask(method: str, *params: object, session: Session | None = None) -> Answer:
    request = {"method": method, "params": list(params), "id": 7}
    return answer(session or Session(), json.dumps(request))


def result(given: Answer) -> object:
    return json.loads(given.replies[0])["result"]


def error(given: Answer) -> tuple[int, str]:
    found = json.loads(given.replies[0])["error"]
    return found["code"], found["msg"]


def names(count: int) -> list[str]:
    return [f"s{number}usdt@trade" for number in range(count)]


def test_a_subscription_is_acked_with_null_and_its_id() -> None:
    given = ask("SUBSCRIBE", "btcusdt@trade")
    assert given.replies[0] == '{"result":null,"id":7}'
    assert given.session.streams == ("btcusdt@trade",)
    assert given.close is None


@pytest.mark.parametrize("name", ["nosuch@trade", "btcusdt@nothing", "BTCUSDT@trade", "", "币@x"])
def test_an_unknown_stream_name_is_acked_and_listed(name: str) -> None:
    session = ask("SUBSCRIBE", name).session
    assert result(ask("LIST_SUBSCRIPTIONS", session=session)) == [name]


def test_a_subscription_to_no_streams_is_acked() -> None:
    assert result(ask("SUBSCRIBE")) is None


def test_names_are_listed_once_in_the_order_requested() -> None:
    session = ask("SUBSCRIBE", "b@trade", "a@trade", "b@trade").session
    session = ask("SUBSCRIBE", "a@trade", "c@trade", session=session).session
    assert session.streams == ("b@trade", "a@trade", "c@trade")


def test_unsubscribing_removes_a_name() -> None:
    given = ask("UNSUBSCRIBE", "a@trade", session=Session(("a@trade", "b@trade")))
    assert result(given) is None
    assert given.session.streams == ("b@trade",)


def test_unsubscribing_an_unsubscribed_name_is_acked() -> None:
    given = ask("UNSUBSCRIBE", "a@trade", session=Session(("b@trade",)))
    assert result(given) is None
    assert given.session.streams == ("b@trade",)


def test_1024_streams_are_accepted() -> None:
    given = ask("SUBSCRIBE", *names(MAX_STREAMS))
    assert given.close is None
    assert len(given.session.streams) == MAX_STREAMS


def test_the_1025th_stream_ends_the_connection() -> None:
    full = ask("SUBSCRIBE", *names(MAX_STREAMS)).session
    given = ask("SUBSCRIBE", "onemore@trade", session=full)
    assert given.replies[0] == '{"error":{"code":4,"msg":"Too many subscriptions"},"id":7}'
    assert given.close == INVALID_REQUEST
    assert (given.close.code, given.close.reason) == (1008, "Invalid request")


def test_a_stream_subscribed_again_does_not_count_twice() -> None:
    full = ask("SUBSCRIBE", *names(MAX_STREAMS)).session
    assert ask("SUBSCRIBE", "s0usdt@trade", session=full).close is None


def test_the_envelope_can_be_queried_and_changed() -> None:
    session = ask("SET_PROPERTY", "combined", True).session
    assert session.form.combined
    assert result(ask("GET_PROPERTY", "combined", session=session)) is True
    assert result(ask("GET_PROPERTY", "combined")) is False


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("SET_PROPERTY", ["colour", True], (0, "Unknown property")),
        ("GET_PROPERTY", ["colour"], (0, "Unknown property")),
        ("SET_PROPERTY", ["combined", "yes"], (1, "Invalid value type: expected Boolean")),
        ("SET_PROPERTY", ["combined", 1], (1, "Invalid value type: expected Boolean")),
        ("SET_PROPERTY", ["combined"], (1, "Invalid value type: expected Boolean")),
        ("SET_PROPERTY", [5, True], (2, "Invalid request: property name must be a string")),
        ("SET_PROPERTY", [], (2, "Invalid request: property name must be a string")),
        ("GET_PROPERTY", [], (2, "Invalid request: property name must be a string")),
        ("GET_PROPERTY", [None], (2, "Invalid request: property name must be a string")),
        ("GET_PROPERTY", ["combined", 1], (2, "Invalid request: too many parameters")),
        ("SET_PROPERTY", ["combined", True, 1], (2, "Invalid request: too many parameters")),
        ("LIST_SUBSCRIPTIONS", ["x"], (2, "Invalid request: too many parameters")),
        ("SUBSCRIBE", ["a@trade", 5], (2, "Invalid request: params must be stream names")),
        ("UNSUBSCRIBE", [["a@trade"]], (2, "Invalid request: params must be stream names")),
    ],
)
def test_a_wrong_parameter_is_refused_and_changes_nothing(
    method: str, params: list[object], expected: tuple[int, str]
) -> None:
    given = ask(method, *params, session=Session(("a@trade",)))
    assert error(given) == expected
    assert given.session == Session(("a@trade",))
    assert given.close is None


@pytest.mark.parametrize("request_id", ["-1", "1.5", '"1"', "null", "true", "[]", str(2**64)])
def test_an_id_that_is_not_an_unsigned_integer_is_refused(request_id: str) -> None:
    given = answer(Session(), f'{{"method":"LIST_SUBSCRIPTIONS","id":{request_id}}}')
    message = "Invalid request: request ID must be an unsigned integer"
    assert json.loads(given.replies[0]) == {"error": {"code": 2, "msg": message}}


def test_a_request_without_an_id_is_refused() -> None:
    assert error(answer(Session(), '{"method":"LIST_SUBSCRIPTIONS"}'))[0] == 2


def test_the_error_for_an_unknown_method_lists_the_known_ones_and_the_position() -> None:
    given = answer(Session(), '{"method": "SUBSCRIBED","params":[],"id":1}')
    message = f"unknown variant `SUBSCRIBED`, expected one of {VARIANTS} at line 1 column 23"
    assert error(given) == (2, f"Invalid request: {message}")


@pytest.mark.parametrize("method", ["null", "5", '["SUBSCRIBE"]', '"subscribe"', '"\\u0041"'])
def test_a_method_that_is_not_a_string_is_refused(method: str) -> None:
    assert error(answer(Session(), f'{{"method":{method},"id":1}}'))[0] == 2


@pytest.mark.parametrize("text", ['{"id":1,"params":[]}', "{}", "[]", "5", '"text"', "null"])
def test_a_request_without_a_method_is_refused_and_the_connection_stays(text: str) -> None:
    given = answer(Session(), text)
    at = f"line 1 column {len(text)}"
    assert error(given) == (2, f"Invalid request: missing field `method` at {at}")
    assert given.close is None


@pytest.mark.parametrize("params", ["{}", "5", '"btcusdt@trade"', "null"])
def test_params_that_are_no_array_are_refused(params: str) -> None:
    text = f'{{"method":"SUBSCRIBE","params":{params},"id":1}}'
    assert error(answer(Session(), text)) == (2, "Invalid request: params must be an array")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("hello", "line 1 column 1"),
        ('{"method":\n  oops}', "line 2 column 3"),
        ('{"id":"币安",x}', "line 1 column 12"),
        ("", "line 1 column 1"),
    ],
)
def test_the_error_for_invalid_json_has_the_position_and_ends_the_connection(
    text: str, at: str
) -> None:
    given = answer(Session(), text)
    assert error(given) == (3, f"Invalid JSON: expected value at {at}")
    assert "id" not in json.loads(given.replies[0])
    assert given.close == INVALID_REQUEST


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, '"\\ud800"', "1" * 9_000])
def test_hostile_json_is_answered_like_any_other(text: str) -> None:
    assert error(answer(Session(), text))[0] in (2, 3)


@pytest.mark.parametrize("length", range(len(SUBSCRIBE)))
def test_a_request_cut_short_anywhere_is_invalid_json(length: int) -> None:
    assert error(answer(Session(), SUBSCRIBE[:length]))[0] == 3


@pytest.mark.parametrize("garbage", ["x", "}", "{}", "\x00", "币"])
def test_a_request_followed_by_garbage_is_invalid_json(garbage: str) -> None:
    assert error(answer(Session(), SUBSCRIBE + garbage))[0] == 3


def test_a_request_with_any_bit_flipped_is_answered() -> None:
    for position in range(len(SUBSCRIBE) * 8):
        flipped = bytearray(SUBSCRIBE.encode())
        flipped[position // 8] ^= 1 << position % 8
        assert answer(Session(), flipped.decode(errors="replace")).replies[0]


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_text_gets_an_answer(text: str) -> None:
    assert json.loads(answer(Session(), text).replies[0])
