"""The stage of journals: what it measures is right, and it notices what is not."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.clients.journal import JournalClient
from fanout.journal.disk import RealDisk
from fanout.protocol import Trade
from fanout.protocol.journal import decode_places
from tests.bench.codec_rivals.way import BTCUSDT
from tests.bench.journal_parts import live, saving, seeking
from tests.bench.journal_parts.files import checking, sizes
from tests.bench.journal_parts.made import TRADES_A_BLOCK, Made, made
from tests.bench.report import Row

TRADES = [Trade(BTCUSDT, 100 + each, 5_000 + each, 6, 7, False) for each in range(45)]
"""A block and a half."""


@pytest.fixture
def journal(tmp_path: Path) -> Made:
    return made(tmp_path / "journal", TRADES, blocks=20, segments=4)


def by_name(rows: Any) -> dict[str, Row]:
    return {each.name: each for each in rows if isinstance(each, Row)}


def test_a_journal_has_the_trades_over_and_over(journal: Made) -> None:
    assert len(journal.segments) == 4
    found = [each for each in JournalClient(journal.url) if isinstance(each, Trade)]
    assert len(found) == journal.trades == 20 * len(TRADES) // 2
    assert [each.trade_id for each in found[: len(TRADES)]] == [each.trade_id for each in TRADES]
    assert found[TRADES_A_BLOCK].received_ns - found[0].received_ns == 1_000_000


def test_its_size_is_that_of_its_files(journal: Made) -> None:
    rows = by_name(sizes(journal, TRADES))
    assert journal.wire_bytes < journal.bytes_on_disk
    assert rows["bytes a trade on disk"].value == journal.bytes_on_disk / journal.trades


def test_every_way_of_checking_reads_all_of_it(journal: Made) -> None:
    assert all(each.value > 0 for each in by_name(checking(journal, 1)).values())
    path = journal.segments[2]
    damaged = bytearray(path.read_bytes())
    damaged[-6] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="CRC"):
        list(checking(journal, 1))


def test_a_place_is_found_cold_and_warm(
    journal: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeking, "WARM_UP_SEEKS", 40)
    wide = seeking.spread(journal, tmp_path / "wide", 4 * 1024 * 1024)
    tight = seeking.packed(wide, tmp_path / "tight")
    assert [each.suffix for each in sorted(tight.folder.glob("*.fj*"))] == [".zst"] * 3 + [".fj"]
    for each in (wide, tight):
        rows = by_name(seeking.seeking(each, "seek", cold=2, warm=2, is_judged=each is wide))
        for who in ("a service", "a client"):
            assert rows[f"seek, {who}, cold, p99"].value > 0
            assert rows[f"seek, {who}, cold, p99"].goal == "<= 5"
            assert rows[f"seek, {who}, warm, p99"].goal == ("<= 0.2" if each is wide else "")


def test_an_index_is_as_long_as_that_of_a_segment_of_that_size(
    journal: Made, tmp_path: Path
) -> None:
    wide = seeking.spread(journal, tmp_path / "wide", 4 * 1024 * 1024)
    for path in wide.segments:
        assert path.stat().st_size == 4 * 1024 * 1024
        index = path.with_suffix(".fi").read_bytes()
        assert len(decode_places(index[64:])) in (63, 64)
        assert (len(index) - 64) % 40 == 0


def test_a_seek_that_goes_elsewhere_is_noticed(journal: Made, tmp_path: Path) -> None:
    wide = seeking.spread(journal, tmp_path / "wide", 4 * 1024 * 1024)
    other = replace(wide, market=wide.market - 1)
    with pytest.raises(ValueError, match="was found, and not"):
        list(seeking.seeking(other, "seek", cold=20, warm=2, is_judged=False))


def test_rivals_write_as_many_trades(journal: Made, tmp_path: Path) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    source, target = tmp_path / "trades.dbn", tmp_path / "made.parquet"
    saving._write_dbn(journal, source)
    saving._by_numpy(source, target)
    viewed = parquet.read_table(target)
    assert viewed.num_rows == journal.trades
    assert viewed["price"].to_pylist()[:2] == [6 * 10**7] * 2
    pytest.importorskip("databento_dbn")
    saving._by_decoder(source, target)
    assert parquet.read_table(target)["sequence"].to_pylist() == viewed["sequence"].to_pylist()


def test_the_loop_is_measured_while_syncs_run_in_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "SLOW_SYNC_S", 0.02)
    monkeypatch.setattr(live, "SYNC", "always")
    rows = by_name(live.stall(TRADES, span_s=0.2))
    assert rows["syncs of a second each"].value >= 1
    assert rows["longest stall of the loop during them"].value > 0
    monkeypatch.setattr(live, "SlowDisk", lambda: NeverSynced())
    with pytest.raises(ValueError, match="0 syncs"):
        list(live.stall(TRADES, span_s=0.02))


class NeverSynced(RealDisk):
    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self.threads: set[int] = set()
