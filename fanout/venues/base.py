"""What a venue is: a pure adapter. It says what to ask and what an answer means; it does no I/O.

A new venue is one file with a class that satisfies `Venue`, one line in the registry, and the
contract checks in `tests/contracts/venue.py`, which it inherits.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from fanout.protocol.constants import TradeKind
from fanout.protocol.records import Instrument


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A REST GET: a path behind the venue's REST URL, its query and headers, and what the venue
    counts for it. Headers may hold a key: they are not to be shown."""

    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    weight: int = 1

    def __repr__(self) -> str:
        return f"Request({self.path!r}, {self.query!r})"


class VenueTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade in the venue's own words: symbol and decimal strings as they came.

    `first_fill` is, for several fills in one, the id of the first of them.
    """

    symbol: str
    trade_id: int
    time: int
    price: str
    quantity: str
    buyer_is_maker: bool
    kind: TradeKind
    first_fill: int | None = None


class SpentId(msgspec.Struct, frozen=True, gc=False):
    """A trade id that the venue used up without a trade."""

    symbol: str
    trade_id: int


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Trades that the venue's records have, oldest first, and which ids they speak for: of those
    from `first_id` to `last_id`, the ones that are not in `trades` are no trades at all there.

    `is_newest`: the records end there for now.
    """

    trades: tuple[VenueTrade, ...]
    first_id: int
    last_id: int
    is_newest: bool


class Venue(Protocol):
    """The adapter of one exchange, for one kind of stream.

    `parse` gets one message of the socket and gives a trade, a spent id, or None for what needs
    no answer (an acknowledgement). It raises `VenueMessageError` for a message that is not what
    the venue documents, and `VenueRefusalError` where the venue says no to a subscription.
    """

    @property
    def name(self) -> str: ...
    @property
    def stream(self) -> str:
        """The kind of stream, in the venue's word. Each numbers its trades in its own way."""
        ...

    @property
    def rest_url(self) -> str: ...
    @property
    def time_exponent(self) -> int: ...
    @property
    def weight_limit(self) -> int:
        """Weight of REST requests that the venue allows an address in a clock minute."""
        ...

    @property
    def reach(self) -> str:
        """How far back `history_request` can ask, in words for people."""
        ...

    def without_key(self) -> "Venue":
        """The same, for who has no key that the venue accepts."""
        ...

    def fallback(self) -> "Venue | None":
        """The same trades from another kind of stream, for when this one is silent; None if there
        is none."""
        ...

    def stream_url(self) -> str:
        """The WebSocket URL to connect to."""
        ...

    def subscriptions(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        """The messages to send once connected."""
        ...

    def parse(self, message: bytes) -> VenueTrade | SpentId | None: ...

    def instruments_request(self) -> Request: ...

    def parse_instruments(self, body: bytes, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """The instruments asked for, in that order. Raises `ConfigError`, naming the first that
        is unknown or cannot be subscribed to, `VenueMessageError` for nonsense."""
        ...

    def recent_trades_request(self, symbol: str) -> Request: ...

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        """Oldest first. Raises `VenueMessageError` for nonsense."""
        ...

    def history_request(self, symbol: str, first_id: int) -> Request:
        """Ask for the trades from `first_id` on; or, where the venue has no such question, for as
        many of the newest as it gives."""
        ...

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        """The answer. None if it says nothing. Raises `VenueMessageError` for nonsense."""
        ...

    def time_request(self) -> Request: ...

    def parse_time(self, body: bytes) -> int:
        """The venue's clock, unix ms. Raises `VenueMessageError` for nonsense."""
        ...

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        """What the venue has counted in this minute, as it says with an answer. Names of headers
        are in lower case."""
        ...

    def banned_until_ms(self, body: bytes) -> int | None:
        """Until when the venue will not answer, unix ms, if it says so."""
        ...

    def explain(self, status: int, body: bytes) -> str:
        """The venue's own words in a REST error answer, for people; empty when there are none."""
        ...
