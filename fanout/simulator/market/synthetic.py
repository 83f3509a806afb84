"""A synthetic market: seeded, endless, in constant memory. The numbers come from `sweeps`.

Each symbol has a tape of its own, seeded from the config's seed and the symbol's name. The first
chunk of a tape lies before the opening: it is the past that REST answers with at once. All kinds of
rows share one numbering. Market time is the time in the trades: at a speed other than 1 it differs
from wall time, as in a replay.

An instrument that is listed later gets a tape that begins with the market's latest trade. A quiet
one has no tape.
"""

import heapq
from collections.abc import Callable, Iterator
from itertools import chain, groupby
from operator import attrgetter
from typing import Final
from zlib import crc32

from fanout.simulator.market.clock import NS_PER_MS
from fanout.simulator.market.listing import QUIET, Listing, decimals
from fanout.simulator.market.sweeps import CHUNK_SWEEPS, Chunk, chunks
from fanout.simulator.market.ticks import (
    NOT_A_FILL,
    NOTHING,
    TRADE,
    Kinds,
    Rows,
    Tick,
    Trade,
    stream_of,
)

MANY_SYMBOLS: Final = 32
LEAST_SWEEPS: Final = 32


class SyntheticMarket:
    """All symbols together, in order of time. `rate` is trades per second over all of them."""

    recorded_books = None
    aggregated: frozenset[str] = frozenset()

    def __init__(self, listings: tuple[Listing, ...], rate: float, seed: int, kinds: Kinds) -> None:
        self.listings = listings
        self._per_weight = rate / sum(listing.weight for listing in listings)
        self._seed = seed
        self._kinds = kinds
        # The past of a tape is one chunk: with many symbols each has a shorter one.
        self._sweeps = max(
            LEAST_SWEEPS, CHUNK_SWEEPS * MANY_SYMBOLS // max(len(listings), MANY_SYMBOLS)
        )
        self._tapes = [self._tape(listing) for listing in listings if listing.weight > QUIET]
        self._added: list[_Tape] = []

    def prime(self, rows: Rows, origin_ms: int) -> None:
        for tape in self._tapes:
            for trade in tape.past(origin_ms):
                rows.add(trade)

    def enlist(self, listing: Listing) -> None:
        if listing.weight > QUIET:
            self._added.append(self._tape(listing))

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        tapes = (tape.sweeps(origin_ms) for tape in self._tapes)
        waiting = [_entry(number, tape) for number, tape in enumerate(tapes)]
        heapq.heapify(waiting)
        while waiting:
            due_ms, number, sweep, tape = waiting[0]
            heapq.heapreplace(waiting, _entry(number, tape))
            due_ns, stream = (due_ms - origin_ms) * NS_PER_MS, stream_of(sweep[0].symbol, TRADE)
            yield Tick(due_ns, stream, sweep[0], sweep=sweep)
            for trade in sweep[1:]:
                yield Tick(due_ns, stream, trade)
            while self._added:
                tape = self._added.pop().sweeps(due_ms)
                heapq.heappush(waiting, _entry(len(waiting), tape))

    def _tape(self, listing: Listing) -> "_Tape":
        rate = self._per_weight * listing.weight
        return _Tape(listing, rate, self._seed, self._kinds, self._sweeps)


_Sweep = tuple[Trade, ...]
_Entry = tuple[int, int, _Sweep, Iterator[_Sweep]]


def _entry(number: int, tape: Iterator[_Sweep]) -> _Entry:
    """A tape's next sweep, to be ordered by time and then by the tape's number."""
    sweep = next(tape)
    return sweep[0].time_ms, number, sweep, tape


class _Tape:
    """One symbol's trades. Each reading of a tape starts at its beginning."""

    def __init__(self, listing: Listing, rate: float, seed: int, kinds: Kinds, sweeps: int) -> None:
        self._listing = listing
        self._rate = rate
        self._seed = (seed, crc32(listing.symbol.encode()))
        self._kinds = kinds
        self._sweeps = sweeps
        self._opened: tuple[Chunk, Iterator[Chunk]] | None = None
        self._price = _speller(listing.tick_size)
        self._quantity = _speller(listing.step_size)

    def past(self, origin_ms: int) -> Iterator[Trade]:
        chunk, future = self._open()
        # Kept for the first reading, so that a market of 800 symbols opens without a pause.
        self._opened = chunk, chain([next(future)], future)
        opening_ms = int(chunk.time_ms[-1])
        return self._trades(chunk, self._listing.first_trade_id, origin_ms - opening_ms)

    def sweeps(self, origin_ms: int) -> Iterator[_Sweep]:
        """The trades after the opening. Those of a sweep have one time and one aggressor."""
        past, future = self._opened or self._open()
        self._opened = None
        shift_ms = origin_ms - int(past.time_ms[-1])
        next_id = self._listing.first_trade_id + len(past.time_ms)
        for chunk in future:
            trades = self._trades(chunk, next_id, shift_ms)
            for _, sweep in groupby(trades, _moment):
                yield tuple(sweep)
            next_id += len(chunk.time_ms)

    def _open(self) -> tuple[Chunk, Iterator[Chunk]]:
        tape = chunks(self._listing, self._rate, self._seed, self._kinds, self._sweeps)
        return next(tape), tape

    def _trades(self, chunk: Chunk, first_id: int, shift_ms: int) -> Iterator[Trade]:
        names, symbol = self._kinds.names, self._listing.symbol
        rows = zip(*(column.tolist() for column in chunk), strict=True)
        for trade_id, row in enumerate(rows, first_id):
            time_ms, beyond_us, event_ms, price_ticks, quantity_steps, kind, buyer_is_maker = row
            name = names[kind]
            blank = name == NOT_A_FILL
            yield Trade(
                event_ms + shift_ms,
                time_ms + shift_ms,
                symbol,
                trade_id,
                NOTHING if blank else self._price(price_ticks),
                NOTHING if blank else self._quantity(quantity_steps),
                name,
                buyer_is_maker,
                beyond_us,
            )


_moment = attrgetter("time_ms", "beyond_us", "buyer_is_maker")


def _speller(unit: str) -> Callable[[int], str]:
    """Counts of `unit` as a venue spells them: of "0.10", 7 is "0.70"."""
    places = decimals(unit)
    units = int(unit.replace(".", ""))
    if not places:
        return lambda count: str(count * units)
    scale, spelling = 10**places, f"%d.%0{places}d"
    return lambda count: spelling % divmod(count * units, scale)
