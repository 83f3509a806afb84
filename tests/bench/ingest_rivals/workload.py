"""The recorded trades as they are sent, and what has to be in a log when all have come.

Both recordings, merged by the time of their reception, their texts to the byte, envelope
included. For more trades than were recorded the recording begins again with ids that go on, so
that nothing is sent twice and nothing is missing.
"""

import gzip
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from heapq import merge
from itertools import islice
from struct import Struct
from typing import Final

from tests.bench.report import capture

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
PRICE_DECIMALS: Final = 2
QUANTITY_DECIMALS: Final = 3
"""Of both instruments."""

SUBSCRIBE: Final = '{"method":"SUBSCRIBE","params":["btcusdt@trade","ethusdt@trade"],"id":1}'
ANSWER: Final = b'{"result":null,"id":1}'
"""What the venue says to it, before the first trade."""

RECORD: Final = Struct("<BQqqqBB")
"""Instrument, id, time, price, quantity, whether the buyer is the maker, kind."""

_ID: Final = re.compile(rb'"t":(\d+)')


def texts(count: int) -> Iterator[bytes]:
    """`count` messages with a trade each. Raises `Unavailable` where the recordings are missing."""
    merged = [text for _, text in merge(*map(recorded, SYMBOLS))]
    in_round = {each: sum(_is_of(each, text) for text in merged) for each in SYMBOLS}
    return islice(_for_ever(merged, in_round), count)


def recorded(symbol: str) -> list[tuple[int, bytes]]:
    """The texts of a symbol's trades, each with the time of its reception in unix ns."""
    with gzip.open(capture(f"{symbol.lower()}_20240808.gz")) as lines:
        rows = (line.rstrip().partition(b" ") for line in lines)
        return [(int(received), text) for received, _, text in rows if _is_of(symbol, text)]


def _is_of(symbol: str, text: bytes) -> bool:
    return text.startswith(b'{"stream":"%b@trade"' % symbol.lower().encode())


def _for_ever(merged: list[bytes], in_round: dict[str, int]) -> Iterator[bytes]:
    shift = dict.fromkeys(SYMBOLS, 0)
    while True:
        for text in merged:
            symbol = SYMBOLS[0] if _is_of(SYMBOLS[0], text) else SYMBOLS[1]
            yield _shifted(text, shift[symbol])
        for symbol in SYMBOLS:
            shift[symbol] += in_round[symbol]


def _shifted(text: bytes, ids: int) -> bytes:
    return _ID.sub(lambda found: b'"t":%d' % (int(found[1]) + ids), text)


def checksum(records: Iterable[bytes]) -> str:
    """Of all trades in a log, each packed as `RECORD`."""
    return blake2b(b"".join(records), digest_size=16).hexdigest()
