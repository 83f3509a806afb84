"""How much is tried. With FANOUT_EXAMPLES=10 Hypothesis makes up ten times as many examples as in
the suite, with FANOUT_EVERY_VENUE=1 every scene is played at every venue, and with
FANOUT_EVERY_ROW=1 features are held against their definitions over whole recordings. With
FANOUT_SMALL_DOSES=1 the suite plays a small dose of each benchmark and of the soaks, too.
`pytest -m long` runs the tests that take as long as a thousand others."""

import os
from typing import Final

import pytest

EVERY_VENUE: Final = os.environ.get("FANOUT_EVERY_VENUE") == "1"

small_dose: Final = pytest.mark.skipif(
    os.environ.get("FANOUT_SMALL_DOSES") != "1",
    reason=".ci/run plays it by its own command, and so does the suite with FANOUT_SMALL_DOSES=1",
)
"""Marks a test of a whole benchmark or soak."""

every_row: Final = pytest.mark.skipif(
    os.environ.get("FANOUT_EVERY_ROW") != "1",
    reason="takes a minute; FANOUT_EVERY_ROW=1 plays it, and the suite some seconds of it",
)
"""Marks a test that computes every row of a recording anew."""

_FACTOR: Final = float(os.environ.get("FANOUT_EXAMPLES", "1"))


def examples(usual: int) -> int:
    """The number of examples of a property that has `usual` of them in the suite."""
    return max(1, round(usual * _FACTOR))
