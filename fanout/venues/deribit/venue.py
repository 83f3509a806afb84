"""The venue Deribit: its URLs, its limits and its REST interface. Pure.

What is sure and what is not:

- Trades are complete by `trade_seq`, and back-filled exactly.
- Books come whole on the stream, and each change names its predecessor. REST is not used for them.
- Quotes are those of the book. Without it they come from a book of one level, every 100 ms.
- REST limits for those without a key are not documented. With one, a request costs 500 of 50,000
  credits, and a listing 10,000; 10,000 come back each second. We use half of that.
- An address has 32 connections, and REST requests are said to count among them. A key has 16
  sessions, of which each connection with credentials is one.
  https://docs.deribit.com/articles/rate-limits
- Errors have HTTP 400 and a code in the body. A limit may be 429 without one.
- Whether the venue answers pings of WebSocket is unknown. Its heartbeats come more often than the
  service would ping.

Amounts of inverse futures and perpetuals are in USD, all others in coins.
"""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Self, Unpack

import msgspec

from fanout.errors import UsageError, VenueMessageError, shown
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.base import NO_UNITS, VenueDefaults, VenueOptions
from fanout.venues.deribit import records, rows
from fanout.venues.deribit.dialogue import DeribitDialogue
from fanout.venues.deribit.messages import (
    INVALID_CREDENTIALS,
    PASSING,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
    error_of,
)
from fanout.venues.numbers import BROKEN
from fanout.venues.times import MAX_TIME_MS
from fanout.venues.values import (
    BookSource,
    Continuity,
    History,
    Limits,
    Listing,
    Refusal,
    Request,
    SecretNames,
    VenueTrade,
)

WS_URL: Final = "wss://www.deribit.com"
REST_URL: Final = "https://www.deribit.com"
API: Final = "/api/v2"
WS_PATH: Final = "/ws" + API

LISTING_WEIGHT: Final = 20

LIMITS: Final = Limits(
    weight=50,
    window_s=5.0,
    busy_s=10.0,
    connections=28,  # of 32: some stay for REST, and for one that replaces another
    messages_a_second=3.0,  # of 3.3: a subscription costs 3,000 of 10,000 credits
    subscriptions=300,
    request_bytes=32_000,
    message_bytes=1_024 * 1_024,
    idle_s=30.0,
)

_REFUSALS: Final = {
    TOO_MANY_REQUESTS: Refusal.BUSY,
    INVALID_CREDENTIALS: Refusal.KEY,
    UNAUTHORIZED: Refusal.KEY,
    **dict.fromkeys(PASSING, Refusal.PASSING),
}

_TYPED: Final = re.compile(r"[A-Za-z0-9_.*?\[\]-]+")
_POINT: Final = re.compile(r"(?<=[0-9])D(?=[0-9])")


SESSIONS: Final = 14
"""Connections with credentials, of the 16 sessions of a key: some stay for other programs, and for
one that replaces another."""


class _Time(msgspec.Struct):
    result: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]


_decode_time = msgspec.json.Decoder(_Time).decode


class Deribit(VenueDefaults):
    """The venue. With credentials it takes raw channels."""

    ws_default = WS_URL
    rest_default = REST_URL
    title = "Deribit"
    name = "deribit"
    short_name = "deribit"
    kinds: ClassVar[DataKinds] = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
    streams: ClassVar[tuple[str, ...]] = ("trade",)
    continuity: ClassVar[Continuity] = Continuity.IDS
    book_source: ClassVar[BookSource] = BookSource.STREAM
    secrets: ClassVar[SecretNames | None] = SecretNames(
        id="FANOUT_DERIBIT_CLIENT_ID", secret="FANOUT_DERIBIT_CLIENT_SECRET"
    )
    default_assets: ClassVar[tuple[str, ...]] = ("BTC-PERPETUAL", "ETH-PERPETUAL")
    limits = LIMITS
    time_exponent = rows.TIME_EXPONENT
    reach = "all trades that the venue has not moved to its archive, by their sequence number"

    def __init__(self, *, is_strict: bool = False, **options: Unpack[VenueOptions]) -> None:
        """`is_strict`: credentials that Deribit refuses are an error. Otherwise they are noticed,
        and trades and books come every 100 ms."""
        super().__init__(**options)
        self.ws_url = self.ws_url.removesuffix(WS_PATH)
        self.quotes_from_book = DataKinds.BOOK_BY_PRICE in self.data
        self._is_strict = is_strict
        if self._credentials is not None:
            self.limits = msgspec.structs.replace(LIMITS, connections=SESSIONS)

    @staticmethod
    def spell(text: str) -> str:
        if not _TYPED.fullmatch(text):
            raise UsageError(
                f"{shown(text)[:40]!r} cannot be a symbol of Deribit: it looks like BTC-PERPETUAL, "
                "BTC_USDC-PERPETUAL or BTC-27DEC26-100000-C"
            )
        # A strike such as 0d5 stands for 0.5.
        return _POINT.sub("d", text.upper())

    def without_key(self) -> Self:
        return type(self)(
            stream=self.stream, ws_url=self.ws_url, rest_url=self.rest_url, data=self.data
        )

    def without_fallback(self) -> Self:
        return type(self)(
            stream=self.stream,
            ws_url=self.ws_url,
            rest_url=self.rest_url,
            credentials=self._credentials,
            data=self.data,
            is_strict=True,
        )

    def stream_url(self) -> str:
        return self.ws_url + WS_PATH

    def dialogue(
        self, symbols: tuple[str, ...], units: Mapping[str, Instrument] = NO_UNITS
    ) -> DeribitDialogue:
        return DeribitDialogue(
            symbols,
            data=self.data,
            limits=self.limits,
            units=units,
            credentials=self._credentials,
            is_strict=self._is_strict,
        )

    def listing_requests(self) -> tuple[Request, ...]:
        query = {"currency": "any", "expired": "false"}
        return (Request(path=f"{API}/public/get_instruments", query=query, weight=LISTING_WEIGHT),)

    def parse_listing(self, *bodies: bytes) -> Listing:
        return rows.parse_listing(bodies, self.name)

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        return records.recent_request(API, symbol)

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        return records.parse_recent(body, symbol)

    def history_request(self, symbol: str, first_id: int) -> Request:
        return records.history_request(API, symbol, first_id)

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        return records.parse_history(body, symbol)

    def book_request(self, symbol: str) -> Request | None:
        return None

    def parse_book(self, body: bytes, instrument: Instrument) -> BookUpdate:
        raise AssertionError("there is no request for whole books")

    def time_request(self) -> Request:
        return Request(path=f"{API}/public/get_time")

    def parse_time(self, body: bytes) -> int:
        try:
            return _decode_time(body).result
        except BROKEN as error:
            raise VenueMessageError("the venue's time is not as documented", error) from error

    def verdict(self, status: int, body: bytes) -> Refusal | None:
        error = error_of(body)
        if error is None:
            return super().verdict(status, body)
        usual = Refusal.OTHER if status == 200 else self.refusal(status)
        return _REFUSALS.get(error.code, usual)

    def explain(self, status: int, body: bytes) -> str:
        error = error_of(body)
        return error.words() if error else ""
