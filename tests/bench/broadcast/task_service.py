"""What one writes with trio at first: a task that reads the venue, and one for each client.

    python -m tests.bench.broadcast.task_service VENUE_PORT CLIENTS

The venue is read, parsed and put into blocks by fanout's own code, without its feed around it: no
merging, no watching, no log. Each block goes into each client's channel, as in `task_server`. It
says on which port it listens, and "ready" once all clients are there.
"""

import sys

import trio

from fanout.feed.normalise import to_trade
from fanout.net.websocket import Burst, open_websocket
from fanout.protocol import (
    MAX_BLOCK_TRADES,
    START,
    Block,
    Header,
    Trade,
    encode_block,
    frame,
    opening,
)
from fanout.venues import BinanceUsdm
from fanout.venues.values import VenueTrade
from tests.bench.broadcast.market import asked, venue_at
from tests.bench.broadcast.task_server import Server, listening
from tests.bench.market import SYMBOLS


class Encoder:
    """Bursts in, blocks out, numbered."""

    def __init__(self, venue: BinanceUsdm, header: Header) -> None:
        self._venue = venue
        self._header = header
        self._instruments = {each.symbol: each for each in header.instruments}
        self._next_seq = 1

    def blocks(self, burst: Burst) -> bytes:
        """Frames with what a burst brought; empty if that is no trade."""
        items = map(self._venue.parse, burst.messages)
        trades = [
            to_trade(each, self._instruments[each.symbol])
            for each in items
            if isinstance(each, VenueTrade)
        ]
        runs = (trades[i : i + MAX_BLOCK_TRADES] for i in range(0, len(trades), MAX_BLOCK_TRADES))
        return b"".join(self._block(run, burst.received_ns) for run in runs)

    def _block(self, trades: list[Trade], received_ns: int) -> bytes:
        block = Block(first_seq=self._next_seq, trades=trades, received_ns=received_ns)
        self._next_seq += len(trades)
        return frame(encode_block(block, self._header))


async def main(venue_port: int, clients: int) -> None:
    venue = venue_at(venue_port)
    _, _, header = await asked(venue)
    encoder = Encoder(venue, header)
    server = Server(greeting=frame(START) + opening(header))
    async with trio.open_nursery() as nursery, open_websocket(venue.stream_url()) as websocket:
        print(await nursery.start(listening, server), flush=True)
        for text in venue.subscriptions(SYMBOLS):
            await websocket.send(text)
        await server.has_come(clients)
        print("ready", flush=True)
        while True:
            blocks = encoder.blocks(await websocket.receive())
            if blocks:
                await server.broadcast(blocks)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
