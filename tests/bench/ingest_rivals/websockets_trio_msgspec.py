"""A rival: `websockets.trio` and msgspec's typed structs.

Its best: messages as the bytes they are, which msgspec reads, a queue of 1,024 in place of 16, and
neither compression nor keep-alive. Without any bound to the queue it is 2 % faster.
"""

import sys

import msgspec
import trio
from websockets.trio.client import connect

from tests.bench.ingest_rivals.ledger import Ledger
from tests.bench.ingest_rivals.timing import Watch
from tests.bench.ingest_rivals.workload import SUBSCRIBE

QUEUE_MESSAGES = 1_024


class Row(msgspec.Struct, gc=False):
    s: str
    t: int
    T: int
    p: str
    q: str
    X: str
    m: bool


class Envelope(msgspec.Struct, gc=False):
    data: Row


async def main(port: int, count: int) -> None:
    watch, ledger = Watch(), Ledger()
    decode = msgspec.json.Decoder(Envelope).decode
    async with connect(
        f"ws://127.0.0.1:{port}/public/stream",
        proxy=None,
        compression=None,
        ping_interval=None,
        max_queue=QUEUE_MESSAGES,
    ) as websocket:
        watch.start()
        await websocket.send(SUBSCRIBE)
        await websocket.recv(decode=False)
        for _ in range(count):
            row = decode(await websocket.recv(decode=False)).data
            ledger.take(row.s, row.t, row.T, row.p, row.q, row.m, row.X)
        watch.stop()
    watch.report(ledger.log)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
