"""Parsers of what all of Bybit's REST answers have: errors and the time. Pure.

    {"retCode":10001,"retMsg":"params error: Symbol Invalid","result":{},"time":1688639403423}

Errors come with HTTP 200 and a `retCode` other than 0.
https://bybit-exchange.github.io/docs/v5/error

An address with too many requests gets 403 with the words "access too frequent", and has to wait for
ten minutes (https://bybit-exchange.github.io/docs/v5/rate-limit). A blocked country gets 403 too,
from CloudFront, whose usual page says that it is configured to block access.
"""

from typing import Annotated, Final

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.venues.numbers import BROKEN
from fanout.venues.times import MAX_TIME_MS
from fanout.venues.values import Refusal, usual_refusal

TOO_FREQUENT: Final = 403
_BLOCKED: Final = b"block access"

_MEANINGS: Final = {
    10000: Refusal.PASSING,  # server timeout
    10006: Refusal.BUSY,  # too many visits
    10009: Refusal.BANNED,  # IP has been banned
    10016: Refusal.PASSING,  # internal error
    10018: Refusal.BUSY,  # exceeded the IP rate limit
}


class _Error(msgspec.Struct):
    retCode: int  # noqa: N815  the venue's name
    retMsg: str = ""  # noqa: N815


class _Time(msgspec.Struct):
    time: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]


_decode_error = msgspec.json.Decoder(_Error).decode
_decode_time = msgspec.json.Decoder(_Time).decode


def refusal(status: int) -> Refusal:
    """The meaning of a status without its body, at the WebSocket handshake. 403 counts as a limit,
    which passes: REST tells a blocked country before."""
    return Refusal.BUSY if status == TOO_FREQUENT else usual_refusal(status)


def verdict(status: int, body: bytes) -> Refusal | None:
    if status == TOO_FREQUENT:
        return Refusal.FORBIDDEN if _BLOCKED in body else Refusal.BUSY
    if status != 200:
        return refusal(status)
    try:
        code = _decode_error(body).retCode
    except BROKEN:
        return None  # the parser of the answer has the words
    return _MEANINGS.get(code, Refusal.OTHER) if code else None


def explain(body: bytes) -> str:
    try:
        error = _decode_error(body)
    except BROKEN:
        return ""
    return f"{shown(error.retMsg)} ({error.retCode})"


def parse_time(body: bytes) -> int:
    try:
        return _decode_time(body).time
    except BROKEN as error:
        raise VenueMessageError("the venue's time is not as documented", error) from error
