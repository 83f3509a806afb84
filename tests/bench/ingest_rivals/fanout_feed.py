"""The service's own path, whole: WebSocket, link, lane, parser, merge, feed, publisher, log.

Put together as `fanout.service` does it, with everything that runs beside the stream. Only REST
is a stand-in that answers from memory: it is asked before the stream begins, and for the time.
A reader waits at the log, as a transport does, and notices the last trade.
"""

import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar, cast

import trio

from fanout.channel.channel import Channel
from fanout.config import DEFAULT_LOG_BYTES, FeedConfig
from fanout.feed import Connect, Feed
from fanout.feed.market import ask_market
from fanout.net.budget import Budget
from fanout.net.rest import RestClient
from fanout.net.websocket import WebSocket, open_websocket
from fanout.protocol import Header, SubscriberSession, Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues import BinanceUsdm, Request
from fanout.venues.binance.usdm import WEIGHT_LIMIT
from tests.bench.ingest_rivals.timing import Watch
from tests.bench.ingest_rivals.workload import RECORD
from tests.bench.market import PRICE_DECIMALS, QUANTITY_DECIMALS, SYMBOLS

T = TypeVar("T")

TIMEOUT_S: Final = 60.0

BEFORE: Final = {
    "BTCUSDT": {"id": 5266583934, "price": "61800.30", "qty": "0.006", "time": 1723161256000},
    "ETHUSDT": {"id": 4308068522, "price": "2681.62", "qty": "1.000", "time": 1723161256000},
}
"""What REST shows as the newest trade: the one before the recording."""


class Rest:
    """In place of a `RestClient`."""

    def __init__(self) -> None:
        self.budget = Budget(WEIGHT_LIMIT, wall_s=time.time)

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        await trio.lowlevel.checkpoint()
        return parse(json.dumps(_answer(request)).encode())


def _answer(request: Request) -> object:
    match request.path.rpartition("/")[2]:
        case "time":
            return {"serverTime": time.time_ns() // 1_000_000}
        case "exchangeInfo":
            return {"symbols": list(map(_listed, SYMBOLS))}
        case "trades":
            return [BEFORE[request.query["symbol"]] | {"isBuyerMaker": True}]
        case path:
            raise AssertionError(f"{path} is asked for gaps, and there are none")


def _listed(symbol: str) -> dict[str, object]:
    return {
        "symbol": symbol,
        "status": "TRADING",
        "contractType": "PERPETUAL",
        "pricePrecision": PRICE_DECIMALS,
        "quantityPrecision": QUANTITY_DECIMALS,
    }


async def main(port: int, count: int) -> None:
    watch = Watch()

    @asynccontextmanager
    async def connect(url: str) -> AsyncIterator[WebSocket]:
        async with open_websocket(url) as websocket:
            watch.start()
            yield websocket

    feed, publisher, anomalies = await _assembled(f"ws://127.0.0.1:{port}", connect)
    reader = Reader(publisher)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        with trio.fail_after(TIMEOUT_S):
            while publisher.trades < count:
                await publisher.log.wait_beyond(publisher.log.end)
        watch.stop()
        nursery.cancel_scope.cancel()
    feed.finish()
    assert not anomalies.counts, f"nothing is odd about the recording: {anomalies.counts}"
    watch.report(list(map(_packed, reader.trades())), blocks=publisher.blocks)


async def _assembled(url: str, connect: Connect) -> tuple[Feed, Channel, Anomalies]:
    venue = BinanceUsdm(ws_url=url, rest_url="http://127.0.0.1")
    rest = cast(RestClient, Rest())
    market = await ask_market(rest, venue, SYMBOLS)
    header = Header(
        epoch_ns=time.time_ns(),
        next_seq=1,
        venue=venue.name,
        instruments=market.instruments,
        references=market.references,
    )
    publisher = Channel(header, log_bytes=DEFAULT_LOG_BYTES, wall_ns=time.time_ns)
    publisher.seed(market.newest)
    anomalies = Anomalies(clock=trio.current_time)
    feed = Feed(
        venue, market, publisher, rest, anomalies, FeedConfig(connections=1), connect=connect
    )
    return feed, publisher, anomalies


class Reader:
    """A subscriber that joins before the first trade and reads when all is over."""

    def __init__(self, publisher: Channel) -> None:
        self._log = publisher.log
        self._cursor = publisher.log.live()
        self._session = SubscriberSession()
        self._session.receive(publisher.greeting())

    def trades(self) -> Iterator[Trade]:
        frames = self._log.read(self._cursor, self._log.capacity_bytes)
        assert isinstance(frames, bytes), "the log holds all of it"
        self._session.receive(frames)
        while (records := self._session.next_records()) is not None:
            yield from (each for each in records if isinstance(each, Trade))


def _packed(trade: Trade) -> bytes:
    return RECORD.pack(
        trade.instrument.index,
        trade.trade_id,
        trade.time,
        trade.price,
        trade.quantity,
        trade.buyer_is_maker,
        trade.kind,
    )


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
