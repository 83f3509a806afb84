"""When a comparison ends, what it waits for, and what it prints meanwhile, on a virtual clock."""

import math
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from fanout.cli.comparing.run import Comparing
from fanout.cli.comparing.sources import Opened, _connect
from fanout.clients.outcomes import Disconnected, DisconnectedError, Received, Restarted
from fanout.compare import Clock, Comparison, Finding, Identity, Report, What
from fanout.protocol import DataKinds, Header, Position, Quote
from tests.fanout.compare.streams import BTC, LIFE, S, trade
from tests.protocol.golden import HEADER

WITHIN_S = 10.0

Step = float | Exception | Received | Callable[[], None]


class Script:
    """A stream that brings records, waits, fails, or calls something, step by step."""

    def __init__(self, steps: Sequence[Step], *, stays: bool = True) -> None:
        self.url = "tcp://script"
        self.header: Header | None = HEADER
        self._steps = steps
        self._stays = stays

    async def connect(self) -> Header:
        return HEADER

    async def __aiter__(self) -> AsyncIterator[Received]:
        for step in self._steps:
            if isinstance(step, float):
                await trio.sleep(step)
            elif isinstance(step, Exception):
                raise step
            elif callable(step):
                step()
            else:
                yield step
                await trio.lowlevel.checkpoint()
        if self._stays:
            await trio.sleep_forever()


class Run:
    """A comparison of two scripts, and how long it took."""

    def __init__(
        self,
        a: Script,
        b: Script,
        *,
        kept: bool = False,
        header: Header = HEADER,
        wall_ns: int = 10**18,
    ) -> None:
        self.findings: list[Finding] = []
        self.saves = 0
        self.comparison = Comparison(
            self.findings.append, identity=Identity.ASCENDING, within_ns=int(WITHIN_S) * S
        )
        opened = (
            Opened(stream=a, header=header, is_kept=kept),
            Opened(stream=b, header=header),
        )
        self._comparing = Comparing(
            opened,
            self.comparison,
            clock=Clock.RECEIVED if kept else Clock.ARRIVAL,
            within_s=WITHIN_S,
            save=self._save,
            wall_ns=lambda: wall_ns,
        )

    def _save(self) -> None:
        self.saves += 1

    async def __call__(self, for_s: float = math.inf) -> tuple[Report, float]:
        begun_s = trio.current_time()
        await self._comparing.run(for_s)
        return self.comparison.finish(), trio.current_time() - begun_s


async def test_it_ends_on_time_and_waits_for_the_last_partner(autojump_clock: MockClock) -> None:
    a = Script([trade(1), 1.0, trade(2), trade(3), 4.0, trade(4)])
    b = Script([trade(1), 4.0, trade(2), trade(3)])
    report, took_s = await Run(a, b)(for_s=2.0)
    assert took_s == 4.0
    assert (report.symbols[0].matched, report.differences) == (3, 0)


async def test_it_waits_no_longer_than_a_partner_may_be_late(autojump_clock: MockClock) -> None:
    a = Script([trade(1), trade(2), trade(3)])
    b = Script([trade(1), trade(3)])
    report, took_s = await Run(a, b)(for_s=2.0)
    assert WITHIN_S < took_s <= 2.0 + WITHIN_S
    assert report.symbols[0].only_a == 1


async def test_it_ends_with_a_stream_once_the_other_had_its_time(
    autojump_clock: MockClock,
) -> None:
    a = Script([trade(1), trade(2)], stays=False)
    b = Script([trade(1), 3.0, trade(2)])
    report, took_s = await Run(a, b)()
    assert took_s == 3.0
    assert report.symbols[0].matched == 2


async def test_a_symbol_that_is_silent_in_a_live_stream_is_found_as_time_goes_on(
    autojump_clock: MockClock,
) -> None:
    a = Script([trade(1, LIFE), 15.0, trade(2)])
    b = Script([trade(1, LIFE)])
    run = Run(a, b)
    await run(for_s=30.0)
    assert [(each.what, each.number) for each in run.findings] == [(What.ONLY_A, 2)]
    assert run.saves > 50


async def test_a_journal_that_is_ahead_waits_for_the_other_stream(
    autojump_clock: MockClock,
) -> None:
    received = [replace(trade(each), received_ns=(100 + each) * S) for each in range(100)]
    kept: list[int] = []
    steps: list[Step] = []
    run = Run(Script(received, stays=False), Script(steps, stays=False), kept=True)
    for each in received:
        steps += [1.0, each, lambda: kept.append(run.comparison.kept)]
    report, _ = await run()
    assert report.symbols[0].matched == 100
    assert max(kept) < 20


async def test_a_stream_on_disk_is_never_far_ahead_and_all_quotes_are_compared(
    autojump_clock: MockClock,
) -> None:
    """Both bring 200 s as fast as they can."""
    quotes = [
        Quote(BTC, each, 0, 100, 5, 101, 6, seq=each, received_ns=each * S // 100)
        for each in range(1, 20_001)
    ]
    other = [replace(each, bid_price=99) if each.seq == 300 else each for each in quotes]
    header = replace(HEADER, data=DataKinds.QUOTES)
    run = Run(Script(quotes, stays=False), Script(other, stays=False), kept=True, header=header)
    report, took_s = await run()
    states = report.symbols[0].quotes
    assert (states.matched, states.unequal, states.only_a, states.only_b) == (20_000, 1, 0, 0)
    assert took_s < 5


async def test_a_clock_that_was_wrong_for_a_moment_holds_up_nothing(
    autojump_clock: MockClock,
) -> None:
    received = [replace(trade(each), received_ns=(100 + each) * S) for each in range(30)]
    jumped = [*received[:9], replace(received[9], received_ns=4_000 * S), *received[10:]]
    steps: list[Step] = []
    for each in received:
        steps += [1.0, each]
    run = Run(Script(jumped, stays=False), Script(steps, stays=False), kept=True, wall_ns=130 * S)
    report, _ = await run()
    assert (report.symbols[0].matched, report.differences) == (30, 0)


async def test_a_stream_that_fails_is_reported_with_what_was_compared(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    a = Script([trade(1), trade(2), DisconnectedError("tcp://script: cut")])
    b = Script([trade(1), trade(2)], stays=False)
    report, _ = await Run(a, b)()
    assert report.symbols[0].matched == 2
    assert capsys.readouterr().err == "fanout: A is over: tcp://script: cut\n"


async def test_lost_connections_and_restarts_are_said(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    restarted = Restarted(before=Position(epoch_ns=1, seq=9), epoch_ns=2)
    a = Script([trade(1), Disconnected(why="cut", pause_s=1.0), restarted, trade(2)], stays=False)
    report, _ = await Run(a, Script([trade(1), trade(2)], stays=False))()
    assert (report.a.disconnects, report.a.restarts) == (1, 1)
    assert "cut; trying again in 1.0 s" in capsys.readouterr().err


async def test_instruments_that_join_later_are_compared_too(autojump_clock: MockClock) -> None:
    few = replace(HEADER, instruments=HEADER.instruments[:1], references=HEADER.references[:1])
    a, b = (Script([trade(1), trade(2, LIFE)], stays=False) for _ in "AB")
    report, _ = await Run(a, b, header=few)()
    assert [each.matched for each in report.symbols] == [1, 1]


async def test_a_stream_that_does_not_answer_is_named(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    class Late(Script):
        async def connect(self) -> Header:
            await trio.sleep(5)
            return HEADER

    headers: dict[int, Header] = {}
    await _connect({0: Script([]), 1: Late([])}, headers)
    assert set(headers) == {0, 1}
    assert capsys.readouterr().err == "fanout: waiting for tcp://script to answer\n"


async def test_a_signal_ends_it_and_another_ends_the_wait(autojump_clock: MockClock) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    a = Script([trade(1), trade(2), trade(3), 0.5, interrupt, 1.0, interrupt])
    b = Script([trade(1), trade(3)])
    report, took_s = await Run(a, b)()
    assert took_s < WITHIN_S
    assert report.symbols[0].only_a == 1
