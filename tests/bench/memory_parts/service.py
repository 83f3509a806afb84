"""What is measured: a service as `fanout.service` puts it together, whose publisher is also fed by
hand.

    python -m tests.bench.memory_parts.service VENUE_PORT LOG_BYTES

Prints its port when the feed is live. Told to `publish N`, it does so until N more trades are in
the log, the feed's among them. Told to `look`, it waits until its clients are gone and says what it
sees of itself. It ends with its input.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from heapq import merge
from itertools import count, groupby
from typing import Any, Final, cast

import trio

from fanout.channel.channel import Channel
from fanout.clients.tcp_client import parse_address
from fanout.config import FeedConfig
from fanout.feed import Feed
from fanout.feed.market import Market, ask_market
from fanout.feed.normalise import to_trade
from fanout.net.rest import RestClient
from fanout.net.websocket import open_websocket
from fanout.protocol import Header, Trade
from fanout.stats.anomalies import Anomalies
from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.config import TcpConfig
from fanout.venues import BinanceUsdm
from fanout.venues.values import VenueTrade
from tests.bench.ingest_rivals.fanout_feed import Rest
from tests.bench.market import SYMBOLS, frames
from tests.bench.memory_parts.dialogue import limit_life, say

PASS_TRADES: Final = 256
"""Trades that are published before others have their turn, in blocks of their own each."""

NS_PER_MS: Final = 1_000_000
SETTLE_S: Final = 20.0
"""How long clients that have gone may take to be forgotten."""


class Service:
    """Feed, publisher and transport, while they run."""

    def __init__(self, venue: BinanceUsdm, market: Market, log_bytes: int) -> None:
        header = Header(
            epoch_ns=time.time_ns(),
            next_seq=1,
            venue=venue.name,
            instruments=market.instruments,
            references=market.references,
        )
        self.publisher = Channel(header, log_bytes=log_bytes, wall_ns=time.time_ns)
        self.publisher.seed(market.newest)
        self.transport = TcpTransport(TcpConfig(port=0))
        self.feed = Feed(
            venue,
            market,
            self.publisher,
            cast(RestClient, Rest()),
            Anomalies(clock=trio.current_time),
            FeedConfig(),
            connect=open_websocket,
        )
        self._blocks = blocks_for_ever(market)
        self._alone: tuple[int, int] | None = None

    async def live(self) -> None:
        """Until the feed has brought something."""
        while not self.publisher.trades:
            await self.publisher.log.wait_beyond(self.publisher.log.end)

    async def publish(self, trades: int) -> int:
        """So many more. Gives how many there are in all."""
        publisher = self.publisher
        until = publisher.trades + trades
        while publisher.trades < until:
            rest = publisher.trades + PASS_TRADES
            while publisher.trades < rest:
                publisher.publish(next(self._blocks), received_ns=time.time_ns(), held_ns=0)
            await trio.lowlevel.checkpoint()
        return publisher.trades

    async def look(self) -> dict[str, int]:
        """Once everything is as it was when it was looked for the first time, or does not become
        so."""
        self._alone = self._alone or traces()
        with trio.move_on_after(SETTLE_S):
            while self.transport.client_count or traces() != self._alone:  # noqa: ASYNC110
                await trio.sleep(0.01)  # real sockets, no event to wait for
        descriptors, tasks = traces()
        log = self.publisher.log
        return {
            "trades": self.publisher.trades,
            "from_feed": self.feed.stats().messages - 1,
            "accepted": self.transport.arrived,
            "present": self.transport.client_count,
            "evicted": log.oldest,
            "log_bytes": log.size_bytes,
            "descriptors": descriptors,
            "tasks": tasks,
        }


def traces() -> tuple[int, int]:
    """What clients could leave behind: open descriptors, and tasks."""
    return len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living


def blocks_for_ever(market: Market) -> Iterator[list[Trade]]:
    """The recording, again and again, as it was received: what came in one millisecond is a block.
    Ids and times go on."""
    blocks = recorded_blocks(market)
    ids = sum(map(len, blocks))
    span_ms = blocks[-1][-1].time - blocks[0][0].time + 1
    for number in count():
        for block in blocks:
            yield [shifted(each, number * ids, number * span_ms) for each in block]


def recorded_blocks(market: Market) -> list[list[Trade]]:
    parse, instruments = BinanceUsdm().parse, {each.symbol: each for each in market.instruments}
    rows = merge(*map(frames, SYMBOLS))
    blocks = []
    for _, together in groupby(rows, lambda row: row[0] // NS_PER_MS):
        items = [parse(text) for _, text in together]
        trades = [to_trade(e, instruments[e.symbol]) for e in items if isinstance(e, VenueTrade)]
        if trades:
            blocks.append(trades)
    return blocks


def shifted(trade: Trade, ids: int, ms: int) -> Trade:
    return Trade(
        trade.instrument,
        trade.trade_id + ids,
        trade.time + ms,
        trade.price,
        trade.quantity,
        trade.buyer_is_maker,
        trade.kind,
    )


async def main(venue_port: int, log_bytes: int) -> None:
    limit_life()
    logging.basicConfig(filename=os.devnull, level=logging.INFO)
    venue = BinanceUsdm(ws_url=f"ws://127.0.0.1:{venue_port}", rest_url="http://127.0.0.1")
    market = await ask_market(cast(RestClient, Rest()), venue, SYMBOLS)
    service = Service(venue, market, log_bytes)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(service.transport.run, [service.publisher])
        nursery.start_soon(service.feed.run)
        await service.live()
        say(parse_address(url)[1])
        while words := await heard():
            say(await answered(service, words))
        nursery.cancel_scope.cancel()


async def heard() -> list[str]:
    """The next line's words; none at the end."""
    await trio.lowlevel.wait_readable(sys.stdin)
    return os.read(sys.stdin.fileno(), 4096).decode().split()


async def answered(service: Service, words: list[str]) -> Any:
    match words:
        case ["publish", trades]:
            return await service.publish(int(trades))
        case ["look"]:
            return await service.look()
    raise ValueError(f"{words} means nothing here")


if __name__ == "__main__":
    trio.run(main, *map(int, sys.argv[1:]))
