"""Goes on behind the trades of an earlier start of the service.

Before it connects, the feed takes up what the channel remembers of each instrument. Where trade ids
are consecutive, the ids from there to REST's newest are a gap, and gaps that were open are open
again. `recovery` closes them. Elsewhere `healing` fetches what is not remembered. So the first
records of the new numbering are what was missed meanwhile. What takes longer than `CATCH_UP_S` goes
on beside the stream.

Of instruments whose newest trade REST is asked for later, the gap ends there, or where the stream
begins.

Ids of another numbering cannot be compared with those that are remembered: of another kind of
stream, or after the venue restarted its ids. Then a STATUS names the time that is not covered.
"""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from fanout.channel.memory import Memory, Remembered
from fanout.feed.healing import Healing, doubt_in_words
from fanout.feed.liveness import Change
from fanout.feed.parts import Parts
from fanout.feed.recovery import Recovery
from fanout.feed.sequence import ANEW, MAX_JUMP, REMEMBERED_S
from fanout.feed.venue_clock import VenueClock
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Gap, Trade
from fanout.venues.base import Venue
from fanout.venues.values import AGGREGATES, Continuity, NewestId

CATCH_UP_S: Final = 5.0
"""How long the feed waits for the trades that were missed before it connects."""

_OTHER_KIND: Final = "the service takes another kind of stream than before its restart"


class Resumption:
    """The instruments of one feed that have an earlier start."""

    def __init__(
        self,
        memory: Memory,
        venue: Venue,
        newest: Sequence[Trade],
        parts: Parts,
        recovery: Recovery,
        healing: Healing,
        clock: VenueClock,
        *,
        wall_ns: Callable[[], int],
    ) -> None:
        """`newest` has REST's newest trade of each instrument whose is known by now. `wall_ns`
        gives unix ns."""
        self._known = memory.symbols
        self._venue = venue
        self._newest = {each.instrument.symbol: each for each in newest}
        self._parts = parts
        self._recovery = recovery
        self._healing = healing
        self._clock = clock
        self._wall_ns = wall_ns
        self._unlimited: dict[str, Remembered] = {}
        """Instruments whose newest trade is still unknown."""

    async def run(self) -> None:
        """Report what is missing since the earlier start, and wait until it is fetched, though not
        for long."""
        gaps: list[Gap] = []
        for each in self._parts.roster.served:
            known = self._known.get(each.symbol)
            if known is not None:
                gaps += self._resume(each, known, self._newest.get(each.symbol))
        self._parts.announcer.gaps(gaps)
        self._recovery.see_to(gaps, before_books=True)
        with trio.move_on_after(CATCH_UP_S):
            await self._recovery.idle()
            await self._healing.asked()
        self._healing.warn()

    def _resume(self, of: Instrument, known: Remembered, newest: Trade | None) -> list[Gap]:
        """Take up one instrument. Returns the gaps to report."""
        sequences, stream = self._parts.sequences, self._venue.stream
        if self._venue.continuity is not Continuity.IDS:
            sequences.resume(stream, of.symbol, known, None)
            late_ms = REMEMBERED_S * 1_000  # what a kill left to be fetched is not before that
            self._healing.heal(stream, of.symbol, "the service was restarted", late_ms=late_ms)
            return []
        why = self._why_apart(known, newest)
        if why:
            self._doubt(of, known, newest, why)
            gaps = sequences.resume(stream, of.symbol, known, None)
            next_id = None if newest is None else newest.trade_id + 1
            return gaps + sequences.begin_anew(stream, of.symbol, next_id, why)
        if newest is None:
            self._unlimited[of.symbol] = known
        newest_id = None if newest is None else newest.trade_id
        return sequences.resume(stream, of.symbol, known, newest_id)

    def heed(self, newest: Trade) -> None:
        """Take REST's newest trade of an instrument, which was unknown when the feed began."""
        of, stream = newest.instrument, self._venue.stream
        known = self._unlimited.pop(of.symbol, None)
        if known is None:
            return
        sequences = self._parts.sequences
        why = self._why_apart(known, newest)
        if not why:
            item, now_s = NewestId(of.symbol, newest.trade_id), trio.current_time()
            _, gaps = sequences.heed_newest(item, stream, now_s)
        else:
            self._doubt(of, known, newest, why)
            has_come = sequences.next_id(stream, of.symbol) != known.next_id
            next_id = newest.trade_id + 1
            gaps = [] if has_come else sequences.begin_anew(stream, of.symbol, next_id, why)
        self._parts.announcer.gaps(gaps)
        self._recovery.see_to(gaps)
        self._parts.watch.wake()

    def _why_apart(self, known: Remembered, newest: Trade | None) -> str:
        """Why ids of now cannot be compared with those that are remembered; empty if they can."""
        is_aggregate = self._venue.stream == AGGREGATES
        if not self._venue.shares_ids and known.newest and known.is_aggregate is not is_aggregate:
            return _OTHER_KIND
        if newest is None:
            return ""
        before, is_later = known.newest, self._time(known) < newest.time
        is_back = before is not None and newest.trade_id < before.trade_id and is_later
        return ANEW if is_back or newest.trade_id - known.next_id > MAX_JUMP else ""

    def _doubt(self, of: Instrument, known: Remembered, newest: Trade | None, why: str) -> None:
        """Report a time of which nothing is known."""
        until = self._now() if newest is None else newest.time
        words = doubt_in_words(self._venue, self._time(known), until, why)
        state = self._parts.liveness.state(of.index)
        self._parts.announcer.say([Change(of.index, state, words)])

    def _time(self, known: Remembered) -> int:
        """The time of the newest trade that is remembered, in the venue's units."""
        return known.time_ns // int(10 ** (9 + self._venue.time_exponent))

    def _now(self) -> int:
        now_ms = self._clock.latest_venue_ms(self._wall_ns())
        return now_ms * int(10 ** (-3 - self._venue.time_exponent))
