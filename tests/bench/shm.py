"""From process to process: the shared-memory queue, its rivals, and a ring in C.

Workload: numbered frames of 100 bytes between two fresh processes, each on its own core. First, the
writer sends one frame every 100 µs with its send time inside, and the reader notes its age on
arrival. Then a flood: as many frames as the reader takes, counted once more have arrived than fit
any queue. All contenders send the same frames at the same pace, in turns, so that a busy moment of
the machine hits them all. The stage compares what arrived with what was sent. `perf_counter_ns` and
`clock_gettime` read one clock, CLOCK_MONOTONIC. Except for the ring in C, every age includes two
clock reads and the making of a frame; *the clock itself* shows how much that is. The stage needs
two free cores: with fewer it measures the scheduler.

fanout is `push` and a reader that spins on `ShmClient.pop`, in plain Python and with the compiled
twins; the flood also measures the ring without the client around it. *From publishing* is the way
through a service: its loop appends the frame to the log of a channel, and the transport takes it
from there. Its rivals, each set up at its best:

- `multiprocessing.Pipe`, one way, `send_bytes`: a pipe.
- a Unix socket pair of SOCK_SEQPACKET, with a blocking and with a spinning reader.
- `multiprocessing.Queue`. Except in the flood, its writer sleeps 20 µs after each frame, so that
  the thread which does the sending can run.
- pyzmq, PUSH and PULL over ipc, blocking, with room for 4,096 frames. Its own threads may run on
  either core. PAIR is no quicker, and a spinning reader is slower: it takes the core from the
  thread that receives for it.
- iceoryx2, publish-subscribe of one structure. The writer writes the frame to a loaned sample, and
  the spinning reader takes it as bytes, like all others. Room for 4,096, and nothing is
  overwritten.

The limit is a ring of the same size and steps in C: atomics, acquire and release, with both ends
spinning.

The quickest rival is the one with the lowest median over the rounds. The least of six noisy figures
in each round would be none that any rival reaches.

*The cores alone* are two processes that only read the clock, one on each core. Where the reader's
core is away for more than one part in a hundred of the time, p99 shows the machine: a frame that
comes meanwhile is late, whichever way it takes. As root, `chrt -f 1 python -m tests.bench shm`
keeps other processes off both cores while it runs.

Goals: a median of at most 2.5 µs in plain Python. Compiled, at most 1 µs, at most three times the
ring's in C, and ahead of every rival at p50 and p99. There is no goal for p99.9, which shows the
scheduler, nor for the flood.
"""

import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from tests.bench.measure import REST_CORE, WORK_CORE, answer, built, in_rounds, ratios, start
from tests.bench.report import Absent, Row, figure
from tests.bench.shm_rivals.frames import (
    FLOOD_WARM_UP,
    FRAME_BYTES,
    PACE_NS,
    PACED_WARM_UP,
    clock_ages,
)
from tests.bench.shm_rivals.pair import CANNOT_START

MEMORY: Final = Path("/dev/shm")
PREFIX: Final = "fanout-bench-"
TIMEOUT_S: Final = 60.0


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How many frames are measured in a round, and how many rounds."""

    paced: int
    flood: int
    rounds: int


WHOLE: Final = Dose(paced=10_000, flood=100_000, rounds=5)
SMALL: Final = Dose(paced=300, flood=2_000, rounds=1)
LIMIT_FLOODS: Final = 20
"""How much longer the flood through the ring in C is, which is over so soon."""


class Contender(msgspec.Struct, frozen=True):
    """A way (see `shm_rivals.ends`), and the modules that it needs, with how to get them."""

    way: str
    needs: dict[str, str] = {}
    pure: bool = False
    is_paced: bool = True

    @property
    def why_absent(self) -> str:
        """Empty if nothing is missing."""
        return ", ".join(why for module, why in self.needs.items() if find_spec(module) is None)


PUBLISHED_QUEUE: Final = "published_queue"
PUBLISHED_RING: Final = "published_ring"


class CannotStartError(Exception):
    """A rival is there, and does not work on this machine."""


class Sample(msgspec.Struct, frozen=True):
    """One round of one contender: ages in ns, and frames a second."""

    ages: list[int]
    rate: float
    away: float = 0.0
    """Share of the time in which the reader's core did something else."""


PLAIN: Final = "fanout, plain"
COMPILED: Final = "fanout, compiled"
LIMIT: Final = "a ring in C"
CLOCK: Final = "the clock itself"
CORES: Final = "the cores alone"

_TWINS: Final = {"fanout.protocol._speedups": "fanout.protocol._speedups is not built"}
OURS: Final = {
    COMPILED: Contender("queue", _TWINS),
    PLAIN: Contender("queue", pure=True),
}
BARE: Final = {
    f"{COMPILED}, without its client": Contender("bare_queue", _TWINS, is_paced=False),
    f"{PLAIN}, without its client": Contender("bare_queue", pure=True, is_paced=False),
}
PUBLISHED: Final = {
    f"{COMPILED}, from publishing": Contender(PUBLISHED_QUEUE, _TWINS),
    f"{PLAIN}, from publishing": Contender(PUBLISHED_QUEUE, pure=True),
}
RIVALS: Final = {
    "iceoryx2": Contender("iceoryx", {"iceoryx2": "pip install iceoryx2"}),
    "unix socket pair": Contender("socket_pair"),
    "unix socket pair, spinning": Contender("spinning_socket_pair"),
    "multiprocessing.Pipe": Contender("pipe"),
    "pyzmq": Contender("zeromq", {"zmq": "pip install pyzmq"}),
    "multiprocessing.Queue": Contender("multiprocessing_queue"),
}
PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
JUDGED: Final = ("p50", "p99")
MEDIAN_GOALS_NS: Final = {PLAIN: 2_500, COMPILED: 1_000}
MOST_LIMITS: Final = 3


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    contenders = OURS | RIVALS | BARE | PUBLISHED
    absent = {name: each.why_absent for name, each in contenders.items() if each.why_absent}
    rivals = {name: each for name, each in RIVALS.items() if name not in absent}
    absent.update(_cannot_start(rivals))
    with TemporaryDirectory() as directory:
        runs = {
            name: partial(sample, each, dose)
            for name, each in contenders.items()
            if name not in absent
        }
        ring = built("ring", directory)
        if ring is None:
            absent[LIMIT] = "a C compiler, cc, is missing"
        else:
            runs[LIMIT] = partial(limit_sample, ring, dose)
        runs[CLOCK] = partial(clock_sample, dose)
        runs[CORES] = partial(cores_sample, dose)
        samples = in_rounds(runs, dose.rounds, warm_up=False)
    return [
        *(row for percentile in PERCENTILES for row in _age_rows(samples, percentile)),
        *_flood_rows(samples),
        figure(f"{CORES}, away", [100 * each.away for each in samples[CORES]], "%"),
        *(Absent(name, why) for name, why in absent.items()),
    ]


def _cannot_start(rivals: Mapping[str, Contender]) -> Iterator[tuple[str, str]]:
    """Those of them that need something, and it is there but does not work on this machine."""
    for name, each in rivals.items():
        try:
            if each.needs:
                sample(each, Dose(paced=1, flood=1, rounds=1))
        except CannotStartError as error:
            yield name, str(error)


def sample(contender: Contender, dose: Dose) -> Sample:
    """One round. Raises `CannotStartError`, and `RuntimeError` if frames were lost or changed."""
    with TemporaryDirectory(dir=MEMORY, prefix=PREFIX) as directory:
        paced = dose.paced if contender.is_paced else 0
        module, words = "pair", (contender.way, directory, paced, dose.flood)
        if contender.way in (PUBLISHED_QUEUE, PUBLISHED_RING):
            module, words = "published", (contender.way, directory, paced)
        child = start(
            f"tests.bench.shm_rivals.{module}",
            *words,
            WORK_CORE,
            REST_CORE,
            core=REST_CORE,
            pure=contender.pure,
        )
        try:
            return msgspec.convert(answer(child, TIMEOUT_S), Sample)
        except RuntimeError as error:
            if child.returncode == CANNOT_START:
                raise CannotStartError(f"{contender.way} does not start on this machine") from error
            raise
        finally:
            # What iceoryx2 leaves behind of a process that has ended lies beside the directory.
            for each in MEMORY.glob(f"{Path(directory).name}_*"):
                each.unlink()


def limit_sample(ring: Path, dose: Dose) -> Sample:
    words = (
        PACED_WARM_UP + dose.paced,
        PACED_WARM_UP,
        FLOOD_WARM_UP + LIMIT_FLOODS * dose.flood,
        FLOOD_WARM_UP,
        WORK_CORE,
        REST_CORE,
    )
    command = [str(each) for each in (ring, *words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S)
    return msgspec.json.decode(done.stdout, type=Sample)


def clock_sample(dose: Dose) -> Sample:
    return Sample(clock_ages(dose.paced), 0)


def cores_sample(dose: Dose) -> Sample:
    """Both cores are as busy as with a writer and a reader, for as long as a run is paced."""
    seconds = dose.paced * PACE_NS / 1e9
    module = "tests.bench.shm_rivals.away"
    writer, reader = (start(module, seconds, core=core) for core in (WORK_CORE, REST_CORE))
    answer(writer, TIMEOUT_S)
    return Sample([], 0, away=answer(reader, TIMEOUT_S))


def _age_rows(samples: Mapping[str, list[Sample]], percentile: str) -> Iterator[Row]:
    ages = {
        name: [_at(PERCENTILES[percentile], each.ages) for each in rounds]
        for name, rounds in samples.items()
        if rounds[0].ages
    }
    goals = MEDIAN_GOALS_NS if percentile == "p50" else {}
    for name, each in ages.items():
        yield figure(f"{name}, {percentile}", each, "ns", at_most=goals.get(name))
    if percentile in JUDGED:
        yield from _compared(ages, percentile)


def _compared(ages: Mapping[str, list[float]], percentile: str) -> Iterator[Row]:
    """With the rival that is the quickest over all rounds, and with the limit."""
    quickest = min((ages[name] for name in RIVALS if name in ages), key=median)
    for ours in (each for each in OURS if each in ages):
        name = f"quickest rival / {ours}, {percentile}"
        least = 1 if ours == COMPILED else None
        yield figure(name, ratios(quickest, ages[ours]), "times", at_least=least)
        if LIMIT in ages:
            name = f"{ours} / {LIMIT}, {percentile}"
            most = MOST_LIMITS if (ours, percentile) == (COMPILED, "p50") else None
            yield figure(name, ratios(ages[ours], ages[LIMIT]), "times", at_most=most)


def _at(share: float, ages: list[int]) -> float:
    return sorted(ages)[int(len(ages) * share)]


def _flood_rows(samples: Mapping[str, list[Sample]]) -> Iterator[Row]:
    rates = {
        name: [each.rate for each in rounds] for name, rounds in samples.items() if rounds[0].rate
    }
    for name, each in rates.items():
        yield figure(f"{name}, flood", each, "frames/s")
    for name, each in rates.items():
        megabytes = [rate * FRAME_BYTES / 1e6 for rate in each]
        yield figure(f"{name}, bytes of the flood", megabytes, "MB/s")
