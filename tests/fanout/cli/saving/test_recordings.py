from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from fanout.cli.formats import CSV_HEADER, csv_line
from fanout.cli.outcome import OutputError
from fanout.cli.saving import recordings
from fanout.cli.saving.aside import Aside
from fanout.cli.saving.recordings import LineRecording, Recording, RowRecording, recording_of
from fanout.errors import UsageError
from tests.fanout.cli.saving.script import ANEW, BEFORE, EPOCH, OTHERS


def lines(target: Path) -> Recording:
    return LineRecording(target, csv_line, CSV_HEADER)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to files, in order."""
    calls: list[str] = []
    for name in ("write", "write_front", "sync"):
        monkeypatch.setattr(Aside, name, _noted(name, getattr(Aside, name), calls))
    return calls


def _noted(name: str, do: Callable[..., None], calls: list[str]) -> Callable[..., None]:
    def noted(*arguments: object) -> None:
        do(*arguments)
        calls.append(name)

    return noted


@pytest.mark.parametrize("make", [lines, RowRecording])
def test_a_trade_counts_as_saved_once_it_is_on_disk(
    make: Any, tmp_path: Path, done: list[str]
) -> None:
    recording = make(tmp_path / "trades.npy")
    recording.add(BEFORE[0], EPOCH)
    assert recording.trades == 0
    recording.save()
    recording.add(BEFORE[1], EPOCH)
    done.clear()
    recording.save()
    assert recording.trades == 2
    rows_then_count = ["write", "sync", "write_front", "sync"]
    assert done == (["write", "sync"] if make is lines else rows_then_count)
    done.clear()
    recording.save()
    assert done == []


@pytest.mark.parametrize("make", [lines, RowRecording])
def test_the_buffer_in_memory_is_bounded(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "MAX_PENDING", 3)
    recording = make(tmp_path / "trades.npy")
    for each in range(20):
        recording.add(replace(BEFORE[2], seq=each + 1), EPOCH)
        assert len(recording._pending) <= 3
    assert recording.trades >= 17


def test_rows_that_cannot_be_widened_stay_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = RowRecording(tmp_path / "trades.npy")
    recording.add(BEFORE[0], EPOCH)
    recording.save()
    recording.add(OTHERS[0], ANEW)
    monkeypatch.setattr(Aside, "write", _refuse)
    with pytest.raises(OutputError):
        recording.save()
    (left,) = tmp_path.iterdir()
    assert left == recording.aside.path
    assert np.load(left)["symbol"].tolist() == ["BTCUSDT"]


def test_a_failure_at_creation_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Aside, "write", _refuse)
    with pytest.raises(OutputError):
        RowRecording(tmp_path / "trades.npy")
    assert list(tmp_path.iterdir()) == []


def _refuse(*_: object) -> None:
    raise OutputError("No space left on device")


def test_the_suffix_selects_the_format_in_upper_and_lower_case() -> None:
    assert recording_of(Path("TRADES.NPY")) is recordings.RECORDINGS[".npy"]
    for name in ("trades", "trades.xml", ".csv", "trades.csv.gz"):
        with pytest.raises(UsageError, match=r"\.csv, \.jsonl, \.ndjson, \.npy, \.parquet"):
            recording_of(Path(name))
