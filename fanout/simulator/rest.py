"""The REST side, as a pure function: a request and a time in, a response out.

Served are the endpoints that a reader of trades needs. Weights are the documented ones, and are
counted over the UTC clock minute, a rejected request's included. A path that does not exist costs
nothing (an assumption: no document says).
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from fanout.simulator.exchange_info import exchange_info
from fanout.simulator.history import History, Shelf
from fanout.simulator.messages import Request, Response, banned, error_body, too_many
from fanout.simulator.queries import (
    Query,
    RejectedError,
    Span,
    limit_of,
    refuse_too_old,
    refuse_unless_key,
    span_of,
    symbol_of,
)
from fanout.simulator.rate_limit import RateLimit
from fanout.simulator.symbols import Listing
from fanout.simulator.ticks import RPI, Aggregate, Trade

MAX_TRADES: Final = 1_000
MAX_AGGREGATES: Final = 1_000
MAX_HISTORICAL: Final = 500
DEFAULT_ROWS: Final = 500
DEFAULT_HISTORICAL: Final = 100


class _Endpoint(msgspec.Struct, frozen=True):
    weight: int
    answer: Callable[[Query, int], bytes]
    needs_key: bool = False


class Rest:
    """`listings` is what is listed now, by symbol; it may change under us."""

    def __init__(self, listings: Mapping[str, Listing], history: History, limit: RateLimit) -> None:
        self._listings = listings
        self._history = history
        self._limit = limit
        self._endpoints: dict[str, _Endpoint] = {
            "/fapi/v1/ping": _Endpoint(1, lambda query, now_ms: b"{}"),
            "/fapi/v1/time": _Endpoint(1, lambda query, now_ms: _encode({"serverTime": now_ms})),
            "/fapi/v1/exchangeInfo": _Endpoint(1, self._exchange_info),
            "/fapi/v1/trades": _Endpoint(5, self._trades),
            "/fapi/v1/historicalTrades": _Endpoint(20, self._historical, needs_key=True),
            "/fapi/v1/aggTrades": _Endpoint(20, self._aggregates),
        }

    def respond(self, request: Request, now_ms: int) -> Response:
        endpoint = self._endpoints.get(request.path)
        spent = self._limit.spend(endpoint.weight if endpoint else 0, now_ms)
        if spent.banned_until_ms is not None:
            return Response(418, banned(spent.banned_until_ms), spent.used)
        if spent.is_over:
            return Response(429, too_many(self._limit.weight_limit), spent.used)
        try:
            return Response(200, self._answer(request, endpoint, now_ms), spent.used)
        except RejectedError as rejected:
            body = error_body(rejected.code, rejected.message)
            return Response(rejected.status, body, spent.used)

    def _answer(self, request: Request, endpoint: _Endpoint | None, now_ms: int) -> bytes:
        if endpoint is None or request.method != "GET":
            what = f"Path {request.path}, Method {request.method} is invalid"
            raise RejectedError(404, -5000, what)
        if endpoint.needs_key:
            refuse_unless_key(request.api_key)
        return endpoint.answer(request.query, now_ms)

    def _exchange_info(self, query: Query, now_ms: int) -> bytes:
        return exchange_info(self._listings.values(), now_ms, self._limit.weight_limit)

    def _trades(self, query: Query, now_ms: int) -> bytes:
        symbol = symbol_of(query, self._listings)
        limit = limit_of(query, DEFAULT_ROWS, MAX_TRADES)
        return _encode([_row(trade) for trade in self._history.newest(symbol, limit)])

    def _historical(self, query: Query, now_ms: int) -> bytes:
        """Of a month, at the exchange. Here: as far back as rows are kept."""
        symbol = symbol_of(query, self._listings)
        limit = limit_of(query, DEFAULT_HISTORICAL, MAX_HISTORICAL)
        first_id = span_of(query).first_id
        if first_id is None:
            rows = self._history.newest(symbol, limit)
        else:
            rows = self._history.trades[symbol].since(first_id, limit)
        return _encode([_row(trade) for trade in rows])

    def _aggregates(self, query: Query, now_ms: int) -> bytes:
        """Of two days, at the exchange; and here, if rows are kept for so long."""
        shelf = self._history.aggregates[symbol_of(query, self._listings)]
        limit, span = limit_of(query, DEFAULT_ROWS, MAX_AGGREGATES), span_of(query)
        refuse_too_old(span, shelf.oldest_id, now_ms)
        rows = _of_span(shelf, span, limit)
        return _encode([_aggregate_row(row) for row in rows])


def _of_span(shelf: Shelf[Aggregate], span: Span, limit: int) -> list[Aggregate]:
    """The first ones of a span that says where it begins; else the newest."""
    if span.first_id is not None:
        return shelf.since(span.first_id, limit)
    if span.start_ms is not None:
        return shelf.between(span.start_ms, span.end_ms)[:limit]
    return shelf.between(0, span.end_ms)[-limit:]


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.trade_id,
        "price": trade.price,
        "qty": trade.quantity,
        "quoteQty": format(Decimal(trade.price) * Decimal(trade.quantity), "f"),
        "time": trade.time_ms,
        "isBuyerMaker": trade.buyer_is_maker,
        "isRPITrade": trade.kind == RPI,
    }


def _aggregate_row(row: Aggregate) -> dict[str, Any]:
    """The same as on the stream, but for the event, the symbol and `st`."""
    return {
        "a": row.aggregate_id,
        "p": row.price,
        "q": row.quantity,
        "nq": row.normal_quantity,
        "f": row.first_id,
        "l": row.last_id,
        "T": row.time_ms,
        "m": row.buyer_is_maker,
    }


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
