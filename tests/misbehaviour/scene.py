"""A simulator, a service and a TCP client in one process, over real sockets and on a virtual clock.

The records that the client got are held against what the simulator says it issued. From the first
trade that the client got on, every id of every symbol was a trade, or reported as missing and then
as what became of it, or used by the venue without a trade. None came twice, and none was made up.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config import FeedConfig
from fanout.protocol import End, Gap, GapState, Loss, Status, Trade
from fanout.simulator import Simulator, SimulatorConfig
from fanout.simulator.faults import Fault
from fanout.transports.tcp.config import TcpConfig
from tests.stand.inside import one_source, running_service, running_simulator

BEGAN_NS = 1_790_000_000_000_000_000
BTC, ETH = "BTCUSDT", "ETHUSDT"

DIALECT_OF = {
    "binance": "binance-usdm",
    "binance-spot": "binance-spot",
}
"""By venue of the service, the simulator's dialect. Scenes that make sense at both run at both."""

SPENT = "NA"
"""The kind of the ids that the exchange spends without a trade."""


Short = tuple[str, str] | tuple[str, int, str]


class Scene:
    """What happens, and what a client has been told of it so far."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.inject = simulator.faults.inject
        self.records: list[object] = []
        self._told = 0

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
        seqs = [each.seq for each in self.records if isinstance(each, Trade | Gap | Status)]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        for symbol in symbols:
            self._account(symbol, stream)

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
    assets: tuple[str, ...] = (BTC, ETH),
    venue: str = "binance",
    **feed: Any,
) -> AsyncIterator[Scene]:
    """A scene that has begun, with a trade of each symbol. `faults` are there from the start,
    `market` are fields of `SimulatorConfig`, and `feed` of `FeedConfig`.

    At the end the service is stopped in good order, and the client reads to its END.
    """
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
            transports=(TcpConfig(port=0),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
            feed=FeedConfig(**feed),
        )
        async with (
            trio.open_nursery() as reading,
            running_service(service, wall_ns=wall_ns) as running,
        ):
            scene = Scene(simulator)
            reading.start_soon(_read, running.url, scene)
            await scene.until(
                lambda: {each.symbol for each in scene.trades} == set(fields["symbols"])
            )
            yield scene
    assert isinstance(scene.records[-1], End)


async def _read(url: str, scene: Scene) -> None:
    async with TrioTcpClient(url, start="oldest") as client:
        async for record in client:
            scene.records.append(record)
            if isinstance(record, End):
                return
