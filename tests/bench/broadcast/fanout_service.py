"""fanout whole: WebSocket, feed, publisher, log, TCP transport.

    python -m tests.bench.broadcast.fanout_service VENUE_PORT CLIENTS [JOURNAL]

Put together as `fanout.service` does it, with everything that runs beside the stream; only REST is
a stand-in that answers from memory. With a directory, it keeps a journal there. It says on which
port it listens, and "ready" once all clients have joined.
"""

import gc
import sys
import time
from contextlib import AsyncExitStack

import trio

from fanout.channel.channel import Channel
from fanout.config import DEFAULT_LOG_BYTES, FeedConfig
from fanout.feed import Feed
from fanout.net.websocket import open_websocket
from fanout.stats.anomalies import Anomalies
from fanout.transports.journal.config import JournalConfig
from fanout.transports.journal.transport import JournalTransport
from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.config import TcpConfig
from tests.bench.broadcast.fanout_server import ANY_RATE, all_joined
from tests.bench.broadcast.market import asked, venue_at


async def main(venue_port: int, clients: int, folder: str = "") -> None:
    venue = venue_at(venue_port)
    rest, market, header = await asked(venue)
    publisher = Channel(header, log_bytes=DEFAULT_LOG_BYTES, wall_ns=time.time_ns)
    publisher.seed(market.newest)
    anomalies = Anomalies(clock=trio.current_time)
    feed = Feed(venue, market, publisher, rest, anomalies, FeedConfig(), connect=open_websocket)
    transport = TcpTransport(TcpConfig(port=0, accept_rate=ANY_RATE))
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        if folder:
            journal = JournalTransport(JournalConfig(dir=folder))
            await stack.enter_async_context(journal.opened())
            await nursery.start(journal.run, [publisher])
        url: str = await nursery.start(transport.run, [publisher])
        print(url.rpartition(":")[2], flush=True)
        gc.collect()
        gc.freeze()  # as the command does it
        nursery.start_soon(feed.run)
        await all_joined(transport, clients)
        print("ready", flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
