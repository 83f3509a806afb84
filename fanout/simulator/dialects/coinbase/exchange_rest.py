"""The Exchange's REST side: the listing, trades by id, and the time.

Limits are the documented ones: 10 requests a second. An unreadable cursor is refused in our words.
"""

from typing import Any, Final

from fanout.simulator.connection.http import Request
from fanout.simulator.dialects.base import RestSide, Venue
from fanout.simulator.dialects.coinbase.dialect import CoinbaseWords
from fanout.simulator.dialects.coinbase.table import status_of
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

MAX_ROWS: Final = 1_000

_NO_STEPS: Final[Row] = {"quote_increment": None, "base_increment": None}


class ExchangeWords(CoinbaseWords):
    """The Exchange's errors: a message, and a status."""

    def no_path(self, request: Request) -> RejectedError:
        return RejectedError(404, "", "NotFound")

    def missing(self, name: str) -> RejectedError:
        return RejectedError(400, "", f"{name} is required")

    def invalid(self, name: str, value: str) -> RejectedError:
        return RejectedError(400, "", f"Invalid {name}")

    def no_symbol(self, symbol: str) -> RejectedError:
        return RejectedError(404, "", "NotFound")

    def body(self, rejected: RejectedError, now_ms: int) -> bytes:
        return encode({"message": rejected.message})


WORDS: Final = ExchangeWords()


def rest(venue: Venue) -> RestSide:
    answers = _Answers(venue)
    paths = {
        "/time": Endpoint(1, _time),
        "/products": Endpoint(1, answers.products),
        "/products/{symbol}": Endpoint(1, answers.product),
        "/products/{symbol}/trades": Endpoint(1, answers.trades),
    }
    return Rest(paths, venue.limit, WORDS)


class _Answers:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def products(self, call: Call) -> bytes:
        venue = self._venue
        return encode(
            odd_rows(venue.listings.values(), venue.quirks, product, {"no-filters": _NO_STEPS})
        )

    def product(self, call: Call) -> bytes:
        return encode(product(self._venue.listings[self._symbol(call)]))

    def trades(self, call: Call) -> bytes:
        """`after` asks for older ids than this one, and `before` for newer ones."""
        symbol, values = self._symbol(call), call.values
        limit = values.limit(default=MAX_ROWS, most=MAX_ROWS, clamps=True)
        after, before = values.integer("after", least=1), values.integer("before")
        span = Span(
            first_id=0 if before is None else before + 1,
            last_id=None if after is None else after - 1,
        )
        rows = rows_of(self._venue.history.trades[symbol], span, limit, newest=True)
        return encode([_row(trade) for trade in reversed(rows)])

    def _symbol(self, call: Call) -> str:
        return call.values.symbol("symbol", self._venue.listings)


def product(listing: Listing) -> Row:
    base, _, quote = listing.symbol.partition("-")
    return {
        "id": listing.symbol,
        "base_currency": base,
        "quote_currency": quote,
        "quote_increment": listing.tick_size,
        "base_increment": listing.step_size,
        "display_name": listing.symbol,
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": status_of(listing),
        "status_message": "",
        "trading_disabled": status_of(listing) != "online",
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
        "auction_mode": False,
        "high_bid_limit_percentage": "",
    }


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "trade_id": trade.trade_id,
        "side": "buy" if trade.buyer_is_maker else "sell",
        "size": trade.quantity,
        "price": trade.price,
        "time": instant(trade.time_ms, trade.beyond_us),
    }


def _time(call: Call) -> bytes:
    iso = f"{instant(call.now_ms)[:-4]}Z"
    return encode({"iso": iso, "epoch": call.now_ms / 1_000})
