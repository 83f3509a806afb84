"""Why an instrument is quiet: the venue's records are asked, and the answer is a finding that names
the remedy. The feed applies it.

Silence alone proves nothing: there may be no trades. Trades that REST has, made after the
subscription, which did not come over the stream, prove that the stream is silent.
"""

import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import msgspec
import trio

from fanout.errors import VenueError
from fanout.feed.connections import Shard
from fanout.feed.sequences import Sequences
from fanout.feed.venue_clock import VenueClock
from fanout.net.rest import RestClient
from fanout.protocol.records import Instrument
from fanout.venues.base import Listing, Venue

_LOG = logging.getLogger("fanout")

LOOK_AGAIN_S: Final = 60.0
"""How often an instrument that stays quiet is looked into."""

LOOKS_AT_ONCE: Final = 8

MANY_QUIET: Final = 50
"""With more quiet instruments than this, each is looked into less often: REST has other uses."""

CONFIRM_S: Final = 3.0
"""How long a trade that REST has may still be on its way over the stream."""

SETTLING_S: Final = 5.0
"""How long a subscription may take to be in force, once it was sent."""

EVIDENCE: Final = 3
"""So many trades that did not come make a stream silent at the first look. Fewer may have been
skipped; another one that is missing at the next look is proof enough."""

LISTING_AGE_S: Final = 30.0
"""How old a listing may be that says whether an instrument trades."""


class Remedy(Enum):
    """What helps."""

    NONE = auto()
    RECONNECT = auto()
    """Another connection."""
    FALL_BACK = auto()
    """Another kind of stream."""


class Finding(msgspec.Struct, frozen=True):
    """Why an instrument is quiet, for people, and what helps. `is_halted`: the venue itself says
    that it does not trade. `newer` trades did not come; `newest_id` is missing, and all before it
    that did not come."""

    why: str
    remedy: Remedy = Remedy.NONE
    is_halted: bool = False
    newer: int = 0
    newest_id: int | None = None


class Listings:
    """The venue's listing, asked for once by all who need it at a time."""

    def __init__(self, venue: Venue, rest: RestClient) -> None:
        self._venue = venue
        self._rest = rest
        self._lock = trio.Lock()
        self._last: Listing | None = None
        self._asked_s = 0.0

    async def get(self, *, max_age_s: float = 0.0) -> Listing:
        """Raises a `VenueError`."""
        called_s = trio.current_time()
        async with self._lock:
            if self._last is not None and called_s <= self._asked_s + max_age_s:
                return self._last
            asked_s = trio.current_time()
            self._last = await self._rest.fetch(
                self._venue.listing_request(), self._venue.parse_listing
            )
            self._asked_s = asked_s
            return self._last


class Silence:
    """Finds out, one look at a time."""

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
        self._seen_ids: dict[tuple[str, int], int] = {}
        """By stream and instrument: the newest id in the venue's records at the last look."""

    async def find(self, shard: Shard, instrument: Instrument) -> Finding:
        """Why an instrument brings nothing over a shard."""
        venue, symbol = shard.venue, instrument.symbol
        try:
            async with self._limiter:
                rows = await self._rest.fetch(
                    venue.recent_trades_request(symbol),
                    lambda body: venue.parse_recent_trades(body, symbol),
                )
        except VenueError as error:
            _LOG.warning("%s: cannot look into why it is quiet: %s", symbol, error)
            return Finding("and REST cannot be asked: the network, a firewall, a ban?")
        of = venue.stream, instrument.index
        next_id = self._sequences.next_id(venue.stream, symbol)
        due_id = max(next_id or 0, self._seen_ids.get(of, -1) + 1)
        since = self._in_force_since(shard)
        newer = sum(each.trade_id >= due_id and each.time > since for each in rows)
        newest_id = rows[-1].trade_id if rows else -1
        is_missing = next_id is not None and newest_id >= next_id
        if newer or is_missing:
            await trio.sleep(CONFIRM_S)
        self._seen_ids[of] = newest_id
        finding = (
            _silent(shard, symbol, newer) if newer else await self._ask_whether_it_trades(symbol)
        )
        return msgspec.structs.replace(finding, newest_id=newest_id) if is_missing else finding

    def _in_force_since(self, shard: Shard) -> int:
        """From when on a trade has to come, in the venue's time."""
        ms = self._clock.latest_venue_ms(shard.subscribed_ns(self._wall_ns()))
        ms += int(self._settling_s * 1_000)
        return ms * int(10 ** (-3 - shard.venue.time_exponent))

    async def _ask_whether_it_trades(self, symbol: str) -> Finding:
        try:
            listing = await self._listings.get(max_age_s=LISTING_AGE_S)
        except VenueError as error:
            _LOG.warning("%s: cannot ask whether it trades: %s", symbol, error)
        else:
            fault = listing.fault(symbol)
            if fault and symbol not in listing.odd:
                return Finding(fault, is_halted=True)
        return Finding("REST has none either: there may be none")


def _silent(shard: Shard, symbol: str, newer: int) -> Finding:
    answered = ", and the venue never answered the subscription" * shard.unanswered(symbol)
    why = f"REST has {newer:,} newer: the {shard.venue.stream} stream is silent{answered}"
    return Finding(why, Remedy.RECONNECT, newer=newer)
