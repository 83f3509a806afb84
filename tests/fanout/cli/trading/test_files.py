"""The directory of a run on paper: one process, whole lines, and files that ask for something."""

import os
from pathlib import Path

import pytest

from fanout.cli.outcome import OutputError
from fanout.cli.trading import files
from fanout.cli.trading.files import ask, locked, owner_of, take_away, words_in
from fanout.cli.trading.report import _figures
from fanout.cli.trading.standings import earlier_in
from fanout.errors import ConfigError, UsageError
from fanout.trading.earlier import Earlier
from fanout.trading.journal import encode, file_name, reports_of
from tests.fanout.trading.test_journal import FILL, ORDER, STARTED


def test_each_start_writes_a_file_of_its_own(tmp_path: Path) -> None:
    place = str(tmp_path / "deep" / "paper")
    for entry in (ORDER, FILL):
        with locked(place) as run:
            run.earlier()
            run.begin(STARTED)
            run.append([entry])

    assert sorted(each for each in os.listdir(place) if each.endswith("jsonl")) == [
        file_name(1),
        file_name(2),
    ]
    left = Earlier.of([STARTED, ORDER]).checkpoint()
    assert list(reports_of(place)) == [STARTED, ORDER, STARTED, left, FILL]


def test_one_process_at_a_time_has_a_directory(tmp_path: Path) -> None:
    with locked(str(tmp_path)):
        assert owner_of(tmp_path) == str(os.getpid())
        with (
            pytest.raises(UsageError, match=f"process {os.getpid()} runs there: end it, or give"),
            locked(str(tmp_path)),
        ):
            pass
    assert owner_of(tmp_path) is None


def test_a_directory_without_a_run_has_no_owner(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no run on paper"):
        owner_of(tmp_path)


def test_a_torn_line_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    whole, torn = encode(STARTED) + encode(ORDER), encode(FILL)
    path = tmp_path / file_name(1)
    for length in range(len(torn)):
        path.write_bytes(whole + torn[:length])
        with locked(str(tmp_path)) as run:
            assert run.earlier().newest_ns == ORDER.time_ns
        assert path.read_bytes() == whole


def test_a_file_without_a_whole_line_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / file_name(1)).write_bytes(encode(STARTED)[:-9])
    with locked(str(tmp_path)) as run:
        assert run.earlier().started is None
        run.begin(STARTED)

    assert list(reports_of(tmp_path)) == [STARTED]


def test_a_damaged_journal_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / file_name(1)
    path.write_bytes(encode(STARTED) + b"{}\n" + encode(ORDER))
    before = path.read_bytes()
    with (
        locked(str(tmp_path)) as run,
        pytest.raises(ConfigError, match=r"line 2: .*: give another journal directory"),
    ):
        run.earlier()

    assert path.read_bytes() == before


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / file_name(1)
    path.mkdir()
    words = rf"^cannot read {path}: Is a directory$"
    with locked(str(tmp_path)) as run, pytest.raises(ConfigError, match=words):
        run.earlier()
    for read in (earlier_in, _figures):
        with pytest.raises(ConfigError, match=words):
            read(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match=r"cannot use .*file/x as a journal"),
        locked(str(tmp_path / "file" / "x")),
    ):
        pass


def test_a_directory_on_a_full_disk_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    (tmp_path / "lock").write_text("123456789\n")
    monkeypatch.setattr(os, "pwrite", full)
    with (
        pytest.raises(ConfigError, match=rf"cannot use {tmp_path} as a journal: No space left"),
        locked(str(tmp_path)),
    ):
        pass
    monkeypatch.undo()
    with locked(str(tmp_path)):
        assert owner_of(tmp_path) == str(os.getpid())


def test_a_full_disk_takes_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 60:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:50])

    with locked(str(tmp_path)) as run:
        run.begin(STARTED)
        run.append([ORDER])
        monkeypatch.setattr(files.os, "write", full)
        with pytest.raises(OutputError, match=r"cannot write .*jsonl: No space left"):
            run.append([FILL, FILL])
        monkeypatch.undo()

    assert (tmp_path / file_name(1)).read_bytes() == encode(STARTED) + encode(ORDER)


def test_a_file_that_asks_is_read_as_one_short_line(tmp_path: Path) -> None:
    path = tmp_path / "kill"

    assert words_in(path) is None
    ask(path, "for a reason")
    assert words_in(path) == "for a reason"
    path.write_bytes(b"\xff\x1b[2J two\nlines" + b"x" * 5_000)
    assert "\n" not in (words_in(path) or "\n")
    assert "\x1b" not in (words_in(path) or "\x1b")
    path.write_bytes(b"")
    assert words_in(path) == ""
    take_away(path)
    take_away(path)
    assert words_in(path) is None


def test_a_directory_in_the_place_of_the_file_asks_as_well(tmp_path: Path) -> None:
    (tmp_path / "kill").mkdir()

    assert words_in(tmp_path / "kill")
    with pytest.raises(OutputError, match="cannot remove"):
        take_away(tmp_path / "kill")


def test_a_question_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        ask(tmp_path / "no" / "kill", "why")


def test_a_question_has_a_name_though_the_disk_has_no_room_for_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_text", no_room)
    ask(tmp_path / "kill", "why")
    assert os.listdir(tmp_path) == ["kill"]


def no_room(path: Path, _: str) -> int:
    path.touch()
    raise OSError(28, "No space left on device")
