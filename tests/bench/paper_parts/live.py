"""From the service's socket to the new quote on the output of `fanout paper run`.

    exchange -> service with books -> fanout paper run -> reader of its lines
    (sleeps)    core 1                core 2              core 2

The exchange is the stage itself, as in the stage features.
"""

import signal
import time
from contextlib import ExitStack
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
from tests.bench.broadcast.children import PATIENCE_S
from tests.bench.feature_parts.consumer import SETTLED_S, pieces, serving
from tests.bench.measure import cpu_s
from tests.bench.printed import printing

STREAMS: Final = (TRADES, BOOK)
CONFIG: Final = """
[trading]
symbols = ["{symbol}"]

[exchange]
maker-fee-bps = 2.0
taker-fee-bps = 5.0
acknowledge = "5ms"
cancel = "5ms"

[strategy]
name = "avellaneda-stoikov"
quantity = 0.1
position-limit = 1
gamma = 0.01
sigma = 2
k = 2
tau = 10

[risk]
order-quantity = 0.1
order-value = "none"
position = 1.2
notional = "none"
orders-per-second = 50
open-orders = 4
price-deviation-bps = 100
daily-loss = "none"
drawdown = "none"
stale = "none"
"""


class Quoted(msgspec.Struct, frozen=True):
    """One run: the age of each new quote in ns, and CPU seconds of the command's process."""

    ages_ns: NDArray[np.int64]
    spent_s: float


def quotes_of(market: Market, place: int) -> Quoted:
    """Play a market, with the command on one of its symbols. Raises `ValueError` if no quote
    came, and `RuntimeError` with its log if the command fails."""
    data = DataKinds(sum(KINDS[each] for each in STREAMS))
    symbol = list(market.begins)[place]
    with TemporaryDirectory() as name, ExitStack() as parts:
        directory = Path(name)
        (directory / "begins").write_bytes(msgspec.json.encode(market.begins))
        (directory / "paper.toml").write_text(CONFIG.format(symbol=symbol))
        connection, service, port = parts.enter_context(serving(directory / "begins", data))
        options = ["--config", "paper.toml", "--journal", "run", "--format", "json"]
        files = printing(
            ["paper", "run", *options, f"tcp://127.0.0.1:{port}"],
            directory / "quotes",
            cwd=directory,
            log=directory / "log",
            kind="QuoteReport",
        )
        command, reader = parts.enter_context(files)
        assert service.hear() == "ready"
        began_s = cpu_s(command.pid)
        send(connection.sendall, pieces(market.messages), time.monotonic())
        time.sleep(SETTLED_S)
        spent_s = cpu_s(command.pid) - began_s
        command.send_signal(signal.SIGINT)
        if command.wait(PATIENCE_S) not in (0, 128 + signal.SIGINT):
            raise RuntimeError((directory / "log").read_text())
        reader.wait(PATIENCE_S)
        rows = np.fromfile(directory / "quotes", np.int64).reshape(-1, 2)
    return Quoted(_ages_ns(rows), spent_s)


def _ages_ns(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the quotes behind the lead, which a pause parts from the others."""
    if not len(rows):
        raise ValueError("there was no quote at all")
    behind = rows[rows[:, 1] > rows[0, 1] + PAUSE_NS // 2]
    if not len(behind):
        raise ValueError("there was no quote after the first book")
    return behind[:, 0] - behind[:, 1]
