"""The REST side, as a pure function: method, target and time in, a response out.

Served are the four endpoints that a reader of trades needs. Weights are the documented ones, and
are counted over the UTC clock minute, a rejected request's included; nobody is refused for them.
A path that does not exist costs nothing (an assumption: no document says).
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from fanout.simulator.exchange_info import exchange_info
from fanout.simulator.history import KEPT_ROWS, History
from fanout.simulator.symbols import Listing
from fanout.simulator.ticks import RPI, Trade

MS_PER_MINUTE: Final = 60_000
DEFAULT_ROWS: Final = 500
MAX_ROWS: Final = KEPT_ROWS

Query = dict[str, str]
Endpoint = Callable[[Query, int], bytes]


class Response(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    used_weight: int


class _RejectedError(Exception):
    """An error of the exchange's own. Never leaves this file."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = msgspec.json.encode({"code": code, "msg": message})


class Rest:
    """All clients share one pool of weight: on loopback they share their address too."""

    def __init__(self, listings: tuple[Listing, ...], history: History) -> None:
        self._listings = listings
        self._history = history
        self._used = _UsedWeight()
        self._endpoints: dict[str, tuple[int, Endpoint]] = {
            "/fapi/v1/ping": (1, lambda query, now_ms: b"{}"),
            "/fapi/v1/time": (1, lambda query, now_ms: _encode({"serverTime": now_ms})),
            "/fapi/v1/exchangeInfo": (1, lambda query, now_ms: exchange_info(listings, now_ms)),
            "/fapi/v1/trades": (5, self._trades),
        }

    def respond(self, method: str, target: str, now_ms: int) -> Response:
        path, _, query = target.partition("?")
        weight, endpoint = self._endpoints.get(path, (0, None))
        used = self._used.add(weight, now_ms)
        try:
            if endpoint is None or method != "GET":
                raise _RejectedError(404, -5000, f"Path {path}, Method {method} is invalid")
            body = endpoint(dict(parse_qsl(query, keep_blank_values=True)), now_ms)
        except _RejectedError as rejected:
            return Response(rejected.status, rejected.body, used)
        return Response(200, body, used)

    def _trades(self, query: Query, now_ms: int) -> bytes:
        symbol, limit = _symbol(query), _limit(query)
        if symbol not in self._history:
            raise _RejectedError(400, -1121, "Invalid symbol.")
        return _encode([_row(trade) for trade in self._history.rows(symbol, limit)])


class _UsedWeight:
    """The sum of this clock minute."""

    def __init__(self) -> None:
        self._minute = 0
        self._used = 0

    def add(self, weight: int, now_ms: int) -> int:
        minute = now_ms // MS_PER_MINUTE
        if minute != self._minute:
            self._minute, self._used = minute, 0
        self._used += weight
        return self._used


def _symbol(query: Query) -> str:
    symbol = query.get("symbol")
    if not symbol:
        message = "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
        raise _RejectedError(400, -1102, message)
    return symbol


def _limit(query: Query) -> int:
    text = query.get("limit", str(DEFAULT_ROWS))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= MAX_ROWS:
        raise _RejectedError(400, -1130, "Data sent for parameter 'limit' is not valid.")
    return limit


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


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
