"""Times as people type and read them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fanout.errors import UsageError, shown
from fanout.protocol.constants import U64_MAX

FIRST_NS: Final = 10**18
"""The least number that is taken for a time in ns: of September 2001. A smaller one is a time in
another unit."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment_ns(text: str, flag: str) -> int:
    """A time in unix ns, from such a number or from ISO 8601. Without a zone it is UTC. Raises
    `UsageError` for a number that is too small, and `ValueError` for other text."""
    if text.isdecimal():
        if int(text) < FIRST_NS:
            raise UsageError(f"{flag} {text}: a time in unix ns has 19 digits, this {len(text)}")
        return int(text)
    time = datetime.fromisoformat(text)
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return since // timedelta(microseconds=1) * 1000


def parse_moment(text: str, flag: str) -> int:
    """The same. Raises `UsageError` for all other text."""
    try:
        time_ns = moment_ns(text, flag)
    except ValueError:
        time_ns = -1
    if not 0 <= time_ns <= U64_MAX:
        raise UsageError(
            f"{flag} {shown(repr(text))}: a time like 2026-11-29T13:00Z or 1795219200000000000"
        )
    return time_ns


def moment_text(time_ns: int) -> str:
    """Unix ns as people read them, in UTC."""
    time = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
