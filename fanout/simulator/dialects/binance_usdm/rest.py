"""The REST endpoints of Binance USDⓈ-M that a client for trades and books needs."""

from decimal import Decimal
from typing import Any, Final

from fanout.simulator.connection.http import Request
from fanout.simulator.dialects.base import RestSide, Venue
from fanout.simulator.dialects.binance.bodies import Words
from fanout.simulator.dialects.binance.frames import levels
from fanout.simulator.dialects.binance.queries import (
    Query,
    depth_limit_of,
    limit_of,
    refuse_too_old,
    span_of,
    symbol_of,
    whole_limit,
)
from fanout.simulator.dialects.binance.rest import Endpoint, Rest, encode, of_span
from fanout.simulator.dialects.binance_usdm.exchange_info import exchange_info
from fanout.simulator.dialects.binance_usdm.frames import aggregate_fields
from fanout.simulator.market.ticks import RPI, Aggregate, Trade

MAX_TRADES: Final = 1_000
MAX_AGGREGATES: Final = 1_000
MAX_HISTORICAL: Final = 500
DEFAULT_ROWS: Final = 500
DEFAULT_HISTORICAL: Final = 100
DEFAULT_DEPTH: Final = 500
MAX_DEPTH: Final = 1_000
DEPTH_WEIGHTS: Final = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, MAX_DEPTH: 20}
"""By limit, which can have no other value."""

WORDS: Final = Words(
    "Too many requests; current limit is {} requests per minute. Please use the websocket for live "
    "updates to avoid polling the API.",
    "Way too many requests; IP banned until {}. Please use the websocket for live updates to avoid "
    "bans.",
)


def rest(venue: Venue) -> RestSide:
    answers = _Answers(venue)
    endpoints = {
        "ping": Endpoint(1, lambda request, now_ms: b"{}"),
        "time": Endpoint(1, lambda request, now_ms: encode({"serverTime": now_ms})),
        "exchangeInfo": Endpoint(1, answers.exchange_info),
        "trades": Endpoint(5, answers.trades),
        "historicalTrades": Endpoint(20, answers.historical, needs_key=True),
        "aggTrades": Endpoint(20, answers.aggregates),
        "depth": Endpoint(_depth_weight, answers.depth),
    }
    paths = {f"/fapi/v1/{name}": endpoint for name, endpoint in endpoints.items()}
    return Rest(paths, venue.limit, WORDS)


class _Answers:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._history = venue.history

    def exchange_info(self, request: Request, now_ms: int) -> bytes:
        venue = self._venue
        return exchange_info(venue.listings, venue.quirks, now_ms, venue.limit.weight_limit)

    def trades(self, request: Request, now_ms: int) -> bytes:
        query = request.query
        symbol = symbol_of(query, self._venue.listings)
        limit = limit_of(query, DEFAULT_ROWS, MAX_TRADES)
        return encode([_row(trade) for trade in self._history.newest(symbol, limit)])

    def historical(self, request: Request, now_ms: int) -> bytes:
        """The exchange has the rows of a month. The simulator has those that it keeps."""
        query = request.query
        symbol = symbol_of(query, self._venue.listings)
        limit = limit_of(query, DEFAULT_HISTORICAL, MAX_HISTORICAL)
        first_id = span_of(query).first_id
        if first_id is None:
            rows = self._history.newest(symbol, limit)
        else:
            rows = self._history.trades[symbol].since(first_id, limit)
        return encode([_row(trade) for trade in rows])

    def aggregates(self, request: Request, now_ms: int) -> bytes:
        """Rows of two days, as at the exchange, as far as the simulator keeps them."""
        query = request.query
        shelf = self._history.aggregates[symbol_of(query, self._venue.listings)]
        limit, span = limit_of(query, DEFAULT_ROWS, MAX_AGGREGATES), span_of(query)
        refuse_too_old(span, shelf.oldest_id, now_ms)
        return encode([_aggregate_row(row) for row in of_span(shelf, span, limit)])

    def depth(self, request: Request, now_ms: int) -> bytes:
        symbol = symbol_of(request.query, self._venue.listings)
        limit = depth_limit_of(request.query, DEFAULT_DEPTH, DEPTH_WEIGHTS)
        book = self._venue.snapshot(symbol, limit)
        if book.raw is not None and limit == MAX_DEPTH:
            return book.raw
        return b'{"lastUpdateId":%d,"E":%d,"T":%d,"bids":%b,"asks":%b}' % (
            book.last_id,
            now_ms,
            book.time_ms,
            levels(book.bids),
            levels(book.asks),
        )


def _depth_weight(query: Query) -> int:
    """We assume that an invalid limit costs as much as none: no document says."""
    limit = whole_limit(query)
    return DEPTH_WEIGHTS.get(limit or DEFAULT_DEPTH, DEPTH_WEIGHTS[DEFAULT_DEPTH])


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
    return {"a": row.aggregate_id, **aggregate_fields(row)}
