"""A service with a journal is started again, and a client goes on where it was. What the exchange
traded in between comes first. All of it is real: the service, the files, the sockets. The exchange
is the simulator."""

from collections.abc import Callable
from pathlib import Path

import trio
from msgspec.structs import replace

from fanout.clients.outcomes import Received, Restarted
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config import Config
from fanout.protocol import End, Gap, GapState, Loss, Position, Trade
from fanout.protocol.constants import EndReason
from fanout.simulator import SimulatorConfig
from fanout.transports.journal.config import JournalConfig
from fanout.transports.tcp.config import TcpConfig
from tests.stand.inside import config_for, running_service, running_simulator

Reading = tuple[list[Received], Position]
"""What a client got, and the position behind it."""


async def read(url: str, start: Position | str) -> Reading:
    """Read ten trades, and what comes between them."""
    return await read_until(url, start, lambda found: len(trade_ids(found)) == 10)


async def read_until(
    url: str, start: Position | str, is_enough: Callable[[list[Received]], bool]
) -> Reading:
    found: list[Received] = []
    async with TrioTcpClient(url, start=start) as client:
        async for record in client:
            found.append(record)
            if is_enough(found):
                break
        assert client.position is not None
        return found, client.position


def has_filled_a_gap(found: list[Received]) -> bool:
    return isinstance(found[-1], Gap) and found[-1].state is GapState.BACK_FILLED


def trade_ids(records: list[Received]) -> list[int]:
    return [each.trade_id for each in records if isinstance(each, Trade)]


async def test_a_client_goes_on_over_a_restart(tmp_path: Path) -> None:
    with trio.fail_after(30):
        market = SimulatorConfig(symbols=("BTCUSDT",), rate=400.0)
        async with running_simulator(market) as simulator:
            config: Config = replace(
                config_for(simulator, "BTCUSDT"),
                transports=(TcpConfig(port=0), JournalConfig(dir=str(tmp_path))),
            )
            async with running_service(config) as service:
                first, position = await read(service.url, "oldest")
                # These, and what comes until the service has ended, are only in the journal.
                missed, _ = await read(service.url, position)
            async with running_service(config) as service:
                found, after = await read_until(service.url, position, has_filled_a_gap)
    (end,) = [each for each in found if isinstance(each, End)]
    (restarted,) = [each for each in found if isinstance(each, Restarted)]
    assert end.reason is EndReason.EPOCH_OVER
    assert restarted.before == Position(epoch_ns=position.epoch_ns, seq=end.last_seq + 1)
    assert not any(isinstance(each, Loss) for each in found)
    border = found.index(restarted)
    assert found[: len(missed)] == missed
    assert found.index(end) == end.last_seq + 1 - position.seq, "every number came"
    opened, filled = found[border + 1], found[-1]
    assert isinstance(opened, Gap)
    assert isinstance(filled, Gap)
    assert (opened.seq, opened.why) == (1, "the service was not running")
    assert after == Position(epoch_ns=restarted.epoch_ns, seq=len(found) - border)
    ids = trade_ids([*first, *found])
    assert len(set(ids)) == len(ids)
    assert {*range(ids[0], filled.last_id + 1)} <= {*ids}, "no trade is missing"
