"""Bybit's REST side: the listing in pages, the newest trades, and the time.

An error has HTTP status 200 and a code, but for too many requests, which get 403 for ten minutes.
Each answer is `{"retCode":0,"retMsg":"OK","result":{...},"retExtInfo":{},"time":...}`.
https://bybit-exchange.github.io/docs/v5/error
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

from fanout.simulator.connection.http import Request
from fanout.simulator.dialects.base import Venue
from fanout.simulator.dialects.bybit.frames import Ids
from fanout.simulator.dialects.bybit.table import SPOT_CATEGORY, described
from fanout.simulator.dialects.listings import Row, odd_rows, page_of
from fanout.simulator.dialects.rest import (
    Call,
    Endpoint,
    Errors,
    RejectedError,
    Rest,
    Words,
    encode,
)
from fanout.simulator.market.listing import TRADING, Listing, Quirk
from fanout.simulator.market.ticks import RPI, Trade

PAGE: Final = 500
MAX_PAGE: Final = 1_000
ODD: Final[Mapping[Quirk, Row]] = {
    "null-type": {"contractType": None},
    "no-filters": {"priceFilter": None},
}


class BybitWords(Words):
    """Bybit's errors."""

    by_status: ClassVar[Errors] = {
        403: (10006, "access too frequent"),
        429: (10006, "Too many visits. Exceeded the API Rate Limit."),
        503: (10016, "Server error."),
    }

    def no_path(self, request: Request) -> RejectedError:
        return RejectedError(404, 404, "404 page not found")

    def missing(self, name: str) -> RejectedError:
        return RejectedError(200, 10001, f"params error: {name} is required")

    def invalid(self, name: str, value: str) -> RejectedError:
        return RejectedError(200, 10001, f"params error: {name} invalid")

    def no_symbol(self, symbol: str) -> RejectedError:
        return RejectedError(200, 10001, "params error: Symbol Invalid")

    def body(self, rejected: RejectedError, now_ms: int) -> bytes:
        return _envelope(int(rejected.code), rejected.message, {}, now_ms)


WORDS: Final = BybitWords()


def rest(venue: Venue, category: str, ids: Ids, most_trades: int) -> Rest:
    answers = _Answers(venue, category, ids, most_trades)
    endpoints = {
        "/v5/market/instruments-info": Endpoint(1, answers.instruments),
        "/v5/market/recent-trade": Endpoint(1, answers.trades),
        "/v5/market/time": Endpoint(1, answers.time),
    }
    return Rest(endpoints, venue.limit, WORDS)


class _Answers:
    def __init__(self, venue: Venue, category: str, ids: Ids, most_trades: int) -> None:
        self._venue = venue
        self._category = category
        self._ids = ids
        self._most_trades = most_trades

    def time(self, call: Call) -> bytes:
        now_ms = call.now_ms
        result = {"timeSecond": str(now_ms // 1_000), "timeNano": str(now_ms * 1_000_000)}
        return _envelope(0, "OK", result, now_ms)

    def instruments(self, call: Call) -> bytes:
        """In pages, but at spot, which has one."""
        self._check_category(call)
        listings = self._venue.listings
        limit = call.values.limit(default=PAGE, most=MAX_PAGE)
        if self._category == SPOT_CATEGORY:
            return self._listed(call, list(listings.values()), "")
        page = page_of(listings, limit, call.values.text("cursor"))
        return self._listed(call, page.listings, quote(page.cursor or ""))

    def trades(self, call: Call) -> bytes:
        self._check_category(call)
        symbol = call.values.symbol("symbol", self._venue.listings)
        most = self._most_trades
        limit = call.values.limit(default=most, most=most)
        rows = self._venue.history.newest(symbol, limit)
        return self._result(call, [self._trade(each) for each in reversed(rows)])

    def _check_category(self, call: Call) -> None:
        call.values.choice("category", (self._category,))

    def _listed(self, call: Call, listings: list[Listing], cursor: str) -> bytes:
        rows = odd_rows(listings, self._venue.quirks, self._row, ODD)
        return self._result(call, rows, nextPageCursor=cursor)

    def _result(self, call: Call, rows: list[Row], **more: str) -> bytes:
        result = {"category": self._category, "list": rows, **more}
        return _envelope(0, "OK", result, call.now_ms)

    def _row(self, listing: Listing) -> Row:
        if not listing.base:  # one that a fault has listed
            listing = described(listing, self._category)
        row = {
            "symbol": listing.symbol,
            "status": "Trading" if listing.status == TRADING else listing.status,
            "baseCoin": listing.base,
            "quoteCoin": listing.quote,
            "priceFilter": {"tickSize": listing.tick_size},
        }
        step = listing.step_size
        if self._category == SPOT_CATEGORY:
            return {**row, "lotSizeFilter": {"basePrecision": step, "quotePrecision": "0.0000001"}}
        return {
            **row,
            "contractType": listing.contract_type,
            "deliveryTime": str(listing.expires_ms or 0),
            "settleCoin": listing.settled_in,
            "lotSizeFilter": {"qtyStep": step, "minOrderQty": step},
        }

    def _trade(self, trade: Trade) -> Row:
        return {
            "execId": self._ids.spelled(trade.symbol, trade.trade_id),
            "symbol": trade.symbol,
            "price": trade.price,
            "size": trade.quantity,
            "side": "Sell" if trade.buyer_is_maker else "Buy",
            "time": str(trade.time_ms),
            "isBlockTrade": False,
            "isRPITrade": trade.kind == RPI,
        }


def _envelope(code: int, message: str, result: Any, now_ms: int) -> bytes:
    return encode(
        {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}
    )
