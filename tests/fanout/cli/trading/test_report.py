"""`fanout paper report`, from a journal on the disk."""

import errno
import json
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.trading.journal import file_name
from tests.fanout.cli.processes import at_once
from tests.fanout.trading.runs import Run
from tests.fanout.trading.world import BUY, PROBABILISTIC, SELL, X

BTC = replace(X, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)


def traded() -> Run:
    run = Run(BTC).mark(9_900, 10_100, 0).quote(9_900, 10_100, 0)
    for model in (None, PROBABILISTIC):
        how = {} if model is None else {"model": model}
        run.order(1, BUY, 2_000, 10, **how).order(2, SELL, 1_000, 10, **how)
        run.fill(1, BUY, 9_900, 1_500 if model is None else 2_000, 100, fee="0.01", **how)
    run.mark(9_800, 10_000, 1_500).fill(2, SELL, 10_000, 1_000, 2_000)
    return (
        run.refuse("position")
        .kill("cancelling", "the loss exceeds 5", 2_500)
        .mark(9_000, 9_200, 40_000)
    )


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return traded().write(tmp_path / "run")


def test_the_text_has_both_models_beside_each_other(journal: Path) -> None:
    done = at_once("paper", "report", str(journal))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("BTCUSDT at test: 2026-11-21T00:00:00.000Z to ")
    assert "limits that began to refuse: position 1" in lines
    assert any(line.endswith("the loss exceeds 5") and "kill switch" in line for line in lines)
    rows = {line.split("  ")[0].strip(): line.split()[-2:] for line in lines}
    assert rows["orders filled at all"] == ["2", "(50.0%)"]
    assert any("1.500 of 2.000 (75.0%)" in line and "(100.0%)" in line for line in lines)
    # The first fill was 1.00 better than the mid, which fell by 1.00 within 5 s.
    assert any(line.startswith("1 s after the fill") and "+0.000 ± ?" in line for line in lines)
    assert max(map(len, lines)) <= 110


def test_json_has_every_digit_and_the_parts_add_up(journal: Path) -> None:
    done = at_once("paper", "report", str(journal), "--json")
    figures: dict[str, Any] = json.loads(done.stdout)
    for model in figures["symbols"][0]["models"]:
        profit = {name: each for name, each in model["profit"].items() if name != "currency"}
        amounts = {name: Decimal(each) for name, each in profit.items()}
        assert (
            amounts["spread"] + amounts["inventory"] == amounts["realised"] + amounts["unrealised"]
        )
        assert amounts["spread"] + amounts["inventory"] - amounts["fees"] == amounts["total"]
    assert figures["settings"] == {"strategy": {"name": "basic"}}


def test_one_model_can_be_chosen(journal: Path) -> None:
    done = at_once("paper", "report", str(journal), "--model", "probabilistic", "--json")
    (symbol,) = json.loads(done.stdout)["symbols"]
    assert [each["model"] for each in symbol["models"]] == ["probabilistic"]
    assert {each["model"] for each in symbol["fills"]} == {"probabilistic"}
    text = at_once("paper", "report", str(journal), "--model", "conservative").stdout
    assert "probabilistic" not in text


def test_a_file_of_a_journal_is_reported_on_alone(journal: Path) -> None:
    done = at_once("paper", "report", str(journal / file_name(1)), "--symbol", "btcusdt")
    assert done.returncode == 0


def test_a_journal_whose_oldest_files_were_removed_is_reported_from_its_checkpoint(
    tmp_path: Path,
) -> None:
    run = traded().next_file().mark(9_100, 9_300, 50_000).fill(2, SELL, 9_300, 100, 51_000)
    run.forget(1).write(tmp_path / "run")
    done = at_once("paper", "report", str(tmp_path / "run"))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1].startswith("files of the journal from before 2026-11-21T00:00:40.000Z are not")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["position"] == ["0.400", "2.000"]
    assert "opening" in rows
    (symbol,) = json.loads(at_once("paper", "report", str(tmp_path / "run"), "--json").stdout)[
        "symbols"
    ]
    for model in symbol["models"]:
        profit = {name: each for name, each in model["profit"].items() if name != "currency"}
        amounts = {name: Decimal(each) for name, each in profit.items()}
        assert amounts["opening"] != 0
        parts = amounts["opening"] + amounts["spread"] + amounts["inventory"]
        assert parts == amounts["realised"] + amounts["unrealised"]
        assert parts - amounts["fees"] == amounts["total"]
    picture = tmp_path / "run.png"
    done = at_once("paper", "report", str(tmp_path / "run"), "--picture", str(picture))
    assert done.returncode == 0, done.stderr


def test_a_symbol_is_named_as_its_venue_spells_it(tmp_path: Path) -> None:
    run = traded()
    run.entries[:] = [
        replace(each, instruments=(replace(BTC, symbol="tBTCUSD"),))
        if hasattr(each, "instruments")
        else replace(each, symbol="tBTCUSD")
        for each in run.entries
    ]
    done = at_once("paper", "report", str(run.write(tmp_path / "run")), "--symbol", "tBTCUSD")
    assert done.returncode == 0, done.stderr


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_journal_is_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "run.png").touch()
    for name, words in (("run.png", "exists: --force replaces it"), ("run.gif", "has to end with")):
        done = at_once("paper", "report", "absent", "--picture", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr


def test_a_torn_line_at_the_end_is_no_part_of_the_report(journal: Path) -> None:
    whole = at_once("paper", "report", str(journal), "--json").stdout
    with (journal / file_name(1)).open("ab") as file:
        file.write(b'{"type":"Fill","time_ns":')
    assert at_once("paper", "report", str(journal), "--json").stdout == whole


def test_a_run_without_fills_is_reported_and_told_of(tmp_path: Path) -> None:
    run = Run(BTC).mark(9_900, 10_100, 0).mark(9_900, 10_200, 5_000).write(tmp_path / "run")
    done = at_once("paper", "report", str(run), "--picture", str(tmp_path / "run.png"))
    assert done.returncode == 0
    assert "BTCUSDT: no fills yet" in done.stderr
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_drawn(journal: Path, tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / f"run.{suffix}"
    done = at_once("paper", "report", str(journal), "--picture", str(picture))
    assert done.returncode == 0, done.stderr
    assert f"saved to {picture}" in done.stderr
    head = picture.read_bytes()[:1_000]
    assert head.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in head
    again = at_once("paper", "report", str(journal), "--picture", str(picture))
    assert again.returncode == 2
    assert f"{picture} exists: --force replaces it" in again.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["run", picture.name]


def test_without_matplotlib_a_picture_is_refused(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = at_once("paper", "report", str(journal), "--picture", str(tmp_path / "run.png"))
    assert done.returncode == 78
    assert "needs matplotlib: pip install matplotlib" in done.stderr
    assert not (tmp_path / "run.png").exists()
    assert len(done.stderr.splitlines()) == 1


def test_a_disk_that_cannot_be_written_is_told_of(journal: Path, tmp_path: Path) -> None:
    picture = tmp_path / "absent" / "run.png"
    done = at_once("paper", "report", str(journal), "--picture", str(picture))
    assert done.returncode == 1
    assert f"cannot write {picture}: No such file or directory" in done.stderr


def test_a_directory_without_a_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "channel").mkdir()
    for place, words in (("absent", "does not exist"), ("data", "has no journal of a run on pap")):
        done = at_once("paper", "report", str(tmp_path / place))
        assert (done.returncode, done.stdout) == (78, "")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\x00\x01\n", "line 1: no line of a journal of a run"),
        (b'{"type":"Mark"}\n', "line 1: no line of a journal of a run"),
        (b"", "the journal is empty"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, text: bytes, words: str) -> None:
    path = tmp_path / file_name(1)
    path.write_bytes(text)
    done = at_once("paper", "report", str(tmp_path))
    assert done.returncode == 78
    assert words in done.stderr
    assert str(tmp_path) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_version_is_refused(journal: Path) -> None:
    path = journal / file_name(1)
    path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":9'))
    done = at_once("paper", "report", str(journal))
    assert done.returncode == 78
    assert "the journal has version 9, and this program reads 1 to 2" in done.stderr


def test_a_run_that_has_only_begun_is_refused(tmp_path: Path) -> None:
    done = at_once("paper", "report", str(Run(BTC).write(tmp_path / "run")))
    assert done.returncode == 78
    assert "the run has reported nothing yet" in done.stderr


def test_a_journal_without_its_beginning_is_refused(tmp_path: Path) -> None:
    run = traded()
    first = next(n for n, each in enumerate(run.entries) if type(each).__name__ == "Fill")
    del run.entries[first]
    done = at_once("paper", "report", str(run.write(tmp_path / "run")))
    assert done.returncode == 78
    assert "an older file of the journal is missing" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "both,"), "give one of conservative, probabilistic, both"),
        (("--symbol", "ETHUSDT"), "the run trades BTCUSDT"),
        (("--picture", "x.gif"), "the name has to end with .png, .svg, .pdf"),
    ],
)
def test_what_cannot_be_asked_for_is_a_usage_error(
    journal: Path, options: tuple[str, ...], words: str
) -> None:
    done = at_once("paper", "report", str(journal), *options)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_symbol_of_which_nothing_was_reported_is_named(tmp_path: Path) -> None:
    run = traded()
    run.entries[0] = replace(run.entries[0], instruments=(BTC, replace(BTC, symbol="ETHUSDT")))
    run.write(tmp_path / "run")
    done = at_once("paper", "report", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "ETHUSDT at test: nothing reported yet"
    picture = ("--picture", str(tmp_path / "run.png"))
    done = at_once("paper", "report", str(tmp_path / "run"), *picture)
    assert done.returncode == 2
    assert "choose with --symbol one of BTCUSDT, ETHUSDT" in done.stderr
    done = at_once("paper", "report", str(tmp_path / "run"), *picture, "--symbol", "ETHUSDT")
    assert done.returncode == 78
    assert "nothing to draw" in done.stderr


def test_a_run_without_a_mid_is_shown(tmp_path: Path) -> None:
    run = Run(BTC).trust(True, 5)
    done = at_once("paper", "report", str(run.write(tmp_path / "run")))
    assert done.returncode == 0, done.stderr
    assert "freezes of fills: 1, for 0.0s" in done.stdout


def test_a_full_disk_leaves_no_half_of_a_picture(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", is_full)
    picture = tmp_path / "run.png"
    done = at_once("paper", "report", str(journal), "--picture", str(picture))
    assert done.returncode == 1
    assert f"cannot write {picture}: No space left on device" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_a_journal_that_cannot_be_read_is_told_of(journal: Path) -> None:
    (journal / file_name(1)).unlink()
    (journal / file_name(1)).mkdir()
    done = at_once("paper", "report", str(journal))
    assert done.returncode == 78
    assert f"cannot read {journal / file_name(1)}: Is a directory" in done.stderr


def test_a_folder_that_may_not_be_looked_into_is_told_of(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "exists", denied)
    done = at_once("paper", "report", str(journal / file_name(1)))
    assert done.returncode == 78
    assert f"cannot read {journal / file_name(1)}: Permission denied" in done.stderr
