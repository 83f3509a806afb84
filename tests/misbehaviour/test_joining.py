"""What a reader gets that joins before the first trade, where the exchange's REST is ahead of its
stream: no trade before its turn and then again.

REST has shown five trades when the service starts. The stream then brings those five, late, and
more. What precedes the snapshot is left out of the channel, in either wire.
"""

import trio
from trio.testing import MockClock

from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import Snapshot, Trade
from fanout.simulator import Simulator, SimulatorConfig
from fanout.simulator.faults import Delay, Insert
from fanout.simulator.market.ticks import MARKET
from fanout.transports.tcp.config import TcpConfig
from tests.fanout.transports.test_tcp_wire1 import old_client
from tests.misbehaviour.scene import BTC
from tests.stand.inside import one_source, running_service, running_simulator

SHOWN, FOLLOWING = 5, 8


def trade(simulator: Simulator, numbers: range) -> None:
    """A trade for each number, with a price that rises with it."""
    for number in numbers:
        simulator.faults.inject(Insert(BTC, MARKET, away=number / 1_000))


def begin(simulator: Simulator) -> int:
    """The id of the newest trade of those that REST shows and the stream has yet to bring."""
    simulator.faults.inject(Delay(BTC, count=2 * SHOWN, by=SHOWN))
    trade(simulator, range(SHOWN))
    return simulator.issued(BTC)[-1].last_id


async def go_on(simulator: Simulator) -> None:
    """The stream brings what REST has shown, and as many new trades as are to follow."""
    await simulator._exchange._streams.audience()
    trade(simulator, range(SHOWN, 2 * SHOWN))
    simulator.faults.clear()
    trade(simulator, range(2 * SHOWN, SHOWN + FOLLOWING))


async def test_in_wire_2_a_client_continues_after_the_snapshot(
    autojump_clock: MockClock,
) -> None:
    ids: list[int] = []
    async with running_simulator(SimulatorConfig(symbols=(BTC,), hold=True)) as simulator:
        newest = begin(simulator)
        config = one_source(
            assets=(BTC,),
            transports=(TcpConfig(port=0),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
        )
        async with running_service(config) as service, TrioTcpClient(service.url) as client:
            first = await anext(client)
            assert isinstance(first, Snapshot)
            assert [each.trade_id for each in first.trades] == [newest]
            await go_on(simulator)
            with trio.fail_after(60):
                while len(ids) < FOLLOWING:
                    record = await anext(client)
                    ids += [record.trade_id] if isinstance(record, Trade) else []
    assert ids == list(range(newest + 1, newest + 1 + FOLLOWING))


async def test_in_wire_1_no_trade_comes_twice(autojump_clock: MockClock) -> None:
    async with running_simulator(SimulatorConfig(symbols=(BTC,), hold=True)) as simulator:
        begin(simulator)
        config = one_source(
            assets=(BTC,),
            transports=(TcpConfig(port=0, wire=1),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
        )
        async with running_service(config) as service, old_client(service.url) as client:
            with trio.fail_after(60):
                await client.until(1)
                await go_on(simulator)
                await client.until(1 + FOLLOWING)
        prices = [each.price for each in client.trades]
    assert len(prices) == 1 + FOLLOWING
    assert prices == sorted(set(prices))
