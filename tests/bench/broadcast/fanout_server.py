"""The TCP transport on a real log, given blocks that are made already.

    python -m tests.bench.broadcast.fanout_server CLIENTS PIECES TRADES

It says on which port it listens, and waits for a word and until all have joined. Then a block is
appended and handed on, as a live feed does it, and who could not take it is waited for, so that
nobody ever misses a block. Each block comes in a pass of the scheduler of its own, like each read
of a socket.
"""

import sys
from pathlib import Path
from typing import Final

import trio

from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.config import TcpConfig
from tests.bench.broadcast.blocks import new_publisher, read_pieces

ANY_RATE: Final = 1e6
"""Of accepting: it is not what is measured."""

LOOK_S: Final = 0.005


async def all_joined(transport: TcpTransport, clients: int) -> None:
    """Wait until the data of so many has begun."""
    while True:
        if len(transport.stats().consumers) == clients:
            return
        await trio.sleep(LOOK_S)


async def main(clients: int, path: str, trades: int) -> None:
    frames = read_pieces(Path(path))
    publisher = new_publisher([])
    config = TcpConfig(port=0, max_clients=clients, accept_rate=ANY_RATE)
    transport = TcpTransport(config)
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(transport.run, [publisher])
        print(url.rpartition(":")[2], flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        await all_joined(transport, clients)
        log, (broadcaster,) = publisher.log, transport.broadcasters
        for frame in frames:
            log.append(frame, count=trades)
            log.hand_on()
            await trio.lowlevel.checkpoint()
            while broadcaster.delivered != log.end or broadcaster.behind:
                await trio.lowlevel.checkpoint()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
