"""Investigates over REST why an instrument is quiet. The finding names a remedy, which the feed
applies.

Silence alone proves nothing, since there may be no trades. The stream is at fault if REST has
trades made after the subscription that the stream did not deliver.
"""

import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import msgspec
import trio

from fanout.errors import VenueError
from fanout.feed.listing_pages import fetch_listing
from fanout.feed.sequences import Sequences
from fanout.feed.shard import Shard
from fanout.feed.venue_clock import VenueClock
from fanout.net.rest import RestClient
from fanout.protocol.instrument import Instrument
from fanout.venues.base import Venue
from fanout.venues.values import Listing, VenueTrade

_LOG = logging.getLogger("fanout")

LOOK_AGAIN_S: Final = 60.0
"""Interval between investigations of one quiet instrument."""

LOOK_SOON_S: Final = 15.0
"""The same after a new subscription, which brings trades at once or not at all."""

LOOKS_AT_ONCE: Final = 8

MANY_QUIET: Final = 50
"""With more quiet instruments than this, each is investigated less often, to save REST weight."""

CONFIRM_S: Final = 3.0
"""How long the stream may lag behind REST."""

SETTLING_S: Final = 5.0
"""How long a subscription may take to become active."""

EVIDENCE: Final = 3
"""This many undelivered trades prove at the first look that the stream is silent. With fewer, the
second look needs one more: the stream may have skipped those."""

LISTING_AGE_S: Final = 30.0
"""Largest age of a listing used to tell whether an instrument trades."""


class Remedy(Enum):
    """The remedy for a silent stream."""

    NONE = auto()
    RECONNECT = auto()
    """Open another connection."""
    FALL_BACK = auto()
    """Take another kind of stream."""


class Finding(msgspec.Struct, frozen=True):
    """The reason for the silence, in words, and the remedy.

    `is_halted`: the listing says that the instrument does not trade. `newer` counts trades in REST
    that the stream did not deliver. If `newest_id` is set, all ids up to it that did not arrive are
    missing.
    """

    why: str
    remedy: Remedy = Remedy.NONE
    is_halted: bool = False
    newer: int = 0
    newest_id: int | None = None


class Listings:
    """Fetches the venue's listing. Concurrent callers share one request."""

    def __init__(self, venue: Venue, rest: RestClient) -> None:
        self._venue = venue
        self._rest = rest
        self._lock = trio.Lock()
        self._last: Listing | None = None
        self._asked_s = 0.0

    async def get(self, *, max_age_s: float = 0.0) -> Listing:
        """A listing that is at most `max_age_s` old. Raises `VenueError`."""
        called_s = trio.current_time()
        async with self._lock:
            if self._last is not None and called_s <= self._asked_s + max_age_s:
                return self._last
            asked_s = trio.current_time()
            self._last = await fetch_listing(self._rest, self._venue)
            self._asked_s = asked_s
            return self._last


class Silence:
    """Investigates quiet instruments."""

    def __init__(
        self,
        rest: RestClient,
        listings: Listings,
        sequences: Sequences,
        clock: VenueClock,
        *,
        first_trade_timeout_s: float,
        wall_ns: Callable[[], int],
    ) -> None:
        self._rest = rest
        self._listings = listings
        self._sequences = sequences
        self._clock = clock
        self._settling_s = min(SETTLING_S, first_trade_timeout_s / 4)
        self._wall_ns = wall_ns
        self._limiter = trio.CapacityLimiter(LOOKS_AT_ONCE)
        self._looked_at: dict[tuple[str, int], VenueTrade] = {}
        """The newest trade in REST at the last look, by stream and instrument."""

    async def find(self, shard: Shard, instrument: Instrument) -> Finding:
        """Investigate why a shard delivers no trades of an instrument."""
        venue, symbol = shard.venue, instrument.symbol
        try:
            async with self._limiter:
                rows = await self._rest.fetch(
                    venue.recent_trades_request(symbol),
                    lambda body: venue.parse_recent_trades(body, symbol),
                )
        except VenueError as error:
            _LOG.warning("%s is quiet, and REST cannot tell why: %s", symbol, error)
            return Finding("and REST does not answer: check the network, a firewall, or a ban")
        of = venue.stream, instrument.index
        next_id = self._sequences.next_id(venue.stream, symbol)
        newer = self._sequences.undelivered(
            venue.stream, symbol, rows, self._in_force_since(shard, symbol), self._looked_at.get(of)
        )
        newest_id = rows[-1].trade_id if rows else -1
        is_missing = next_id is not None and newest_id >= next_id
        if newer or is_missing:
            await trio.sleep(CONFIRM_S)
        if rows:
            self._looked_at[of] = rows[-1]
        finding = (
            _silent(shard, symbol, newer) if newer else await self._ask_whether_it_trades(symbol)
        )
        return msgspec.structs.replace(finding, newest_id=newest_id) if is_missing else finding

    def _in_force_since(self, shard: Shard, symbol: str) -> int:
        """When the subscription became active, in the venue's time."""
        ms = self._clock.latest_venue_ms(shard.subscribed_ns(symbol, self._wall_ns()))
        ms += int(self._settling_s * 1_000)
        return ms * int(10 ** (-3 - shard.venue.time_exponent))

    async def _ask_whether_it_trades(self, symbol: str) -> Finding:
        try:
            listing = await self._listings.get(max_age_s=LISTING_AGE_S)
        except VenueError as error:
            _LOG.warning("%s: no listing to tell whether it trades: %s", symbol, error)
        else:
            fault = listing.fault(symbol)
            if fault and symbol not in listing.odd:
                return Finding(fault, is_halted=True)
        return Finding("REST has none either: the symbol may not trade")


def _silent(shard: Shard, symbol: str, newer: int) -> Finding:
    answered = ", and the venue never answered the subscription" * shard.unanswered(symbol)
    why = f"REST has {newer:,} newer: the {shard.venue.stream} stream is silent{answered}"
    return Finding(why, Remedy.RECONNECT, newer=newer)
