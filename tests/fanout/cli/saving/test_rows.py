"""Recordings of a channel of rows of features."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from fanout.cli.outcome import OutputError
from fanout.cli.saving import recordings
from fanout.cli.saving.recordings import Recording, recording_of
from fanout.clients.columns import features_in, npy, to_arrow
from fanout.protocol import FeatureRow, Header, encode_features, frame
from tests.fanout.cli.saving.script import goodbye, opening, save
from tests.protocol.golden import FEATURES, QUOTES, ROWS_HEADER

ROWS = FEATURES.rows
EVERYTHING = opening(ROWS_HEADER) + frame(encode_features(FEATURES, ROWS_HEADER)) + goodbye(1_003)
OTHER = replace(ROWS_HEADER, epoch_ns=ROWS_HEADER.epoch_ns + 1, columns=("mid",))
OTHER_ROW = replace(ROWS[0], values=(1.5,), absences=bytes(1))
LONGER = replace(ROWS_HEADER.instruments[0], symbol="A-SYMBOL-THAT-IS-LONGER-THAN-ALL-THOSE-BEFORE")


def named(suffix: str) -> str:
    return f"market.features.{suffix}"


def saved_in(tmp_path: Path, suffix: str) -> Path:
    save(tmp_path / f"market.{suffix}", EVERYTHING)
    assert os.listdir(tmp_path) == [named(suffix)]
    return tmp_path / named(suffix)


@pytest.fixture(params=[1, recordings.MAX_PENDING], ids=["each by itself", "many at once"])
def _batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MAX_PENDING", request.param)


@pytest.mark.usefixtures("_batches")
def test_csv_has_a_field_for_each_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with saved_in(tmp_path, "csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [each["mid"] for each in rows] == ["83091.65", "", "83091.65"]
    assert [each["absences"] for each in rows][1] == "mid:ONE_SIDED spread_bps:ONE_SIDED"
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"fanout: saved 3 rows to {tmp_path}/{named('csv')}, complete"


def test_json_lines_have_values_by_their_names(tmp_path: Path) -> None:
    save(tmp_path / "market.jsonl", EVERYTHING)
    lines = (tmp_path / "market.jsonl").read_text().splitlines()
    assert [json.loads(each)["values"]["spread_bps"] for each in lines[:3]] == [0.125, None, 0.125]


@pytest.mark.usefixtures("_batches")
def test_rows_are_those_of_the_columns(tmp_path: Path) -> None:
    rows = np.load(saved_in(tmp_path, "npy"))
    assert rows.tobytes() == features_in(ROWS, ROWS_HEADER).tobytes()


@pytest.mark.usefixtures("_batches")
def test_parquet_has_the_columns_of_arrow(tmp_path: Path) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(saved_in(tmp_path, "parquet"))
    assert table.to_pylist() == to_arrow(features_in(ROWS, ROWS_HEADER)).to_pylist()


def test_parquet_of_several_batches_can_be_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(npy, "BATCH_ROWS", 1)
    file = parquet.ParquetFile(saved_in(tmp_path, "parquet"))
    assert file.num_row_groups == 3
    assert file.read().to_pylist() == to_arrow(features_in(ROWS, ROWS_HEADER)).to_pylist()


def add_and_save(recording: Recording, row: FeatureRow, header: Header) -> None:
    recording.add(row, header)
    recording.save()


@pytest.mark.parametrize("suffix", ["csv", "npy"])
def test_other_columns_do_not_go_into_the_same_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"market.{suffix}"
    recording = recording_of(path)(path)
    assert recording.add(ROWS[0], ROWS_HEADER)
    recording.save()
    with pytest.raises(OutputError, match="column 1 was spread_bps, and is now none: save"):
        add_and_save(recording, OTHER_ROW, OTHER)
    recording.discard()


def test_csv_has_no_column_with_the_name_of_another_field(tmp_path: Path) -> None:
    recording = recordings.FeatureLines(tmp_path / "features.csv")
    header = replace(ROWS_HEADER, columns=("mid", "seq", "x"))
    with pytest.raises(OutputError, match="a column has the name of the field seq"):
        recording.add(ROWS[0], header)
    recording.discard()


def test_json_lines_hold_rows_of_any_columns(tmp_path: Path) -> None:
    path = tmp_path / "market.jsonl"
    recording = recording_of(path)(path)
    assert recording.add(ROWS[0], ROWS_HEADER)
    assert recording.add(OTHER_ROW, OTHER)
    recording.complete(force=False)
    lines = path.read_text().splitlines()
    assert [len(json.loads(each)["values"]) for each in lines] == [3, 1]


def test_a_file_of_rows_gets_room_for_longer_symbols(tmp_path: Path) -> None:
    path = tmp_path / "market.npy"
    recording = recording_of(path)(path)
    recording.add(ROWS[0], ROWS_HEADER)
    recording.save()
    header = replace(ROWS_HEADER, instruments=(LONGER, *ROWS_HEADER.instruments[1:]))
    recording.add(replace(ROWS[2], instrument=LONGER), header)
    recording.complete(force=False)
    rows = np.load(tmp_path / named("npy"))
    assert rows["symbol"].tolist() == ["BTCUSDT", LONGER.symbol]
    assert rows["mid"].tolist() == [83_091.65, 83_091.65]


def test_a_table_of_rows_holds_no_other_kind(tmp_path: Path) -> None:
    recording = recordings.FeatureLines(tmp_path / "features.csv")
    assert not recording.add(QUOTES.quotes[0], ROWS_HEADER)
    recording.discard()
