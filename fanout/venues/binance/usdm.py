"""Binance USDⓈ-M perpetuals. Pure.

Since 2026-04 raw trades (`@trade`) are on `/public` and aggregates (`@aggTrade`) on `/market`. A
URL without a route serves `/public` only. On the wrong route Binance acknowledges and stays silent.
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams

`@trade` is undocumented for USDⓈ-M but has worked for years. Its execution types (`X`) come from
recordings: MARKET, RPI, INSURANCE_FUND, ADL, and NA. An NA row is no trade, but uses an id. With
these rows ids are consecutive. `@depth@0ms`, every change of a book at once, is undocumented too:
recorders have used it for years, and after a pause its messages follow each other by `pu`.
"""

from typing import Final

import msgspec

from fanout.errors import shown
from fanout.protocol.constants import InstrumentType, TradeKind
from fanout.venues.binance import rows
from fanout.venues.binance.dialogue import BinanceDialogue, unexpected
from fanout.venues.binance.market_data import MarketDataDialogue
from fanout.venues.binance.messages import Aggregate, Envelope
from fanout.venues.binance.records import aggregates, by_id, newest
from fanout.venues.binance.venue import BinanceVenue
from fanout.venues.numbers import BROKEN
from fanout.venues.rows import ABSENT, exponent
from fanout.venues.values import Limits, Listed, Listing, Outcome, SpentId, VenueItem, VenueTrade

WS_URL: Final = "wss://fstream.binance.com"
REST_URL: Final = "https://fapi.binance.com"
API: Final = "/fapi/v1"

ROUTES: Final = {"trade": "/public", "aggTrade": "/market"}
"""The route of each stream."""

WEIGHT_LIMIT: Final = 2_400
"""Weight per minute and address, over all of the exchange's REST."""

LIMITS: Final = Limits(
    weight=WEIGHT_LIMIT,
    messages_a_second=5,  # of ten: pongs count too
    subscriptions=1_024,
    request_bytes=8_192,
)

NEWEST: Final = newest(API, weight=5)
BY_ID: Final = by_id(API, weight=20, most=500, reach="the last month")
AGGREGATES: Final = aggregates(API, weight=20, reach="the last 48 hours")

_PERPETUALS: Final = {"PERPETUAL", "TRADIFI_PERPETUAL"}
_FUTURES: Final = {"CURRENT_QUARTER", "NEXT_QUARTER"}
_USDS_MARGINED: Final = 1
_KINDS: Final = {
    "MARKET": TradeKind.MARKET,
    "RPI": TradeKind.RPI,
    "INSURANCE_FUND": TradeKind.INSURANCE_FUND,
    "ADL": TradeKind.ADL,
}
_SPENT: Final = "NA"


class _Trade(msgspec.Struct, gc=False):
    """Not an extension of `messages.Trade`, which would put `X` last. Messages have it before `m`,
    and decoding takes 4 % longer in another order."""

    e: str
    s: str
    t: int
    T: int
    p: str
    q: str
    X: str
    m: bool
    st: int = _USDS_MARGINED


class _Aggregate(Aggregate, gc=False):
    st: int = _USDS_MARGINED


class _Row(rows.Row, kw_only=True):
    contractType: str  # noqa: N815  the venue's name
    pricePrecision: int  # noqa: N815
    quantityPrecision: int  # noqa: N815
    filters: msgspec.Raw = ABSENT


_decode_trade = msgspec.json.Decoder(Envelope[_Trade]).decode
_decode_aggregate = msgspec.json.Decoder(Envelope[_Aggregate]).decode
_ROWS: Final = msgspec.json.Decoder(_Row)


class TradeDialogue(BinanceDialogue):
    """The dialogue of raw trades."""

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        try:
            row = _decode_trade(message).data
        except BROKEN as error:
            return self._other(message, error)
        if row.e != "trade" or row.st != _USDS_MARGINED:
            raise unexpected(row.e, row.s, row.st)
        if row.X == _SPENT:
            out.append(SpentId(row.s, row.t))
        else:
            kind = _KINDS.get(row.X, TradeKind.OTHER)
            out.append(VenueTrade(row.s, row.t, row.T, row.p, row.q, row.m, kind))
        return None


class AggregateDialogue(BinanceDialogue):
    """The dialogue of aggregates. Fills at one price within 100 ms are one trade."""

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        try:
            row = _decode_aggregate(message).data
        except BROKEN as error:
            return self._other(message, error)
        if row.e != "aggTrade" or row.st != _USDS_MARGINED:
            raise unexpected(row.e, row.s, row.st)
        kind = TradeKind.AGGREGATE
        out.append(VenueTrade(row.s, row.a, row.T, row.p, row.q, row.m, kind, row.f))
        return None


class DataDialogue(MarketDataDialogue, TradeDialogue):
    """The dialogue of raw trades, quotes and books. All are on one route."""


class BinanceUsdm(BinanceVenue):
    """The venue."""

    title = "Binance USDⓈ-M perpetuals"
    name = "binance-usdm"
    short_name = "binance"
    limits = LIMITS
    ws_default = WS_URL
    rest_default = REST_URL
    api = API
    listing_weight = 1
    newest = NEWEST
    by_id = BY_ID
    aggregates = AGGREGATES
    trade_dialogue = TradeDialogue
    aggregate_dialogue = AggregateDialogue
    data_dialogue = DataDialogue
    depth_stream = "depth@0ms"
    book_weight = 20

    def stream_url(self) -> str:
        return f"{self.ws_url}{ROUTES[self.stream]}/stream"

    def parse_listing(self, *bodies: bytes) -> Listing:
        return rows.parse_listing(bodies, self.name, _ROWS, self._row)

    def _row(self, row: _Row) -> Listed:
        # The strings of the stream have as many decimals as the precision says; the tick size is
        # coarser for some symbols (BTCUSDT: precision 2, tick 0.10), and no source of exponents.
        return self._listed(
            row,
            price_exponent=exponent(row.pricePrecision),
            quantity_exponent=exponent(row.quantityPrecision),
            steps=rows.steps(rows.readable(row.filters)),
            kind=_type_of(row.contractType),
            fault=self._fault(row),
        )

    def _fault(self, row: _Row) -> str | None:
        if row.contractType not in _PERPETUALS:
            kind = shown(row.contractType) or "not open yet"
            return f"is not a perpetual at {self.name} but {kind}"
        return self._status_fault(row)


def _type_of(contract: str) -> InstrumentType:
    if contract in _PERPETUALS:
        return InstrumentType.LINEAR_PERPETUAL
    return InstrumentType.FUTURE if contract in _FUTURES else InstrumentType.OTHER
