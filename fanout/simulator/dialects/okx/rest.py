"""OKX's REST side: the listing, trades, whole books and the time.

An error has HTTP status 200 and a code; too many requests have status 429 too. Each
answer is `{"code":"0","msg":"","data":[...]}`. The documented limits differ from path to path; here
all paths share the strictest usual one, 20 requests in two seconds.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from fanout.simulator.connection.http import Request
from fanout.simulator.dialects.base import Venue
from fanout.simulator.dialects.listings import Row, odd_rows
from fanout.simulator.dialects.okx.table import LIVE
from fanout.simulator.dialects.rest import (
    Call,
    Endpoint,
    Errors,
    RejectedError,
    Rest,
    Span,
    Values,
    Words,
    encode,
    rows_of,
)
from fanout.simulator.market.listing import TRADING, Listing, Quirk
from fanout.simulator.market.ticks import RPI, Trade

PAGE: Final = 100
MAX_NEWEST: Final = 500
MAX_DEPTH: Final = 400

ODD: Final[Mapping[Quirk, Row]] = {"null-type": {"ctType": None}, "no-filters": {"tickSz": None}}
KINDS: Final = ("SPOT", "SWAP", "FUTURES", "OPTION")


class OkxWords(Words):
    """OKX's errors."""

    by_status: ClassVar[Errors] = {
        429: ("50011", "Requests too frequent."),
        503: ("50001", "Service temporarily unavailable. Please try again later."),
    }

    def no_path(self, request: Request) -> RejectedError:
        return RejectedError(404, "404", "Not Found")

    def missing(self, name: str) -> RejectedError:
        return RejectedError(200, "50014", f"Parameter {name} can not be empty.")

    def invalid(self, name: str, value: str) -> RejectedError:
        return RejectedError(200, "51000", f"Parameter {name} error")

    def no_symbol(self, symbol: str) -> RejectedError:
        return RejectedError(200, "51001", "Instrument ID doesn't exist.")

    def body(self, rejected: RejectedError, now_ms: int) -> bytes:
        return encode({"code": str(rejected.code), "msg": rejected.message, "data": []})


WORDS: Final = OkxWords()


def rest(venue: Venue) -> Rest:
    answers = _Answers(venue)
    endpoints = {
        "/api/v5/public/instruments": Endpoint(1, answers.instruments),
        "/api/v5/public/underlying": Endpoint(1, answers.underlying),
        "/api/v5/public/time": Endpoint(2, answers.time),
        "/api/v5/market/trades": Endpoint(1, answers.trades),
        "/api/v5/market/history-trades": Endpoint(1, answers.history),
        "/api/v5/market/books": Endpoint(1, answers.books),
    }
    return Rest(endpoints, venue.limit, WORDS)


class _Answers:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def time(self, call: Call) -> bytes:
        return _good([{"ts": str(call.now_ms)}])

    def instruments(self, call: Call) -> bytes:
        kind, underlying = call.values.choice("instType", KINDS), call.values.text("uly")
        if kind == "OPTION" and underlying is None:
            raise RejectedError(200, "50014", "Either parameter uly or instFamily is required.")
        rows = [
            row
            for row in self._rows()
            if row["instType"] == kind and underlying in (None, row["uly"])
        ]
        return _good(rows)

    def underlying(self, call: Call) -> bytes:
        kind = call.values.choice("instType", KINDS)
        return _good([sorted({row["uly"] for row in self._rows() if row["instType"] == kind})])

    def trades(self, call: Call) -> bytes:
        limit = call.values.limit(default=PAGE, most=MAX_NEWEST, clamps=True)
        rows = self._venue.history.newest(self._symbol(call.values), limit)
        return _good([_trade(each) for each in reversed(rows)])

    def history(self, call: Call) -> bytes:
        """Trades below the id `after`, the newest first."""
        shelf = self._venue.history.trades[self._symbol(call.values)]
        after = call.values.integer("after", least=1)
        limit = call.values.limit(default=PAGE, most=PAGE, clamps=True)
        span = Span(last_id=None if after is None else after - 1)
        return _good([_trade(each) for each in reversed(rows_of(shelf, span, limit, newest=True))])

    def books(self, call: Call) -> bytes:
        symbol = self._symbol(call.values)
        depth = call.values.limit("sz", default=1, most=MAX_DEPTH, clamps=True)
        book = self._venue.snapshot(symbol, depth)
        row = {
            "asks": [(*each, "0", "1") for each in book.asks],
            "bids": [(*each, "0", "1") for each in book.bids],
            "ts": str(book.time_ms),
            "seqId": book.last_id,
        }
        return _good([row])

    def _symbol(self, values: Values) -> str:
        return values.symbol("instId", self._venue.listings)

    def _rows(self) -> list[Row]:
        return odd_rows(self._venue.listings.values(), self._venue.quirks, _row, ODD)


def _row(listing: Listing) -> Row:
    kind = listing.contract_type
    family = "" if kind == "SPOT" else f"{listing.base}-{listing.quote}"
    is_inverse = listing.settled_in == listing.base
    # The size of an option's contract is in its multiplier.
    sizes = ("1", listing.contract_size) if kind == "OPTION" else (listing.contract_size, "1")
    value, multiplier = sizes if family else ("", "")
    return {
        "instType": kind,
        "instId": listing.symbol,
        "uly": family,
        "instFamily": family,
        "baseCcy": "" if family else listing.base,
        "quoteCcy": "" if family else listing.quote,
        "settleCcy": listing.settled_in,
        "ctType": ("inverse" if is_inverse else "linear") if kind in ("SWAP", "FUTURES") else "",
        "ctVal": value,
        "ctMult": multiplier,
        "ctValCcy": _size_in(listing),
        "expTime": "" if listing.expires_ms is None else str(listing.expires_ms),
        "tickSz": listing.tick_size,
        "lotSz": listing.step_size,
        "minSz": listing.step_size,
        "state": LIVE if listing.status == TRADING else listing.status,
    }


def _size_in(listing: Listing) -> str:
    """The currency that the size of a contract is an amount of."""
    if listing.contract_type == "SPOT":
        return ""
    is_inverse = listing.settled_in == listing.base and listing.contract_type != "OPTION"
    return listing.quote if is_inverse else listing.base


def _trade(trade: Trade) -> dict[str, str]:
    return {
        "instId": trade.symbol,
        "side": "sell" if trade.buyer_is_maker else "buy",
        "sz": trade.quantity,
        "source": "1" if trade.kind == RPI else "0",
        "px": trade.price,
        "tradeId": str(trade.trade_id),
        "ts": str(trade.time_ms),
    }


def _good(rows: list[Any]) -> bytes:
    return encode({"code": "0", "msg": "", "data": rows})
