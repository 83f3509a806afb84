"""Both captures through the service, the bridge and a real NATS server to a client; every trade
equal in id, time, price, quantity, side and kind, and every record equal to what TCP brings."""

import pytest
import trio

from fanout.clients.client import BlockingClient
from fanout.clients.nats import NatsClient
from fanout.clients.tcp import TcpClient
from fanout.protocol import Gap, Loss, Record, Status, Trade
from fanout.simulator import SimulatorConfig
from tests.captures import capture_path
from tests.fanout.cli.processes import started
from tests.stand.inside import config_for, running_service, running_simulator
from tests.stand.nats import NatsServer
from tests.test_end_to_end import NAMES, TRADES, facts_of, recorded


def taken(client: BlockingClient) -> list[Record]:
    """All numbered records up to the last trade."""
    records: list[Record] = []
    trades = 0
    with client:
        for record in client:
            if isinstance(record, Trade | Status | Gap | Loss):
                records.append(record)
                trades += isinstance(record, Trade)
            if trades == TRADES:
                break
    return records


@pytest.mark.long
async def test_both_captures_come_through_nats_record_for_record(shared_nats: NatsServer) -> None:
    expected = sorted((row for name in NAMES for row in recorded(name)), key=lambda row: row[0])
    prefix = shared_nats.new_prefix()
    market = SimulatorConfig(
        captures=tuple(capture_path(name) for name in NAMES), speed=None, hold=True
    )
    got: dict[str, list[Record]] = {}

    async def take(name: str, client: BlockingClient) -> None:
        got[name] = await trio.to_thread.run_sync(taken, client)

    with trio.fail_after(60):
        async with (
            running_simulator(market) as simulator,
            running_service(config_for(simulator)) as service,
        ):
            options = ("--url", shared_nats.url, "--prefix", prefix, "--max-bytes", "256MiB")
            with started("bridge", "nats", service.url, "--start", "oldest", *options) as bridge:
                await trio.to_thread.run_sync(bridge.until_said, "made stream")
                simulator.release()
                (begun,) = (line for line in bridge.said if "bridging" in line)
                url = f"{shared_nats.url}/{begun.split()[2]}"
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(take, "tcp", TcpClient(service.url, start="oldest"))
                    nats = NatsClient(url, start="oldest", prefix=prefix)
                    nursery.start_soon(take, "nats", nats)
    assert got["nats"] == got["tcp"]
    trades = [each for each in got["nats"] if isinstance(each, Trade)]
    for symbol in ("BTCUSDT", "ETHUSDT"):
        facts = [facts_of(each) for each in trades if each.symbol == symbol]
        assert facts == [row for _, row in expected if row[0] == symbol]
