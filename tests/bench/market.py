"""What the stages send: the recordings, or a synthetic market where there are none.

The recordings lie beside the project and are not part of it, so a clone has none. Without them the
stages measure as many synthetic trades (`synthetic.py`) and updates of an order book
(`synthetic_book.py`) instead, and the report names them.
"""

import gzip
import os
from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from typing import Final

from tests import captures
from tests.bench.report import capture
from tests.bench.synthetic import MARKETS, SEED, Row, synthetic
from tests.bench.synthetic_book import SYMBOL as BOOK_SYMBOL
from tests.bench.synthetic_book import synthetic_book

SYMBOLS: Final = tuple(MARKETS)
PRICE_DECIMALS: Final = 2
QUANTITY_DECIMALS: Final = 3
"""Of both instruments."""


def frames(symbol: str) -> list[Row]:
    """The trade frames of a symbol in the order in which they came: recorded, else synthetic.

    Raises `Unavailable` if there is no recording and FANOUT_REQUIRE_CAPTURES=1 requires it.
    """
    return recorded(symbol) if _is_recorded(symbol) else list(synthetic(symbol))


def book_lines() -> Iterator[Row]:
    """The lines of `BOOK_SYMBOL` in the order in which they came, among them the REST snapshot of
    the book, its updates and quotes: recorded, else synthetic.

    Raises `Unavailable` as `frames` does.
    """
    return recorded_lines(BOOK_SYMBOL) if _is_recorded(BOOK_SYMBOL) else synthetic_book()


def sources() -> tuple[str, ...]:
    """The symbols of which there is everything: trades, quotes and a book."""
    return SYMBOLS if _is_recorded(BOOK_SYMBOL) else (BOOK_SYMBOL,)


def every_line(symbol: str) -> Iterator[Row]:
    """All lines of one of the `sources`, in the order in which they came: recorded, else synthetic.

    Raises `Unavailable` as `frames` does.
    """
    if _is_recorded(symbol):
        return recorded_lines(symbol)
    return merge(synthetic(symbol), synthetic_book(), key=itemgetter(0))


def origin() -> str:
    """Where all of it comes from, for the report: `recorded`, or `synthetic` and the reason."""
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
    return [row for row in recorded_lines(symbol) if is_of(symbol, row[1])]


def recorded_lines(symbol: str) -> Iterator[Row]:
    """Of all streams, and of REST. Raises `Unavailable` where the recording is missing."""
    with gzip.open(capture(recording_of(symbol))) as lines:
        for line in lines:
            received, _, text = line.rstrip().partition(b" ")
            yield int(received), text


def recording_of(symbol: str) -> str:
    """The name of the recording's file."""
    return f"{symbol.lower()}_20240808.gz"


def is_of(symbol: str, text: bytes) -> bool:
    """Whether a frame brings a trade of this symbol."""
    return text.startswith(b'{"stream":"%b@trade"' % symbol.lower().encode())


def _is_recorded(symbol: str) -> bool:
    is_required = os.environ.get("FANOUT_REQUIRE_CAPTURES") == "1"
    return is_required or (captures.DATA / recording_of(symbol)).exists()
