"""What one writes in an afternoon: each trade is a JSON message, by nats-py.

    python -m tests.bench.nats_parts.json_bridge SERVICE SERVER SUBJECT awaited|window

`awaited` waits for each acknowledgement before it publishes the next trade. `window` lets as many
be under way as `fanout bridge nats` does. Nothing is done about a message that fails.
"""

import asyncio
import sys

import msgspec
import nats

from fanout.bridge.nats.publisher import WINDOW
from fanout.clients.tcp_asyncio import AsyncioTcpClient
from fanout.protocol import Trade

_encode = msgspec.json.Encoder().encode


def text_of(trade: Trade) -> bytes:
    return _encode(
        {
            "seq": trade.seq,
            "symbol": trade.symbol,
            "trade_id": trade.trade_id,
            "time_ms": trade.time_ms,
            "price": trade.price_text,
            "quantity": trade.quantity_text,
            "buyer_is_maker": trade.buyer_is_maker,
            "received_ns": trade.received_ns,
        }
    )


async def main(service: str, server: str, subject: str, how: str) -> None:
    connection = await nats.connect(server)
    context = connection.jetstream(publish_async_max_pending=WINDOW)
    publish = context.publish if how == "awaited" else context.publish_async
    async with AsyncioTcpClient(service, start="oldest") as client:
        async for record in client:
            if isinstance(record, Trade):
                await publish(subject, text_of(record))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
