"""The service of the stage multicast: a channel that publishes a block a millisecond, by one
transport. It says its address, begins when it is told to, and says what that cost."""

import json
import os
import resource
import sys
import time

import trio

from fanout.channel.channel import Channel
from fanout.protocol import Trade
from fanout.transports.base import Transport, longest_frame_of
from fanout.transports.multicast import MulticastConfig, MulticastTransport
from fanout.transports.tcp import TcpConfig, TcpTransport
from tests.protocol.golden import BTC
from tests.stand.channels import new_channel

BLOCK_TRADES = 16
PERIOD_S = 0.001


def transport_of(name: str, group: str) -> Transport | None:
    if name == "no transport":
        return None
    if name == "tcp":
        return TcpTransport(TcpConfig(port=0))
    return MulticastTransport(MulticastConfig(group=group, interface="127.0.0.1", snapshot_s=0))


async def serve(name: str, group: str, blocks: int) -> None:
    transport = transport_of(name, group)
    channel = Channel(
        new_channel().header,
        log_bytes=10**8,
        wall_ns=time.time_ns,
        longest_frame_bytes=longest_frame_of([transport] if transport else []),
    )
    async with trio.open_nursery() as nursery:
        url = await nursery.start(transport.run, [channel]) if transport else name
        print(url, flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        began_s = cpu_s()
        due_s = trio.current_time()
        for block in range(blocks):
            due_s += PERIOD_S
            await trio.sleep_until(due_s)
            first = block * BLOCK_TRADES
            trades = [Trade(BTC, first + each, 5, 6, 7, False) for each in range(BLOCK_TRADES)]
            channel.publish(trades, received_ns=time.time_ns(), held_ns=0)
        await trio.sleep(0.05)
        print(json.dumps(cpu_s() - began_s), flush=True)
        sys.stdout.flush()
        os._exit(0)


def cpu_s() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], sys.argv[2], int(sys.argv[3]))
