"""The venues of Bybit v5: linear contracts (settled in USDT and USDC), and spot. Pure.

Trade ids have no order, so nothing proves that all trades came. REST has the newest trades only. A
book comes whole on the stream, and its update ids prove its changes complete.

Limits: 500 new connections in five minutes, 1,000 at once for each market, and 21,000 characters of
topics a connection. REST takes 600 requests in five seconds from an address, for all markets
together. https://bybit-exchange.github.io/docs/v5/rate-limit

A spot request may have ten topics, and linear ones any number; the limits of recent trades are in
`records`. https://bybit-exchange.github.io/docs/v5/ws/connect

It is not known whether Bybit answers WebSocket pings, or announces a close. The service pings after
30 seconds of silence, and the answers to the dialogue's own pings come before that.
"""

from abc import ABC
from collections.abc import Mapping
from typing import ClassVar, Final, Unpack

import msgspec

from fanout.errors import UsageError, shown
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.base import NO_UNITS, VenueDefaults, VenueOptions
from fanout.venues.bybit import records, rest, rows
from fanout.venues.bybit.dialogue import BOOK, QUOTES, TRADES, BybitDialogue
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

WS_URL: Final = "wss://stream.bybit.com"
REST_URL: Final = "https://api.bybit.com"

TOPICS_A_CONNECTION: Final = 500
"""Most topics of a connection: 42 characters for each. The longest symbols have 20."""

LIMITS: Final = Limits(
    weight=600,
    window_s=5.0,
    busy_s=600.0,
    connections=1_000,
    messages_a_second=5,
    message_bytes=1024 * 1024,  # 1,024 trades, the most in a message, have 160,845 bytes
    idle_s=30.0,
)


class BybitVenue(VenueDefaults, ABC):
    """A market of Bybit. The URLs can point to a simulator."""

    ws_default = WS_URL
    rest_default = REST_URL
    title: ClassVar[str]
    name: ClassVar[str]
    short_name: ClassVar[str]
    category: ClassVar[str]
    """The market, in the venue's term: the end of the stream's path, and in each REST query."""
    most_topics: ClassVar[int]
    """Most topics of a request."""
    most_trades: ClassVar[int]
    """Most trades that REST has."""
    kinds: ClassVar[DataKinds] = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
    streams: ClassVar[tuple[str, ...]] = ("trade",)
    secrets: ClassVar[SecretNames | None] = None
    default_assets: ClassVar[tuple[str, ...]] = ("BTCUSDT", "ETHUSDT")
    continuity: ClassVar[Continuity] = Continuity.NOTHING
    book_source: ClassVar[BookSource] = BookSource.STREAM
    time_exponent = -3
    silence_advice = "--ws-url must be the exchange's, without a path"

    def __init__(self, **options: Unpack[VenueOptions]) -> None:
        super().__init__(**options)
        assert self.stream in self.streams, "the configuration refuses it"
        self._prefixes = tuple(
            prefix
            for kind, prefix in (
                (DataKinds.TRADES, TRADES),
                (DataKinds.QUOTES, QUOTES),
                (DataKinds.BOOK_BY_PRICE, BOOK),
            )
            if kind in self.data
        )
        self.limits = msgspec.structs.replace(
            LIMITS, subscriptions=TOPICS_A_CONNECTION // len(self._prefixes)
        )

    @property
    def reach(self) -> str:
        return f"the last {self.most_trades:,} trades"

    @staticmethod
    def spell(text: str) -> str:
        if not all(each.isascii() and (each.isalnum() or each in "-_*?[]") for each in text):
            raise UsageError(
                f"{shown(text)[:40]!r} cannot be a symbol of Bybit: use letters, digits and "
                "hyphens, like BTCUSDT or BTC-26DEC25"
            )
        return text.upper()

    def stream_url(self) -> str:
        return f"{self.ws_url}/v5/public/{self.category}"

    def dialogue(
        self, symbols: tuple[str, ...], units: Mapping[str, Instrument] = NO_UNITS
    ) -> BybitDialogue:
        return BybitDialogue(symbols, self._prefixes, self.limits, self.most_topics, units)

    def listing_requests(self) -> tuple[Request, ...]:
        return (rows.listing_request(self.category),)

    def more_listing(self, request: Request, body: bytes) -> tuple[Request, ...]:
        return rows.next_page(request, body)

    def parse_listing(self, *bodies: bytes) -> Listing:
        return rows.parse_listing(bodies, self.name, self.category)

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        return records.recent_trades_request(self.category, symbol, self.most_trades)

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        return records.parse_recent_trades(body, symbol)

    def history_request(self, symbol: str, first_id: int) -> Request:
        return self.recent_trades_request(symbol)

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        return records.parse_history(body, symbol)

    def book_request(self, symbol: str) -> Request | None:
        # The `u` of a book over REST is that of another depth.
        return None

    def parse_book(self, body: bytes, instrument: Instrument) -> BookUpdate:
        raise AssertionError("there is no request for a book")

    def time_request(self) -> Request:
        return Request(path="/v5/market/time")

    def parse_time(self, body: bytes) -> int:
        return rest.parse_time(body)

    def refusal(self, status: int) -> Refusal:
        return rest.refusal(status)

    def verdict(self, status: int, body: bytes) -> Refusal | None:
        return rest.verdict(status, body)

    def explain(self, status: int, body: bytes) -> str:
        return rest.explain(body)


class Bybit(BybitVenue):
    """Perpetuals and futures that are settled in USDT or USDC."""

    title = "Bybit linear contracts"
    name = "bybit"
    short_name = "bybit"
    category = "linear"
    most_topics = 100
    most_trades = 1_000


class BybitSpot(BybitVenue):
    """Spot."""

    title = "Bybit spot"
    name = "bybit-spot"
    short_name = "bybit-spot"
    category = rows.SPOT
    most_topics = 10
    most_trades = 60
