"""The consumer, from the service's socket to the lines on its output.

    exchange -> service with books -> fanout analytics run -> reader of its lines
    (sleeps)    core 1                core 2                  core 2

The exchange is the stage itself. It sleeps until the next message is due, so that it leaves the
cores to the others, and sends what is due by then in one piece.
"""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fanout.protocol import DataKinds
from tests.bench.books_parts.ages import KINDS, due_ns
from tests.bench.books_parts.market import PAUSE_NS, Market
from tests.bench.books_parts.pacing import send
from tests.bench.broadcast.children import PATIENCE_S, Child, running
from tests.bench.broadcast.recording import NS_PER_S, Message
from tests.bench.broadcast.replay import open_venue
from tests.bench.ingest_rivals.sender import framed
from tests.bench.measure import ROOT, WORK_CORE, cpu_s, start
from tests.bench.printed import printing

SETTLED_S: Final = 1.0
"""How long the consumer may take from its connection to the first record, and after the last one.
A row that comes later is missed, and fails the stage."""
TOGETHER_NS: Final = 200_000
"""Messages that are due within this time are sent in one piece."""


class Consumed(msgspec.Struct, frozen=True):
    """One run: the age of each row in ns, and the CPU seconds of each process."""

    ages_ns: NDArray[np.int64]
    span_s: float
    service_s: float
    consumer_s: float
    reader_s: float


def consumed(market: Market, streams: Sequence[bytes]) -> Consumed:
    """Play a market. Raises `ValueError` unless each record behind the lead gives a row."""
    data = DataKinds(sum(KINDS[each] for each in streams))
    with TemporaryDirectory() as name, ExitStack() as parts:
        directory = Path(name)
        (directory / "begins").write_bytes(msgspec.json.encode(market.begins))
        connection, service, port = parts.enter_context(serving(directory / "begins", data))
        command = ["analytics", "run", f"tcp://127.0.0.1:{port}", "--format", "jsonl"]
        files = printing(command, directory / "rows", cwd=ROOT, log=directory / "log")
        consumer, reader = parts.enter_context(files)
        word = service.hear()
        assert word == "ready", word
        time.sleep(SETTLED_S)
        pids = service.pid, consumer.pid, reader.pid
        before = [cpu_s(each) for each in pids]
        send(connection.sendall, pieces(market.messages), time.monotonic())
        time.sleep(SETTLED_S)
        spent = [cpu_s(each) - began for each, began in zip(pids, before, strict=True)]
        consumer.send_signal(signal.SIGINT)
        if consumer.wait(PATIENCE_S) != 128 + signal.SIGINT:
            raise RuntimeError((directory / "log").read_text())
        reader.wait(PATIENCE_S)
        rows = np.fromfile(directory / "rows", np.int64).reshape(-1, 2)
    return Consumed(ages_ns(market, rows), market.span_s, *spent)


@contextmanager
def serving(begins: Path, data: DataKinds) -> Iterator[tuple[socket.socket, Child, int]]:
    """The service, and the exchange's end of its connection."""
    module = "tests.bench.books_parts.service"
    with socket.create_server(("127.0.0.1", 0)) as venue:
        venue.settimeout(PATIENCE_S)
        arguments = venue.getsockname()[1], 1, begins, data.value
        process = start(module, *arguments, core=WORK_CORE, stdin=subprocess.PIPE)
        with running(process) as child:
            connection = venue.accept()[0]
            with connection:
                open_venue(connection)
                connection.settimeout(PATIENCE_S)
                yield connection, child, int(child.hear())


def pieces(messages: Sequence[Message]) -> Iterator[tuple[float, bytes]]:
    """What is due at once, and when, in seconds from the start."""
    first_ns, texts = 0, list[bytes]()
    for each in messages:
        if texts and each.at_ns - first_ns > TOGETHER_NS:
            yield first_ns / NS_PER_S, b"".join(texts)
            texts = []
        if not texts:
            first_ns = each.at_ns
        texts.append(framed(each.text))
    yield first_ns / NS_PER_S, b"".join(texts)


def ages_ns(market: Market, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the rows behind the lead, which a pause parts from the others."""
    first_ns = rows[0, 1] + market.lead_ns - PAUSE_NS // 2
    behind = rows[rows[:, 1] > first_ns]
    expected = len(due_ns(market))
    if len(behind) != expected:
        raise ValueError(f"{len(behind):,} rows came for {expected:,} records")
    return behind[:, 0] - behind[:, 1]
