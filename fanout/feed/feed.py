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

import random
import time
from collections.abc import Callable, Sequence

import trio

from fanout.channel.publisher import Publisher
from fanout.config import FeedConfig
from fanout.feed.lanes import Connect, Lanes
from fanout.feed.liveness import Change, Liveness
from fanout.feed.market import Market
from fanout.feed.merge import Merge
from fanout.feed.reporter import Reporter
from fanout.feed.silence import Silence
from fanout.feed.timekeeping import keep_time
from fanout.feed.units import Units
from fanout.feed.venue_clock import VenueClock
from fanout.feed.view import FeedView
from fanout.feed.watch import Watch
from fanout.net.rest import RestClient
from fanout.net.websocket import Burst
from fanout.protocol.constants import FeedState
from fanout.protocol.records import Gap, Trade
from fanout.stats.anomalies import Anomalies
from fanout.stats.snapshots import FeedStats
from fanout.venues.base import Venue


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
        self._publisher = publisher
        self._rest = rest
        self._anomalies = anomalies
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._clock = VenueClock()
        self._merge = Merge(market.instruments, venue.stream, anomalies)
        self._liveness = Liveness(
            market.usual_s,
            market.longest_s,
            first_trade_timeout_s=config.first_trade_timeout_s,
        )
        self._watch = Watch(self._merge, self._liveness)
        self._units = Units(venue, market.instruments, self._merge, publisher, rest)
        self._reporter = Reporter(publisher, self._units, self._watch, wall_ns=wall_ns)
        self._lanes = Lanes(
            venue,
            config,
            merge=self._merge,
            liveness=self._liveness,
            reporter=self._reporter,
            rest=rest,
            anomalies=anomalies,
            connect=connect,
            publish=self._publish,
            fail=self._fail,
            uniform=uniform,
            wall_ns=wall_ns,
        )
        self._silence = Silence(
            config,
            merge=self._merge,
            liveness=self._liveness,
            clock=self._clock,
            rest=rest,
            lanes=self._lanes,
            reporter=self._reporter,
            watch=self._watch,
            fail=self._fail,
        )
        self.view = FeedView(
            units=self._units,
            lanes=self._lanes,
            merge=self._merge,
            liveness=self._liveness,
            reporter=self._reporter,
            clock=self._clock,
            rest=rest,
            anomalies=anomalies,
        )
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Feed the publisher until cancelled.

        Raises `VenueForbiddenError` if the very first connection is refused for good, and
        `VenueUnreachableError` for a symbol without a trade where that is asked for.
        """
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._lanes.run, self._units.instruments)
            self._nursery.start_soon(self._watch.run, self._reporter.gaps, self._tell_quiet)
            self._nursery.start_soon(self._units.run)
            self._nursery.start_soon(
                keep_time, self._clock, self._rest, self._venue, self._anomalies, self._wall_ns
            )
        assert self._failure is not None, "nothing else ends it"
        raise self._failure

    def finish(self) -> None:
        """Tell what is missing, and close what is open. Nothing more will be published."""
        self._reporter.gaps(self._merge.end())

    def stats(self) -> FeedStats:
        return self.view.stats(trio.current_time())

    def states(self) -> dict[str, str]:
        """What each symbol is, by the name of its state."""
        return self.view.states()

    def turn(self) -> None:
        """Begin another slice of the last minute, for rates and quantiles."""
        self.view.turn(trio.current_time())

    def _publish(self, records: list[Trade | Gap], burst: Burst) -> None:
        """Publish what one read brought, behind what it changes."""
        oldest = {each.instrument.index: each for each in reversed(records) if type(each) is Trade}
        if oldest:
            if self._reporter.state is not FeedState.LIVE:
                self._reporter.turn(FeedState.LIVE, self._venue.name)
            now_s = trio.current_time()
            for index, trade in oldest.items():
                self._reporter.say(self._liveness.traded(index, now_s))
                self.view.note(trade, received_ns=burst.received_ns, now_s=now_s)
        held_ns = self._monotonic_ns() - burst.received_at_ns
        self._publisher.publish(records, received_ns=burst.received_ns, held_ns=held_ns)
        if len(oldest) < len(records):
            self._reporter.see_to([each for each in records if type(each) is Gap])
        self._see_to_what_changed()

    def _see_to_what_changed(self) -> None:
        """What the merge has noticed, besides trades and gaps."""
        if self._merge.misfits:
            self._merge.misfits.clear()
            self._units.doubt()
        if self._merge.turned:
            self._lanes.part()
        if self._merge.has_new_holes:
            self._merge.has_new_holes = False
            self._watch.wake()

    def _tell_quiet(self, changes: Sequence[Change]) -> None:
        self._reporter.say(changes)
        for each in changes:
            instrument = self._units.instruments[each.index]
            self._nursery.start_soon(self._silence.look_into, instrument)

    def _fail(self, error: Exception) -> None:
        """End the feed, by raising this."""
        self._failure = error
        self._nursery.cancel_scope.cancel()
