"""The trades with the times at which they were received, for the stage latency."""

from bisect import bisect_left
from collections.abc import Sequence
from heapq import merge
from itertools import accumulate
from struct import Struct
from typing import Final

import msgspec

from tests.bench.ingest_rivals.sender import framed
from tests.bench.market import SYMBOLS, frames

PIECE: Final = Struct("<QI")
"""In front of each in a schedule: when it is due, in ns, and its length."""

NS_PER_S: Final = 1_000_000_000


class Message(msgspec.Struct, frozen=True):
    """A message as it was received, and when, in ns from some moment on."""

    at_ns: int
    text: bytes


def recorded() -> list[Message]:
    """Trades of both symbols, in the order in which they came. Raises `Unavailable` as
    `market.frames` does."""
    return list(merge(*map(_of, SYMBOLS), key=lambda each: each.at_ns))


def _of(symbol: str) -> list[Message]:
    # The recorder's clock was set back now and then. The order of the lines is the true one.
    rows = frames(symbol)
    times = accumulate((received_ns for received_ns, _ in rows), max)
    return [Message(at_ns, text) for at_ns, (_, text) in zip(times, rows, strict=True)]


def busiest(messages: Sequence[Message], span_ns: int) -> tuple[int, int]:
    """From which message up to which there are the most in such a span."""
    times = [each.at_ns for each in messages]
    ends = [bisect_left(times, at_ns + span_ns) for at_ns in times]
    first = max(range(len(times)), key=lambda index: ends[index] - index)
    return first, ends[first]


def replayed(
    messages: Sequence[Message], *, span_s: float, lead_s: float, speed: float
) -> tuple[list[Message], int]:
    """The busiest part of a recording, at another speed, from 0 ns on, and how many messages before
    it are to be played as well."""
    first, end = busiest(messages, int(span_s * speed * NS_PER_S))
    lead_ns = messages[first].at_ns - int(lead_s * speed * NS_PER_S)
    begin = bisect_left(messages, lead_ns, key=lambda each: each.at_ns)
    start_ns = messages[begin].at_ns
    part = [
        Message(int((each.at_ns - start_ns) / speed), each.text) for each in messages[begin:end]
    ]
    return part, first - begin


def schedule_of(messages: Sequence[Message]) -> bytes:
    """For the program that plays them: as WebSocket frames."""
    frames = (framed(each.text) for each in messages)
    return b"".join(
        PIECE.pack(each.at_ns, len(data)) + data
        for each, data in zip(messages, frames, strict=True)
    )
