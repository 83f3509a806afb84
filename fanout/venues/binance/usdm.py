"""Binance USDⓈ-M perpetuals. Pure.

Since 2026-04 raw trades (`@trade`) are on `/public` and aggregates (`@aggTrade`) on `/market`. A
URL without a route serves `/public` only. On the wrong route Binance acknowledges and stays silent.
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams

`@trade` is undocumented for USDⓈ-M but has worked for years. Its execution types (`X`) come from
recordings: MARKET, RPI, INSURANCE_FUND, ADL, and NA. An NA row is no trade, but uses an id. With
these rows ids are consecutive.
"""

from typing import Final

import msgspec

from fanout.errors import shown
from fanout.protocol.constants import InstrumentType, TradeKind
from fanout.venues.base import Limits, Listed, Listing, Outcome, SpentId, VenueTrade
from fanout.venues.binance import rest
from fanout.venues.binance.dialogue import BinanceDialogue, not_json, unexpected
from fanout.venues.binance.records import Records
from fanout.venues.binance.venue import BinanceVenue

WS_URL: Final = "wss://fstream.binance.com"
REST_URL: Final = "https://fapi.binance.com"

ROUTES: Final = {"trade": "/public", "aggTrade": "/market"}
"""The route of each stream."""

WEIGHT_LIMIT: Final = 2_400
"""Weight per minute and address, over all of the exchange's REST."""

LIMITS: Final = Limits(
    weight_a_minute=WEIGHT_LIMIT,
    messages_a_second=5,  # of ten: pongs count too
    subscriptions=1_024,
    request_bytes=8_192,
)

NEWEST: Final = Records(
    path="/fapi/v1/trades",
    weight=5,
    most=1_000,
    is_by_id=False,
    reach="the last 1,000 trades, without FANOUT_BINANCE_API_KEY",
)

AGGREGATES: Final = Records(
    path="/fapi/v1/aggTrades",
    weight=20,
    most=1_000,
    is_by_id=True,
    reach="the last 48 hours",
    has_aggregates=True,
)

BY_ID: Final = Records(
    path="/fapi/v1/historicalTrades",
    weight=20,
    most=500,
    is_by_id=True,
    reach="the last month",
)

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
    e: str
    s: str
    t: int
    T: int
    p: str
    q: str
    X: str
    m: bool
    st: int = _USDS_MARGINED


class _Aggregate(msgspec.Struct, gc=False):
    e: str
    s: str
    a: int
    f: int
    T: int
    p: str
    q: str
    m: bool
    st: int = _USDS_MARGINED


class _TradeEnvelope(msgspec.Struct, gc=False):
    data: _Trade


class _AggregateEnvelope(msgspec.Struct, gc=False):
    data: _Aggregate


class _Symbol(msgspec.Struct):
    symbol: str
    status: str
    contractType: str  # noqa: N815  the venue's name
    pricePrecision: int  # noqa: N815
    quantityPrecision: int  # noqa: N815
    baseAsset: msgspec.Raw = rest.NO_ROW  # noqa: N815
    quoteAsset: msgspec.Raw = rest.NO_ROW  # noqa: N815
    filters: msgspec.Raw = rest.NO_ROW


_decode_trade = msgspec.json.Decoder(_TradeEnvelope).decode
_decode_aggregate = msgspec.json.Decoder(_AggregateEnvelope).decode
_SYMBOLS: Final = msgspec.json.Decoder(_Symbol)


class TradeDialogue(BinanceDialogue):
    """The dialogue of raw trades."""

    events = frozenset(ROUTES)

    def receive(self, message: bytes, out: list[VenueTrade | SpentId]) -> Outcome | None:
        try:
            row = _decode_trade(message).data
        except msgspec.ValidationError as error:
            return self._other(message, error)
        except rest.BROKEN as error:
            raise not_json(message, error) from error
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

    events = frozenset(ROUTES)

    def receive(self, message: bytes, out: list[VenueTrade | SpentId]) -> Outcome | None:
        try:
            row = _decode_aggregate(message).data
        except msgspec.ValidationError as error:
            return self._other(message, error)
        except rest.BROKEN as error:
            raise not_json(message, error) from error
        if row.e != "aggTrade" or row.st != _USDS_MARGINED:
            raise unexpected(row.e, row.s, row.st)
        kind = TradeKind.AGGREGATE
        out.append(VenueTrade(row.s, row.a, row.T, row.p, row.q, row.m, kind, row.f))
        return None


class BinanceUsdm(BinanceVenue):
    """The venue."""

    name = "binance-usdm"
    short_name = "binance"
    limits = LIMITS
    ws_default = WS_URL
    rest_default = REST_URL
    api = "/fapi/v1"
    listing_weight = 1
    newest = NEWEST
    by_id = BY_ID
    aggregates = AGGREGATES
    trade_dialogue = TradeDialogue
    aggregate_dialogue = AggregateDialogue

    def stream_url(self) -> str:
        return f"{self.ws_url}{ROUTES[self.stream]}/stream"

    def parse_listing(self, body: bytes) -> Listing:
        return rest.parse_listing(body, self.name, _SYMBOLS, self._listed)

    def _listed(self, row: _Symbol) -> Listed:
        # The strings of the stream have as many decimals as the precision says; the tick size is
        # coarser for some symbols (BTCUSDT: precision 2, tick 0.10), and no source of exponents.
        price_exponent = rest.exponent(row.pricePrecision)
        quantity_exponent = rest.exponent(row.quantityPrecision)
        tick, step = rest.steps(rest.readable(row.filters))
        return Listed(
            symbol=row.symbol,
            price_exponent=price_exponent,
            quantity_exponent=quantity_exponent,
            time_exponent=self.time_exponent,
            fault=self._fault(row),
            tick=rest.in_units(tick, price_exponent),
            lot=rest.in_units(step, quantity_exponent),
            base=rest.asset(row.baseAsset),
            quote=rest.asset(row.quoteAsset),
            type=_type_of(row.contractType),
        )

    def _fault(self, row: _Symbol) -> str | None:
        if row.contractType not in _PERPETUALS:
            kind = shown(row.contractType) or "not open yet"
            return f"is not a perpetual at {self.name} but {kind}"
        if row.status != "TRADING":
            return f"does not trade at {self.name} now: status {shown(row.status)}"
        return None


def _type_of(contract: str) -> InstrumentType:
    if contract in _PERPETUALS:
        return InstrumentType.LINEAR_PERPETUAL
    return InstrumentType.FUTURE if contract in _FUTURES else InstrumentType.OTHER
