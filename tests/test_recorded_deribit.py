"""Recorded books of Deribit through the simulator's dialect, the service and TCP.

After each update the client's book is the one that is built here from the raw file, by code that
shares nothing with the project, and each quote is its best levels. The recordings have no trades.
"""

import gzip
import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fanout.clients.books import Books
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import BookUpdate, FeedState, Gap, Instrument, Loss, Quote, Status, Trade
from fanout.simulator import SimulatorConfig
from fanout.transports.tcp.config import TcpConfig
from fanout.venues import Credentials
from tests.captures import capture_path
from tests.misbehaviour.scene import BEGAN_NS
from tests.stand.inside import one_source, running_service, running_simulator

Side = dict[Decimal, Decimal]
Levels = list[tuple[Decimal, Decimal]]

BEST_FIRST = {"bids": True, "asks": False}


def moments(name: str) -> dict[str, dict[int, tuple[Levels, Levels]]]:
    """By symbol and change id, all levels of both sides, the best first. A symbol that never has
    an order is not there: its units cannot be learned."""
    books: dict[str, dict[str, Side]] = {}
    found: dict[str, dict[int, tuple[Levels, Levels]]] = defaultdict(dict)
    with gzip.open(capture_path(f"venues/{name}.gz"), "rt") as lines:
        for line in lines:
            text = line.partition(" ")[2]
            row = json.loads(text, parse_float=Decimal) if text.startswith("{") else {}
            channel = row.get("params", {}).get("channel", "")
            if not channel.startswith("book."):
                continue
            data: dict[str, Any] = row["params"]["data"]
            book = books.setdefault(data["instrument_name"], {"bids": {}, "asks": {}})
            for side, levels in book.items():
                if data["type"] == "snapshot":
                    levels.clear()
                for action, price, amount in data[side]:
                    levels[Decimal(price)] = Decimal(amount)
                    if action == "delete":
                        del levels[Decimal(price)]
            bids, asks = (
                sorted(book[side].items(), reverse=BEST_FIRST[side]) for side in ("bids", "asks")
            )
            found[data["instrument_name"]][data["change_id"]] = bids, asks
    return {symbol: states for symbol, states in found.items() if any(map(any, states.values()))}


class FarEnd:
    """A client's books, which are compared with the file's after each update."""

    def __init__(self, states: dict[str, dict[int, tuple[Levels, Levels]]]) -> None:
        self.states = states
        self.books = Books()
        self.updates: dict[str, list[int]] = defaultdict(list)
        self.quotes = self.compared = 0
        self._quoted: dict[str, int] = {}

    def take(self, record: object) -> None:
        assert not isinstance(record, Trade | Gap | Loss)
        self.books.apply(record)  # type: ignore[arg-type]
        if isinstance(record, Status):
            assert record.state is not FeedState.STALE
            if record.instrument is not None:
                self._compare(record.instrument)
        elif isinstance(record, BookUpdate) and not record.has_more:
            self.updates[record.symbol].append(record.update_id)
            self._compare(record.instrument)
        elif isinstance(record, Quote):
            self._take_quote(record)

    def _compare(self, of: Instrument) -> None:
        """A book is shown once its instrument is LIVE."""
        if not self.books[of.symbol].is_known:
            return
        bids, asks = (
            [(of.price_decimal(price), of.quantity_decimal(size)) for price, size in levels]
            for levels in self.books[of.symbol].prices.levels()
        )
        assert (bids, asks) == self.states[of.symbol][self.updates[of.symbol][-1]]
        self.compared += 1

    def _take_quote(self, quote: Quote) -> None:
        of, (bids, asks) = quote.instrument, self.states[quote.symbol][quote.update_id]
        assert quote.update_id > self._quoted.get(quote.symbol, -1)
        self._quoted[quote.symbol] = quote.update_id
        for price, size, levels in (
            (quote.bid_price, quote.bid_quantity, bids),
            (quote.ask_price, quote.ask_quantity, asks),
        ):
            assert levels[:1] == (
                [(of.price_decimal(price), of.quantity_decimal(size))] * bool(size)
            )
        self.quotes += 1


@pytest.mark.parametrize(
    ("name", "count", "quotes"),
    [("deribit_book_raw_options_20210405", 186, 40), ("deribit_book_raw_options_20210417", 55, 10)],
)
@pytest.mark.parametrize("key", [Credentials(id="a", secret="b"), None], ids=["raw", "100ms"])
async def test_the_books_of_a_client_are_the_recorded_ones_after_each_update(
    autojump_clock: MockClock, name: str, count: int, quotes: int, key: Credentials | None
) -> None:
    began_s = trio.current_time()

    def wall_ns() -> int:
        return BEGAN_NS + int((trio.current_time() - began_s) * 1e9)

    far = FarEnd(moments(name))
    wanted = {symbol: list(states) for symbol, states in far.states.items()}
    capture = capture_path(f"venues/{name}.gz")
    market = SimulatorConfig(dialect="deribit", captures=(capture,), speed=None, start_ns=BEGAN_NS)
    async with running_simulator(market) as simulator:
        config = one_source(
            venue="deribit",
            assets=("*",),
            data=("trades", "quotes", "book"),
            transports=(TcpConfig(port=0),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
            credentials=key,
        )
        with trio.fail_after(60):
            async with (
                running_service(config, wall_ns=wall_ns) as running,
                TrioTcpClient(running.url, start="oldest") as client,
            ):
                async for record in client:
                    far.take(record)
                    if far.updates == wanted:
                        break

    assert sum(map(len, wanted.values())) == count
    assert far.compared >= count - len(wanted)
    assert far.quotes > quotes
