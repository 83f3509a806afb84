"""A synthetic market: seeded, endless, in constant memory. The numbers come from `sweeps`.

Each symbol has a tape of its own, seeded from the config's seed and the symbol's name. The first
chunk of a tape lies before the opening: it is the past that REST answers with at once. Ids run on
over every kind of row. Market time is what a trade's time says: at a speed other than 1 it leaves
wall time behind, as in a replay.

An instrument that is listed later gets a tape that begins with the market's latest trade.
"""

import heapq
from collections.abc import Callable, Iterator
from zlib import crc32

from fanout.simulator.market.clock import NS_PER_MS
from fanout.simulator.market.listing import Listing, decimals
from fanout.simulator.market.sweeps import CHUNK_SWEEPS, Chunk, chunks
from fanout.simulator.market.ticks import NOT_A_FILL, NOTHING, Kinds, Rows, Tick, Trade, tick_of

MANY_SYMBOLS = 32
LEAST_SWEEPS = 32


class SyntheticMarket:
    """All symbols together, in order of time. `rate` is trades per second over all of them."""

    def __init__(self, listings: tuple[Listing, ...], rate: float, seed: int, kinds: Kinds) -> None:
        self.listings = listings
        self._per_weight = rate / sum(listing.weight for listing in listings)
        self._seed = seed
        self._kinds = kinds
        # The past of a tape is one chunk: with many symbols each has a shorter one.
        self._sweeps = max(LEAST_SWEEPS, CHUNK_SWEEPS * MANY_SYMBOLS // max(len(listings), 32))
        self._tapes = [self._tape(listing) for listing in listings]
        self._added: list[_Tape] = []

    def prime(self, rows: Rows, origin_ms: int) -> None:
        for tape in self._tapes:
            for trade in tape.past(origin_ms):
                rows.add(trade)

    def enlist(self, listing: Listing) -> None:
        self._added.append(self._tape(listing))

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        waiting = [_Waiting(tape.trades(origin_ms)) for tape in self._tapes]
        heapq.heapify(waiting)
        while waiting:
            due_ms, trade = waiting[0].due_ms, waiting[0].trade
            waiting[0].advance()
            heapq.heapreplace(waiting, waiting[0])
            yield tick_of((due_ms - origin_ms) * NS_PER_MS, trade)
            while self._added:
                tape = self._added.pop()
                heapq.heappush(waiting, _Waiting(tape.trades(trade.time_ms)))

    def _tape(self, listing: Listing) -> "_Tape":
        rate = self._per_weight * listing.weight
        return _Tape(listing, rate, self._seed, self._kinds, self._sweeps)


class _Waiting:
    """A tape's next trade. An endless tape always has one."""

    __slots__ = ("_trades", "due_ms", "trade")

    def __init__(self, trades: Iterator[Trade]) -> None:
        self._trades = trades
        self.advance()

    def advance(self) -> None:
        self.trade = next(self._trades)
        self.due_ms = self.trade.time_ms

    def __lt__(self, other: "_Waiting") -> bool:
        return self.due_ms < other.due_ms


class _Tape:
    """One symbol's trades. Each reading of a tape starts at its beginning."""

    def __init__(self, listing: Listing, rate: float, seed: int, kinds: Kinds, sweeps: int) -> None:
        self._listing = listing
        self._rate = rate
        self._seed = (seed, crc32(listing.symbol.encode()))
        self._kinds = kinds
        self._sweeps = sweeps
        self._price = _speller(listing.tick_size)
        self._quantity = _speller(listing.step_size)

    def past(self, origin_ms: int) -> Iterator[Trade]:
        chunk, _ = self._open()
        opening_ms = int(chunk.time_ms[-1])
        return self._trades(chunk, self._listing.first_trade_id, origin_ms - opening_ms)

    def trades(self, origin_ms: int) -> Iterator[Trade]:
        """Those after the opening."""
        past, future = self._open()
        shift_ms = origin_ms - int(past.time_ms[-1])
        next_id = self._listing.first_trade_id + len(past.time_ms)
        for chunk in future:
            yield from self._trades(chunk, next_id, shift_ms)
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


def _speller(unit: str) -> Callable[[int], str]:
    """Counts of `unit` as a venue spells them: of "0.10", 7 is "0.70"."""
    places = decimals(unit)
    units = int(unit.replace(".", ""))
    if not places:
        return lambda count: str(count * units)
    scale, spelling = 10**places, f"%d.%0{places}d"
    return lambda count: spelling % divmod(count * units, scale)
