"""A journal is saved in rows, and the files are those that its records give one by one."""

from pathlib import Path

import numpy as np
import pytest
import trio
from msgspec.structs import replace

from fanout.cli.saving import recordings, run
from fanout.cli.saving.run import record
from fanout.cli.source import Source
from fanout.clients.client import AsyncClient
from fanout.clients.columns.journal import JournalRows, TradeRows
from fanout.clients.journal import JournalReader
from tests.clients.columns.test_journal import folder
from tests.clients.test_journal import Folder
from tests.protocol.golden import HEADER

__all__ = ["folder"]


class OneByOne(JournalReader, AsyncClient):
    async def _step(self) -> None:
        await trio.lowlevel.checkpoint()
        self._take()


def saved(url: str, target: Path, limit: int | None = None) -> dict[str, bytes]:
    """The files that a recording makes."""
    target.parent.mkdir()
    source = Source(
        address=url,
        symbols=None,
        market_only=False,
        start=None,
        reconnect=True,
        token_file=None,
        tls_ca=None,
    )
    assert record(source, target, force=False, limit=limit, duration_s=None) is None
    return {each.name: each.read_bytes() for each in target.parent.iterdir()}


@pytest.mark.parametrize("limit", [None, 2, 13])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npy", "parquet"])
def test_the_files_are_those_of_single_records(
    suffix: str,
    limit: int | None,
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    name = f"trades.{suffix}"
    found = saved(folder.url, tmp_path / "rows" / name, limit)
    said = capsys.readouterr().err
    monkeypatch.setattr(run, "TrioJournalClient", OneByOne)
    assert saved(folder.url, tmp_path / "records" / name, limit) == found
    assert capsys.readouterr().err.replace("/records/", "/rows/") == said
    assert any(found.values())


def test_longer_symbols_widen_the_rows_before_them(folder: Folder, tmp_path: Path) -> None:
    rows = next(each for each in JournalRows(folder.url) if isinstance(each, TradeRows))
    longer = replace(HEADER.instruments[0], symbol="BTCUSDT_261225")
    header = replace(rows.header, instruments=(longer, *rows.header.instruments[1:]))
    recording = recordings.RowRecording(tmp_path / "trades.npy")
    recording.add_rows(rows)
    recording.add_rows(TradeRows(header=header, packed=rows.packed))
    recording.complete(force=False)
    symbols = np.load(tmp_path / "trades.npy")["symbol"].tolist()
    assert symbols[: len(rows)] == rows.labelled["symbol"].tolist()
    assert longer.symbol in symbols[len(rows) :]
    assert recording.trades == 2 * len(rows)
