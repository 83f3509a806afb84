"""What one writes with trio at first: a task for each client, and a channel to each of them.

    python -m tests.bench.broadcast.task_server CLIENTS PIECES

It says on which port it listens, greets, and waits for a word and until all have come. Then every
block goes into every channel, and each client's task sends what it finds there. A channel that is
full is waited for. Sockets are tuned as fanout's are.
"""

import socket
import sys
from functools import partial
from pathlib import Path
from typing import Final

import trio

from fanout.transports.tcp.connection import SEND_BUFFER_BYTES, UNSENT_BYTES
from tests.bench.broadcast.blocks import read_pieces

ROOM: Final = 64
"""Blocks in a channel."""


class Server:
    """Hands blocks on to all who are connected."""

    def __init__(self, greeting: bytes) -> None:
        self._greeting = greeting
        self._channels: list[trio.MemorySendChannel[bytes]] = []
        self._arrivals = trio.lowlevel.ParkingLot()

    async def has_come(self, clients: int) -> None:
        """Wait until there are so many."""
        while len(self._channels) < clients:
            await self._arrivals.park()

    async def serve(self, stream: trio.SocketStream) -> None:
        """A client's task."""
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        await stream.send_all(self._greeting)
        send, receive = trio.open_memory_channel[bytes](ROOM)
        self._channels.append(send)
        self._arrivals.unpark_all()
        async for block in receive:
            await stream.send_all(block)

    async def broadcast(self, block: bytes) -> None:
        """Give a block to all, and them the time to send it."""
        for channel in self._channels:
            try:
                channel.send_nowait(block)
            except trio.WouldBlock:
                await channel.send(block)
        await trio.lowlevel.checkpoint()


async def listening(server: Server, *, task_status: trio.TaskStatus[int]) -> None:
    """Let clients in, for ever. Says on which port."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(server.serve, listeners)


async def main(clients: int, pieces: Path) -> None:
    blocks = read_pieces(pieces)
    server = Server(greeting=b"\n")
    async with trio.open_nursery() as nursery:
        print(await nursery.start(listening, server), flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        await server.has_come(clients)
        for block in blocks:
            await server.broadcast(block)


if __name__ == "__main__":
    trio.run(partial(main, int(sys.argv[1]), Path(sys.argv[2])))
