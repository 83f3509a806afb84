"""The common base of Binance's venues, one for each market. A subclass adds its listing and its
streams.

Pure. `stream` is "trade" or "aggTrade". Beside trades a venue brings the quotes and changes of
books that `data` names, on the same connection. The URLs can point to a simulator. A
key as `credentials` allows requests for trades by id; it needs no permissions.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final, Self, Unpack

import msgspec

from fanout.errors import UsageError, shown
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import DataKinds, InstrumentType
from fanout.protocol.instrument import Instrument
from fanout.venues.base import NO_UNITS, VenueDefaults, VenueOptions
from fanout.venues.binance import rest, whole_book
from fanout.venues.binance.dialogue import BinanceDialogue
from fanout.venues.binance.market_data import QUOTES, MarketDataDialogue
from fanout.venues.binance.records import Records
from fanout.venues.binance.rows import TRADING, Row
from fanout.venues.rows import asset, in_units
from fanout.venues.values import (
    Continuity,
    History,
    Limits,
    Listed,
    Listing,
    Request,
    SecretNames,
    VenueItem,
    VenueTrade,
)

RECENT_TRADES: Final = 500
"""Rows requested for a reference: the default of the endpoint."""

DEPTH_BYTES: Final = 512 * 1024
"""Longest message where changes of books come: some 20,000 levels. The WebSocket takes twice as
much, so that a longer message costs a book, and not the connection."""


class BinanceVenue(VenueDefaults, ABC):
    """A venue without its listing and the route of its streams."""

    title: ClassVar[str]
    name: ClassVar[str]
    short_name: ClassVar[str]
    limits: Limits
    ws_default: ClassVar[str]
    rest_default: ClassVar[str]
    api: ClassVar[str]
    """Path of the REST interface."""
    listing_weight: ClassVar[int]
    newest: ClassVar[Records]
    by_id: ClassVar[Records]
    """Requires a key."""
    aggregates: ClassVar[Records]
    trade_dialogue: ClassVar[type[BinanceDialogue]]
    aggregate_dialogue: ClassVar[type[BinanceDialogue]]
    data_dialogue: ClassVar[type[MarketDataDialogue]]
    depth_stream: ClassVar[str]
    """The fastest stream of changes of a book."""
    book_weight: ClassVar[int]
    kinds: ClassVar[DataKinds] = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
    streams: ClassVar[tuple[str, ...]] = ("trade", "aggTrade")
    secrets: ClassVar[SecretNames | None] = SecretNames(secret="FANOUT_BINANCE_API_KEY")
    default_assets: ClassVar[tuple[str, ...]] = ("BTCUSDT", "ETHUSDT")
    continuity: ClassVar[Continuity] = Continuity.IDS
    time_exponent = -3
    silence_advice = (
        "Binance acknowledges and stays silent on the wrong route (trade needs /public, aggTrade "
        "/market): --ws-url must be the exchange's, without a route at its end"
    )

    def __init__(self, **options: Unpack[VenueOptions]) -> None:
        super().__init__(**options)
        stream, data, credentials = self.stream, self.data, self._credentials
        assert data in self.kinds_with(stream), "the configuration refuses it"
        self._streams = tuple(
            name
            for kind, name in (
                (DataKinds.TRADES, stream),
                (DataKinds.QUOTES, QUOTES),
                (DataKinds.BOOK_BY_PRICE, self.depth_stream),
            )
            if kind in data
        )
        self.limits = msgspec.structs.replace(
            self.limits, subscriptions=self.limits.subscriptions // len(self._streams)
        )
        if DataKinds.BOOK_BY_PRICE in data:
            self.limits = msgspec.structs.replace(self.limits, message_bytes=DEPTH_BYTES)
        self._recent = self._records = self.aggregates
        if stream == "trade":
            self._recent = self.newest
            self._records = self.by_id.with_key(credentials.secret) if credentials else self.newest
        self._parser = self.dialogue(())

    @property
    def reach(self) -> str:
        return self._records.reach

    @classmethod
    def kinds_with(cls, stream: str) -> DataKinds:
        """Aggregates come without other kinds: at USDⓈ-M they need another connection."""
        return DataKinds.TRADES if stream == "aggTrade" else cls.kinds

    @staticmethod
    def spell(text: str) -> str:
        if not all(each.isalnum() or each in "_*?[]-" for each in text):
            raise UsageError(
                f"{shown(text)[:40]!r} cannot be a symbol of Binance: use letters and digits, like "
                "BTCUSDT"
            )
        return text.upper()

    def without_key(self) -> Self:
        return type(self)(
            stream=self.stream, ws_url=self.ws_url, rest_url=self.rest_url, data=self.data
        )

    def fallback(self) -> Self | None:
        if self.stream == "aggTrade" or DataKinds.TRADES not in self.data:
            return None
        return type(self)(stream="aggTrade", ws_url=self.ws_url, rest_url=self.rest_url)

    @abstractmethod
    def stream_url(self) -> str: ...

    def dialogue(
        self, symbols: tuple[str, ...], units: Mapping[str, Instrument] = NO_UNITS
    ) -> BinanceDialogue:
        if self.data != DataKinds.TRADES:
            return self.data_dialogue(symbols, self._streams, self.limits, units)
        kind = self.trade_dialogue if self.stream == "trade" else self.aggregate_dialogue
        return kind(symbols, self.stream, self.limits)

    def subscriptions(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        """The opening messages of a new dialogue."""
        return self.dialogue(symbols).opening()

    def parse(self, message: bytes) -> VenueItem | None:
        """Parse one message without a connection. Raises the errors of `Dialogue.receive`."""
        items: list[VenueItem] = []
        self._parser.receive(message, items)
        return items[0] if items else None

    def listing_requests(self) -> tuple[Request, ...]:
        return (Request(path=f"{self.api}/exchangeInfo", weight=self.listing_weight),)

    @abstractmethod
    def parse_listing(self, *bodies: bytes) -> Listing: ...

    def _listed(
        self,
        row: Row,
        *,
        price_exponent: int,
        quantity_exponent: int,
        steps: tuple[str, str],
        kind: InstrumentType,
        fault: str | None,
    ) -> Listed:
        """The instrument of a row. `steps` are the tick size and the step size, as written."""
        tick, step = steps
        return Listed(
            symbol=row.symbol,
            price_exponent=price_exponent,
            quantity_exponent=quantity_exponent,
            time_exponent=self.time_exponent,
            fault=fault,
            tick=in_units(tick, price_exponent),
            lot=in_units(step, quantity_exponent),
            base=asset(row.baseAsset),
            quote=asset(row.quoteAsset),
            type=kind,
        )

    def _status_fault(self, row: Row) -> str | None:
        if row.status != TRADING:
            return f"does not trade at {self.name} now: status {shown(row.status)}"
        return None

    def parse_instruments(self, body: bytes, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """The instruments of `symbols`, in order. Raises the errors of `Listing.instrument`."""
        listing = self.parse_listing(body)
        return tuple(listing.instrument(symbol, index) for index, symbol in enumerate(symbols))

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        return self._recent.newest_request(symbol, RECENT_TRADES)

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        return self._recent.parse(body, symbol)

    def history_request(self, symbol: str, first_id: int) -> Request:
        return self._records.history_request(symbol, first_id)

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        return self._records.parse_history(body, symbol, first_id)

    def book_request(self, symbol: str) -> Request:
        return whole_book.book_request(self.api, symbol, weight=self.book_weight)

    def parse_book(self, body: bytes, instrument: Instrument) -> BookUpdate:
        return whole_book.parse_book(body, instrument)

    def time_request(self) -> Request:
        return Request(path=f"{self.api}/time")

    def parse_time(self, body: bytes) -> int:
        return rest.parse_time(body)

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        return rest.used_weight(headers)

    def banned_until_ms(self, body: bytes) -> int | None:
        return rest.banned_until_ms(body)

    def explain(self, status: int, body: bytes) -> str:
        return rest.explain(body)
