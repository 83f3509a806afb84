"""The trades that a venue sends in the stages, and the checksum of a log that holds all of them.

The frames of both symbols are merged by the time of their reception and are sent to the byte,
envelope included. For more trades than the market has, it begins again with ids that go on, so that
no id comes twice and none is missing.
"""

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from heapq import merge
from itertools import islice
from struct import Struct
from typing import Final

from tests.bench.market import SYMBOLS, frames, is_of

SUBSCRIBE: Final = '{"method":"SUBSCRIBE","params":["btcusdt@trade","ethusdt@trade"],"id":1}'
ANSWER: Final = b'{"result":null,"id":1}'
"""What the venue says to it, before the first trade."""

RECORD: Final = Struct("<BQqqqBB")
"""Instrument, id, time, price, quantity, whether the buyer is the maker, kind."""

_ID: Final = re.compile(rb'"t":(\d+)')


def texts(count: int) -> Iterator[bytes]:
    """`count` messages with a trade each. Raises `Unavailable` as `market.frames` does."""
    merged = [text for _, text in merge(*map(frames, SYMBOLS))]
    in_round = {each: sum(is_of(each, text) for text in merged) for each in SYMBOLS}
    return islice(_for_ever(merged, in_round), count)


def _for_ever(merged: list[bytes], in_round: dict[str, int]) -> Iterator[bytes]:
    shift = dict.fromkeys(SYMBOLS, 0)
    while True:
        for text in merged:
            symbol = SYMBOLS[0] if is_of(SYMBOLS[0], text) else SYMBOLS[1]
            yield _shifted(text, shift[symbol])
        for symbol in SYMBOLS:
            shift[symbol] += in_round[symbol]


def _shifted(text: bytes, ids: int) -> bytes:
    return _ID.sub(lambda found: b'"t":%d' % (int(found[1]) + ids), text)


def checksum(records: Iterable[bytes]) -> str:
    """Of all trades in a log, each packed as `RECORD`."""
    return blake2b(b"".join(records), digest_size=16).hexdigest()
