"""The common base of Coinbase's two venues. A subclass adds its listing, its history, and the
dialogue of its connections. Pure.

Both send trades and whole books on the stream. Quotes are taken from the books. Neither venue
numbers the changes of a book.

REST takes 10 requests a second from an address. The service takes half of that.
https://docs.cdp.coinbase.com/exchange/rest-api/rate-limits
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Final, Unpack

from fanout.errors import UsageError, shown
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.venues.base import VenueDefaults, VenueOptions
from fanout.venues.coinbase import rest
from fanout.venues.coinbase.rows import TIME_EXPONENT
from fanout.venues.values import (
    BookSource,
    Continuity,
    Limits,
    Request,
    SecretNames,
)

REST_WEIGHT: Final = 5
REST_WINDOW_S: Final = 1.0

SYMBOLS_WITH_BOOKS: Final = 50
"""Symbols of a connection that brings books, whose snapshots have up to some megabytes each."""
SYMBOLS: Final = 200


class CoinbaseVenue(VenueDefaults, ABC):
    """One of the two. The URLs can point to a simulator."""

    title: ClassVar[str]
    name: ClassVar[str]
    short_name: ClassVar[str]
    kinds: ClassVar[DataKinds] = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
    streams: ClassVar[tuple[str, ...]] = ("trade",)
    continuity: ClassVar[Continuity]
    book_source: ClassVar[BookSource] = BookSource.STREAM
    secrets: ClassVar[SecretNames | None] = None
    default_assets: ClassVar[tuple[str, ...]] = ("BTC-USD", "ETH-USD")
    ws_default: ClassVar[str]
    rest_default: ClassVar[str]
    message_bytes: ClassVar[int]
    time_path: ClassVar[str]
    reach: ClassVar[str]
    has_book_ids = False
    quotes_from_book = True
    brings_signs = True
    time_exponent = TIME_EXPONENT
    silence_advice = "--ws-url must be the exchange's, without a path"

    def __init__(self, **options: Unpack[VenueOptions]) -> None:
        super().__init__(**options)
        assert self.stream in self.streams, "the configuration refuses it"
        has_books = bool(self.data & (DataKinds.BOOK_BY_PRICE | DataKinds.QUOTES))
        self.limits = Limits(
            weight=REST_WEIGHT,
            window_s=REST_WINDOW_S,
            subscriptions=SYMBOLS_WITH_BOOKS if has_books else SYMBOLS,
            message_bytes=self.message_bytes,
        )

    @staticmethod
    def spell(text: str) -> str:
        if not all(each.isascii() and (each.isalnum() or each in "-_.*?[]") for each in text):
            raise UsageError(
                f"{shown(text)[:40]!r} cannot be a symbol of Coinbase: use letters, digits and "
                "hyphens, like BTC-USD"
            )
        return text.upper()

    def stream_url(self) -> str:
        return self.ws_url

    @abstractmethod
    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request: ...

    def book_request(self, symbol: str) -> None:
        # The stream's changes have no number that a book over REST could be joined by.
        return None

    def parse_book(self, body: bytes, instrument: Instrument) -> BookUpdate:
        raise AssertionError("there is no request for a book")

    def time_request(self) -> Request:
        return Request(path=self.time_path)

    def parse_time(self, body: bytes) -> int:
        return rest.parse_time(body)

    def explain(self, status: int, body: bytes) -> str:
        return rest.explain(body)
