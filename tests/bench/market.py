"""The trades that the stages send: the recordings, or a synthetic market where there are none.

The recordings lie beside the project and are not part of it, so a clone has none. Without them the
stages measure as many synthetic trades instead (`synthetic.py`), and the report names them.
"""

import gzip
import os
from typing import Final

from tests import captures
from tests.bench.report import capture
from tests.bench.synthetic import MARKETS, SEED, Row, synthetic

SYMBOLS: Final = tuple(MARKETS)
PRICE_DECIMALS: Final = 2
QUANTITY_DECIMALS: Final = 3
"""Of both instruments."""


def frames(symbol: str) -> list[Row]:
    """The trade frames of a symbol in the order in which they came: recorded, else synthetic.

    Raises `Unavailable` if there is no recording and FANOUT_REQUIRE_CAPTURES=1 requires it.
    """
    return recorded(symbol) if _is_recorded(symbol) else list(synthetic(symbol))


def origin() -> str:
    """Where the trades come from, for the report: `recorded`, or `synthetic` and the reason."""
    missing = [each for each in SYMBOLS if not _is_recorded(each)]
    if not missing:
        return "recorded"
    names = ", ".join(map(recording_of, missing))
    return f"synthetic, seed {SEED}: no {names} in {captures.DATA}"


def require() -> None:
    """For a stage whose processes ask for the frames: raises `Unavailable` as `frames` does, before
    it starts any."""
    for symbol in SYMBOLS:
        if _is_recorded(symbol):
            capture(recording_of(symbol))


def recorded(symbol: str) -> list[Row]:
    """From the recording. Raises `Unavailable` where it is missing."""
    with gzip.open(capture(recording_of(symbol))) as lines:
        parts = (line.rstrip().partition(b" ") for line in lines)
        return [(int(received), text) for received, _, text in parts if is_of(symbol, text)]


def recording_of(symbol: str) -> str:
    """The name of the recording's file."""
    return f"{symbol.lower()}_20240808.gz"


def is_of(symbol: str, text: bytes) -> bool:
    """Whether a frame brings a trade of this symbol."""
    return text.startswith(b'{"stream":"%b@trade"' % symbol.lower().encode())


def _is_recorded(symbol: str) -> bool:
    is_required = os.environ.get("FANOUT_REQUIRE_CAPTURES") == "1"
    return is_required or (captures.DATA / recording_of(symbol)).exists()
