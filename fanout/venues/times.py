"""Times as venues write them in text. Pure."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from fanout.errors import VenueMessageError

MAX_TIME_MS: Final = 10**13
"""The year 2286. Larger times cannot be formatted."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?Z"
)
_LAST_SECOND: Final = 60
"""A leap second. In unix time it is the first second of the next minute."""


def micros_of(text: str) -> int:
    """The unix time in microseconds of a time of RFC 3339 in UTC, such as
    "2024-08-08T19:20:30.123456Z".

    Up to nine decimals are read, and those below a microsecond are cut off. Raises
    `VenueMessageError` for other text and for a time before 1970.
    """
    found = _TIME.fullmatch(text)
    if found is None or int(found[2]) > _LAST_SECOND:
        raise _no_time(text)
    decimals = (found[3] or "")[:6].ljust(6, "0")
    return _minute_us(found[1]) + int(found[2]) * 1_000_000 + int(decimals)


@lru_cache(maxsize=16)
def _minute_us(minute: str) -> int:
    """Trades come in the order of their times, so most of them share their minute."""
    try:
        began = datetime.fromisoformat(minute).replace(tzinfo=UTC)
    except ValueError:
        raise _no_time(minute) from None
    if began < _EPOCH:
        raise _no_time(minute)
    return (began - _EPOCH) // _MICROSECOND


def _no_time(text: str) -> VenueMessageError:
    return VenueMessageError("text that is no time", repr(text[:80]))
