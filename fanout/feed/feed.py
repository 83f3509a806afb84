"""A feed: takes trades from a venue's connections, and publishes them to a channel.

    connections --items--> sequences --trades, gaps--> channel
         ^                     |
         |                     '-- open gaps --> recovery, over REST --> channel
         |-- interruptions --> healing, over REST --> channel
         '-- remedies -- silence <-- liveness --states--> channel

Quotes, changes of order books and signs of life take a way beside the sequences: see `intake`.

The items of one read pass through the sequences to the channel without a checkpoint, so that one
read becomes one block. Each step returns its outcome as a value, and this file passes it on.

A message that cannot be parsed is counted and dropped. When an instrument goes quiet, the feed
reports it and asks REST for the reason. If the stream is at fault, the feed opens another
connection or falls back to another kind of stream.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, cast

import trio

from fanout.channel.channel import Channel
from fanout.channel.memory import Memory
from fanout.config import FeedConfig
from fanout.errors import VenueError, VenueUnitsError
from fanout.feed.connection import Connect, Connection
from fanout.feed.healing import Healing
from fanout.feed.intake import Intake
from fanout.feed.liveness import Change
from fanout.feed.market import Market
from fanout.feed.parts import made_parts
from fanout.feed.recovery import Recovery
from fanout.feed.remedies import Remedies
from fanout.feed.resumption import Resumption
from fanout.feed.sequences import Taken
from fanout.feed.shard import Shard
from fanout.feed.silence import Listings, Silence
from fanout.feed.timekeeping import keep_time
from fanout.feed.upkeep import Upkeep
from fanout.feed.venue_clock import VenueClock
from fanout.feed.view import FeedView
from fanout.net.rest import RestClient
from fanout.net.websocket import Burst
from fanout.protocol.constants import DataKinds, FeedState
from fanout.protocol.records import Gap, Trade
from fanout.stats.anomalies import Anomalies
from fanout.stats.pieces import Pieces, at_once
from fanout.stats.snapshots import FeedStats
from fanout.venues.base import Venue
from fanout.venues.values import Continuity, SpentId, VenueItem, VenueTrade

_LOG = logging.getLogger("fanout")

CLOSING_S: Final = 60.0
"""Time in which the same announcement on another connection is the same event."""

LOSS_S: Final = 1.0
"""Time in which the losses of all connections are one event."""

_LOST = "messages are missing"
_UNPROVEN = "; nothing proves that all trades come"

UNREADABLE: Final = "a trade was unreadable"


class Feed:
    """One venue, from its sockets to a channel."""

    def __init__(
        self,
        venue: Venue,
        market: Market,
        channel: Channel,
        rest: RestClient,
        anomalies: Anomalies,
        config: FeedConfig,
        *,
        connect: Connect,
        memory: Memory | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`connect` opens a WebSocket. `memory` is what is known from an earlier start. `wall_ns`
        gives unix ns, and `monotonic_ns` the time base of `Burst.received_at_ns`."""
        self._venue = venue
        self._channel = channel
        self._rest = rest
        self._anomalies = anomalies
        self._config = config
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._failure: Exception | None = None
        _note_oddities(market, anomalies)

        parts = self._parts = made_parts(
            venue,
            market,
            channel,
            rest,
            anomalies,
            config,
            self,
            connect=connect,
            uniform=uniform,
            wall_ns=wall_ns,
        )
        clock = self._clock = VenueClock()
        listings = Listings(venue, rest)
        self._upkeep = Upkeep(parts, market, rest, listings, anomalies, on_newest=self._heed_newest)
        self._recovery = Recovery(
            rest,
            parts.sequences,
            parts.announcer,
            on_misfit=self._upkeep.doubt,
            books_whole=parts.books.whole if parts.books.kind else None,
            uniform=uniform,
        )
        self._recovery.cover(venue)
        self._healing = Healing(
            rest,
            parts.sequences,
            parts.announcer,
            parts.liveness,
            parts.units,
            clock,
            on_misfit=self._upkeep.doubt,
            wall_ns=wall_ns,
            uniform=uniform,
        )
        self._healing.cover(venue)
        self._remedies = Remedies(
            parts,
            Silence(
                rest,
                listings,
                parts.sequences,
                clock,
                first_trade_timeout_s=config.first_trade_timeout_s,
                wall_ns=wall_ns,
            ),
            self._recovery,
            self._healing,
            self._upkeep,
            config,
            say=self._say,
            fail=self._fail,
        )
        self._resumption: Resumption | None = None
        if memory is not None and DataKinds.TRADES in venue.data:
            self._resumption = Resumption(
                memory,
                venue,
                market.newest,
                parts,
                self._recovery,
                self._healing,
                clock,
                wall_ns=wall_ns,
            )
        self.view = FeedView(parts, clock, rest, anomalies)
        self._intake: Intake | None = None
        """None if the venue brings only new trades, in units that it lists."""
        has_more = venue.data != DataKinds.TRADES or venue.brings_signs
        if has_more or parts.units.follow_values:
            self._intake = Intake(
                parts, channel, self.view, say=self._say, monotonic_ns=monotonic_ns
            )

    async def run(self) -> None:
        """Feed the channel until cancelled.

        Raises `VenueForbiddenError` if the venue refuses the very first connection permanently,
        and `VenueKeyError` if it refuses the credentials before it accepted any subscription.
        With `strict`, raises `VenueUnreachableError` for a symbol without a first trade in time.
        """
        async with trio.open_nursery() as self._nursery:
            self._recovery.begin(self._nursery)
            self._healing.begin(self._nursery)
            self._remedies.begin(self._nursery)
            start = self._nursery.start_soon
            start(self._keep_watch)
            if self._resumption is not None:
                await self._resumption.run()
            start(self._parts.connections.run, self._parts.roster.served)
            if self._parts.books.kind:
                start(self._parts.books.run)
            start(self._upkeep.relist)
            start(self._upkeep.refer)
            if self._venue.data != DataKinds.TRADES:
                start(self._upkeep.identify)
            start(keep_time, self._clock, self._rest, self._venue, self._anomalies, self._wall_ns)
        assert self._failure is not None, "only _fail() ends the nursery"
        raise self._failure

    def finish(self, *, goes_on: bool = False) -> None:
        """Report what is missing, and close all gaps, unless the next start `goes_on` from here and
        closes them. The feed must not publish after this."""
        self._parts.announcer.gaps(self._parts.sequences.end(keeps_gaps=goes_on))
        self._healing.end(goes_on=goes_on)

    @property
    def gone(self) -> frozenset[int]:
        """Indexes of the instruments that the venue has delisted."""
        return self._parts.roster.gone

    def stats(self) -> FeedStats:
        return at_once(self.pieces())

    def pieces(self) -> Pieces[FeedStats]:
        """What `stats` gives, made some instruments at a time."""
        return self.view.pieces(trio.current_time())

    def states(self) -> dict[str, str]:
        """The state of each symbol."""
        return self.view.states()

    def turn(self) -> None:
        """Begin a new slice of the last minute, for rates and quantiles."""
        self.view.turn(trio.current_time())

    # Trades and events of the connections.

    def take(
        self, items: list[VenueItem], shard: Shard, burst: Burst, connection: Connection
    ) -> Taken:
        """Publish the items of one read, after the changes of state that follow from them."""
        if self._intake is not None:
            return self._take_in(self._intake, items, shard, burst, connection)
        now_s = trio.current_time()
        trades = cast(list[VenueTrade | SpentId], items)  # the venue brings nothing else
        taken = self._parts.sequences.take(trades, shard.venue.stream, now_s)
        records = taken.records
        oldest = {each.instrument.index: each for each in reversed(records) if type(each) is Trade}
        if oldest:
            self._note_life(oldest, burst, now_s)
        held_ns = self._monotonic_ns() - burst.received_at_ns
        self._channel.publish(records, received_ns=burst.received_ns, held_ns=held_ns)
        if len(oldest) < len(records):
            self._see_to([each for each in records if type(each) is Gap])
        if taken.has_misfits:
            self._doubt_units(taken, shard)
        if taken.has_holes:
            self._parts.watch.wake()
        return taken

    def _doubt_units(self, taken: Taken, shard: Shard) -> None:
        """The listing may say why a value does not fit. A trade that was not taken is missing."""
        self._upkeep.doubt()
        self._healing.heal_all(shard.venue.stream, taken.refused, UNREADABLE)

    def misfit(self, error: VenueUnitsError) -> None:
        finer = self._parts.units.finer(error.symbol, error.values)
        if finer is not None:
            self._parts.units.change(finer)
        else:
            self._upkeep.doubt()

    def unreadable(self, shard: Shard, symbol: str) -> None:
        self._healing.heal(shard.venue.stream, symbol, UNREADABLE)

    def _take_in(
        self,
        intake: Intake,
        items: list[VenueItem],
        shard: Shard,
        burst: Burst,
        connection: Connection,
    ) -> Taken:
        """The same for a feed that takes more than new trades."""
        if self._parts.announcer.state is not FeedState.LIVE:
            self._parts.announcer.turn(FeedState.LIVE, self._venue.name)
        taken = intake.take(items, shard, burst, connection)
        gaps = [each for each in taken.records if type(each) is Gap]
        if gaps:
            self._see_to(gaps)
        if taken.has_misfits:
            self._doubt_units(taken, shard)
        if taken.has_holes:
            self._parts.watch.wake()
        return taken

    def _note_life(self, oldest: dict[int, Trade], burst: Burst, now_s: float) -> None:
        """Note that instruments traded. `oldest` has the oldest trade of each in one read."""
        if self._parts.announcer.state is not FeedState.LIVE:
            self._parts.announcer.turn(FeedState.LIVE, self._venue.name)
        traded, note = self._parts.liveness.traded, self.view.note
        for index, trade in oldest.items():
            changes = traded(index, now_s)
            if changes:
                self._say(changes)
            note(trade, received_ns=burst.received_ns, now_s=now_s)

    def attempting(self) -> None:
        if self._parts.announcer.state is FeedState.DOWN:
            self._parts.announcer.turn(FeedState.CONNECTING, self._venue.name)

    def opened(self, shard: Shard, *, is_first: bool) -> None:
        if is_first:
            now_s = trio.current_time()
            how = shard.how
            if self._intake is not None and shard.venue.data != DataKinds.TRADES:
                self._intake.restart(shard.indexes, shard.venue.data)
            if shard.venue.continuity is not Continuity.IDS:
                how += _UNPROVEN
            self._say(self._subscribed(shard, now_s, how))
            self._heal(shard, "the connection came back")
        self._count_connections()

    def ended(self, shard: Shard, connection: Connection, why: str, *, is_last: bool) -> None:
        announcer = self._parts.announcer
        if is_last and announcer.state is not FeedState.DOWN:
            announcer.turn(FeedState.DOWN, why)
        if not shard.open:
            changes = self._down(shard, why)
            if not is_last:  # otherwise the state of the feed reports it
                self._say(changes)
        self._parts.books.gone(connection, why)
        self._count_connections()

    def _subscribed(self, shard: Shard, now_s: float, how: str) -> list[Change]:
        """Note the first connection of a shard. Of an instrument that has a connection for other
        kinds of data, the kinds of this shard are back."""
        liveness, connections = self._parts.liveness, self._parts.connections
        if not connections.are_divided:
            return liveness.subscribed(shard.indexes, now_s, how)
        own, changes = shard.venue.data, list[Change]()
        for index, others in connections.beside(shard).items():
            if others and not others & own:
                changes += liveness.part_up(index, own, now_s)
            else:
                missing = self._venue.data & ~(own | others)
                changes += liveness.subscribed((index,), now_s, how, missing)
        return changes

    def _down(self, shard: Shard, why: str) -> list[Change]:
        """Note the end of the last connection of a shard."""
        liveness, connections = self._parts.liveness, self._parts.connections
        if not connections.are_divided:
            return liveness.down(shard.indexes, why)
        own, changes = shard.venue.data, list[Change]()
        for index, others in connections.beside(shard).items():
            if not others:
                changes += liveness.down((index,), why)
            elif not others & own:
                changes += liveness.part_down(index, own, why)
        return changes

    def left_alone(self, shard: Shard, symbols: tuple[str, ...], why: str) -> None:
        """Where ids do not tell whether trades are missing, they may be. The trades of those that
        no connection has brought yet are CONNECTING until one does: healing waits for that."""
        has_trades = DataKinds.TRADES in shard.venue.data
        if not has_trades or shard.venue.continuity is Continuity.IDS:
            return
        liveness, how = self._parts.liveness, f"{why}, and another connection took over"
        heard = set[str]().union(*(each.heard for each in shard.open))
        waiting = [shard.instruments[each] for each in symbols if each not in heard]
        waiting = [each for each in waiting if liveness.trades.state(each) is FeedState.LIVE]
        changes = liveness.trades.subscribed(waiting, trio.current_time(), how)
        if liveness.trades is liveness:
            self._say(changes)
        self._healing.heal_all(shard.venue.stream, symbols, how)

    def turned_down(self, shard: Shard, refused: Mapping[str, str]) -> None:
        self._remedies.turned_down(shard.venue.data, refused)

    def confirmed(self, shard: Shard, symbols: Iterable[str]) -> None:
        self._remedies.confirmed(shard.venue.data, symbols)

    def lost(self, shard: Shard, connection: Connection, why: str) -> None:
        why = f"{_LOST}: {why}"
        if self._intake is not None:
            self._intake.lost(shard, connection, why)
        if DataKinds.TRADES in shard.venue.data:
            self._parts.announcer.note(why, again_s=LOSS_S, event=_LOST)
        self._heal(shard, why)

    def paused(self, shard: Shard, why: str) -> None:
        _LOG.warning("the venue pauses: %s", why)
        self._say(self._parts.liveness.paused(shard.indexes, f"the venue pauses: {why}"))
        self._remedies.look_into(shard.indexes)

    def closing(self, why: str) -> None:
        self._parts.announcer.note(f"the venue closes its connections: {why}", again_s=CLOSING_S)

    def notice(self, words: str) -> None:
        if self._parts.announcer.note(words):
            _LOG.warning("%s", words)

    def _heal(self, shard: Shard, why: str) -> None:
        """Fetch the trades that a shard may have missed, where ids do not tell."""
        if DataKinds.TRADES in shard.venue.data:
            self._healing.heal_all(shard.venue.stream, shard.symbols, why)

    def refused(self, error: VenueError) -> None:
        self._fail(error)

    def parted(self) -> None:
        self._count_connections()

    def _count_connections(self) -> None:
        self._parts.sequences.is_alone = self._parts.connections.open_trades <= 1

    def _fail(self, error: Exception) -> None:
        """End the feed with this error."""
        self._failure = error
        self._nursery.cancel_scope.cancel()

    # Reports.

    def _say(self, changes: Sequence[Change]) -> None:
        self._parts.announcer.say(changes)
        if changes:
            self._parts.watch.wake()

    def _see_to(self, gaps: Sequence[Gap]) -> None:
        """Log published gaps, and start their recovery."""
        self._parts.announcer.log_gaps(gaps)
        self._recovery.see_to(gaps)

    def _heed_newest(self, newest: Trade) -> None:
        if self._resumption is not None:
            self._resumption.heed(newest)

    async def _keep_watch(self) -> None:
        while True:
            due = await self._parts.watch.next()
            self._parts.announcer.gaps(due.gaps)
            self._recovery.see_to(due.gaps)
            self._say(due.changes)
            self._remedies.look_into(sorted(due.quiet))


def _note_oddities(market: Market, anomalies: Anomalies) -> None:
    """Count the anomalies of the start, which were logged then."""
    if market.odd:
        anomalies.counts["odd row in the listing"] += len(market.odd)
    for count in market.left_out.values():
        anomalies.counts["recent trades left out"] += count
