"""The run of a whole venue on disk, in short, and what its checks find."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fanout.simulator.market.ledger import IdRange
from tests.soak.consolidate import (
    Account,
    Ended,
    as_compared,
    as_issued,
    as_recorded,
    same_everywhere,
)
from tests.soak.record import MergedRecord, Noted, Record, compared
from tests.thoroughness import small_dose

ROOT = Path(__file__).parents[2]


NOTED = Noted("A", 5, "61800.30", "0.004", True, 1_000, 1_001)


def recorded(path: Path, *noted: Noted) -> Record:
    record = Record(path)
    for each in noted:
        record.add(each)
    record.close()
    return record


def account(*ids: int, said: str = "x", symbol: str = "A") -> Account:
    made = Account()
    for each in ids:
        made.add(symbol, each, said)
    return made


def ended(**accounts: object) -> Ended:
    same = account(5, 6, 7)
    ranges = (IdRange(3, 6, "MARKET"), IdRange(7, 7, "NA"), IdRange(8, 20, "MARKET"))
    run = SimpleNamespace(
        **{
            "tcp": same,
            "journal": same,
            "rings": same,
            "symbols": ["A"],
            "joined": {"A": 4},
            "ending": {"A": 8},
            "simulator": SimpleNamespace(issued=lambda symbol: ranges),
            **accounts,
        }
    )
    return cast(Ended, run)


def test_a_hole_a_digit_and_an_order_are_found() -> None:
    assert not list(same_everywhere(ended()))
    for wrong in (
        account(5, 7),
        account(5, 7, 6),
        account(5, 6, 7, 8),
        account(5, 6, 7, said="y"),
        account(5, 6, 7, symbol="B"),
    ):
        assert list(same_everywhere(ended(rings=wrong)))
        assert list(same_everywhere(ended(journal=wrong)))


def test_ids_that_the_exchange_did_not_issue_or_that_are_missing_are_found() -> None:
    assert not list(as_issued(ended(rings=account(5, 6, 8, 9))))
    for wrong in (
        account(5, 6, 7, 8),
        account(5, 8),
        account(5, 6, 6, 8),
        account(5, 6, 8, 20, 21),
        account(6, 8),
        account(5, 6),
        account(symbol="B"),
    ):
        assert list(as_issued(ended(rings=wrong)))
    quiet = ended(rings=Account(), ending={"A": 4})
    assert not list(as_issued(quiet))


def test_a_record_gives_back_what_was_noted(tmp_path: Path) -> None:
    (trade,) = recorded(tmp_path / "a", NOTED)
    assert (trade.symbol, trade.trade_id, trade.time_ms) == ("A", 5, 1_000)
    assert (trade.price_text, trade.quantity_text) == ("61800.30", "0.004")
    assert (trade.buyer_is_maker, trade.received_ns) == (True, 1_001_000_000)


def test_records_in_no_order_are_read_in_that_of_receipt(tmp_path: Path) -> None:
    merged = MergedRecord(tmp_path / "rings")
    for times in ((1, 5, 9), (2, 3)):
        merged.begin()
        for each in times:
            merged.add(NOTED._replace(received_ms=each))
    merged.close()
    assert [each.received_ns // 10**6 for each in merged] == [1, 2, 3, 5, 9]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"received_ms": 1_900}, []),
        ({"price": "61800.3"}, []),
        ({"price": "61800.31"}, ["price"]),
        ({"quantity": "0.0041"}, ["quantity"]),
        ({"buyer_is_maker": False}, ["side"]),
        ({"time_ms": 1_001}, ["time"]),
        ({"trade_id": 6}, ["only-a", "only-b"]),
    ],
)
def test_what_differs_from_the_record_of_the_exchange_is_found(
    changes: dict[str, object], found: list[str], tmp_path: Path
) -> None:
    around = [NOTED._replace(trade_id=1), NOTED._replace(trade_id=9, received_ms=2_000)]
    a = recorded(tmp_path / "a", around[0], NOTED, around[1])
    b = recorded(tmp_path / "b", around[0], NOTED._replace(**changes), around[1])  # type: ignore[arg-type]
    report, findings = compared(a, b, ["A"])
    assert sorted(each.field or each.what.value for each in findings) == found
    assert report.compared == 3 + (found == ["only-a", "only-b"])
    same = account(1, 5, 9)
    same.record = b
    run = ended(issued=a, tcp=same, journal=same, rings=same)
    assert len(list(as_recorded(run))) == 3 * len(found)
    same.trades = 5
    assert "could be compared" in list(as_recorded(run))[-1]


def test_a_command_that_finds_differences_or_says_something_is_found() -> None:
    def said(code: int, stdout: str, stderr: str = "") -> list[str]:
        done = subprocess.CompletedProcess([], code, stdout, stderr)
        return list(as_compared(ended(command=done)))

    assert said(0, "equal: 3 trades, from") == []
    assert said(0, "equal: 2 trades, from") == [
        "fanout compare ended with 0: equal: 2 trades, from"
    ]
    assert said(3, "different: 1") == ["fanout compare ended with 3: different: 1"]
    assert said(0, "equal: 3 trades", "why") == ["fanout compare ended with 0: why"]


@small_dose
def test_a_small_run_breaks_nothing(tmp_path: Path) -> None:
    words = ["--minutes", "0.1", "--symbols", "40", "--directory", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.soak.consolidate", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
