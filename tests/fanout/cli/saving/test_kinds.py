"""Quotes and book updates in recordings: a table for each kind."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from fanout.cli.saving import recordings
from fanout.clients.columns import levels_in, orders_in, quotes_in, to_arrow
from fanout.errors import UsageError
from fanout.protocol import DataKinds, FanoutError
from tests.contracts.records import EXPECTED, FIRST, NEXT_SEQ, STREAM
from tests.fanout.cli.saving.script import goodbye, opening, save
from tests.protocol.golden import HEADER
from tests.protocol.test_session import block

ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER
CHANNEL = replace(HEADER, next_seq=FIRST, data=ALL)
EVERYTHING = opening(CHANNEL) + STREAM + block(NEXT_SEQ) + goodbye(NEXT_SEQ)
NAMES = ["market.{}", "market.book.{}", "market.orders.{}", "market.quotes.{}"]


@pytest.fixture(params=[1, recordings.MAX_PENDING], ids=["each by itself", "many at once"])
def _batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MAX_PENDING", request.param)


def names(suffix: str) -> list[str]:
    return sorted(each.format(suffix) for each in NAMES)


def table(path: Path) -> Any:
    return pytest.importorskip("pyarrow.parquet").read_table(path)


@pytest.mark.usefixtures("_batches")
def test_csv_has_a_table_for_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "market.csv"
    save(path, EVERYTHING)
    assert sorted(os.listdir(tmp_path)) == names("csv")
    counts = {"": 1, ".quotes": 3, ".book": 7, ".orders": 4}
    for kind, count in counts.items():
        with (tmp_path / f"market{kind}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == count
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"fanout: saved 1 trade to {path}, 3 quotes to {tmp_path}/market.quotes.csv, "
        f"3 book updates to {tmp_path}/market.book.csv, "
        f"2 order updates to {tmp_path}/market.orders.csv, complete"
    )


@pytest.mark.usefixtures("_batches")
def test_rows_are_those_of_the_columns(tmp_path: Path) -> None:
    save(tmp_path / "market.npy", EVERYTHING)
    assert sorted(os.listdir(tmp_path)) == names("npy")
    for name, rows_in in (("quotes", quotes_in), ("book", levels_in), ("orders", orders_in)):
        rows = np.load(tmp_path / f"market.{name}.npy")
        assert rows.tolist() == rows_in(EXPECTED, HEADER).tolist()


@pytest.mark.usefixtures("_batches")
def test_parquet_has_the_columns_of_arrow(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    save(tmp_path / "market.parquet", EVERYTHING)
    assert sorted(os.listdir(tmp_path)) == names("parquet")
    for name, rows_in in (("quotes", quotes_in), ("book", levels_in), ("orders", orders_in)):
        expected = to_arrow(rows_in(EXPECTED, HEADER))
        assert table(tmp_path / f"market.{name}.parquet").to_pylist() == expected.to_pylist()


def test_json_lines_hold_all_kinds_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "market.jsonl"
    save(path, EVERYTHING)
    assert os.listdir(tmp_path) == ["market.jsonl"]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    found = [row.get("record") or row.get("event", "trade") for row in rows]
    assert found == [*["quote"] * 3, *["book"] * 3, *["orders"] * 2, "trade", "end"]
    saved = "1 trade, 3 quotes, 3 book updates, 2 order updates"
    assert capsys.readouterr().err == f"fanout: saved {saved} to {path}, complete\n"


def test_the_limit_counts_records_of_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "market.jsonl"
    save(path, EVERYTHING, limit=5)
    assert len(path.read_text().splitlines()) == 5


def test_a_channel_without_trades_makes_no_file_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = replace(CHANNEL, data=ALL & ~DataKinds.TRADES)
    save(tmp_path / "market.csv", opening(bare) + STREAM + goodbye(NEXT_SEQ - 1))
    assert sorted(os.listdir(tmp_path)) == sorted(set(names("csv")) - {"market.csv"})
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"fanout: saved 3 quotes to {tmp_path}/market.quotes.csv, ")
    for each in tmp_path.iterdir():
        each.unlink()
    save(tmp_path / "market.csv", opening(bare) + goodbye(FIRST - 1))
    assert os.listdir(tmp_path) == []
    assert "nothing received" in capsys.readouterr().err


def test_the_file_of_another_kind_is_not_replaced_without_force(tmp_path: Path) -> None:
    taken = tmp_path / "market.quotes.csv"
    taken.write_text("mine")
    with pytest.raises((ExceptionGroup, UsageError)) as caught:
        save(tmp_path / "market.csv", EVERYTHING)
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, FanoutError)
    assert str(error) == f"{taken} exists: --force replaces it"
    assert os.listdir(tmp_path) == ["market.quotes.csv"]
    assert taken.read_text() == "mine"
    save(tmp_path / "market.csv", EVERYTHING, force=True)
    assert taken.read_text().startswith("seq,")


def test_levels_in_memory_are_bounded_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "MAX_PENDING_BYTES", 40)
    recording = recordings.recording_of(tmp_path / "market.npy")(tmp_path / "market.npy")
    for each in EXPECTED:
        recording.add(each, HEADER)
    assert recording.saved[type(EXPECTED[3])] >= 2
    recording.discard()


def test_an_interrupted_recording_keeps_what_it_has_of_each_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".market.book.csv.0123abcd.part").write_text("left")
    save(tmp_path / "market.csv", EVERYTHING)
    assert "market.book.csv.0123abcd.part is left from" in capsys.readouterr().err
