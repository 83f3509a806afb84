"""Two checkouts are compared by what each measures of itself, in turns."""

import re
import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from tests.bench import against
from tests.bench.__main__ import main
from tests.bench.against import NothingMeasuredError, one_round, rows
from tests.bench.measure import ROOT

STAGE = '''
"""What it is."""
from types import SimpleNamespace as Row

CONTENDERS = {"fanout, plain": 100.0, "a rival": 7.0}
ROUNDS = 5

def run(*, small):
    assert ROUNDS == 1
    with open("rounds", "a") as file:
        file.write(f"{small}\\n")
    return [Row(name=name, value=value * FACTOR, unit=UNIT) for name, value in CONTENDERS.items()]
'''


def checkout(place: Path, factor: float, unit: str = "trades/s") -> Path:
    """One whose stage `ingest` gives so many times a hundred."""
    bench = place / "tests" / "bench"
    bench.mkdir(parents=True)
    for package in (bench, bench.parent):
        (package / "__init__.py").touch()
    (bench / "ingest.py").write_text(
        dedent(STAGE).lstrip().replace("FACTOR", str(factor)).replace("UNIT", repr(unit))
    )
    return place


def test_a_round_is_of_the_modules_of_its_checkout_and_leaves_rivals_out(tmp_path: Path) -> None:
    place = checkout(tmp_path, 3)
    assert one_round("ingest", place, small=True) == {"fanout, plain": (300.0, "trades/s")}
    assert (place / "rounds").read_text() == "True\n"


def test_rates_are_better_when_they_are_higher_and_times_when_they_are_lower() -> None:
    ours = [{"fanout": (110.0, "trades/s"), "fanout, p50": (2.0, "ns")}] * 3
    theirs = [{"fanout": (100.0, "trades/s"), "fanout, p50": (1.0, "ns"), "gone": (1.0, "ns")}] * 3
    found = {each.name: each for each in rows(ours, theirs)}
    assert found["fanout, this / the other"].value == pytest.approx(1.1)
    assert found["fanout, this / the other"].met
    assert found["fanout, p50, this / the other"].value == pytest.approx(0.5)
    assert not found["fanout, p50, this / the other"].met
    assert "gone" not in found


def test_the_best_round_of_each_counts() -> None:
    ours = [{"fanout, p50": (time_ns, "ns")} for time_ns in (900.0, 100.0)]
    theirs = [{"fanout, p50": (time_ns, "ns")} for time_ns in (100.0, 300.0)]
    *_, ratio = rows(ours, theirs)
    assert (ratio.value, ratio.high) == (1.0, 3.0)
    assert ratio.low == pytest.approx(1 / 9)


def test_both_are_measured_in_turns_and_more_than_5_percent_worse_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    this = checkout(tmp_path / "this", 0.94)
    other = checkout(tmp_path / "other", 1)
    monkeypatch.setattr(against, "ROOT", this)
    assert main(["ingest", "--against", str(other)]) == 1
    verdict = r"0\.94 \(0\.94 to 0\.94\) +times as good  goal >= 0\.95  MISSED"
    assert re.search(verdict, capsys.readouterr().out)
    for place in (this, other):
        assert (place / "rounds").read_text() == "False\n" * against.ROUNDS
    shutil.rmtree(this)
    checkout(this, 0.96)
    assert main(["ingest", "--against", str(other)]) == 0


@pytest.mark.parametrize("packages", [(), ("tests",), ("tests", "tests/bench")])
def test_a_checkout_where_the_stage_does_not_run_is_named_with_the_reason(
    tmp_path: Path, packages: tuple[str, ...]
) -> None:
    for each in packages:
        (tmp_path / each).mkdir()
        (tmp_path / each / "__init__.py").touch()
    reason = f"ingest did not run in {tmp_path}: there is no tests.bench.ingest"
    with pytest.raises(NothingMeasuredError, match=reason):
        one_round("ingest", tmp_path, small=True)


def test_the_other_has_to_be_a_folder_with_a_bench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["size", "--against", str(tmp_path)])
    assert end.value.code == 2
    assert f"{tmp_path} has no tests/bench" in capsys.readouterr().err


@pytest.mark.parametrize(
    "stage",
    [
        "ingest",
        pytest.param("latency", marks=pytest.mark.long),
        pytest.param("shm", marks=pytest.mark.long),
    ],
)
def test_a_round_of_a_real_stage_gives_our_figures(stage: str) -> None:
    figures = one_round(stage, ROOT, small=True)
    assert any(name.startswith("fanout, plain") for name in figures)
