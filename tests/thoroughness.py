"""How many examples Hypothesis makes up. FANOUT_EXAMPLES=10 has ten times as many as the suite."""

import os
from typing import Final

_FACTOR: Final = float(os.environ.get("FANOUT_EXAMPLES", "1"))


def examples(usual: int) -> int:
    """The number of examples of a property that has `usual` of them in the suite."""
    return max(1, round(usual * _FACTOR))
