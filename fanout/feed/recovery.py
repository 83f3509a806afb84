"""Back-fills what the stream left out, over REST, until every id of every gap is accounted for.

Gaps are closed beside the stream and never hold it up. The gaps of an instrument are closed one
after the other, each page by page, oldest first. An id that the venue's records reach to and do not
have was never a trade; an id that they do not reach is lost. Records that end before the gap does
are behind, and are asked again. So are records whose values do not fit the units, which may be
about to change.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import trio

from fanout.errors import VenueError, VenueKeyError
from fanout.feed.announcer import Announcer
from fanout.feed.continuity import Range, without
from fanout.feed.sequences import Sequences
from fanout.net.rest import RestClient
from fanout.protocol.backoff import backoff
from fanout.protocol.constants import GapState
from fanout.protocol.records import Gap
from fanout.venues.base import History, Venue

_LOG = logging.getLogger("fanout")

PATIENCE_S: Final = 60.0
"""How long records that end before a gap, or cannot be had, are asked for again."""

MIN_ATTEMPTS: Final = 3
"""So often they are asked at least: a request may wait a minute for room in the budget."""

MAX_IDS: Final = 1_000_000
"""Most ids of a gap that are asked for, the newest. With half of an address's weight, that takes
half an hour."""

REQUESTS_AT_ONCE: Final = 8
"""Of all instruments together. After an outage, hundreds of them have a gap each."""


class Recovery:
    """Closes the gaps of one feed."""

    def __init__(
        self,
        rest: RestClient,
        sequences: Sequences,
        announcer: Announcer,
        *,
        on_misfit: Callable[[], None],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`on_misfit` is called when a row of the records does not fit the units."""
        self._rest = rest
        self._sequences = sequences
        self._announcer = announcer
        self._uniform = uniform
        self._venues: dict[str, Venue] = {}
        """By kind of stream."""
        self._busy: set[tuple[str, str]] = set()
        self._limiter = trio.CapacityLimiter(REQUESTS_AT_ONCE)
        self._on_misfit = on_misfit

    def cover(self, venue: Venue) -> None:
        """Close the gaps of this kind of stream too."""
        self._venues.setdefault(venue.stream, venue)

    def begin(self, nursery: trio.Nursery) -> None:
        """Gaps are closed in this nursery."""
        self._nursery = nursery

    def see_to(self, gaps: Sequence[Gap]) -> None:
        """Gaps were reported: have the open ones closed."""
        for symbol in {each.instrument.symbol for each in gaps if each.state is GapState.OPEN}:
            for stream in self._venues:
                if (stream, symbol) not in self._busy and self._sequences.gaps(stream, symbol):
                    self._busy.add((stream, symbol))
                    self._nursery.start_soon(self._close_all, stream, symbol)

    async def _close_all(self, stream: str, symbol: str) -> None:
        while gaps := self._sequences.gaps(stream, symbol):
            await self._close(stream, symbol, gaps[0])
        self._busy.discard((stream, symbol))

    async def _close(self, stream: str, symbol: str, gap: Range) -> None:
        search = _Search(gap, why_lost=f"not in {self._venues[stream].reach}")
        patience = self._new_patience()
        while self._is_open(stream, symbol, gap):
            try:
                async with self._limiter:
                    history = await self._ask(stream, symbol, search.at)
            except VenueKeyError as error:
                self._go_on_without_key(stream, error)
                continue
            except VenueError as error:
                search.why_lost = str(error)
            else:
                if history is not None and search.enter(history, self._take(stream, gap, history)):
                    # It goes on. Patience is for what does not.
                    patience = self._new_patience()
                    if not history.is_newest and not search.is_done:
                        continue
            if search.is_done or patience.is_over():
                break
            await trio.sleep(next(patience.pauses))
        if self._is_open(stream, symbol, gap):
            spent = without(search.covered, search.refused)
            self._tell(self._sequences.settle(stream, symbol, gap, spent, search.why_lost))

    def _new_patience(self) -> "_Patience":
        return _Patience(backoff(first_s=1.0, cap_s=10.0, uniform=self._uniform))

    def _go_on_without_key(self, stream: str, error: VenueKeyError) -> None:
        _LOG.error("%s: going on without the key", error)
        self._venues[stream] = self._venues[stream].without_key()

    def _is_open(self, stream: str, symbol: str, gap: Range) -> bool:
        """Whether it still is: the stream may have filled it."""
        return gap in self._sequences.gaps(stream, symbol)

    async def _ask(self, stream: str, symbol: str, first_id: int) -> History | None:
        venue = self._venues[stream]
        return await self._rest.fetch(
            venue.history_request(symbol, first_id),
            lambda body: venue.parse_history(body, symbol, first_id),
        )

    def _take(self, stream: str, gap: Range, history: History) -> list[int]:
        """Publish what is missing. Gives the ids of what is refused."""
        filled = self._sequences.back_fill(stream, gap, history.trades, trio.current_time())
        if filled.refused:
            self._on_misfit()
        if filled.records:
            self._announcer.back_filled(filled.records)
        return filled.refused

    def _tell(self, gaps: Sequence[Gap]) -> None:
        if gaps:
            self._announcer.back_filled(gaps)


class _Patience:
    """How long a gap without progress is asked for."""

    def __init__(self, pauses: Iterator[float]) -> None:
        self.pauses = pauses
        self._until_s = trio.current_time() + PATIENCE_S
        self._attempts = 0

    def is_over(self) -> bool:
        """Called once after each attempt."""
        self._attempts += 1
        return self._attempts >= MIN_ATTEMPTS and trio.current_time() >= self._until_s


class _Search:
    """How far a gap was looked for."""

    def __init__(self, gap: Range, *, why_lost: str) -> None:
        self._first, self._last = gap
        self.at = max(self._first, self._last - MAX_IDS + 1)
        """The id to be asked for."""
        self.covered: list[Range] = []
        """Ids that the records speak for."""
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
