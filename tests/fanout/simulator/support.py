"""What several of the simulator's tests need: small markets, clients, and a REST client."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from fanout.simulator import Simulator, SimulatorConfig, run_simulator
from fanout.simulator.connection.http import Response
from fanout.simulator.dialects import DIALECTS
from fanout.simulator.dialects.binance.rest import USED_WEIGHT
from fanout.simulator.exchange import Exchange
from fanout.simulator.faults.impairments import garbled
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.clock import Clock
from fanout.simulator.market.ledger import IdRange
from fanout.simulator.market.listing import Listing
from fanout.simulator.market.snapshots import NO_BOOK
from fanout.simulator.market.ticks import MARKET, Rows, Tick, Trade, tick_of
from tests.stand.callers import RawClient, RestAnswer, RestClient
from tests.stand.memory import MemoryServer

USDM = DIALECTS["binance-usdm"]
SPOT = DIALECTS["binance-spot"]
LISTING = Listing("BTCUSDT", "83680.00", "0.10", "0.001", contract_type="PERPETUAL")
TRADES = "/public/stream?streams=btcusdt@trade"
AGGREGATES = "/market/stream?streams=btcusdt@aggTrade"


def trade(trade_id: int = 1, **fields: Any) -> Trade:
    row = {
        "event_ms": 1_000,
        "time_ms": 1_000,
        "symbol": "BTCUSDT",
        "price": "83680.00",
        "quantity": "0.001",
        "kind": MARKET,
        "buyer_is_maker": False,
    }
    return Trade(trade_id=trade_id, **(row | fields))


def tick(row: Trade, due_ns: int = 0) -> Tick:
    return tick_of(due_ns, row)


def payload(of: Tick) -> bytes:
    """As Binance USDⓈ-M sends it, with what faults have done to it."""
    return garbled(of, USDM.payload(of, microseconds=False))


def no_snapshot(symbol: str, limit: int) -> Snapshot:
    """For a REST side without books."""
    return NO_BOOK


def used_weight(response: Response) -> int:
    """As Binance's header has it."""
    return int(response.headers[USED_WEIGHT])


class ListedMarket:
    """A source with the given ticks and no past."""

    recorded_books = None
    aggregated: frozenset[str] = frozenset()

    def __init__(self, *ticks: Tick, listing: Listing = LISTING) -> None:
        self.listings = (listing,)
        self._ticks = ticks

    def prime(self, rows: Rows, origin_ms: int) -> None:
        pass

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        return iter(self._ticks)

    def enlist(self, listing: Listing) -> None:
        pass


def capture_of(path: Path, count: int, **fields: Any) -> Path:
    """A capture of the trades 1 to `count`, a millisecond apart."""
    rows = (trade(number, time_ms=1_000 + number, **fields) for number in range(1, count + 1))
    return write_capture(path, *((row.trade_id, row) for row in rows))


def line(row: Trade, received_ns: int) -> str:
    """A line of a capture. Its payload is spelled as nothing here would spell it."""
    said = json.dumps(json.loads(payload(tick(row))), ensure_ascii=False)
    stream = row.symbol.lower() + "@trade"
    return f'{received_ns} {{"stream":"{stream}","data":{said}}}\n'


def upgrade(target: str) -> bytes:
    """The head of a WebSocket handshake that is in order."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: simulator\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


def write_capture(path: Path, *rows: tuple[int, Trade]) -> Path:
    path.write_text("".join(line(row, received_ns) for received_ns, row in rows))
    return path


async def start(nursery: trio.Nursery, **config: Any) -> Simulator:
    simulator: Simulator = await nursery.start(run_simulator, SimulatorConfig(**config))
    return simulator


async def open_tcp(simulator: Simulator) -> trio.SocketStream:
    host, port = simulator.rest_url.removeprefix("http://").split(":")
    return await trio.open_tcp_stream(host, int(port))


async def receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = bytearray()
    async for data in stream:
        received += data
    return bytes(received)


@asynccontextmanager
async def rest(simulator: Simulator) -> AsyncIterator[RestClient]:
    async with await open_tcp(simulator) as stream:
        yield RestClient(stream)


async def rest_ids(simulator: Simulator) -> list[int]:
    """What of BTCUSDT is to be had by id."""
    async with rest(simulator) as http:
        target = "/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId=0&limit=500"
        return [row["id"] for row in (await http.request(target, api_key="abc123")).body]


class MemoryExchange(MemoryServer):
    """An exchange without sockets, for virtual clocks."""

    def __init__(
        self, nursery: trio.Nursery, *ticks: Tick, listing: Listing = LISTING, **config: Any
    ) -> None:
        market = ListedMarket(*ticks, listing=listing)
        self.exchange = Exchange(market, Clock(0), SimulatorConfig(**config))
        self.faults = self.exchange.faults
        super().__init__(nursery, self.exchange.serve)

    async def client(self, target: str = TRADES) -> RawClient:
        client = RawClient(self.connect())
        await client.shake_hands(target)
        return client

    async def get(self, target: str) -> RestAnswer:
        return await RestClient(self.connect()).request(target)


@asynccontextmanager
async def connect(
    simulator: Simulator, target: str, *, within_s: float = 20
) -> AsyncIterator[WebSocketConnection]:
    """A client whose socket is ours to close: trio-websocket's own leaks it on a server's close."""
    with trio.fail_after(within_s):
        async with await open_tcp(simulator) as stream, trio.open_nursery() as nursery:
            client = await wrap_client_stream(nursery, stream, "simulator", target)
            yield client
            await client.aclose()


async def ask(client: WebSocketConnection, method: str, *params: Any, request_id: int = 1) -> Any:
    """Send a request and return its reply, passing over market data."""
    request = {"method": method, "params": list(params), "id": request_id}
    await client.send_message(json.dumps(request))
    while True:
        message = json.loads(await client.get_message())
        if "result" in message or "error" in message:
            return message


async def data(client: WebSocketConnection) -> Any:
    return json.loads(await client.get_message())


async def ids(client: WebSocketConnection, count: int) -> list[int]:
    """Of the next messages, which are trades in their envelopes."""
    return [(await data(client))["data"]["t"] for _ in range(count)]


async def read_to_end(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some():
        pass


async def closed_after(client: WebSocketConnection) -> tuple[list[Any], int, str | None]:
    """The replies up to the close, and what the close says."""
    replies = []
    try:
        while True:
            message = await data(client)
            replies += [message] if "stream" not in message else []
    except ConnectionClosed:
        pass
    assert client.closed is not None
    return replies, client.closed.code, client.closed.reason


async def hears_nothing(client: WebSocketConnection) -> bool:
    """Whether the reply to a request comes before any market data, twice in a row."""
    for request_id in (901, 902):
        await client.send_message(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": request_id}))
        if (await data(client)).get("id") != request_id:
            return False
    return True


def covered(*ranges: IdRange) -> list[int]:
    """All their ids."""
    return [each for ids in ranges for each in range(ids.first_id, ids.last_id + 1)]


async def answer_to_upgrade(simulator: Simulator, target: str) -> bytes:
    """The answer's first line."""
    async with await open_tcp(simulator) as stream:
        await stream.send_all(upgrade(target))
        return (await stream.receive_some()).partition(b"\r\n")[0]
