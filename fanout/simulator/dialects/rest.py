"""What the REST sides of all venues share: endpoints by path, weights and limits, and values of
queries.

A dialect names its endpoints and encodes their answers. Its `Words` are the errors that the venue
sends for a bad request. An endpoint takes a `Call`, whose `Values` raise them:

    paths = {"/products/{symbol}/trades": Endpoint(1, answers.trades)}

    def trades(self, call: Call) -> bytes:
        symbol = call.values.symbol("symbol", self._venue.listings)
        limit = call.values.limit(default=100, most=1_000)
        span = Span(last_id=call.values.integer("after"))
        rows = rows_of(self._venue.history.trades[symbol], span, limit, newest=True)
        return encode([_row(trade) for trade in reversed(rows)])

Weight counts also for requests that are rejected. We assume that an unknown path costs nothing: no
document says.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import unquote

import msgspec

from fanout.simulator.connection.http import HTML, JSON, Request, Response, phrase
from fanout.simulator.connection.rate_limit import RateLimit, Spent
from fanout.simulator.market.history import Shelf
from fanout.simulator.market.ticks import Aggregate, Trade

MAX_DIGITS: Final = 18  # of a whole number in a query

Errors = Mapping[int, tuple[int | str, str]]
"""Codes and messages by status."""

R = TypeVar("R", Trade, Aggregate)


class RejectedError(Exception):
    """An error that the venue sends. It never leaves the REST side."""

    def __init__(self, status: int, code: int | str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Words(ABC):
    """The venue's errors for bad requests, and their bodies."""

    by_status: ClassVar[Errors] = {}
    """The code and the message of an error that has nothing to do with the request. Errors of other
    statuses come from a proxy or firewall."""

    @abstractmethod
    def no_path(self, request: Request) -> RejectedError:
        """For an unknown path, and for a method other than GET."""

    @abstractmethod
    def missing(self, name: str) -> RejectedError: ...

    @abstractmethod
    def invalid(self, name: str, value: str) -> RejectedError: ...

    @abstractmethod
    def no_symbol(self, symbol: str) -> RejectedError: ...

    @abstractmethod
    def body(self, rejected: RejectedError, now_ms: int) -> bytes: ...

    def error(self, status: int, *, weight_limit: int, banned_until_ms: int) -> tuple[bytes, str]:
        """The body and the content type of an error by status, as `Dialect.error` has it."""
        if status not in self.by_status:
            return proxy_page(status)
        return self.body(RejectedError(status, *self.by_status[status]), 0), JSON


class Values:
    """The values of a request: its query, and the parts of its path that an endpoint names. An
    empty value counts as missing only for a symbol."""

    def __init__(self, given: Mapping[str, str], words: Words) -> None:
        self._given = given
        self._words = words

    def text(self, name: str) -> str | None:
        return self._given.get(name)

    def needed(self, name: str) -> str:
        value = self._given.get(name)
        if not value:
            raise self._words.missing(name)
        return value

    def symbol(self, name: str, known: Container[str]) -> str:
        symbol = self.needed(name)
        if symbol not in known:
            raise self._words.no_symbol(symbol)
        return symbol

    def integer(self, name: str, *, least: int = 0) -> int | None:
        """A whole number; None if the request leaves it out."""
        value = self._given.get(name)
        if value is None:
            return None
        if not is_number(value) or int(value) < least:
            raise self._words.invalid(name, value)
        return int(value)

    def limit(self, name: str = "limit", *, default: int, most: int, clamps: bool = False) -> int:
        """A number of rows. One above `most` is an error, or `most` where the venue `clamps`."""
        limit = self.integer(name, least=1)
        if limit is None:
            return default
        if limit > most and not clamps:
            raise self._words.invalid(name, str(limit))
        return min(limit, most)

    def choice(self, name: str, among: Container[str], *, default: str | None = None) -> str:
        """One of some texts; required without a default."""
        value = self.needed(name) if default is None else self._given.get(name, default)
        if value not in among:
            raise self._words.invalid(name, value)
        return value


class Call(msgspec.Struct, frozen=True):
    """A request to an endpoint, at the venue's time."""

    request: Request
    values: Values
    now_ms: int


class Endpoint(msgspec.Struct, frozen=True):
    """The weight may follow from the values, which it must take without an error."""

    weight: int | Callable[[Values], int]
    answer: Callable[[Call], bytes]


class Rest:
    """Endpoints by path. A part of a path in braces takes any text, which becomes a value.

    `headers` makes the venue's headers of what is spent. With `tells_when` a refusal for a limit
    has a Retry-After.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        limit: RateLimit,
        words: Words,
        *,
        headers: Callable[[Spent], dict[str, str]] = lambda spent: {},
        tells_when: bool = False,
    ) -> None:
        self._endpoints = [(_pattern(path), endpoint) for path, endpoint in endpoints.items()]
        self._limit = limit
        self._words = words
        self._headers = headers
        self._tells_when = tells_when

    def respond(self, request: Request, now_ms: int) -> Response:
        endpoint, values = self._found(request)
        spent = self._limit.spend(0 if endpoint is None else _weight(endpoint, values), now_ms)
        headers = self._headers(spent)
        if spent.is_refused:
            return self._refusal(spent, headers, now_ms)
        try:
            if endpoint is None or request.method != "GET":
                raise self._words.no_path(request)
            return Response(200, endpoint.answer(Call(request, values, now_ms)), headers)
        except RejectedError as rejected:
            return Response(rejected.status, self._words.body(rejected, now_ms), headers)

    def _found(self, request: Request) -> tuple[Endpoint | None, Values]:
        for pattern, endpoint in self._endpoints:
            if match := pattern.fullmatch(request.path):
                named = {name: unquote(value) for name, value in match.groupdict().items()}
                return endpoint, Values(request.query | named, self._words)
        return None, Values({}, self._words)

    def _refusal(self, spent: Spent, headers: dict[str, str], now_ms: int) -> Response:
        limit, status = self._limit, self._limit.status(spent)
        body, content_type = self._words.error(
            status,
            weight_limit=limit.weight_limit,
            banned_until_ms=spent.banned_until_ms or 0,
        )
        wait_s = limit.wait_s(spent, now_ms) if self._tells_when else None
        return Response(status, body, headers, wait_s, content_type)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A range of ids, or of times, both ends included. None is an open end. With an id, times have
    no effect."""

    first_id: int | None = None
    last_id: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None


def rows_of(shelf: Shelf[R], span: Span, limit: int, *, newest: bool) -> list[R]:
    """The newest `limit` rows of a span, or the oldest, ascending either way."""
    if span.first_id is not None or span.last_id is not None:
        return shelf.numbered(span.first_id, span.last_id, limit, newest=newest)
    rows = shelf.between(span.start_ms or 0, span.end_ms)
    return rows[-limit:] if newest else rows[:limit]


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def proxy_page(status: int) -> tuple[bytes, str]:
    """The page of a proxy or firewall in front of a venue, and its content type."""
    title = f"{status} {phrase(status)}"
    return f"<html><head><title>{title}</title></head></html>\r\n".encode(), HTML


def is_number(text: str) -> bool:
    """Whether it is a whole number of no more than `MAX_DIGITS` digits."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    texts = (f"(?P<{part}>[^/]+)" if odd % 2 else re.escape(part) for odd, part in enumerate(parts))
    return re.compile("".join(texts))


def _weight(endpoint: Endpoint, values: Values) -> int:
    weight = endpoint.weight
    return weight if isinstance(weight, int) else weight(values)
