"""Bitfinex's REST endpoints that a client for trades and books needs.

The exchange limits each endpoint by itself: names of pairs 90 times a minute, tickers 30 times,
trades 15 times. Here they share one limit of 90, with weights.
"""

from typing import ClassVar, Final

from fanout.simulator.connection.http import Request
from fanout.simulator.dialects.base import RestSide, Venue
from fanout.simulator.dialects.bitfinex.frames import trade_row
from fanout.simulator.dialects.bitfinex.numbers import spelled
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
from fanout.simulator.market.listing import TRADING, Listing

WEIGHT_A_MINUTE: Final = 90

PERPETUAL: Final = "perpetual"
"""The contract type of the listings whose pairs the venue lists as futures."""

MAX_ROWS: Final = 10_000
DEFAULT_ROWS: Final = 125
NEWEST_FIRST: Final = "-1"
OLDEST_FIRST: Final = "1"

INVALID: Final = 10020
TOO_MANY: Final = 11010
MAINTENANCE: Final = 20060

_LISTS: Final = {"pub:list:pair:exchange": "", "pub:list:pair:futures": PERPETUAL}


class BitfinexWords(Words):
    """An error is an array, with HTTP status 500."""

    by_status: ClassVar[Errors] = {
        429: (TOO_MANY, "ratelimit: error"),
        500: (10000, "unknown error"),
        503: (MAINTENANCE, "maintenance"),
    }

    def no_path(self, request: Request) -> RejectedError:
        return RejectedError(404, INVALID, "path: invalid")

    def missing(self, name: str) -> RejectedError:
        return RejectedError(500, INVALID, f"{name}: missing")

    def invalid(self, name: str, value: str) -> RejectedError:
        return RejectedError(500, INVALID, f"{name}: invalid")

    def no_symbol(self, symbol: str) -> RejectedError:
        return RejectedError(500, INVALID, "symbol: invalid")

    def body(self, rejected: RejectedError, now_ms: int) -> bytes:
        return encode(["error", rejected.code, rejected.message])


WORDS: Final = BitfinexWords()


def rest(venue: Venue) -> RestSide:
    answers = _Answers(venue)
    endpoints = {
        "/v2/platform/status": Endpoint(1, lambda call: b"[1]"),
        "/v2/conf/{names}": Endpoint(1, answers.names),
        "/v2/tickers": Endpoint(3, answers.tickers),
        "/v2/trades/{symbol}/hist": Endpoint(6, answers.trades),
    }
    return Rest(endpoints, venue.limit, WORDS)


class _Answers:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def names(self, call: Call) -> bytes:
        """Pairs that do not trade are not listed."""
        asked = call.values.needed("names").split(",")
        for name in asked:
            if name not in _LISTS:
                raise WORDS.invalid("config", name)
        return encode([self._pairs(_LISTS[name]) for name in asked])

    def _pairs(self, contract_type: str) -> list[str]:
        return [
            listing.symbol[1:]
            for listing in self._trading()
            if listing.contract_type == contract_type
            for _ in range(1 + ("twice" in self._venue.quirks.get(listing.symbol, ())))
        ]

    def tickers(self, call: Call) -> bytes:
        asked = call.values.needed("symbols").split(",")
        rows = [
            self._ticker(listing)
            for listing in self._trading()
            if "ALL" in asked or listing.symbol in asked
        ]
        return f"[{','.join(rows)}]".encode()

    def _ticker(self, listing: Listing) -> str:
        """Only the prices mean something here."""
        newest = self._venue.history.newest(listing.symbol, 1)
        last = spelled(newest[0].price if newest else listing.price)
        return f'["{listing.symbol}",{last},1,{last},1,0,0,{last},1,{last},{last}]'

    def _trading(self) -> list[Listing]:
        return [each for each in self._venue.listings.values() if each.status == TRADING]

    def trades(self, call: Call) -> bytes:
        values, shelves = call.values, self._venue.history.trades
        symbol = values.symbol("symbol", shelves)
        limit = values.limit(default=DEFAULT_ROWS, most=MAX_ROWS)
        sort = values.choice("sort", (NEWEST_FIRST, OLDEST_FIRST), default=NEWEST_FIRST)
        span = Span(start_ms=values.integer("start"), end_ms=values.integer("end"))
        is_newest = sort == NEWEST_FIRST
        rows = rows_of(shelves[symbol], span, limit, newest=is_newest)
        texts = [trade_row(each) for each in (reversed(rows) if is_newest else rows)]
        return b"[%b]" % b",".join(texts)
