"""What the stream left out, asked for over REST, until each id of every gap is accounted for.

One task for each instrument, beside the stream, which nothing of this holds up. A gap is asked for
page by page, oldest first. What the venue's records reach to and do not have is no trade; what they
do not reach is lost. Where they end before the gap does, they are behind, and asked again; and so
they are where what they have does not fit the units, which may be about to change.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import trio

from fanout.errors import VenueError, VenueKeyError
from fanout.feed.continuity import Range, without
from fanout.feed.merge import Merge
from fanout.net.rest import RestClient
from fanout.protocol.backoff import backoff
from fanout.protocol.records import Gap, Trade
from fanout.venues.base import History, Venue

_LOG = logging.getLogger("fanout")

PATIENCE_S: Final = 60.0
"""How long records that end before a gap, or cannot be had, are asked for again."""

MAX_IDS: Final = 1_000_000
"""Ids of a gap that are asked for, the newest: with half of an address's weight, half an hour."""

Publish = Callable[[Sequence[Trade | Gap]], None]


class BackFill:
    """Closes the gaps of one instrument in one kind of stream, one after the other."""

    def __init__(
        self,
        venue: Venue,
        symbol: str,
        merge: Merge,
        rest: RestClient,
        *,
        publish: Publish,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._venue = venue
        self._symbol = symbol
        self._merge = merge
        self._rest = rest
        self._publish = publish
        self._uniform = uniform
        self._asked = trio.Event()

    def ask(self) -> None:
        """There is a gap to be closed."""
        self._asked.set()

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            while gaps := self._merge.gaps(self._venue.stream, self._symbol):
                await self._close(gaps[0])

    async def _close(self, gap: Range) -> None:
        search = _Search(gap, why_lost=f"not in {self._venue.reach}")
        until_s, pauses = trio.current_time() + PATIENCE_S, self._new_pauses()
        while self._is_open(gap):
            try:
                history = await self._ask(search.at)
            except VenueKeyError as error:
                self._go_on_without_key(error)
                continue
            except VenueError as error:
                search.why_lost = str(error)
            else:
                if history is not None and search.enter(history, self._take(gap, history)):
                    # It goes on. Patience is for what does not.
                    until_s, pauses = trio.current_time() + PATIENCE_S, self._new_pauses()
                    if not history.is_newest and not search.is_done:
                        continue
            if search.is_done or trio.current_time() >= until_s:
                break
            await trio.sleep(next(pauses))
        if self._is_open(gap):
            spent = without(search.covered, search.refused)
            self._publish(
                self._merge.settle(self._venue.stream, self._symbol, gap, spent, search.why_lost)
            )

    def _new_pauses(self) -> Iterator[float]:
        return backoff(first_s=1.0, cap_s=10.0, uniform=self._uniform)

    def _go_on_without_key(self, error: VenueKeyError) -> None:
        _LOG.error("%s: going on without the key", error)
        self._venue = self._venue.without_key()

    def _is_open(self, gap: Range) -> bool:
        """Whether it still is: the stream may have filled it."""
        return gap in self._merge.gaps(self._venue.stream, self._symbol)

    async def _ask(self, first_id: int) -> History | None:
        return await self._rest.fetch(
            self._venue.history_request(self._symbol, first_id),
            lambda body: self._venue.parse_history(body, self._symbol, first_id),
        )

    def _take(self, gap: Range, history: History) -> list[int]:
        """Publish what is missing. Gives the ids of what is refused."""
        trades, refused, told = self._merge.back_fill(
            self._venue.stream, gap, history.trades, trio.current_time()
        )
        if trades:
            self._publish([*trades, *told])
        return refused


class _Search:
    """How far a gap was looked for."""

    def __init__(self, gap: Range, *, why_lost: str) -> None:
        self._first, self._last = gap
        self.at = max(self._first, self._last - MAX_IDS + 1)
        """The id to be asked for."""
        self.covered: list[Range] = []
        """What the records speak for."""
        self.refused: set[int] = set()
        """Ids of trades that are there, and fit no field."""
        self.is_done = False
        self.why_lost = why_lost
        if self.at > self._first:
            self.why_lost = f"only the newest {MAX_IDS:,} of a gap are asked for"

    def enter(self, history: History, refused: list[int]) -> bool:
        """Note a page, and whether there is progress."""
        self.covered.append((history.first_id, history.last_id))
        kept = {i for i in self.refused if not history.first_id <= i <= history.last_id}
        self.refused = kept | set(refused)
        before, self.at = self.at, max(self.at, history.last_id + 1)
        if self.at <= self._last:
            return self.at > before
        self.is_done = not self.refused
        if self.refused:
            # The units may have changed, and are being asked for: look again.
            self.at, self.why_lost = min(self.refused), "it fits no field"
        return self.is_done
