"""Recorded markets from the feed to the clients: after every update, the book of each client is the
book of the raw file.

The recorded frames go through the feed, the channel, a TCP connection on loopback and a queue in
/dev/shm, to a client of each, which keeps its books with `Books`. The book to compare with is
`tests.stand.raw_book`, which is built from the raw file and shares no code with the project.

    after every update      update id, both best levels, the number of levels of each side, and
                            every level of both sides
    with FANOUT_PURE=1      the same, but of the levels only those that the update changes
    after `ALL_EVERY`       every level, as integers and as decimals, and the digest
    updates, and the last

A compiled book hands out its levels as bytes within microseconds, and a plain one within a
millisecond. So in plain Python a level that changes by mistake is found at the next comparison of
everything, unless an update has set it right by then. The updates of the TCP client go into a plain
and a compiled book too, and the tops of both are compared after every update.

The recorded snapshot has 1,000 levels a side, which prices come near to leaving. So the feed asks
for another one, and REST answers with the raw book, as deep as it is by then.

The clock is virtual, so a busy machine makes no symbol STALE. Each read takes half a second.
"""

import gzip
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import pytest
import trio
from trio.testing import MockClock

from fanout.channel.channel import Channel
from fanout.clients.books import Books
from fanout.clients.client import AsyncClient
from fanout.clients.outcomes import Disconnected, Received
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config import FeedConfig
from fanout.feed import Feed
from fanout.feed.market import Market
from fanout.feed.roster import NO_REFERENCE
from fanout.net.budget import Budget
from fanout.net.websocket import Burst
from fanout.protocol import (
    DataKinds,
    End,
    EndReason,
    FeedState,
    Header,
    Instrument,
    Loss,
    OrderBook,
    Quote,
    Side,
    Status,
    Trade,
)
from fanout.protocol.book import twin
from fanout.protocol.book_records import BookUpdate
from fanout.stats.anomalies import Anomalies
from fanout.transports.shm.config import ShmConfig
from fanout.transports.shm.transport import ShmTransport
from fanout.transports.tcp.config import TcpConfig
from fanout.transports.tcp.transport import TcpTransport
from fanout.venues import BinanceSpot, BinanceUsdm, Request
from tests.captures import capture_path
from tests.stand.channels import serving
from tests.stand.raw_book import LEVEL, RawBook, RawRow, digest_of, whole
from tests.twins import twins_if_built

T = TypeVar("T")

DATA: Final = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
SPOT: Final = "venues/binance_spot_trade_bookticker_depth_btcusdt_20240808.gz"

NUMBERED: Final = (Trade, Quote, BookUpdate, Status)
"""Kinds of records that the feed publishes here."""

ALL_EVERY: Final = 1_000
"""Updates between comparisons of everything."""

READS: Final = (1, 128, 3, 400, 1, 17)
"""Frames that one read of the socket brings, in turn: single ones and bursts."""


class Moment(NamedTuple):
    """The raw book after a row: the row, and all levels of both sides."""

    row: RawRow
    bids: bytes
    asks: bytes

    def assert_same_top(self, book: OrderBook) -> None:
        assert book.is_consistent
        assert not book.is_crossed
        assert book.update_id == self.row["u"]
        for best, count, levels in (
            (book.best_bid, book.bid_count, self.bids),
            (book.best_ask, book.ask_count, self.asks),
        ):
            assert best == LEVEL.unpack_from(levels)
            assert count * LEVEL.size == len(levels)

    def assert_same_changes(self, book: OrderBook, instrument: Instrument) -> None:
        for side, levels in ((Side.BID, self.row["b"]), (Side.ASK, self.row["a"])):
            for price, quantity in levels:
                found = book.quantity_at(side, whole(price, -instrument.price_exponent))
                assert found == whole(quantity, -instrument.quantity_exponent)

    def assert_same_levels(self, book: OrderBook) -> None:
        assert book.packed() == (self.bids, self.asks)

    def assert_same_digest(self, book: OrderBook) -> None:
        assert book.digest() == digest_of(self.bids, self.asks)

    def assert_same_decimals(self, book: OrderBook, instrument: Instrument) -> None:
        places = instrument.price_exponent, instrument.quantity_exponent
        for side, packed in zip(book.levels(), (self.bids, self.asks), strict=True):
            for level, raw in zip(side, LEVEL.iter_unpack(packed), strict=True):
                price, quantity = map(Decimal.scaleb, map(Decimal, raw), places)
                assert instrument.price_decimal(level.price) == price
                assert instrument.quantity_decimal(level.quantity) == quantity


class Recording:
    """A raw file as a venue: its frames come on the socket, and REST answers with the snapshot once
    the file has come to it, and later with the raw book. A read waits until the clients have what
    the read before it brought."""

    def __init__(self, name: str, decimals: tuple[int, int], clock: MockClock) -> None:
        self.budget = Budget(2_400, wall_s=lambda: 0.0)
        self.clients_follow: Callable[[], Awaitable[None]]
        self.is_over = trio.Event()
        self.answers = 0
        """Snapshots that REST has sent."""
        self.moments: dict[int, Moment] = {}
        """By update id: those that a client may be at now."""
        self.last_id = 0
        self._path = capture_path(name)
        self._decimals = decimals
        self._clock = clock
        self._snapshot: dict[str, Any] = {}
        self._has_snapshot = trio.Event()
        self._book: RawBook | None = None
        self._early: list[RawRow] = []
        """Rows that came before the snapshot."""

    def _frames_of_file(self) -> Iterator[bytes]:
        with gzip.open(self._path) as lines:
            for line in lines:
                frame = line.partition(b" ")[2].strip()
                if b'"lastUpdateId"' in frame[:80]:
                    self._begin(json.loads(frame[frame.index(b"{") :]))
                    continue
                if b"@depth" in frame[:40]:
                    self._note(json.loads(frame)["data"])
                yield frame

    def _begin(self, snapshot: dict[str, Any]) -> None:
        self._snapshot, self._book = snapshot, RawBook(snapshot, self._decimals)
        for row in self._early:
            self._change(self._book, row)
        self._has_snapshot.set()

    def _note(self, row: RawRow) -> None:
        previous_id = row.get("pu", row["U"] - 1)
        assert self.last_id in (0, previous_id), "the recording has no hole"
        self.last_id = row["u"]
        if self._book is None:
            self._early.append(row)
        else:
            self._change(self._book, row)

    def _change(self, book: RawBook, row: RawRow) -> None:
        if row["u"] > book.last_id:
            book.change(row)
            sides = bytes(book.bids.packed), bytes(book.asks.packed)
            self.moments[book.last_id] = Moment(row, *sides)

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncIterator["Recording"]:
        self._frames = self._frames_of_file()
        self._sizes = cycle(READS)
        yield self

    async def send(self, text: str) -> None:
        assert "depth" in text

    async def receive(self) -> Burst:
        await self.clients_follow()
        self._clock.jump(0.5)
        for update_id in list(self.moments)[:-1]:
            del self.moments[update_id]
        frames = list(islice(self._frames, next(self._sizes)))
        if not frames:
            self.is_over.set()
            await trio.sleep_forever()
        return Burst(1, 0, frames)

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        if not request.path.endswith("/depth"):
            return await trio.sleep_forever()
        await self._has_snapshot.wait()
        if self.answers:
            assert self._book is not None
            self._snapshot = self._book.snapshot()
        self.answers += 1
        return parse(json.dumps(self._snapshot, separators=(",", ":")).encode())


class FarEnd:
    """A client, its books, and their comparison with the raw file."""

    def __init__(self, client: AsyncClient, recording: Recording, instrument: Instrument) -> None:
        self.kinds = Counter[type]()
        self.states: list[FeedState] = []
        self.whole = 0
        """Whole books that came."""
        self.last: Received | None = None
        self.books = Books(client)
        self._client = client
        self.twins: list[OrderBook] = []
        """Books that take the same updates."""
        self._recording = recording
        self._instrument = instrument
        self._moment: Moment | None = None
        """Where the file is at the newest update."""
        self._wanted: dict[int, trio.Event] = {}
        """Set when the record of that number has been taken."""

    async def run(self) -> None:
        kinds, wanted = self.kinds, self._wanted
        async for record in self.books:
            kinds[type(record)] += 1
            if isinstance(record, BookUpdate | Status):
                self._take(record)
            if isinstance(record, NUMBERED) and record.seq in wanted:
                wanted.pop(record.seq).set()
        self.last = record

    async def come_to(self, next_seq: int) -> None:
        """Wait until every record before that number has been taken."""
        position = self._client.position
        assert position is not None, "it has connected"
        if position.seq < next_seq:
            self._wanted[next_seq - 1] = has_come = trio.Event()
            await has_come.wait()

    def _take(self, record: BookUpdate | Status) -> None:
        if isinstance(record, Status):
            if record.instrument is not None:
                self.states.append(record.state)
                self._compare()
            return
        self.whole += record.is_whole
        for twin_book in self.twins:
            twin_book.apply(record)
        if not record.has_more:
            self._moment = self._recording.moments[record.update_id]
            self._compare()

    def _compare(self) -> None:
        """Compare the books, once there are any and the client shows its own."""
        moment = self._moment
        if moment is None or self.states[-1] is not FeedState.LIVE:
            return
        book = self.books[self._instrument.symbol].prices
        for each in (book, *self.twins):
            moment.assert_same_top(each)
        if twin.is_compiled:
            moment.assert_same_levels(book)
        else:
            moment.assert_same_changes(book, self._instrument)
        if self.kinds[BookUpdate] % ALL_EVERY == 0:
            self.compare_everything(moment)

    def compare_everything(self, moment: Moment) -> None:
        book = self.books[self._instrument.symbol].prices
        moment.assert_same_decimals(book, self._instrument)
        for each in (book, *self.twins):
            moment.assert_same_levels(each)
            moment.assert_same_digest(each)


@pytest.fixture
def queue() -> Iterator[str]:
    name = f"fanout-test-{uuid.uuid4().hex}"
    yield name
    for path in Path("/dev/shm").glob(f"{name}*"):
        path.unlink()


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "venue_class", "symbol", "decimals", "least", "snapshots"),
    [
        ("btcusdt_20240808.gz", BinanceUsdm, "BTCUSDT", (2, 3), 6_000, 2),
        pytest.param(
            *("ethusdt_20240808.gz", BinanceUsdm, "ETHUSDT", (2, 3), 6_000, 1),
            marks=pytest.mark.long,
        ),
        (SPOT, BinanceSpot, "BTCUSDT", (2, 8), 3_000, 2),
    ],
)
async def test_the_books_of_clients_are_the_recorded_one_after_every_update(
    name: str,
    venue_class: type[BinanceUsdm | BinanceSpot],
    symbol: str,
    decimals: tuple[int, int],
    least: int,
    snapshots: int,
    queue: str,
    autojump_clock: MockClock,
) -> None:
    instrument = Instrument(
        index=0, symbol=symbol, price_exponent=-decimals[0], quantity_exponent=-decimals[1]
    )
    venue = venue_class(ws_url="ws://venue", rest_url="http://venue", data=DATA)
    market = Market((instrument,), (NO_REFERENCE,), (), (0.0,), (0.0,))
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue=venue.name,
        instruments=market.instruments,
        references=market.references,
        data=DATA,
    )
    channel = Channel(header, log_bytes=2**26, wall_ns=lambda: 0)
    recording = Recording(name, decimals, autojump_clock)
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
    ends: list[FarEnd] = []

    async def follow() -> None:
        for end in ends:
            await end.come_to(channel.log.next_seq)

    recording.clients_follow = follow
    async with (
        serving(channel, TcpTransport(TcpConfig(port=0))) as tcp_url,
        serving(channel, ShmTransport(ShmConfig(name=queue))) as shm_url,
        TrioTcpClient(tcp_url, reconnect=False) as tcp,
        TrioShmClient(shm_url, reconnect=False) as shm,
        trio.open_nursery() as nursery,
    ):
        for client in (tcp, shm):
            await client.connect()
            ends.append(FarEnd(client, recording, instrument))
        ends[0].twins = both_twins()
        for end in ends:
            nursery.start_soon(end.run)
        async with trio.open_nursery() as feeding:
            feeding.start_soon(feed.run)
            await recording.is_over.wait()
            feeding.cancel_scope.cancel()
        for end in ends:
            end.compare_everything(recording.moments[recording.last_id])
        channel.end(EndReason.SHUTDOWN, retry_ms=1, why="the recording is over")
    for end in ends:
        assert end.whole == recording.answers == snapshots, "the chain never broke"
        assert end.kinds[BookUpdate] > least
        assert end.kinds[Trade] > least
        assert end.kinds[Quote] > least
        assert end.states[-1] is FeedState.LIVE
        assert FeedState.STALE not in end.states
        assert not {Loss, Disconnected} & end.kinds.keys()
        assert isinstance(end.last, End)
        assert end.last.last_seq == channel.log.next_seq - 1
    assert ends[0].kinds == ends[1].kinds
    assert set(anomalies.counts) <= {"order book lost"}
    assert not anomalies.counts["order book lost"]


def both_twins() -> list[OrderBook]:
    """A plain book, and a compiled one where that is built."""
    compiled = twins_if_built("fanout.protocol._book")
    classes = [twin.plain["OrderBook"], *([compiled.OrderBook] if compiled else [])]
    return [each() for each in classes]
