"""Trades from a WebSocket to blocks in the log, on one core.

Workload: the 35,389 trades of `btcusdt_20240808.gz` and `ethusdt_20240808.gz`, merged as received,
three times over with ids that continue. A process on the other core sends them as text frames over
loopback, as fast as the contender reads. The frames are made beforehand, and the sender is some
forty times as fast as the quickest contender. Time runs from the open connection, before the
subscription, to the last trade in a log; the process's CPU time stands beside it. In each round,
each contender in turn starts as a new process.

fanout is the service's complete path: `open_websocket`, link, lane, the venue's parser, merge,
feed, publisher and log, with liveness, watch and clock running. A rival replaces the WebSocket and
the parser. It is set up for throughput (its program says how), and does the same work for each
trade with code that all rivals share, `ingest_rivals.ledger`: find the instrument, check that the
id follows the previous one, convert to exact integers, append a packed record to a list. No rival
supervises the connection, merges several, back-fills gaps, or makes blocks that can be sent.

- trio-websocket, on which trio programs are built, with `json`.
- `websockets.trio` with msgspec's typed structs.
- picows with orjson, under asyncio: compiled, and without a task between it and its listener.

A checksum compares each contender's log with the recording, value by value. A contender that loses
or changes a trade fails the stage.

Goals: 60,000 trades/s in plain Python, 100,000 with the compiled twins; ahead of trio-websocket and
of `websockets.trio`; at most three times behind picows.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from fanout.protocol.constants import TradeKind
from tests.bench.ingest_rivals.workload import (
    RECORD,
    checksum,
    texts,
)
from tests.bench.market import PRICE_DECIMALS, QUANTITY_DECIMALS, SYMBOLS
from tests.bench.measure import REST_CORE, WORK_CORE, answer, in_rounds, ratios, start
from tests.bench.report import Absent, Row, figure, why_absent

PROGRAMS: Final = "tests.bench.ingest_rivals"
TRADES: Final = 3 * 35_389
SMALL_TRADES: Final = 2_000
ROUNDS: Final = 5

PLAIN: Final = "fanout, plain"
COMPILED: Final = "fanout, compiled"
TRIO_WEBSOCKET: Final = "trio-websocket + json"
WEBSOCKETS_TRIO: Final = "websockets.trio + msgspec"
PICOWS: Final = "picows + orjson"


class Contender(msgspec.Struct, frozen=True):
    """A program, and the modules that it needs, with how to get those."""

    program: str
    needs: dict[str, str] = {}
    pure: bool = False
    at_least: float | None = None


CONTENDERS: Final = {
    PLAIN: Contender("fanout_feed", pure=True, at_least=60_000),
    COMPILED: Contender(
        "fanout_feed",
        {
            "fanout.protocol._speedups": "fanout.protocol._speedups is not built",
            "fanout._speedups": "fanout._speedups is not built",
        },
        at_least=100_000,
    ),
    TRIO_WEBSOCKET: Contender(
        "trio_websocket_json", {"trio_websocket": "pip install trio-websocket"}
    ),
    WEBSOCKETS_TRIO: Contender(
        "websockets_trio_msgspec", {"websockets.trio": "pip install --upgrade websockets"}
    ),
    PICOWS: Contender(
        "picows_orjson", {"picows": "pip install picows", "orjson": "pip install orjson"}
    ),
}


class Sample(msgspec.Struct, frozen=True):
    """What a contender says of one run."""

    trades: int
    seconds: float
    cpu_s: float
    checksum: str


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    count = SMALL_TRADES if small else TRADES
    expected = checksum(map(record_of, texts(count)))
    missing = {name: why_absent(each.needs) for name, each in CONTENDERS.items()}
    with sender(count) as port:
        runs = {
            name: partial(_run, each, port, count, expected)
            for name, each in CONTENDERS.items()
            if not missing[name]
        }
        samples = in_rounds(runs, 1 if small else ROUNDS, warm_up=not small)
    rates = {name: [one.trades / one.seconds for one in each] for name, each in samples.items()}
    return [
        *(
            figure(name, each, "trades/s", at_least=CONTENDERS[name].at_least)
            for name, each in rates.items()
        ),
        *_compared(rates),
        *(
            figure(f"{name}, CPU", [one.cpu_s / one.trades * 1e6 for one in each], "µs/trade")
            for name, each in samples.items()
        ),
        *(Absent(name, why) for name, why in missing.items() if why),
    ]


def _compared(rates: Mapping[str, list[float]]) -> Iterator[Row]:
    ours = rates.get(COMPILED) or rates[PLAIN]
    for name in (TRIO_WEBSOCKET, WEBSOCKETS_TRIO):
        if name in rates:
            yield figure(f"fanout / {name}", ratios(ours, rates[name]), "times", at_least=1)
    if PICOWS in rates:
        yield figure(f"{PICOWS} / fanout", ratios(rates[PICOWS], ours), "times", at_most=3)


def _run(contender: Contender, port: int, count: int, expected: str) -> Sample:
    """Raises `ValueError` if what is in its log then is not the recording."""
    program = f"{PROGRAMS}.{contender.program}"
    child = start(program, port, count, core=WORK_CORE, pure=contender.pure)
    sample = msgspec.convert(answer(child), Sample)
    if (sample.trades, sample.checksum) != (count, expected):
        raise ValueError(f"{contender.program}: {sample.trades:,} trades, not those that were sent")
    return sample


@contextmanager
def sender(count: int) -> Iterator[int]:
    """The port of a sender of `count` trades, until the end of the block."""
    child = start(f"{PROGRAMS}.sender", count, core=REST_CORE)
    assert child.stdout is not None
    try:
        yield int(child.stdout.readline())
    finally:
        child.kill()
        child.communicate()


def record_of(text: bytes) -> bytes:
    """What a message says, in the plainest way there is."""
    row = json.loads(text)["data"]
    return RECORD.pack(
        SYMBOLS.index(row["s"]),
        row["t"],
        row["T"],
        _exact(row["p"], PRICE_DECIMALS),
        _exact(row["q"], QUANTITY_DECIMALS),
        row["m"],
        TradeKind[row["X"]],
    )


def _exact(text: str, decimals: int) -> int:
    units = Decimal(text).scaleb(decimals)
    assert units == int(units), f"{text} has no more than {decimals} decimals"
    return int(units)
