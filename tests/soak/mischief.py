"""What goes wrong during a soak: one thing after another, at random moments, from a seed.

Left out of the simulator's table are the faults after which an id names two trades, or a price two
numbers (renumber, relist, delist), and those after which an update id names two books (unchain with
a negative step): what is held to account here is each id. They are tried in `tests/misbehaviour`.
So is a 403 or 451, after which an exchange is left alone for five minutes.

Of the others, an exchange gets those that it can have, and after which its messages or REST can
show what was lost.
"""

import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import time
from typing import Final

import trio

from fanout.errors import UsageError
from fanout.simulator import Simulator
from fanout.simulator.dialects import dialect_of
from fanout.simulator.faults import (
    Auth,
    Checksum,
    Cross,
    Deepen,
    Delay,
    Drop,
    Empty,
    Fault,
    Forget,
    Garbage,
    Garble,
    Http,
    Ignore,
    Insert,
    Lose,
    Maintain,
    Malformed,
    Mute,
    Refuse,
    Repeat,
    Resnapshot,
    ShiftClock,
    Shuffle,
    Shutdown,
    Silence,
    Skip,
    Spend,
    Stale,
    Stall,
    Unchain,
    UnknownEvent,
)
from fanout.venues import VENUES, BookSource, Continuity
from tests.soak.crowd import Crowd
from tests.stand.proxy import Proxy

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
PAUSE_S: Final = (0.2, 2.0)
MAX_HTTP: Final = 3
"""Faults of REST that wait for a request, at most."""

LASTING_S: Final = 60.0
"""A limit of REST lasts until the end of a minute, and a half-open connection until it counts as
dead."""

SHOWING: Final = 0x80
"""Bits that no text has: a byte with one of them flipped is no digit any more. Neither WebSocket
nor HTTP has a checksum, so another digit would be another price."""

PATHS: Final = {
    "binance-usdm": ("/fapi/v1/trades", "/fapi/v1/depth", "/public"),
    "binance-spot": ("/api/v3/historicalTrades", "/api/v3/depth", "/stream"),
    "bitfinex": ("/ws/2",),
    "bybit": ("/v5/public/linear",),
    "bybit-spot": ("/v5/public/spot",),
    "coinbase": ("/",),
    "coinbase-advanced": ("/",),
    "deribit": ("/ws/api/v2",),
    "okx": ("/public", "/business"),
}
"""What faults of REST and of handshakes act on, by dialect, beside all of REST."""

UNNUMBERED_BOOKS: Final = ("bitfinex", "coinbase", "coinbase-advanced")
"""Dialects whose updates of books have no ids of their own, so nobody can notice one that is lost
or late on its stream. Two of them number the messages of a connection: there is `Lose`."""

UNNUMBERED: Final = ("bybit", "bybit-spot", "coinbase")
"""Dialects with messages of which nothing shows that one was lost: trades of Bybit, and books of
Coinbase. So none is made unreadable."""

Deed = Callable[[], Awaitable[None]]


class Mischief:
    """Does one thing after another, until cancelled; then `stop` undoes what stands."""

    def __init__(
        self,
        simulator: Simulator,
        proxies: Mapping[str, Proxy],
        seed: int,
        *,
        crowd: Crowd | None = None,
        symbols: Sequence[str] = SYMBOLS,
        with_books: Sequence[str] = SYMBOLS,
        venue: str = "binance",
        dialect: str = "binance-usdm",
        longest_s: float = 3600.0,
    ) -> None:
        """`proxies` by name: `way` leads to consumers, others to the exchange. Processes of the
        `crowd` are killed. A fault whose effect would last longer than `longest_s` is shortened, or
        left out."""
        self._longest_s = longest_s
        self._venue = VENUES[venue]
        self._dialect = dialect
        self._paths = (dialect_of(dialect).rest_root, *PATHS[dialect])
        self.done: Counter[str] = Counter()
        self.deeds: list[str] = []
        """The same in order, each with its unix time."""
        self._simulator = simulator
        self._proxies = proxies
        self._crowd = crowd
        self._symbols = symbols
        self._with_books = with_books
        self._chance = random.Random(seed)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            faults: list[Deed] = [self._inject] * 3
            if self._crowd is not None:
                faults.append(self._kill)
            nursery.start_soon(self._go_on, faults)
            nursery.start_soon(self._go_on, (self._spoil,))

    async def _go_on(self, deeds: Sequence[Deed]) -> None:
        while True:
            await self._chance.choice(deeds)()
            await trio.sleep(self._chance.uniform(*PAUSE_S))

    def stop(self) -> None:
        self._simulator.faults.clear()
        for each in self._proxies.values():
            each.clear()

    async def _inject(self) -> None:
        fault = self._possible_fault()
        standing = [each for each in self._simulator.faults.standing if isinstance(each, Http)]
        if isinstance(fault, Http) and len(standing) >= MAX_HTTP:
            return  # who waits after each of them would be left with nothing else for ever
        self._note(type(fault).__name__.lower(), repr(fault))
        self._simulator.faults.inject(fault)

    def _possible_fault(self) -> Fault:
        """One that this exchange can have."""
        while True:
            fault = self._chance.choice(self._faults())
            try:
                return self._simulator.faults.check(fault)
            except UsageError:
                pass

    async def _kill(self) -> None:
        """One of those that are processes."""
        self._note("client killed")
        assert self._crowd is not None, "without a crowd there is nobody to kill"
        self._chance.choice(self._crowd.tails).signal(signal.SIGKILL)

    def _faults(self) -> Sequence[Fault]:
        """Faults to choose from, some of which the exchange may be unable to have."""
        chance = self._chance
        symbol, few = chance.choice(self._symbols), chance.randint(1, 20)
        booked = chance.choice(self._with_books)
        rest, path = self._paths[0], chance.choice(self._paths)
        lasting: list[Fault] = []
        ends = ["close", "cut", "reset"]
        if self._longest_s > LASTING_S:
            ends.append("half-open")
            lasting.append(Spend(weight=few * 50))
        return (
            *lasting,
            Drop(how=chance.choice(ends)),
            Stall(for_s=self._up_to(0.1, 4)),
            Malformed(),
            UnknownEvent(),
            Garbage(size_bytes=500, framed=chance.random() < 0.7),
            *self._of_messages(symbol, booked, few),
            Cross(booked, chance.randint(1, 3)),
            Unchain(booked, chance.choice((1, 1_000))),
            Empty(booked),
            Deepen(booked, chance.choice((300, 1_500))),
            Stale(booked, chance.choice((0.0, 1.0, 5.0)), requests=chance.randint(1, 3)),
            Http(status=chance.choice((429, 500, 503)), path=path, retry_after_s=1),
            *self._bans(rest),
            Http(delay_s=self._up_to(0.1, 12), path=path),
            Http(sent_bytes=100, path=path),
            Http(body="<html>", path=rest),
            Forget(symbol, kept=500),
            Insert(symbol, count=few),
            Insert(symbol, kind=chance.choice(("INSURANCE_FUND", "ADL", "MARKET", "NEW"))),
            *self._shifts(),
            *self._of_venues(symbol, booked, few),
        )

    def _of_messages(self, symbol: str, booked: str, few: int) -> Sequence[Fault]:
        """Messages that are lost, late, repeated or broken."""
        chance = self._chance
        trades, depth, quotes = (
            (symbol, few, "trade"),
            (booked, few, "depth"),
            (symbol, few, "bookTicker"),
        )
        if self._dialect in UNNUMBERED_BOOKS:
            sent = any_sent = trades
            silences = [Silence(symbol, "trade", for_s=self._up_to(1, 10))]
        else:
            sent = chance.choice((trades, depth))
            any_sent = chance.choice((sent, sent, quotes))
            silences = [
                Silence(chance.choice((symbol, booked)), for_s=self._up_to(1, 10)),
                Silence(booked, "depth", for_s=self._up_to(1, 10)),
            ]
        garbles = [Garble(*sent, how=chance.choice(("cut", "price", "types")))]
        if sent is trades and self._venue.continuity is Continuity.NOTHING:
            garbles = []
        lags = [Delay(*any_sent, by=few), Shuffle(*any_sent, window=few + 1)]
        if any_sent is trades and self._venue.continuity is not Continuity.IDS:
            # One that is late by more than healing reaches back would be missed by nobody if its
            # connection ended before it came.
            lags = []
        return (
            *silences,
            *garbles,
            Skip(*any_sent),
            Repeat(*any_sent, later=few),
            *lags,
        )

    def _shifts(self) -> Sequence[Fault]:
        """Where ids tell what is missing. Elsewhere only the times of trades do."""
        if self._venue.continuity is not Continuity.IDS:
            return ()
        return (ShiftClock(self._chance.randint(-3_000, 3_000)),)

    def _bans(self, rest: str) -> Sequence[Fault]:
        """Where the exchange has them, and says how long they last."""
        if dialect_of(self._dialect).limits.ban_status is None:
            return ()
        return (Http(status=418, path=rest, banned_for_s=min(3, self._longest_s)),)

    def _of_venues(self, symbol: str, booked: str, few: int) -> Sequence[Fault]:
        """Those of venues with books on the stream, which number, refuse, greet, announce and
        authenticate."""
        if self._venue.book_source is BookSource.REST:
            return ()
        chance = self._chance
        return (
            Lose(count=few),
            Refuse(symbol, how=chance.choice(("topic", "request", "missing"))),
            Ignore(symbol),
            Mute(for_s=self._up_to(1, 10)),
            Auth(chance.choice(("reject", "expire", "revoke")), for_s=self._up_to(1, 10)),
            Maintain(for_s=self._up_to(1, 10)),
            Resnapshot(booked, resets=chance.random() < 0.3),
            Checksum(booked),
            Shutdown(within_s=self._up_to(0.5, 5)),
        )

    def _note(self, name: str, words: str = "") -> None:
        self.done[name] += 1
        self.deeds.append(f"{time():.3f} {words or name}")

    def _up_to(self, least_s: float, most_s: float) -> float:
        return min(self._chance.uniform(least_s, most_s), self._longest_s)

    async def _spoil(self) -> None:
        """One proxy, for a while; it may be a leg with the other one spoiled a moment later."""
        name, proxy = self._chance.choice(list(self._proxies.items()))
        deeds = [self._slow, self._hold, self._break]
        if self._dialect not in UNNUMBERED:
            deeds.append(self._flip)
        deed = self._chance.choice(deeds)
        self._note(f"{name} {deed.__name__.strip('_')}")
        await deed(proxy)
        proxy.clear()

    async def _slow(self, proxy: Proxy) -> None:
        chance = self._chance
        proxy.down.delay_s = chance.choice((0, 0.01, 0.2))
        proxy.down.bytes_per_s = chance.choice((5_000, 50_000, float("inf")))
        proxy.down.slice_bytes = chance.choice((7, 100, 65_536))
        await trio.sleep(self._up_to(0.5, 4))

    async def _hold(self, proxy: Proxy) -> None:
        self._chance.choice((proxy.up, proxy.down)).hold()
        await trio.sleep(self._up_to(0.5, 14))

    async def _flip(self, proxy: Proxy) -> None:
        chance = self._chance
        mask = chance.randint(1, 255) if proxy is self._proxies.get("way") else SHOWING
        proxy.down.flip(
            after=chance.randint(0, 3_000), every=chance.randint(1, 900), count=5, mask=mask
        )
        await trio.sleep(1)

    async def _break(self, proxy: Proxy) -> None:
        match self._chance.randrange(4):
            case 0:
                proxy.reset()
            case 1:
                proxy.half_close_down()
            case 2:
                proxy.half_close_up()
            case _:
                proxy.is_refusing = True
                proxy.reset()
                await trio.sleep(self._up_to(0.5, 5))
