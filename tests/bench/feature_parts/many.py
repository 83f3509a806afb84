"""Many books with features in a process of its own: MiB and updates a second, as JSON.

    python -m tests.bench.feature_parts.many BOOKS LEVELS CHANGES TIMED

The books are those of channels with 1,024 instruments each. Each is loaded with LEVELS a side, as a
snapshot loads it. Then comes a minute of record time with an update and a trade a second for each
book, so that every window has what it needs. Then each book gets CHANGES changes of each side, as
in `book_rivals.many`, and a trade after every tenth update, all at 100,000 updates a second of
record time.

At last TIMED updates of random books are timed, `ROUNDS` times for each size in `SIZES`.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Final

from fanout.analytics import FeatureSettings, StreamFeatures
from fanout.clients.outcomes import Received
from fanout.protocol import BookUpdate, Instrument, Trade
from fanout.protocol.book_records import pack_levels
from fanout.protocol.constants import MAX_INSTRUMENTS, BookFlags
from tests.bench.book_rivals.many import LEVELS_AN_UPDATE, MIDDLE, SEED, resident_bytes

SIZES: Final = {"quiet": (1, 5), "recorded": (34, 34)}
"""The fewest and the most levels of a side in an update: of a quiet symbol, 2 to 10 in all, and as
many as the recording has on average."""

PACKED: Final = 256
"""Different updates, of which each book gets some."""
APART_NS: Final = 10_000
NS_PER_S: Final = 1_000_000_000
BEGIN_NS: Final = 1_723_161_256_000_000_000
ROUNDS: Final = 5
CHUNK: Final = 256
"""Updates that are made before they are timed, as a client decodes a few blocks at once."""

Packed = tuple[bytes, bytes]


class Books:
    """The books, and the records that change them. Time passes by `APART_NS` a record."""

    def __init__(self, books: int) -> None:
        self._random = Random(SEED)
        channels = range(-(-books // MAX_INSTRUMENTS))
        self._streams = [StreamFeatures(FeatureSettings()) for _ in channels]
        self.instruments = [_instrument(place) for place in range(books)]
        self._seqs = count(1)
        self.now_ns = BEGIN_NS

    def load(self, levels: int) -> None:
        sides = [
            [(MIDDLE + sign * 10 * step, 5) for step in range(1, levels + 1)] for sign in _BOTH
        ]
        bids, asks = map(pack_levels, sides)
        for place in range(len(self.instruments)):
            self.take([(place, self.update(place, (bids, asks), BookFlags.WHOLE))])

    def take(self, records: Sequence[tuple[int, Received]]) -> None:
        takes = [each.take for each in self._streams]
        for place, record in records:
            takes[place // MAX_INSTRUMENTS](record)

    def update(self, place: int, packed: Packed, flags: BookFlags = BookFlags.NONE) -> BookUpdate:
        self.now_ns += APART_NS
        seq = next(self._seqs)
        return BookUpdate(self.instruments[place], seq, 0, *packed, flags, seq, self.now_ns)

    def trade(self, place: int) -> Trade:
        self.now_ns += APART_NS
        seq, is_sell = next(self._seqs), bool(self._random.getrandbits(1))
        its = self.instruments[place]
        return Trade(its, seq, 0, MIDDLE, 7, is_sell, seq=seq, received_ns=self.now_ns)

    def minute(self, updates: Sequence[Packed]) -> None:
        for _ in range(60):
            end_ns = self.now_ns + NS_PER_S
            for place in range(len(self.instruments)):
                packed = self._random.choice(updates)
                self.take([(place, self.update(place, packed)), (place, self.trade(place))])
            self.now_ns = max(self.now_ns, end_ns)

    def changed(self, updates: Sequence[Packed], times: int) -> Iterator[tuple[int, Received]]:
        """So many updates of random books, with a trade after every tenth."""
        for number in range(times):
            place = self._random.randrange(len(self.instruments))
            yield place, self.update(place, self._random.choice(updates))
            if number % 10 == 9:
                yield place, self.trade(place)

    def timed(self, updates: Sequence[Packed], times: int) -> float:
        """Updates a second of CPU time, over so many of random books."""
        spent_ns = 0
        for _ in range(times // CHUNK):
            records = []
            for _ in range(CHUNK):
                place = self._random.randrange(len(self.instruments))
                records.append((place, self.update(place, self._random.choice(updates))))
            began_ns = time.thread_time_ns()
            self.take(records)
            spent_ns += time.thread_time_ns() - began_ns
        return times // CHUNK * CHUNK / spent_ns * NS_PER_S


_BOTH: Final = (-1, 1)


def _instrument(place: int) -> Instrument:
    return Instrument(
        index=place % MAX_INSTRUMENTS,
        symbol=f"S{place:04}USDT",
        price_exponent=-2,
        quantity_exponent=-3,
        tick=10,
    )


def packed_updates(random: Random, levels: int, least: int, most: int) -> list[Packed]:
    """As `book_rivals.many.update`: half of the levels are removed and half are set, on twice as
    many prices as a side has at first. So a book stays about as deep as it was."""
    found = []
    for _ in range(PACKED):
        sides = []
        for sign in _BOTH:
            steps = sorted(random.sample(range(1, 2 * levels), random.randint(least, most)))
            side = [(MIDDLE + sign * 10 * step, random.randrange(2)) for step in steps]
            sides.append(pack_levels(side))
        found.append((sides[0], sides[1]))
    return found


def main(books: int, levels: int, changes: int, timed: int) -> None:
    random = Random(SEED)
    large = packed_updates(random, levels, LEVELS_AN_UPDATE, LEVELS_AN_UPDATE)
    sizes = {name: packed_updates(random, levels, *each) for name, each in SIZES.items()}
    before = resident_bytes()
    held = Books(books)
    held.load(levels)
    loaded = resident_bytes() - before
    held.minute(sizes["quiet"])
    for each in held.changed(large, books * changes // LEVELS_AN_UPDATE):
        held.take([each])
    changed = resident_bytes()
    rates = {name: [held.timed(each, timed) for _ in range(ROUNDS)] for name, each in sizes.items()}
    found = {
        "loaded": loaded / 2**20,
        "changed": (changed - before) / 2**20,
        "process": changed / 2**20,
    }
    print(json.dumps(found | rates))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
