"""Binance's REST side: endpoints with weights, and the limits on them.

Weights are the documented ones. They are counted by UTC minute, also for rejected requests. We
assume that an unknown path costs nothing: no document says.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fanout.simulator.connection.http import Request, Response
from fanout.simulator.connection.rate_limit import MS_PER_MINUTE, RateLimit, Spent
from fanout.simulator.dialects.binance.bodies import Words, error, error_body
from fanout.simulator.dialects.binance.queries import (
    Query,
    RejectedError,
    Span,
    refuse_unless_key,
)
from fanout.simulator.market.history import Shelf
from fanout.simulator.market.ticks import Aggregate


class Endpoint(msgspec.Struct, frozen=True):
    """`answer` takes a request and the time in ms. The weight may follow from the query."""

    weight: int | Callable[[Query], int]
    answer: Callable[[Request, int], bytes]
    needs_key: bool = False


class Rest:
    """Endpoints by path. With `tells_when` a refusal has a Retry-After, as documented for spot."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        limit: RateLimit,
        words: Words,
        *,
        tells_when: bool = False,
    ) -> None:
        self._endpoints = endpoints
        self._limit = limit
        self._words = words
        self._tells_when = tells_when

    def respond(self, request: Request, now_ms: int) -> Response:
        endpoint = self._endpoints.get(request.path)
        spent = self._limit.spend(_weight(endpoint, request), now_ms)
        if spent.banned_until_ms is not None or spent.is_over:
            return self._refusal(spent, now_ms)
        try:
            return Response(200, _answer(request, endpoint, now_ms), spent.used)
        except RejectedError as rejected:
            body = error_body(rejected.code, rejected.message)
            return Response(rejected.status, body, spent.used)

    def _refusal(self, spent: Spent, now_ms: int) -> Response:
        until_ms = spent.banned_until_ms
        body, _ = error(
            429 if until_ms is None else 418,
            self._words,
            weight_limit=self._limit.weight_limit,
            banned_until_ms=until_ms or 0,
        )
        end_ms = now_ms - now_ms % MS_PER_MINUTE + MS_PER_MINUTE if until_ms is None else until_ms
        wait_s = -((now_ms - end_ms) // 1000) if self._tells_when else None
        return Response(429 if until_ms is None else 418, body, spent.used, wait_s)


def of_span(shelf: Shelf[Aggregate], span: Span, limit: int) -> list[Aggregate]:
    """The first `limit` rows of a span that has a beginning; otherwise the newest."""
    if span.first_id is not None:
        return shelf.since(span.first_id, limit)
    if span.start_ms is not None:
        return shelf.between(span.start_ms, span.end_ms)[:limit]
    return shelf.between(0, span.end_ms)[-limit:]


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _weight(endpoint: Endpoint | None, request: Request) -> int:
    if endpoint is None:
        return 0
    weight = endpoint.weight
    return weight if isinstance(weight, int) else weight(request.query)


def _answer(request: Request, endpoint: Endpoint | None, now_ms: int) -> bytes:
    if endpoint is None or request.method != "GET":
        what = f"Path {request.path}, Method {request.method} is invalid"
        raise RejectedError(404, -5000, what)
    if endpoint.needs_key:
        refuse_unless_key(request.headers.get("x-mbx-apikey"))
    return endpoint.answer(request, now_ms)
