"""Parsers of Binance's REST interfaces that all markets have: errors, weights, the time. Pure."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.venues.numbers import BROKEN
from fanout.venues.times import MAX_TIME_MS

_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})\b")


class _Error(msgspec.Struct):
    code: int
    msg: str


class _Time(msgspec.Struct):
    serverTime: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]  # noqa: N815


_DECODE_ERROR: Final = msgspec.json.Decoder(_Error)
_DECODE_TIME: Final = msgspec.json.Decoder(_Time)


def parse_time(body: bytes) -> int:
    try:
        return _DECODE_TIME.decode(body).serverTime
    except BROKEN as error:
        raise VenueMessageError("the venue's time is not as documented", error) from error


def used_weight(headers: Mapping[str, str]) -> int | None:
    text = headers.get("x-mbx-used-weight-1m", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def banned_until_ms(body: bytes) -> int | None:
    found = _BANNED_UNTIL.search(explain(body))
    return int(found[1]) if found else None


def explain(body: bytes) -> str:
    try:
        error = _DECODE_ERROR.decode(body)
    except BROKEN:
        return ""
    return f"{shown(error.msg)} ({error.code})"
