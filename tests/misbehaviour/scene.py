"""A simulator, a service and a TCP client in one process, over real sockets and on a virtual clock.

The records that the client got are held against what the simulator says it issued, from the first
trade that the client got on. Each trade has the exchange's price, quantity, time and side. None
came twice, and none was made up. Where ids are consecutive, every id of every symbol was a trade,
or reported as missing and then as what became of it, or used by the venue without a trade.
Elsewhere `tests.stand.account` says what holds.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final
from unittest import mock

import trio

import fanout.service
from fanout.channel.past import PastOf
from fanout.clients.books import Books
from fanout.clients.outcomes import Received
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config import Config, FeedConfig
from fanout.protocol import (
    BookUpdate,
    End,
    FeedState,
    Gap,
    GapState,
    Loss,
    OrderUpdate,
    Quote,
    Status,
    Trade,
)
from fanout.simulator import Simulator, SimulatorConfig
from fanout.simulator.dialects import dialect_of, symbols_of
from fanout.simulator.faults import Fault
from fanout.transports.tcp.config import TcpConfig
from fanout.venues import VENUES, Continuity, Credentials
from tests.stand.account import fault_of, fault_of_spans, spans_of
from tests.stand.exchange import SPENT, Market
from tests.stand.exchange_books import BookKeeper
from tests.stand.inside import one_source, running_service, running_simulator
from tests.stand.kept_past import KeptPast, remembered
from tests.stand.shown_books import ShownBooks

BEGAN_NS = 1_790_000_000_000_000_000
BTC, ETH = "BTCUSDT", "ETHUSDT"

DIALECT_OF = {
    "binance": "binance-usdm",
    "binance-spot": "binance-spot",
    "bitfinex": "bitfinex",
    "bybit": "bybit",
    "bybit-spot": "bybit-spot",
    "coinbase": "coinbase",
    "coinbase-advanced": "coinbase-advanced",
    "deribit": "deribit",
    "okx": "okx",
}
"""By venue of the service, the simulator's dialect. `test_every_venue` plays at each."""

BEST_LEVELS: Final = 20
"""Levels of a side that are compared: those that are complete while a symbol is LIVE."""

Short = tuple[str, str] | tuple[str, int, str]


class _ShownBooks(ShownBooks):
    """A scene is short, so that all books are compared in all their levels."""

    whole_every = 1


class Scene:
    """What happens, and what a client has been told of it so far."""

    def __init__(
        self,
        simulator: Simulator,
        venue: str = "binance",
        symbols: Sequence[str] = (BTC, ETH),
        *,
        with_books: bool = False,
    ) -> None:
        """To be made before the market opens."""
        self.simulator = simulator
        self.symbols = symbols
        self._has_ids = VENUES[venue].continuity is Continuity.IDS
        self._market = Market(simulator, *symbols)
        self._keeper = None
        if with_books:
            self._keeper = BookKeeper(_ShownBooks(simulator, symbols, symbols))
        self.wrong_books: list[str] = []
        """What was wrong with the books that a client built, and with its quotes, in order."""
        self.books = Books()
        """What a client builds of the records so far."""
        self.inject = simulator.faults.inject
        self.records: list[object] = []
        self._told = 0
        self._states: dict[str, FeedState] = {}
        """The newest state of each symbol."""
        self._missing = 0
        """Ids of open gaps."""

    async def until(self, condition: Callable[[], bool], *, within_s: float = 120) -> None:
        """Let time pass until something is so."""
        with trio.fail_after(within_s):
            while not condition():  # noqa: ASYNC110  on a virtual clock
                await trio.sleep(0.05)

    def told(self, of: str | None = None) -> list[Short]:
        """Statuses and gaps since the last time, in short: (symbol, state) and (symbol, count of
        ids, state). `of` leaves other symbols out, but not the feed."""
        new, self._told = self.records[self._told :], len(self.records)
        shorts = [_short(each) for each in new if isinstance(each, Status | Gap)]
        return [each for each in shorts if of is None or each[0] in (of, "")]

    def take(self, record: Received) -> None:
        """Note what the client got."""
        self.records.append(record)
        self.books.apply(record)
        if self._keeper is not None:
            self.wrong_books += self._keeper.take(record)
        if isinstance(record, Status) and record.instrument is not None:
            self._states[record.instrument.symbol] = record.state
        if isinstance(record, Gap):
            count = record.last_id - record.first_id + 1
            self._missing += count if record.state is GapState.OPEN else -count

    @property
    def are_books_the_exchanges(self) -> bool:
        """Whether the best levels of all books are known, and are the exchange's now."""
        return all(map(self._is_the_exchanges, self.symbols))

    def _is_the_exchanges(self, symbol: str) -> bool:
        book, theirs = self.books[symbol], self.simulator.book(symbol, BEST_LEVELS)
        of = book.instrument
        if not book.is_known or of is None:
            return False
        ours = [
            [(of.price_decimal(price), of.quantity_decimal(size)) for price, size in levels]
            for levels in book.prices.levels(BEST_LEVELS)
        ]
        return ours == [
            [(Decimal(price), Decimal(size)) for price, size in levels]
            for levels in (theirs.bids, theirs.asks)
        ]

    @property
    def is_quiet(self) -> bool:
        """Whether all symbols are LIVE, and no gap is open."""
        return set(self._states.values()) == {FeedState.LIVE} and not self._missing

    def lost(self, symbol: str) -> int:
        return len(self.gap_ids(symbol, GapState.UNRECOVERABLE))

    @property
    def trades(self) -> list[Trade]:
        return [each for each in self.records if isinstance(each, Trade)]

    def gap_ids(self, symbol: str, *states: GapState) -> list[int]:
        return [
            trade_id
            for each in self.records
            if isinstance(each, Gap) and each.instrument.symbol == symbol and each.state in states
            for trade_id in range(each.first_id, each.last_id + 1)
        ]

    def account(self, *symbols: str, stream: Any = "trade") -> None:
        """Hold what was told against what was issued."""
        assert not [each for each in self.records if isinstance(each, Loss)]
        numbered = Trade | Gap | Status | Quote | BookUpdate | OrderUpdate
        for epoch in _epochs(self.records):
            seqs = [each.seq for each in epoch if isinstance(each, numbered) and each.seq]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        assert not self.wrong_books, self.wrong_books[0]
        of = symbols or self.symbols
        trades = [each for each in self.trades if each.symbol in of]
        assert not [fault for each in trades if (fault := self._market.fault_of(each))]
        for symbol in of:
            if self._has_ids:
                self._account(symbol, stream)
            else:
                self.hold(symbol)

    def hold(self, symbol: str) -> None:
        """Hold the trades of a symbol whose ids prove nothing against those that were issued."""
        received = [each.trade_id for each in self.trades if each.symbol == symbol]
        statuses = [each for each in self.records if isinstance(each, Status)]
        spans = [*spans_of(symbol, statuses)]
        sent = self._market.sent(symbol, received)
        fault = fault_of(sent, received, spans) or fault_of_spans(sent, received, spans)
        assert not fault, fault

    def _account(self, symbol: str, stream: Any) -> None:
        trades = Counter(each.trade_id for each in self.trades if each.symbol == symbol)
        opened = Counter(self.gap_ids(symbol, GapState.OPEN))
        filled = Counter(self.gap_ids(symbol, GapState.BACK_FILLED))
        unfilled = Counter(self.gap_ids(symbol, GapState.UNRECOVERABLE, GapState.NO_TRADE))
        for told in (trades, opened, filled + unfilled):
            assert max(told.values(), default=1) == 1, "nothing is told twice"
        assert opened == filled + unfilled, "what is opened is closed"
        assert not filled - trades, "what was filled has come"
        assert not unfilled & trades, "what was not has not"
        first, last = min(trades), max(trades)
        issued = {
            trade_id: each.kind
            for each in self.simulator.issued(symbol, stream=stream)
            for trade_id in range(each.first_id, each.last_id + 1)
            if first <= trade_id <= last
        }
        told_ids = set(trades) | set(unfilled)
        assert told_ids <= set(issued), "nothing is made up"
        nowhere = set(issued) - told_ids
        assert {issued[each] for each in nowhere} <= {SPENT}, "every id is somewhere"


def _epochs(records: Sequence[object]) -> list[list[object]]:
    """The records of each start of the service, up to its END."""
    ends = [place for place, each in enumerate(records, 1) if isinstance(each, End)]
    bounds = [0, *ends, len(records)]
    return [part for begin, end in pairwise(bounds) if (part := list(records[begin:end]))]


def _short(record: Status | Gap) -> Short:
    if isinstance(record, Gap):
        count = record.last_id - record.first_id + 1
        return record.instrument.symbol, count, record.state.name
    return record.instrument.symbol if record.instrument else "", record.state.name


@asynccontextmanager
async def playing(
    *faults: Fault,
    rate: float = 20,
    market: dict[str, Any] | None = None,
    assets: tuple[str, ...] = (),
    venue: str = "binance",
    data: tuple[str, ...] = ("trades",),
    count: int = 2,
    credentials: Credentials | None = None,
    checksums: bool = False,
    traded: tuple[str, ...] = (),
    away_s: float = 0,
    **feed: Any,
) -> AsyncIterator[Scene]:
    """A scene that has begun, with a trade of each symbol. `faults` are there from the start,
    `market` are fields of `SimulatorConfig`, and `feed` of `FeedConfig`. Without `assets` the
    symbols are the first `count` that the simulator has. Where most symbols are quiet, `traded`
    are those whose trades are waited for. With `away_s` a service has run before and ended, so long
    ago, and the scene's goes on from what a journal would have kept.

    At the end the service is stopped in good order, and the client reads to its END.
    """
    assets = assets or symbols_of(dialect_of(DIALECT_OF[venue]), count)
    fields: dict[str, Any] = {"dialect": DIALECT_OF[venue], "symbols": assets} | (market or {})
    config = SimulatorConfig(rate=rate, start_ns=BEGAN_NS, **fields)
    began_s = trio.current_time()

    def wall_ns() -> int:
        return BEGAN_NS + int((trio.current_time() - began_s) * 1e9)

    async with running_simulator(config) as simulator:
        for each in faults:
            simulator.faults.inject(each)
        service = one_source(
            venue=venue,
            assets=assets,
            data=data,
            credentials=credentials,
            checksums=checksums,
            transports=(TcpConfig(port=0),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
            feed=FeedConfig(**feed),
        )
        scene = Scene(simulator, venue, fields["symbols"], with_books="book" in data)
        begun = set(traded or fields["symbols"])
        if away_s:
            async with _serving(service, scene, wall_ns, KeptPast()):
                await scene.until(lambda: begun <= {each.symbol for each in scene.trades})
                await scene.until(lambda: scene.is_quiet)
            await trio.sleep(away_s)
        before = len(scene.trades)
        past = KeptPast(remembered(scene.records, *scene.symbols)) if away_s else None
        async with _serving(service, scene, wall_ns, past):
            await scene.until(lambda: begun <= {each.symbol for each in scene.trades[before:]})
            yield scene
    assert isinstance(scene.records[-1], End)


@asynccontextmanager
async def _serving(
    config: Config, scene: Scene, wall_ns: Callable[[], int], past: KeptPast | None
) -> AsyncIterator[None]:
    """A service, with a client that reads it to its END. `past` is what a journal has kept."""

    async def open_past(*_: object) -> PastOf | None:
        return None if past is None else lambda name: past

    with mock.patch.object(fanout.service, "open_past", open_past):
        async with (
            trio.open_nursery() as reading,
            running_service(config, wall_ns=wall_ns) as running,
        ):
            reading.start_soon(_read, running.url, scene)
            yield


async def _read(url: str, scene: Scene) -> None:
    async with TrioTcpClient(url, start="oldest") as client:
        async for record in client:
            scene.take(record)
            if isinstance(record, End):
                return
