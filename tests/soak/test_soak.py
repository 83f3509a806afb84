"""Both soaks in short form: nothing that was promised is broken."""

import json
import subprocess
import sys
from pathlib import Path

from tests.thoroughness import small_dose

MINUTES = "0.05"
ROOT = Path(__file__).parents[2]


def soaked(report: Path, *options: str) -> dict[str, object]:
    """The outcome of a soak that has to end well."""
    words = ["--minutes", MINUTES, "--json", str(report), *options]
    command = [sys.executable, "-W", "error", "-m", "tests.soak", *words]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=150
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
    outcome: dict[str, object] = json.loads(report.read_text())["outcome"]
    return outcome


@small_dose
def test_a_small_soak_breaks_no_promise(tmp_path: Path) -> None:
    outcome = soaked(tmp_path / "soak.json")
    assert outcome["consumers"] == 50
    for count in ("delivered", "quotes", "updates", "compared"):
        assert outcome[count] > 1_000  # type: ignore[operator]
    assert outcome["mischief"]


@small_dose
def test_a_small_soak_of_four_channels_breaks_no_promise(tmp_path: Path) -> None:
    outcome = soaked(tmp_path / "soak.json", "--wide")
    assert outcome["consumers"] == 20
    for count in ("delivered", "quotes", "updates", "compared"):
        assert outcome[count] > 1_000  # type: ignore[operator]
    assert outcome["mischief"]
