"""A client of the toy dialect, and an exchange that speaks it."""

import trio
from wsproto.events import CloseConnection, Event, Ping, TextMessage

from tests.fanout.simulator.support import MemoryExchange, tick, trade
from tests.stand.callers import RawClient

NS_PER_S = 1_000_000_000
TEN_A_SECOND = [tick(trade(number), number * NS_PER_S // 10) for number in range(1, 200)]
TRADES, DEPTH, SLOW_DEPTH = "btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@depth"


class ToyClient:
    """Answers WebSocket pings, and notes what it hears and when."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self.heard: list[str] = []
        self.times: dict[str, list[float]] = {}
        self.ended_s: float | None = None
        self.close: CloseConnection | None = None

    async def say(self, *texts: str) -> list[str]:
        """What it hears from now on, up to the moment when nothing more comes at once."""
        for text in texts:
            await self._client.send(TextMessage(data=text))
        return await self.until(trio.current_time())

    async def until(self, time_s: float) -> list[str]:
        """What it hears up to a time, and shortly after it."""
        known = len(self.heard)
        await trio.sleep_until(time_s + 0.001)
        return self.heard[known:]

    @property
    def numbers(self) -> list[int]:
        """Those of the numbered messages so far."""
        return [int(text.split()[0]) for text in self.heard if text[0].isdecimal()]

    async def listen(self) -> None:
        while (event := await self._client.event()) is not None:
            await self._take(event)
            if self.close is not None:
                break
        self.ended_s = trio.current_time()

    async def _take(self, event: Event) -> None:
        match event:
            case TextMessage(data=text):
                self.heard.append(text)
                self.times.setdefault(text, []).append(trio.current_time())
            case Ping():
                await self._client.send(event.response())
            case CloseConnection():
                self.close = event


def toy_exchange(nursery: trio.Nursery) -> MemoryExchange:
    """Ten trades a second."""
    exchange = MemoryExchange(nursery, *TEN_A_SECOND, dialect="toy")
    nursery.start_soon(exchange.exchange.play, 1.0)
    return exchange


async def toy_client(nursery: trio.Nursery, exchange: MemoryExchange) -> ToyClient:
    client = ToyClient(await exchange.client("/ws"))
    nursery.start_soon(client.listen)
    await client.say()  # it has been welcomed
    return client
