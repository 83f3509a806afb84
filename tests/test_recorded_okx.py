"""Recorded trades and books of OKX through the simulator's dialect, the service and TCP.

After each update the client's book is that of `tests.stand.raw_book`, which is built from the raw
file and shares no code with the project: all levels of both sides. In plain Python that is so
after every twentieth update. The trades are those of the file, in its order.

The recordings are of 2022: books have no ids, so the service numbers their messages, and trades
have no count. They have no quotes. The first trade of a symbol is the newest one of before.
"""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

import pytest
import trio
from trio.testing import MockClock

from fanout.clients.books import Books
from fanout.clients.outcomes import Received
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config import FeedConfig
from fanout.protocol import BookUpdate, FeedState, Gap, Instrument, Loss, Status, Trade
from fanout.protocol.book import twin
from fanout.simulator import SimulatorConfig
from fanout.transports.tcp.config import TcpConfig
from tests.captures import capture_path
from tests.misbehaviour.scene import BEGAN_NS
from tests.stand.inside import one_source, running_service, running_simulator
from tests.stand.raw_book import RawBook

EVERY: Final = 1 if twin.is_compiled else 20
"""Updates of a symbol between two comparisons of all levels."""

RawRow = dict[str, Any]


class Fill(NamedTuple):
    trade_id: int
    price: Decimal
    quantity: Decimal
    time_ms: int
    buyer_is_maker: bool


class File:
    """What the venue sent: by symbol, the messages of its book, and its trades but the first."""

    def __init__(self, name: str) -> None:
        self.books: dict[str, list[RawRow]] = defaultdict(list)
        self.trades: dict[str, list[Fill]] = defaultdict(list)
        for frame in _frames(name):
            symbol, channel = frame["arg"]["instId"], frame["arg"]["channel"]
            for row in frame.get("data", ()):
                if channel.startswith("books"):
                    self.books[symbol].append(row | {"is_whole": frame["action"] == "snapshot"})
                elif channel == "trades":
                    self.trades[symbol].append(_fill(row))
        self.trades = {symbol: rows[1:] for symbol, rows in self.trades.items() if rows[1:]}


def _frames(name: str) -> Iterator[RawRow]:
    with gzip.open(capture_path(f"venues/{name}"), "rt") as lines:
        for line in lines:
            text = line.partition(" ")[2]
            if text.startswith('{"arg"'):
                yield json.loads(text)


def _fill(row: RawRow) -> Fill:
    is_sale = row["side"] == "sell"
    return Fill(
        int(row["tradeId"]), Decimal(row["px"]), Decimal(row["sz"]), int(row["ts"]), is_sale
    )


class Raw:
    """The book of a symbol, message by message."""

    def __init__(self, rows: list[RawRow], of: Instrument) -> None:
        self._rows = iter(rows)
        self._decimals = -of.price_exponent, -of.quantity_exponent
        self._book: RawBook | None = None
        self.number = 0

    def advance(self) -> tuple[bytes, bytes]:
        """All levels of both sides after the next message."""
        row = next(self._rows)
        self.number += 1
        bids, asks = ([level[:2] for level in row[side]] for side in ("bids", "asks"))
        if row["is_whole"]:
            snapshot = {"lastUpdateId": self.number, "bids": bids, "asks": asks}
            self._book = RawBook(snapshot, self._decimals)
        else:
            assert self._book is not None, "a recording begins with a whole book"
            self._book.change({"u": self.number, "b": bids, "a": asks})
        return bytes(self._book.bids.packed), bytes(self._book.asks.packed)


class FarEnd:
    """A client's books and trades, and their comparison with the file."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.books = Books()
        self.trades: dict[str, list[Fill]] = defaultdict(list)
        self.updates, self.compared = Counter[str](), Counter[str]()
        self._raw: dict[str, Raw] = {}

    @property
    def is_done(self) -> bool:
        wanted = {symbol: len(rows) for symbol, rows in self.file.books.items()}
        counts = {symbol: len(rows) for symbol, rows in self.trades.items()}
        return self.updates == wanted and counts == {
            symbol: len(rows) for symbol, rows in self.file.trades.items()
        }

    def take(self, record: Received) -> None:
        assert not isinstance(record, Gap | Loss)
        self.books.apply(record)
        if isinstance(record, Status):
            assert record.state is not FeedState.STALE
        elif isinstance(record, Trade):
            of = record.instrument
            price, quantity = of.price_decimal(record.price), of.quantity_decimal(record.quantity)
            row = Fill(record.trade_id, price, quantity, record.time, record.buyer_is_maker)
            self.trades[of.symbol].append(row)
        elif isinstance(record, BookUpdate) and not record.has_more:
            self._compare(record)

    def _compare(self, update: BookUpdate) -> None:
        symbol = update.symbol
        raw = self._raw.get(symbol)
        if raw is None:
            raw = self._raw[symbol] = Raw(self.file.books[symbol], update.instrument)
        levels = raw.advance()
        self.updates[symbol] += 1
        assert update.update_id == raw.number
        book = self.books[symbol]
        if book.is_known and raw.number % EVERY == 0:
            assert book.prices.packed() == levels
            self.compared[symbol] += 1


@pytest.mark.parametrize(
    ("name", "updates", "trades"),
    [
        ("okx_books_trades_20220513.gz", 290, 71),
        ("okx_booksl2tbt_trades_20220227.gz", 3_679, 13),
    ],
)
async def test_the_trades_and_the_books_of_a_client_are_the_recorded_ones(
    autojump_clock: MockClock, name: str, updates: int, trades: int
) -> None:
    began_s = trio.current_time()

    def wall_ns() -> int:
        return BEGAN_NS + int((trio.current_time() - began_s) * 1e9)

    far = FarEnd(File(name))
    capture = capture_path(f"venues/{name}")
    market = SimulatorConfig(dialect="okx", captures=(capture,), speed=None, start_ns=BEGAN_NS)
    async with running_simulator(market) as simulator:
        config = one_source(
            venue="okx",
            assets=("*",),
            data=("trades", "book"),
            transports=(TcpConfig(port=0),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
            feed=FeedConfig(stream="aggTrade"),
        )
        with trio.fail_after(60):
            async with (
                running_service(config, wall_ns=wall_ns) as running,
                TrioTcpClient(running.url, start="oldest") as client,
            ):
                async for record in client:
                    far.take(record)
                    if far.is_done:
                        break
    assert far.trades == far.file.trades
    assert sum(map(len, far.trades.values())) == trades
    assert far.updates.total() == updates
    assert all(far.compared[each] >= count // EVERY - 1 for each, count in far.updates.items())
