"""Binance spot. Pure.

Trade ids of a symbol are consecutive. The field `M` of messages is obsolete. Times are in
milliseconds, or in microseconds if the URL has `timeUnit=MICROSECOND`. Before maintenance the
exchange announces `serverShutdown` on each connection, some time before it closes the connection.
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams

`wss://data-stream.binance.vision` serves the same streams for market data only. Prices and
quantities always have eight decimals. So exponents come from the tick size and the step size,
without trailing zeros. Levels of a book may have finer quantities than the step size: BTCUSDT,
whose step is 0.00001, had 25.42618900 on 2024-08-08. So with quotes or books the exponent of
quantities is that of the asset.
"""

from typing import Final

import msgspec

from fanout.errors import shown
from fanout.protocol.constants import DataKinds, InstrumentType, TradeKind
from fanout.venues.binance import rows
from fanout.venues.binance.dialogue import BinanceDialogue, unexpected
from fanout.venues.binance.market_data import MarketDataDialogue
from fanout.venues.binance.messages import Aggregate, Envelope, Trade
from fanout.venues.binance.records import aggregates, by_id, newest
from fanout.venues.binance.venue import BinanceVenue
from fanout.venues.numbers import BROKEN
from fanout.venues.rows import RowError, exponent
from fanout.venues.values import Limits, Listed, Listing, Outcome, Request, VenueItem, VenueTrade

WS_URL: Final = "wss://stream.binance.com:9443"
MARKET_DATA_URL: Final = "wss://data-stream.binance.vision"
REST_URL: Final = "https://api.binance.com"
API: Final = "/api/v3"
MICROSECONDS: Final = "timeUnit=MICROSECOND"

LIMITS: Final = Limits(
    weight=6_000,
    messages_a_second=2,  # of five: pongs count too
    subscriptions=1_024,
    request_bytes=8_192,
    pongs_a_second=2,
)

NEWEST: Final = newest(API, weight=25)
BY_ID: Final = by_id(API, weight=25, most=1_000, reach="all trades")
AGGREGATES: Final = aggregates(API, weight=4, reach="all aggregates")


class _Row(rows.Row, kw_only=True):
    baseAssetPrecision: int  # noqa: N815  the venue's name
    quotePrecision: int  # noqa: N815
    isSpotTradingAllowed: bool = True  # noqa: N815
    filters: list[rows.Filter] = msgspec.field(default_factory=list)


_decode_trade = msgspec.json.Decoder(Envelope[Trade]).decode
_decode_aggregate = msgspec.json.Decoder(Envelope[Aggregate]).decode
_ROWS: Final = msgspec.json.Decoder(_Row)


class TradeDialogue(BinanceDialogue):
    """The dialogue of raw trades."""

    announces_shutdown = True

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        try:
            row = _decode_trade(message).data
        except BROKEN as error:
            return self._other(message, error)
        if row.e != "trade":
            raise unexpected(row.e, row.s)
        out.append(VenueTrade(row.s, row.t, row.T, row.p, row.q, row.m, TradeKind.MARKET))
        return None


class AggregateDialogue(BinanceDialogue):
    """The dialogue of aggregates. The fills of one order at one price are one trade."""

    announces_shutdown = True

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        try:
            row = _decode_aggregate(message).data
        except BROKEN as error:
            return self._other(message, error)
        if row.e != "aggTrade":
            raise unexpected(row.e, row.s)
        kind = TradeKind.AGGREGATE
        out.append(VenueTrade(row.s, row.a, row.T, row.p, row.q, row.m, kind, row.f))
        return None


class DataDialogue(MarketDataDialogue, TradeDialogue):
    """The dialogue of raw trades, quotes and books."""


class BinanceSpot(BinanceVenue):
    """The venue. Times are in microseconds if `ws_url` ends with `?timeUnit=MICROSECOND`."""

    title = "Binance spot"
    name = "binance-spot"
    short_name = "binance-spot"
    limits = LIMITS
    ws_default = WS_URL
    rest_default = REST_URL
    api = API
    listing_weight = 20
    newest = NEWEST
    by_id = BY_ID
    aggregates = AGGREGATES
    trade_dialogue = TradeDialogue
    aggregate_dialogue = AggregateDialogue
    data_dialogue = DataDialogue
    depth_stream = "depth@100ms"
    book_weight = 50

    @property
    def _has_microseconds(self) -> bool:
        return MICROSECONDS.lower() in self.ws_url.partition("?")[2].lower()

    @property
    def time_exponent(self) -> int:  # type: ignore[override]
        return -6 if self._has_microseconds else -3

    def stream_url(self) -> str:
        url, mark, query = self.ws_url.partition("?")
        return f"{url.rstrip('/')}/stream{mark}{query}"

    def parse_listing(self, *bodies: bytes) -> Listing:
        return rows.parse_listing(bodies, self.name, _ROWS, self._row)

    def _row(self, row: _Row) -> Listed:
        tick, step = rows.steps(row.filters)
        is_exact = self.data == DataKinds.TRADES
        return self._listed(
            row,
            price_exponent=exponent(_decimals(tick, row.quotePrecision)),
            quantity_exponent=exponent(_decimals(step if is_exact else "", row.baseAssetPrecision)),
            steps=(tick, step),
            kind=InstrumentType.SPOT,
            fault=self._fault(row),
        )

    def _fault(self, row: _Row) -> str | None:
        fault = self._status_fault(row)
        if fault is None and not row.isSpotTradingAllowed:
            return f"has no spot trading at {self.name}"
        return fault

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        return self._timed(super().recent_trades_request(symbol, since))

    def history_request(self, symbol: str, first_id: int) -> Request:
        return self._timed(super().history_request(symbol, first_id))

    def _timed(self, request: Request) -> Request:
        """Add the header for times in microseconds, if the stream has them."""
        if not self._has_microseconds:
            return request
        headers = {**request.headers, "X-MBX-TIME-UNIT": "MICROSECOND"}
        return msgspec.structs.replace(request, headers=headers)


def _decimals(size: str, precision: int) -> int:
    """The number of decimals of a tick or step size ("0.01000000": 2).

    Without a size it is the asset's `precision`. Raises `RowError` for a size that is no decimal
    number.
    """
    whole, point, decimals = size.partition(".")
    if not size or not size.strip("0."):
        return precision
    if not (whole + decimals).isascii() or not (whole + decimals).isdigit():
        raise RowError(f"size {shown(size)}")
    return len(decimals.rstrip("0")) if point else 0
