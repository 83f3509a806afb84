"""Advanced Trade's public REST side: the listing, the newest trades, and the time."""

from typing import Any, Final

from fanout.simulator.connection.http import Request
from fanout.simulator.dialects.base import RestSide, Venue
from fanout.simulator.dialects.coinbase.advanced_frames import trade_row
from fanout.simulator.dialects.coinbase.dialect import CoinbaseWords
from fanout.simulator.dialects.coinbase.table import alias_of, status_of
from fanout.simulator.dialects.coinbase.texts import instant
from fanout.simulator.dialects.listings import Row, odd_rows
from fanout.simulator.dialects.rest import (
    Call,
    Endpoint,
    RejectedError,
    Rest,
    Span,
    encode,
    rows_of,
)
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.ticks import Trade

ROOT: Final = "/api/v3/brokerage"
MAX_ROWS: Final = 1_000
MS_PER_S: Final = 1_000

SPOT: Final = "SPOT"
FUTURE: Final = "FUTURE"
TYPES: Final = ("UNKNOWN_PRODUCT_TYPE", SPOT, FUTURE)

_NO_STEPS: Final[Row] = {"price_increment": None, "base_increment": None}


class AdvancedWords(CoinbaseWords):
    """Advanced Trade's errors: a code, and a message twice."""

    def no_path(self, request: Request) -> RejectedError:
        return RejectedError(404, "unknown", "Not Found")

    def missing(self, name: str) -> RejectedError:
        return RejectedError(400, "INVALID_ARGUMENT", f"{name} is required")

    def invalid(self, name: str, value: str) -> RejectedError:
        return RejectedError(400, "INVALID_ARGUMENT", f"{name} is invalid")

    def no_symbol(self, symbol: str) -> RejectedError:
        return RejectedError(400, "INVALID_ARGUMENT", "valid product_id is required")

    def body(self, rejected: RejectedError, now_ms: int) -> bytes:
        words = rejected.message
        return encode({"error": rejected.code, "error_details": words, "message": words})


WORDS: Final = AdvancedWords()


def rest(venue: Venue) -> RestSide:
    answers = _Answers(venue)
    paths = {
        f"{ROOT}/time": Endpoint(1, _time),
        f"{ROOT}/market/products": Endpoint(1, answers.products),
        f"{ROOT}/market/products/{{symbol}}": Endpoint(1, answers.product),
        f"{ROOT}/market/products/{{symbol}}/ticker": Endpoint(1, answers.ticker),
    }
    return Rest(paths, venue.limit, WORDS)


class _Answers:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def products(self, call: Call) -> bytes:
        """The pairs. There is no future, and one page has all rows."""
        venue = self._venue
        if call.values.choice("product_type", TYPES, default=SPOT) == FUTURE:
            return encode({"products": [], "num_products": 0, "pagination": None})
        rows = odd_rows(venue.listings.values(), venue.quirks, product, {"no-filters": _NO_STEPS})
        return encode({"products": rows, "num_products": len(rows), "pagination": None})

    def product(self, call: Call) -> bytes:
        return encode(product(self._venue.listings[self._symbol(call)]))

    def ticker(self, call: Call) -> bytes:
        """The newest trades, or those from `start` to `end`, in unix seconds."""
        symbol, values = self._symbol(call), call.values
        limit = values.limit(default=MAX_ROWS, most=MAX_ROWS, clamps=True)
        start_s, end_s = values.integer("start"), values.integer("end")
        span = Span(
            start_ms=None if start_s is None else start_s * MS_PER_S,
            end_ms=None if end_s is None else end_s * MS_PER_S,
        )
        shelves = self._venue.history.trades
        shelf = shelves.get(alias_of(symbol), shelves[symbol])
        rows = rows_of(shelf, span, limit, newest=True)
        best = self._venue.snapshot(symbol, 1)
        return encode(
            {
                "trades": [_row(trade) for trade in reversed(rows)],
                "best_bid": best.bids[0][0] if best.bids else "",
                "best_ask": best.asks[0][0] if best.asks else "",
            }
        )

    def _symbol(self, call: Call) -> str:
        return call.values.symbol("symbol", self._venue.listings)


def product(listing: Listing) -> Row:
    base, _, quote = listing.symbol.partition("-")
    alias = alias_of(listing.symbol)
    return {
        "product_id": listing.symbol,
        "price": listing.price,
        "base_increment": listing.step_size,
        "quote_increment": listing.tick_size,
        "base_name": base,
        "quote_name": quote,
        "is_disabled": False,
        "new": False,
        "status": status_of(listing),
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": status_of(listing) != "online",
        "auction_mode": False,
        "product_type": SPOT,
        "quote_currency_id": quote,
        "base_currency_id": base,
        "fcm_trading_session_details": None,
        "alias": alias,
        "alias_to": [] if alias or quote != "USD" else [f"{listing.symbol}C"],
        "view_only": False,
        "price_increment": listing.tick_size,
        "display_name": listing.symbol,
        "product_venue": "CBE",
    }


def _row(trade: Trade) -> dict[str, Any]:
    return {**trade_row(trade), "bid": "", "ask": "", "exchange": "coinbase"}


def _time(call: Call) -> bytes:
    seconds = call.now_ms // MS_PER_S
    return encode(
        {
            "iso": f"{instant(call.now_ms)[:19]}Z",
            "epochSeconds": str(seconds),
            "epochMillis": str(call.now_ms),
        }
    )
