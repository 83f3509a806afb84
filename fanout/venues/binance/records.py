"""What Binance USDⓈ-M keeps of past trades, over REST: what to ask, and what an answer says. Pure.

`trades` gives the newest and only those, `historicalTrades` any by their ids to who has a key, and
`aggTrades` aggregates by theirs. None of them has what the insurance fund and auto-deleveraging
traded, nor the ids that were spent without a trade.
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.constants import U64_MAX, TradeKind
from fanout.venues.base import History, Request, VenueTrade

BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON asked for; the last for deep nesting."""


class _Trade(msgspec.Struct):
    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool  # noqa: N815  the venue's name
    isRPITrade: bool = False  # noqa: N815


class _Aggregate(msgspec.Struct):
    a: int
    f: int
    p: str
    q: str
    T: int
    m: bool


_DECODE_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_DECODE_AGGREGATES: Final = msgspec.json.Decoder(list[_Aggregate])


def _trades(body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
    return tuple(
        VenueTrade(
            symbol,
            row.id,
            row.time,
            row.price,
            row.qty,
            row.isBuyerMaker,
            TradeKind.RPI if row.isRPITrade else TradeKind.MARKET,
        )
        for row in _DECODE_TRADES.decode(body)
    )


def _aggregates(body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
    return tuple(
        VenueTrade(symbol, row.a, row.T, row.p, row.q, row.m, TradeKind.AGGREGATE, row.f)
        for row in _DECODE_AGGREGATES.decode(body)
    )


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint: what it costs, how much it gives at once, and how far back it goes, in words.

    `is_by_id`: it gives what follows a given id; otherwise the newest.
    """

    path: str
    weight: int
    most: int
    is_by_id: bool
    reach: str
    rows: Callable[[bytes, str], tuple[VenueTrade, ...]]
    headers: dict[str, str] = {}

    def newest_request(self, symbol: str, count: int) -> Request:
        return self._request(symbol, limit=str(count))

    def history_request(self, symbol: str, first_id: int) -> Request:
        if not self.is_by_id:
            return self.newest_request(symbol, self.most)
        return self._request(symbol, limit=str(self.most), fromId=str(first_id))

    def _request(self, symbol: str, **query: str) -> Request:
        return Request(
            path=self.path,
            query={"symbol": symbol, **query},
            headers=self.headers,
            weight=self.weight,
        )

    def parse(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        """Oldest first. Raises `VenueMessageError`."""
        try:
            rows = self.rows(body, symbol)
        except BROKEN as error:
            raise VenueMessageError(f"trades of {symbol} are not as documented", error) from error
        if any(later.trade_id <= earlier.trade_id for earlier, later in pairwise(rows)):
            raise VenueMessageError(f"trades of {symbol} are not as documented", "ids out of order")
        if rows and not 0 <= rows[0].trade_id <= rows[-1].trade_id <= U64_MAX:
            raise VenueMessageError(f"trades of {symbol} are not as documented", "ids out of range")
        return rows

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        trades = self.parse(body, symbol)
        if not trades:
            return None
        return History(
            trades=trades,
            first_id=first_id if self.is_by_id else trades[0].trade_id,
            last_id=trades[-1].trade_id,
            is_newest=not self.is_by_id or len(trades) < self.most,
        )


NEWEST: Final = Records(
    path="/fapi/v1/trades",
    weight=5,
    most=1_000,
    is_by_id=False,
    reach="the last 1,000 trades, without FANOUT_BINANCE_API_KEY",
    rows=_trades,
)

AGGREGATES: Final = Records(
    path="/fapi/v1/aggTrades",
    weight=20,
    most=1_000,
    is_by_id=True,
    reach="the last 48 hours",
    rows=_aggregates,
)


def historical(api_key: str) -> Records:
    """Trades by their ids. The key needs no rights."""
    return Records(
        path="/fapi/v1/historicalTrades",
        weight=20,
        most=500,
        is_by_id=True,
        reach="the last month",
        rows=_trades,
        headers={"X-MBX-APIKEY": api_key},
    )
