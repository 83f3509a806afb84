"""An exchange in memory, on the test's clock, which speaks Binance USDⓈ-M: it numbers its trades,
keeps them, delivers them to every connection, and fails when a test has it fail. A feed takes it in
place of its `connect` and its REST client, so that there is no socket between them.

A test changes the order books itself. The exchange numbers the changes, and tells those who asked
for them."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from fanout.errors import VenueError, VenueUnreachableError
from fanout.net.budget import Budget
from fanout.net.websocket import Burst
from fanout.venues import Request

T = TypeVar("T")

BEGAN_MS = 1_790_000_000_000


class Row:
    """One id that the exchange has used."""

    def __init__(self, symbol: str, trade_id: int, time: int, kind: str, price: str) -> None:
        self.symbol, self.trade_id, self.time, self.kind = symbol, trade_id, time, kind
        self.price = price if kind != "NA" else "0"

    @property
    def is_recorded(self) -> bool:
        """Whether REST shows it."""
        return self.kind in ("MARKET", "RPI")

    @property
    def message(self) -> bytes:
        data = {
            "e": "trade",
            "E": self.time,
            "T": self.time,
            "s": self.symbol,
            "t": self.trade_id,
            "p": self.price,
            "q": "0" if self.kind == "NA" else "0.500",
            "X": self.kind,
            "m": True,
            "st": 1,
        }
        return json.dumps({"stream": f"{self.symbol.lower()}@trade", "data": data}).encode()

    @property
    def aggregate(self) -> bytes:
        """As if it were an aggregate of its own."""
        data = {"e": "aggTrade", "s": self.symbol, "a": self.trade_id + 7_000, "T": self.time}
        data |= {"f": self.trade_id, "p": self.price, "q": "0.500", "m": True, "st": 1}
        return json.dumps({"stream": f"{self.symbol.lower()}@aggTrade", "data": data}).encode()


class Book:
    """One order book, and its chain of update ids, which are not consecutive."""

    def __init__(self) -> None:
        self.bids: dict[str, str] = {"61800.20": "2.500"}
        self.asks: dict[str, str] = {"61800.30": "1.200"}
        self.update_id = 5_000_000_000_000
        self.time = BEGAN_MS
        """One ms more for each change, told by an exchange that brings whole books."""
        self.history = {self.update_id: (self.bids.copy(), self.asks.copy())}
        """What it was at each update id."""
        self.states = {self.time: self.history[self.update_id]}
        """What it was at each time."""

    def snapshot(self, limit: int | None = None) -> dict[str, object]:
        """What REST answers."""
        return {
            "lastUpdateId": self.update_id,
            "T": BEGAN_MS,
            "bids": sorted(self.bids.items(), key=lambda each: -float(each[0]))[:limit],
            "asks": sorted(self.asks.items(), key=lambda each: float(each[0]))[:limit],
        }

    def change(self, bids: dict[str, str], asks: dict[str, str]) -> dict[str, object]:
        """Set quantities, and say it as a message does."""
        before = self.update_id
        self.update_id += 100
        self.time += 1
        for side, changes in ((self.bids, bids), (self.asks, asks)):
            for price, quantity in changes.items():
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.history[self.update_id] = self.bids.copy(), self.asks.copy()
        self.states[self.time] = self.history[self.update_id]
        data = {"e": "depthUpdate", "E": BEGAN_MS, "T": BEGAN_MS, "U": before + 50}
        data |= {"u": self.update_id, "pu": before}
        return data | {"b": list(bids.items()), "a": list(asks.items())}

    def quote(self) -> dict[str, object]:
        (bid, bid_quantity), (ask, ask_quantity) = (
            max(self.bids.items(), key=lambda each: float(each[0])),
            min(self.asks.items(), key=lambda each: float(each[0])),
        )
        data = {"e": "bookTicker", "u": self.update_id, "T": BEGAN_MS, "E": BEGAN_MS}
        return data | {"b": bid, "B": bid_quantity, "a": ask, "A": ask_quantity}


class Socket:
    """A client's connection."""

    def __init__(self, exchange: "Exchange", route: str) -> None:
        self.stream = "aggTrade" if route == "/market" else "trade"
        self.sent: list[str] = []
        self.said_s: list[float] = []
        """When each of them was sent."""
        self.silent: set[str] = set()
        self._asked_for: set[str] = set()
        self._exchange = exchange
        self._messages: list[bytes] = []
        self._news = trio.Event()
        self._end: VenueError | None = None

    async def send(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(text)
        request = json.loads(text)
        if request["method"] == "SUBSCRIBE":
            self._asked_for |= set(request["params"])
        else:
            self._asked_for -= set(request["params"])
        self.said_s.append(trio.current_time())
        self.push(json.dumps({"result": None, "id": request.get("id", 1)}).encode())
        if self._exchange.brings_wholes and request["method"] == "SUBSCRIBE":
            for symbol in self._exchange.books:
                if f"{symbol.lower()}@depth@0ms" in request["params"]:
                    self._exchange.tell_whole(symbol, self)

    async def receive(self) -> Burst:
        while not self._messages and self._end is None:
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        if self._messages:
            messages, self._messages = self._messages, []
            self._news = trio.Event()
            return Burst(self._exchange.wall_ns(), 0, messages)
        assert self._end is not None, "the loop ends for no other reason"
        raise self._end

    def push(self, *messages: bytes) -> None:
        self._messages += messages
        self._news.set()

    def break_off(self, error: VenueError | None = None) -> None:
        self._end = error or VenueUnreachableError("the stream broke")
        self._news.set()

    def deliver(self, row: Row) -> None:
        name = f"{row.symbol.lower()}@{self.stream}"
        is_asked_for = name in self._asked_for and name not in self._exchange.mute
        if row.symbol in self.silent or not is_asked_for:
            return
        if self.stream == "trade":
            self.push(row.message)
        elif row.is_recorded:
            self.push(row.aggregate)

    def tell(self, stream: str, data: dict[str, object]) -> None:
        """Deliver a message of a stream, if it was asked for."""
        is_silent = data["s"] in self.silent or stream in self._exchange.mute
        if stream in self._asked_for and not is_silent:
            message = {"stream": stream, "data": data}
            self.push(json.dumps(message, separators=(",", ":")).encode())


class Exchange:
    """What the exchange has, and who is connected."""

    def __init__(self, *symbols: str, reach: int = 1_000) -> None:
        """`reach`: how many of the newest trades REST shows."""
        self.reach = reach
        self.rows: dict[str, list[Row]] = {each: [] for each in symbols}
        self.precision = 2
        self.precisions: dict[str, int] = {}
        """Of symbols that have another one."""
        self.ticks: dict[str, str] = {}
        """Tick sizes of symbols that have one."""
        self.status = dict.fromkeys(symbols, "TRADING")
        self.delisted: set[str] = set()
        self.odd_rows: list[dict[str, object]] = []
        """What the listing has besides."""
        self.odd_trades: dict[str, list[dict[str, object]]] = {}
        """Rows at the end of the recent trades of a symbol, by changes to the last."""
        self.sockets: list[Socket] = []
        self.opened: list[tuple[float, Socket]] = []
        self.refusals: list[VenueError] = []
        """What the next connections are refused with."""
        self.rest_fault: VenueError | None = None
        self.rest_delay_s = 0.0
        """From REST's answer as it is to its arrival."""
        self.silent: set[str] = set()
        """Symbols of which nothing is delivered to connections that are made from now on."""
        self.mute: set[str] = set()
        """Streams of which nothing is delivered to anybody."""
        self.books: dict[str, Book] = {each: Book() for each in symbols}
        self.brings_wholes = False
        """Whether a subscription brings the whole book: see `stream_venue`."""
        self.withheld: set[str] = set()
        """Symbols whose whole book it does not bring all the same."""
        self.snapshots: dict[str, list[dict[str, object]]] = {}
        """What REST answers for the next whole books of a symbol, in place of what is true."""
        self.budget = Budget(2_400, wall_s=lambda: 0.0)
        self.requests: list[Request] = []
        self.began_s = trio.current_time()

    def wall_ns(self) -> int:
        return int((trio.current_time() - self.began_s) * 1e9) + BEGAN_MS * 1_000_000

    # The stream.

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncIterator[Socket]:
        await trio.lowlevel.checkpoint()
        route = "/market" if "/market" in url else "/public"
        socket = Socket(self, route)
        self.opened.append((trio.current_time(), socket))
        if self.refusals:
            raise self.refusals.pop(0)
        socket.silent = set(self.silent) if socket.stream == "trade" else set()
        self.sockets.append(socket)
        try:
            yield socket
        finally:
            self.sockets.remove(socket)

    def trade(
        self, symbol: str, *kinds: str, price: str = "61800.30", skip: bool = False
    ) -> list[Row]:
        """Use an id for each kind. With `skip` nobody is told."""
        made = []
        for kind in kinds or ("MARKET",):
            rows = self.rows[symbol]
            trade_id = rows[-1].trade_id + 1 if rows else 8_000_000_000
            time = self.wall_ns() // 1_000_000
            rows.append(Row(symbol, trade_id, time, kind, price))
            made.append(rows[-1])
        if not skip:
            for row in made:
                self.deliver(row)
        return made

    def change(
        self,
        symbol: str,
        bids: dict[str, str] | None = None,
        asks: dict[str, str] | None = None,
        *,
        skip: bool = False,
        **odd: object,
    ) -> dict[str, object]:
        """Change an order book. With `skip` nobody is told. `odd` fields are told wrong. Gives the
        message, which `tell_change` tells late."""
        data = self.books[symbol].change(bids or {}, asks or {}) | {"s": symbol} | odd
        if self.brings_wholes:
            data["T"] = self.books[symbol].time
        if not skip:
            self.tell_change(data, *self.sockets)
        return data

    def tell_change(self, data: dict[str, object], *sockets: Socket) -> None:
        for socket in sockets:
            socket.tell(f"{str(data['s']).lower()}@depth@0ms", data)

    def tell_whole(self, symbol: str, *sockets: Socket) -> None:
        """Tell the whole book, in a form of its own."""
        book = self.books[symbol]
        data = {"whole": symbol, "u": book.update_id, "T": book.time}
        message = json.dumps(data | {"b": list(book.bids.items()), "a": list(book.asks.items())})
        for socket in sockets:
            if symbol not in self.withheld and symbol not in socket.silent:
                socket.push(message.encode())

    def quote(self, symbol: str, **odd: object) -> None:
        """Tell the best prices."""
        data = self.books[symbol].quote() | {"s": symbol} | odd
        for socket in self.sockets:
            socket.tell(f"{symbol.lower()}@bookTicker", data)

    def deliver(self, row: Row) -> None:
        for socket in self.sockets:
            socket.deliver(row)

    def enlist(self, *symbols: str) -> None:
        """New symbols are listed, and trade."""
        for symbol in symbols:
            self.rows[symbol] = []
            self.books[symbol] = Book()
            self.status[symbol] = "TRADING"

    # REST, in place of a `RestClient`.

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        if self.rest_fault is not None:
            raise self.rest_fault
        answer = json.dumps(self._answer(request)).encode()
        if self.rest_delay_s:
            await trio.sleep(self.rest_delay_s)
        return parse(answer)

    def _answer(self, request: Request) -> object:
        match request.path.rpartition("/")[2]:
            case "time":
                return {"serverTime": self.wall_ns() // 1_000_000}
            case "exchangeInfo":
                listed = [self._listed(each) for each in self.rows if each not in self.delisted]
                return {"symbols": [*listed, *self.odd_rows]}
            case "depth":
                symbol = request.query["symbol"]
                odd = self.snapshots.get(symbol)
                if odd:
                    return odd.pop(0)
                return self.books[symbol].snapshot(int(request.query["limit"]))
            case "aggTrades":
                return [
                    {"a": each.trade_id + 7_000, "p": each.price, "q": "0.500", "T": each.time}
                    | {"f": each.trade_id, "m": True}
                    for each in self._recorded(request, offset=7_000)
                ]
            case _:
                rows = [
                    {"id": each.trade_id, "price": each.price, "qty": "0.500", "time": each.time}
                    | {"isBuyerMaker": True, "isRPITrade": each.kind == "RPI"}
                    for each in self._recorded(request)
                ]
                odd = self.odd_trades.get(request.query["symbol"], [])
                return rows + [{**rows[-1], **each} for each in odd]

    def _recorded(self, request: Request, offset: int = 0) -> list[Row]:
        rows = self.rows[request.query["symbol"]][-2 * self.reach :]
        rows = [each for each in rows if each.is_recorded]
        limit = min(int(request.query["limit"]), self.reach)
        if "fromId" in request.query:
            first = int(request.query["fromId"]) - offset
            return [each for each in rows if each.trade_id >= first][:limit]
        return rows[-limit:]

    def _listed(self, symbol: str) -> dict[str, object]:
        return {
            "symbol": symbol,
            "status": self.status[symbol],
            "contractType": "PERPETUAL",
            "pricePrecision": self.precisions.get(symbol, self.precision),
            "quantityPrecision": 3,
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": each}
                for each in [self.ticks.get(symbol)]
                if each
            ],
        }
