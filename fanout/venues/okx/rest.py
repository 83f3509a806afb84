"""The envelope of OKX's REST answers, its error codes, and the time. Pure.

    {"code":"0","msg":"","data":[...]}
    {"code":"51001","msg":"Instrument ID doesn't exist.","data":[]}

A refusal has a code, with HTTP 200 or another status. 50011 is the limit of requests. The codes of
passing faults are from OKX's list of REST errors:
https://www.okx.com/docs-v5/en/#error-code-rest-api
"""

from typing import Annotated, Final

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.venues.numbers import BROKEN
from fanout.venues.times import MAX_TIME_MS
from fanout.venues.values import Refusal, usual_refusal

GOOD: Final = "0"

_REFUSALS: Final = {
    "50001": Refusal.PASSING,  # service unavailable
    "50004": Refusal.PASSING,  # timeout, with HTTP 400
    "50011": Refusal.BUSY,
    "50013": Refusal.PASSING,  # systems are busy, with HTTP 429
    "50026": Refusal.PASSING,  # system error
}
_NO_TIME: Final = "the venue's time is not as documented"


class _Answer(msgspec.Struct):
    code: str
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Time(msgspec.Struct):
    ts: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
# Not strict: the time comes as text.
_decode_times = msgspec.json.Decoder(tuple[_Time], strict=False).decode


def data_of(body: bytes, fault: str) -> msgspec.Raw:
    """What an answer brings, unread. `fault` is the kind of the `VenueMessageError` that is raised
    for a refusal, and for what is no answer of OKX."""
    try:
        answer = _decode_answer(body)
    except BROKEN as error:
        raise VenueMessageError(fault, error) from error
    if answer.code != GOOD:
        raise VenueMessageError(fault, _words(answer))
    return answer.data


def rows_of(body: bytes, fault: str) -> list[msgspec.Raw]:
    """The rows that an answer brings, each unread. Raises the errors of `data_of`."""
    try:
        return _decode_rows(data_of(body, fault))
    except BROKEN as error:
        raise VenueMessageError(fault, error) from error


def verdict(status: int, body: bytes) -> Refusal | None:
    answer = _answer_of(body)
    if answer is None or answer.code == GOOD:
        return None if status == 200 else usual_refusal(status)
    return _REFUSALS.get(answer.code) or usual_refusal(status)


def explain(body: bytes) -> str:
    answer = _answer_of(body)
    return "" if answer is None or answer.code == GOOD else _words(answer)


def parse_time(body: bytes) -> int:
    """Raises `VenueMessageError`."""
    try:
        return _decode_times(data_of(body, _NO_TIME))[0].ts
    except BROKEN as error:
        raise VenueMessageError(_NO_TIME, error) from error


def _answer_of(body: bytes) -> _Answer | None:
    """None for a body without the envelope, such as a page of HTML."""
    try:
        return _decode_answer(body)
    except BROKEN:
        return None


def _words(answer: _Answer) -> str:
    return f"{shown(answer.msg) or 'no reason given'} ({shown(answer.code)})"
