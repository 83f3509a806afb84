"""Deribit's REST side: the listing, trades by sequence, and the time.

An answer is `{"jsonrpc":"2.0","result":...}`. An error has HTTP status 400 and a code.
"""

from typing import Any, ClassVar, Final

import msgspec

from fanout.simulator.connection.http import Request
from fanout.simulator.dialects.base import Venue
from fanout.simulator.dialects.deribit.frames import number, trade_row
from fanout.simulator.dialects.deribit.table import PERPETUAL
from fanout.simulator.dialects.listings import Row, odd_rows
from fanout.simulator.dialects.rest import (
    Call,
    Endpoint,
    Errors,
    RejectedError,
    Rest,
    Span,
    Words,
    encode,
    rows_of,
)
from fanout.simulator.market.listing import TRADING, Listing, Quirk

MAX_ROWS: Final = 1_000
DEFAULT_ROWS: Final = 10
LISTING_WEIGHT: Final = 20
NEVER_MS: Final = 32_503_708_800_000
"""The expiry that perpetuals have: the year 3000."""
ODD: Final[dict[Quirk, Row]] = {
    "null-type": {"instrument_type": None},
    "no-filters": {"tick_size": None},
}


class DeribitWords(Words):
    """Deribit's errors."""

    by_status: ClassVar[Errors] = {
        429: (10028, "too_many_requests"),
        503: (13028, "temporarily_unavailable"),
    }

    def no_path(self, request: Request) -> RejectedError:
        return RejectedError(400, -32601, "Method not found")

    def missing(self, name: str) -> RejectedError:
        return RejectedError(400, -32602, f"Invalid params: {name} is required")

    def invalid(self, name: str, value: str) -> RejectedError:
        return RejectedError(400, -32602, f"Invalid params: {name}")

    def no_symbol(self, symbol: str) -> RejectedError:
        return RejectedError(400, 13020, "not_found")

    def body(self, rejected: RejectedError, now_ms: int) -> bytes:
        error = {"code": rejected.code, "message": rejected.message}
        return encode({"jsonrpc": "2.0", "error": error, "testnet": False})


WORDS: Final = DeribitWords()


def rest(venue: Venue) -> Rest:
    answers = _Answers(venue)
    root = "/api/v2/public"
    endpoints = {
        f"{root}/get_instruments": Endpoint(LISTING_WEIGHT, answers.instruments),
        f"{root}/get_last_trades_by_instrument": Endpoint(1, answers.trades),
        f"{root}/get_time": Endpoint(1, answers.time),
    }
    return Rest(endpoints, venue.limit, WORDS)


class _Answers:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def time(self, call: Call) -> bytes:
        return _result(call, call.now_ms)

    def instruments(self, call: Call) -> bytes:
        call.values.needed("currency")
        listings = self._venue.listings.values()
        return _result(call, odd_rows(listings, self._venue.quirks, _row, ODD))

    def trades(self, call: Call) -> bytes:
        """Trades from one sequence number to another, the oldest first or the newest."""
        values = call.values
        symbol = values.symbol("instrument_name", self._venue.listings)
        first, last = values.integer("start_seq"), values.integer("end_seq")
        count = values.limit("count", default=DEFAULT_ROWS, most=MAX_ROWS)
        is_ascending = (
            values.choice("sorting", ("asc", "desc", "default"), default="default") == "asc"
        )
        shelf = self._venue.history.trades[symbol]
        span = Span(first_id=first, last_id=last)
        found = rows_of(shelf, span, count + 1, newest=not is_ascending)
        rows = found[:count] if is_ascending else found[-count:][::-1]
        result = {"trades": [trade_row(each) for each in rows], "has_more": len(found) > count}
        return _result(call, result)


def _row(listing: Listing) -> Row:
    parts = listing.symbol.split("-")
    kind = "spot" if len(parts) == 1 else "future" if len(parts) == 2 else "option"
    is_trading = listing.status == TRADING
    row: Row = {
        "instrument_name": listing.symbol,
        "kind": kind,
        "instrument_type": listing.contract_type,
        "base_currency": listing.base,
        "counter_currency": listing.quote if kind != "option" else "USD",
        "quote_currency": listing.quote,
        "settlement_currency": listing.settled_in,
        "tick_size": number(listing.tick_size),
        "tick_size_steps": [],
        "block_trade_tick_size": number(listing.tick_size),
        "min_trade_amount": number(listing.step_size),
        "contract_size": number(listing.contract_size or listing.step_size),
        "is_active": is_trading,
        "state": "open" if is_trading else listing.status,
    }
    if kind != "spot":
        is_perpetual = parts[1] == PERPETUAL
        row["settlement_period"] = "perpetual" if is_perpetual else "month"
        row["expiration_timestamp"] = listing.expires_ms or NEVER_MS
    if kind == "option":
        row["strike"] = number(parts[2].replace("d", "."))
        row["option_type"] = "call" if parts[3] == "C" else "put"
    return row


def _result(call: Call, result: Any) -> bytes:
    return msgspec.json.encode(
        {"jsonrpc": "2.0", "result": result, "usIn": call.now_ms * 1_000, "testnet": False}
    )
