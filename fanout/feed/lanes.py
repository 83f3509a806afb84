"""The lanes of a feed: opened, parted where two of them have the same instrument, and dropped when
nobody is left in them. What becomes of their connections becomes of the instruments in them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from fanout.config import FeedConfig
from fanout.errors import VenueForbiddenError
from fanout.feed.back_fill import BackFill
from fanout.feed.lane import Lane, Publish
from fanout.feed.link import Link, Pacer
from fanout.feed.liveness import Liveness
from fanout.feed.merge import Merge
from fanout.feed.reporter import Reporter
from fanout.net.rest import RestClient
from fanout.net.websocket import WebSocket
from fanout.protocol.constants import FeedState
from fanout.protocol.records import Instrument
from fanout.stats.anomalies import Anomalies
from fanout.venues.base import Venue

_LOG = logging.getLogger("fanout")

Connect = Callable[[str], AbstractAsyncContextManager[WebSocket]]


class Lanes:
    """Each instrument is in one lane, or in two while another kind of stream takes over."""

    def __init__(
        self,
        venue: Venue,
        config: FeedConfig,
        *,
        merge: Merge,
        liveness: Liveness,
        reporter: Reporter,
        rest: RestClient,
        anomalies: Anomalies,
        connect: Connect,
        publish: Publish,
        fail: Callable[[Exception], None],
        uniform: Callable[[float, float], float],
        wall_ns: Callable[[], int],
    ) -> None:
        """`publish` takes what one read brought; `fail` ends the feed."""
        self._venue = venue
        self._config = config
        self._merge = merge
        self._liveness = liveness
        self._reporter = reporter
        self._rest = rest
        self._anomalies = anomalies
        self._connect = connect
        self._publish = publish
        self._fail = fail
        self._uniform = uniform
        self._wall_ns = wall_ns
        self._pacer = Pacer()
        self._lanes: list[Lane] = []
        self._lane_of: dict[int, Lane] = {}
        self._seen_to: set[tuple[str, int]] = set()
        """Kinds of stream and instruments that have somebody who closes their gaps."""
        self._messages_before = 0
        self._connections_before = 0
        """Of lanes that are gone."""

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    @property
    def messages(self) -> int:
        return self._messages_before + sum(each.messages for each in self._lanes)

    @property
    def connections(self) -> int:
        """That ever opened."""
        return self._connections_before + sum(each.connections for each in self._lanes)

    def lane_of(self, instrument: Instrument) -> Lane:
        return self._lane_of[instrument.index]

    def stream_of(self, instrument: Instrument) -> str:
        """The kind of stream that an instrument takes."""
        lane = self._lane_of.get(instrument.index)
        return lane.venue.stream if lane else self._venue.stream

    async def run(self, instruments: tuple[Instrument, ...]) -> None:
        """Take these from the venue, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._open(self._venue, instruments, "subscribed")

    def fall_back(self, instrument: Instrument, fallback: Venue, why: str) -> None:
        """Take an instrument from another kind of stream as well, until one brings a trade."""
        stream = self.stream_of(instrument)
        how = f"{fallback.stream} instead of {stream}: {why}"
        _LOG.warning("%s: taking %s", instrument.symbol, how)
        self._merge.turn_to(instrument.symbol, stream, fallback.stream)
        self._open(fallback, (instrument,), how)

    def part(self) -> None:
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
        self._drop_empty()
        self._count_connections()

    def _drop_empty(self) -> None:
        """Forget lanes that nobody is left in, but not what they counted."""
        for lane in [each for each in self._lanes if not each.instruments]:
            self._lanes.remove(lane)
            self._messages_before += lane.messages
            self._connections_before += lane.connections

    def _open(self, venue: Venue, instruments: tuple[Instrument, ...], how: str) -> None:
        lane = Lane(
            venue,
            instruments,
            how,
            merge=self._merge,
            anomalies=self._anomalies,
            observer=self,
            publish=self._publish,
            wall_ns=self._wall_ns,
        )
        lane.links += self._links(lane)
        self._lanes.append(lane)
        for each in instruments:
            self._lane_of[each.index] = lane
            self._see_to_gaps(venue, each)
        self._nursery.start_soon(lane.run)

    def _links(self, lane: Lane) -> Iterator[Link]:
        # Those of a lane that came later say whose they are: each has a name of its own.
        of_whom = f" for {','.join(lane.symbols)}" if self._lanes else ""
        for number in range(1, self._config.connections + 1):
            yield Link(
                f"{lane.venue.stream} connection {number} of {self._config.connections}{of_whom}",
                lane,
                connect=partial(self._connect, lane.venue.stream_url()),
                requests=lane.requests,
                rotate_after_s=self._config.rotate_after_s,
                pacer=self._pacer,
                uniform=self._uniform,
            )

    def _see_to_gaps(self, venue: Venue, instrument: Instrument) -> None:
        """Have somebody close an instrument's gaps, one for each kind of stream."""
        if (venue.stream, instrument.index) in self._seen_to:
            return
        self._seen_to.add((venue.stream, instrument.index))
        back_fill = BackFill(
            venue,
            instrument.symbol,
            self._merge,
            self._rest,
            publish=self._reporter.back_filled,
            uniform=self._uniform,
        )
        self._reporter.back_fills.append(back_fill)
        self._nursery.start_soon(back_fill.run)

    # What lanes report.

    def attempting(self) -> None:
        if self._reporter.state is FeedState.DOWN:
            self._reporter.turn(FeedState.CONNECTING, self._venue.name)

    def opened(self, lane: Lane) -> None:
        _LOG.info("connected to %s for %s", lane.venue.stream_url(), ", ".join(lane.symbols))
        if len(lane.open) == 1:
            now_s = trio.current_time()
            self._reporter.say(self._liveness.subscribed(lane.indexes, now_s, lane.how))
        self._count_connections()

    def ended(self, lane: Lane, why: str) -> None:
        is_down = not any(each.open for each in self._lanes)
        if is_down and self._reporter.state is not FeedState.DOWN:
            self._reporter.turn(FeedState.DOWN, why)
        if not lane.open:
            changes = self._liveness.down(lane.indexes, why)
            if not is_down:  # else the feed's own state says it
                self._reporter.say(changes)
        self._count_connections()

    def refused(self, error: VenueForbiddenError) -> None:
        if not self.connections:
            self._fail(error)

    def _count_connections(self) -> None:
        self._merge.is_alone = sum(len(each.open) for each in self._lanes) <= 1
