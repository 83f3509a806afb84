"""Binance's history of trades over REST: requests and parsers. Pure.

All markets have the same three endpoints in the same shape. `trades` returns the newest trades,
`historicalTrades` trades by id, and `aggTrades` aggregates by id. Those of USDⓈ-M omit trades of
the insurance fund, trades of auto-deleveraging, and ids that were used without a trade.
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data
"""

from itertools import pairwise
from typing import Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.constants import U64_MAX, TradeKind
from fanout.venues.numbers import BROKEN
from fanout.venues.values import History, Request, VenueTrade


class _Trade(msgspec.Struct):
    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool  # noqa: N815  the venue's name
    isRPITrade: bool = False  # noqa: N815

    def meaning(self, symbol: str) -> VenueTrade:
        kind = TradeKind.RPI if self.isRPITrade else TradeKind.MARKET
        return VenueTrade(symbol, self.id, self.time, self.price, self.qty, self.isBuyerMaker, kind)


class _Aggregate(msgspec.Struct):
    a: int
    f: int
    p: str
    q: str
    T: int
    m: bool

    def meaning(self, symbol: str) -> VenueTrade:
        kind = TradeKind.AGGREGATE
        return VenueTrade(symbol, self.a, self.T, self.p, self.q, self.m, kind, self.f)


class _TradeId(msgspec.Struct):
    id: int


class _AggregateId(msgspec.Struct):
    id: int = msgspec.field(name="a")


_DECODE_TRADES: Final = msgspec.json.Decoder(list[_Trade])
_DECODE_TRADE: Final = msgspec.json.Decoder(_Trade)
_DECODE_TRADE_ID: Final = msgspec.json.Decoder(_TradeId)
_DECODE_AGGREGATES: Final = msgspec.json.Decoder(list[_Aggregate])
_DECODE_AGGREGATE: Final = msgspec.json.Decoder(_Aggregate)
_DECODE_AGGREGATE_ID: Final = msgspec.json.Decoder(_AggregateId)
_DECODE_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint: its weight, its most rows per request, and how far back it reaches, in words.

    With `is_by_id` it returns trades from a given id on, otherwise the newest.
    """

    path: str
    weight: int
    most: int
    is_by_id: bool
    reach: str
    has_aggregates: bool = False
    headers: dict[str, str] = {}

    def with_key(self, api_key: str) -> "Records":
        return msgspec.structs.replace(self, headers={"X-MBX-APIKEY": api_key})

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
        """Parse rows, oldest first. A row with a readable id but unreadable values becomes a trade
        with empty values, which fit no field. Raises `VenueMessageError`."""
        try:
            rows = self._rows(body, symbol)
        except BROKEN as error:
            raise VenueMessageError(f"trades of {symbol} are not as documented", error) from error
        if any(later.trade_id <= earlier.trade_id for earlier, later in pairwise(rows)):
            raise VenueMessageError(f"trades of {symbol} are not as documented", "ids out of order")
        if rows and not 0 <= rows[0].trade_id <= rows[-1].trade_id <= U64_MAX:
            raise VenueMessageError(f"trades of {symbol} are not as documented", "ids out of range")
        return rows

    def _rows(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        decoder = _DECODE_AGGREGATES if self.has_aggregates else _DECODE_TRADES
        try:
            return tuple(row.meaning(symbol) for row in decoder.decode(body))
        except msgspec.ValidationError:
            return tuple(self._row(raw, symbol) for raw in _DECODE_ROWS.decode(body))

    def _row(self, raw: msgspec.Raw, symbol: str) -> VenueTrade:
        decoder = _DECODE_AGGREGATE if self.has_aggregates else _DECODE_TRADE
        try:
            return decoder.decode(raw).meaning(symbol)
        except msgspec.ValidationError:
            ids = _DECODE_AGGREGATE_ID if self.has_aggregates else _DECODE_TRADE_ID
            return VenueTrade(symbol, ids.decode(raw).id, 0, "", "", False, TradeKind.OTHER)

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


def newest(api: str, *, weight: int) -> Records:
    """The newest trades."""
    return Records(
        path=f"{api}/trades",
        weight=weight,
        most=1_000,
        is_by_id=False,
        reach="the last 1,000 trades, without FANOUT_BINANCE_API_KEY",
    )


def by_id(api: str, *, weight: int, most: int, reach: str) -> Records:
    """Trades from a given id on. Requires a key."""
    return Records(
        path=f"{api}/historicalTrades", weight=weight, most=most, is_by_id=True, reach=reach
    )


def aggregates(api: str, *, weight: int, reach: str) -> Records:
    """Aggregates from a given id on."""
    return Records(
        path=f"{api}/aggTrades",
        weight=weight,
        most=1_000,
        is_by_id=True,
        reach=reach,
        has_aggregates=True,
    )
