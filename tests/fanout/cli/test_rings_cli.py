"""`fanout ... consolidate` with a real process, and `fanout rings` on its rings and packed ones."""

import csv
import json
import os
import signal
from pathlib import Path

import pytest

from fanout.cli.rings import told, trade_line
from fanout.cli.rings_csv import MOST_OPEN, CsvFiles
from fanout.cli.rings_filter import FilterFile
from fanout.clients.consolidated import ConsolidatedTrade, RingOpened
from fanout.protocol.consolidated_trade import decode_trade
from tests.fanout.cli.processes import at_once, started
from tests.stand.packed_ring import PackedRing, payload_of

MOMENT = "2025-11-08 20:12:11"


@pytest.fixture
def packed() -> PackedRing:
    made = PackedRing()
    made.trade(1)
    made.trade(2, asset="BTCUSDT", side="Buy", px="0.10", exchange="BINANCE")
    return made


@pytest.fixture
def folder(packed: PackedRing, tmp_path: Path) -> str:
    return str(packed.write(tmp_path / "rings"))


def trade(number: int, **fields: object) -> ConsolidatedTrade:
    return decode_trade(payload_of(number, **fields))


def test_a_service_keeps_rings_that_are_read_while_and_after_it_runs(tmp_path: Path) -> None:
    rings, out = str(tmp_path / "rings"), tmp_path / "csv"
    service = (
        *("--venue", "sim", "--assets", "BTCUSDT,ETHUSDT", "tcp", "--port", "0"),
        *("consolidate", "--rings", rings, "--data-bytes", "1MiB", "--chunk-symbols", "1"),
    )
    with started(*service) as process:
        process.until_said(f"on rings://{rings}")
        with started("rings", "tail", rings) as tail:
            lines = [tail.line()]
            while len({each.split()[2] for each in lines}) < 2:
                lines.append(tail.line())
            assert tail.end(signal.SIGINT) == 130
        for line in lines:
            day, time, symbol, side, px, sz = line.split()
            assert (len(day), len(time), side in ("Buy", "Sell")) == (10, 8, True)
            assert (symbol in ("BTCUSDT", "ETHUSDT"), px[:3], sz[:3]) == (True, "px=", "sz=")
        other = at_once(*service)
        assert other.returncode == 1
        assert f"belongs to process {process.process.pid}, which is running" in other.stderr
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
    checked = at_once("rings", "verify", rings)
    assert (checked.returncode, checked.stderr) == (0, "")
    names = [line.split(":")[0] for line in checked.stdout.splitlines()]
    assert names == ["sim_trade_chunk0", "sim_trade_chunk1"]
    assert checked.stdout.count(": right\n") == 2
    done = at_once("rings", "csv", rings, "--out", str(out), "--no-follow")
    assert done.returncode == 0
    for symbol in ("BTCUSDT", "ETHUSDT"):
        rows = list(csv.DictReader((out / f"BINANCE_{symbol}.csv").read_text().splitlines()))
        assert [int(each["writer_seq"]) for each in rows] == list(range(1, len(rows) + 1))
    again = at_once("rings", "csv", rings, "--out", str(out), "--no-follow")
    assert again.returncode == 1
    assert "is there already: give another --out" in again.stderr


def test_tail_prints_what_an_independent_writer_packed(folder: str) -> None:
    done = at_once("rings", "tail", folder, "--start", "oldest", "--no-follow")
    assert done.stdout == (
        f"{MOMENT} BTC-PERPETUAL  Sell px=102049.5 sz=1280.0\n"
        f"{MOMENT} BTCUSDT        Buy  px=0.10 sz=1280.0\n"
    )
    assert "x_trade_chunk0: goes back from number 2 to 1" in done.stderr
    assert at_once("rings", "tail", folder, "--no-follow").stdout == ""


def test_only_what_a_filter_names_is_printed(folder: str, tmp_path: Path) -> None:
    words = ("rings", "tail", folder, "--start", "oldest", "--no-follow")
    assert "BTCUSDT" not in at_once(*words, "--filter", "BTC-PERPETUAL, X").stdout
    filters = tmp_path / "filters.json"
    for text, symbol in (
        ({"exchanges": ["BINANCE"]}, "BTCUSDT"),
        ({"symbols": ["BTC-PERPETUAL"]}, "BTC-PERPETUAL"),
        ({"symbols": ["BTCUSDT"], "exchanges": ["DERIBIT"]}, ""),
    ):
        filters.write_text(json.dumps(text))
        lines = at_once(*words, "--filters", str(filters)).stdout.splitlines()
        assert [each.split()[2] for each in lines] == ([symbol] if symbol else [])


@pytest.mark.parametrize("text", ["", "[]", '{"symbol": []}', '{"symbols": [1]}'])
def test_a_file_that_is_no_filter_is_refused_in_one_line(
    folder: str, tmp_path: Path, text: str
) -> None:
    (tmp_path / "filters.json").write_text(text)
    done = at_once("rings", "tail", folder, "--filters", str(tmp_path / "filters.json"))
    assert done.returncode == 78
    assert "filters.json is no filter" in done.stderr
    assert done.stderr.count("\n") == 1
    done = at_once("rings", "tail", folder, "--filters", str(tmp_path / "none"))
    assert (done.returncode, "cannot read" in done.stderr) == (78, True)


def test_a_filter_is_read_again_when_it_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "filters.json"
    path.write_text('{"symbols": ["A"]}')
    file = FilterFile(path, frozenset({"X"}))
    assert file.look() is file.wanted
    assert file.wanted.symbols == {"A", "X"}
    path.write_text('{"symbols": ["A", "B"]')
    assert file.look().symbols == file.look().symbols == {"A", "X"}
    path.write_text('{"symbols": ["A", "B"]}')
    assert file.look().symbols == {"A", "B", "X"}
    path.unlink()
    assert file.look().symbols == file.look().symbols == {"A", "B", "X"}
    said = capsys.readouterr().err
    assert said.count("the filter stays as it was") == 2
    assert said.count("was read again") == 1


def test_what_cannot_be_read_is_said_with_its_numbers(
    folder: str, packed: PackedRing, tmp_path: Path
) -> None:
    packed.damage(packed.trade(3) + 30)
    packed.append(b"{}", kind=0)
    packed.append(b"{}", kind=0)
    packed.append(payload_of(6, sz=None))
    packed.trade(7)
    packed.write(tmp_path / "rings")
    done = at_once("rings", "tail", folder, "--start", "oldest", "--no-follow")
    assert done.stdout.count("px=") == 3
    for words in (
        "x_trade_chunk0: number 3 damaged: CRC",
        "x_trade_chunk0: number 4 is of kind 0, and no trade; those that follow are left out",
        "x_trade_chunk0: number 6 no trade: sz b'null'",
        "2 records could not be read: 1 damaged, 1 no trade",
    ):
        assert done.stderr.count(words) == 1, done.stderr
    checked = at_once("rings", "verify", folder)
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[-1] == (
        "x_trade_chunk0: 3 trades, 2 records of other kinds, numbers 1 to 7: 2 damaged"
    )


def test_rings_that_are_none_are_refused_in_one_line(folder: str, tmp_path: Path) -> None:
    done = at_once("rings", "tail", str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "it has no file *.meta" in done.stderr
    meta = tmp_path / "rings" / "x_trade_chunk0.meta"
    meta.write_bytes(b"NORING" + meta.read_bytes()[6:])
    checked = at_once("rings", "verify", folder)
    assert checked.returncode == 1
    assert "x_trade_chunk0: cannot be read: no ring: it begins with b'NORING" in checked.stdout
    assert checked.stdout.count("\n") == 1


def test_verify_calls_what_was_overwritten_no_fault(tmp_path: Path) -> None:
    """The data of the oldest records was stored anew, by a writer that was killed before they
    counted."""
    packed = PackedRing(4096, 16)
    for number in range(30):
        packed.trade(number)
    for number in (31, 32):
        packed.append(payload_of(number), counts=False)
    done = at_once("rings", "verify", str(packed.write(tmp_path / "rings")))
    assert done.returncode == 0
    assert done.stdout.endswith(": right\n")


def test_each_thing_has_words() -> None:
    opened = RingOpened(ring="r", oldest_seq=1, newest_seq=0, next_seq=1, is_short=False)
    assert told(opened) == "r: empty so far"
    opened = RingOpened(ring="r", oldest_seq=5, newest_seq=1_000, next_seq=5, is_short=True)
    assert told(opened) == "r: goes back from number 1,000 to 5, as far as its index"
    assert trade_line(trade(1, exchange_ts_ms=10**17)).startswith("1" + "0" * 17)
    with pytest.raises(AssertionError, match="is a trade"):
        told(trade(1))


def test_no_more_files_are_open_than_a_process_may_have(tmp_path: Path) -> None:
    files = CsvFiles(tmp_path)
    trades = [trade(i, asset=f"A{i}/B") for i in range(MOST_OPEN + 5)]
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        files.add(trades)
    assert len(os.listdir("/proc/self/fd")) - before == MOST_OPEN
    files.close()
    assert (files.rows, files.symbols) == (2 * len(trades), len(trades))
    texts = [each.read_text().splitlines() for each in tmp_path.iterdir()]
    assert {len(each) for each in texts} == {3}
    assert (tmp_path / "DERIBIT_A0%2FB.csv").exists()


def test_a_directory_that_cannot_be_made_or_filled_is_told_in_one_line(
    folder: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words = ("rings", "csv", folder, "--no-follow", "--out")
    done = at_once(*words, str(tmp_path / "file" / "out"))
    assert (done.returncode, "cannot make" in done.stderr) == (1, True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "DERIBIT_BTC-PERPETUAL.csv").symlink_to("/dev/full")
    done = at_once(*words, str(tmp_path / "out"))
    assert (done.returncode, "is there already" in done.stderr) == (1, True)
