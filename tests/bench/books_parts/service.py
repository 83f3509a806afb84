"""fanout whole, with trades, quotes and order books: WebSocket, feed, channel, log, TCP transport.

    python -m tests.bench.books_parts.service VENUE_PORT CLIENTS BEGINS DATA

Put together as `fanout.service` does it, with everything that runs beside the stream. Only REST is
a stand-in. It answers from the file BEGINS: of each symbol, the book and the newest trade before
the replay. A book that is asked for again, since prices have moved, is the one that the channel has
by then. DATA is the sum of the kinds of data to take. It prints the port that it listens on, and
"ready" once all clients have joined. For each line on its input it prints the CPU seconds that it
has used.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

import msgspec
import trio

from fanout.channel.channel import Channel
from fanout.config import DEFAULT_LOG_BYTES, FeedConfig
from fanout.feed import Feed
from fanout.feed.market import ask_market
from fanout.net.budget import Budget
from fanout.net.rest import RestClient
from fanout.net.websocket import open_websocket
from fanout.protocol import DataKinds, Header
from fanout.stats.anomalies import Anomalies
from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.config import TcpConfig
from fanout.venues import BinanceUsdm, Request
from fanout.venues.binance.usdm import WEIGHT_LIMIT
from tests.bench.books_parts.market import Begin
from tests.bench.broadcast.fanout_server import ANY_RATE, all_joined
from tests.bench.market import PRICE_DECIMALS, QUANTITY_DECIMALS

T = TypeVar("T")

MAX_CLIENTS: Final = 500


class Rest:
    """In place of a `RestClient`."""

    def __init__(self, begins: dict[str, Begin]) -> None:
        self.budget = Budget(WEIGHT_LIMIT, wall_s=time.time)
        self._begins = begins
        self._shown = set[str]()
        """Symbols whose book has been sent."""
        self.channel: Channel | None = None

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        await trio.lowlevel.checkpoint()
        return parse(self._answer(request).encode())

    def _answer(self, request: Request) -> str:
        match request.path.rpartition("/")[2]:
            case "time":
                return json.dumps({"serverTime": time.time_ns() // 1_000_000})
            case "exchangeInfo":
                return json.dumps({"symbols": list(map(_listed, self._begins))})
            case "trades":
                return self._begins[request.query["symbol"]].trades
            case "depth":
                return self._book(request.query["symbol"])
            case path:
                raise AssertionError(f"{path} is asked for gaps, and there are none")

    def _book(self, symbol: str) -> str:
        if symbol not in self._shown:
            self._shown.add(symbol)
            return self._begins[symbol].book
        assert self.channel is not None, "a book is asked for again only when it is followed"
        instruments = self.channel.header.instruments
        instrument = next(each for each in instruments if each.symbol == symbol)
        book = self.channel.books.of(instrument.index)
        bids, asks = (
            [
                (str(instrument.price_decimal(price)), str(instrument.quantity_decimal(quantity)))
                for price, quantity in side
            ]
            for side in book.levels()
        )
        shown = {"lastUpdateId": book.update_id, "bids": bids, "asks": asks}
        return json.dumps(shown, separators=(",", ":"))


def _listed(symbol: str) -> dict[str, object]:
    return {
        "symbol": symbol,
        "status": "TRADING",
        "contractType": "PERPETUAL",
        "pricePrecision": PRICE_DECIMALS,
        "quantityPrecision": QUANTITY_DECIMALS,
    }


async def main(venue_port: int, clients: int, begins: dict[str, Begin], data: DataKinds) -> None:
    venue = BinanceUsdm(
        ws_url=f"ws://127.0.0.1:{venue_port}", rest_url="http://127.0.0.1", data=data
    )
    stand_in = Rest(begins)
    rest = cast(RestClient, stand_in)
    market = await ask_market(rest, venue, tuple(begins))
    header = Header(
        epoch_ns=time.time_ns(),
        next_seq=1,
        venue=venue.name,
        instruments=market.instruments,
        references=market.references,
        data=data,
    )
    channel = Channel(header, log_bytes=DEFAULT_LOG_BYTES, wall_ns=time.time_ns)
    channel.seed(market.newest)
    stand_in.channel = channel
    anomalies = Anomalies(clock=trio.current_time)
    feed = Feed(venue, market, channel, rest, anomalies, FeedConfig(), connect=open_websocket)
    config = TcpConfig(port=0, accept_rate=ANY_RATE, max_clients=MAX_CLIENTS)
    transport = TcpTransport(config)
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(transport.run, [channel])
        print(url.rpartition(":")[2], flush=True)
        gc.collect()
        gc.freeze()  # as the command does it
        nursery.start_soon(feed.run)
        await all_joined(transport, clients)
        print("ready", flush=True)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            print(time.process_time(), flush=True)


if __name__ == "__main__":
    decoded = msgspec.json.decode(Path(sys.argv[3]).read_bytes(), type=dict[str, Begin])
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), decoded, DataKinds(int(sys.argv[4])))
