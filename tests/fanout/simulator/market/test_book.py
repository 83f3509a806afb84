"""The order book of one synthetic instrument: what it keeps of its past."""

import random
import tracemalloc

from fanout.simulator.config import SimulatorConfig
from fanout.simulator.market.book import KEPT_TRANSACTIONS, Book, Fill

(BTC,) = SimulatorConfig(symbols=("BTCUSDT",)).listings


def new_book() -> Book:
    return Book(BTC, "61800.00", random.Random(7), is_contiguous=False)


def moved(book: Book, time_ms: int, changes: int = 20) -> None:
    book.move(changes)
    assert book.close(time_ms)


def test_a_book_can_be_seen_as_it_was_after_each_transaction() -> None:
    book = new_book()
    seen = {}
    for time_ms in range(20):
        moved(book, time_ms)
        now = book.snapshot(1_000)
        seen[time_ms] = now.last_id, now.bids, now.asks
    book.move(5)  # belongs to a transaction that is not closed
    for time_ms, state in seen.items():
        old = book.snapshot(1_000, time_ms)
        assert (old.last_id, old.bids, old.asks) == state


def test_a_book_reaches_a_thousand_transactions_back_and_no_further() -> None:
    book = new_book()
    ids = []
    for time_ms in range(KEPT_TRANSACTIONS + 50):
        moved(book, time_ms, changes=3)
        ids.append(book.last_id)
    assert book.snapshot(5, 60).last_id == ids[60]
    assert book.snapshot(5, 49).last_id == book.snapshot(5, 0).last_id == ids[49]


def test_the_past_of_a_book_takes_little_memory() -> None:
    book = new_book()
    tracemalloc.start()
    try:
        for time_ms in range(200):
            moved(book, time_ms, changes=30)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 200 * 30 * 40, "some 120 bytes a change, were each an object"


def test_makers_do_not_fill_a_level_beyond_64_bits() -> None:
    book = new_book()
    most = book.units.most
    levels = {price for price, _ in book.bids.first()}
    for price in levels:
        book.bids.put(price, most)
    moved(book, 1, changes=200)
    assert {quantity for price, quantity in book.bids.first() if price in levels} >= {most}
    assert max(quantity for _, quantity in book.bids.first()) == most


def test_a_quantity_beyond_64_bits_is_kept_as_well() -> None:
    book = new_book()
    price = book.asks.first(1)[0].price
    book.prepare([Fill(price, 2**70)], buys=True)
    book.close(1)
    before = book.snapshot(1_000)
    book.take([Fill(price, 2**70)], buys=True)
    book.close(2)
    assert book.snapshot(1_000).asks != before.asks
    assert book.snapshot(1_000, 1).asks == before.asks
