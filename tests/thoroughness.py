"""How much is tried. With FANOUT_EXAMPLES=10 Hypothesis makes up ten times as many examples as in
the suite, and with FANOUT_EVERY_VENUE=1 every scene is played at every venue."""

import os
from typing import Final

EVERY_VENUE: Final = os.environ.get("FANOUT_EVERY_VENUE") == "1"

_FACTOR: Final = float(os.environ.get("FANOUT_EXAMPLES", "1"))


def examples(usual: int) -> int:
    """The number of examples of a property that has `usual` of them in the suite."""
    return max(1, round(usual * _FACTOR))
