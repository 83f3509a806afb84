"""The judges of books see a level that is wrong, in a whole book and in one whose top is known."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from fanout.clients.books import Books
from fanout.protocol import Instrument, OrderBook
from fanout.protocol.book_records import BookUpdate, pack_levels
from fanout.protocol.constants import BookFlags
from fanout.simulator import Simulator, SimulatorConfig
from tests.stand import exchange_books
from tests.stand.exchange_books import ExchangeBooks, Seen
from tests.stand.inside import running_simulator
from tests.stand.shown_books import ShownBooks

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)


def whole_book(simulator: Simulator, flags: BookFlags = BookFlags.WHOLE) -> BookUpdate:
    shown = simulator.book(BTC.symbol)
    bids, asks = (
        pack_levels((int(Decimal(p) * 100), int(Decimal(q) * 1_000)) for p, q in side)
        for side in (shown.bids, shown.asks)
    )
    return BookUpdate(BTC, shown.last_id, shown.time_ms, bids, asks, flags)


def book_of(update: BookUpdate) -> OrderBook:
    book = OrderBook()
    book.apply(update)
    return book


async def test_a_wrong_level_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_books, "LEVELS_EVERY", 1)
    async with running_simulator(SimulatorConfig(symbols=(BTC.symbol,), hold=True)) as simulator:
        books = ExchangeBooks(simulator, [BTC.symbol], [BTC.symbol])
        for flags in (BookFlags.WHOLE, BookFlags.WHOLE | BookFlags.TOP_ONLY):
            update = whole_book(simulator, flags)
            assert books.fault_of(BTC.symbol, book_of(update)) == ""
            last = book_of(update).levels()[1][-1]
            wrong = pack_levels([(last.price, last.quantity + 1)])
            for asks in (update.packed_asks[16:], update.packed_asks[:-16] + wrong):
                book = book_of(replace(update, packed_asks=asks))
                assert "differs" in books.fault_of(BTC.symbol, book)
            later = book_of(replace(update, update_id=update.update_id + 1))
            assert "was never at update" in books.fault_of(BTC.symbol, later)


async def test_a_book_without_update_ids_is_found_by_what_it_shows() -> None:
    async with running_simulator(SimulatorConfig(symbols=(BTC.symbol,), hold=True)) as simulator:
        books = ShownBooks(simulator, [BTC.symbol], [BTC.symbol])
        before = replace(whole_book(simulator), update_id=7)
        assert fault_of(books, before) == ""
        last = book_of(before).levels()[1][-1]
        wrong = pack_levels([(last.price, last.quantity + 1)])
        beyond = replace(before, packed_asks=before.packed_asks[:-16] + wrong)
        assert "beyond its best levels" in fault_of(books, beyond)
        assert "was never there" in fault_of(books, replace(before, packed_asks=b""))

        book = simulator._exchange._engine.books._books[BTC.symbol].book  # type: ignore[attr-defined]
        book.move(30)
        book.close(book.time_ms)
        seen: Seen = {}
        assert fault_of(books, replace(whole_book(simulator), update_id=1), seen) == ""
        assert "is older than before" in fault_of(books, before, seen)


def fault_of(books: ShownBooks, update: BookUpdate, seen: Seen | None = None) -> str:
    """Of a consumer's book after a whole one has come."""
    consumer = Books()
    consumer.apply(replace(update, seq=1))
    return books.fault_of_known(consumer[BTC.symbol], {} if seen is None else seen)
