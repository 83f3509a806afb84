"""A rival: trio-websocket and the standard library's `json`.

Its best: reads of 256 KiB in place of 4 KiB, for 4 %. A longer queue between its task and ours than
one message was tried and brings nothing: it hands out one at a time.
"""

import json
import sys

import trio
import trio_websocket

from tests.bench.ingest_rivals.ledger import Ledger
from tests.bench.ingest_rivals.timing import Watch
from tests.bench.ingest_rivals.workload import SUBSCRIBE

READ_BYTES = 256 * 1024


async def main(port: int, count: int) -> None:
    watch, ledger = Watch(), Ledger()
    async with trio_websocket.open_websocket_url(
        f"ws://127.0.0.1:{port}/public/stream",
        receive_buffer_size=READ_BYTES,
    ) as websocket:
        watch.start()
        await websocket.send_message(SUBSCRIBE)
        await websocket.get_message()
        for _ in range(count):
            row = json.loads(await websocket.get_message())["data"]
            ledger.take(row["s"], row["t"], row["T"], row["p"], row["q"], row["m"], row["X"])
        watch.stop()
    watch.report(ledger.log)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
