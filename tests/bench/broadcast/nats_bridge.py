"""From a venue to nats-server: what one read brought goes on as it came, in one write.

    python -m tests.bench.broadcast.nats_bridge VENUE_PORT NATS_PORT trade|burst

Each trade is a message of its own, or all of a burst are lines of one. The venue is read by
fanout's own code, and nothing is parsed: that is left to the subscribers, which is to the bridge's
advantage. It says "ready" once the venue was asked for trades.
"""

import sys

import trio

from fanout.net.websocket import open_websocket
from tests.bench.broadcast.brokers import NATS
from tests.bench.broadcast.market import venue_at
from tests.bench.ingest_rivals.workload import ANSWER
from tests.bench.market import SYMBOLS


def payloads_of(texts: list[bytes], unit: str) -> list[bytes]:
    """What is published of these."""
    return texts if unit == "trade" else [b"\n".join(texts)]


async def main(venue_port: int, nats_port: int, unit: str) -> None:
    venue = venue_at(venue_port)
    stream = await trio.open_tcp_stream("127.0.0.1", nats_port)
    await stream.send_all(NATS.opening)
    async with open_websocket(venue.stream_url()) as websocket:
        for text in venue.subscriptions(SYMBOLS):
            await websocket.send(text)
        print("ready", flush=True)
        while True:
            burst = await websocket.receive()
            texts = [each for each in burst.messages if each != ANSWER]
            if texts:
                await stream.send_all(b"".join(map(NATS.publish, payloads_of(texts, unit))))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
