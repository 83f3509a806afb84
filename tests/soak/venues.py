"""A soak of six exchanges: one service, a source for each market, and faults at one after another.

    a simulator for each market --stream, rest: spoiled--> its source --> its channel

Of each exchange there are 20 symbols with trades, quotes and books, some spread over two markets.
One market misbehaves at a time, in all ways that its dialect knows. Meanwhile the others have to
show nothing: no STATUS but LIVE, no gap, no loss, no end of a connection.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle
from math import inf
from pathlib import Path
from time import time
from typing import Final

import trio

from fanout.clients.outcomes import Received
from fanout.clients.tcp import TcpClient
from fanout.protocol import FeedState, Gap, GapState, Snapshot, Status
from tests.fanout.cli.processes import environment
from tests.soak.channels import Channel, ManyChannels, Plan, Site, soak_of
from tests.soak.figures import Sampler
from tests.soak.run import DATA, RECOVERY_S, Outcome
from tests.stand.account import spans_of
from tests.stand.consumers import AsyncioConsumer, BlockingConsumer, Consumer, TrioConsumer

RATE: Final = 3.0
"""Trades a second of a market, for each of its symbols."""
AFTERMATH_S: Final = 30.0
"""For so long after its turn a market may still show what was wrong, and then until all is well:
silence is told after 12 seconds, and a limit ends with its minute."""
LONGEST_TURN_S: Final = 60.0
COME_UP_S: Final = 30.0
UNSHARP_S: Final = 15.0
"""So much before a turn a trade may have been the newest one of its symbol. And the exchange's
clock may be wrong by some seconds."""
LOOK_EVERY_S: Final = 0.1


def _plan(venue: str, count: int, dialect: str = "", skipped: int = 0) -> Plan:
    return Plan(venue, venue, dialect or venue, {venue: (count, DATA)}, RATE * count, skipped)


_ALL: Final = (
    _plan("binance", 10, "binance-usdm"),
    _plan("binance-spot", 10),
    # Each level is a message, of which the busiest symbols have hundreds a second.
    _plan("bitfinex", 20, skipped=10),
    _plan("bybit", 10),
    _plan("bybit-spot", 10),
    _plan("coinbase", 10),
    _plan("coinbase-advanced", 10),
    _plan("deribit", 20),
    _plan("okx", 20),
)

PLANS: Final = {each.venue: each for each in _ALL}
"""By the name of the venue."""

CREDENTIALS: Final = {
    "FANOUT_DERIBIT_CLIENT_ID": "the-id",
    "FANOUT_DERIBIT_CLIENT_SECRET": "the-secret",
}
"""The simulator takes any. With them Deribit has raw channels, and faults of authentication."""

Turn = tuple[float, float]
"""Unix times."""


class Calm:
    """What a channel's witness was told, held against whether anything may be wrong now."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.is_concerned = True
        """Whether its market misbehaves, or did until lately. At first it has to come up."""
        self.slowest_s = 0.0
        """The longest from the end of a turn until all was well."""
        self._ended_s: float | None = None
        self._is_overdue = False
        """Whether it is reported that it is not well since its turn."""
        self._told = 0
        self._states: dict[str, FeedState] = {}
        self._missing = 0
        """Ids of open gaps."""
        self._shown = Counter[str]()
        self._turns: list[Turn] = []

    @property
    def shown(self) -> int:
        """Records other than LIVE that it was told in its turns."""
        return self._shown.total()

    def begin(self) -> None:
        """Its market begins to misbehave."""
        self.look()
        self.is_concerned, self._ended_s, self._is_overdue = True, None, False
        self._turns.append((time() - UNSHARP_S, inf))

    def end(self, now_s: float) -> None:
        self._ended_s = now_s
        began_s, _ = self._turns[-1]
        self._turns[-1] = began_s, time() + AFTERMATH_S

    def look(self) -> None:
        """Take what the witness has been told since the last time."""
        told = self.channel.witness.reader.told
        for _, record in told[self._told :]:
            self._take(record)
        self._told = len(told)

    def settle(self, now_s: float) -> None:
        """From here on nothing may be wrong, if all is well. It has to be, in time."""
        if not self.is_concerned or self._ended_s is None:
            return
        after_s = now_s - self._ended_s
        if not self.is_well:
            self.slowest_s = max(self.slowest_s, after_s)
            if after_s > RECOVERY_S:
                self.require_well(f"{RECOVERY_S:.0f} s after it misbehaved")
        elif after_s > AFTERMATH_S:
            self.is_concerned = False
            # What a symbol traded until it was LIVE again is told as missing right behind that.
            began_s, ended_s = self._turns[-1]
            self._turns[-1] = began_s, max(ended_s, time())

    def require_well(self, when: str) -> None:
        """Complain if it is not, once a turn."""
        if self.is_well or self._is_overdue:
            return
        self._is_overdue = True
        self.channel.oracle.complain("P4", f"{when} it is not well: {self._wrong()}")

    @property
    def is_well(self) -> bool:
        return not (self._not_live() or self._missing or self._unknown_books)

    def _wrong(self) -> str:
        found = [f"{self._missing} ids in open gaps"] if self._missing else []
        if self._unknown_books:
            found.append(f"no book of {', '.join(sorted(self._unknown_books))}")
        found += [
            f"{symbol} is {'without a state' if state is None else state.name}"
            for symbol, state in self._not_live().items()
        ]
        return "; ".join(found)

    def _not_live(self) -> dict[str, FeedState | None]:
        states = {each: self._states.get(each) for each in self.channel.symbols}
        return {each: state for each, state in states.items() if state is not FeedState.LIVE}

    @property
    def _unknown_books(self) -> list[str]:
        return self.channel.witness.reader.unknown_books

    def _take(self, record: Received) -> None:
        if isinstance(record, Snapshot) or self._is_live(record):
            return
        self._shown[type(record).__name__] += 1
        if not self.is_concerned and not self._is_late(record):
            self.channel.oracle.complain("P5", f"{_short(record)}, and another market misbehaves")

    def _is_late(self, record: Received) -> bool:
        """Whether it tells of what happened in a turn of this market. A trade that is missing shows
        when the symbol trades again. And at Bitfinex REST may be asked no more than 15 times a
        minute, so it takes minutes until all symbols are healed."""
        market = self.channel.oracle.market
        if isinstance(record, Gap):
            symbol, ids = record.instrument.symbol, (record.first_id, record.last_id)
            return all(self._is_of_a_turn(*[market.time_ms(symbol, each)] * 2) for each in ids)
        if not isinstance(record, Status) or record.instrument is None:
            return False
        spans = [*spans_of(record.instrument.symbol, [record])]
        return bool(spans) and all(self._is_of_a_turn(each.begin_ms, each.end_ms) for each in spans)

    def _is_of_a_turn(self, begin_ms: int, end_ms: int) -> bool:
        return any(
            began_s * 1_000 <= begin_ms and end_ms <= ended_s * 1_000
            for began_s, ended_s in self._turns
        )

    def _is_live(self, record: Received) -> bool:
        if isinstance(record, Gap):
            count = record.last_id - record.first_id + 1
            self._missing += count if record.state is GapState.OPEN else -count
        if not isinstance(record, Status):
            return False
        symbols = [record.instrument.symbol] if record.instrument else self.channel.symbols
        for symbol in symbols:
            if record.instrument or record.state is not FeedState.LIVE:
                self._states[symbol] = record.state
        return record.state is FeedState.LIVE and "may be missing" not in record.why


class Venues(ManyChannels):
    log_bytes = "8MiB"
    filling_mib = 36.0
    """4,096 ids of each of 50 symbols whose ids prove nothing, 180 bytes each, within half an
    hour."""

    def environment(self) -> dict[str, str]:
        return environment(**CREDENTIALS)

    def consumers(self, channel: Channel, url: str) -> list[Consumer]:
        """The witness, and one that reads in a thread, of which there are two kinds. All begin with
        the oldest record: one that joins when the symbols are LIVE is not told so."""
        oracle, name = channel.oracle, channel.name
        witness = TrioConsumer(oracle, f"{name} witness", url, start="oldest", is_concerned=False)
        if self.channels.index(channel) % 2:
            client = TcpClient(url, start="oldest")
            return [
                witness,
                BlockingConsumer(oracle, f"{name} blocking", client, is_concerned=False),
            ]
        return [
            witness,
            AsyncioConsumer(oracle, f"{name} asyncio", url, start="oldest", is_concerned=False),
        ]

    async def trouble(self, duration_s: float) -> Counter[str]:
        """Faults at one market after another."""
        self._calms = {each.site.plan.name: Calm(each) for each in self.channels}
        done: Counter[str] = Counter()
        turn_s = min(LONGEST_TURN_S, duration_s / len(self.sites))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            await self._come_up()
            with trio.move_on_after(duration_s):
                for number, site in enumerate(cycle(self.sites)):
                    await self._turn(site, number, turn_s, done)
            await self._until_well(RECOVERY_S)
            for each in self._calms.values():
                each.require_well("at the end")
            nursery.cancel_scope.cancel()
        return done

    async def _come_up(self) -> None:
        """Until all channels are well: nothing misbehaves yet."""
        await self._until_well(COME_UP_S)
        for each in self._calms.values():
            each.require_well(f"{COME_UP_S:.0f} s after the beginning")
            each.is_concerned = not each.is_well

    async def _until_well(self, within_s: float) -> None:
        with trio.move_on_after(within_s):
            while not all(each.is_well for each in self._calms.values()):  # noqa: ASYNC110
                await trio.sleep(LOOK_EVERY_S)

    async def _turn(self, site: Site, number: int, turn_s: float, done: Counter[str]) -> None:
        mischief, calm = self.mischief(site, number, turn_s), self._calms[site.plan.name]
        calm.begin()
        try:
            with trio.move_on_after(turn_s):
                await mischief.run()
        finally:
            mischief.stop()
            self.deeds += [f"{site.plan.name} {each}" for each in mischief.deeds]
            calm.end(trio.current_time())
            name = f"{site.plan.name} "
            for fault, count in mischief.done.items():
                done[name + fault.removeprefix(name)] += count

    async def _look(self) -> None:
        while True:
            await trio.sleep(LOOK_EVERY_S)
            for each in self._calms.values():
                each.look()
                each.settle(trio.current_time())

    def findings(self) -> dict[str, float]:
        return dict(self._findings())

    def _findings(self) -> Iterator[tuple[str, float]]:
        for name, calm in self._calms.items():
            yield f"{name}: told beside LIVE, while it misbehaved", calm.shown
            yield f"{name}: longest until all was well, s", round(calm.slowest_s, 1)


def _short(record: Received) -> str:
    if isinstance(record, Status):
        symbol = record.instrument.symbol if record.instrument else "the feed"
        return f"{symbol} is {record.state.name} ({record.why})"
    return str(record)


async def venues_soak(
    plans: Sequence[Plan], duration_s: float, seed: int, directory: Path
) -> tuple[Outcome, Sampler]:
    """Run one of these markets. What went wrong is among the outcome's complaints."""
    return await soak_of(Venues, plans, duration_s, seed, directory)
