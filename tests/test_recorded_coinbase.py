"""The recording of Coinbase's Exchange through the simulator's dialect, the service and TCP.

After each update all levels of the client's book are those of a book that `tests.stand.raw_book`
builds from the raw file, and each quote is its best levels. Trades are those of the file. A part of
the file is played, and with FANOUT_EVERY_VENUE=1 all of it.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

import trio
from trio.testing import MockClock

from fanout.clients.books import Books
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import BookUpdate, Gap, Instrument, Loss, Quote, Status, Trade
from fanout.simulator import SimulatorConfig
from fanout.transports.tcp.config import TcpConfig
from tests.captures import capture_path
from tests.misbehaviour.scene import BEGAN_NS
from tests.stand.inside import one_source, running_service, running_simulator
from tests.stand.raw_book import LEVEL, RawSide, whole
from tests.thoroughness import EVERY_VENUE

RECORDING: Final = "venues/coinbase_exchange_matches_level2_20210417.gz"
LINES: Final = None if EVERY_VENUE else 3_000

Row = dict[str, Any]


class RawBooks:
    """The rows about books, and the book that they make of each product, one row at a time."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.left: dict[str, list[Row]] = defaultdict(list)
        """Rows that the client has not got yet, the next one last."""
        self._sides: dict[str, dict[str, RawSide]] = {}
        for row in rows:
            if row["type"] in ("snapshot", "l2update"):
                self.left[row["product_id"]].insert(0, row)

    def change(self, of: Instrument) -> None:
        row = self.left[of.symbol].pop()
        changes = row.get("changes", ())
        if row["type"] == "snapshot":
            self._sides[of.symbol] = {"buy": RawSide(-1), "sell": RawSide(1)}
            changes = [("buy", *each) for each in row["bids"]]
            changes += [("sell", *each) for each in row["asks"]]
        for side, price, size in changes:
            ticks = whole(price, -of.price_exponent)
            self._sides[of.symbol][side].put(ticks, whole(size, -of.quantity_exponent))

    def packed(self, symbol: str) -> tuple[bytes, bytes]:
        sides = self._sides[symbol]
        return bytes(sides["buy"].packed), bytes(sides["sell"].packed)


def played(path: Path) -> list[Row]:
    """Write the part that is played, and return its rows from the venue."""
    rows = []
    with gzip.open(capture_path(RECORDING)) as lines, path.open("wb") as part:
        for line in islice(lines, LINES):
            part.write(line)
            if line.partition(b" ")[2].startswith(b"{"):
                rows.append(json.loads(line.partition(b" ")[2]))
    return rows


def values(trade: Trade) -> Row:
    """A trade as the venue writes it, whose side is the maker's."""
    of = trade.instrument
    return {
        "trade_id": trade.trade_id,
        "side": "buy" if trade.buyer_is_maker else "sell",
        "size": of.quantity_decimal(trade.quantity),
        "price": of.price_decimal(trade.price),
        "product_id": of.symbol,
        "time": trade.time,
    }


def expected(row: Row) -> Row:
    """The same of a match of the file."""
    at = datetime.fromisoformat(row["time"])
    micros = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    kept = {name: row[name] for name in ("trade_id", "side", "product_id")}
    return {**kept, "size": Decimal(row["size"]), "price": Decimal(row["price"]), "time": micros}


class FarEnd:
    """A client, and the comparison of what it gets with the file."""

    def __init__(self, rows: list[Row]) -> None:
        self.raw = RawBooks(rows)
        self.trades: list[Row] = []
        self.quotes = self.compared = self.best_changes = 0
        self._best: dict[str, list[bytes]] = {}
        self._books = Books()

    def take(self, record: object) -> None:
        assert not isinstance(record, Gap | Loss)
        self._books.apply(record)  # type: ignore[arg-type]
        if isinstance(record, Trade):
            self.trades.append(values(record))
        elif isinstance(record, BookUpdate) and not record.has_more:
            self.raw.change(record.instrument)
            self._compare(record.symbol)
        elif isinstance(record, Status) and record.instrument:
            self._compare(record.instrument.symbol)
        elif isinstance(record, Quote):
            bid, ask = (LEVEL.unpack_from(side) for side in self.raw.packed(record.symbol))
            assert (record.bid_price, record.bid_quantity) == bid
            assert (record.ask_price, record.ask_quantity) == ask
            self.quotes += 1

    def _compare(self, symbol: str) -> None:
        """A book is shown once its instrument is LIVE."""
        book = self._books[symbol]
        if book.is_known:
            packed = self.raw.packed(symbol)
            assert book.prices.packed() == packed
            best = [side[: LEVEL.size] for side in packed]
            self.best_changes += best != self._best.get(symbol)
            self._best[symbol] = best
            self.compared += 1

    @property
    def is_done(self) -> bool:
        return not any(self.raw.left.values()) and self.quotes == self.best_changes


async def test_a_client_gets_the_recorded_trades_quotes_and_books(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    rows = played(part := tmp_path / "part")
    far = FarEnd(rows)
    updates = {symbol: len(left) for symbol, left in far.raw.left.items()}
    began_s = trio.current_time()

    def wall_ns() -> int:
        return BEGAN_NS + int((trio.current_time() - began_s) * 1e9)

    market = SimulatorConfig(dialect="coinbase", captures=(part,), hold=True, start_ns=BEGAN_NS)
    async with running_simulator(market) as simulator:
        service = one_source(
            venue="coinbase",
            assets=tuple(updates),
            data=("trades", "quotes", "book"),
            transports=(TcpConfig(port=0),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
        )
        async with (
            running_service(service, wall_ns=wall_ns) as running,
            TrioTcpClient(running.url, start="oldest") as client,
        ):
            simulator.release()
            with trio.fail_after(120):
                async for record in client:
                    far.take(record)
                    if far.is_done:
                        break
    matches = [expected(row) for row in rows if row["type"] == "match"]
    assert far.trades == matches[: len(far.trades)]
    assert len(far.trades) >= len(matches) - 5
    assert far.quotes == far.best_changes > 400
    assert far.compared == sum(updates.values()) > 2_500
