"""OKX, with all of its spot, perpetuals, futures and options as one venue. Pure.

    wss://ws.okx.com:8443/ws/v5/public     trades, bbo-tbt, books
    wss://ws.okx.com:8443/ws/v5/business   trades-all

So trades one by one and books need two connections, and `parts` splits the venue. "trade" is the
channel `trades-all`, and "aggTrade" is `trades`.
https://www.okx.com/docs-v5/en/

Ids of an instrument's trades are consecutive on both channels, so missing trades are back-filled by
id. `prevSeqId` names the message before, which proves a book. A quote has the `seqId` of its book,
and nothing proves that no quote is missing.

Quantities of contracts are contracts, as on the stream; the instrument has the contract's size.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, Self, Unpack

import msgspec

from fanout.errors import UsageError, shown
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.base import NO_UNITS, VenueDefaults, VenueOptions
from fanout.venues.okx import book, records, rest, rows
from fanout.venues.okx.dialogue import AGGREGATES, BOOK, FILLS, QUOTES, OkxDialogue
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

WS_URL: Final = "wss://ws.okx.com:8443/ws/v5"
REST_URL: Final = "https://www.okx.com"

BOOK_BYTES: Final = 1024 * 1024
"""Longest message where books come. The longest snapshot of 400 levels in recordings has 27 kB."""

BOOK_SUBSCRIPTIONS: Final = 29
"""OKX asks for fewer than 30 channels of books a connection."""

LIMITS: Final = Limits(
    weight=20,  # requests in two seconds: of most endpoints, some allow more
    window_s=2.0,
    connect_every_s=1.05,  # of three a second
    messages_a_second=2.0,  # ours: OKX limits those of an hour, see `dialogue`
    subscriptions=300,
    request_bytes=32_000,  # of 64 kB
    idle_s=30.0,  # there are pings of text before
)

_TIME_WEIGHT: Final = 2  # ten requests in two seconds


class Okx(VenueDefaults):
    """The venue."""

    ws_default = WS_URL
    rest_default = REST_URL
    title: ClassVar[str] = "OKX spot, perpetuals, futures and options"
    name: ClassVar[str] = "okx"
    short_name: ClassVar[str] = "okx"
    kinds: ClassVar[DataKinds] = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
    streams: ClassVar[tuple[str, ...]] = ("trade", "aggTrade")
    secrets: ClassVar[SecretNames | None] = None
    default_assets: ClassVar[tuple[str, ...]] = ("BTC-USDT-SWAP", "ETH-USDT-SWAP")
    continuity: ClassVar[Continuity] = Continuity.IDS
    shares_ids = True
    book_source: ClassVar[BookSource] = BookSource.STREAM
    time_exponent = -3
    reach = records.REACH
    silence_advice = (
        "OKX refuses what is on the other of its two paths: --ws-url must be the exchange's, "
        "without /public or /business at its end"
    )

    def __init__(self, **options: Unpack[VenueOptions]) -> None:
        """OKX takes no credentials for market data."""
        super().__init__(**options)
        self.brings_signs = self.stream == "aggTrade"  # trades of before
        self.limits = LIMITS
        if DataKinds.BOOK_BY_PRICE in self.data:
            self.limits = msgspec.structs.replace(
                LIMITS, subscriptions=BOOK_SUBSCRIPTIONS, message_bytes=BOOK_BYTES
            )

    @staticmethod
    def spell(text: str) -> str:
        if not text.isascii() or not all(each.isalnum() or each in "_*?[]-." for each in text):
            raise UsageError(
                f"{shown(text)[:40]!r} cannot be a symbol of OKX: use letters, digits and hyphens, "
                "like BTC-USDT-SWAP"
            )
        return text.upper()

    def fallback(self) -> Self | None:
        if self.stream == "aggTrade" or DataKinds.TRADES not in self.data:
            return None
        return self._with(stream="aggTrade", data=self.data)

    def parts(self) -> tuple[Self, ...]:
        others = self.data & ~DataKinds.TRADES
        if self.stream == "aggTrade" or not others or DataKinds.TRADES not in self.data:
            return (self,)
        kinds = (DataKinds.TRADES, others)
        return tuple(self._with(stream=self.stream, data=each) for each in kinds)

    def _with(self, *, stream: str, data: DataKinds) -> Self:
        return type(self)(stream=stream, ws_url=self.ws_url, rest_url=self.rest_url, data=data)

    def stream_url(self) -> str:
        """Raises `AssertionError` for a venue of two parts, as `dialogue` does."""
        return f"{self.ws_url}/{'business' if FILLS in self._channels() else 'public'}"

    def dialogue(
        self, symbols: tuple[str, ...], units: Mapping[str, Instrument] = NO_UNITS
    ) -> OkxDialogue:
        return OkxDialogue(symbols, self._channels(), self.limits, units)

    def _channels(self) -> tuple[str, ...]:
        """The channels of each symbol."""
        assert self.parts() == (self,), "a venue of two parts has no connection of its own"
        channels = {
            DataKinds.TRADES: FILLS if self.stream == "trade" else AGGREGATES,
            DataKinds.QUOTES: QUOTES,
            DataKinds.BOOK_BY_PRICE: BOOK,
        }
        return tuple(name for kind, name in channels.items() if kind in self.data)

    def listing_requests(self) -> tuple[Request, ...]:
        return rows.listing_requests()

    def more_listing(self, request: Request, body: bytes) -> tuple[Request, ...]:
        return rows.more_listing(request, body)

    def parse_listing(self, *bodies: bytes) -> Listing:
        return rows.parse_listing(bodies, self.name)

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        return records.newest_request(symbol)

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        return records.parse_trades(body, symbol)

    def history_request(self, symbol: str, first_id: int) -> Request:
        return records.history_request(symbol, first_id)

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        return records.parse_history(body, symbol, first_id)

    def book_request(self, symbol: str) -> Request:
        return book.book_request(symbol)

    def parse_book(self, body: bytes, instrument: Instrument) -> BookUpdate:
        return book.parse_book(body, instrument)

    def time_request(self) -> Request:
        return Request(path="/api/v5/public/time", weight=_TIME_WEIGHT)

    def parse_time(self, body: bytes) -> int:
        return rest.parse_time(body)

    def verdict(self, status: int, body: bytes) -> Refusal | None:
        return rest.verdict(status, body)

    def explain(self, status: int, body: bytes) -> str:
        return rest.explain(body)
