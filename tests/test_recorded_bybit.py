"""Bybit's recording from the simulator to a TCP client: every quote, and after every update the
book of an independent build.

The recording has quotes only. Books are made of them, as `test_bybit_book` does it: a book has the
last five prices of each side that were at the top. Both are read back by the simulator's dialect.
"""

import gzip
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import BookUpdate, Instrument, OrderBook, Quote
from fanout.simulator import SimulatorConfig
from fanout.transports.tcp.config import TcpConfig
from tests.captures import capture_path
from tests.fanout.venues.test_bybit_book import RECORDING, SYMBOLS, as_books
from tests.stand.inside import one_source, running_service, running_simulator

Levels = dict[Decimal, Decimal]
State = tuple[int, Levels, Levels]
"""Of a book: its update id, bids and asks."""


def in_decimals(levels: dict[str, str]) -> Levels:
    return {Decimal(price): Decimal(size) for price, size in levels.items()}


class Expected:
    """The quotes of the recording, and a second recording with the books that they make."""

    def __init__(self, path: Path) -> None:
        self.quotes: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.books: dict[str, list[State]] = defaultdict(list)
        lines = []
        with gzip.open(capture_path(RECORDING)) as file:
            frames = [line.split(b" ", 1) for line in file if b'"topic"' in line]
        made = as_books(iter(frame for _, frame in frames), 5)
        for (received, quote), (frame, symbol, (bids, asks)) in zip(frames, made, strict=True):
            lines.append(b"%b %b\n" % (received, frame))
            self._note(symbol, json.loads(quote))
            update_id = json.loads(frame)["data"]["u"]
            self.books[symbol].append((update_id, in_decimals(bids), in_decimals(asks)))
        path.write_bytes(b"".join(lines))

    def _note(self, symbol: str, message: dict[str, Any]) -> None:
        data = message["data"]
        (bid,), (ask,) = ([tuple(map(Decimal, level)) for level in data[side]] for side in "ba")
        quotes = self.quotes[symbol]
        if not quotes or quotes[-1][0] != data["u"]:  # a repeated one has another time
            quotes.append((data["u"], message["cts"], *bid, *ask))


def values(quote: Quote) -> tuple[Any, ...]:
    price, size = quote.instrument.price_decimal, quote.instrument.quantity_decimal
    bid = price(quote.bid_price), size(quote.bid_quantity)
    return quote.update_id, quote.time, *bid, price(quote.ask_price), size(quote.ask_quantity)


def state(of: Instrument, book: OrderBook) -> State:
    bids, asks = (
        {of.price_decimal(price): of.quantity_decimal(size) for price, size in side}
        for side in book.levels()
    )
    return book.update_id, bids, asks


async def test_the_recording_comes_to_a_client_whole(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    expected = Expected(made := tmp_path / "books")
    config = SimulatorConfig(dialect="bybit", captures=(capture_path(RECORDING), made), hold=True)
    quotes: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    books: dict[str, list[State]] = defaultdict(list)
    kept: dict[str, OrderBook] = defaultdict(OrderBook)
    async with running_simulator(config) as simulator:
        simulator.release()
        service = one_source(
            venue="bybit",
            assets=SYMBOLS,
            data=("quotes", "book"),
            transports=(TcpConfig(port=0),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
        )
        async with (
            running_service(service) as running,
            TrioTcpClient(running.url, start="oldest") as client,
        ):
            with trio.move_on_after(60):
                async for record in client:
                    if isinstance(record, Quote):
                        quotes[record.symbol].append(values(record))
                    elif isinstance(record, BookUpdate):
                        book = kept[record.symbol]
                        book.apply(record)
                        books[record.symbol].append(state(record.instrument, book))
    assert quotes == expected.quotes
    assert books == expected.books
