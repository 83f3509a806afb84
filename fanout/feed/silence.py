"""What is done about an instrument that is quiet: ask the venue's records why, and mend what can be
mended, by another connection or by another kind of stream.

Silence alone proves nothing: there may be no trades. That REST has some which were made after the
subscription, and did not come, proves that the stream is silent.
"""

import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import msgspec
import trio

from fanout.config import FeedConfig
from fanout.errors import ConfigError, VenueError, VenueUnreachableError
from fanout.feed.lane import Lane
from fanout.feed.lanes import Lanes
from fanout.feed.liveness import Liveness
from fanout.feed.merge import Merge
from fanout.feed.reporter import Reporter
from fanout.feed.venue_clock import VenueClock
from fanout.feed.watch import Watch
from fanout.net.rest import RestClient
from fanout.protocol.constants import FeedState
from fanout.protocol.records import Instrument
from fanout.venues.base import Venue

_LOG = logging.getLogger("fanout")

LOOK_AGAIN_S: Final = 60.0
"""How often an instrument that stays quiet is looked into."""

CONFIRM_S: Final = 3.0
"""How long a trade that REST has may still be on its way over the stream."""

SETTLING_S: Final = 5.0
"""How long a subscription may take to be in force, once it was sent."""

EVIDENCE: Final = 3
"""So many trades that did not come make a stream silent at the first look. Fewer may have been
skipped; that another one is missing at the next look is proof enough."""


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


class Silence:
    """Looks into instruments that are stale, or halted."""

    def __init__(
        self,
        config: FeedConfig,
        *,
        merge: Merge,
        liveness: Liveness,
        clock: VenueClock,
        rest: RestClient,
        lanes: Lanes,
        reporter: Reporter,
        watch: Watch,
        fail: Callable[[Exception], None],
    ) -> None:
        """`fail` ends the feed."""
        self._config = config
        self._merge = merge
        self._liveness = liveness
        self._clock = clock
        self._rest = rest
        self._lanes = lanes
        self._reporter = reporter
        self._watch = watch
        self._fail = fail
        self._is_looked_into: set[int] = set()
        self._seen_ids: dict[tuple[str, int], int] = {}
        """By stream and instrument: the newest id in the venue's records at the last look."""
        self._complained: set[tuple[str, int]] = set()

    async def look_into(self, instrument: Instrument) -> None:
        """Find out why an instrument is quiet, and do something about it, until it is not."""
        index = instrument.index
        if index in self._is_looked_into:
            return
        self._is_looked_into.add(index)
        looks, stale_count = 0, self._liveness.stale_count(index)
        while self._is_quiet(index):
            await self._look(instrument, is_first=looks == 0)
            looks += 1
            await trio.sleep(LOOK_AGAIN_S)
            if self._liveness.stale_count(index) != stale_count:  # it was well in between
                looks, stale_count = 0, self._liveness.stale_count(index)
        self._is_looked_into.discard(index)

    def _is_quiet(self, index: int) -> bool:
        return self._liveness.state(index) in (FeedState.STALE, FeedState.HALTED)

    async def _look(self, instrument: Instrument, *, is_first: bool) -> None:
        index, lane = instrument.index, self._lanes.lane_of(instrument)
        has_traded = self._liveness.has_traded(index)
        is_first |= self._liveness.state(index) is FeedState.HALTED
        finding = await self._find(lane, instrument)
        if not self._is_quiet(index) or self._lanes.lane_of(instrument) is not lane:
            return
        fallback = lane.venue.fallback() if self._config.stream == "auto" else None
        if finding.remedy is Remedy.RECONNECT and fallback:
            is_proven = not is_first or (not has_traded and finding.newer >= EVIDENCE)
            if is_proven:
                finding = msgspec.structs.replace(finding, remedy=Remedy.FALL_BACK)
        self._complain(instrument, lane, finding)
        if finding.newest_id is not None:
            self._miss(instrument, lane.venue.stream, finding.newest_id)
        if finding.is_halted:
            self._reporter.say(self._liveness.halted(index, finding.why))
            return
        if self._liveness.state(index) is FeedState.HALTED:
            self._reporter.say(self._liveness.resumed(index, "the venue trades it again"))
        if finding.remedy is Remedy.FALL_BACK and fallback:
            self._lanes.fall_back(instrument, fallback, finding.why)
        elif finding.remedy is Remedy.RECONNECT:
            _LOG.warning("%s: %s; connecting anew", instrument.symbol, finding.why)
            lane.rotate()

    def _miss(self, instrument: Instrument, stream: str, trade_id: int) -> None:
        """The venue made this trade, and all before it; what did not come is missing."""
        now_s = trio.current_time()
        self._reporter.gaps(self._merge.miss(stream, instrument.symbol, trade_id, now_s))
        self._watch.wake()

    def _complain(self, instrument: Instrument, lane: Lane, finding: Finding) -> None:
        """Say that a first trade did not come, and why; end the feed if that is asked for."""
        of = lane.venue.stream, instrument.index
        if self._liveness.has_ever_traded(instrument.index) or of in self._complained:
            return
        self._complained.add(of)
        timeout_s = self._config.first_trade_timeout_s
        said = f"{instrument.symbol}: no trade within {timeout_s:g} s; {finding.why}"
        _LOG.error("%s", said)
        if self._config.strict and finding.remedy is not Remedy.FALL_BACK:
            self._fail(VenueUnreachableError(f"{said} (--strict)"))

    async def _find(self, lane: Lane, instrument: Instrument) -> Finding:
        venue, symbol = lane.venue, instrument.symbol
        try:
            rows = await self._rest.fetch(
                venue.recent_trades_request(symbol),
                lambda body: venue.parse_recent_trades(body, symbol),
            )
        except VenueError as error:
            _LOG.warning("%s: cannot look into why it is quiet: %s", symbol, error)
            return Finding("and REST cannot be asked: the network, a firewall, a ban?")
        of = venue.stream, instrument.index
        next_id = self._merge.next_id(venue.stream, symbol)
        due_id = max(next_id or 0, self._seen_ids.get(of, -1) + 1)
        settling_s = min(SETTLING_S, self._config.first_trade_timeout_s / 4)
        since_ms = self._clock.latest_venue_ms(lane.subscribed_ns) + int(settling_s * 1_000)
        newer = sum(each.trade_id >= due_id and each.time > since_ms for each in rows)
        newest_id = rows[-1].trade_id if rows else -1
        is_missing = next_id is not None and newest_id >= next_id
        if newer or is_missing:
            await trio.sleep(CONFIRM_S)
        self._seen_ids[of] = newest_id
        finding = (
            Finding(
                f"REST has {newer:,} newer: the {venue.stream} stream is silent",
                Remedy.RECONNECT,
                newer=newer,
            )
            if newer
            else await self._ask_whether_it_trades(venue, symbol)
        )
        return msgspec.structs.replace(finding, newest_id=newest_id) if is_missing else finding

    async def _ask_whether_it_trades(self, venue: Venue, symbol: str) -> Finding:
        try:
            await self._rest.fetch(
                venue.instruments_request(), lambda body: venue.parse_instruments(body, (symbol,))
            )
        except ConfigError as error:
            return Finding(str(error), is_halted=True)
        except VenueError as error:
            _LOG.warning("%s: cannot ask whether it trades: %s", symbol, error)
        return Finding("REST has none either: there may be none")
