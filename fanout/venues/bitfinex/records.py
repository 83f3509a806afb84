"""Bitfinex's trades over REST: requests and parsers. Pure.

    GET /v2/trades/tBTCUSD/hist?start=1574694475039&sort=1&limit=10000
    [[401597393,1574694475039,0.005,7244.9],[401597395,1574694478808,0.005,7245.3],...]

The newest come first, or with `sort=1` the oldest. `start` selects by time, in ms, and nothing
selects by id. An address may ask 15 times a minute.
https://docs.bitfinex.com/reference/rest-public-trades
"""

from typing import Any, Final

from fanout.errors import VenueMessageError
from fanout.venues.bitfinex.rest import rows_of
from fanout.venues.bitfinex.trades import read_trade, unreadable
from fanout.venues.values import History, Request, VenueTrade

REACH: Final = "10,000 trades of each instrument, selected by time"
WEIGHT: Final = 6

MOST: Final = 10_000
RECENT: Final = 100
"""Rows requested for a reference."""


def recent_request(symbol: str, since: int | None = None) -> Request:
    """With `since`, the oldest come first, so the next page begins where this one ends."""
    if since is None:
        return _request(symbol, limit=str(RECENT))
    return _request(symbol, start=str(since), sort="1", limit=str(MOST))


def history_request(symbol: str) -> Request:
    return _request(symbol, limit=str(MOST))


def _request(symbol: str, **query: str) -> Request:
    return Request(path=f"/v2/trades/{symbol}/hist", query=query, weight=WEIGHT)


def parse_recent(body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
    """Parse rows, oldest first. A row with a readable id but unreadable values becomes a trade with
    empty values, which fit no field. Raises `VenueMessageError`."""
    fault = f"trades of {symbol} are not as documented"
    try:
        trades = [_row(row, symbol) for row in rows_of(body, fault)]
    except VenueMessageError as error:
        raise VenueMessageError(fault, error.detail) from error
    trades.sort(key=lambda trade: trade.trade_id)
    return tuple(trades)


def _row(row: Any, symbol: str) -> VenueTrade:
    try:
        return read_trade(row, symbol)
    except VenueMessageError:
        return unreadable(row, symbol)


def parse_history(body: bytes, symbol: str) -> History | None:
    """The newest trades as a page of history. Ids in its range that are missing mean nothing, since
    the venue does not number trades in steps of one."""
    trades = parse_recent(body, symbol)
    if not trades:
        return None
    return History(
        trades=trades,
        first_id=trades[0].trade_id,
        last_id=trades[-1].trade_id,
        is_newest=True,
    )
