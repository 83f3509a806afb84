"""The judge of books sees a level that is wrong, in a whole book and in one whose top is known."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from fanout.protocol import Instrument, OrderBook
from fanout.protocol.book_records import BookUpdate, pack_levels
from fanout.protocol.constants import BookFlags
from fanout.simulator import Simulator, SimulatorConfig
from tests.stand import exchange_books
from tests.stand.exchange_books import ExchangeBooks
from tests.stand.inside import running_simulator

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
