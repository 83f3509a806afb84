"""Symbols without a first trade: the check tells harmless silence from faults."""

import pytest

from fanout.checks import State
from fanout.config import FeedConfig
from tests.fanout.checks.inspections import checked, exit_code, row, rows

QUICK_S = 0.4
"""Time to wait for a first trade. The simulated markets have two hundred trades a second."""


@pytest.fixture(autouse=True)
def short_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aggregates arrive within a tenth of a second, if at all."""
    monkeypatch.setattr("fanout.checks.run.LOOK_S", 1.0)


async def test_a_single_silent_symbol_fails() -> None:
    report = await checked("silence BTCUSDT", timeout_s=QUICK_S)
    silent, heard = rows(report, "first-trade").values()
    assert (silent.state, heard.state) == (State.FAIL, State.OK)
    assert silent.found.startswith("none within 400 ms; REST has one of ")
    assert "no aggregate (aggTrade) either" in silent.found
    assert "silent" in silent.advice
    assert row(report, "websocket").state is State.OK
    assert exit_code(report) == 69


async def test_a_silent_stream_fails_with_advice_on_routes() -> None:
    report = await checked("silence", timeout_s=QUICK_S)
    websocket = row(report, "websocket")
    assert websocket.state is State.FAIL
    assert "acknowledged, then silent for 400 ms" in websocket.found
    assert "/public" in websocket.advice
    assert "/market" in websocket.advice
    assert exit_code(report) == 69


async def test_the_only_symbol_fails_in_one_row_with_advice_on_routes() -> None:
    report = await checked("silence", assets=("BTCUSDT",), timeout_s=QUICK_S)
    (failed,) = [each for each in report.checks if each.state is not State.OK]
    assert (failed.name, failed.target, failed.state) == ("first-trade", "BTCUSDT", State.FAIL)
    assert failed.advice.startswith("the stream is silent")
    assert "/public" in failed.advice
    assert row(report, "websocket").found.endswith("acknowledged")
    assert exit_code(report) == 69


async def test_a_silent_symbol_with_aggregates_is_a_warning() -> None:
    report = await checked("silence BTCUSDT trade", timeout_s=QUICK_S)
    silent = row(report, "first-trade", "BTCUSDT")
    assert silent.state is State.WARN
    assert "; an aggregate within " in silent.found
    assert "--stream auto" in silent.advice
    assert exit_code(report) == 0


async def test_without_stream_auto_the_advice_mentions_aggregates() -> None:
    report = await checked(
        "silence BTCUSDT trade", timeout_s=QUICK_S, feed=FeedConfig(stream="trade")
    )
    silent = row(report, "first-trade", "BTCUSDT")
    assert silent.state is State.FAIL
    assert "aggregate" not in silent.found
    assert "--stream auto takes aggregates" in silent.advice


@pytest.mark.parametrize(("strict", "state"), [(False, State.WARN), (True, State.FAIL)])
async def test_a_rarely_traded_symbol_is_no_stream_fault(strict: bool, state: State) -> None:
    report = await checked(timeout_s=QUICK_S, rate=0.001, feed=FeedConfig(strict=strict))
    for trade in rows(report, "first-trade").values():
        assert trade.state is state
        assert "it trades seldom" in trade.found
    websocket = row(report, "websocket")
    assert websocket.state is (State.FAIL if strict else State.OK)
    assert exit_code(report) == (69 if strict else 0)


async def test_unreadable_messages_are_counted() -> None:
    report = await checked("garble BTCUSDT 1000000 how=types", timeout_s=QUICK_S)
    assert " unreadable messages)" in row(report, "first-trade", "BTCUSDT").found
