"""What the stream left out, asked for over REST, until each id of every gap is accounted for.

One task for each instrument, beside the stream, which nothing of this holds up. A gap is asked for
page by page, oldest first. What the venue's records reach to and do not have is no trade; what they
do not reach is lost. Where they end before the gap does, they are behind, and asked again.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

import trio

from fanout.errors import VenueError
from fanout.feed.continuity import Range
from fanout.feed.merge import Merge
from fanout.rest import RestClient
from fanout.venues.base import History, Venue
from protocol.backoff import backoff
from protocol.records import Gap, Trade

PATIENCE_S: Final = 60.0
"""How long records that end before a gap, or cannot be had, are asked for again."""

MAX_IDS: Final = 100_000
"""Ids of a gap that are asked for, the newest: a minute or more of everything that may be asked."""

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
        first, last = gap
        at = max(first, last - MAX_IDS + 1)
        covered: list[Range] = []
        refused: set[int] = set()
        why_lost = f"not in {self._venue.reach}"
        until_s = trio.current_time() + PATIENCE_S
        pauses = backoff(first_s=1.0, cap_s=10.0, uniform=self._uniform)
        while self._is_open(gap):
            try:
                history = await self._ask(at)
            except VenueError as error:
                history, why_lost = None, str(error)
            if history is not None and self._is_open(gap):
                refused.update(self._take(gap, history))
                covered.append((history.first_id, history.last_id))
                asked_from, at = at, max(at, history.last_id + 1)
                if at > last:
                    break
                if at > asked_from and not history.is_newest:
                    continue
            if trio.current_time() >= until_s:
                break
            await trio.sleep(next(pauses))
        if self._is_open(gap):
            self._settle(gap, _without(covered, refused), why_lost)

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

    def _settle(self, gap: Range, spent: list[Range], why_lost: str) -> None:
        self._publish(self._merge.settle(self._venue.stream, self._symbol, gap, spent, why_lost))


def _without(ranges: Sequence[Range], ids: set[int]) -> list[Range]:
    """Ranges, less some ids in them."""
    rest = []
    for first, last in ranges:
        at = first
        for each in sorted(ids):
            if at <= each <= last:
                rest.append((at, each - 1))
                at = each + 1
        rest.append((at, last))
    return [each for each in rest if each[0] <= each[1]]
