"""The upstream: connections, what they bring, and what is said of it.

    lanes of links --bursts--> merge --trades, gaps--> publisher
           |                     |
           |                     '-- open gaps --> back-fill over REST -->
           '-- trades, silence --> liveness --statuses-->

A burst goes through the venue's parser and the merge to the publisher in one go, without giving way
to other tasks: what one read brought is one block. Whatever the venue sends that is not understood
is counted and skipped. What is quiet is said, looked into over REST, and mended where it can be:
by another connection, or by another kind of stream.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

import trio

from fanout.anomalies import Anomalies
from fanout.config import FeedConfig
from fanout.errors import VenueError, VenueForbiddenError
from fanout.feed.back_fill import BackFill
from fanout.feed.lane import Lane
from fanout.feed.link import Link, Pacer
from fanout.feed.liveness import Change, Liveness
from fanout.feed.merge import Merge
from fanout.feed.silence import Silence
from fanout.feed.timekeeping import keep_time
from fanout.feed.venue_clock import VenueClock
from fanout.feed.view import FeedView
from fanout.feed.watch import Watch
from fanout.market import Market, ask_again
from fanout.publisher import Publisher
from fanout.rest import RestClient
from fanout.stats import FeedStats
from fanout.venues.base import Venue
from fanout.websocket import Burst, WebSocket
from protocol.constants import BlockFlags, FeedState, GapState
from protocol.errors import reason
from protocol.records import Gap, Instrument, Trade

_LOG = logging.getLogger("fanout")

RENEW_EVERY_S: Final = 60.0
"""Shortest time between two looks at the units, however many trades do not fit them."""

_SAID: Final = {
    GapState.OPEN: "are missing",
    GapState.BACK_FILLED: "are back-filled",
    GapState.UNRECOVERABLE: "are lost",
    GapState.NO_TRADE: "are none",
}
"""For the log."""

Connect = Callable[[str], AbstractAsyncContextManager[WebSocket]]


class Feed:
    """One venue, from its sockets to the publisher."""

    def __init__(
        self,
        venue: Venue,
        market: Market,
        publisher: Publisher,
        rest: RestClient,
        anomalies: Anomalies,
        config: FeedConfig,
        *,
        connect: Connect,
        uniform: Callable[[float, float], float] = random.uniform,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`connect` opens a WebSocket. `wall_ns` gives unix ns, `monotonic_ns` those of bursts."""
        self._venue = venue
        self._instruments = market.instruments
        self._publisher = publisher
        self._rest = rest
        self._anomalies = anomalies
        self._config = config
        self._connect = connect
        self._uniform = uniform
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._merge = Merge(market.instruments, venue.stream, anomalies)
        self._liveness = Liveness(
            market.usual_s,
            market.longest_s,
            first_trade_timeout_s=config.first_trade_timeout_s,
        )
        self._clock = VenueClock()
        self._silence = Silence(rest, self._merge, self._liveness, self._clock, config, self)
        self._pacer = Pacer()
        self._lanes: list[Lane] = []
        self._messages_before = 0
        self._connections_before = 0
        """Of lanes that are gone."""
        self._lane_of: dict[int, Lane] = {}
        self._back_fills: dict[tuple[str, int], BackFill] = {}
        """By kind of stream and instrument."""
        self._state = FeedState.DOWN
        self._watch = Watch(
            self._merge,
            self._liveness,
            tell_gaps=self._publish_gaps,
            tell_quiet=self._tell_quiet,
        )
        self._is_renewing = False
        self.view = FeedView(
            len(market.instruments),
            merge=self._merge,
            liveness=self._liveness,
            clock=self._clock,
            rest=rest,
            anomalies=anomalies,
        )
        self._failure: Exception | None = None

    @property
    def messages(self) -> int:
        return self._messages_before + sum(each.messages for each in self._lanes)

    @property
    def connections(self) -> int:
        """That ever opened."""
        return self._connections_before + sum(each.connections for each in self._lanes)

    async def run(self) -> None:
        """Feed the publisher until cancelled.

        Raises `VenueForbiddenError` if the very first connection is refused for good, and
        `VenueUnreachableError` for a symbol without a trade where that is asked for.
        """
        async with trio.open_nursery() as self._nursery:
            self._open_lane(self._venue, self._instruments, "subscribed")
            self._nursery.start_soon(self._watch.run)
            self._nursery.start_soon(
                keep_time, self._clock, self._rest, self._venue, self._anomalies, self._wall_ns
            )
        assert self._failure is not None, "nothing else ends it"
        raise self._failure

    def finish(self) -> None:
        """Tell what is missing, and close what is open. Nothing more will be published."""
        self._publish_gaps(self._merge.end())

    def stats(self) -> FeedStats:
        now_s = trio.current_time()
        return self.view.stats(
            self._state,
            self._lanes,
            self._streams(),
            now_s,
            messages=self.messages,
            connections=self.connections,
        )

    def states(self) -> dict[str, str]:
        """What each symbol is, by the name of its state."""
        return {each.symbol: self._liveness.state(each.index).name for each in self._instruments}

    def turn(self) -> None:
        """Begin another slice of the last minute, for rates and quantiles."""
        self.view.turn(self._streams(), trio.current_time())

    def _streams(self) -> list[tuple[Instrument, str]]:
        """The kind of stream that each instrument takes."""
        return [
            (each, self._lane_of[each.index].venue.stream)
            if each.index in self._lane_of
            else (each, self._venue.stream)
            for each in self._instruments
        ]

    # Lanes, and what becomes of their connections.

    def _open_lane(self, venue: Venue, instruments: tuple[Instrument, ...], how: str) -> None:
        lane = Lane(
            venue,
            instruments,
            how,
            merge=self._merge,
            anomalies=self._anomalies,
            sink=self,
            wall_ns=self._wall_ns,
        )
        # Those of a lane that came later say whose they are: each has a name of its own.
        of_whom = f" for {','.join(lane.symbols)}" if self._lanes else ""
        for number in range(1, self._config.connections + 1):
            link = Link(
                f"{venue.stream} connection {number} of {self._config.connections}{of_whom}",
                lane,
                connect=partial(self._connect, venue.stream_url()),
                requests=lane.requests,
                rotate_after_s=self._config.rotate_after_s,
                pacer=self._pacer,
                uniform=self._uniform,
            )
            lane.links.append(link)
        self._lanes.append(lane)
        for each in instruments:
            self._lane_of[each.index] = lane
            if (venue.stream, each.index) not in self._back_fills:
                back_fill = self._new_back_fill(venue, each)
                self._back_fills[venue.stream, each.index] = back_fill
                self._nursery.start_soon(back_fill.run)
        self._nursery.start_soon(lane.run)

    def attempting(self) -> None:
        if self._state is FeedState.DOWN:
            self._turn(FeedState.CONNECTING, self._venue.name)

    def opened(self, lane: Lane) -> None:
        _LOG.info("connected to %s for %s", lane.venue.stream_url(), ", ".join(lane.symbols))
        if len(lane.open) == 1:
            now_s = trio.current_time()
            self._say(self._liveness.subscribed(lane.indexes, now_s, lane.how))
        self._count_connections()

    def ended(self, lane: Lane, why: str) -> None:
        is_down = not any(each.open for each in self._lanes)
        if is_down and self._state is not FeedState.DOWN:
            self._turn(FeedState.DOWN, why)
        if not lane.open:
            changes = self._liveness.down(lane.indexes, why)
            if not is_down:  # else the feed's own state says it
                self._say(changes)
        self._count_connections()

    def refused(self, error: VenueForbiddenError) -> None:
        if not self.connections:
            self.fail(error)

    def _count_connections(self) -> None:
        self._merge.is_alone = sum(len(each.open) for each in self._lanes) <= 1

    def _turn(self, state: FeedState, why: str) -> None:
        self._state = state
        self._publisher.publish_status(None, state, why)

    # What comes, and what does not.

    def publish(self, records: list[Trade | Gap], burst: Burst) -> None:
        """Publish what one read brought, behind what it changes."""
        oldest = {each.instrument.index: each for each in reversed(records) if type(each) is Trade}
        if oldest:
            if self._state is not FeedState.LIVE:
                self._turn(FeedState.LIVE, self._venue.name)
            now_s = trio.current_time()
            for index, trade in oldest.items():
                self._say(self._liveness.traded(index, now_s))
                self.view.note(trade, received_ns=burst.received_ns, now_s=now_s)
        held_ns = self._monotonic_ns() - burst.received_at_ns
        self._publisher.publish(records, received_ns=burst.received_ns, held_ns=held_ns)
        if len(oldest) < len(records):
            self._see_to_gaps([each for each in records if type(each) is Gap])
        if self._merge.misfits:
            self._renew_units()
        if self._merge.turned:
            self._part_lanes()
        if self._merge.has_new_holes:
            self._merge.has_new_holes = False
            self._watch.wake()

    def _publish_gaps(self, gaps: Sequence[Gap]) -> None:
        self._publisher.publish(gaps, received_ns=0, held_ns=0)
        self._see_to_gaps(gaps)

    def _publish_back_filled(self, records: Sequence[Trade | Gap]) -> None:
        self._publisher.publish(
            records, received_ns=self._wall_ns(), held_ns=0, flags=BlockFlags.BACK_FILLED
        )
        self._see_to_gaps([each for each in records if type(each) is Gap])

    def _see_to_gaps(self, gaps: Sequence[Gap]) -> None:
        for each in gaps:
            is_bad = each.state in (GapState.OPEN, GapState.UNRECOVERABLE)
            _LOG.log(
                logging.WARNING if is_bad else logging.INFO,
                "%s trades %d to %d %s: %s",
                each.instrument.symbol,
                each.first_id,
                each.last_id,
                _SAID.get(each.state, each.state.name),
                each.why,
            )
        if gaps:
            for back_fill in self._back_fills.values():
                back_fill.ask()

    def _new_back_fill(self, venue: Venue, instrument: Instrument) -> BackFill:
        return BackFill(
            venue,
            instrument.symbol,
            self._merge,
            self._rest,
            publish=self._publish_back_filled,
            uniform=self._uniform,
        )

    def _say(self, changes: Iterable[Change]) -> None:
        for each in changes:
            instrument = self._instruments[each.index]
            self._publisher.publish_status(instrument, each.state, each.why)
            level = logging.DEBUG if each.state is FeedState.CONNECTING else logging.INFO
            _LOG.log(level, "%s is %s: %s", instrument.symbol, each.state.name, each.why)
            self._watch.wake()

    # What is quiet.

    def _tell_quiet(self, changes: Sequence[Change]) -> None:
        self._say(changes)
        for each in changes:
            self._nursery.start_soon(self._silence.look_into, self._instruments[each.index])

    def lane_of(self, instrument: Instrument) -> Lane:
        return self._lane_of[instrument.index]

    def miss(self, instrument: Instrument, stream: str, trade_id: int) -> None:
        """The venue made this trade, and all before it; what did not come is missing."""
        self._publish_gaps(
            self._merge.miss(stream, instrument.symbol, trade_id, trio.current_time())
        )
        self._watch.wake()

    def resume(self, instrument: Instrument) -> None:
        self._say(self._liveness.resumed(instrument.index, "the venue trades it again"))

    def halt(self, instrument: Instrument, why: str) -> None:
        self._say(self._liveness.halted(instrument.index, why))

    def fall_back(self, instrument: Instrument, lane: Lane, fallback: Venue, why: str) -> None:
        how = f"{fallback.stream} instead of {lane.venue.stream}: {why}"
        _LOG.warning("%s: taking %s", instrument.symbol, how)
        self._merge.turn_to(instrument.symbol, lane.venue.stream, fallback.stream)
        self._open_lane(fallback, (instrument,), how)

    def _part_lanes(self) -> None:
        """Of two lanes for an instrument one has brought a trade: the other gives it up."""
        for symbol, stream in self._merge.turned:
            for lane in self._lanes:
                for instrument in lane.instruments:
                    if instrument.symbol == symbol:
                        if lane.venue.stream == stream:
                            self._lane_of[instrument.index] = lane
                        else:
                            lane.give_up(instrument)
        self._merge.turned.clear()
        self._drop_empty_lanes()
        self._count_connections()

    def _drop_empty_lanes(self) -> None:
        for lane in [each for each in self._lanes if not each.instruments]:
            self._lanes.remove(lane)
            self._messages_before += lane.messages
            self._connections_before += lane.connections

    def fail(self, error: Exception) -> None:
        """End the feed, by raising this."""
        self._failure = error
        self._nursery.cancel_scope.cancel()

    # Units.

    def _renew_units(self) -> None:
        self._merge.misfits.clear()
        if not self._is_renewing:
            self._is_renewing = True
            self._nursery.start_soon(self._renew)

    async def _renew(self) -> None:
        """Ask the venue for its units, and go on in them if they are others."""
        try:
            market = await ask_again(self._rest, self._venue, self._instruments)
        except* VenueError as group:
            _LOG.warning("trades do not fit, and the units cannot be asked for: %s", reason(group))
        else:
            if market.instruments != self._instruments:
                _LOG.warning("the venue changed its units: going on in the new ones")
                self._instruments = market.instruments
                self._merge.renew(market.instruments)
                self._publisher.renew_header(market.instruments, market.references)
                self._publisher.seed(market.newest)
        await trio.sleep(RENEW_EVERY_S)
        self._is_renewing = False
