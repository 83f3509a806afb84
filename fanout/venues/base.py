"""What a venue is: a pure adapter. It says what to ask and what an answer means; it does no I/O.

A new venue is one file with a class that satisfies `Venue`, one line in the registry, and the
contract checks in `tests/contracts/venue.py`, which it inherits.
"""

from typing import Protocol

import msgspec

from protocol.constants import TradeKind
from protocol.records import Instrument


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A REST GET: a path behind the venue's REST URL, and its query."""

    path: str
    query: dict[str, str] = {}


class VenueTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade in the venue's own words: symbol and decimal strings as they came."""

    symbol: str
    trade_id: int
    time: int
    price: str
    quantity: str
    buyer_is_maker: bool
    kind: TradeKind


class SpentId(msgspec.Struct, frozen=True, gc=False):
    """A trade id that the venue used up without a trade."""

    symbol: str
    trade_id: int


class Venue(Protocol):
    """The adapter of one exchange, for one kind of stream.

    `parse` gets one message of the socket and gives a trade, a spent id, or None for what needs
    no answer (an acknowledgement). It raises `VenueMessageError` for a message that is not what
    the venue documents, and `VenueRefusalError` where the venue says no to a subscription.
    """

    @property
    def name(self) -> str: ...
    @property
    def rest_url(self) -> str: ...
    @property
    def time_exponent(self) -> int: ...

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

    def explain(self, status: int, body: bytes) -> str:
        """The venue's own words in a REST error answer, for people; empty when there are none."""
        ...
