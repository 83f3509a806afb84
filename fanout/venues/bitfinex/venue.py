"""The venue Bitfinex: its URLs, its limits and its REST interface. Pure.

What is sure and what is not:

- Trades are complete by the numbers of a connection's messages, as far as the connection goes.
  Trade ids ascend, and prove nothing. Over REST the trades of a time can be asked for, so what a
  hole or a reconnect cost comes back, but without a proof.
- A book by price is exact in its best 100 levels. With checksums the venue proves it.
- A book by order has the best 100 orders of each side.
- Quotes are those of the book.
- The venue has no tick sizes, and units are inferred from prices: see `rows`.
- The venue does not show its time.
- An address may open 20 connections a minute, of 25 channels each. REST limits are those of the
  documentation as copied by others in 2025 (rosssaunders/coincise): 90 requests a minute for names,
  30 for tickers, 15 for trades. So the requests weigh 1, 3 and 6 of 90.
- Whether the venue answers pings of WebSocket is unknown. Its heartbeats come more often than the
  service would ping. It answers its own ping.
"""

import re
from collections.abc import Mapping
from copy import copy
from typing import ClassVar, Final, Self, Unpack

import msgspec

from fanout.errors import UsageError, shown
from fanout.protocol.book import OrderBook
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.base import NO_UNITS, VenueDefaults, VenueOptions
from fanout.venues.bitfinex import book, records, rest, rows
from fanout.venues.bitfinex.dialogue import BitfinexDialogue
from fanout.venues.values import (
    BookSource,
    Continuity,
    History,
    Limits,
    Listed,
    Listing,
    Refusal,
    Request,
    SecretNames,
    VenueTrade,
)

WS_URL: Final = "wss://api-pub.bitfinex.com"
WS_PATH: Final = "/ws/2"
REST_URL: Final = "https://api-pub.bitfinex.com"

CHANNELS: Final = 25
"""Most channels of a connection."""

MOST_SPARE_DIGITS: Final = 3
"""How many decimals more than needed an instrument's prices may have before it gets new units."""

LIMITS: Final = Limits(
    weight=90,
    busy_s=60.0,
    connect_every_s=3.2,
    silence_s=35.0,  # heartbeats come every 15 s
    subscriptions=CHANNELS,
    idle_s=30.0,
)

_TYPED: Final = re.compile(r"[A-Za-z0-9:*?\[\]!-]+")
_SPELLED: Final = re.compile(r"t[A-Z0-9*?\[]")
_ANY: Final = ("*", "?", "[")


class Bitfinex(VenueDefaults):
    """The venue. It takes no credentials for market data."""

    ws_default = WS_URL
    rest_default = REST_URL
    title: ClassVar[str] = "Bitfinex"
    name: ClassVar[str] = "bitfinex"
    short_name: ClassVar[str] = "bitfinex"
    kinds: ClassVar[DataKinds] = (
        DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER
    )
    streams: ClassVar[tuple[str, ...]] = ("trade",)
    secrets: ClassVar[SecretNames | None] = None
    default_assets: ClassVar[tuple[str, ...]] = ("tBTCUSD", "tETHUSD")
    continuity: ClassVar[Continuity] = Continuity.SEQUENCE
    book_source: ClassVar[BookSource] = BookSource.STREAM
    has_checksums: ClassVar[bool] = True
    has_book_ids = False
    quotes_from_book = True
    brings_signs = True
    time_exponent = rows.TIME_EXPONENT
    reach = records.REACH

    def __init__(self, **options: Unpack[VenueOptions]) -> None:
        super().__init__(**options)
        self._checksums = False
        channels = (DataKinds.TRADES in self.data) + bool(self.data & ~DataKinds.TRADES)
        self.limits = msgspec.structs.replace(LIMITS, subscriptions=CHANNELS // max(1, channels))

    @staticmethod
    def spell(text: str) -> str:
        """A symbol is "t" and the pair in upper case. Without the "t" a pair is meant."""
        if not _TYPED.fullmatch(text):
            raise UsageError(
                f"{shown(text)[:40]!r} cannot be a symbol of Bitfinex: it looks like tBTCUSD or "
                "tBTCF0:USTF0"
            )
        if _SPELLED.match(text):
            return "t" + text[1:].upper()
        return text.upper() if text.startswith(_ANY) else f"t{text.upper()}"

    def with_checksums(self) -> Self:
        """The venue sends one after each change of a book by price, of its best 25 levels. The book
        has 100 all the same: gocryptotrader takes checksums with as many. Those of books by order
        are not asked for: nobody says in which order orders of one price stand."""
        same = copy(self)
        same._checksums = DataKinds.BOOK_BY_ORDER not in self.data
        return same

    def stream_url(self) -> str:
        return self.ws_url + WS_PATH

    def dialogue(
        self, symbols: tuple[str, ...], units: Mapping[str, Instrument] = NO_UNITS
    ) -> BitfinexDialogue:
        return BitfinexDialogue(
            symbols, data=self.data, limits=self.limits, units=units, checksums=self._checksums
        )

    def listing_requests(self) -> tuple[Request, ...]:
        return rows.listing_requests()

    def parse_listing(self, *bodies: bytes) -> Listing:
        return rows.parse_listing(bodies, self.name)

    def still_fits(self, old: Instrument, new: Listed) -> bool:
        """Finer prices than the listing's are good: a value needed them, or the price has risen."""
        spare = new.price_exponent - old.price_exponent
        return (
            0 <= spare <= MOST_SPARE_DIGITS
            and old.quantity_exponent == new.quantity_exponent
            and old.time_exponent == new.time_exponent
        )

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        return records.recent_request(symbol, since)

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        return records.parse_recent(body, symbol)

    def history_request(self, symbol: str, first_id: int) -> Request:
        return records.history_request(symbol)

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        return records.parse_history(body, symbol)

    def book_request(self, symbol: str) -> Request | None:
        return None

    def parse_book(self, body: bytes, instrument: Instrument) -> BookUpdate:
        raise AssertionError("there is no request for whole books")

    def checksum(self, book_: OrderBook) -> int:
        return book.checksum(book_)

    def verdict(self, status: int, body: bytes) -> Refusal | None:
        return rest.verdict(status, body)

    def explain(self, status: int, body: bytes) -> str:
        return rest.explain(body)
