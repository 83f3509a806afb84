"""Ids of 64 bits that follow no order, as the first half of a UUID has: from the venue to files."""

import csv
import json
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from fanout.cli.formats import text_line
from fanout.cli.saving.recordings import recording_of
from fanout.protocol import Header, Snapshot, Trade
from tests.fanout.feed.running import running_feed
from tests.fanout.feed.toy import ToyVenue
from tests.stand.loopback import Exchange, Row
from tests.stand.subscriber import LogSubscriber

BTC = "BTCUSDT"
UUIDS = ("5c20cf9b-2e69-5cb4-9cb8-1b2d1e2a1f0b", "f7a7b51c-0001-5000-8000-000000000000")
IDS = [
    *(UUID(each).int >> 64 for each in UUIDS),
    *(2**64 - 1, 0, 2**63, 1, 2**63 - 1, 2**64 - 2, 2**53 + 1, 2**32, 2**63 + 1, 2**31 - 1),
]


async def test_any_id_follows_any_other_from_the_stream_to_the_files(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        for trade_id in IDS:
            exchange.rows[BTC].append(Row(BTC, trade_id, exchange.wall_ns(), "MARKET", "61800.30"))
            exchange.deliver(exchange.rows[BTC][-1])
            exchange.deliver(exchange.rows[BTC][-1])
        await trio.sleep(1)
        trades = [each for each in running.read() if isinstance(each, Trade)]
        assert [each.trade_id for each in trades] == IDS
        (stats,) = running.feed.stats().instruments
        assert (stats.trades, stats.duplicates, stats.missing) == (len(IDS), len(IDS), 0)
        late = LogSubscriber(running.publisher)
        (snapshot,) = (each for each in late.records() if isinstance(each, Snapshot))
        assert [each.trade_id for each in snapshot.trades] == IDS[-1:]
        header = late.header
    assert header is not None
    assert [text_line(each, 1).split("#")[1] for each in trades] == list(map(str, IDS))
    for suffix, read in _READ.items():
        target = tmp_path / f"trades{suffix}"
        _save(trades, header, target)
        assert read(target) == IDS


def _save(trades: list[Trade], header: Header, target: Path) -> None:
    recording = recording_of(target)(target)
    recording.begin(header, force=False)
    for each in trades:
        recording.add(each, header)
    recording.save()
    recording.complete(force=False)


def _of_csv(target: Path) -> list[int]:
    with target.open() as lines:
        return [int(each["trade_id"]) for each in csv.DictReader(lines)]


def _of_json(target: Path) -> list[int]:
    return [json.loads(line)["trade_id"] for line in target.read_text().splitlines()]


def _of_npy(target: Path) -> list[int]:
    ids: list[int] = np.load(target)["trade_id"].tolist()
    return ids


def _of_parquet(target: Path) -> list[int]:
    parquet = pytest.importorskip("pyarrow.parquet")
    ids: list[int] = parquet.read_table(target)["trade_id"].to_pylist()
    return ids


_READ = {".csv": _of_csv, ".jsonl": _of_json, ".npy": _of_npy, ".parquet": _of_parquet}
