"""A journal: its size, checking, bulk reading, saving, seeking, replay, and what it costs.

Workload: the trades of `btcusdt_20240808.gz`, over and over, 30 in a block of some 200 bytes, in
segments that the service's own code writes. They lie in the directory of temporary files.

- Size: files and indexes, beside the same frames on one connection, and beside a line of JSON for
  each trade.
- Checking: `fanout journal verify` for all segments, and reading them as every reader of a journal
  does, by CPU time; and beside it with rows of numpy made of all trades. A plain loop checks the
  length, CRC and number of each frame with zlib, and does nothing else.
- Saving: `fanout save` of the journal, beside others that make Parquet of the same trades in other
  files; see `journal_parts/saving.py`.
- Seeking: random numbers and times in a journal of 100 segments of 256 MiB, up to what is sent
  first, by a service for its readers and by a client of the files. Cold: all files were taken out
  of the system's cache before each. Warm: with what is remembered. The same in compressed segments,
  where whoever begins in the midst of one unpacks 1 MiB first: warm seeks have no goal there.
- Replay: `fanout replay --speed max` on one core, and one client on the other.
- Cost: the service of the stage `latency` with ten clients and a message each millisecond, without
  and with a journal in turns; CPU time of all its threads, and the ages of trades at the last
  client.
- Stalls: a loop that publishes 1,000 blocks a second while each sync of the journal takes a second
  longer than it would. The stage also checks that no sync is made by the loop's thread.

Goals: at most 1.02 times the bytes of the wire, and a twentieth of JSON; 1 GB/s for checking and
bulk reading with the compiled twin, and five times the plain loop; Parquet in less CPU time than
the rivals; 5 ms for a cold seek and 0.2 ms for a warm one at p99; a replay of a million trades a
second; at most 5 % more CPU time; no stall of a tenth of a sync.

The times of seeks and the ages are wall-clock times. Other programs on the machine make them worse.
"""

import tempfile
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.journal_parts.files import checking, sizes
from tests.bench.journal_parts.live import burden, replaying, stall
from tests.bench.journal_parts.made import made, market_trades
from tests.bench.journal_parts.saving import saving
from tests.bench.journal_parts.seeking import packed, seeking, spread
from tests.bench.report import Absent, Row


class Dose(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything."""

    blocks: int = 100_000
    rounds: int = 5
    long_blocks: int = 500_000
    """Of the journal in which is sought, and which is replayed."""
    segments: int = 100
    segment_bytes: int = 256 * 1024 * 1024
    """Of the segments in which is sought."""
    cold: int = 200
    warm: int = 5_000
    replays: int = 3
    cost_rounds: int = 5
    cost_blocks: int = 10_000
    stall_s: float = 10


WHOLE: Final = Dose()
SMALL: Final = Dose(
    blocks=500,
    rounds=1,
    long_blocks=2_000,
    segments=10,
    segment_bytes=8 * 1024 * 1024,
    cold=20,
    warm=200,
    replays=1,
    cost_rounds=1,
    cost_blocks=500,
    stall_s=2.5,
)


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    dose, trades = SMALL if small else WHOLE, market_trades()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        journal = made(folder / "journal", trades, blocks=dose.blocks, segments=4)
        rows = [
            *sizes(journal, trades),
            *checking(journal, dose.rounds),
            *saving(journal, folder, dose.rounds),
        ]
        long = made(folder / "long", trades, blocks=dose.long_blocks, segments=dose.segments)
        wide = spread(long, folder / "wide", dose.segment_bytes)
        tight = packed(wide, folder / "tight")
        for journal, name, is_judged in ((wide, "seek", True), (tight, "seek, compressed", False)):
            rows += seeking(journal, name, cold=dose.cold, warm=dose.warm, is_judged=is_judged)
        rows += replaying(long, dose.replays)
    rows += burden(rounds=dose.cost_rounds, blocks=dose.cost_blocks)
    rows += stall(trades, span_s=dose.stall_s)
    return rows
