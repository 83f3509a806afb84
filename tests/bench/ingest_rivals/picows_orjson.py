"""A rival: picows and orjson, under asyncio.

Both are compiled, and there is no task between them: picows calls its listener for each frame,
which is read where it lies, without a copy. Its read buffer is as large as the service's, 256 KiB
in place of 16 KiB; it grows by itself, and the size does not tell.
"""

import asyncio
import sys
from typing import Any

import orjson
import picows

from tests.bench.ingest_rivals.ledger import Ledger
from tests.bench.ingest_rivals.timing import Watch
from tests.bench.ingest_rivals.workload import SUBSCRIBE

READ_BYTES = 256 * 1024


class Listener(picows.WSListener):
    """Takes `count` trades and disconnects."""

    def __init__(self, count: int) -> None:
        self.watch, self.ledger = Watch(), Ledger()
        self._count = count
        self._is_answered = False

    def on_ws_connected(self, transport: Any) -> None:
        self.watch.start()
        transport.send(picows.WSMsgType.TEXT, SUBSCRIBE.encode())

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if not self._is_answered:
            self._is_answered = True
            return
        row = orjson.loads(frame.get_payload_as_memoryview())["data"]
        ledger = self.ledger
        ledger.take(row["s"], row["t"], row["T"], row["p"], row["q"], row["m"], row["X"])
        if len(ledger.log) == self._count:
            self.watch.stop()
            transport.disconnect()


async def main(port: int, count: int) -> None:
    listener = Listener(count)
    transport, _ = await picows.ws_connect(
        lambda: listener,
        f"ws://127.0.0.1:{port}/public/stream",
        read_buffer_init_size=READ_BYTES,
    )
    await transport.wait_disconnected()
    listener.watch.report(listener.ledger.log)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
