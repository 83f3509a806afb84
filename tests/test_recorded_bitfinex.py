"""Recorded trades and books of Bitfinex through the simulator's dialect, the service and TCP.

After each update the client's book is the one that is built here from the raw file, by code that
shares nothing with the project: all levels of both sides. Quotes are its best levels, and never
older than the one before. Trades are those of the file, in its order.

The files are of 2018, without numbers or times of messages, and of 2021, with numbers. Of the long
ones a part is played. The service subscribes to the channels one by one, so its books and trades
begin a little later than the file.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from trio.testing import MockClock

from fanout.clients.books import Books
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import (
    BookUpdate,
    FeedState,
    Gap,
    Instrument,
    Loss,
    Quote,
    Status,
    Trade,
)
from fanout.protocol.book_records import Level
from fanout.simulator import SimulatorConfig
from fanout.transports.tcp.config import TcpConfig
from tests.captures import capture_path
from tests.misbehaviour.scene import BEGAN_NS
from tests.stand.inside import one_source, running_service, running_simulator

State = dict[Decimal, Decimal]
"""The quantities of all levels, by price. Prices of asks are negative."""

Row = tuple[int, Decimal, Decimal]
"""A trade: id, price and signed amount."""

LAST_S: Final = 1.0
"""How long the client listens after the last change of a book."""


class File:
    """What the venue sent: by symbol, the book after each of its messages, and the trades."""

    def __init__(self, path: Path) -> None:
        self.states: dict[str, list[State]] = defaultdict(list)
        self.trades: dict[str, list[Row]] = defaultdict(list)
        self._channels: dict[int, tuple[str, str]] = {}
        with gzip.open(path, "rt") as lines:
            for line in lines:
                text = line.partition(" ")[2]
                if not text.startswith("> "):
                    self._take(json.loads(text, parse_float=Decimal))

    def _take(self, message: Any) -> None:
        if isinstance(message, dict):
            if message["event"] == "subscribed":
                self._channels[message["chanId"]] = message["channel"], message["symbol"]
            return
        channel, symbol = self._channels.get(message[0], ("", ""))
        content = message[1]
        if channel == "trades" and content == "te":
            number, _, amount, price = message[2]
            self.trades[symbol].append((number, Decimal(price), Decimal(amount)))
        elif channel == "book" and isinstance(content, list):
            self._change(symbol, content)

    def _change(self, symbol: str, content: list[Any]) -> None:
        states = self.states[symbol]
        is_whole = not content or isinstance(content[0], list)
        book = {} if is_whole else states[-1].copy()
        for price, count, amount in content if is_whole else [content]:
            key = Decimal(price).copy_sign(Decimal(amount))
            book.pop(key, None)
            if count:
                book[key] = abs(Decimal(amount))
        states.append(book)


class FarEnd:
    """A client's books, quotes and trades, which are compared with the file's."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.books = Books()
        self.trades: dict[str, list[Row]] = defaultdict(list)
        self.at: dict[str, int] = {}
        """By symbol, which of the file's states its book has."""
        self.compared = self.quotes = 0
        self._quoted: dict[str, int] = defaultdict(int)

    def take(self, record: object) -> None:
        assert not isinstance(record, Gap | Loss)
        self.books.apply(record)  # type: ignore[arg-type]
        if isinstance(record, Status):
            assert record.state is not FeedState.STALE, record.why
            if record.instrument is not None:
                self._compare(record.instrument)
        elif isinstance(record, BookUpdate) and not record.has_more:
            self._step(record)
        elif isinstance(record, Quote):
            self._take_quote(record)
        elif isinstance(record, Trade):
            self._take_trade(record)

    @property
    def is_at_the_end(self) -> bool:
        last = {symbol: len(states) - 1 for symbol, states in self.file.states.items()}
        return self.at == last

    def _step(self, update: BookUpdate) -> None:
        symbol, of = update.symbol, update.instrument
        if symbol in self.at:
            self.at[symbol] += 1
            self._compare(of)
        else:
            assert update.is_whole
            whole = _state(of, update.bids, update.asks)
            self.at[symbol] = self.file.states[symbol].index(whole)

    def _compare(self, of: Instrument) -> None:
        """A book is shown once its instrument is LIVE."""
        book = self.books[of.symbol]
        if book.is_known:
            assert _state(of, *book.prices.levels()) == self._theirs(of)
            assert not book.prices.is_crossed
            self.compared += 1

    def _theirs(self, of: Instrument) -> State:
        return self.file.states[of.symbol][self.at[of.symbol]]

    def _take_quote(self, quote: Quote) -> None:
        of, theirs = quote.instrument, self._theirs(quote.instrument)
        assert quote.update_id > self._quoted[quote.symbol]
        self._quoted[quote.symbol] = quote.update_id
        best = max(theirs), max(key for key in theirs if key < 0)
        bid, ask = (quote.bid_price, quote.bid_quantity), (quote.ask_price, quote.ask_quantity)
        assert _state(of, [bid], [ask]) == {key: theirs[key] for key in best}
        self.quotes += 1

    def _take_trade(self, trade: Trade) -> None:
        of = trade.instrument
        amount = of.quantity_decimal(trade.quantity) * (-1 if trade.buyer_is_maker else 1)
        price = of.price_decimal(trade.price)
        self.trades[trade.symbol].append((trade.trade_id, price, amount))


def _state(of: Instrument, bids: Iterable[Level], asks: Iterable[Level]) -> State:
    price_exponent, quantity_exponent = of.price_exponent, of.quantity_exponent
    levels = [*bids, *((-price, quantity) for price, quantity in asks)]
    return {_number(p, price_exponent): _number(q, quantity_exponent) for p, q in levels if q}


@cache
def _number(mantissa: int, exponent: int) -> Decimal:
    return Decimal(mantissa).scaleb(exponent)


def beginning(name: str, count: int, folder: Path) -> Path:
    """The first lines of a recording."""
    path = folder / name
    with gzip.open(capture_path(f"venues/{name}"), "rt") as whole, gzip.open(path, "wt") as part:
        part.writelines(line for _, line in zip(range(count), whole, strict=False))
    return path


@pytest.mark.parametrize(
    ("name", "count", "updates", "quotes", "trades"),
    [
        ("bitfinex_p0_trades_7pairs_seq_20210417.gz", 900, 400, 100, 0),
        ("bitfinex_p0_trades_8pairs_seq_20210405.gz", 1_200, 400, 100, 2),
        ("bitfinex_p0_trades_btcusd_20181112.gz", 2_000, 800, 40, 4),
    ],
)
async def test_trades_and_books_of_a_client_are_the_recorded_ones(
    autojump_clock: MockClock,
    tmp_path: Path,
    name: str,
    count: int,
    updates: int,
    quotes: int,
    trades: int,
) -> None:
    began_s = trio.current_time()

    def wall_ns() -> int:
        return BEGAN_NS + int((trio.current_time() - began_s) * 1e9)

    capture = beginning(name, count, tmp_path)
    file = File(capture)
    far = FarEnd(file)
    market = SimulatorConfig(dialect="bitfinex", captures=(capture,), start_ns=BEGAN_NS)
    async with running_simulator(market) as simulator:
        config = one_source(
            venue="bitfinex",
            assets=("*",),
            data=("trades", "quotes", "book"),
            transports=(TcpConfig(port=0),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
        )
        async with (
            running_service(config, wall_ns=wall_ns) as running,
            TrioTcpClient(running.url, start="oldest") as client,
        ):
            with trio.fail_after(600), trio.CancelScope() as listening:
                async for record in client:
                    far.take(record)
                    if far.is_at_the_end:
                        listening.deadline = trio.current_time() + LAST_S
    assert (far.compared, far.quotes) > (updates, quotes)
    for symbol, received in far.trades.items():
        assert received == file.trades[symbol][-len(received) :]
    assert sum(map(len, far.trades.values())) == trades
