"""Where network faults are tried: simulator, service and consumers in one process, over real
sockets, with a proxy on each leg.

    simulator -- stream, rest --> service -- way --> consumers of each kind
                                     '-------------> a witness, whom none of it concerns
"""

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import trio

from fanout.config import FeedConfig
from fanout.protocol import FeedState, Gap, GapState, LossReason, Status
from fanout.simulator import Simulator, SimulatorConfig
from fanout.transports.tcp.config import TcpConfig
from tests.stand.consumers import Consumer, TrioConsumer, all_kinds
from tests.stand.exchange import Market
from tests.stand.inside import one_source, running_service, running_simulator
from tests.stand.oracle import Oracle
from tests.stand.proxy import Proxy, proxying, secured

BTC: Final = "BTCUSDT"
ETH: Final = "ETHUSDT"
PATIENCE_S: Final = 30.0
IDLE_S: Final = 1.5
"""After which the consumers of a scene take a silent connection for lost: a heartbeat comes each
second."""


class Scene:
    """What is there, and who reads."""

    def __init__(self, simulator: Simulator, oracle: Oracle) -> None:
        self.simulator = simulator
        self.oracle = oracle
        self.way: Proxy
        """Between the service and the consumers."""
        self.stream: Proxy
        """Between the exchange's WebSocket and the service."""
        self.rest: Proxy
        self.witness: Consumer
        self.consumers: Sequence[Consumer] = ()

    @property
    def all(self) -> list[Consumer]:
        return [self.witness, *self.consumers]

    async def until(self, condition: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
        with trio.fail_after(within_s):
            while not condition():  # noqa: ASYNC110  real sockets, no event to wait for
                await trio.sleep(0.02)

    async def until_all(self, condition: Callable[[Consumer], bool]) -> None:
        await self.until(lambda: all(map(condition, self.consumers)))

    async def until_level(self) -> None:
        """Until every consumer has come to where the witness is now."""
        seq = self.witness.reader.due or 0
        await self.until_all(lambda each: each.is_over or (each.reader.due or 0) > seq)

    async def more_trades(self, count: int = 20) -> None:
        """Until so many more trades have been published."""
        trades = self.witness.reader.trades + count
        await self.until(lambda: self.witness.reader.trades >= trades)

    async def quiet(self) -> None:
        """Until nothing has been published for a while, and everybody has everything."""
        due = -1
        while due != self.witness.reader.due:
            due = self.witness.reader.due or 0
            await trio.sleep(0.3)
        await self.until_all(lambda each: each.reader.due == due)

    @property
    def states(self) -> list[tuple[str, str]]:
        """What the witness was told of symbols and of the feed."""
        told = (each for _, each in self.witness.reader.told if isinstance(each, Status))
        return [
            (each.instrument.symbol if each.instrument else "", each.state.name) for each in told
        ]

    def told_at(self, state: FeedState, *, after_s: float) -> float:
        """When the witness was told that the feed, or a symbol, is in this state."""
        times = (
            at_s
            for at_s, each in self.witness.reader.told
            if isinstance(each, Status) and each.state is state and at_s >= after_s
        )
        return next(times, float("inf"))

    def gap_ids(self, *states: GapState) -> int:
        return sum(
            each.last_id - each.first_id + 1
            for _, each in self.witness.reader.told
            if isinstance(each, Gap) and each.state in states
        )

    def losses(self) -> set[LossReason]:
        return {reason for each in self.consumers for reason in each.reader.losses}


@asynccontextmanager
async def playing(
    *,
    consume: Callable[..., Sequence[Consumer]] = all_kinds,
    rate: float = 200,
    tcp: dict[str, Any] | None = None,
    log_bytes: int = 16 * 1024 * 1024,
    client: dict[str, Any] | None = None,
    wall_ns: Callable[[], int] | None = None,
    simulated: dict[str, Any] | None = None,
    tls: ssl.SSLContext | None = None,
    **feed: Any,
) -> AsyncIterator[Scene]:
    """A scene that has begun: everybody has trades of both symbols. At the end all faults are over,
    everybody has caught up, the service ends in good order, and the oracle has no complaint. With
    `tls` the exchange speaks that.
    """
    config = SimulatorConfig(symbols=(BTC, ETH), rate=rate, hold=True, **(simulated or {}))
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        simulator = await enter(running_simulator(config))
        scene = Scene(simulator, Oracle(Market(simulator, BTC, ETH)))
        url = await enter(secured(simulator.ws_url, tls)) if tls else simulator.ws_url
        scene.stream, scene.rest = await enter(proxying(url)), await enter(proxying(url))
        service = one_source(
            assets=(BTC, ETH),
            transports=(TcpConfig(port=0, **(tcp or {})),),
            ws_url=scene.stream.url("wss" if tls else "ws"),
            rest_url=scene.rest.url("https" if tls else "http"),
            log_bytes=log_bytes,
            feed=FeedConfig(**feed),
        )
        options = {"wall_ns": wall_ns} if wall_ns else {}
        running = await enter(running_service(service, **options))
        scene.way = await enter(proxying(running.url))
        async with trio.open_nursery() as nursery:
            scene.witness = TrioConsumer(
                scene.oracle, "witness", running.url, is_concerned=False, start="oldest"
            )
            tastes = {"idle_timeout_s": IDLE_S, "start": "oldest", **(client or {})}
            scene.consumers = consume(scene.oracle, scene.way.url("tcp"), **tastes)
            for each in scene.all:
                nursery.start_soon(each.run)
            simulator.release()
            await scene.until(lambda: all(each.reader.trades > 10 for each in scene.all))
            yield scene
            for proxy in (scene.way, scene.stream, scene.rest):
                proxy.clear()
            await scene.until_level()
            running.stop.set()
            with trio.fail_after(PATIENCE_S):
                for each in scene.all:
                    while not each.is_over:  # noqa: ASYNC110  threads
                        await trio.sleep(0.02)
    _judge(scene)


def _judge(scene: Scene) -> None:
    for each in scene.all:
        if each.refusal is None:
            each.reader.require_goodbye()
    scene.oracle.book(scene.witness.reader.epoch_ns).account()
    scene.oracle.check()
