import subprocess
import sys

import pytest


@pytest.mark.parametrize(("stress", "count"), [("torn", 20_000), ("frames", 20_000)])
def test_a_small_dose_of_each_stress_is_survived(stress: str, count: int) -> None:
    """`python -m tests.stress.ring` has a thousand million reads, and a million frames."""
    command = [sys.executable, "-W", "error", "-m", "tests.stress.ring", stress, str(count), "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{stress} {count}" in done.stdout
