import subprocess
import sys
from pathlib import Path

import pytest

from tests.stress.tcp.__main__ import STRESSES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stress", STRESSES)
def test_a_small_dose_of_each_stress_is_survived(stress: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.stress.tcp", stress, "--small"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
