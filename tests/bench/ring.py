"""The ring that many read, beside TCP, the queue and iceoryx2.

Workload: three parts.

- *alone*: in one process, 5,000 blocks of 200 bytes are pushed, then popped, and then the empty
  ring is looked at as often; again and again. The loop around the calls is part of each figure.
- *hand-off*: the paced frames of the stage `shm`, 100 bytes every 100 µs between two fresh
  processes on a core each, with the moment of sending inside; how old they are on arrival. The
  readers spin, except that of TCP, which blocks. Ring and queue are read without a client. *From
  publishing* is the way through a service, as in `shm`, to the reader of its ring or its queue.
- *crowd*: a writer on one core, and one reader or eight on another. All readers get the same frames
  of 200 bytes, in bursts of twenty, a millisecond apart. How long a frame takes the writer. The
  queue and TCP need a push or a send for each reader. Each reader checks that it gets every frame.

All contenders take turns, so that a busy moment of the machine hits them all. With fewer than two
free cores the hand-off measures the scheduler.

Goals: compiled, push and pop at most 200 ns each and an empty look 120 ns; in plain Python at most
2 µs each. Hand-off compiled p50 under 1 µs. Eight readers cost the writer at most 1.2 times what
one costs.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from tests.bench.measure import REST_CORE, WORK_CORE, answer, in_rounds, ratios, start
from tests.bench.report import Absent, Row, figure
from tests.bench.shm import (
    MEMORY,
    PREFIX,
    PUBLISHED_QUEUE,
    PUBLISHED_RING,
    CannotStartError,
    Contender,
)
from tests.bench.shm import Dose as PairDose
from tests.bench.shm import sample as pair_sample

TIMEOUT_S: Final = 120.0
CROWD: Final = 8


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """Frames of each part in a round, and how many rounds."""

    alone: int
    paced: int
    crowd: int
    rounds: int


WHOLE: Final = Dose(alone=200_000, paced=10_000, crowd=6_000, rounds=5)
SMALL: Final = Dose(alone=5_000, paced=200, crowd=100, rounds=1)

PLAIN: Final = "ring, plain"
COMPILED: Final = "ring, compiled"
_TWINS: Final = {"fanout.protocol._speedups": "fanout.protocol._speedups is not built"}

HANDED: Final = {
    COMPILED: Contender("ring", _TWINS),
    PLAIN: Contender("ring", pure=True),
    "queue, compiled": Contender("bare_queue", _TWINS),
    "iceoryx2": Contender("iceoryx", {"iceoryx2": "pip install iceoryx2"}),
    "tcp": Contender("tcp"),
}
"""Contenders of the hand-off, by ways of `tests.bench.shm_rivals.ends`, and of the crowd."""

PUBLISHED: Final = {
    f"{COMPILED}, from publishing": Contender(PUBLISHED_RING, _TWINS),
    f"{PLAIN}, from publishing": Contender(PUBLISHED_RING, pure=True),
    "queue, compiled, from publishing": Contender(PUBLISHED_QUEUE, _TWINS),
}
"""Contenders of the hand-off alone."""

CROWD_WAYS: Final = {"bare_queue": "queue"}
"""What a way is called in `ring_parts.crowd`, if otherwise."""

ACTS: Final = ("push", "pop", "empty look")
MOST_NS: Final = {COMPILED: (200, 200, 120), PLAIN: (2_000, 2_000, 2_000)}
MOST_HANDED_NS: Final = {COMPILED: 1_000}
MOST_TIMES: Final = {COMPILED: 1.2, PLAIN: 1.2}
PERCENTILES: Final = {"p50": 0.5, "p99": 0.99}


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    contenders = HANDED | PUBLISHED
    absent = {name: each.why_absent for name, each in contenders.items() if each.why_absent}
    present = {name: each for name, each in HANDED.items() if name not in absent}
    published = {name: each for name, each in PUBLISHED.items() if name not in absent}
    for name, each in list(present.items()):
        try:
            if each.way == "iceoryx":
                handed(each, Dose(alone=0, paced=1, crowd=0, rounds=1))
        except CannotStartError as error:
            absent[name] = str(error)
            del present[name]
    return [
        *_alone_rows(dose, present),
        *_handed_rows(dose, present | published),
        *_crowd_rows(dose, present),
        *(Absent(name, why) for name, why in absent.items()),
    ]


def _alone_rows(dose: Dose, present: dict[str, Contender]) -> Iterator[Row]:
    ours = {name: each for name, each in present.items() if name in MOST_NS}
    runs = {name: partial(alone, each, dose) for name, each in ours.items()}
    for name, rounds in in_rounds(runs, dose.rounds, warm_up=False).items():
        for act, most, took in zip(ACTS, MOST_NS[name], zip(*rounds, strict=True), strict=True):
            yield figure(f"{name}, {act}", took, "ns", at_most=most)


def alone(contender: Contender, dose: Dose) -> list[float]:
    """What a push, a pop and an empty look take, in ns."""
    words = ("tests.bench.ring_parts.alone", dose.alone)
    child = start(*words, core=WORK_CORE, pure=contender.pure)
    return msgspec.convert(answer(child, TIMEOUT_S), list[float])


def _handed_rows(dose: Dose, present: dict[str, Contender]) -> Iterator[Row]:
    runs = {name: partial(handed, each, dose) for name, each in present.items()}
    ages = in_rounds(runs, dose.rounds, warm_up=False)
    for percentile, share in PERCENTILES.items():
        for name, rounds in ages.items():
            most = MOST_HANDED_NS.get(name) if percentile == "p50" else None
            took = [sorted(each)[int(len(each) * share)] for each in rounds]
            yield figure(f"{name}, hand-off {percentile}", took, "ns", at_most=most)


def handed(contender: Contender, dose: Dose) -> list[int]:
    """Ages on arrival, in ns. Raises `CannotStartError`."""
    return pair_sample(contender, PairDose(paced=dose.paced, flood=0, rounds=1)).ages


def _crowd_rows(dose: Dose, present: dict[str, Contender]) -> Iterator[Row]:
    runs = {
        (name, readers): partial(crowd, each, readers, dose)
        for name, each in present.items()
        for readers in (1, CROWD)
    }
    took = in_rounds(runs, dose.rounds, warm_up=False)
    for (name, readers), each in took.items():
        yield figure(f"{name}, a frame to {readers}", each, "ns")
    for name in present:
        times = ratios(took[name, CROWD], took[name, 1])
        most = MOST_TIMES.get(name)
        yield figure(f"{name}, a frame to {CROWD} / to 1", times, "times", at_most=most)


def crowd(contender: Contender, readers: int, dose: Dose) -> float:
    """What a frame takes the writer, in ns. Raises `RuntimeError` if a reader got a wrong one."""
    with TemporaryDirectory(dir=MEMORY, prefix=PREFIX) as directory:
        child = start(
            "tests.bench.ring_parts.crowd",
            CROWD_WAYS.get(contender.way, contender.way),
            readers,
            dose.crowd,
            directory,
            WORK_CORE,
            REST_CORE,
            core=REST_CORE,
            pure=contender.pure,
        )
        try:
            return msgspec.convert(answer(child, TIMEOUT_S), float)
        finally:
            # What iceoryx2 leaves behind of a process that has ended lies beside the directory.
            for each in MEMORY.glob(f"{Path(directory).name}_*"):
                each.unlink()
