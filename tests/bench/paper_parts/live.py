"""From the service's socket to the new quote of a desk.

    exchange -> service with a book -> desk
    (sleeps)    core 1                core 2

The exchange is the stage itself, as in the stage features.
"""

import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fanout.protocol import DataKinds
from tests.bench.books_parts.ages import KINDS
from tests.bench.books_parts.market import BOOK, PAUSE_NS, TRADES, Market
from tests.bench.books_parts.pacing import send
from tests.bench.broadcast.children import PATIENCE_S, running
from tests.bench.feature_parts.consumer import SETTLED_S, pieces, serving
from tests.bench.measure import REST_CORE, cpu_s, start

STREAMS: Final = (TRADES, BOOK)


class Quoted(msgspec.Struct, frozen=True):
    """One run: the age of each new quote in ns, and CPU seconds of the desk's process."""

    ages_ns: NDArray[np.int64]
    desk_s: float


def quotes_of(market: Market, place: int) -> Quoted:
    """Play a market, with the desk on one of its symbols. Raises `ValueError` if no quote came."""
    data = DataKinds(sum(KINDS[each] for each in STREAMS))
    symbol = list(market.begins)[place]
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "begins").write_bytes(msgspec.json.encode(market.begins))
        with serving(directory / "begins", data) as (connection, service, port):
            module, path = "tests.bench.paper_parts.desk", directory / "quotes"
            process = start(module, port, symbol, path, core=REST_CORE)
            with running(process) as desk:
                assert desk.hear() == "ready"
                assert service.hear() == "ready"
                began_s = cpu_s(desk.pid)
                send(connection.sendall, pieces(market.messages), time.monotonic())
                time.sleep(SETTLED_S)
                spent_s = cpu_s(desk.pid) - began_s
                process.send_signal(signal.SIGINT)
                process.wait(PATIENCE_S)
        rows = np.fromfile(path, np.int64).reshape(-1, 2)
    return Quoted(_ages_ns(market, rows), spent_s)


def _ages_ns(market: Market, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the quotes behind the lead, which a pause parts from the others."""
    if not len(rows):
        raise ValueError("the desk quoted nothing")
    behind = rows[rows[:, 1] > rows[0, 1] + PAUSE_NS // 2]
    if not len(behind):
        raise ValueError("the desk quoted nothing after the first book")
    return behind[:, 0] - behind[:, 1]
