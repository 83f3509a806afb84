"""Where the recorded market data lies: beside the project, never in it.

A test that needs a capture asks here for its path. Where the data is missing the test is skipped,
unless FANOUT_REQUIRE_CAPTURES=1 says that this machine should have it: then it fails.
"""

import os
from pathlib import Path
from typing import NoReturn

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def capture_path(name: str) -> Path:
    path = DATA / name
    return path if path.exists() else _missing(name)


def _missing(name: str) -> NoReturn:
    import pytest  # here, since a benchmark's children import this module, and it takes 0.2 s

    reason = f"no capture {name} in {DATA}"
    if os.environ.get("FANOUT_REQUIRE_CAPTURES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
