"""Symbols whose first trade does not come: which of them the service could live with."""

import pytest

from fanout.checks import State
from fanout.config import FeedConfig
from tests.fanout.checks.inspections import checked, exit_code, row, rows

QUICK_S = 0.4
"""For a first trade: the markets here have two hundred a second."""


@pytest.fixture(autouse=True)
def short_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aggregates that come do so in a tenth of a second."""
    monkeypatch.setattr("fanout.checks.run.LOOK_S", 1.0)


async def test_a_symbol_that_is_silent_alone_is_told() -> None:
    report = await checked("silence BTCUSDT", timeout_s=QUICK_S)
    silent, heard = rows(report, "first-trade").values()
    assert (silent.state, heard.state) == (State.FAIL, State.OK)
    assert silent.found.startswith("none within 400 ms; REST has one of ")
    assert "no aggregate (aggTrade) either" in silent.found
    assert "silent" in silent.advice
    assert row(report, "websocket").state is State.OK
    assert exit_code(report) == 69


async def test_a_stream_on_which_nothing_comes_is_told_with_the_routes() -> None:
    report = await checked("silence", timeout_s=QUICK_S)
    websocket = row(report, "websocket")
    assert websocket.state is State.FAIL
    assert "acknowledged, and silent for 400 ms" in websocket.found
    assert "/public" in websocket.advice
    assert "/market" in websocket.advice
    assert exit_code(report) == 69


async def test_aggregates_that_would_be_taken_instead_make_it_a_warning() -> None:
    report = await checked("silence BTCUSDT trade", timeout_s=QUICK_S)
    silent = row(report, "first-trade", "BTCUSDT")
    assert silent.state is State.WARN
    assert "; an aggregate within " in silent.found
    assert "--stream auto" in silent.advice
    assert exit_code(report) == 0


async def test_without_auto_aggregates_are_not_tried_but_mentioned() -> None:
    report = await checked(
        "silence BTCUSDT trade", timeout_s=QUICK_S, feed=FeedConfig(stream="trade")
    )
    silent = row(report, "first-trade", "BTCUSDT")
    assert silent.state is State.FAIL
    assert "aggregate" not in silent.found
    assert "--stream auto takes aggregates" in silent.advice


@pytest.mark.parametrize(("strict", "state"), [(False, State.WARN), (True, State.FAIL)])
async def test_a_symbol_that_trades_seldom_is_told_from_a_silent_one(
    strict: bool, state: State
) -> None:
    report = await checked(timeout_s=QUICK_S, rate=0.001, feed=FeedConfig(strict=strict))
    for trade in rows(report, "first-trade").values():
        assert trade.state is state
        assert "it trades seldom" in trade.found
    assert exit_code(report) == (69 if strict else 0)


async def test_messages_that_cannot_be_read_are_counted() -> None:
    report = await checked("garble BTCUSDT 1000000 how=types", timeout_s=QUICK_S)
    assert "messages cannot be read)" in row(report, "first-trade", "BTCUSDT").found
