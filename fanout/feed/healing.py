"""Fetches over REST the trades that an interruption may have cost, where ids do not tell.

Where trade ids are consecutive, each missing id is known, and `recovery` fills it. At other venues
nothing is known but that the stream was interrupted: its only connection ended and came back, or
ended when its successor had just opened, numbered messages are missing, a trade was unreadable, or
it is silent while REST has trades. Healing then asks REST for the recent trades, and publishes
those that the stream has not delivered, as back-filled.

REST is asked at once, since it may show only the newest trades, and again when the subscription
should be active. If the instrument is not LIVE then, REST is asked once more when it is. A venue
that answers a subscription with its last trades is asked only if those do not reach back to a
trade that is known.

If REST does not reach back either, trades may be missing for good. No id can be named for them, so
there is no gap. A STATUS names the time, and `/status` counts it.

REST may have other ids than the stream. Then trades would be published twice. So nothing is
published if REST shows trades of a time that the stream delivered, and none of them is known.
"""

import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec
import trio

from fanout.errors import VenueError
from fanout.feed.announcer import Announcer
from fanout.feed.liveness import Change, Liveness
from fanout.feed.sequence import Unproven
from fanout.feed.sequences import Sequences
from fanout.feed.units import Units
from fanout.feed.venue_clock import VenueClock
from fanout.net.rest import RestClient
from fanout.protocol.backoff import backoff
from fanout.protocol.constants import FeedState
from fanout.venues.base import Venue
from fanout.venues.values import Request, VenueTrade

_LOG = logging.getLogger("fanout")

SETTLE_S: Final = 5.0
"""How long a subscription usually takes to become active, at the most."""

ATTEMPTS: Final = 5
"""Requests that may fail one after another, with pauses between them."""

MAX_PAGES: Final = 20
"""Most pages of one round, at a venue that shows trades from a time on."""

REQUESTS_AT_ONCE: Final = 8
"""Most concurrent requests for all instruments. After an outage all of them need one."""

LATE_MS: Final = 1_000
"""How far behind the newest trade others may be that the interruption cost."""


class _Wound(msgspec.Struct):
    """An interruption of one instrument's trades. Times are in the venue's units."""

    venue: Venue
    sequence: Unproven
    why: str
    at: int
    """Time of the newest trade before it. Until then the stream was whole."""
    reached: int
    """All trades up to this time are published, or reported as unproven."""
    bridges: int
    late_ms: int = LATE_MS
    paged: int = 0
    """Time of the newest trade that REST has shown."""
    is_settling: bool = False
    """Whether REST was asked, and the subscription is waited for."""
    is_new: bool = False
    """Whether REST has not been asked since it happened, or happened again."""
    filled: int = 0
    was_asked: trio.Event = msgspec.field(default_factory=trio.Event)
    """Whether REST has been asked for the first time, or need not be."""
    refused: dict[int, int] = {}
    """Trades of REST among which some were not taken, since a value fits no field: times by id."""

    @property
    def symbol(self) -> str:
        return self.sequence.instrument.symbol

    @property
    def since(self) -> int:
        """From when on trades are taken from REST."""
        if self.reached > self.at:
            return self.reached
        return max(self.paged, self.at - self.late_ms * int(10 ** (-3 - self.venue.time_exponent)))

    @property
    def is_closed(self) -> bool:
        """Whether the stream has delivered all trades since: from its first trade on, or after an
        answer to the subscription that reaches back to a known one. A first trade of the same time
        proves nothing: the fills of one order have the same."""
        resumed = self.sequence.resumed_time
        has_overlap = resumed is not None and resumed < self.reached
        return has_overlap or self.sequence.bridges > self.bridges


class Healing:
    """Heals the interruptions of one feed."""

    def __init__(
        self,
        rest: RestClient,
        sequences: Sequences,
        announcer: Announcer,
        liveness: Liveness,
        units: Units,
        clock: VenueClock,
        *,
        on_misfit: Callable[[], None],
        wall_ns: Callable[[], int],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`on_misfit` is called if a trade does not fit the units. `wall_ns` gives unix ns."""
        self._rest = rest
        self._sequences = sequences
        self._announcer = announcer
        self._liveness = liveness
        self._units = units
        self._clock = clock
        self._on_misfit = on_misfit
        self._wall_ns = wall_ns
        self._uniform = uniform
        self._venues: dict[str, Venue] = {}
        """The venue for each kind of stream."""
        self._wounds: dict[tuple[str, str], _Wound] = {}
        self._reached: dict[tuple[str, str], int] = {}
        """Up to when the last interruption of an instrument was healed, or reported."""
        self._limiter = trio.CapacityLimiter(REQUESTS_AT_ONCE)

    def cover(self, venue: Venue) -> None:
        """Heal this venue's kind of stream too."""
        self._venues.setdefault(venue.stream, venue)

    def begin(self, nursery: trio.Nursery) -> None:
        """Run all tasks of healing in `nursery`."""
        self._nursery = nursery

    def heal_all(self, stream: str, symbols: Iterable[str], why: str) -> None:
        """Heal several instruments."""
        for symbol in symbols:
            self.heal(stream, symbol, why)

    def heal(self, stream: str, symbol: str, why: str, *, late_ms: int = LATE_MS) -> None:
        """Fetch what the stream may have missed of an instrument, since `why`. Nothing happens
        before its first trade, and where ids tell what is missing. Trades are taken that are up to
        `late_ms` older than the newest one."""
        sequence = self._sequences.unproven(stream, symbol)
        if sequence is None or sequence.is_over or not sequence.has_begun:
            return
        at, wound = sequence.newest_time, self._wounds.get((stream, symbol))
        if wound is None:
            bridges = sequence.bridges
            wound = _Wound(self._venues[stream], sequence, why, at, at, bridges, late_ms)
            self._wounds[stream, symbol] = wound
            self._nursery.start_soon(self._heal, wound)
            sequence.interrupt()
        elif wound.is_closed:
            wound.at = wound.reached = at
            sequence.interrupt()
        wound.is_new, wound.bridges = True, sequence.bridges
        sequence.resumed_time = None

    async def asked(self) -> None:
        """Wait until REST has been asked once about each interruption."""
        for wound in list(self._wounds.values()):
            await wound.was_asked.wait()

    def warn(self) -> None:
        """Report interruptions about which REST has not answered, though it still may. A service
        that is killed before that leaves no other trace of them."""
        for wound in self._wounds.values():
            if not wound.was_asked.is_set():
                self._name(wound, self._now(wound), "REST has not answered yet")

    def end(self, *, goes_on: bool = False) -> None:
        """Report what is not healed yet, since the feed ends.

        Of an instrument that is not LIVE now, since the venue refuses or does not answer its
        subscription, that is all since its newest trade. Not if the next start `goes_on` behind
        that."""
        for stream, sequence in () if goes_on else self._sequences.all_unproven():
            of = stream, sequence.instrument.symbol
            if (
                self._is_live(sequence)
                or not sequence.has_begun
                or sequence.is_over
                or of in self._wounds
            ):
                continue
            at = max(sequence.newest_time, self._reached.get(of, 0))
            self._wounds[of] = _Wound(self._venues[stream], sequence, "", at, at, sequence.bridges)
            sequence.resumed_time = None
        for wound in self._wounds.values():
            self._report_refused(wound)
            if not wound.is_closed and not (goes_on and wound.is_settling):
                self._doubt(wound, self._now(wound), "the service ended first")

    def _now(self, wound: _Wound) -> int:
        """The latest time that the venue's clock can show, in its units."""
        now_ms = self._clock.latest_venue_ms(self._wall_ns())
        return now_ms * int(10 ** (-3 - wound.venue.time_exponent))

    async def _heal(self, wound: _Wound) -> None:
        while wound.is_new:
            wound.is_new = False
            if not wound.sequence.was_answered:
                await self._ask(wound, is_last=False)
            wound.was_asked.set()
            await trio.sleep(SETTLE_S)
            if wound.refused or not wound.is_closed:  # the units may be finer by now
                await self._ask(wound, is_last=True)
            self._conclude(wound)
            if await self._settles_late(wound) and not wound.is_closed:
                await self._ask(wound, is_last=True)
                self._conclude(wound)
        wound.sequence.whole_until = None
        of = wound.venue.stream, wound.symbol
        self._reached[of] = wound.reached
        del self._wounds[of]

    def _conclude(self, wound: _Wound) -> None:
        """Report what REST brought."""
        self._report_refused(wound)
        wound.refused = {}
        if wound.filled:
            words = "%s: %s; %d trades are back-filled"
            _LOG.info(words, wound.symbol, wound.why, wound.filled)
            wound.filled = 0

    async def _settles_late(self, wound: _Wound) -> bool:
        """Wait while the subscription is not known to be active, unless it is interrupted again.
        Whether there was anything to wait for: then REST has to be asked once more."""
        sequence, is_late = wound.sequence, False
        wound.is_settling = True
        while not (wound.is_new or wound.is_closed or sequence.is_over or self._is_live(sequence)):
            is_late = True
            await trio.sleep(SETTLE_S)
        wound.is_settling = False
        return is_late and not wound.is_new

    def _is_live(self, sequence: Unproven) -> bool:
        return self._liveness.trades.state(sequence.instrument.index) is FeedState.LIVE

    async def _ask(self, wound: _Wound, *, is_last: bool) -> None:
        """Take the trades that REST shows up to now: page by page, if the venue can select by
        time. A failure of REST is reported, and if `is_last` too many pages are."""
        until, asked = self._now(wound), None
        for _ in range(MAX_PAGES):
            request = wound.venue.recent_trades_request(wound.symbol, since=wound.since)
            if request == asked or (asked is not None and wound.reached >= until):
                return
            try:
                rows = await self._fetch(wound, request)
            except VenueError as error:
                self._give_up(wound, until, str(error))
                return
            asked = request
            if rows:
                self._take(wound, rows)
                wound.paged = max(wound.paged, rows[-1].time)
                wound.reached = max(wound.reached, rows[-1].time)
        if is_last:
            self._give_up(wound, until, f"REST has more than {MAX_PAGES} pages")

    def _give_up(self, wound: _Wound, until: int, why: str) -> None:
        """Report the rest of an interruption, up to the time `until`."""
        self._doubt(wound, until, why)
        wound.reached = max(wound.reached, until)

    async def _fetch(self, wound: _Wound, request: Request) -> tuple[VenueTrade, ...]:
        """A page of trades, oldest first. Raises the `VenueError` of the last attempt."""
        pauses = backoff(first_s=1.0, cap_s=10.0, uniform=self._uniform)
        for _ in range(ATTEMPTS - 1):
            with suppress(VenueError):
                return await self._try(wound, request)
            await trio.sleep(next(pauses))
        return await self._try(wound, request)

    async def _try(self, wound: _Wound, request: Request) -> tuple[VenueTrade, ...]:
        async with self._limiter:
            return await self._rest.fetch(
                request, lambda body: wound.venue.parse_recent_trades(body, wound.symbol)
            )

    def _take(self, wound: _Wound, rows: tuple[VenueTrade, ...]) -> None:
        """Publish what the stream has not delivered, and report what REST does not show."""
        sequence = wound.sequence
        missed = sequence.missed(rows, wound.since)
        if missed and sequence.is_foreign(rows, wound.at):
            self._doubt(wound, rows[-1].time, "REST has other trade ids than the stream")
            return
        reach = f"REST reaches back to {_in_words(wound.venue, rows[0].time)}"
        self._doubt(wound, rows[0].time, reach)
        finer = self._units.finer(wound.symbol, ((each.price, each.quantity) for each in missed))
        if finer is not None:
            self._units.change(finer)
        trades = [trade for row in missed if (trade := sequence.admit(row)) is not None]
        if len(trades) < len(missed):
            self._on_misfit()
            wound.refused |= {row.trade_id: row.time for row in missed}
        if trades:
            wound.filled += len(trades)
            self._announcer.back_filled(trades)

    def _report_refused(self, wound: _Wound) -> None:
        """Report trades of REST that were not taken, since a value fits no field."""
        times = [time for each, time in wound.refused.items() if each not in wound.sequence.seen]
        if not times:
            return
        span = f"{_in_words(wound.venue, min(times))} and {_in_words(wound.venue, max(times))}"
        words = f"trades between {span} may be missing: {len(times)} of REST fit no field"
        index = wound.sequence.instrument.index
        self._announcer.say([Change(index, self._liveness.state(index), words)])

    def _doubt(self, wound: _Wound, until: int, why: str) -> None:
        """Report that trades may be missing, up to the time `until` or to the stream's first trade
        since. Nothing is reported if none can be."""
        if wound.sequence.resumed_time is not None:
            until = min(until, wound.sequence.resumed_time)
        if until <= wound.reached or wound.sequence.is_over:
            return
        seconds = (until - wound.reached) * 10.0**wound.venue.time_exponent
        wound.sequence.tally.unproven_s += seconds
        self._name(wound, until, why)

    def _name(self, wound: _Wound, until: int, why: str) -> None:
        index = wound.sequence.instrument.index
        words = doubt_in_words(wound.venue, wound.reached, until, why)
        self._announcer.say([Change(index, self._liveness.state(index), words)])


def doubt_in_words(venue: Venue, since: int, until: int, why: str) -> str:
    """The words of a STATUS that trades of a time may be missing. A `since` of 0 is unknown."""
    span = f"between {_in_words(venue, since)} and" if since else "before"
    return f"trades {span} {_in_words(venue, until)} may be missing: {why}"


def _in_words(venue: Venue, time: int) -> str:
    """A time of the venue in words, in UTC."""
    try:
        at = datetime.fromtimestamp(time * 10.0**venue.time_exponent, UTC)
    except (OverflowError, ValueError, OSError):
        return str(time)
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
