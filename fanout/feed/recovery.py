"""Back-fills gaps over REST, until the outcome of every missing id is known.

Recovery runs beside the stream and never delays it. It closes the gaps of an instrument one after
another, oldest first, each page by page. A page also closes all other gaps that lie in it, since a
request costs the same weight for one gap as for a hundred. An id within the venue's history that
has no trade was never a trade. An id outside the history is lost. If the history ends before the
gap does, it lags behind the stream, and the request is repeated. The request is also repeated if a
value does not fit the units, since the venue may have changed them.

After an outage every symbol may have a gap, and may need a new order book. The REST budget of one
minute does not suffice for both if there are many. A book is of no use until it is whole, while
most gaps can wait. So the symbols that trade first have their gaps closed at once, and the others
let the books go first, for some seconds.
"""

import logging
import random
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterator, Sequence
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
from fanout.venues.base import Venue
from fanout.venues.values import History, VenueTrade

_LOG = logging.getLogger("fanout")

PATIENCE_S: Final = 60.0
"""How long requests without progress are repeated."""

MIN_ATTEMPTS: Final = 3
"""Fewest attempts without progress. A request may wait a minute for the budget, which must not use
up the patience."""

MAX_IDS: Final = 1_000_000
"""Most ids of one gap that are requested; these are the newest. With half of an address's weight
this takes half an hour."""

REQUESTS_AT_ONCE: Final = 8
"""Most concurrent requests for all instruments. After an outage hundreds of them have a gap."""

FIRST_SYMBOLS: Final = 4
"""Symbols whose gaps do not wait for order books. They trade most, and a venue without a key shows
only its newest trades."""

BOOKS_BEGIN_S: Final = 1.0
"""How long books may take to find out that they need a snapshot."""

BOOKS_END_S: Final = 5.0
"""How long gaps wait for the snapshots then, at most."""


class Recovery:
    """Closes the gaps of one feed."""

    def __init__(
        self,
        rest: RestClient,
        sequences: Sequences,
        announcer: Announcer,
        *,
        on_misfit: Callable[[], None],
        books_whole: Callable[[], Awaitable[None]] | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`on_misfit` is called if a trade of the history does not fit the units. `books_whole`
        waits until no order book needs a snapshot; None if the feed has no books."""
        self._rest = rest
        self._sequences = sequences
        self._announcer = announcer
        self._uniform = uniform
        self._venues: dict[str, Venue] = {}
        """The venue for each kind of stream."""
        self._busy: set[tuple[str, str]] = set()
        self._idle = trio.Event()
        self._limiter = trio.CapacityLimiter(REQUESTS_AT_ONCE)
        self._on_misfit = on_misfit
        self._books_whole = books_whole

    def cover(self, venue: Venue) -> None:
        """Recover gaps of this venue's kind of stream too."""
        self._venues.setdefault(venue.stream, venue)

    def begin(self, nursery: trio.Nursery) -> None:
        """Run all recovery tasks in `nursery`."""
        self._nursery = nursery

    def see_to(self, gaps: Sequence[Gap], *, before_books: bool = False) -> None:
        """Start the recovery of the open gaps among `gaps`. With `before_books` no order book is
        waited for."""
        opened = [each.instrument.symbol for each in gaps if each.state is GapState.OPEN]
        for symbol in dict.fromkeys(opened):
            for stream in self._venues:
                if (stream, symbol) not in self._busy and self._sequences.gaps(stream, symbol):
                    is_first = before_books or len(self._busy) < FIRST_SYMBOLS
                    self._busy.add((stream, symbol))
                    self._nursery.start_soon(self._close_all, stream, symbol, is_first)

    async def _close_all(self, stream: str, symbol: str, is_first: bool) -> None:
        if self._books_whole is not None and not is_first:
            await self._let_books_go_first(self._books_whole)
        while gaps := self._sequences.gaps(stream, symbol):
            await self._close(stream, symbol, gaps[0])
        self._busy.discard((stream, symbol))
        if not self._busy:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no gap is being closed."""
        while self._busy:
            self._idle = trio.Event()
            await self._idle.wait()

    async def _let_books_go_first(self, books_whole: Callable[[], Awaitable[None]]) -> None:
        await trio.sleep(BOOKS_BEGIN_S)
        with trio.move_on_after(BOOKS_END_S):
            await books_whole()

    async def _close(self, stream: str, symbol: str, gap: Range) -> None:
        reach = self._venues[stream].reach
        search = _Search(gap, self._new_patience(), why_lost=f"not in {reach}")
        while self._is_open(stream, symbol, gap):
            try:
                async with self._limiter:
                    has_more = await self._ask(stream, symbol, search)
            except VenueKeyError as error:
                self._go_on_without_key(stream, error)
                continue
            except VenueError as error:
                search.why_lost = str(error)
            else:
                if has_more:
                    continue
            if search.is_done or search.patience.is_over():
                break
            await trio.sleep(next(search.patience.pauses))
        if self._is_open(stream, symbol, gap):
            spent = without(search.covered, search.refused)
            self._tell(self._sequences.settle(stream, symbol, gap, spent, search.why_lost))

    def _new_patience(self) -> "_Patience":
        return _Patience(backoff(first_s=1.0, cap_s=10.0, uniform=self._uniform))

    def _go_on_without_key(self, stream: str, error: VenueKeyError) -> None:
        _LOG.error("%s: going on without the key", error)
        self._venues[stream] = self._venues[stream].without_key()

    def _is_open(self, stream: str, symbol: str, gap: Range) -> bool:
        """Whether the gap is still open. The stream may have filled it."""
        return gap in self._sequences.gaps(stream, symbol)

    async def _ask(self, stream: str, symbol: str, search: "_Search") -> bool:
        """Ask for a page, and take it. Returns whether the next page may be there already.

        The page ends with the call: hundreds of gaps may wait, each for its next request.
        """
        venue, first_id = self._venues[stream], search.at
        history = await self._rest.fetch(
            venue.history_request(symbol, first_id),
            lambda body: venue.parse_history(body, symbol, first_id),
        )
        if history is None:
            return False
        refused = self._take(stream, search.gap, history.trades)
        is_further = search.enter(history, refused)
        self._close_covered(stream, symbol, search.gap, history)
        if not is_further:
            return False
        search.patience = self._new_patience()
        return not history.is_newest and not search.is_done

    def _close_covered(self, stream: str, symbol: str, but: Range, history: History) -> None:
        """Close the gaps that lie in a page, except `but`. A gap with a trade that fits no field
        stays open."""
        for gap in self._sequences.gaps(stream, symbol):
            first, last = gap
            if gap == but or not history.first_id <= first <= last <= history.last_id:
                continue
            low = bisect_left(history.trades, first, key=_trade_id)
            high = bisect_right(history.trades, last, key=_trade_id)
            if not self._take(stream, gap, history.trades[low:high]):
                self._tell(self._sequences.settle(stream, symbol, gap, [gap], why_lost=""))

    def _take(self, stream: str, gap: Range, rows: Sequence[VenueTrade]) -> list[int]:
        """Publish the missing trades of a gap. Returns the ids of trades that fit no field."""
        filled = self._sequences.back_fill(stream, gap, rows, trio.current_time())
        if filled.refused:
            self._on_misfit()
        if filled.records:
            self._announcer.back_filled(filled.records)
        return filled.refused

    def _tell(self, gaps: Sequence[Gap]) -> None:
        if gaps:
            self._announcer.back_filled(gaps)


def _trade_id(trade: VenueTrade) -> int:
    return trade.trade_id


class _Patience:
    """The remaining time for a gap without progress."""

    def __init__(self, pauses: Iterator[float]) -> None:
        self.pauses = pauses
        self._until_s = trio.current_time() + PATIENCE_S
        self._attempts = 0

    def is_over(self) -> bool:
        """Whether to stop. Must be called once after each attempt."""
        self._attempts += 1
        return self._attempts >= MIN_ATTEMPTS and trio.current_time() >= self._until_s


class _Search:
    """The progress of one gap's recovery."""

    def __init__(self, gap: Range, patience: _Patience, *, why_lost: str) -> None:
        self.gap = gap
        self.patience = patience
        """Starts over with each progress."""
        self._first, self._last = gap
        self.at = max(self._first, self._last - MAX_IDS + 1)
        """The first id of the next request."""
        self.covered: list[Range] = []
        """Ids that the history covers."""
        self.refused: set[int] = set()
        """Ids of trades that exist but fit no field."""
        self.is_done = False
        self.why_lost = why_lost
        if self.at > self._first:
            self.why_lost = f"only the newest {MAX_IDS:,} ids of a gap are recovered"

    def enter(self, history: History, refused: list[int]) -> bool:
        """Add a page. Returns whether it was progress."""
        self.covered.append((history.first_id, history.last_id))
        kept = {i for i in self.refused if not history.first_id <= i <= history.last_id}
        self.refused = kept | set(refused)
        before, self.at = self.at, max(self.at, history.last_id + 1)
        if self.at <= self._last:
            return self.at > before
        self.is_done = not self.refused
        if self.refused:
            # The units may have changed. The listing is being fetched, so try these again.
            self.at, self.why_lost = min(self.refused), "a value fits no field"
        return self.is_done
