"""From one process to another, one way: the shared-memory queue beside the standard library's.

Workload: one frame of 100 bytes at a time, every 100 µs, with the moment of its sending inside;
the reader notes how old it is when it has it. The same frames, the same pace, one way after the
other, in rounds, so that a busy moment of the machine hits them all. The reader of the queue
spins, as who counts microseconds lets it; the others are read as they are made to be, blocking,
and a spinning twin is shown for comparison. It wants two cores to itself: with less it measures
the scheduler.

Goals: a median of 2.5 µs or less, and ahead of a Unix socket pair, of `multiprocessing.Pipe` and
of `multiprocessing.Queue` at p50, p99 and p99.9.
"""

import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from clients.shm import ShmClient
from fanout.transports.shm.queue_file import create
from tests.bench.report import Row

PAYLOAD_BYTES: Final = 96
FRAME: Final = PAYLOAD_BYTES.to_bytes(4, "little")
PACE_NS: Final = 100_000
ROUNDS: Final = 5
WARM_UP: Final = 200

Send = Callable[[bytes], object]
Receive = Callable[[], bytes]
Ends = tuple[Callable[[], Send], Callable[[], Receive]]
"""What makes the sending end, in the child, and the receiving one, in the parent."""


def measure(ends: Ends, count: int) -> list[int]:
    """How old each of `count` frames is on arrival, in ns."""
    make_send, make_receive = ends
    pid = os.fork()
    if not pid:
        try:
            send_all(make_send(), count)
        finally:
            os._exit(0)
    receive = make_receive()
    ages = []
    for _ in range(count):
        payload = receive()
        ages.append(time.perf_counter_ns() - int.from_bytes(payload[-8:], "little"))
    os.waitpid(pid, 0)
    return ages[WARM_UP:]


def send_all(send: Send, count: int) -> None:
    time.sleep(0.05)  # the reader is there by then; what it missed would be old, not lost
    padding = FRAME + bytes(PAYLOAD_BYTES - 8)
    due_ns = time.perf_counter_ns()
    for _ in range(count):
        due_ns += PACE_NS
        while (now_ns := time.perf_counter_ns()) < due_ns:
            pass
        send(padding + now_ns.to_bytes(8, "little"))
    time.sleep(0.05)


@contextmanager
def queue() -> Iterator[Ends]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:

        def make_send() -> Send:
            return create(f"{directory}/q", capacity_bytes=2**20, header=None).writer.push

        def make_receive() -> Receive:
            while not os.path.exists(f"{directory}/q"):
                time.sleep(0.001)
            pop = ShmClient("shm://q", directory=directory).pop

            def receive() -> bytes:
                while (payload := pop()) is None:
                    pass
                return payload

            return receive

        yield make_send, make_receive


@contextmanager
def pipe() -> Iterator[Ends]:
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader, writer:
        yield lambda: writer.send_bytes, lambda: reader.recv_bytes


@contextmanager
def socket_pair(*, spin: bool = False) -> Iterator[Ends]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def receive() -> bytes:
        while True:
            try:
                return ours.recv(4096)
            except BlockingIOError:
                continue

    with ours, theirs:
        ours.setblocking(not spin)
        yield lambda: theirs.send, lambda: receive


@contextmanager
def spinning_socket_pair() -> Iterator[Ends]:
    with socket_pair(spin=True) as ends:
        yield ends


@contextmanager
def multiprocessing_queue() -> Iterator[Ends]:
    between: multiprocessing.Queue[bytes] = multiprocessing.Queue()

    def put(data: bytes) -> None:
        between.put(data)
        time.sleep(20e-6)  # a thread of this process does the sending, and needs its turn

    yield lambda: put, lambda: between.get
    between.close()


OURS: Final = "shm queue"
COMPARED: Final = ("unix socket pair", "multiprocessing.Pipe", "multiprocessing.Queue")
WAYS: Final[dict[str, Callable[[], AbstractContextManager[Ends]]]] = {
    OURS: queue,
    COMPARED[0]: socket_pair,
    COMPARED[1]: pipe,
    COMPARED[2]: multiprocessing_queue,
    "unix socket pair, spinning": spinning_socket_pair,
}
PERCENTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
MEDIAN_GOAL_US: Final = 2.5


def run(*, small: bool) -> list[Row]:
    """Microseconds by way and percentile. See `tests.bench.report.Stage`."""
    count = 5_000 if small else 50_000
    ages: dict[str, list[int]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            with way() as ends:
                ages[name] += measure(ends, count // ROUNDS + WARM_UP)
    return [row for percentile in PERCENTILES for row in rows(ages, percentile)]


def rows(ages: dict[str, list[int]], percentile: str) -> Iterator[Row]:
    """One percentile: ours, then the others, which have to be slower."""
    at = PERCENTILES[percentile]
    values = {name: sorted(each)[int(len(each) * at)] / 1000 for name, each in ages.items()}
    ours = values.pop(OURS)
    goal = MEDIAN_GOAL_US if percentile == "p50" else None
    yield Row(name=f"{OURS}, {percentile}", value=ours, unit="µs", at_most=goal)
    for name, value in values.items():
        slower = ours if name in COMPARED else None
        label = f"{name}, {percentile} ({value / ours:.1f}x)"
        yield Row(name=label, value=value, unit="µs", at_least=slower)
