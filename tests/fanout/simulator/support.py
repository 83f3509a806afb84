"""What several of the simulator's tests need: small markets, clients, and a REST client."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import msgspec
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream
from wsproto import ConnectionType, WSConnection
from wsproto.events import Event, Request

from fanout.simulator import Simulator, SimulatorConfig, run_simulator
from fanout.simulator.symbols import Listing
from fanout.simulator.ticks import MARKET, Rows, Tick, Trade

LISTING = Listing("BTCUSDT", "83680.00", "0.10", "0.001")
TRADES = "/public/stream?streams=btcusdt@trade"


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
    return Tick(due_ns, row.symbol.lower() + "@trade", msgspec.json.encode(row), row)


class ListedMarket:
    """A source with the given ticks and no past."""

    def __init__(self, *ticks: Tick) -> None:
        self.listings = (LISTING,)
        self._ticks = ticks

    def prime(self, rows: Rows, origin_ms: int) -> None:
        pass

    def ticks(self, origin_ms: int) -> Iterator[Tick]:
        return iter(self._ticks)


def line(row: Trade, received_ns: int) -> str:
    """A line of a capture. Its payload is spelled as nothing here would spell it."""
    payload = json.dumps(msgspec.to_builtins(row), ensure_ascii=False)
    stream = row.symbol.lower() + "@trade"
    return f'{received_ns} {{"stream":"{stream}","data":{payload}}}\n'


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


class RestAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: Any


class RestClient:
    """One kept-alive connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._connection = h11.Connection(h11.CLIENT)

    async def request(self, target: str, method: str = "GET") -> RestAnswer:
        head = h11.Request(method=method, target=target, headers=[("Host", "simulator")])
        await self._stream.send_all(self._connection.send(head) or b"")
        self._connection.send(h11.EndOfMessage())
        answer = await self._read()
        self._connection.start_next_cycle()
        return answer

    async def _read(self) -> RestAnswer:
        body = b""
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                self._connection.receive_data(await self._stream.receive_some())
            elif isinstance(event, h11.Response):
                headers = {name.decode(): value.decode() for name, value in event.headers}
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return RestAnswer(status, headers, json.loads(body) if body else None)


@asynccontextmanager
async def rest(simulator: Simulator) -> AsyncIterator[RestClient]:
    async with await open_tcp(simulator) as stream:
        yield RestClient(stream)


class RawClient:
    """A WebSocket client that answers nothing by itself: no pong, no close."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.protocol = WSConnection(ConnectionType.CLIENT)

    async def shake_hands(self, target: str = TRADES) -> None:
        await self.send(Request(host="simulator", target=target))
        await self.event()

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def event(self) -> Event | None:
        """The next event, or None when the stream is at its end."""
        while True:
            for event in self.protocol.events():
                return event
            data = await self.stream.receive_some()
            if not data:
                return None
            self.protocol.receive_data(data)


@asynccontextmanager
async def connect(simulator: Simulator, target: str) -> AsyncIterator[WebSocketConnection]:
    """A client whose socket is ours to close: trio-websocket's own leaks it on a server's close."""
    with trio.fail_after(20):
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


async def hears_nothing(client: WebSocketConnection) -> bool:
    """Whether the reply to a request comes before any market data, twice in a row."""
    for request_id in (901, 902):
        await client.send_message(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": request_id}))
        if (await data(client)).get("id") != request_id:
            return False
    return True


async def answer_to_upgrade(simulator: Simulator, target: str) -> bytes:
    """The answer's first line."""
    async with await open_tcp(simulator) as stream:
        await stream.send_all(upgrade(target))
        return (await stream.receive_some()).partition(b"\r\n")[0]
