"""Binance's REST side: its errors, its header of used weight, and values of its queries.

Errors are as documented or as seen in production. The exchange itself answers in JSON, and a proxy
or firewall in front of it in HTML.

Weights are the documented ones. They are counted by UTC minute, also for rejected requests.
"""

import re
from collections.abc import Container, Mapping
from typing import ClassVar, Final

from fanout.simulator.connection.http import JSON, Request
from fanout.simulator.connection.rate_limit import RateLimit, Spent
from fanout.simulator.dialects.listings import Row
from fanout.simulator.dialects.rest import (
    Endpoint,
    Errors,
    RejectedError,
    Rest,
    Span,
    Values,
    Words,
    encode,
    is_number,
    rows_of,
)
from fanout.simulator.market.history import Shelf
from fanout.simulator.market.listing import Quirk
from fanout.simulator.market.ticks import Aggregate

MAX_WINDOW_MS: Final = 48 * 3_600_000  # measured; the documents said 24 hours in May 2026
USED_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
ODD: Final[Mapping[Quirk, Row]] = {
    "null-type": {"contractType": None},
    "no-filters": {"filters": []},
}
TOO_MANY: Final = -1003
RESTRICTED: Final = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you received "
    "this message in error."
)
_KEY: Final = re.compile(r"[A-Za-z0-9]+")


class BinanceWords(Words):
    """Binance's errors. `too_many` and `banned` are the market's messages about its limits: `{}` is
    the limit, or the end of a ban in unix ms."""

    by_status: ClassVar[Errors] = {
        401: (-2015, "Invalid API-key, IP, or permissions for action."),
        408: (-1007, "Timeout waiting for response from backend server."),
        451: (0, RESTRICTED),
        500: (-1000, "An unknown error occurred while processing the request."),
        503: (-1008, "Server is currently overloaded with other requests. Please try again later."),
    }

    def __init__(self, too_many: str, banned: str) -> None:
        self._too_many = too_many
        self._banned = banned

    def no_path(self, request: Request) -> RejectedError:
        what = f"Path {request.path}, Method {request.method} is invalid"
        return RejectedError(404, -5000, what)

    def missing(self, name: str) -> RejectedError:
        message = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
        return RejectedError(400, -1102, message)

    def invalid(self, name: str, value: str) -> RejectedError:
        return RejectedError(400, -1130, f"Data sent for parameter '{name}' is not valid.")

    def no_symbol(self, symbol: str) -> RejectedError:
        return RejectedError(400, -1121, "Invalid symbol.")

    def body(self, rejected: RejectedError, now_ms: int) -> bytes:
        return encode({"code": rejected.code, "msg": rejected.message})

    def error(self, status: int, *, weight_limit: int, banned_until_ms: int) -> tuple[bytes, str]:
        of_limits = {
            429: self._too_many.format(weight_limit),
            418: self._banned.format(banned_until_ms),
        }
        if status in of_limits:
            return self.body(RejectedError(status, TOO_MANY, of_limits[status]), 0), JSON
        return super().error(status, weight_limit=weight_limit, banned_until_ms=banned_until_ms)


def binance_rest(
    endpoints: Mapping[str, Endpoint],
    limit: RateLimit,
    words: BinanceWords,
    *,
    tells_when: bool = False,
) -> Rest:
    """With `tells_when` a refusal has a Retry-After, as documented for spot."""
    return Rest(endpoints, limit, words, headers=_used, tells_when=tells_when)


def depth_limit_of(values: Values, default: int, valid: Container[int]) -> int:
    """A limit that is one of some values. The text of the error was seen in production."""
    limit = values.integer("limit")
    if limit is None:
        return default
    if limit not in valid:
        raise RejectedError(400, -4021, f"{limit} is not valid depth limit")
    return limit


def whole_limit(values: Values) -> int | None:
    """The limit if it is a whole number; None otherwise."""
    text = values.text("limit") or ""
    return int(text) if is_number(text) else None


def span_of(values: Values) -> Span:
    """A first id, or a time from start to end."""
    first_id, start_ms, end_ms = map(values.integer, ("fromId", "startTime", "endTime"))
    return Span(first_id=first_id, start_ms=start_ms, end_ms=end_ms)


def refuse_too_old(span: Span, oldest_id: int | None, now_ms: int) -> None:
    is_early = span.start_ms is not None and span.start_ms < now_ms - MAX_WINDOW_MS
    is_low = span.first_id is not None and oldest_id is not None and span.first_id < oldest_id
    if is_early or is_low:
        raise RejectedError(400, -4166, "Search window is restricted to recent 2 days only.")


def refuse_unless_key(request: Request) -> None:
    """Any well-formed key is accepted: the simulator has no accounts."""
    if not _KEY.fullmatch(request.headers.get("x-mbx-apikey", "")):
        raise RejectedError(401, -2014, "API-key format invalid.")


def of_span(shelf: Shelf[Aggregate], span: Span, limit: int) -> list[Aggregate]:
    """The first `limit` rows of a span that has a beginning; otherwise the newest."""
    has_beginning = span.first_id is not None or span.start_ms is not None
    return rows_of(shelf, span, limit, newest=not has_beginning)


def _used(spent: Spent) -> dict[str, str]:
    return {USED_WEIGHT: str(spent.used)}
