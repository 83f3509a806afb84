"""The REST endpoints of Binance spot that a client for trades and books needs.

Weights and limits are the documented ones of 2026. A request with the header
`X-MBX-TIME-UNIT: MICROSECOND` gets its times in microseconds.
"""

from decimal import Decimal
from typing import Any, Final

from fanout.simulator.connection.http import Request
from fanout.simulator.dialects.base import RestSide, Venue
from fanout.simulator.dialects.binance.frames import levels
from fanout.simulator.dialects.binance.rest import (
    BinanceWords,
    binance_rest,
    of_span,
    span_of,
    whole_limit,
)
from fanout.simulator.dialects.binance_spot.exchange_info import chosen, exchange_info
from fanout.simulator.dialects.binance_spot.frames import aggregate_fields, in_unit
from fanout.simulator.dialects.rest import Call, Endpoint, Values, encode
from fanout.simulator.market.ticks import Trade

MAX_ROWS: Final = 1_000
DEFAULT_ROWS: Final = 500
DEFAULT_DEPTH: Final = 100
MAX_DEPTH: Final = 5_000
"""A request for more levels gets so many."""
RECORDED_DEPTH: Final = 1_000
MAX_NUMBER: Final = 10**18
DEPTH_WEIGHTS: Final = ((100, 5), (500, 25), (1_000, 50))
"""The most levels that cost this weight."""
MOST_DEPTH_WEIGHT: Final = 250
TIME_UNIT: Final = "x-mbx-time-unit"

WORDS: Final = BinanceWords(
    "Too much request weight used; current limit is {} request weight per 1 MINUTE. Please use "
    "WebSocket Streams for live updates to avoid polling the API.",
    "Way too much request weight used; IP banned until {}. Please use WebSocket Streams for live "
    "updates to avoid bans.",
)


def rest(venue: Venue) -> RestSide:
    answers = _Answers(venue)
    endpoints = {
        "ping": Endpoint(1, lambda call: b"{}"),
        "time": Endpoint(1, answers.time),
        "exchangeInfo": Endpoint(20, answers.exchange_info),
        "trades": Endpoint(25, answers.trades),
        "historicalTrades": Endpoint(25, answers.historical),
        "aggTrades": Endpoint(4, answers.aggregates),
        "depth": Endpoint(_depth_weight, answers.depth),
    }
    paths = {f"/api/v3/{name}": endpoint for name, endpoint in endpoints.items()}
    return binance_rest(paths, venue.limit, WORDS, tells_when=True)


class _Answers:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._history = venue.history

    def time(self, call: Call) -> bytes:
        return encode({"serverTime": in_unit(call.now_ms, 0, _microseconds(call.request))})

    def exchange_info(self, call: Call) -> bytes:
        venue = self._venue
        now = in_unit(call.now_ms, 0, _microseconds(call.request))
        listings = chosen(venue.listings, call.request.query)
        return exchange_info(listings, venue.quirks, now, venue.limit.weight_limit)

    def trades(self, call: Call) -> bytes:
        symbol = call.values.symbol("symbol", self._venue.listings)
        limit = call.values.limit(default=DEFAULT_ROWS, most=MAX_ROWS)
        return _rows(call.request, self._history.newest(symbol, limit))

    def historical(self, call: Call) -> bytes:
        """The exchange has all rows. The simulator has those that it keeps."""
        values = call.values
        symbol = values.symbol("symbol", self._venue.listings)
        limit = values.limit(default=DEFAULT_ROWS, most=MAX_ROWS)
        first_id = span_of(values).first_id
        if first_id is None:
            return _rows(call.request, self._history.newest(symbol, limit))
        return _rows(call.request, self._history.trades[symbol].since(first_id, limit))

    def aggregates(self, call: Call) -> bytes:
        values, microseconds = call.values, _microseconds(call.request)
        shelf = self._history.aggregates[values.symbol("symbol", self._venue.listings)]
        rows = of_span(shelf, span_of(values), values.limit(default=DEFAULT_ROWS, most=MAX_ROWS))
        return encode([aggregate_fields(row, microseconds) for row in rows])

    def depth(self, call: Call) -> bytes:
        symbol = call.values.symbol("symbol", self._venue.listings)
        limit = min(call.values.limit(default=DEFAULT_DEPTH, most=MAX_NUMBER), MAX_DEPTH)
        book = self._venue.snapshot(symbol, limit)
        if book.raw is not None and limit == RECORDED_DEPTH:
            return book.raw
        return b'{"lastUpdateId":%d,"bids":%b,"asks":%b}' % (
            book.last_id,
            levels(book.bids),
            levels(book.asks),
        )


def _depth_weight(values: Values) -> int:
    """We assume that an invalid limit costs as much as none: no document says."""
    limit = whole_limit(values) or DEFAULT_DEPTH
    return next((weight for most, weight in DEPTH_WEIGHTS if limit <= most), MOST_DEPTH_WEIGHT)


def _microseconds(request: Request) -> bool:
    return request.headers.get(TIME_UNIT, "").lower() == "microsecond"


def _rows(request: Request, trades: list[Trade]) -> bytes:
    microseconds = _microseconds(request)
    return encode([_row(trade, microseconds) for trade in trades])


def _row(trade: Trade, microseconds: bool) -> dict[str, Any]:
    quote = Decimal(trade.price) * Decimal(trade.quantity)
    return {
        "id": trade.trade_id,
        "price": trade.price,
        "qty": trade.quantity,
        "quoteQty": f"{quote:.8f}",
        "time": in_unit(trade.time_ms, trade.beyond_us, microseconds),
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }
