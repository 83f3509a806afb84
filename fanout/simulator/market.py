"""A synthetic market: seeded, endless, in constant memory. The numbers come from `sweeps`.

Each symbol has a tape of its own, seeded from the config's seed and the symbol's name. The first
chunk of a tape lies before the opening: it is the past that REST answers with at once. Ids run on
over every kind of row, as they do at the exchange. Market time is what `T` says: at a speed other
than 1 it leaves wall time behind, as in a replay.
"""

import heapq
from collections.abc import Callable, Iterator
from zlib import crc32

from fanout.simulator.clock import NS_PER_MS
from fanout.simulator.sweeps import KINDS, Chunk, chunks
from fanout.simulator.symbols import Listing, decimals
from fanout.simulator.ticks import NOT_A_FILL, NOTHING, Rows, Tick, Trade, tick_of


class SyntheticMarket:
    """All symbols together, in order of time. `rate` is trades per second over all of them."""

    def __init__(self, listings: tuple[Listing, ...], rate: float, seed: int) -> None:
        total = sum(listing.weight for listing in listings)
        self.listings = listings
        self._tapes = [_Tape(listing, rate * listing.weight / total, seed) for listing in listings]

    def prime(self, rows: Rows, origin_ms: int) -> None:
        for tape in self._tapes:
            for trade in tape.past(origin_ms):
                rows.add(trade)

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        tapes = [tape.ticks(origin_ms) for tape in self._tapes]
        return heapq.merge(*tapes, key=lambda tick: tick.due_ns)


class _Tape:
    """One symbol's trades. Whoever asks reads the same tape from its beginning."""

    def __init__(self, listing: Listing, rate: float, seed: int) -> None:
        self._listing = listing
        self._rate = rate
        self._seed = (seed, crc32(listing.symbol.encode()))
        self._price = _speller(listing.tick_size)
        self._quantity = _speller(listing.step_size)

    def past(self, origin_ms: int) -> Iterator[Trade]:
        chunk, _ = self._open()
        opening_ms = int(chunk.time_ms[-1])
        return self._trades(chunk, self._listing.first_trade_id, origin_ms - opening_ms)

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        past, future = self._open()
        shift_ms = origin_ms - int(past.time_ms[-1])
        next_id = self._listing.first_trade_id + len(past.time_ms)
        for chunk in future:
            for trade in self._trades(chunk, next_id, shift_ms):
                due_ns = (trade.time_ms - origin_ms) * NS_PER_MS
                yield tick_of(due_ns, trade)
            next_id += len(chunk.time_ms)

    def _open(self) -> tuple[Chunk, Iterator[Chunk]]:
        tape = chunks(self._listing, self._rate, self._seed)
        return next(tape), tape

    def _trades(self, chunk: Chunk, first_id: int, shift_ms: int) -> Iterator[Trade]:
        rows = zip(*(column.tolist() for column in chunk), strict=True)
        for trade_id, row in enumerate(rows, first_id):
            time_ms, event_ms, price_ticks, quantity_steps, kind, buyer_is_maker = row
            blank = KINDS[kind] == NOT_A_FILL
            yield Trade(
                event_ms=event_ms + shift_ms,
                time_ms=time_ms + shift_ms,
                symbol=self._listing.symbol,
                trade_id=trade_id,
                price=NOTHING if blank else self._price(price_ticks),
                quantity=NOTHING if blank else self._quantity(quantity_steps),
                kind=KINDS[kind],
                buyer_is_maker=buyer_is_maker,
            )


def _speller(unit: str) -> Callable[[int], str]:
    """Counts of `unit` as the exchange spells them: of "0.10", 7 is "0.70"."""
    places = decimals(unit)
    units = int(unit.replace(".", ""))
    if not places:
        return lambda count: str(count * units)
    scale, spelling = 10**places, f"%d.%0{places}d"
    return lambda count: spelling % divmod(count * units, scale)
