"""The run of a whole venue on disk, in short, and what its checks find."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from fanout.simulator.market.ledger import IdRange
from tests.soak.consolidate import Account, Ended, as_issued, same_everywhere
from tests.thoroughness import small_dose

ROOT = Path(__file__).parents[2]


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
