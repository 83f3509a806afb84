"""Recorded markets through a feed: the book that its channel publishes is the venue's, after every
update.

The book to compare with is built from the raw file by code that shares nothing with the project.
Prices move further than the file's one snapshot reaches, so REST makes further ones of this book.
"""

import gzip
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from heapq import nlargest, nsmallest
from typing import Any, NamedTuple, TypeVar

import pytest
import trio
from trio.testing import MockClock

from fanout.channel.channel import Channel
from fanout.config import FeedConfig
from fanout.feed import Feed
from fanout.feed.book_edges import EXACT_LEVELS
from fanout.feed.market import Market
from fanout.feed.roster import NO_REFERENCE
from fanout.net.budget import Budget
from fanout.net.websocket import Burst
from fanout.protocol import DataKinds, FeedState, Header, Instrument, Quote, Status, Trade
from fanout.protocol.book_records import LEVEL, BookUpdate
from fanout.stats.anomalies import Anomalies
from fanout.venues import BinanceSpot, BinanceUsdm, Request
from tests.captures import capture_path
from tests.stand.subscriber import LogSubscriber

T = TypeVar("T")

ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
SPOT = "venues/binance_spot_trade_bookticker_depth_btcusdt_20240808.gz"


class Row(NamedTuple):
    """A change or a whole book as the raw file has it, in numbers without their points."""

    last_id: int
    sides: tuple[dict[int, int], dict[int, int]]

    @classmethod
    def read(cls, last_id: int, *sides: list[list[str]], decimals: tuple[int, int]) -> "Row":
        of_price, of_quantity = decimals
        bids, asks = (
            {whole(price, of_price): whole(quantity, of_quantity) for price, quantity in levels}
            for levels in sides
        )
        return cls(last_id, (bids, asks))


def whole(text: str, decimals: int) -> int:
    before, _, after = text.partition(".")
    assert set(after[decimals:]) <= {"0"}
    return int(before + after[:decimals].ljust(decimals, "0"))


def shown(value: int, decimals: int) -> str:
    return f"{value // 10**decimals}.{value % 10**decimals:0{decimals}}"


class Naive:
    """A book as the raw file has it: two dicts."""

    def __init__(self, snapshot: dict[str, Any], decimals: tuple[int, int]) -> None:
        self._decimals = decimals
        sides = snapshot["bids"], snapshot["asks"]
        self.last_id, self.sides = Row.read(snapshot["lastUpdateId"], *sides, decimals=decimals)

    def change(self, row: Row) -> None:
        if row.last_id <= self.last_id:
            return
        self.last_id = row.last_id
        for side, levels in zip(self.sides, row.sides, strict=True):
            for price, quantity in levels.items():
                side[price] = quantity
                if not quantity:
                    del side[price]

    def snapshot(self) -> dict[str, Any]:
        """What REST would show of it."""
        bids, asks = (
            [list(map(shown, (price, side[price]), self._decimals)) for price in prices]
            for side, prices in zip(self.sides, self.best(1_000), strict=True)
        )
        return {"lastUpdateId": self.last_id, "bids": bids, "asks": asks}

    def best(self, count: int) -> tuple[list[int], list[int]]:
        """The best prices."""
        bids, asks = self.sides
        return nlargest(count, bids), nsmallest(count, asks)


class Recording:
    """A raw file as a venue: its frames come on the socket one by one, each at its time, and REST
    answers with the snapshot once the file has come to it."""

    def __init__(self, name: str, clock: MockClock) -> None:
        self._path = capture_path(name)
        self._clock = clock
        self.snapshot: dict[str, Any] = {}
        """The newest that REST has answered, or will answer first."""
        self.answers = 0
        self.book: Naive | None = None
        self.budget = Budget(2_400, wall_s=lambda: 0.0)
        self.on_done: Callable[[], None] = lambda: None
        self.after_each: Callable[[bytes], None] = lambda _: None
        self._is_there = trio.Event()

    def frames(self) -> Iterator[bytes]:
        last_ns = 0
        with gzip.open(self._path) as lines:
            for line in lines:
                time_ns, _, frame = line.strip().partition(b" ")
                self._clock.jump(max(0, int(time_ns) - last_ns) / 1e9 if last_ns else 0)
                last_ns = int(time_ns)
                if b'"lastUpdateId"' in frame[:80]:
                    self.snapshot = json.loads(frame[frame.index(b"{") :])
                    self._is_there.set()
                else:
                    yield frame

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncIterator["Recording"]:
        self._frames = self.frames()
        self._last = b""
        yield self

    async def send(self, text: str) -> None:
        assert "depth" in text

    async def receive(self) -> Burst:
        if self._last:
            self.after_each(self._last)
        await trio.lowlevel.checkpoint()
        self._last = next(self._frames, b"")
        if not self._last:
            self.on_done()
            await trio.sleep_forever()
        return Burst(1, 0, [self._last])

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        if not request.path.endswith("/depth"):
            return await trio.sleep_forever()
        await self._is_there.wait()
        self.answers += 1
        if self.book is not None:
            self.snapshot = self.book.snapshot()
        return parse(json.dumps(self.snapshot, separators=(",", ":")).encode())


class Published:
    """What a channel has published, as a reader without the project's book would keep it."""

    def __init__(self) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = {}, {}
        self.last_id = 0
        self.whole = 0

    def take(self, update: BookUpdate) -> None:
        if update.is_whole:
            self.sides = {}, {}
            self.whole += 1
        for side, packed in zip(self.sides, (update.packed_bids, update.packed_asks), strict=True):
            for price, quantity in LEVEL.iter_unpack(packed):
                side[price] = quantity
                if not quantity:
                    del side[price]
        assert update.update_id >= self.last_id
        self.last_id = 0 if update.has_more else update.update_id


@pytest.mark.parametrize(
    ("name", "venue_class", "symbol", "decimals", "least", "least_whole"),
    [
        ("btcusdt_20240808.gz", BinanceUsdm, "BTCUSDT", (2, 3), 6_000, 2),
        ("ethusdt_20240808.gz", BinanceUsdm, "ETHUSDT", (2, 3), 6_000, 1),
        (SPOT, BinanceSpot, "BTCUSDT", (2, 8), 3_000, 2),
    ],
)
async def test_the_published_book_is_the_recorded_one_after_every_update(
    name: str,
    venue_class: type[BinanceUsdm | BinanceSpot],
    symbol: str,
    decimals: tuple[int, int],
    least: int,
    least_whole: int,
    autojump_clock: MockClock,
) -> None:
    recording, published = Recording(name, autojump_clock), Published()
    instrument = Instrument(
        index=0, symbol=symbol, price_exponent=-decimals[0], quantity_exponent=-decimals[1]
    )
    venue = venue_class(ws_url="ws://venue", rest_url="http://venue", data=ALL)
    market = Market((instrument,), (NO_REFERENCE,), (), (0.0,), (0.0,))
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue=venue.name,
        instruments=market.instruments,
        references=market.references,
        data=ALL,
    )
    channel = Channel(header, log_bytes=2**26, wall_ns=lambda: 0)
    reader, kinds = LogSubscriber(channel), Counter[type]()
    anomalies = Anomalies(clock=trio.current_time)
    feed = Feed(
        venue,
        market,
        channel,
        recording,  # type: ignore[arg-type]
        anomalies,
        FeedConfig(),
        connect=recording.connect,  # type: ignore[arg-type]
        monotonic_ns=lambda: 0,
    )
    known = Naive({"lastUpdateId": 0, "bids": [], "asks": []}, decimals)
    """The newest snapshot and the changes since."""
    rows: list[Row] = []
    recent = deque[Row](maxlen=100)
    states: list[FeedState] = []

    def compare(frame: bytes) -> None:
        nonlocal known
        if b"@depth" in frame[:40]:
            row = json.loads(frame)["data"]
            rows.append(Row.read(row["u"], row["b"], row["a"], decimals=decimals))
        for record in reader.records():
            kinds[type(record)] += 1
            if isinstance(record, Status) and record.instrument is not None:
                states.append(record.state)
            if not isinstance(record, BookUpdate):
                continue
            published.take(record)
            if recording.book is None:
                recording.book = Naive(recording.snapshot, decimals)
            if record.is_whole:
                known = Naive(recording.snapshot, decimals)
                for each in recent:
                    known.change(each)
            while rows and rows[0].last_id <= record.update_id:
                recent.append(rows.pop(0))
                recording.book.change(recent[-1])
                known.change(recent[-1])
            if record.has_more:
                continue
            assert published.last_id == known.last_id == recording.book.last_id
            assert published.sides == known.sides
            if kinds[BookUpdate] % 20 == 0:
                assert known.best(EXACT_LEVELS) == recording.book.best(EXACT_LEVELS)

    recording.after_each = compare
    async with trio.open_nursery() as nursery:
        recording.on_done = nursery.cancel_scope.cancel
        nursery.start_soon(feed.run)
    assert published.whole == recording.answers >= least_whole, "the chain never broke"
    assert kinds[BookUpdate] > least
    assert kinds[Trade] > least
    assert kinds[Quote] > least
    assert states[-1] is FeedState.LIVE
    assert FeedState.STALE not in states
    assert set(anomalies.counts) <= {"order book lost"}
    assert not anomalies.counts["order book lost"]
