"""Many books in a process of its own, and what they take: prints MiB as JSON.

    python -m tests.bench.book_rivals.many BOOKS LEVELS CHANGES

Each book is loaded with LEVELS a side, as a snapshot loads it. Then each gets CHANGES changes
around its best prices, which remove and add levels in turns, so that chunks divide and merge.
"""

import json
import os
import sys
from pathlib import Path
from random import Random

from fanout.protocol import Instrument, OrderBook
from fanout.protocol.book_records import BookUpdate, pack_levels

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3, tick=10)
MIDDLE = 1_000_000
LEVELS_AN_UPDATE = 50
SEED = 1


def main(books: int, levels: int, changes: int) -> None:
    random = Random(SEED)
    bids = pack_levels([(MIDDLE - 10 * step, 5) for step in range(1, levels + 1)])
    asks = pack_levels([(MIDDLE + 10 * step, 5) for step in range(1, levels + 1)])
    updates = [update(random, levels) for _ in range(4 * changes // LEVELS_AN_UPDATE)]
    before = resident_bytes()
    held = [OrderBook(BTC) for _ in range(books)]
    for book in held:
        book.replace(bids, asks, 1, 1)
    loaded = resident_bytes() - before
    for book in held:
        for each in random.sample(updates, changes // LEVELS_AN_UPDATE):
            book.apply(each)
    changed = resident_bytes() - before
    counts = [book.bid_count + book.ask_count for book in held]
    print(
        json.dumps(
            {
                "loaded": loaded / 2**20,
                "changed": changed / 2**20,
                "levels": sum(counts) / len(counts) / 2,
            }
        )
    )


def update(random: Random, levels: int) -> BookUpdate:
    """Half of its levels are removed and half are set, on twice as many prices as there are levels
    at first, so that a book stays about as deep as it was."""
    steps = random.sample(range(1, 2 * levels), LEVELS_AN_UPDATE)
    side = [(step, random.randrange(2)) for step in sorted(steps)]
    return BookUpdate(
        BTC,
        2,
        2,
        pack_levels([(MIDDLE - 10 * step, quantity) for step, quantity in side]),
        pack_levels([(MIDDLE + 10 * step, quantity) for step, quantity in side]),
    )


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
