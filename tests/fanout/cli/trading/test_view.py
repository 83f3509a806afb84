"""What a run on paper shows to people: lines as it happens, and tables of how it stands."""

import os
from contextlib import suppress

import pytest
import trio
from msgspec.structs import replace
from rich.console import Console

from fanout.cli.trading.lines import MOST_LINES, PatientOutput, WordsOutput, line_of
from fanout.cli.trading.view import rendered, tables
from fanout.protocol import Instrument
from fanout.trading.kill import KillCause
from fanout.trading.reports import KillReport, QuoteReport, Report, RiskDecision, Trust
from fanout.trading.running.floor import Floor
from fanout.trading.running.standing import standing_of
from tests.fanout.trading.running.test_floor import SETTINGS, plan, played, walk
from tests.fanout.trading.running.test_journal import BTC, ENTRIES, FILL, ORDER, STARTED
from tests.fanout.trading.test_risk import OFF

AT = 1_795_219_200_123_456_789


def named(symbol: str) -> Instrument:
    assert symbol == BTC.symbol
    return BTC


def pulled(count: int) -> KillReport:
    return KillReport(
        time_ns=AT,
        symbol="BTCUSDT",
        state="cancelling",
        cause="file",
        why="by hand",
        open_orders=tuple(range(count)),
    )


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            replace(FILL, quantity=1_500, remaining=500, position=-1_500),
            "sold 1.500 at 1.00 (conservative, order 1, 0.500 left), position -1.500, fee -0.0001",
        ),
        (pulled(2), "KILLED by file: by hand; 2 orders are open"),
        (pulled(1), "KILLED by file: by hand; 1 order is open"),
        (
            replace(pulled(0), state="latched"),
            "nothing is open; it stays killed until fanout paper reset --who NAME",
        ),
        (replace(pulled(0), state="armed", why="reset by eve"), "armed again: reset by eve"),
        (
            RiskDecision(
                time_ns=AT, symbol="BTCUSDT", is_allowed=False, check="position", why="too much"
            ),
            "order refused: too much",
        ),
        (
            RiskDecision(time_ns=AT, symbol="BTCUSDT", is_allowed=False, why="it raised"),
            "it raised",
        ),
        (Trust(time_ns=AT, symbol="BTCUSDT", is_frozen=True, why="lost"), "fills are frozen: lost"),
        (Trust(time_ns=AT, symbol="BTCUSDT", is_frozen=False, why="lost"), "fills go on"),
    ],
)
def test_what_matters_is_said_in_plain_words(report: Report, words: str) -> None:
    assert line_of(replace(report, time_ns=AT), named) == (
        f"2026-11-21T00:00:00.123Z BTCUSDT {words}"
    )


def test_a_quote_is_shown_with_its_reasons_to_who_wants_every_detail() -> None:
    quote = QuoteReport(
        time_ns=AT,
        symbol="BTCUSDT",
        bid_price=9_990,
        bid_quantity=10,
        ask_price=None,
        ask_quantity=0,
        fair_value=100.125,
        skew=-0.5,
        clamps=("the ask would meet the bid",),
        risk=("ASK 1 at 100: too much",),
    )
    assert line_of(quote, named) is None
    assert line_of(quote, named, with_quotes=True) == (
        "2026-11-21T00:00:00.123Z BTCUSDT quotes: buy 0.010 at 99.90, sell nothing; fair 100.125, "
        "skew -0.5; changed: the ask would meet the bid; refused: ASK 1 at 100: too much"
    )


def test_what_came_before_any_record_has_no_time() -> None:
    kill = replace(pulled(0), time_ns=0)
    assert line_of(kill, named) == (
        "before the first record BTCUSDT KILLED by file: by hand; 0 orders are open"
    )
    made = Floor(SETTINGS, [plan()])
    made.pull(KillCause.FILE, "by hand")
    text = rendered(standing_of(made, "sim", is_running=True))
    assert "sim on paper, running, before the first record" in text
    assert "KILLED by file before the first record: by hand; nothing is open" in text
    assert "1970" not in text


def test_the_rest_is_for_the_journal_alone() -> None:
    silent = [each for each in ENTRIES if each is not STARTED and line_of(each, named) is None]  # type: ignore[arg-type]

    assert ORDER in silent
    assert {type(each).__name__ for each in silent} == {
        "OrderReport",
        "PositionReport",
        "QuoteReport",
        "AccountReport",
    }


def floor() -> Floor:
    made = Floor(SETTINGS, [plan(limits=replace(OFF, open_orders=2, position=6))])
    played(made, walk(8, 60))
    return made


def test_the_table_has_all_of_a_desk() -> None:
    text = rendered(standing_of(floor(), "sim", is_running=True))

    for words in (
        "sim on paper, running, at 1970-01-01T00:16:4",
        "X  ",
        "trading",
        "quotes: buy 3 at",
        "model, * leads",
        "conservative *",
        "probabilistic",
        "in front",
        "open orders",
        "none",
    ):
        assert words in text, text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_no_number_is_cut_off_and_amounts_are_rounded() -> None:
    standing = standing_of(floor(), "sim", is_running=True)
    desk = standing.desks[0]
    position = replace(
        desk.positions[0],
        quantity="1234567890.12345678",
        average=1234567.891,
        realised="-1234567890.12345678",
        unrealised="-0.00700769",
        fees="2.99999999",
        equity="0",
    )
    limit = replace(desk.limits[0], value="0.123456789", limit="123456789012.12345678")
    text = rendered(
        replace(standing, desks=(replace(desk, positions=(position,), limits=(limit,)),))
    )

    assert "…" not in text
    row = next(line for line in text.splitlines() if line.startswith("conservative"))
    numbers = "1234567890.12345678 1234567.9 -1,234,567,890.12 -0.0070 3.00 0.00"
    assert row.split()[2:-1] == numbers.split()
    assert "0.12345679  123456789012.12345678" in text


def test_the_tables_fit_a_terminal_of_80_columns() -> None:
    standing = standing_of(floor(), "sim", is_running=True)
    desk = standing.desks[0]
    position = replace(
        desk.positions[0],
        quantity="-12.345",
        average=83_645.123456,
        realised="-12345.678",
        unrealised="-1234.56789",
        fees="123.456789",
        equity="-12481.4813",
        fills=12_345,
    )
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(tables(replace(standing, desks=(replace(desk, positions=(position,)),))))
    assert "…" not in capture.get()
    assert "-12.345 83645.123 -12,345.68  -1,234.57 123.46 -12,481.48 12345" in capture.get()


def test_a_kill_stands_out_with_its_reason() -> None:
    made = floor()
    made.pull(KillCause.COMMAND, "fanout paper kill: a test")
    open_orders = rendered(standing_of(made, "sim", is_running=True))
    made.settle()
    text = rendered(standing_of(made, "sim", is_running=False))

    assert "KILLED by command at" in open_orders
    assert "still open" in " ".join(open_orders.split())
    assert "fanout paper kill: a test; nothing is open" in " ".join(text.split())
    assert "last quotes, which work no more" in text
    assert "not running: as its journal leaves it" in text


def test_a_run_that_has_not_begun_is_shown_as_it_is() -> None:
    made = Floor(SETTINGS, [plan()])
    text = rendered(standing_of(made, "sim", is_running=True))

    assert "X  no market  trading" in text
    assert "fills are frozen: no whole book has come yet" in text


def fill(pipe: int) -> None:
    """Leave no room in a pipe."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b" " * 4_096)
    os.set_blocking(pipe, True)


def test_lines_for_a_slow_reader_are_dropped_live_and_waited_for_from_a_journal() -> None:
    reading, writing = os.pipe()
    is_kept = True
    output = PatientOutput(WordsOutput(writing, named), lambda: is_kept)
    report = Trust(time_ns=AT, symbol="BTCUSDT", is_frozen=False, why="")

    async def main() -> None:
        output.add([report])
        await output.flush()
        assert os.read(reading, 65_536).endswith(b" fills go on\n")
        nonlocal is_kept
        is_kept = False
        fill(writing)
        for _ in range(MOST_LINES // 100 + 5):
            output.add([report, ORDER] * 100)  # an order is for the journal alone
            await output.flush()
        assert output.dropped == 4 * 100
        with trio.move_on_after(0.01) as waited:
            await output.run()
        assert waited.cancelled_caught

    trio.run(main)
    os.close(reading)
    os.close(writing)


def said(why: str) -> Trust:
    return Trust(time_ns=AT, symbol="BTCUSDT", is_frozen=True, why=why)


@pytest.mark.parametrize("is_blocking", [True, False])
async def test_a_pipe_with_room_has_live_lines_at_once_and_the_others_in_their_order(
    is_blocking: bool,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, is_blocking)
    output = PatientOutput(WordsOutput(writing, named), lambda: False)
    wanted = ["first", *(f"number {each}" for each in range(3_000)), "x" * 10_000, "last"]
    output.add([said(wanted[0])])
    await output.flush()
    text = os.read(reading, 65_536)
    assert text.endswith(b" first\n")
    for each in wanted[1:]:
        output.add([said(each)])
        await output.flush()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.run)
        while not text.endswith(b" last\n"):
            await trio.lowlevel.wait_readable(reading)
            text += os.read(reading, 65_536)
            await output.flush()
        nursery.cancel_scope.cancel()
    assert [line.rpartition(": ")[2] for line in text.decode().splitlines()] == wanted
    assert not output.dropped
    os.close(reading)
    output.add([said("nobody reads this")])
    with pytest.raises(BrokenPipeError):
        await output.flush()
    os.close(writing)


async def test_a_pipe_that_others_have_filled_meanwhile_leaves_the_lines_to_the_writing_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    output = PatientOutput(WordsOutput(writing, named), lambda: False)
    output.add([said("why")])
    with monkeypatch.context() as patched:
        patched.setattr("os.write", lambda *_: refuse())
        await output.flush()
    with trio.move_on_after(0.01):
        await output.run()
    assert os.read(reading, 65_536).endswith(b" why\n")
    os.close(reading)
    os.close(writing)


def refuse() -> int:
    raise BlockingIOError
