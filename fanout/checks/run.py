"""All checks of one configuration, in the order in which they depend on each other.

    machine | of each source, side by side:
              paths to the venue, side by side -> REST -> stream -> second look at silent symbols

The checks put little load on an exchange: five requests and one connection, or one for each URL of
its data. If a symbol stays silent, they send a few more requests and open a second connection.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import msgspec
import trio

from fanout.checks.machine import check_machine
from fanout.checks.network import Endpoint, check_way, endpoint_of
from fanout.checks.patience import Patience
from fanout.checks.report import Check, Fault, Name, Report, State, Subject, any_failed
from fanout.checks.silence import LOOK_S, Age, Silence, explain, look_again, newest_age_s
from fanout.checks.stream import (
    OPEN_S,
    Heard,
    Progress,
    judge_part,
    judge_stream,
    listen,
    skip_stream,
)
from fanout.checks.venue import (
    SYMBOL_ADVICE,
    Answers,
    ask_venue,
    judge_answers,
    skip_answers,
    without_patterns,
)
from fanout.config import Config, SourceConfig
from fanout.errors import ConfigError
from fanout.net.proxy import proxy_for
from fanout.net.rest import RestClient, open_rest
from fanout.net.websocket import open_websocket
from fanout.protocol.errors import reason
from fanout.service import open_venue
from fanout.venues import Venue

MANY: Final = 20
"""Up to this number of symbols, each has a row of its own. Of the silent symbols, this many are
investigated."""

NOT_LOOKED_INTO: Final = Silence(
    found=f"the check investigates the first {MANY} silent symbols only",
    advice="a quiet symbol may go for minutes without a trade: check it alone",
    is_harmless=True,
)

GRACE_S: Final = 10.0
"""Time limit for all steps together, besides the wait for first trades."""


def no_progress(words: str) -> None:
    """Show no progress."""


async def run_checks(
    config: Config,
    *,
    timeout_s: float,
    progress: Progress = no_progress,
    wall_ns: Callable[[], int] = time.time_ns,
) -> Report:
    """Check everything that a service of this configuration needs.

    The check waits `timeout_s` for first trades, and `GRACE_S` for everything else. `wall_ns`
    gives unix ns. Raises `UsageError` for an unusable proxy in the environment.
    """
    checks = list(await check_machine(config))
    found: dict[str, tuple[Check, ...]] = {}

    async def check(source: SourceConfig) -> None:
        found[source.name] = await _check_source(source, timeout_s, progress, wall_ns)

    for each in config.sources:  # raises before anything opens
        proxy_for(each.rest_url or "https://", each.feed.proxy)
    async with trio.open_nursery() as nursery:
        for each in config.sources:
            nursery.start_soon(check, each)
    for each in config.sources:
        of_whom = f"{each.venue}:" if len(config.sources) > 1 else ""
        checks += [_named(row, of_whom) for row in _folded(found[each.name])]
    return Report(tuple(checks))


async def _check_source(
    source: SourceConfig, timeout_s: float, progress: Progress, wall_ns: Callable[[], int]
) -> tuple[Check, ...]:
    """The rows of one source."""
    rows: tuple[Check, ...] = ()
    try:
        # Trades prove that an exchange can be reached; a quiet book says nothing.
        async with open_venue(msgspec.structs.replace(source, data=("trades",))) as venue:
            others = await _other_parts(source, venue)
            rows = await Inspection(source, venue, others, timeout_s, progress, wall_ns).run()
    except* ConfigError as group:
        subject = Subject(Name.SIMULATOR, ",".join(source.assets))
        rows = (subject.failed(reason(group), SYMBOL_ADVICE, Fault.CONFIG),)
    return rows


async def _other_parts(source: SourceConfig, venue: Venue) -> tuple[Venue, ...]:
    """The parts of a source's venue that have another URL than its trades."""
    if source.sim is not None:
        return ()
    async with open_venue(source) as whole:
        return tuple(each for each in whole.parts() if each.stream_url() != venue.stream_url())


def _folded(rows: tuple[Check, ...]) -> Iterator[Check]:
    """Merge the rows of many symbols in the same state into one."""
    same: dict[tuple[str, State], list[Check]] = {}
    for row in rows:
        if row.name in (Name.SYMBOL, Name.FIRST_TRADE) and row.state in (State.OK, State.SKIP):
            same.setdefault((row.name, row.state), []).append(row)
    many = {key: found for key, found in same.items() if len(found) > MANY}
    for row in rows:
        alike = many.get((row.name, row.state))
        if alike is None:
            yield row
        elif row is alike[0]:
            slowest = max(alike, key=lambda each: each.took_ms or 0)
            found = slowest.found.replace("it trades", "they trade")
            yield msgspec.structs.replace(slowest, target=f"{len(alike):,} symbols", found=found)


def _named(row: Check, of_whom: str) -> Check:
    """Prefix the target of a symbol's row with its venue, if there are several."""
    if row.name not in (Name.SYMBOL, Name.FIRST_TRADE):
        return row
    return msgspec.structs.replace(row, target=of_whom + row.target)


class Inspection:
    """The checks of one source."""

    def __init__(
        self,
        config: SourceConfig,
        venue: Venue,
        others: tuple[Venue, ...],
        timeout_s: float,
        progress: Progress,
        wall_ns: Callable[[], int],
    ) -> None:
        """`others` are the parts of the venue that bring no trades."""
        self._is_auto = config.feed.stream == "auto"
        self._is_strict = config.feed.strict
        self._symbols = config.assets
        self._venue = venue
        self._others = others
        self._timeout_s = timeout_s
        self._progress = progress
        self._wall_ns = wall_ns
        self._patience = Patience(timeout_s + GRACE_S)
        self._rest_proxy = proxy_for(venue.rest_url, config.feed.proxy)
        self._stream_proxy = proxy_for(venue.stream_url(), config.feed.proxy)

    async def run(self) -> tuple[Check, ...]:
        stream_end = endpoint_of(self._venue.stream_url(), self._stream_proxy)
        rest_end = endpoint_of(self._venue.rest_url, self._rest_proxy)
        ways = await self._check_ways(stream_end, rest_end)
        asking = open_rest(
            self._venue,
            proxy=self._rest_proxy,
            attempts=1,
            share=math.inf,  # a few requests fit even if other programs used most of the weight
            wall_s=lambda: self._wall_ns() / 1e9,
        )
        async with asking as rest:
            answers, answer_rows = await self._ask(rest, ways[rest_end])
            stream_rows = await self._hear(rest, answers, ways[stream_end])
        way_rows = [row for rows in ways.values() for row in rows]
        return (*way_rows, *answer_rows, *stream_rows)

    async def _check_ways(self, *ends: Endpoint) -> dict[Endpoint, tuple[Check, ...]]:
        """Check the path to each distinct endpoint, in this order."""
        self._progress("checking the network path")
        ways: dict[Endpoint, tuple[Check, ...]] = dict.fromkeys(ends, ())

        async def check(end: Endpoint) -> None:
            ways[end] = await check_way(end, self._patience, wall_s=lambda: self._wall_ns() / 1e9)

        async with trio.open_nursery() as nursery:
            for end in ways:
                nursery.start_soon(check, end)
        return ways

    async def _ask(
        self, rest: RestClient, way: tuple[Check, ...]
    ) -> tuple[Answers | None, tuple[Check, ...]]:
        if any_failed(way):
            return None, skip_answers(self._venue, self._symbols, "the network path failed")
        self._progress("asking REST")
        answers = await ask_venue(
            rest, self._venue, self._symbols, self._patience, wall_ns=self._wall_ns
        )
        self._symbols = answers.meant(self._symbols)
        return answers, judge_answers(answers, self._venue, self._symbols)

    async def _hear(
        self, rest: RestClient, answers: Answers | None, way: tuple[Check, ...]
    ) -> tuple[Check, ...]:
        if any_failed(way):
            return skip_stream(self._venue, self._symbols, "the network path failed")
        symbols = self._symbols
        tradable = answers.tradable(symbols) if answers else without_patterns(symbols)
        heard = await self._listen(self._venue, tradable, self._timeout_s)
        parts = [
            judge_part(await self._listen(each, tradable, OPEN_S), each, timeout_s=OPEN_S)
            for each in self._others
        ]
        silences: dict[str, Silence] = {}
        if heard.error is None and heard.awaited:
            silent = tuple(each for each in tradable if each in heard.awaited)
            silences = await self._look_again(rest, answers, silent)
        rows = judge_stream(heard, self._venue, self._symbols, silences, timeout_s=self._timeout_s)
        return (*rows, *parts)

    async def _listen(self, venue: Venue, symbols: tuple[str, ...], timeout_s: float) -> Heard:
        connect = partial(
            open_websocket,
            proxy=self._stream_proxy,
            wall_ns=self._wall_ns,
            limits=venue.limits,
            refusal=venue.refusal,
        )
        return await listen(
            connect, venue, symbols, self._patience, timeout_s=timeout_s, progress=self._progress
        )

    async def _look_again(
        self, rest: RestClient, answers: Answers | None, silent: tuple[str, ...]
    ) -> dict[str, Silence]:
        self._progress("taking a second look at silent symbols")
        fallback = self._venue.fallback()
        look = partial(self._aggregates, fallback) if fallback and self._is_auto else None
        traces = await look_again(silent[:MANY], look, self._age(rest, answers))
        unexplained = dict.fromkeys(silent[MANY:], NOT_LOOKED_INTO)
        return unexplained | {
            symbol: explain(
                each,
                waited_s=self._timeout_s,
                has_fallback=fallback is not None,
                is_auto=self._is_auto,
                is_strict=self._is_strict,
            )
            for symbol, each in traces.items()
        }

    async def _aggregates(self, fallback: Venue, symbols: tuple[str, ...]) -> dict[str, float]:
        return (await self._listen(fallback, symbols, LOOK_S)).first_s

    def _age(self, rest: RestClient, answers: Answers | None) -> Age | None:
        if answers is None or answers.error is not None:
            return None
        return partial(newest_age_s, rest, self._venue, answers.clock, wall_ns=self._wall_ns)
