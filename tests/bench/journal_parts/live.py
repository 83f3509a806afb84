"""A journal while it is written and replayed: what it costs the service, what it costs its clients,
and how fast a replay feeds one of them."""

import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import trio

from fanout.channel.channel import Channel
from fanout.journal.disk import RealDisk
from fanout.protocol import Request, Trade, encode_request, frame
from fanout.transports.journal.config import JournalConfig
from fanout.transports.journal.transport import JournalTransport
from tests.bench.broadcast.children import running
from tests.bench.broadcast.recording import Message, recorded
from tests.bench.broadcast.replay import Replay, latencies_ns
from tests.bench.broadcast.services import Contender, Service
from tests.bench.journal_parts.made import Made, header_of
from tests.bench.measure import ROOT, WORK_CORE, in_rounds, ratios, start
from tests.bench.report import Row, figure

CLIENTS: Final = 10
BEFORE: Final = 500
"""Messages before those that count."""
RECEIVE_BYTES: Final = 1024 * 1024
SLOW_SYNC_S: Final = 1.0
SYNC: Final = "1s"
PATIENCE_S: Final = 120


class Sample(msgspec.Struct, frozen=True):
    cpu_ms: float
    """Of the service, for a second of the market."""
    p999_ms: float
    """From the socket of the exchange to the last client."""


def burden(*, rounds: int, blocks: int) -> Iterator[Row]:
    """The service without and with a journal, in turns, with a message each millisecond."""
    recording = recorded()[: BEFORE + blocks]
    messages = [
        Message(number * 1_000_000, each.text) for number, each in enumerate(recording, start=1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            "without a journal": partial(_service, messages),
            "with a journal": partial(_service, messages, folder),
        }
        samples = in_rounds(runs, rounds, warm_up=False)
    plain, with_it = samples.values()
    for name, found in samples.items():
        yield figure(f"{name}, CPU of the service", [each.cpu_ms for each in found], "ms/s")
        yield figure(f"{name}, p99.9 to a client", [each.p999_ms for each in found], "ms")
    cpu = ratios([each.cpu_ms for each in with_it], [each.cpu_ms for each in plain])
    yield figure("CPU of the service, with a journal / without", cpu, "times", at_most=1.05)
    ages = ratios([each.p999_ms for each in with_it], [each.p999_ms for each in plain])
    yield figure("p99.9 to a client, with a journal / without", ages, "times")


def _service(messages: list[Message], folder: str = "") -> Sample:
    """One run: the clients get every trade, or `latencies_ns` raises."""
    spent: list[float] = []
    contender = Contender(serving=partial(_serving, folder, spent))
    with tempfile.TemporaryDirectory() as directory:
        replay = Replay(CLIENTS, messages, BEFORE, Path(directory))
        ages_ns = sorted(latencies_ns(replay, contender).tolist())
    began_s, ended_s = spent
    span_s = (messages[-1].at_ns - messages[0].at_ns) / 1e9
    cpu_ms = (ended_s - began_s) / span_s * 1e3
    return Sample(cpu_ms, ages_ns[int(len(ages_ns) * 0.999)] / 1e6)


@contextmanager
def _serving(folder: str, spent: list[float], venue_port: int, clients: int) -> Iterator[Service]:
    """The whole service. Notes its CPU time when clients have joined, and at the end."""
    journal = (folder,) if folder else ()
    program = "tests.bench.broadcast.fanout_service"
    process = start(program, venue_port, clients, *journal, core=WORK_CORE)
    with running(process) as child:

        def await_ready() -> None:
            if child.hear() != "ready":
                raise RuntimeError("the service does not get ready")
            spent.append(_cpu_s(process.pid))

        yield Service(lambda: int(child.hear()), await_ready)
        spent.append(_cpu_s(process.pid))


def _cpu_s(pid: int) -> float:
    """Of all threads of a process, in ns of the scheduler."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks) / 1e9


class SlowDisk(RealDisk):
    """The disk of this machine, whose syncs take a second."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        """When syncs began and ended."""
        self.threads: set[int] = set()

    def sync(self, descriptor: int) -> None:
        began_s = time.perf_counter()
        time.sleep(SLOW_SYNC_S)
        super().sync(descriptor)
        self.threads.add(threading.get_ident())
        self.spans.append((began_s, time.perf_counter()))


def stall(trades: list[Trade], *, span_s: float) -> Iterator[Row]:
    """How long the event loop stands still while the journal syncs, with 1,000 blocks a second."""
    disk, ticks = SlowDisk(), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(_kept_slowly, folder, disk, trades, span_s, ticks)
    if threading.get_ident() in disk.threads or not disk.spans:
        raise ValueError(f"{len(disk.spans)} syncs, some of them in the loop's thread")
    during = [
        (later - earlier) * 1e3
        for earlier, later in pairwise(ticks)
        if any(began < later and earlier < ended for began, ended in disk.spans)
    ]
    yield Row(name="syncs of a second each", value=len(disk.spans), unit="")
    yield Row(
        name="longest stall of the loop during them",
        value=max(during),
        unit="ms",
        at_most=SLOW_SYNC_S * 1e3 / 10,
    )
    p99 = sorted(during)[int(len(during) * 0.99)]
    yield Row(name="p99 of the loop's ticks of 1 ms", value=p99, unit="ms")


async def _kept_slowly(
    folder: str, disk: SlowDisk, trades: list[Trade], span_s: float, ticks: list[float]
) -> None:
    channel = Channel(header_of(trades), log_bytes=50_000_000, wall_ns=time.time_ns)
    transport = JournalTransport(JournalConfig(dir=folder, sync=SYNC), disk=disk)
    async with transport.opened(), trio.open_nursery() as nursery:
        await nursery.start(transport.run, [channel])
        with trio.move_on_after(10 * span_s):
            begun_s = time.perf_counter()
            # A busy machine may not have synced anything yet.
            while time.perf_counter() < begun_s + span_s or not disk.spans:
                channel.publish(trades[:1], received_ns=time.time_ns(), held_ns=0)
                ticks.append(time.perf_counter())
                await trio.sleep(0.001)
            ticks.append(time.perf_counter())
        nursery.cancel_scope.cancel()


def replaying(made: Made, rounds: int) -> Iterator[Row]:
    """How fast `fanout replay --speed max` feeds one client over TCP."""
    rates = in_rounds({"replay": partial(_replay, made)}, rounds, warm_up=False)["replay"]
    yield figure("replay at max to one client", rates, "trades/s", at_least=1e6)


def _replay(made: Made) -> float:
    """Trades a second, from the first byte that the client gets to the last."""
    folder = made.folder.parent.parent
    command = [sys.executable, "-m", "fanout", "replay", str(folder), "--speed", "max"]
    process = subprocess.Popen(
        [*command, "tcp", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=partial(os.sched_setaffinity, 0, {WORK_CORE}),
    )
    try:
        with socket.create_connection(_address(process), timeout=PATIENCE_S) as client:
            client.sendall(frame(encode_request(Request())))
            size, first_s, last = 0, 0.0, b""
            while data := client.recv(RECEIVE_BYTES):
                first_s = first_s or time.perf_counter()
                size += len(data)
                last = (last + data)[-64:]
            span_s = time.perf_counter() - first_s
    finally:
        process.kill()
        process.communicate()
    if size < made.wire_bytes:
        raise ValueError(f"{size:,} bytes came, of {made.wire_bytes:,}")
    return made.trades / span_s


def _address(process: "subprocess.Popen[bytes]") -> tuple[str, int]:
    """Where the replay listens, once it says so."""
    assert process.stderr is not None, "it is a pipe"
    said = b""
    while select.select([process.stderr], [], [], PATIENCE_S)[0]:
        line = process.stderr.readline()
        said += line
        for word in line.decode().split():
            if word.startswith("tcp://"):
                host, _, port = word.rstrip(",").removeprefix("tcp://").rpartition(":")
                return host, int(port)
        if not line:
            break
    raise RuntimeError(f"no address was printed: {said.decode()[-500:]}")
