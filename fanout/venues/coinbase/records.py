"""Trades over Coinbase's REST: requests, and parsers of their answers. Pure.

    GET /products/BTC-USD/trades?after=1001&limit=1000                   the Exchange
    [{"trade_id":1000,"side":"buy","size":"0.1","price":"100.00","time":"2026-..."}]
    https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades

    GET /api/v3/brokerage/market/products/BTC-USD/ticker?limit=1000      Advanced Trade
    {"trades":[{"trade_id":"995098663","product_id":"BTC-USD","price":"68923.67","size":"0.00064",
      "time":"2026-04-07T00:28:58.544778Z","side":"SELL",...}],"best_bid":"...","best_ask":"..."}
    https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-market-trades

The newest trade comes first in both. At the Exchange `side` is the maker's, `after` selects the
trades below an id, and ids of a product are consecutive. So the page that begins with an id is the
one below the id 1,000 further.

At Advanced Trade `side` is taken for the maker's, as on the stream. For REST that is unproven: the
documentation does not say it, and some users take it for the taker's.

Advanced Trade has the newest trades only, as used here. `start` and `end` select by time, in unix
seconds. But the newest of a span come first, so `start` alone reaches back no further than the
limit, and ccxt, another library, refuses it without `end`. Older trades would need spans that are
cut to fit a page, whose ends need a clock. The largest `limit` is undocumented; ccxt sends up to
1,000.
"""

from itertools import pairwise
from typing import Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.constants import U64_MAX, TradeKind
from fanout.venues.coinbase.advanced_messages import Trade, unreadable
from fanout.venues.coinbase.exchange_messages import Id, MakerSide
from fanout.venues.numbers import BROKEN
from fanout.venues.times import micros_of
from fanout.venues.values import History, Request, VenueTrade

PAGE: Final = 1_000
"""Most trades of an answer."""


class _ExchangeId(msgspec.Struct):
    trade_id: Id


class _ExchangeTrade(_ExchangeId):
    side: MakerSide
    size: str
    price: str
    time: str


class _Ticker(msgspec.Struct):
    trades: list[msgspec.Raw]


_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_exchange = msgspec.json.Decoder(_ExchangeTrade).decode
_decode_exchange_id = msgspec.json.Decoder(_ExchangeId).decode
_decode_ticker = msgspec.json.Decoder(_Ticker).decode
_decode_advanced = msgspec.json.Decoder(Trade).decode


def _fault(symbol: str) -> str:
    return f"trades of {symbol} are not as documented"


# The Exchange.


def exchange_newest_request(symbol: str) -> Request:
    return Request(path=f"/products/{symbol}/trades", query={"limit": str(PAGE)})


def exchange_history_request(symbol: str, first_id: int) -> Request:
    query = {"after": str(first_id + PAGE), "limit": str(PAGE)}
    return Request(path=f"/products/{symbol}/trades", query=query)


def parse_exchange(body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
    """Parse rows of either request, oldest first. A row with a readable id but unreadable values
    becomes a trade with empty values, which fit no field. Raises `VenueMessageError`."""
    try:
        return _ascending([_of_exchange(raw, symbol) for raw in _decode_rows(body)], symbol)
    except BROKEN as error:
        raise VenueMessageError(_fault(symbol), error) from error


def _of_exchange(raw: msgspec.Raw, symbol: str) -> VenueTrade:
    try:
        row = _decode_exchange(raw)
        time = micros_of(row.time)
    except (msgspec.ValidationError, VenueMessageError):
        return _unreadable(symbol, _decode_exchange_id(raw).trade_id)
    return VenueTrade(
        symbol, row.trade_id, time, row.price, row.size, row.side == "buy", TradeKind.MARKET
    )


def parse_exchange_history(body: bytes, symbol: str, first_id: int) -> History | None:
    """Parse the page that `exchange_history_request` asked for."""
    rows = parse_exchange(body, symbol)
    trades = tuple(row for row in rows if row.trade_id >= first_id)
    if not trades:
        return None
    end = first_id + PAGE
    last_id = trades[-1].trade_id
    if last_id >= end:
        raise VenueMessageError(_fault(symbol), f"id {last_id}, asked for those below {end}")
    # A page that does not come down to the first id ends where the history begins.
    reaches = len(trades) < len(rows) or trades[0].trade_id == first_id
    return History(
        trades=trades,
        first_id=first_id if reaches else trades[0].trade_id,
        last_id=last_id,
        is_newest=last_id < end - 1,
    )


# Advanced Trade.


def advanced_newest_request(symbol: str) -> Request:
    return Request(
        path=f"/api/v3/brokerage/market/products/{symbol}/ticker", query={"limit": str(PAGE)}
    )


def parse_advanced(body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
    """As `parse_exchange`. Also raises `VenueMessageError` for a row of another product."""
    try:
        rows = [_of_advanced(raw, symbol) for raw in _decode_ticker(body).trades]
    except (*BROKEN, VenueMessageError) as error:
        raise VenueMessageError(_fault(symbol), error) from error
    return _ascending(rows, symbol)


def _of_advanced(raw: msgspec.Raw, symbol: str) -> VenueTrade:
    try:
        trade = _decode_advanced(raw).meaning()
    except (msgspec.ValidationError, VenueMessageError):
        return unreadable(raw, symbol)
    if trade.symbol != symbol:
        raise VenueMessageError("a row of another product", repr(trade.symbol[:80]))
    return trade


def parse_advanced_history(body: bytes, symbol: str) -> History | None:
    """The newest trades as a page of history. No id of its range is proven to be unused."""
    trades = parse_advanced(body, symbol)
    if not trades:
        return None
    return History(
        trades=trades, first_id=trades[0].trade_id, last_id=trades[-1].trade_id, is_newest=True
    )


def _unreadable(symbol: str, trade_id: int) -> VenueTrade:
    return VenueTrade(symbol, trade_id, 0, "", "", False, TradeKind.OTHER)


def _ascending(rows: list[VenueTrade], symbol: str) -> tuple[VenueTrade, ...]:
    trades = sorted(rows, key=lambda trade: trade.trade_id)
    if any(one.trade_id == other.trade_id for one, other in pairwise(trades)):
        raise VenueMessageError(_fault(symbol), "an id comes twice")
    assert not trades or trades[-1].trade_id <= U64_MAX, "ids have 63 bits, or 19 digits"
    return tuple(trades)
