"""Live requests: SUBSCRIBE and the others, as a pure function of a session and a message.

An acknowledgement proves nothing here, as at the exchange: any well-formed name is acknowledged and
listed, whether or not this route has such a stream. Error texts are the documented ones
(developers.binance.com, "Live Subscribing/Unsubscribing to streams"). A comment marks our own. The
documents say that invalid JSON ends the connection, but not with which close code.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from fanout.simulator.dialects.base import Answer, Close, Form, Session

MAX_STREAMS: Final = 1024
MAX_REQUEST_ID: Final = 2**64 - 1

POLICY_VIOLATION: Final = 1008

INVALID_REQUEST: Final = Close(POLICY_VIOLATION, "Invalid request")
TOO_MANY_REQUESTS: Final = Close(POLICY_VIOLATION, "Too many requests")


class _RefusedError(Exception):
    """A request that is answered with an error. It never leaves this file."""

    def __init__(self, code: int, message: str, close: Close | None = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "msg": message}
        self.close = close


Result = tuple[Any, Session]

IsId = Callable[[Any], bool]
"""Whether a value is a valid request id, which differs between the venues."""


def answer(session: Session, text: str, is_id: IsId) -> Answer:
    try:
        request = _parse(text)
    except _RefusedError as refused:
        return Answer((_encode({"error": refused.error}),), session, refused.close)
    request_id = request.get("id")
    known_id = {"id": request_id} if "id" in request and is_id(request_id) else {}
    try:
        result, session = _perform(session, request, text, is_id)
    except _RefusedError as refused:
        return Answer((_encode({"error": refused.error, **known_id}),), session, refused.close)
    return Answer((_encode({"result": result, **known_id}),), session)


def _perform(session: Session, request: dict[str, Any], text: str, is_id: IsId) -> Result:
    if "method" not in request:
        raise _RefusedError(2, f"Invalid request: missing field `method` at {_position(text)}")
    method = request["method"]
    handler = _METHODS.get(method) if isinstance(method, str) else None
    if handler is None:
        raise _RefusedError(2, _unknown_variant(method, text))
    if not is_id(request.get("id")):
        raise _RefusedError(2, "Invalid request: request ID must be an unsigned integer")
    params = request.get("params", [])
    if not isinstance(params, list):
        raise _RefusedError(2, "Invalid request: params must be an array")  # our words
    return handler(session, params)


def _subscribe(session: Session, params: Sequence[Any]) -> Result:
    streams = tuple(dict.fromkeys((*session.streams, *_names(params))))
    if len(streams) > MAX_STREAMS:
        raise _RefusedError(4, "Too many subscriptions", INVALID_REQUEST)
    return None, Session(streams, session.form)


def _unsubscribe(session: Session, params: Sequence[Any]) -> Result:
    gone = set(_names(params))
    streams = tuple(name for name in session.streams if name not in gone)
    return None, Session(streams, session.form)


def _list_subscriptions(session: Session, params: Sequence[Any]) -> Result:
    _refuse_more_than(0, params)
    return list(session.streams), session


def _set_property(session: Session, params: Sequence[Any]) -> Result:
    _refuse_more_than(2, params)
    _refuse_unless_combined(params)
    if len(params) < 2 or not isinstance(params[1], bool):
        raise _RefusedError(1, "Invalid value type: expected Boolean")
    return None, Session(session.streams, Form(params[1], session.form.microseconds))


def _get_property(session: Session, params: Sequence[Any]) -> Result:
    _refuse_more_than(1, params)
    _refuse_unless_combined(params)
    return session.form.combined, session


_METHODS: Final[dict[str, Callable[[Session, Sequence[Any]], Result]]] = {
    "SUBSCRIBE": _subscribe,
    "UNSUBSCRIBE": _unsubscribe,
    "LIST_SUBSCRIPTIONS": _list_subscriptions,
    "SET_PROPERTY": _set_property,
    "GET_PROPERTY": _get_property,
}


def _names(params: Sequence[Any]) -> list[str]:
    names = [name for name in params if isinstance(name, str)]
    if len(names) < len(params):
        raise _RefusedError(2, "Invalid request: params must be stream names")  # our words
    return names


def _refuse_more_than(count: int, params: Sequence[Any]) -> None:
    if len(params) > count:
        raise _RefusedError(2, "Invalid request: too many parameters")


def _refuse_unless_combined(params: Sequence[Any]) -> None:
    if not params or not isinstance(params[0], str):
        raise _RefusedError(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise _RefusedError(0, "Unknown property")


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Names in the order in which they were asked for, each once, without empty ones."""
    return tuple(dict.fromkeys(name for name in names if name))


def is_unsigned(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_REQUEST_ID


def _parse(text: str) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        at = _position(text, _broken_at(str(error), text))
        raise _RefusedError(3, f"Invalid JSON: expected value at {at}", INVALID_REQUEST) from error
    if not isinstance(request, dict):
        raise _RefusedError(2, f"Invalid request: missing field `method` at {_position(text)}")
    return request


_BYTE: Final = re.compile(r"\(byte ([0-9]+)\)")


def _broken_at(error: str, text: str) -> int:
    """The offset of the invalid character, from msgspec's message; without one, the text's end."""
    match = _BYTE.search(error)
    return len(text.encode()[: int(match[1])].decode(errors="replace")) if match else len(text)


def _unknown_variant(method: Any, text: str) -> str:
    spelled = _encode(method)
    found = text.find(spelled)
    at = _position(text, found + len(spelled) - 1 if found >= 0 else None)
    known = ", ".join(f"`{name}`" for name in _METHODS)
    name = method if isinstance(method, str) else spelled
    return f"Invalid request: unknown variant `{name}`, expected one of {known} at {at}"


def _position(text: str, offset: int | None = None) -> str:
    """The line and column, from one, of the character at `offset`, or of the last one."""
    head = text[: len(text) - 1 if offset is None else offset]
    line, start = head.count("\n") + 1, head.rfind("\n") + 1
    return f"line {line} column {len(head) - start + 1}"


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
