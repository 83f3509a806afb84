import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_thirty_days_of_mishaps_leave_every_id_accounted_for() -> None:
    """With few trades, so that it does not take long. `python -m tests.stress.feed` has more."""
    command = [sys.executable, "-W", "error", "-m", "tests.stress.feed", "30", "--mean", "1200"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
    told = {
        name.strip(): int(count.replace(",", ""))
        for count, _, name in (line.strip().partition("  ") for line in done.stdout.splitlines())
        if name
    }
    assert told["ids used"] > 5_000
    assert told["ids told as OPEN"] > 50
    assert told["rotations"] >= 5
    grown = told["resident KiB at the end"] - told["resident KiB after a tenth"]
    assert grown < 4 * 1024, "what the feed remembers does not grow"
    for mishap in ("broken connections", "refusals", "silences", "REST failures", "skip"):
        assert told[mishap] > 0
