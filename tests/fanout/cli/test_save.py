"""`fanout save` with real processes, real signals and a real service. `saving/test_run.py` tests
the contents of the files."""

import csv
import os
import pty
import re
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fanout.cli.processes import (
    FANOUT,
    TIMEOUT_S,
    at_once,
    environment,
    fanout,
    serving,
    started,
)

SAVED = re.compile(r"fanout: saved ([\d,]+) trades to (\S+), complete")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as (_, url):
        yield url


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def aside_of(path: Path) -> Path:
    """The file that is being written, once there is something in it."""

    def found() -> list[Path]:
        return [each for each in path.parent.glob(f".{path.name}.*.part") if each.stat().st_size]

    until(lambda: bool(found()))
    return found()[0]


def count_of(path: Path) -> int:
    """Trades in a file, finished or not; half a line is none."""
    if ".csv" in path.name:
        whole = path.read_text().splitlines(keepends=True)
        return sum(line.endswith("\n") for line in whole) - 1
    return len(np.load(path))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_completes_the_file(number: int, code: int, url: str, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    with started("save", url, str(path)) as process:
        aside_of(path)
        assert process.end(number) == code
    said = "".join(process.said)
    found = SAVED.search(said)
    assert found, said
    assert int(found[1].replace(",", "")) == count_of(path)
    assert "Traceback" not in said
    assert "\r" not in said
    assert os.listdir(tmp_path) == ["trades.csv"]
    with path.open(newline="") as file:
        seqs = [int(row["seq"]) for row in csv.DictReader(file)]
    assert seqs == sorted(set(seqs))


def test_a_signal_completes_parquet(url: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "trades.parquet"
    with started("save", url, str(path)) as process:
        aside = aside_of(path)
        until(lambda: count_of(aside_of(path)) > 0)
        assert process.end(signal.SIGINT) == 130
    assert not aside.exists()
    found = SAVED.search("".join(process.said))
    assert found
    assert int(found[1].replace(",", "")) == parquet.read_table(path).num_rows
    assert os.listdir(tmp_path) == ["trades.parquet"]


def test_save_can_wait_for_a_service_to_start(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    with started("save", "tcp://127.0.0.1:1", str(path)) as process:
        process.until_said("trying again")
        assert process.end(signal.SIGINT) == 130
    assert f"nothing received: {path} was not created" in "".join(process.said)
    assert os.listdir(tmp_path) == []


COLUMNS = 40


class Terminal:
    """A recording with a terminal for its stderr."""

    def __init__(self, *arguments: str) -> None:
        self._controller, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (24, COLUMNS))
        self.process = subprocess.Popen(
            [*FANOUT, "save", *arguments],
            stderr=terminal,
            env=environment(COLUMNS="", TERM="xterm"),
        )
        os.close(terminal)
        self.shown = ""

    def until_shown(self, pattern: str) -> re.Match[str]:
        while not (found := re.search(pattern, self.shown)):
            self.shown += os.read(self._controller, 65536).decode()
        return found

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        os.close(self._controller)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_records_counted_as_saved_survive_a_kill(suffix: str, url: str, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"trades.{suffix}"
    with Terminal(url, str(path)) as terminal:
        found = terminal.until_shown(r"\r\x1b\[K([\d,]+) trades saved to ")
        terminal.process.kill()
        terminal.process.wait(TIMEOUT_S)
    assert not path.exists()
    (aside,) = tmp_path.iterdir()
    assert count_of(aside) >= int(found[1].replace(",", "")) > 0
    if suffix == "csv":
        again = fanout("save", url, str(path), "--limit", "1")
        assert f"{aside} is left from an interrupted recording" in again.stderr


def test_the_summary_replaces_the_progress_line(url: str, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    with Terminal(url, str(path)) as terminal:
        terminal.until_shown("trades saved to")
        terminal.process.send_signal(signal.SIGINT)
        terminal.until_shown(r"\x1b\[Kfanout: saved [\d,]+ trades to \S+\s")
        assert terminal.process.wait(TIMEOUT_S) == 130
    assert not re.search(r"\x1b\[\d*m", terminal.shown), "no colours, in the face of NO_COLOR"
    lines = re.findall(r"\r\x1b\[K(\d[^\r]*|complet[^\r]*)", terminal.shown)
    assert lines
    assert max(map(len, lines)) < COLUMNS


def test_a_full_disk_is_reported_and_saved_records_are_kept(url: str, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    script = 'ulimit -f 20; exec "$@"'  # KiB
    done = subprocess.run(
        ["bash", "-c", script, "bash", *FANOUT, "save", url, str(path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env=environment(),
    )
    assert done.returncode == 1
    (aside,) = tmp_path.iterdir()
    kept, why = done.stderr.splitlines()[-2:]
    assert why == f"fanout: cannot write {path}: File too large"
    found = re.fullmatch(rf"fanout: recording incomplete; ([\d,]+) trades kept in {aside}", kept)
    assert found
    assert count_of(aside) >= int(found[1].replace(",", "")) > 0
    assert "Traceback" not in done.stderr


def test_save_writes_the_lines_that_tail_prints(url: str, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    assert fanout("save", url, str(path), "--limit", "20").returncode == 0
    text = path.read_text()
    first = next(csv.DictReader(text.splitlines()))
    place = ("--start", f"{first['epoch_ns']}:{first['seq']}", "--limit", "20")
    assert at_once("tail", url, "--format", "csv", *place).stdout == text


def test_an_existing_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.touch()
    done = fanout("save", "tcp://127.0.0.1:1", str(path))
    assert (done.returncode, done.stderr) == (2, f"fanout: {path} exists: --force replaces it\n")
