"""Fifty order books after the exchange has cut the connection.

Workload: the simulator with 50 symbols and 500 trades a second, `fanout simulate`, in a process of
its own; the service, as `fanout --assets all --data trades,quotes,book`; and one TCP client with
`Books`. When the start is over, with all books known and all references there, the stage waits for
a new minute of REST weight. Then the simulator drops the service's connection, and the update ids
of every book jump, so that each needs a new snapshot. The stage measures the time from the drop
until the client knows all books again. It also reads from the simulator's answers how much weight
was used by then. Some of that is for gaps of trades. A test with a virtual clock shows the same
with snapshots that have to be asked for twice (`tests/fanout/feed/test_book_weight.py`).

Goals: all books are whole again within 10 s, for less than half of the REST weight of a minute,
which is 2,400. A snapshot of 1,000 levels a side weighs 20.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final
from urllib.request import urlopen

import msgspec

from fanout.clients.books import Books
from fanout.clients.tcp import DisconnectedError, TcpClient
from fanout.net.budget import MINUTE_S
from fanout.protocol import BookUpdate, Status
from fanout.venues.binance.usdm import WEIGHT_LIMIT
from tests.bench.broadcast.children import running
from tests.bench.measure import REST_CORE, start
from tests.bench.report import Row, figure
from tests.bench.scale import TICK_S, Service, serving

DATA: Final = "trades,quotes,book"
LOOK_S: Final = 0.005
SETTLE_S: Final = 2.0
"""After the beginning of a minute."""
USED: Final = "X-MBX-USED-WEIGHT-1M"


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How many symbols, trades a second, and reconnects, each in a minute of its own."""

    symbols: int = 50
    rate: int = 500
    rounds: int = 3
    waits_for_minute: bool = True


WHOLE: Final = Dose()
SMALL: Final = Dose(symbols=5, rate=100, rounds=1, waits_for_minute=False)


class Found(msgspec.Struct, frozen=True):
    """Of one reconnect."""

    seconds: float
    weight: int


class Simulator(msgspec.Struct, frozen=True):
    """The simulator, from outside."""

    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def cut(self) -> None:
        """Drop the connection. Meanwhile every book changes, as its update ids say."""
        for fault in ("drop", "unchain"):
            with urlopen(f"{self.url}/control/{fault}", data=b"") as answer:
                answer.read()

    def used_weight(self) -> int:
        """Of this minute; asking adds 1."""
        with urlopen(f"{self.url}/fapi/v1/time") as answer:
            return int(answer.headers[USED])


@contextmanager
def simulating(dose: Dose) -> Iterator[Simulator]:
    options = ["simulate", "--symbols", dose.symbols, "--rate", dose.rate]
    with running(start("fanout", *options, core=REST_CORE)) as child:
        yield Simulator(json.loads(child.hear())["rest"])


class Reader:
    """A client in a thread of its own: how many books it knows, and how many whole books came."""

    def __init__(self, url: str) -> None:
        self.known = 0
        self.wholes = 0
        self.has_references = False
        """Whether the service has asked for the newest trades of all symbols. They weigh 5 each."""
        self._url = url
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(DisconnectedError), TcpClient(self._url, reconnect=False) as client:
            books = Books(client)
            for record in books:
                if isinstance(record, BookUpdate) and record.is_whole:
                    self.wholes += 1
                elif isinstance(record, Status):
                    self.known = len(books.known)
                elif not self.has_references and client.header is not None:
                    self.has_references = all(each.trade_id for each in client.header.references)

    def join(self) -> None:
        """Wait for its end, which is that of the service."""
        self._thread.join()


def run(*, small: bool) -> list[Row]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    return list(rows(measured(dose), dose.symbols))


def rows(found: Sequence[Found], symbols: int) -> Iterator[Row]:
    label = f"{symbols} books"
    seconds, weights = [each.seconds for each in found], [each.weight for each in found]
    yield figure(f"{label}, a cut to all whole", seconds, "s", at_most=10)
    name = f"{label}, REST weight of a reconnect"
    yield figure(name, weights, "", at_most=WEIGHT_LIMIT // 2)


def measured(dose: Dose) -> list[Found]:
    with simulating(dose) as simulator:
        with serving(simulator.port, "--data", DATA) as service:
            reader = Reader(service.url())
            while reader.known < dose.symbols or not reader.has_references:
                service.require_patience(f"{reader.known} of {dose.symbols} books are known")
                time.sleep(TICK_S)
            found = [reconnected(dose, simulator, reader, service) for _ in range(dose.rounds)]
        reader.join()
    return found


def reconnected(dose: Dose, simulator: Simulator, reader: Reader, service: Service) -> Found:
    """Wait for a minute of its own, and cut."""
    if dose.waits_for_minute:
        time.sleep(MINUTE_S - time.time() % MINUTE_S + SETTLE_S)
    weight, snapshots = simulator.used_weight(), reader.wholes
    began_s = time.monotonic()
    simulator.cut()
    while reader.wholes - snapshots < dose.symbols or reader.known < dose.symbols:
        service.require_patience(f"{reader.known} of {dose.symbols} books are known again")
        time.sleep(LOOK_S)
    seconds = time.monotonic() - began_s
    used = simulator.used_weight() - 1  # the look itself weighs 1
    # A small dose does not wait for a minute of its own: a new one may have begun.
    return Found(seconds, used - weight if used >= weight else used)
