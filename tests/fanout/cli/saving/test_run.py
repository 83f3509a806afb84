"""The contents of recordings, read with the tools that people use."""

import csv
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from fanout.cli.outcome import OutputError
from fanout.cli.saving import aside, recordings, run
from fanout.clients.columns import to_arrow, trades_in, write_parquet
from fanout.clients.columns.npy import batches_of
from fanout.clients.outcomes import DisconnectedError
from fanout.errors import ConfigError, UsageError
from fanout.protocol import NotRepresentableError, Trade
from tests.contracts.client import serving
from tests.fanout.cli.saving.script import (
    AFTER,
    BEFORE,
    CONNECTIONS,
    EPOCH,
    EXPECTED,
    MISSING,
    block,
    goodbye,
    opening,
    save,
    source,
)
from tests.protocol.golden import HEADER

Row = dict[str, Any]


@pytest.fixture(params=[1, recordings.MAX_PENDING], ids=["each by itself", "many at once"])
def _batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MAX_PENDING", request.param)


def as_text(trade: Trade, epoch_ns: int) -> Row:
    """A row of CSV, and of JSON where a value is no text."""
    return {
        "seq": trade.seq,
        "symbol": trade.symbol,
        "trade_id": trade.trade_id,
        "time_ms": trade.time_ms,
        "price": trade.price_text,
        "quantity": trade.quantity_text,
        "buyer_is_maker": trade.buyer_is_maker,
        "kind": trade.kind.name,
        "received_ns": trade.received_ns,
        "back_filled": trade.back_filled,
        "epoch_ns": epoch_ns,
    }


def in_csv(row: Row) -> Row:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in row.items()
    }


def exact(trade: Trade, epoch_ns: int) -> Row:
    """A row of Parquet, without its time."""
    return {
        "seq": trade.seq,
        "symbol": trade.symbol,
        "trade_id": trade.trade_id,
        "price": trade.price,
        "price_exponent": trade.instrument.price_exponent,
        "quantity": trade.quantity,
        "quantity_exponent": trade.instrument.quantity_exponent,
        "received_ns": trade.received_ns,
        "kind": trade.kind.name,
        "buyer_is_maker": trade.buyer_is_maker,
        "back_filled": trade.back_filled,
        "epoch_ns": epoch_ns,
    }


def times_us() -> list[int]:
    return [each.time * 10 ** (each.instrument.time_exponent + 6) for each, _ in EXPECTED]


@pytest.mark.usefixtures("_batches")
def test_csv_has_every_digit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trades.csv"
    assert save(path) is None
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [in_csv(as_text(*each)) for each in EXPECTED]
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == f"fanout: saved 5 trades to {path}; {MISSING}"
    assert "fanout: LOSS  first_seq 5  last_seq 11  reason SLOW" in said
    assert "fanout: GAP  seq 12  symbol BTCUSDT" in said
    assert "the service was started anew" in said
    assert os.listdir(tmp_path) == ["trades.csv"]


@pytest.mark.usefixtures("_batches")
@pytest.mark.parametrize("suffix", ["jsonl", "ndjson"])
def test_json_lines_contain_events_in_order(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"trades.{suffix}"
    save(path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row for row in rows if "event" not in row] == [as_text(*each) for each in EXPECTED]
    events = [row.get("event", "trade") for row in rows]
    assert events == [*["trade"] * 4, "loss", *["gap"] * 3, "trade", "end"]
    assert "LOSS" not in capsys.readouterr().err


@pytest.mark.usefixtures("_batches")
def test_npy_rows_are_self_contained(tmp_path: Path) -> None:
    path = tmp_path / "trades.npy"
    save(path)
    rows = np.load(path)
    expected = np.concatenate(
        [trades_in([each], replace(HEADER, epoch_ns=ns)) for each, ns in EXPECTED]
    )
    assert rows.tolist() == expected.tolist()
    assert rows["symbol"].tolist() == [each.symbol for each, _ in EXPECTED]
    assert os.listdir(tmp_path) == ["trades.npy"]


@pytest.mark.usefixtures("_batches")
def test_every_tool_reads_the_same_parquet(tmp_path: Path) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "trades.parquet"
    save(path)
    assert os.listdir(tmp_path) == ["trades.parquet"]
    expected = [exact(*each) for each in EXPECTED]
    table = parquet.read_table(path)
    assert table["time"].cast("int64").to_pylist() == times_us()
    assert table.schema == to_arrow(trades_in(AFTER, HEADER)).schema
    assert table.drop(["time"]).to_pylist() == expected

    polars: Any = pytest.importorskip("polars")
    assert polars.read_parquet(path).drop("time").to_dicts() == expected

    pandas: Any = pytest.importorskip("pandas")
    frame = pandas.read_parquet(path)
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"
    assert frame.drop(columns="time").to_dict("records") == expected

    duckdb: Any = pytest.importorskip("duckdb")
    with duckdb.connect() as database:
        query = f"select * exclude (time), epoch_us(time) from '{path}'"
        rows = database.execute(query).fetchall()
    assert rows == [(*row.values(), us) for row, us in zip(expected, times_us(), strict=True)]


def test_every_tool_reads_the_same_text(tmp_path: Path) -> None:
    polars: Any = pytest.importorskip("polars")
    pandas: Any = pytest.importorskip("pandas")
    duckdb: Any = pytest.importorskip("duckdb")
    path = tmp_path / "trades.csv"
    save(path)
    expected = [(each.symbol, each.trade_id, each.price_text) for each, _ in EXPECTED]
    kept = {"price": str, "trade_id": np.uint64}
    frame = pandas.read_csv(path, dtype=kept)[["symbol", "trade_id", "price"]]
    assert list(frame.itertuples(index=False, name=None)) == expected
    schema = {"price": polars.String, "trade_id": polars.UInt64, "received_ns": polars.UInt64}
    assert (
        polars.read_csv(path, schema_overrides=schema).select("symbol", "trade_id", "price").rows()
        == expected
    )
    with duckdb.connect() as database:
        types = "{'price': 'VARCHAR', 'trade_id': 'UBIGINT', 'received_ns': 'UBIGINT'}"
        query = f"select symbol, trade_id, price from read_csv('{path}', types={types})"
        assert database.execute(query).fetchall() == expected


def test_a_limit_ends_the_recording_at_that_trade(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trades.csv"
    save(path, limit=2)
    assert len(path.read_text().splitlines()) == 3
    assert capsys.readouterr().err == f"fanout: saved 2 trades to {path}, complete\n"


def test_symbols_and_kinds_can_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trades.npy"
    with serving(opening(EPOCH) + block(BEFORE, EPOCH) + goodbye(3)) as script:
        chosen = replace(source(script.url), symbols=["btcusdt"], market_only=True)
        run.record(chosen, path, force=False, limit=None, duration_s=None)
    assert np.load(path)["trade_id"].tolist() == [5]
    assert f"saved 1 trade to {path}, complete" in capsys.readouterr().err


def test_a_duration_ends_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    with serving(opening(EPOCH) + block(BEFORE, EPOCH), silent=True) as script:
        run.record(source(script.url), path, force=False, limit=None, duration_s=0.5)
    assert len(path.read_text().splitlines()) == 1 + len(BEFORE)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npy", "parquet"])
def test_a_stream_without_trades_is_a_file_without_rows(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"trades.{suffix}"
    save(path, opening(EPOCH) + goodbye(0))
    assert path.exists()
    if suffix == "npy":
        assert len(np.load(path)) == 0
    if suffix == "parquet":
        assert pytest.importorskip("pyarrow.parquet").read_table(path).num_rows == 0


def test_an_existing_file_is_refused_before_connecting(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists: --force replaces it"):
        run.record(source("tcp://127.0.0.1:1"), path, force=False, limit=None, duration_s=None)
    assert path.read_text() == "mine"
    directory = tmp_path / "directory.csv"
    directory.mkdir()
    with pytest.raises(UsageError, match="is a directory"):
        run.record(source("tcp://h:1"), directory, force=True, limit=None, duration_s=None)


def test_force_replaces_a_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("old")
    save(path, force=True)
    assert path.read_text().startswith("seq,")
    assert os.listdir(tmp_path) == ["trades.csv"]


@pytest.mark.parametrize("suffix", ["csv", "npy", "parquet"])
def test_a_file_that_appears_during_the_recording_is_not_replaced(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"trades.{suffix}"
    finish = run.Saving.finish

    def late(saving: run.Saving, *, force: bool) -> None:
        path.write_text("another's")
        finish(saving, force=force)

    monkeypatch.setattr(run.Saving, "finish", late)
    with pytest.raises(OutputError, match=f"cannot write {path}: File exists"):
        save(path)
    assert path.read_text() == "another's"
    (left,) = set(tmp_path.iterdir()) - {path}
    said = capsys.readouterr().err
    assert f"fanout: recording incomplete; 5 trades kept in {left}\n" in said
    if suffix != "csv":
        assert len(np.load(left)) == 5


def test_rows_that_do_not_fit_parquet_stay_in_the_temporary_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    endless = [replace(BEFORE[0], time=2**64 - 1)]
    with pytest.raises(NotRepresentableError, match="is no timestamp"):
        save(tmp_path / "trades.parquet", opening(EPOCH) + block(endless, EPOCH) + goodbye(1))
    (left,) = tmp_path.iterdir()
    assert f"recording incomplete; 1 trade kept in {left}" in capsys.readouterr().err
    assert np.load(left)["time"].tolist() == [2**64 - 1]


def test_records_are_saved_when_the_client_gives_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trades.csv"
    with serving(CONNECTIONS[0]) as script, pytest.raises(DisconnectedError):
        run.record(
            source(script.url, reconnect=False), path, force=False, limit=None, duration_s=None
        )
    assert len(path.read_text().splitlines()) == 5
    assert f"saved 4 trades to {path}; 7 records lost" in capsys.readouterr().err


@pytest.mark.parametrize("start", ["live", "7:5"])
def test_without_records_no_file_is_created(
    start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trades.csv"
    nobody = replace(source("tcp://127.0.0.1:1"), start=start)
    assert run.record(nobody, path, force=False, limit=None, duration_s=0.01) is None
    nobody = replace(nobody, reconnect=False)
    with pytest.raises(DisconnectedError):
        run.record(nobody, path, force=False, limit=None, duration_s=None)
    said = f"fanout: nothing received: {path} was not created"
    assert capsys.readouterr().err.splitlines().count(said) == 2
    assert os.listdir(tmp_path) == []


def test_missing_pyarrow_is_reported_before_a_file_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"needs pyarrow: pip install pyarrow; or save \.npy"):
        run.record(
            source("tcp://127.0.0.1:1"),
            tmp_path / "trades.parquet",
            force=False,
            limit=None,
            duration_s=None,
        )
    assert os.listdir(tmp_path) == []


def test_the_next_recording_names_the_leftovers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = tmp_path / ".trades.csv.0123abcd.part"
    left.write_text("seq\n")
    (tmp_path / ".other.csv.0123abcd.part").touch()
    save(tmp_path / "trades.csv", limit=1)
    said = capsys.readouterr().err
    assert f"{left} is left from an interrupted recording" in said
    assert "other" not in said
    assert left.exists()


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (OSError(28, "No space left on device"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["a full disk", "a second signal"],
)
def test_failed_parquet_keeps_its_rows(
    fault: BaseException,
    raised: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("pyarrow")

    def write_half(path: str, *_: object, **__: object) -> None:
        Path(path).write_bytes(b"PAR1")
        raise fault

    monkeypatch.setattr(recordings, "write_parquet", write_half)
    with pytest.raises(raised):
        save(tmp_path / "trades.parquet")
    (left,) = tmp_path.iterdir()
    assert f"recording incomplete; 5 trades kept in {left}\n" in capsys.readouterr().err
    assert len(np.load(left)) == 5


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npy", "parquet"])
def test_saved_records_survive_a_full_disk(
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"trades.{suffix}"
    monkeypatch.setattr(recordings, "MAX_PENDING", 1)
    write = os.write
    written = 0

    def write_some(descriptor: int, data: memoryview) -> int:
        nonlocal written
        room = 3000 - written
        if not room:
            raise OSError(28, "No space left on device")
        written += (count := write(descriptor, data[:room]))
        return count

    monkeypatch.setattr(aside, "os", _Os(write_some))
    many = [replace(BEFORE[2], seq=1 + each) for each in range(60)]
    with pytest.raises(ExceptionGroup) as caught:
        save(path, opening(EPOCH) + block(many, EPOCH) + goodbye(60))
    assert caught.group_contains(OutputError, match=f"cannot write {path}: No space left")
    (left,) = tmp_path.iterdir()
    found = re.search(r"recording incomplete; (\d+) trades kept in (\S+)", capsys.readouterr().err)
    assert found
    assert found[2] == str(left)
    is_lines = suffix in ("csv", "jsonl")
    kept = left.read_text().count("\n") - (suffix == "csv") if is_lines else len(np.load(left))
    assert kept == int(found[1]) > 0


class _Os:
    """The module, with another `write`."""

    def __init__(self, write: object) -> None:
        self.write = write

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


def test_saved_rows_can_be_converted_to_parquet_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(recordings, "write_parquet", _fail)
    with pytest.raises(OutputError):
        save(tmp_path / "trades.parquet")
    (left,) = tmp_path.iterdir()
    write_parquet(str(tmp_path / "mended.parquet"), lambda: batches_of(left))
    mended = parquet.read_table(tmp_path / "mended.parquet")
    assert mended["price"].to_pylist() == [each.price for each, _ in EXPECTED]


def _fail(*_: object, **__: object) -> None:
    raise OSError(5, "Input/output error")
