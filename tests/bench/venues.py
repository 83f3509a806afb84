"""Each venue, from its socket to the transports: time in the service, and CPU time a message.

Workload: the simulator in the venue's dialect, with ten symbols and 300 trades a second, in a
process of its own, `fanout simulate`; the service, as `fanout --data ...` with trades, quotes and
books, as far as the venue has them; and one TCP client. All markets have as many trades a second.
Their messages differ as the venues' do: some put all trades of an order into one message, and some
send the changes of a book ten times a second, others each at once.

The time in the service is the hold time of a block: from the read that brought the message to the
block that the transports get. The CPU time is that of the service's process, divided by the
messages that it read. Both are of a stretch that begins when all symbols are LIVE. What a client
takes to read a block does not differ between venues.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import quantiles
from typing import Final
from urllib.request import urlopen

import msgspec

from fanout.protocol import FrameKind, FrameReader, Request, encode_request, frame
from fanout.protocol.constants import LENGTH_BYTES
from fanout.protocol.runs import opened
from fanout.simulator.dialects import dialect_of, symbols_of
from fanout.stats.snapshots import ServiceStats
from fanout.venues import VENUES
from fanout.venues.values import DATA
from tests.bench.broadcast.children import running
from tests.bench.measure import REST_CORE, start
from tests.bench.report import Row
from tests.bench.scale import TICK_S, Service, running_service
from tests.misbehaviour.scene import DIALECT_OF

RATE: Final = 300
TAKEN: Final = ("trades", "quotes", "book")
KINDS: Final = {
    FrameKind.TRADES: ("trades", 1_000_000),
    FrameKind.QUOTES: ("quotes", 1_000_000),
    FrameKind.BOOK: ("book", 1_000_000),
}
"""By kind of block, what it brings, and more of it than a block can have."""


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """Which venues, with how many symbols, and for how long each."""

    venues: tuple[str, ...] = tuple(DIALECT_OF)
    symbols: int = 10
    seconds: float = 15.0


WHOLE: Final = Dose()
SMALL: Final = Dose(venues=("bitfinex", "bybit", "okx"), symbols=2, seconds=1.0)
"""One venue of each kind of continuity."""


class Found(msgspec.Struct, frozen=True):
    """Of one venue: microseconds by kind of data, and CPU microseconds a message."""

    held_us: dict[str, list[float]]
    cpu_us: float
    messages: int


def run(*, small: bool) -> list[Row]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    return [row for venue in dose.venues for row in rows(venue, measured(venue, dose))]


def rows(venue: str, found: Found) -> Iterator[Row]:
    for kind, held_us in found.held_us.items():
        median, p99 = percentiles(held_us)
        yield Row(name=f"{venue}, {kind}, p50", value=median, unit="µs")
        yield Row(name=f"{venue}, {kind}, p99", value=p99, unit="µs")
    yield Row(name=f"{venue}, CPU", value=found.cpu_us, unit="µs/message")
    yield Row(name=f"{venue}, messages", value=found.messages, unit="")


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th."""
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def measured(venue: str, dose: Dose) -> Found:
    """One exchange, service and client, from the start to the end."""
    symbols = symbols_of(dialect_of(DIALECT_OF[venue]), dose.symbols)
    kinds = [name for name in TAKEN if DATA[name] in VENUES[venue].kinds]
    options = ["--venue", venue, "--assets", ",".join(symbols), "--data", ",".join(kinds)]
    with (
        simulating(venue, symbols) as urls,
        running_service(*options, *urls, "--http-port", "0") as service,
    ):
        client = Client(service.url())
        before = live(service, len(symbols))
        cpu_s, kept = service.cpu_s, client.received
        time.sleep(dose.seconds)
        cpu_s, after = service.cpu_s - cpu_s, status(service)
        held_us = client.held_us(kept)
        messages = after.channels[0].feed.messages - before.channels[0].feed.messages
        return Found({kind: held_us[kind] for kind in kinds}, cpu_s / messages * 1e6, messages)


@contextmanager
def simulating(venue: str, symbols: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """A simulated exchange. Gives the options that lead a service to it."""
    options = ["--dialect", DIALECT_OF[venue], "--symbols", ",".join(symbols), "--rate", RATE]
    with running(start("fanout", "simulate", *options, core=REST_CORE)) as child:
        urls = json.loads(child.hear())
        yield "--ws-url", urls["ws"], "--rest-url", urls["rest"]


def live(service: Service, symbols: int) -> ServiceStats:
    """The status once all symbols are LIVE."""
    while True:
        found = status(service)
        states = [each.state for each in found.channels[0].feed.instruments]
        if states.count("LIVE") == symbols:
            return found
        service.require_patience(f"{states.count('LIVE')} of {symbols} symbols are LIVE")
        time.sleep(TICK_S)


def status(service: Service) -> ServiceStats:
    with urlopen(f"{service.url('http')}/status") as answer:
        return msgspec.json.decode(answer.read(), type=ServiceStats)


class Client:
    """Reads a channel in a thread of its own, and keeps the bytes."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("tcp://").rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.sendall(frame(encode_request(Request())))
        self._bytes = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def received(self) -> int:
        return len(self._bytes)

    def join(self) -> None:
        """Wait for the end of the connection."""
        self._thread.join()

    def _read(self) -> None:
        with suppress(OSError), self._socket:
            while data := self._socket.recv(65_536):
                self._bytes += data

    def held_us(self, after: int) -> dict[str, list[float]]:
        """The hold times of the blocks that came after so many bytes, by kind of data."""
        reader, read = FrameReader(), 0
        reader.feed(bytes(self._bytes))
        found: dict[str, list[float]] = {name: [] for name, _ in KINDS.values()}
        while (payload := reader.next_payload()) is not None:
            read += LENGTH_BYTES + len(payload)
            kind = KINDS.get(FrameKind(payload[0])) if read > after else None
            if kind is not None:
                *_, held_ns = opened(payload, FrameKind(payload[0]), kind[1], kind[0])
                found[kind[0]].append(held_ns / 1_000)
        return found
