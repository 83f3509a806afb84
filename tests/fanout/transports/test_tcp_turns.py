import trio
import trio.testing

from fanout.transports.tcp.broadcaster import Broadcaster
from fanout.transports.tcp.config import TcpConfig
from fanout.transports.tcp.transport import TcpTransport
from fanout.transports.tcp.turns import REPLAY_S, Turns
from tests.stand.channels import new_channel


async def test_clients_that_replay_have_a_third_of_the_time_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    turns = Turns()
    broadcasters = [Broadcaster(piece_bytes=100, turns=turns) for _ in range(3)]
    begun: list[float] = []

    def send() -> None:
        begun.append(round(trio.current_time() * 1e4))
        autojump_clock.jump(REPLAY_S / 2)  # the send takes so long

    async with trio.open_nursery() as nursery:
        for each in 2 * broadcasters:
            nursery.start_soon(each.turns.replay, send)
    assert [later - begun[0] for later in begun] == [0, 5, 30, 35, 60, 65]
    assert not turns.one.locked()


def test_all_channels_of_a_transport_share_these_turns() -> None:
    transport = TcpTransport(TcpConfig(port=0))
    outlets = transport._outlets([new_channel(name="first"), new_channel(name="second")])
    assert len({id(each.broadcaster.turns) for each in outlets}) == 1
    assert len(outlets) == 2
