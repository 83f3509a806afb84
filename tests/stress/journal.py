"""A long journal: written, checked, sought in, and read to its end, without a service.

    python -m tests.stress.journal              ten million trades in some 100 segments; 2 minutes
    python -m tests.stress.journal 100000       fewer

What is written is known by its number: a trade's id, price and time follow from it. So each record
that comes back is compared with what was written, wherever reading began. The figures are printed.
The suite takes a small dose.
"""

import random
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Final

from msgspec.structs import replace

from fanout.clients.journal import JournalClient, Moment, Position
from fanout.journal.disk import RealDisk
from fanout.journal.worker import Track, Worker
from fanout.protocol import End, EndReason, Trade
from fanout.transports.journal.keeping import Keeping
from tests.stand.channels import BTC, new_channel
from tests.stand.verified import faults_of, lost_in, verified

RECORDS: Final = 10_000_000
IN_BLOCK: Final = 10
BLOCKS_AT_ONCE: Final = 100
SEGMENT_BYTES: Final = 1024 * 1024
SEEKS: Final = 200
BEGAN_NS: Final = 1_700_000_000_000_000_000
BLOCK_NS: Final = 1_000_000
MAX_BACKLOG_BYTES: Final = 1024 * 1024
NAME: Final = "long"


def trade(seq: int) -> Trade:
    """The trade that has this number."""
    price, quantity = 6_500_000 + seq * 7 % 1_009, 1 + seq * 31 % 997
    return Trade(BTC, seq + 10**9, time_ns(seq) // 1_000_000, price, quantity, seq % 3 == 0)


def time_ns(seq: int) -> int:
    """When its block came."""
    return BEGAN_NS + (seq - 1) // IN_BLOCK * BLOCK_NS


def write(directory: Path, count: int, segment_bytes: int) -> int:
    """Write so many trades, and END. Gives the epoch."""
    channel = new_channel(name=NAME)
    worker, track = Worker(RealDisk(), sync_s=1.0), Track(str(directory / NAME))
    worker.add(track)
    now_ns = BEGAN_NS
    keeping = Keeping(channel, track, worker, segment_bytes=segment_bytes, wall_ns=lambda: now_ns)
    keeping.begin()
    worker.start()
    for number, first_seq in enumerate(range(1, count + 1, IN_BLOCK)):
        now_ns = time_ns(first_seq)
        last_seq = min(count, first_seq + IN_BLOCK - 1)
        trades = [trade(seq) for seq in range(first_seq, last_seq + 1)]
        channel.publish(trades, received_ns=now_ns, held_ns=1)
        if number % BLOCKS_AT_ONCE == 0:
            _give(keeping, worker, (now_ns - BEGAN_NS) / 1e9)
    channel.end(EndReason.SHUTDOWN, retry_ms=1, why="all is written")
    while not keeping.has_ended:
        _give(keeping, worker, (now_ns - BEGAN_NS) / 1e9)
    worker.stop()
    return channel.header.epoch_ns


def _give(keeping: Keeping, worker: Worker, now_s: float) -> None:
    """Do what the service's loop does in a round, and do not run away from the disk."""
    while worker.backlog_bytes > MAX_BACKLOG_BYTES:
        time.sleep(0.001)
    keeping.look(now_s)
    while keeping.take(now_s):
        pass


def check(directory: Path, count: int) -> tuple[int, int]:
    """Check each byte. Gives how many segments and bytes there are."""
    (segments,) = verified(directory).values()
    assert not faults_of(segments)
    assert not lost_in(segments)
    assert (segments[-1].next_seq, segments[-1].is_ended) == (count + 1, True)
    return len(segments), sum(each.size_bytes for each in segments)


def seek_numbers(url: str, epoch_ns: int, seqs: list[int]) -> Iterator[float]:
    """Begin at each number. Gives how long each first record took."""
    for seq in seqs:
        yield _first(url, Position(epoch_ns=epoch_ns, seq=seq), seq)


def seek_times(url: str, seqs: list[int]) -> Iterator[float]:
    """Begin at the time of each of these: with the block that came then."""
    for seq in seqs:
        first_of_block = seq - (seq - 1) % IN_BLOCK
        yield _first(url, Moment(time_ns=time_ns(seq)), first_of_block)


def _first(url: str, start: Position | Moment, due: int) -> float:
    began_s = time.perf_counter()
    with JournalClient(url, start=start) as client:
        record = next(each for each in client if isinstance(each, Trade))
    took_s = time.perf_counter() - began_s
    _require(record, due)
    return took_s


def replay(url: str, count: int) -> None:
    """Read all of it."""
    due = 1
    with JournalClient(url) as client:
        for record in client:
            if isinstance(record, Trade):
                _require(record, due)
                due += 1
            else:
                assert isinstance(record, End), record
    assert due == count + 1


def _require(found: Trade, seq: int) -> None:
    written = replace(trade(seq), seq=seq, received_ns=time_ns(seq))
    assert found == written, f"{found} came in place of {written}"


def run(
    directory: Path, count: int, *, seeks: int, seed: int, segment_bytes: int = SEGMENT_BYTES
) -> Iterator[tuple[str, str]]:
    """All of it, step by step. Gives figures, each with its name."""
    url, chance = f"journal://{directory}/{NAME}", random.Random(seed)
    seqs = [chance.randint(1, count) for _ in range(seeks)]
    began_s = time.perf_counter()
    epoch_ns = write(directory, count, segment_bytes)
    yield f"{count / _since(began_s):,.0f}", "trades a second written, made up included"
    began_s = time.perf_counter()
    segments, size = check(directory, count)
    yield f"{size / 1e6 / _since(began_s):,.0f}", "MB a second checked"
    yield f"{segments:,}", "segments"
    yield f"{size / count:.2f}", "bytes a trade"
    for what, took in (
        ("a number", seek_numbers(url, epoch_ns, seqs)),
        ("a time", seek_times(url, seqs)),
    ):
        *_, p99_s = took_s = quantiles(took, n=100)
        yield f"{1e3 * took_s[49]:.2f}, {1e3 * p99_s:.2f}", f"ms to begin at {what}: p50, p99"
    began_s = time.perf_counter()
    replay(url, count)
    yield f"{count / _since(began_s):,.0f}", "trades a second read and compared"


def _since(began_s: float) -> float:
    return time.perf_counter() - began_s


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.stress.journal", description="A long journal.")
    parser.add_argument("records", type=int, nargs="?", default=RECORDS)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"{options.records:,} trades (seed {options.seed})", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        for figure, name in run(Path(directory), options.records, seeks=SEEKS, seed=options.seed):
            print(f"{figure:>16}  {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
