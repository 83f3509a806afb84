"""Channels without a venue: a test publishes what it likes, and a transport serves it."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from fanout.channel.channel import Channel
from fanout.channel.past import Past
from fanout.protocol import EndReason, FeedState, Header, Trade
from fanout.transports.base import Transport
from tests.protocol.golden import BTC, HEADER


def new_channel(
    log_bytes: int = 50_000_000, *, name: str = "", wall_ns: int = 0, past: Past | None = None
) -> Channel:
    """A channel of the golden instruments, on a clock that stands still."""
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue="test",
        channel=name,
        instruments=HEADER.instruments,
        references=HEADER.references,
    )
    return Channel(header, log_bytes=log_bytes, wall_ns=lambda: wall_ns, past=past)


def publish(channel: Channel, first_id: int, count: int = 1) -> None:
    """Publish a block of trades."""
    trades = [Trade(BTC, first_id + i, 5, 6, 7, False) for i in range(count)]
    channel.publish(trades, received_ns=1, held_ns=1)


def publish_bulk(channel: Channel, size_bytes: int) -> None:
    """Publish the longest events there are, up to a size: quicker than trades."""
    for _ in range(size_bytes // 280):
        channel.publish_status(None, FeedState.DOWN, "x" * 255)


@asynccontextmanager
async def serving(
    channels: Channel | Sequence[Channel], transport: Transport, *, within_s: float = math.inf
) -> AsyncIterator[str]:
    """The transport's URL, once it serves. At the end the channels end in good order, unless they
    have, and the transport delivers what is left."""
    channels = [channels] if isinstance(channels, Channel) else channels
    with trio.fail_after(within_s):
        async with trio.open_nursery() as nursery:
            yield await nursery.start(transport.run, channels)
            for channel in channels:
                if not channel.log.closed:
                    channel.end(EndReason.SHUTDOWN, retry_ms=1, why="the test is over")
