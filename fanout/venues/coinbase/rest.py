"""Parsers of what the REST answers of both venues have: errors and the time. Pure.

    {"message":"NotFound"}
    {"error":"INVALID_ARGUMENT","error_details":"...","message":"valid product_id is required"}

    {"iso":"2026-04-07T14:30:00.123Z","epoch":1775572200.123}                 /time
    {"iso":"2026-04-07T14:30:00Z","epochSeconds":"...","epochMillis":"..."}   /api/v3/brokerage/time

Advanced Trade's `iso` has whole seconds, so `epochMillis` counts where it is there.
"""

from typing import Annotated

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.venues.numbers import BROKEN
from fanout.venues.times import MAX_TIME_MS, micros_of


class _Error(msgspec.Struct):
    message: str


class _Time(msgspec.Struct):
    iso: str
    epochMillis: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,19}$")] = ""  # noqa: N815


_decode_error = msgspec.json.Decoder(_Error).decode
_decode_time = msgspec.json.Decoder(_Time).decode


def explain(body: bytes) -> str:
    try:
        return shown(_decode_error(body).message)
    except BROKEN:
        return ""


def parse_time(body: bytes) -> int:
    """The venue's clock in unix ms. Raises `VenueMessageError`."""
    try:
        row = _decode_time(body)
        time_ms = int(row.epochMillis) if row.epochMillis else micros_of(row.iso) // 1_000
    except (*BROKEN, VenueMessageError) as error:
        raise VenueMessageError("the venue's time is not as documented", error) from error
    if time_ms > MAX_TIME_MS:
        raise VenueMessageError("the venue's time is not as documented", f"{time_ms} ms")
    return time_ms
