"""A desk on one symbol of a service, which notes when it had each new quote.

    python -m tests.bench.paper_parts.desk PORT SYMBOL FILE

For each new quote, FILE gets two integers of 64 bits: when it was there and when the service had
read the socket that brought the record, both in unix ns. It is written at SIGINT.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from fanout.clients.outcomes import Received
from fanout.clients.tcp import TcpClient
from fanout.protocol import BookUpdate, Trade
from fanout.trading.desk import Desk, DeskSettings
from fanout.trading.limits import Limits
from fanout.trading.paper import PaperExchange
from fanout.trading.reports import QuoteReport
from tests.bench.paper_parts.quoting import STRATEGIES
from tests.bench.paper_parts.replay import SETTINGS

LIMITS = Limits(
    order_quantity=100,
    order_value=None,
    position=1_000,
    notional=None,
    orders_per_second=50,
    open_orders=4,
    price_deviation_bps=100,
    daily_loss=None,
    drawdown=None,
    stale_ms=None,
)
MIN_LIFE_NS = 200_000_000


def desk_on(symbol: str) -> Desk:
    """A desk with the strategy of Avellaneda and Stoikov, limits, and both fill models."""
    return Desk(
        PaperExchange(SETTINGS, [symbol]),
        symbol,
        STRATEGIES["Avellaneda-Stoikov"],
        limits=LIMITS,
        settings=DeskSettings(min_life_ns=MIN_LIFE_NS),
    )


def quoted(desk: Desk, record: Received) -> int | None:
    """Hand a record to a desk. Returns the record's time if that gave a new quote."""
    reports = desk.take(record)
    if isinstance(record, Trade | BookUpdate) and any(
        type(each) is QuoteReport for each in reports
    ):
        return record.received_ns
    return None


def main(port: int, symbol: str, path: Path) -> None:
    desk, found = desk_on(symbol), list[tuple[int, int]]()
    url = f"tcp://127.0.0.1:{port}"
    with suppress(KeyboardInterrupt), TcpClient(url, symbols=[symbol]) as client:
        client.connect()
        print("ready", flush=True)
        for record in client:
            read_ns = quoted(desk, record)
            if read_ns is not None:
                found.append((time.time_ns(), read_ns))
    path.write_bytes(np.array(found, np.int64).tobytes())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
