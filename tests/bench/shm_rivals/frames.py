"""The frames, and what the two processes do with them: the same for every way between them.

*Paced*, a frame leaves every 100 µs with the moment inside, and the reader notes how old it is when
it has it. In a *flood* frames leave as quickly as they are taken. A reader looks again until there
is something, which for one that blocks is once. Each frame is numbered and compared with what was
sent, when its age is known.
"""

import time
from collections.abc import Callable
from itertools import cycle, islice
from struct import Struct
from typing import Final

PADDING: Final = bytes(range(80))
_FRAME: Final = Struct("<IQ80sQ")
"""Length, number, padding, and the moment of sending. One call that makes it of all of them takes a
sixth of the time that `to_bytes` and `+` do, which would be part of every age."""
_PAYLOAD: Final = Struct("<Q80sQ")
pack: Final = _FRAME.pack
FRAME_BYTES: Final = _FRAME.size
PAYLOAD_BYTES: Final = _PAYLOAD.size
assert FRAME_BYTES == 100

PACE_NS: Final = 100_000
PACED_WARM_UP: Final = 200
FLOOD_WARM_UP: Final = 20_000
"""More frames than fit any queue: what is counted has been written while it was read."""

Send = Callable[[bytes], object]
"""Gives False where there is no room, and True or None when the frame is sent."""
Receive = Callable[[], bytes | None]
"""Gives a frame, with its length or without, or None where there is none."""


class WrongFrameError(Exception):
    """What came is not what was sent."""


def framed(number: int, sent_ns: int) -> bytes:
    return pack(PAYLOAD_BYTES, number, PADDING, sent_ns)


FLOOD: Final = [framed(number, 0) for number in range(256)]


def write_paced(send: Send, count: int, *, rest_s: float = 0.0) -> None:
    """`rest_s` is how long the writer sleeps after each frame, if it has to."""
    clock = time.perf_counter_ns
    due_ns = clock()
    for number in range(count):
        due_ns += PACE_NS
        while (now_ns := clock()) < due_ns:
            pass
        send(pack(PAYLOAD_BYTES, number, PADDING, now_ns))
        if rest_s:
            time.sleep(rest_s)


def read_paced(receive: Receive, count: int) -> list[int]:
    """How old each frame is on arrival, in ns. Raises `WrongFrameError`."""
    clock, ages = time.perf_counter_ns, []
    for number in range(count):
        while (frame := receive()) is None:
            pass
        now_ns = clock()
        came, padding, sent_ns = _PAYLOAD.unpack(frame[-PAYLOAD_BYTES:])
        if (came, padding) != (number, PADDING):
            raise WrongFrameError(f"frame {came} came where {number} was due")
        ages.append(now_ns - sent_ns)
    return ages


def write_flood(send: Send, count: int) -> None:
    for frame in islice(cycle(FLOOD), count):
        while send(frame) is False:
            pass


def read_flood(receive: Receive, count: int, warm_up: int, length_bytes: int) -> float:
    """Frames per second, of all but the first `warm_up`. The first `length_bytes` of each frame do
    not come, where the way takes its length off. Raises `WrongFrameError`."""
    expected = cycle([each[length_bytes:] for each in FLOOD])
    _read(receive, islice(expected, warm_up))
    began_ns = time.perf_counter_ns()
    _read(receive, islice(expected, count - warm_up))
    return (count - warm_up) * 1e9 / (time.perf_counter_ns() - began_ns)


def _read(receive: Receive, expected: "islice[bytes]") -> None:
    for each in expected:
        while (frame := receive()) is None:
            pass
        if frame != each:
            raise WrongFrameError(f"{frame!r} came where {each!r} was due")


def clock_ages(count: int) -> list[int]:
    """How old frames are that go nowhere: what of every age is not the way's."""
    clock, ages = time.perf_counter_ns, []
    for number in range(count):
        now_ns = clock()
        frame = pack(PAYLOAD_BYTES, number, PADDING, now_ns)
        now_ns = clock()
        ages.append(now_ns - _PAYLOAD.unpack(frame[-PAYLOAD_BYTES:])[2])
    return ages
