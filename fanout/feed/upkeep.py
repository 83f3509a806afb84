"""Keeps a feed's instruments up to date with the venue: units, listing, references.

The service fetches the listing every ten minutes, and at once when a trade does not fit the units
or a source begins anew. New instruments join, delisted ones leave, and instruments with changed
units continue in the new ones.

References that were not fetched at the start are fetched one by one, at a pace that leaves room in
the REST budget. They are published in batches.

A reference also has an update id, for the deltas of quotes and books. REST's trades have none. So
the service takes the newest update id of the stream, once there is one, and publishes the reference
again within seconds.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import msgspec
import trio

from fanout.errors import VenueError
from fanout.feed.liveness import Change
from fanout.feed.market import FEW, Market, Recent, ask_recent, longest_s_of, usual_s_of
from fanout.feed.parts import Parts
from fanout.feed.relisting import Changes, compare
from fanout.feed.roster import NO_REFERENCE
from fanout.feed.silence import Listings
from fanout.net.budget import SHARE
from fanout.net.rest import RestClient
from fanout.protocol.constants import FeedState
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Reference, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues.base import Venue

_LOG = logging.getLogger("fanout")

RELIST_EVERY_S: Final = 600.0

RENEW_EVERY_S: Final = 60.0
"""Shortest time between two requests for the listing, also after a failure, and even if many trades
do not fit the units."""

CHANGE_EVERY_S: Final = 5.0
"""Interval at which new references are published."""

PROGRESS_EVERY_S: Final = 30.0

REFERENCE_PART: Final = 0.9
"""Part of our share of the REST budget for references. The rest is for back-fill and silence."""

TRIES: Final = 3
"""Most attempts to fetch a reference. After these the instrument has none."""

RETRY_S: Final = 30.0


class Upkeep:
    """Keeps the instruments of one feed up to date."""

    def __init__(
        self,
        parts: Parts,
        market: Market,
        rest: RestClient,
        listings: Listings,
        anomalies: Anomalies,
        *,
        on_newest: Callable[[Trade], None],
    ) -> None:
        """`on_newest` is called with REST's newest trade of an instrument, once that is known."""
        self._parts = parts
        self._on_newest = on_newest
        self._patterns = market.patterns
        self._rest = rest
        self._listings = listings
        self._anomalies = anomalies
        self._doubted = trio.Event()
        self._pending = deque(market.pending)
        """Indexes of instruments that wait for their reference."""
        self._tries: Counter[int] = Counter()
        self._failures = 0
        """Requests for a reference that failed one after the other."""
        self._more = trio.Event()
        for index in market.gone:  # the feed before has published that
            self._drop(index, "delisted")
        if market.is_old:
            self.doubt()

    @property
    def _venue(self) -> Venue:
        return self._parts.connections.venue

    def doubt(self) -> None:
        """Fetch the listing soon, since it may have changed: a trade does not fit the units, or a
        source begins anew."""
        self._doubted.set()

    def is_pending(self, index: int) -> bool:
        """Whether an instrument waits for its reference."""
        return index in self._pending

    # The listing.

    async def relist(self) -> None:
        """Fetch the listing when due, until cancelled."""
        pause_s = RELIST_EVERY_S
        while True:
            with trio.move_on_after(pause_s):
                await self._doubted.wait()
            pause_s = RELIST_EVERY_S if await self._look() else 0.0
            await trio.sleep(RENEW_EVERY_S)
            pause_s = max(0.0, pause_s - RENEW_EVERY_S)
            self._doubted = trio.Event()

    async def _look(self) -> bool:
        """Fetch the listing and apply it. False if the request failed."""
        try:
            listing = await self._listings.get()
        except VenueError as error:
            self._anomalies.note("request for the listing failed", error)
            return False
        still_fits = self._venue.still_fits
        await self._apply(compare(self._parts.roster, listing, self._patterns, still_fits))
        return True

    async def _apply(self, changes: Changes) -> None:
        for kind, detail in changes.odd:
            self._anomalies.note(kind, detail)
        for index, why in changes.left.items():
            self._leave(index, why)
        for index, why in changes.halted.items():
            if self._parts.liveness.state(index) is not FeedState.LIVE:  # its trades say otherwise
                self._parts.announcer.say(self._parts.liveness.halted(index, why))
        if changes.other_terms:  # at once, since values may make units finer at any time
            self._restate(changes.other_terms)
        if changes.other_units:
            await self._renew(changes.other_units)
        self._take(changes)

    def _leave(self, index: int, why: str) -> None:
        symbol = self._parts.roster[index].instrument.symbol
        _LOG.warning("%s leaves the feed: %s", symbol, why)
        self._parts.connections.remove(symbol)
        self._parts.announcer.say(self._drop(index, why))

    def _drop(self, index: int, why: str) -> list[Change]:
        """Mark an instrument as delisted. Returns the change of its state."""
        entry = self._parts.roster[index]
        entry.is_gone = True
        if index in self._pending:
            self._pending.remove(index)
        self._parts.sequences.give_up(entry.instrument.symbol)
        self._parts.quotes.drop(index)
        self._parts.books.drop(index)
        return self._parts.liveness.halted(index, why)

    async def _renew(self, instruments: tuple[Instrument, ...]) -> None:
        """Go on in other units. Of a few instruments the references come first; of many, later:
        their trades do not wait for them."""
        names = ", ".join(each.symbol for each in instruments[:10])
        _LOG.warning("the venue changed the units of %s: going on in the new ones", names)
        is_few = len(instruments) <= FEW
        references = [
            (await self._recent(each)).reference if is_few else NO_REFERENCE for each in instruments
        ]
        for each, reference in zip(instruments, references, strict=True):
            self._parts.roster.put(each, self._identified(each.index, reference))
        if not is_few:
            self._want(instruments)
        self._parts.sequences.renew(instruments)
        self._parts.books.renew(instruments)
        self._parts.announcer.change([each.index for each in instruments])

    def _restate(self, instruments: tuple[Instrument, ...]) -> None:
        """Go on with another tick size or other terms. Units and references stay."""
        names = ", ".join(each.symbol for each in instruments[:10])
        _LOG.info("the venue changed the tick size or other terms of %s", names)
        for each in instruments:
            self._parts.roster.put(each, self._parts.roster[each.index].reference)
        self._parts.sequences.renew(instruments)
        self._parts.announcer.change([each.index for each in instruments])

    async def _recent(self, instrument: Instrument) -> Recent:
        try:
            return await ask_recent(self._rest, self._venue, instrument)
        except VenueError as error:
            return Recent(why=str(error))

    def _take(self, changes: Changes) -> None:
        """Add instruments that are new or back."""
        instruments = (*changes.joined, *changes.back)
        if not instruments:
            return
        for each in instruments:
            if each.index == len(self._parts.roster):
                self._parts.liveness.add(0.0, 0.0)
            self._parts.roster.put(each, NO_REFERENCE)
            self._parts.roster[each.index].is_gone = False
            self._parts.sequences.add(each)
            self._parts.quotes.restart((each.index,))
            self._parts.balance.restart(each.index, trio.current_time())
        self._parts.announcer.change([each.index for each in instruments])
        for each in instruments:
            self._subscribe(each)
        self._want(instruments)

    def _subscribe(self, instrument: Instrument) -> None:
        index, symbol = instrument.index, instrument.symbol
        connections, liveness = self._parts.connections, self._parts.liveness
        if not connections.add(instrument):
            most = self._venue.limits.subscriptions
            why = f"its connection has the {most:,} subscriptions that the venue allows"
            self._parts.announcer.say(liveness.halted(index, why))
            return
        _LOG.info("%s joins the feed", symbol)
        shard = connections.shard_of(symbol)
        if shard is not None and shard.open:
            now_s = trio.current_time()
            self._parts.announcer.say(liveness.subscribed((index,), now_s, "newly listed"))
            self._parts.watch.wake()

    # References.

    def _want(self, instruments: tuple[Instrument, ...]) -> None:
        """Fetch the references of these."""
        new = (each.index for each in instruments if each.index not in self._pending)
        self._pending.extend(new)
        self._more.set()

    async def refer(self) -> None:
        """Fetch missing references, until cancelled."""
        while True:
            self._more = trio.Event()
            if self._pending:
                await self._refer()
            await self._more.wait()

    async def _refer(self) -> None:
        """Fetch all pending references."""
        known: list[int] = []
        changed_s = logged_s = trio.current_time()
        while self._pending:
            await self._parts.books.asked()
            if not self._pending:
                break
            index, asked_s = self._pending[0], trio.current_time()
            if await self._fetch(index):
                known.append(index)
            now_s = trio.current_time()
            # One failure may be the symbol's own. A second in a row is the venue's.
            is_refused = self._failures > 1
            if known and (is_refused or now_s >= changed_s + CHANGE_EVERY_S):
                self._parts.announcer.change(known)
                known, changed_s = [], now_s
            if now_s >= logged_s + PROGRESS_EVERY_S:
                self._log_progress()
                logged_s = now_s
            await trio.sleep_until(asked_s + (RETRY_S if is_refused else self._pace_s(index)))
        if known:
            self._parts.announcer.change(known)
        self._log_progress()

    def _log_progress(self) -> None:
        total = len(self._parts.roster)
        known = total - len(self._pending)
        _LOG.info("references fetched for %d of %d symbols", known, total)

    async def _fetch(self, index: int) -> bool:
        """Fetch one reference. False without an answer, after which the symbol is asked for again
        behind the others, up to three times; or if the symbol is delisted, or its units changed,
        before the answer comes."""
        entry = self._parts.roster[index]
        self._tries[index] += 1
        try:
            recent = await ask_recent(self._rest, self._venue, entry.instrument)
        except VenueError as error:
            _LOG.warning("%s: no reference: %s", entry.instrument.symbol, error)
            self._failures += 1
            if index in self._pending:
                self._pending.remove(index)
                if self._tries[index] < TRIES:
                    self._pending.append(index)
            return False
        self._failures = 0
        if index not in self._pending:
            return False  # it was delisted meanwhile
        if self._parts.roster[index].instrument != entry.instrument:
            return False  # its units changed meanwhile
        self._pending.remove(index)
        self._parts.liveness.expect(index, usual_s_of(recent.trades), longest_s_of(recent.trades))
        self._parts.roster.put(entry.instrument, self._identified(index, recent.reference))
        if recent.trades:
            self._on_newest(recent.trades[-1])
        if recent.left_out:
            self._anomalies.counts["recent trades left out"] += recent.left_out
        return True

    async def identify(self) -> None:
        """Add update ids to the references that have none, until cancelled."""
        while True:
            await trio.sleep(CHANGE_EVERY_S)
            self._identify()

    def _identify(self) -> None:
        """Those that wait for their reference are left out, since they get both at once."""
        pending, known = set(self._pending), []
        for entry in self._parts.roster:
            index = entry.instrument.index
            if entry.reference.update_id or entry.is_gone or index in pending:
                continue
            entry.reference = self._identified(index, entry.reference)
            if entry.reference.update_id:
                known.append(index)
        if known:
            self._parts.announcer.change(known)

    def _identified(self, index: int, reference: Reference) -> Reference:
        """The reference with the newest update id of the instrument's quotes and book; 0 before the
        first."""
        newest = max(0, self._parts.quotes.tally(index).last_id)
        if self._parts.books.kind:
            newest = max(newest, self._parts.books.newest_id(index))
        return msgspec.structs.replace(reference, update_id=newest)

    def _pace_s(self, index: int) -> float:
        """Seconds from one request to the next, by the weight of this one."""
        weight = self._venue.recent_trades_request(
            self._parts.roster[index].instrument.symbol
        ).weight
        budget = self._rest.budget
        return weight * budget.window_s / (budget.limit * SHARE * REFERENCE_PART)
