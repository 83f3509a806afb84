"""Parses the query of a REST request, or raises the error that the exchange would send."""

import re
from collections.abc import Container, Mapping
from typing import Final

import msgspec

MAX_WINDOW_MS: Final = 48 * 3_600_000  # measured; the documents said 24 hours in May 2026
_KEY: Final = re.compile(r"[A-Za-z0-9]+")

Query = dict[str, str]


class RejectedError(Exception):
    """An error that the exchange sends. It never leaves the REST side."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Span(msgspec.Struct, frozen=True):
    """The first id, or a time from start to end, both included. None if the query leaves it out."""

    first_id: int | None
    start_ms: int | None
    end_ms: int | None


def symbol_of(query: Query, known: Mapping[str, object]) -> str:
    symbol = query.get("symbol")
    if not symbol:
        message = "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
        raise RejectedError(400, -1102, message)
    if symbol not in known:
        raise RejectedError(400, -1121, "Invalid symbol.")
    return symbol


def limit_of(query: Query, default: int, most: int) -> int:
    limit = _number(query, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise _invalid("limit")
    return limit


def depth_limit_of(query: Query, default: int, valid: Container[int]) -> int:
    """A limit that is one of some values. The text of the error was seen in production."""
    limit = _number(query, "limit")
    if limit is None:
        return default
    if limit not in valid:
        raise RejectedError(400, -4021, f"{limit} is not valid depth limit")
    return limit


def whole_limit(query: Query) -> int | None:
    """The limit if it is a whole number; None otherwise."""
    text = query.get("limit", "")
    return int(text) if _is_number(text) else None


def span_of(query: Query) -> Span:
    return Span(*(_number(query, name) for name in ("fromId", "startTime", "endTime")))


def refuse_too_old(span: Span, oldest_id: int | None, now_ms: int) -> None:
    is_early = span.start_ms is not None and span.start_ms < now_ms - MAX_WINDOW_MS
    is_low = span.first_id is not None and oldest_id is not None and span.first_id < oldest_id
    if is_early or is_low:
        raise RejectedError(400, -4166, "Search window is restricted to recent 2 days only.")


def refuse_unless_key(api_key: str | None) -> None:
    """Any well-formed key is accepted: the simulator has no accounts."""
    if not api_key or not _KEY.fullmatch(api_key):
        raise RejectedError(401, -2014, "API-key format invalid.")


def _number(query: Query, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not _is_number(text):
        raise _invalid(name)
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _invalid(name: str) -> RejectedError:
    return RejectedError(400, -1130, f"Data sent for parameter '{name}' is not valid.")
