"""An exchange with hundreds of symbols, on loopback: REST and WebSocket on one port.

    python -m tests.bench.scale_parts.exchange SYMBOLS

Prints its port. A line `play TRADES_A_SECOND SECONDS` sends so many trades, spread over the symbols
as on a real exchange, where the busiest have most of them, and answers with how many have been sent
since the start. A line `once` sends one trade of each symbol, and `sent` only answers.

Trades come in sweeps, as in the recordings: one order fills against several others, so that several
trades of one symbol are sent at once. A mean sweep has four trades. Which symbols are busy does not
follow from their order in the listing.

The simulator does far more for each trade and could not bring 25,000 a second. Here a trade is a
template that is filled in, and a connection gets what is due in a millisecond in one write.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate, repeat
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.bench.ingest_rivals.sender import framed, handshake_answer
from tests.bench.memory_parts.dialogue import limit_life, say
from tests.bench.synthetic import MARKETS, drawn

PIECES_A_SECOND: Final = 1_000
FIRST_ID: Final = 5_000_000_000
PRICE: Final = "61800.30"
SWEEPS: Final = MARKETS["BTCUSDT"].sizes
"""How many trades a sweep has, at the shares of `synthetic.SHARES`."""
MAX_LIFE_S: Final = 1_800
MAX_HEAD_BYTES: Final = 64 * 1024
TEXT, CLOSE, PING = 1, 8, 9
_PONG: Final = 0x8A


class Exchange:
    """Its symbols, its connections, and the trades that it has sent."""

    def __init__(self, count: int) -> None:
        self.symbols = [f"S{number:04}USDT" for number in range(count)]
        self.sent = 0
        self._ids = dict.fromkeys(self.symbols, FIRST_ID)
        self._weights = list(accumulate(1 / (rank + 10) for rank in range(count)))
        self._random = Random(1)
        self._busiest = self._random.sample(self.symbols, count)
        self._streams: dict[socket.socket, set[str]] = {}
        self._lock = threading.Lock()

    def play(self, rate: int, seconds: float) -> int:
        """Blocks until it is done. Gives how many trades have been sent since the start."""
        due_s, left, owed = time.monotonic(), sum(pieces(rate, seconds)), 0
        for size in pieces(rate, seconds):
            owed += size
            trades: list[str] = []
            while len(trades) < owed and len(trades) < left:
                trades += self._sweep(left - len(trades))
            if trades:
                self._send(trades)
            owed -= len(trades)
            left -= len(trades)
            due_s += 1 / PIECES_A_SECOND
            time.sleep(max(0.0, due_s - time.monotonic()))
        return self.sent

    def _sweep(self, most: int) -> list[str]:
        """The symbol of an order, as often as it has trades."""
        size = min(most, round(drawn(SWEEPS, self._random.random())))
        return size * self._random.choices(self._busiest, cum_weights=self._weights)

    def once_each(self) -> int:
        """One trade of each symbol."""
        self._send(self.symbols)
        return self.sent

    def _send(self, symbols: list[str]) -> None:
        with self._lock:
            now_ms = time.time_ns() // 1_000_000
            messages = [(each, framed(self._trade(each, now_ms))) for each in symbols]
            self.sent += len(messages)
            for connection, streams in self._streams.items():
                data = b"".join(message for symbol, message in messages if symbol in streams)
                with suppress(OSError):  # its thread notices
                    connection.sendall(data)

    def _trade(self, symbol: str, now_ms: int) -> bytes:
        trade_id = self._ids[symbol] = self._ids[symbol] + 1
        return (
            b'{"stream":"%b@trade","data":{"e":"trade","E":%d,"T":%d,"s":"%b","t":%d,"p":"61800.30",'
            b'"q":"0.006","X":"MARKET","m":true}}'
        ) % (symbol.lower().encode(), now_ms, now_ms, symbol.encode(), trade_id)

    def answer(self, connection: socket.socket) -> None:
        """Serve one connection, whichever of both it is, to its end."""
        with connection, suppress(OSError, ConnectionError):
            while head := read_head(connection):
                if b"websocket" in head.lower():
                    connection.sendall(handshake_answer(head))
                    self._follow(connection)
                    return
                connection.sendall(self._rest(head.split()[1].decode()))

    def _rest(self, target: str) -> bytes:
        url = urlsplit(target)
        body = json.dumps(self._resource(url.path, parse_qs(url.query))).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _resource(self, path: str, query: dict[str, list[str]]) -> Any:
        now_ms = time.time_ns() // 1_000_000
        match path.rpartition("/")[2]:
            case "time":
                return {"serverTime": now_ms}
            case "exchangeInfo":
                return {"symbols": list(map(listed, self.symbols))}
        with self._lock:
            newest = self._ids[query["symbol"][0]]
        row = {"price": PRICE, "qty": "0.006", "time": now_ms, "isBuyerMaker": True}
        return [{"id": newest, **row}]

    def _follow(self, connection: socket.socket) -> None:
        streams: set[str] = set()
        try:
            for opcode, payload in messages_of(connection):
                if opcode == CLOSE:
                    return
                with self._lock:
                    if opcode == PING:
                        connection.sendall(bytes((_PONG, len(payload))) + payload)
                    elif opcode == TEXT:
                        request = json.loads(payload)
                        change = {each.partition("@")[0].upper() for each in request["params"]}
                        streams |= change if request["method"] == "SUBSCRIBE" else set()
                        streams -= change if request["method"] == "UNSUBSCRIBE" else set()
                        connection.sendall(framed(b'{"result":null,"id":%d}' % request["id"]))
                        self._streams[connection] = streams
        finally:
            with self._lock:
                self._streams.pop(connection, None)


def pieces(rate: int, seconds: float) -> Iterator[int]:
    """How many trades are due in each millisecond."""
    whole, rest = divmod(rate, PIECES_A_SECOND)
    count = round(seconds * PIECES_A_SECOND)
    return (
        whole + ((place + 1) * rest // PIECES_A_SECOND - place * rest // PIECES_A_SECOND)
        for place, _ in enumerate(repeat(None, count))
    )


def listed(symbol: str) -> dict[str, object]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001"},
    ]
    return {
        "symbol": symbol,
        "status": "TRADING",
        "contractType": "PERPETUAL",
        "baseAsset": symbol.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "filters": filters,
    }


def read_head(connection: socket.socket) -> bytes:
    """A request up to its empty line; empty when the peer is gone."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MAX_HEAD_BYTES:
        data = connection.recv(4096)
        if not data:
            return b""
        head += data
    return head


def messages_of(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of each frame of a client's, which are masked (RFC 6455, 5.2)."""
    with connection.makefile("rb") as file:
        while len(head := file.read(2)) == 2:
            size = head[1] & 0x7F
            if size > 125:
                size = int.from_bytes(file.read(2 if size == 126 else 8))
            mask = file.read(4) * (size // 4 + 1)
            payload = bytes(a ^ b for a, b in zip(file.read(size), mask, strict=False))
            yield head[0] & 0x0F, payload


def main(count: int) -> None:
    limit_life(MAX_LIFE_S)
    exchange = Exchange(count)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        threading.Thread(target=accept, args=(server, exchange), daemon=True).start()
        say(server.getsockname()[1])
        for line in sys.stdin:
            match line.split():
                case ["play", rate, seconds]:
                    say(exchange.play(int(rate), float(seconds)))
                case ["once"]:
                    say(exchange.once_each())
                case ["sent"]:
                    say(exchange.sent)


def accept(server: socket.socket, exchange: Exchange) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=exchange.answer, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
