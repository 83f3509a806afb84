import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_small_soak_breaks_no_promise(tmp_path: Path) -> None:
    report = tmp_path / "soak.json"
    options = ["--minutes", "0.12", "--json", str(report)]
    command = [sys.executable, "-W", "error", "-m", "tests.soak", *options]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=150
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
    outcome = json.loads(report.read_text())["outcome"]
    assert outcome["consumers"] == 50
    assert outcome["delivered"] > 1_000
    assert outcome["mischief"]
