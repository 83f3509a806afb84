"""Binance USDⓈ-M perpetuals. Pure: requests as values, answers parsed to values.

The one thing to know: *an acknowledgement proves nothing.* The exchange acknowledges every
well-formed subscription, also one for a symbol that does not exist, in upper case, or on the
wrong route, and then stays silent. Since 2026-04 raw trades (`@trade`) live on `/public` and
aggregates (`@aggTrade`) on `/market`; a URL without a route serves `/public` only.
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams

`@trade` is not documented for USDⓈ-M and has worked for years. Its execution types (`X`) were
collected from recordings: MARKET, RPI, INSURANCE_FUND, ADL, and NA, which is no trade at all but
uses up an id.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Final

import msgspec

from fanout.errors import ConfigError, UsageError, VenueMessageError, VenueRefusalError, shown
from fanout.protocol.constants import EXPONENTS, MAX_SYMBOL_BYTES, TradeKind
from fanout.protocol.records import Instrument
from fanout.venues.base import History, Request, SpentId, VenueTrade
from fanout.venues.binance.records import AGGREGATES, BROKEN, NEWEST, historical

WS_URL: Final = "wss://fstream.binance.com"
REST_URL: Final = "https://fapi.binance.com"

ROUTES: Final = {"trade": "/public", "aggTrade": "/market"}
"""Which route serves which stream. The wrong one is acknowledged and silent."""

RECENT_TRADES: Final = 500
"""Rows asked for to make the references: the default of the endpoint."""

WEIGHT_LIMIT: Final = 2_400
"""A minute and address, over all of the exchange's REST."""

MAX_TIME_MS: Final = 10**13
"""The year 2286. What is reckoned with the venue's clock stays within what can be shown."""

_PERPETUALS: Final = {"PERPETUAL", "TRADIFI_PERPETUAL"}
_USDS_MARGINED: Final = 1
_KINDS: Final = {
    "MARKET": TradeKind.MARKET,
    "RPI": TradeKind.RPI,
    "INSURANCE_FUND": TradeKind.INSURANCE_FUND,
    "ADL": TradeKind.ADL,
}
_SPENT: Final = "NA"

_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})\b")


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


class _Error(msgspec.Struct):
    code: int
    msg: str


class _Event(msgspec.Struct):
    e: str = ""


class _AnyMessage(msgspec.Struct):
    """What else may come: the answer to a request, or an event that was not asked for."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error | None = None
    stream: str = ""
    data: _Event | None = None


class _Symbol(msgspec.Struct):
    symbol: str
    status: str
    contractType: str  # noqa: N815  the venue's name
    pricePrecision: int  # noqa: N815
    quantityPrecision: int  # noqa: N815


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


class _Time(msgspec.Struct):
    serverTime: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]  # noqa: N815


_DECODE_ANY: Final = msgspec.json.Decoder(_AnyMessage)
_DECODE_TRADE: Final = msgspec.json.Decoder(_TradeEnvelope)
_DECODE_AGGREGATE: Final = msgspec.json.Decoder(_AggregateEnvelope)
_DECODE_INFO: Final = msgspec.json.Decoder(_ExchangeInfo)
_DECODE_TIME: Final = msgspec.json.Decoder(_Time)
_DECODE_ERROR: Final = msgspec.json.Decoder(_Error)


class BinanceUsdm:
    """The adapter. `stream` is "trade" or "aggTrade"; the URLs can point to a stand-in.

    With an `api_key`, which needs no rights at all, trades can be asked for by their ids.
    """

    name = "binance-usdm"
    time_exponent = -3
    weight_limit = WEIGHT_LIMIT

    def __init__(
        self,
        *,
        stream: str = "trade",
        ws_url: str | None = None,
        rest_url: str | None = None,
        api_key: str | None = None,
    ) -> None:
        self.stream = stream
        self._ws_url = (ws_url or WS_URL).rstrip("/")
        self.rest_url = (rest_url or REST_URL).rstrip("/")
        if stream == "trade":
            self._parse_data: Callable[[bytes], VenueTrade | SpentId] = self._trade
            self._recent = NEWEST
            self._records = historical(api_key) if api_key else NEWEST
        else:
            self._parse_data = self._aggregate
            self._recent = self._records = AGGREGATES

    @staticmethod
    def spell(text: str) -> str:
        """A symbol, or a pattern, as the venue spells it: in upper case. Raises `UsageError` for
        what is neither."""
        if not all(each.isalnum() or each in "_*?[]-" for each in text):
            raise UsageError(
                f"{shown(text)[:40]!r} cannot be a symbol of Binance: letters and digits, like "
                "BTCUSDT"
            )
        return text.upper()

    @property
    def reach(self) -> str:
        return self._records.reach

    def without_key(self) -> "BinanceUsdm":
        return BinanceUsdm(stream=self.stream, ws_url=self._ws_url, rest_url=self.rest_url)

    def fallback(self) -> "BinanceUsdm | None":
        if self._records is AGGREGATES:
            return None
        return BinanceUsdm(stream="aggTrade", ws_url=self._ws_url, rest_url=self.rest_url)

    def stream_url(self) -> str:
        return f"{self._ws_url}{ROUTES[self.stream]}/stream"

    def subscriptions(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        # In a message and not in the URL: symbols in UTF-8 need no escaping, and the answer
        # tells a refusal from silence. Upper case would be acknowledged and silent.
        names = [f"{symbol.lower()}@{self.stream}" for symbol in symbols]
        request = {"method": "SUBSCRIBE", "params": names, "id": 1}
        return (msgspec.json.encode(request).decode(),)

    def parse(self, message: bytes) -> VenueTrade | SpentId | None:
        try:
            return self._parse_data(message)
        except msgspec.ValidationError as error:
            _check_answer(message, error)
            return None
        except BROKEN as error:
            raise VenueMessageError("message is not JSON", f"{error}: {message[:80]!r}") from error

    def _trade(self, message: bytes) -> VenueTrade | SpentId:
        row = _DECODE_TRADE.decode(message).data
        if row.e != "trade" or row.st != _USDS_MARGINED:
            raise VenueMessageError("unexpected event", f"{row.e!r}, st {row.st}, {row.s}")
        if row.X == _SPENT:
            return SpentId(row.s, row.t)
        kind = _KINDS.get(row.X, TradeKind.OTHER)
        return VenueTrade(row.s, row.t, row.T, row.p, row.q, row.m, kind)

    def _aggregate(self, message: bytes) -> VenueTrade:
        row = _DECODE_AGGREGATE.decode(message).data
        if row.e != "aggTrade" or row.st != _USDS_MARGINED:
            raise VenueMessageError("unexpected event", f"{row.e!r}, st {row.st}, {row.s}")
        return VenueTrade(row.s, row.a, row.T, row.p, row.q, row.m, TradeKind.AGGREGATE, row.f)

    def instruments_request(self) -> Request:
        return Request(path="/fapi/v1/exchangeInfo")

    def parse_instruments(self, body: bytes, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        try:
            listed = {each.symbol: each for each in _DECODE_INFO.decode(body).symbols}
        except BROKEN as error:
            raise VenueMessageError("exchangeInfo is not what is documented", error) from error
        return tuple(
            self._instrument(index, symbol, listed) for index, symbol in enumerate(symbols)
        )

    def _instrument(self, index: int, symbol: str, listed: dict[str, _Symbol]) -> Instrument:
        row = listed.get(symbol)
        if row is None:
            raise ConfigError(f"{symbol} is not listed at {self.name}{_suggestion(symbol, listed)}")
        if row.contractType not in _PERPETUALS:
            kind = shown(row.contractType) or "not open yet"
            raise ConfigError(f"{symbol} is not a perpetual at {self.name} but {kind}")
        if row.status != "TRADING":
            raise ConfigError(
                f"{symbol} does not trade at {self.name} now: status {shown(row.status)}"
            )
        # The strings of the stream have as many decimals as the precision says; the tick size
        # is coarser for some symbols (BTCUSDT: precision 2, tick 0.10) and says nothing here.
        return Instrument(
            index=index,
            symbol=symbol,
            price_exponent=_exponent(symbol, row.pricePrecision),
            quantity_exponent=_exponent(symbol, row.quantityPrecision),
            time_exponent=self.time_exponent,
        )

    def recent_trades_request(self, symbol: str) -> Request:
        return self._recent.newest_request(symbol, RECENT_TRADES)

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        return self._recent.parse(body, symbol)

    def history_request(self, symbol: str, first_id: int) -> Request:
        return self._records.history_request(symbol, first_id)

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        return self._records.parse_history(body, symbol, first_id)

    def time_request(self) -> Request:
        return Request(path="/fapi/v1/time")

    def parse_time(self, body: bytes) -> int:
        try:
            return _DECODE_TIME.decode(body).serverTime
        except BROKEN as error:
            raise VenueMessageError("the venue's time is not as documented", error) from error

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        text = headers.get("x-mbx-used-weight-1m", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

    def banned_until_ms(self, body: bytes) -> int | None:
        found = _BANNED_UNTIL.search(self.explain(418, body))
        return int(found[1]) if found else None

    def explain(self, status: int, body: bytes) -> str:
        try:
            error = _DECODE_ERROR.decode(body)
        except BROKEN:
            return ""
        return f"{shown(error.msg)} ({error.code})"


def _check_answer(message: bytes, fault: msgspec.ValidationError) -> None:
    """Accept a message that is no trade if it is the answer to a request; raise otherwise."""
    try:
        other = _DECODE_ANY.decode(message)
    except BROKEN:
        raise VenueMessageError("message of the wrong shape", f"{message[:80]!r}") from fault
    if other.error is not None:
        words = shown(other.error.msg)
        raise VenueRefusalError(f"the venue refuses: {words} ({other.error.code})")
    if other.id is not None:
        return
    event = other.data.e if other.data else ""
    if event in ROUTES:
        raise VenueMessageError("message of the wrong shape", f"{fault}: {message[:80]!r}")
    raise VenueMessageError("unexpected event", f"{event or other.stream or message[:80]!r}")


def _suggestion(symbol: str, listed: dict[str, _Symbol]) -> str:
    close = get_close_matches(symbol[:MAX_SYMBOL_BYTES], listed, n=1)
    return f": did you mean {shown(close[0])}?" if close else ": see exchangeInfo for what is"


def _exponent(symbol: str, precision: int) -> int:
    if -precision not in EXPONENTS:
        raise VenueMessageError("exchangeInfo is nonsense", f"{symbol} has precision {precision}")
    return -precision
