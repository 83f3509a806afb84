"""The feed over many days of a virtual clock, at an exchange where all kinds of things go wrong.

    python -m tests.stress.feed                 30 days at a few trades a minute; some minutes
    python -m tests.stress.feed 3 --seed 7      three of them

Connections break and are cut at their 24th hour, symbols fall silent, ids are skipped, repeated,
swapped and spent for nothing, REST fails for minutes. At the end every id that the exchange used
was published once, or spent on the stream, or told as missing and then as what became of it; and
the process is as large as it was after the first days. The suite takes a small dose.
"""

import gc
import logging
import random
import resource
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueUnreachableError
from fanout.protocol import Gap, GapState, Record, Trade
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.stand.loopback import Exchange, Row

DAY_S: Final = 86_400.0
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
CALM_S: Final = 300.0
"""At the end, in which nothing goes wrong any more and everything is settled."""

ISSUED, SPENT, TRADED, OPEN, SETTLED = 1, 2, 4, 8, 16
"""What is known of an id, as bits: used by the exchange; without a trade, on the stream; published;
told as missing; told what became of it."""


class Ledger:
    """What became of each id, a byte each."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._first = 8_000_000_000
        self._ids = {each: bytearray() for each in SYMBOLS}
        self.told: Counter[str] = Counter()

    def issue(self, rows: list[Row]) -> None:
        for row in rows:
            self._ids[row.symbol].append(ISSUED | (SPENT if row.kind == "NA" else 0))

    def take(self, records: list[Record]) -> None:
        for record in records:
            match record:
                case Trade(symbol=symbol, trade_id=trade_id):
                    self._mark(symbol, trade_id, TRADED)
                    self.told["trades, back-filled" if record.back_filled else "trades"] += 1
                case Gap(instrument=instrument, state=state):
                    what = OPEN if state is GapState.OPEN else SETTLED
                    for trade_id in range(record.first_id, record.last_id + 1):
                        self._mark(instrument.symbol, trade_id, what)
                    self.told[f"ids told as {state.name}"] += record.last_id - record.first_id + 1
                case _:
                    self.told[type(record).__name__] += 1

    def _mark(self, symbol: str, trade_id: int, what: int) -> None:
        ids, place = self._ids[symbol], trade_id - self._first
        assert ids[place] & ISSUED, f"{symbol} {trade_id} was made up"
        assert not ids[place] & what, f"{symbol} {trade_id} is told twice"
        assert what is not SETTLED or ids[place] & OPEN, f"{symbol} {trade_id} was not open"
        ids[place] |= what

    def close(self) -> None:
        """Every id that was used, from the first that was published on, is accounted for."""
        for symbol, ids in self._ids.items():
            first = next(place for place, each in enumerate(ids) if each & TRADED)
            for place in range(first, len(ids)):
                each = ids[place]
                is_whole = each & TRADED or each & SETTLED or each & SPENT
                assert is_whole, f"{symbol} {self._first + place} is nowhere"
                assert bool(each & OPEN) == bool(each & SETTLED), f"{symbol} {place} is left open"
            self.told["ids used"] += len(ids) - first


class Trouble:
    """What goes wrong, at random, until a moment."""

    def __init__(self, exchange: Exchange, ledger: Ledger, chance: random.Random) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._chance = chance
        self.counts: Counter[str] = Counter()

    async def market(self, symbol: str, mean_s: float, until_s: float) -> None:
        """Trades, now and then a sweep of many; a few of them skipped, repeated or swapped."""
        while trio.current_time() < until_s:
            await trio.sleep(self._chance.expovariate(1 / mean_s))
            count = 1 if self._chance.random() < 0.95 else self._chance.randint(2, 60)
            kinds = self._chance.choices(
                ["MARKET", "RPI", "NA", "ADL", "INSURANCE_FUND"], [90, 8, 4, 0.2, 0.2], k=count
            )
            rows = self._exchange.trade(symbol, *kinds, skip=True)
            self._ledger.issue(rows)
            del self._exchange.rows[symbol][: -4 * self._exchange.reach]
            is_calm = trio.current_time() > until_s - CALM_S
            self._deliver(rows, "" if is_calm else self._mishap())

    def show_the_tail(self) -> None:
        """Ids behind the last one that came are known by the next trade: make one of each."""
        for socket in self._exchange.sockets:
            socket.silent = set()
        for symbol in SYMBOLS:
            rows = self._exchange.trade(symbol, skip=True)
            self._ledger.issue(rows)
            self._deliver(rows, "")

    def _mishap(self) -> str:
        kinds = ["", "skip", "repeat", "swap"]
        return self._chance.choices(kinds, [96, 1, 1, 2])[0]

    def _deliver(self, rows: list[Row], mishap: str) -> None:
        self.counts[mishap] += bool(mishap)
        if mishap == "skip":
            rows = rows[self._chance.randint(1, len(rows)) :]
        elif mishap == "repeat":
            rows = [*rows, *rows]
        elif mishap == "swap":
            rows = self._chance.sample(rows, len(rows))
        for row in rows:
            self._exchange.deliver(row)

    async def now_and_then(
        self, mean_s: float, until_s: float, act: Callable[[], Awaitable[None]]
    ) -> None:
        while True:
            await trio.sleep(self._chance.expovariate(1 / mean_s))
            if trio.current_time() > until_s - CALM_S:
                return
            await act()

    async def break_a_connection(self) -> None:
        if self._exchange.sockets:
            self.counts["broken connections"] += 1
            self._chance.choice(self._exchange.sockets).break_off()

    async def refuse_connections(self) -> None:
        self.counts["refusals"] += 1
        self._exchange.refusals = [VenueUnreachableError("HTTP 503")] * self._chance.randint(1, 8)
        await self.break_a_connection()

    async def fall_silent(self) -> None:
        if self._exchange.sockets:
            self.counts["silences"] += 1
            socket = self._chance.choice(self._exchange.sockets)
            socket.silent = {self._chance.choice(SYMBOLS)}

    async def fail_over_rest(self) -> None:
        self.counts["REST failures"] += 1
        self._exchange.rest_fault = VenueUnreachableError("HTTP 503")
        await trio.sleep(self._chance.uniform(1, 180))
        self._exchange.rest_fault = None

    async def cut_at_the_24th_hour(self) -> None:
        """As the exchange does, without a word."""
        while True:
            await trio.sleep(600)
            for opened_s, socket in self._exchange.opened:
                if trio.current_time() - opened_s >= DAY_S and socket in self._exchange.sockets:
                    self.counts["cuts at the 24th hour"] += 1
                    socket.break_off()
            del self._exchange.opened[:-50]


async def live(
    running: RunningFeed, ledger: Ledger, trouble: Trouble, days: float, mean_s: float
) -> None:
    began_s = trio.current_time()
    until_s = began_s + days * DAY_S
    async with trio.open_nursery() as nursery:
        for symbol in SYMBOLS:
            nursery.start_soon(trouble.market, symbol, mean_s, until_s + CALM_S)
        for mean_act_s, act in (
            (36 * 3_600, trouble.break_a_connection),
            (72 * 3_600, trouble.refuse_connections),
            (12 * 3_600, trouble.fall_silent),
            (6 * 3_600, trouble.fail_over_rest),
        ):
            nursery.start_soon(trouble.now_and_then, mean_act_s, until_s, act)
        nursery.start_soon(trouble.cut_at_the_24th_hour)
        resident = []
        while trio.current_time() < until_s + CALM_S:
            await trio.sleep(600)
            ledger.take(running.read())
            running.records.clear()
            running.exchange.requests.clear()
            if trio.current_time() - began_s > len(resident) * DAY_S:
                gc.collect()
                resident.append(resident_bytes())
        nursery.cancel_scope.cancel()
    ledger.told["resident KiB after a tenth"] = resident[len(resident) // 10] // 1024
    ledger.told["resident KiB at the end"] = resident[-1] // 1024


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def run(days: float, seed: int, mean_s: float) -> Counter[str]:
    """What was told in so many days, once every id is accounted for."""
    chance = random.Random(seed)
    exchange = Exchange(*SYMBOLS, reach=100)
    ledger = Ledger(exchange)
    trouble = Trouble(exchange, ledger, chance)
    async with running_feed(exchange, FeedConfig(stream="trade"), log_bytes=256 * 1024) as running:
        await live(running, ledger, trouble, days, mean_s)
        trouble.show_the_tail()
        await trio.sleep(CALM_S)
        ledger.take(running.read())
        ledger.close()
        (link, *others) = running.feed.stats().links
        ledger.told["rotations"] = link.rotations
        ledger.told["fallbacks to aggregates"] = len(others)
    return ledger.told + trouble.counts


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.stress.feed")
    parser.add_argument("days", nargs="?", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--mean", type=float, default=5.0, help="seconds from trade to trade")
    options = parser.parse_args()
    print(f"{options.days:g} days, seed {options.seed}", flush=True)
    logging.getLogger("fanout").setLevel(logging.CRITICAL)
    began_s = time.perf_counter()
    told = trio.run(
        run, options.days, options.seed, options.mean, clock=MockClock(autojump_threshold=0)
    )
    for name, count in told.items():
        print(f"{count:12,}  {name}")
    print(f"in {time.perf_counter() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
