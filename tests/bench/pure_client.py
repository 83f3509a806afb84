"""CPU time of a client that follows ten order books, in plain Python.

Workload: trades, quotes and changes of books (`@depth@0ms`) of ten symbols, dealt from
`btcusdt_20240808.gz` and `ethusdt_20240808.gz` as in the stage ingest-depth, for twenty seconds.
The rate is ten times the mean of both recordings, frames by duration: some 2,460 messages a second.
A service takes them and has one client; what it sends, and when, is noted. Then a process sends
that again at the same pace, to a `TcpClient` with `Books` on a core of its own, without the
compiled twins (FANOUT_PURE=1), and with them for comparison. All books must be known at the end.

The share of a core is the client's CPU time by the time for which it is sent to. How far behind the
client is at the end shows whether it keeps up.

Goal: in plain Python the client takes less than one core.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from fanout.protocol.speedups import IS_COMPILED
from tests.bench.books_parts.ages import Played, run_of
from tests.bench.books_parts.market import ALL, RECORDED_S, dealt, mean_rate
from tests.bench.books_parts.pacing import Sent, sent_again
from tests.bench.broadcast.contenders import COMPILED, PLAIN
from tests.bench.measure import in_rounds
from tests.bench.report import Absent, Row, figure

ROUNDS: Final = 3


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How many symbols, for how long, and how much of the recordings is read for it."""

    symbols: int = 10
    seconds: float = 20.0
    reach_s: float = RECORDED_S


WHOLE: Final = Dose()
SMALL: Final = Dose(symbols=4, seconds=0.5, reach_s=5.0)


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    dose = SMALL if small else WHOLE
    rate = dose.symbols * mean_rate(reach_s=dose.reach_s)
    market = dealt(dose.symbols, dose.seconds, reach_s=dose.reach_s).at_rate(rate)
    played = run_of(market, ALL, 1)
    ways = {PLAIN: True} | ({COMPILED: False} if IS_COMPILED else {})
    runs = {name: partial(measured, played, dose, pure=pure) for name, pure in ways.items()}
    samples = in_rounds(runs, 1 if small else ROUNDS, warm_up=False)
    rows: list[Row | Absent] = []
    for name, sent in samples.items():
        rows += rows_of(
            f"{dose.symbols} symbols, {name}", sent, market.span_s, is_judged=name == PLAIN
        )
    rows.append(Row(name=f"{dose.symbols} symbols, rate", value=rate, unit="messages/s"))
    if not IS_COMPILED:
        rows.append(Absent(COMPILED, "fanout.protocol._speedups is not built, or switched off"))
    return rows


def measured(played: Played, dose: Dose, *, pure: bool) -> Sent:
    """Raises `ValueError` if a book is unknown in the end."""
    sent = sent_again(played, pure=pure)
    if sent.report.known != dose.symbols:
        raise ValueError(f"the client knows {sent.report.known} of {dose.symbols} books")
    return sent


def rows_of(label: str, sent: Sequence[Sent], span_s: float, *, is_judged: bool) -> Iterator[Row]:
    shares = [each.report.cpu_s / span_s * 100 for each in sent]
    at_most = 100 if is_judged else None
    yield figure(f"{label}, share of a core", shares, "%", at_most=at_most)
    behind_ms = [(each.report.ended_s - each.ended_s) * 1_000 for each in sent]
    yield figure(f"{label}, behind at the end", behind_ms, "ms")
