"""The REST endpoints of Binance USDⓈ-M that a client for trades and books needs."""

from decimal import Decimal
from typing import Any, Final

from fanout.simulator.dialects.base import RestSide, Venue
from fanout.simulator.dialects.binance.frames import levels
from fanout.simulator.dialects.binance.rest import (
    BinanceWords,
    binance_rest,
    depth_limit_of,
    of_span,
    refuse_too_old,
    refuse_unless_key,
    span_of,
    whole_limit,
)
from fanout.simulator.dialects.binance_usdm.exchange_info import exchange_info
from fanout.simulator.dialects.binance_usdm.frames import aggregate_fields
from fanout.simulator.dialects.rest import Call, Endpoint, Values, encode
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

WORDS: Final = BinanceWords(
    "Too many requests; current limit is {} requests per minute. Please use the websocket for live "
    "updates to avoid polling the API.",
    "Way too many requests; IP banned until {}. Please use the websocket for live updates to avoid "
    "bans.",
)


def rest(venue: Venue) -> RestSide:
    answers = _Answers(venue)
    endpoints = {
        "ping": Endpoint(1, lambda call: b"{}"),
        "time": Endpoint(1, lambda call: encode({"serverTime": call.now_ms})),
        "exchangeInfo": Endpoint(1, answers.exchange_info),
        "trades": Endpoint(5, answers.trades),
        "historicalTrades": Endpoint(20, answers.historical),
        "aggTrades": Endpoint(20, answers.aggregates),
        "depth": Endpoint(_depth_weight, answers.depth),
    }
    paths = {f"/fapi/v1/{name}": endpoint for name, endpoint in endpoints.items()}
    return binance_rest(paths, venue.limit, WORDS)


class _Answers:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._history = venue.history

    def exchange_info(self, call: Call) -> bytes:
        venue = self._venue
        return exchange_info(venue.listings, venue.quirks, call.now_ms, venue.limit.weight_limit)

    def trades(self, call: Call) -> bytes:
        values = call.values
        symbol = values.symbol("symbol", self._venue.listings)
        limit = values.limit(default=DEFAULT_ROWS, most=MAX_TRADES)
        return encode([_row(trade) for trade in self._history.newest(symbol, limit)])

    def historical(self, call: Call) -> bytes:
        """The exchange has the rows of a month. The simulator has those that it keeps."""
        refuse_unless_key(call.request)
        values = call.values
        symbol = values.symbol("symbol", self._venue.listings)
        limit = values.limit(default=DEFAULT_HISTORICAL, most=MAX_HISTORICAL)
        first_id = span_of(values).first_id
        if first_id is None:
            rows = self._history.newest(symbol, limit)
        else:
            rows = self._history.trades[symbol].since(first_id, limit)
        return encode([_row(trade) for trade in rows])

    def aggregates(self, call: Call) -> bytes:
        """Rows of two days, as at the exchange, as far as the simulator keeps them."""
        values = call.values
        shelf = self._history.aggregates[values.symbol("symbol", self._venue.listings)]
        limit, span = values.limit(default=DEFAULT_ROWS, most=MAX_AGGREGATES), span_of(values)
        refuse_too_old(span, shelf.oldest_id, call.now_ms)
        return encode([_aggregate_row(row) for row in of_span(shelf, span, limit)])

    def depth(self, call: Call) -> bytes:
        symbol = call.values.symbol("symbol", self._venue.listings)
        limit = depth_limit_of(call.values, DEFAULT_DEPTH, DEPTH_WEIGHTS)
        book = self._venue.snapshot(symbol, limit)
        if book.raw is not None and limit == MAX_DEPTH:
            return book.raw
        return b'{"lastUpdateId":%d,"E":%d,"T":%d,"bids":%b,"asks":%b}' % (
            book.last_id,
            call.now_ms,
            book.time_ms,
            levels(book.bids),
            levels(book.asks),
        )


def _depth_weight(values: Values) -> int:
    """We assume that an invalid limit costs as much as none: no document says."""
    limit = whole_limit(values)
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
