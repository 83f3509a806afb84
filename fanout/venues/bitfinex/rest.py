"""Refusals in Bitfinex's REST answers. Pure.

    HTTP 500 ["error",10020,"symbol: invalid"]
    HTTP 429 ["error",11010,"ratelimit: error"]    or {"error":"ERR_RATE_LIMIT"}
    HTTP 503 ["error",20060,"maintenance"]

The codes are from a copy of the documentation (rosssaunders/coincise,
docs/bitfinex/error_codes.md).
"""

from typing import Any, Final

from fanout.errors import VenueMessageError, shown
from fanout.venues.bitfinex.messages import decode
from fanout.venues.values import Refusal, usual_refusal

_INVALID: Final = 10020
_REFUSALS: Final = {
    _INVALID: Refusal.OTHER,
    10100: Refusal.KEY,
    11000: Refusal.PASSING,
    11010: Refusal.BUSY,
    20060: Refusal.PASSING,
}
_TOO_MANY: Final = "ERR_RATE_LIMIT"


def verdict(status: int, body: bytes) -> Refusal | None:
    error = _error_of(body)
    if error is None:
        return None if status == 200 else usual_refusal(status)
    code, words = error
    if words == _TOO_MANY:
        return Refusal.BUSY
    known = None if code is None else _REFUSALS.get(code)
    return known or (Refusal.OTHER if status == 200 else usual_refusal(status))


def explain(body: bytes) -> str:
    error = _error_of(body)
    if error is None:
        return ""
    code, words = error
    return shown(words) if code is None else f"{shown(words)} ({code})"


def rows_of(body: bytes, fault: str) -> list[Any]:
    """The rows of an answer. `fault` is the kind of the `VenueMessageError` that is raised for a
    refusal, and for an answer that is no array."""
    try:
        value = decode(body)
    except VenueMessageError as error:
        raise VenueMessageError(fault, error) from error
    words = explain(body)
    if words or type(value) is not list:
        raise VenueMessageError(fault, words or shown(repr(value)[:80]))
    return value


def _error_of(body: bytes) -> tuple[int | None, str] | None:
    """The code, if there is one, and the words of a refusal; None for another answer."""
    try:
        value = decode(body)
    except VenueMessageError:
        return None
    if type(value) is dict and type(value.get("error")) is str:
        return None, value["error"]
    if type(value) is list and len(value) > 2 and value[0] == "error":
        code, words = value[1:3]
        return code if type(code) is int else None, str(words)
    return None
