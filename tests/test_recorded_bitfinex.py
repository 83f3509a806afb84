"""Recorded trades and books of Bitfinex through the simulator's dialect, the service and TCP.

After each update the client's book is the one that is built here from the raw file, by code that
shares nothing with the project: all levels of both sides. Quotes are its best levels, and never
older than the one before. Trades are those of the file, in its order.

The files are of 2018, without numbers or times of messages, and of 2021, with numbers. A part of
each is played, and with FANOUT_EVERY_VENUE=1 all of it, that of 2018 until it is quiet. The service
subscribes to the channels one by one, so its books begin a little later than the file.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from itertools import islice
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
from tests.thoroughness import EVERY_VENUE

State = dict[Decimal, Decimal]
"""The quantities of all levels, by price. Prices of asks are negative."""

Change = list[Any]
"""A whole book, or one level."""

Row = tuple[int, Decimal, Decimal]
"""A trade: id, price and signed amount."""

QUIET_2018: Final = 10_070
"""The line of the recording of 2018 after which the book is silent for 24 seconds while trades
come. The service reports such a book as STALE, and takes another."""

LAST_S: Final = 1.0
"""How long the client listens after the last change of a book."""


class File:
    """What the venue sent: by symbol, the messages of its book, and the trades."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.changes: dict[str, list[Change]] = defaultdict(list)
        self.trades: dict[str, list[Row]] = defaultdict(list)
        self._channels: dict[int, tuple[str, str]] = {}
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
            self.changes[symbol].append(content)


def change(book: State, content: Change) -> None:
    """What a message makes of a book."""
    is_whole = not content or isinstance(content[0], list)
    if is_whole:
        book.clear()
    for price, count, amount in content if is_whole else [content]:
        key = Decimal(price).copy_sign(Decimal(amount))
        book.pop(key, None)
        if count:
            book[key] = abs(Decimal(amount))


class FarEnd:
    """A client's books, quotes and trades, which are compared with the file's."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.books = Books()
        self.trades: dict[str, list[Row]] = defaultdict(list)
        self.at: dict[str, int] = {}
        """By symbol, how many of the file's messages its book has."""
        self._states: dict[str, State] = defaultdict(dict)
        """The books that these messages make."""
        self.compared = self.quotes = self.best_changes = 0
        self._best: dict[str, State] = {}
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
        last = {symbol: len(changes) for symbol, changes in self.file.changes.items()}
        return self.at == last and self._has_all_trades

    @property
    def _has_all_trades(self) -> bool:
        return all(
            self.trades[symbol][-1:] == rows[-1:] for symbol, rows in self.file.trades.items()
        )

    def _step(self, update: BookUpdate) -> None:
        symbol, of = update.symbol, update.instrument
        if symbol in self.at:
            self._go_on(symbol)
            self._compare(of)
        else:
            assert update.is_whole
            whole = _state(of, update.bids, update.asks)
            self.at[symbol] = 0
            while self._states[symbol] != whole:
                self._go_on(symbol)

    def _go_on(self, symbol: str) -> None:
        change(self._states[symbol], self.file.changes[symbol][self.at[symbol]])
        self.at[symbol] += 1

    def _compare(self, of: Instrument) -> None:
        """A book is shown once its instrument is LIVE."""
        book = self.books[of.symbol]
        if book.is_known:
            best = _best(self._states[of.symbol])
            self.best_changes += best != self._best.get(of.symbol)
            self._best[of.symbol] = best
            assert _state(of, *book.prices.levels()) == self._states[of.symbol]
            assert not book.prices.is_crossed
            self.compared += 1

    def _take_quote(self, quote: Quote) -> None:
        of, theirs = quote.instrument, self._states[quote.symbol]
        assert quote.update_id > self._quoted[quote.symbol]
        self._quoted[quote.symbol] = quote.update_id
        bid = Level(quote.bid_price, quote.bid_quantity)
        ask = Level(quote.ask_price, quote.ask_quantity)
        assert _state(of, [bid], [ask]) == _best(theirs)
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


def _best(state: State) -> State:
    best = max(state), max(key for key in state if key < 0)
    return {key: state[key] for key in best}


@cache
def _number(mantissa: int, exponent: int) -> Decimal:
    return Decimal(mantissa).scaleb(exponent)


def played(name: str, first: int, last: int | None, folder: Path) -> Path:
    """These lines of a recording."""
    with gzip.open(capture_path(f"venues/{name}"), "rt") as lines:
        part = list(islice(lines, last))
    path = folder / name
    with gzip.open(path, "wt") as out:
        out.writelines([*_subscribed_at(first, part), *part[first:]] if first else part)
    return path


def _subscribed_at(number: int, lines: list[str]) -> list[str]:
    """What the venue would have sent to one that subscribed to tBTCUSD before this line: its first
    events and trades, and the book that the lines until then make."""
    at = lines[number].partition(" ")[0]
    (book,) = (each for each in range(number) if ',"freq":' in lines[each])
    channel = lines[book + 1].partition(" ")[2].partition(",")[0]
    (changes,) = File(lines[:number]).changes.values()
    state: State = {}
    for each in changes:
        change(state, each)
    rows = (f"[{abs(key)},1,{size.copy_sign(key)}]" for key, size in state.items())
    head = [at + line[line.index(" ") :] for line in lines[: book + 1]]
    return [*head, f"{at} {channel},[{','.join(rows)}]]\n"]


@pytest.mark.parametrize(
    ("name", "first", "last", "end", "updates", "quotes", "trades"),
    [
        ("bitfinex_p0_trades_7pairs_seq_20210417.gz", 0, 900, None, 400, 100, 0),
        ("bitfinex_p0_trades_8pairs_seq_20210405.gz", 0, 1_200, None, 400, 100, 2),
        ("bitfinex_p0_trades_btcusd_20181112.gz", 36_200, 37_900, QUIET_2018, 800, 40, 20),
    ],
)
async def test_trades_and_books_of_a_client_are_the_recorded_ones(
    autojump_clock: MockClock,
    tmp_path: Path,
    name: str,
    first: int,
    last: int,
    end: int | None,
    updates: int,
    quotes: int,
    trades: int,
) -> None:
    began_s = trio.current_time()

    def wall_ns() -> int:
        return BEGAN_NS + int((trio.current_time() - began_s) * 1e9)

    part = (0, end) if EVERY_VENUE else (first, last)
    capture = played(name, *part, tmp_path)
    with gzip.open(capture, "rt") as lines:
        file = File(lines)
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
    assert far.compared > updates
    assert far.quotes == far.best_changes > quotes
    assert far.trades == file.trades
    assert sum(map(len, far.trades.values())) >= trades
