"""Recorded markets through a feed: the book that its channel publishes is the venue's, after every
update.

The book to compare with is built from the raw file by code that shares nothing with the project.
"""

import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock

from fanout.channel.channel import Channel
from fanout.config import FeedConfig
from fanout.feed import Feed
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


class Naive:
    """A book as the raw file has it: two dicts of numbers without their points."""

    def __init__(self, snapshot: dict[str, Any], decimals: tuple[int, int]) -> None:
        self._decimals = decimals
        self.last_id = snapshot["lastUpdateId"]
        self.sides: list[dict[int, int]] = [{}, {}]
        self._set(snapshot["bids"], snapshot["asks"])

    def change(self, row: dict[str, Any]) -> None:
        if row["u"] > self.last_id:
            self.last_id = row["u"]
            self._set(row["b"], row["a"])

    def _set(self, *sides: list[list[str]]) -> None:
        for side, levels in zip(self.sides, sides, strict=True):
            for price, quantity in levels:
                key, value = (
                    self._whole(*each)
                    for each in zip((price, quantity), self._decimals, strict=True)
                )
                side[key] = value
                if not value:
                    del side[key]

    @staticmethod
    def _whole(text: str, decimals: int) -> int:
        before, _, after = text.partition(".")
        assert set(after[decimals:]) <= {"0"}
        return int(before + after[:decimals].ljust(decimals, "0"))


class Recording:
    """A raw file as a venue: its frames come on the socket one by one, and REST answers with the
    snapshot once the file has come to it."""

    def __init__(self, name: str) -> None:
        self._path = capture_path(name)
        self.snapshot: dict[str, Any] = {}
        self.budget = Budget(2_400, wall_s=lambda: 0.0)
        self.on_done: Callable[[], None] = lambda: None
        self.after_each: Callable[[bytes], None] = lambda _: None
        self._is_there = trio.Event()

    def frames(self) -> Iterator[bytes]:
        with gzip.open(self._path) as lines:
            for line in lines:
                frame = line.partition(b" ")[2].strip()
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
        return parse(json.dumps(self.snapshot, separators=(",", ":")).encode())


class Published:
    """What a channel has published, as a reader without the project's book would keep it."""

    def __init__(self) -> None:
        self.sides: list[dict[int, int]] = [{}, {}]
        self.last_id = 0
        self.whole = 0

    def take(self, update: BookUpdate) -> None:
        if update.is_whole:
            self.sides = [{}, {}]
            self.whole += 1
        for side, packed in zip(self.sides, (update.packed_bids, update.packed_asks), strict=True):
            for price, quantity in LEVEL.iter_unpack(packed):
                side[price] = quantity
                if not quantity:
                    del side[price]
        assert update.update_id >= self.last_id
        self.last_id = 0 if update.has_more else update.update_id


@pytest.mark.parametrize(
    ("name", "venue_class", "symbol", "decimals", "least"),
    [
        ("btcusdt_20240808.gz", BinanceUsdm, "BTCUSDT", (2, 3), 6_000),
        ("ethusdt_20240808.gz", BinanceUsdm, "ETHUSDT", (2, 3), 6_000),
        (SPOT, BinanceSpot, "BTCUSDT", (2, 8), 3_000),
    ],
)
async def test_the_published_book_is_the_recorded_one_after_every_update(
    name: str,
    venue_class: type[BinanceUsdm | BinanceSpot],
    symbol: str,
    decimals: tuple[int, int],
    least: int,
    autojump_clock: MockClock,
) -> None:
    recording, published = Recording(name), Published()
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
    reader, naive, kinds = LogSubscriber(channel), list[Naive](), Counter[type]()
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
    rows: list[dict[str, Any]] = []
    states: list[FeedState] = []

    def compare(frame: bytes) -> None:
        if b"@depth" in frame[:40]:
            rows.append(json.loads(frame)["data"])
        for record in reader.records():
            kinds[type(record)] += 1
            if isinstance(record, Status) and record.instrument is not None:
                states.append(record.state)
            if not isinstance(record, BookUpdate):
                continue
            published.take(record)
            if not naive:
                naive.append(Naive(recording.snapshot, decimals))
            while rows and rows[0]["u"] <= record.update_id:
                naive[0].change(rows.pop(0))
            if not record.has_more:
                assert published.last_id == naive[0].last_id
                assert published.sides == naive[0].sides

    recording.after_each = compare
    async with trio.open_nursery() as nursery:
        recording.on_done = nursery.cancel_scope.cancel
        nursery.start_soon(feed.run)
    assert published.whole == 1, "the chain never broke"
    assert kinds[BookUpdate] > least
    assert kinds[Trade] > least
    assert kinds[Quote] > least
    assert states[-1] is FeedState.LIVE
    assert FeedState.STALE not in states
    assert set(anomalies.counts) <= {"order book lost"}
    assert not anomalies.counts["order book lost"]
