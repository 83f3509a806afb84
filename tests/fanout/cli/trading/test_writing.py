"""The files of a journal: where they end, what a restart reads of them, and which are removed."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.cli.outcome import OutputError
from fanout.cli.trading.files import RunFiles, locked
from fanout.errors import ConfigError
from fanout.trading.reports import Report
from fanout.trading.running import journal
from fanout.trading.running.checkpoint import Checkpoint
from fanout.trading.running.earlier import Earlier
from fanout.trading.running.journal import (
    DAY_NS,
    Entry,
    Started,
    encode,
    file_name,
    files_in,
    needed_files,
    reports_of,
)
from fanout.trading.settings import JournalSettings
from tests.fanout.trading.running.test_floor import STARTED, read
from tests.fanout.trading.running.test_floor import journal as run_of
from tests.fanout.trading.running.test_journal import FILL, ORDER
from tests.fanout.trading.running.test_journal import STARTED as STARTED_BTC

NEVER_NS = 3_600 * 10**9
"""Between two syncs: only the last one, when the journal is closed."""


@pytest.fixture(autouse=True, scope="module")
def quick_disk() -> Iterator[None]:
    """When what is on the disk: see `test_syncing`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _: None)
        patch.setattr(os, "fsync", lambda _: None)
        yield


@cache
def reports() -> tuple[Report, ...]:
    return tuple(read(run_of())[1:])  # type: ignore[arg-type]


@contextmanager
def writing(
    directory: Path, most_bytes: int = 2**30, keep: int | None = None
) -> Iterator[RunFiles]:
    kept = JournalSettings(segment_bytes=most_bytes, keep_bytes=keep, sync_ns=NEVER_NS)
    with locked(str(directory), kept) as files:
        files.earlier()
        files.begin(STARTED)
        yield files


def written(
    directory: Path, said: Sequence[Report], most_bytes: int = 2**30, keep: int | None = None
) -> list[bytes]:
    with writing(directory, most_bytes, keep) as files:
        files.append(said)
    return contents(directory)


def contents(directory: Path) -> list[bytes]:
    return [each.read_bytes() for each in files_in(directory)]


def only_reports(directory: Path) -> list[Entry]:
    return [each for each in reports_of(directory) if not isinstance(each, Started | Checkpoint)]


def left_in(directory: Path) -> Checkpoint:
    with locked(str(directory)) as files:
        return files.earlier().checkpoint()


def left_by(said: Sequence[Report]) -> Checkpoint:
    return Earlier.of([STARTED, *said]).checkpoint()


# Where a file ends.


@pytest.mark.parametrize("spare", [-1, 0, 1])
@pytest.mark.parametrize("at", [1, 2, 30, len(reports()) - 1])
def test_a_file_ends_before_the_report_that_exceeds_its_size(
    tmp_path: Path, at: int, spare: int
) -> None:
    """`at` reports fit exactly, one byte less, or one more."""
    fitting = len(encode(STARTED)) + sum(len(encode(each)) for each in reports()[:at])
    first, second = written(tmp_path, reports()[: at + 1], fitting + spare)[:2]
    count = at if spare >= 0 or at == 1 else at - 1  # a file has one report at the least
    assert first == encode(STARTED) + b"".join(map(encode, reports()[:count]))
    head, checkpoint, report = second.splitlines(keepends=True)[:3]
    assert journal.decode(head) == replace(STARTED, part=2)
    assert journal.decode(checkpoint) == left_by(reports()[:count])
    assert report == encode(reports()[count])


def test_no_file_is_longer_than_its_limit_and_none_has_no_report(tmp_path: Path) -> None:
    files = written(tmp_path, reports(), 6_000)
    assert len(files) > 10
    for number, each in enumerate(files, start=1):
        lines = each.splitlines()
        assert len(each) <= 6_000
        assert len(lines) > (2 if number > 1 else 1)
        started = journal.decode(lines[0])
        assert isinstance(started, Started)
        assert started.part == number
    assert only_reports(tmp_path) == list(reports())


def test_a_limit_below_its_head_gives_a_file_for_each_report(tmp_path: Path) -> None:
    assert len(written(tmp_path, reports()[:9], 1)) == 9
    assert only_reports(tmp_path) == list(reports()[:9])


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=6), most_bytes=st.integers(2_000, 20_000))
def test_files_are_the_same_however_reports_come_in(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], most_bytes: int
) -> None:
    at_once = written(tmp_path_factory.mktemp("once"), reports(), most_bytes)
    place = tmp_path_factory.mktemp("parts")
    with writing(place, most_bytes) as files:
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(reports())], strict=True):
            files.append(reports()[begin:end])
    assert contents(place) == at_once


def days(*at: int) -> list[Report]:
    """Reports of these times after a midnight, in hours."""
    return [
        replace(ORDER, symbol="X", time_ns=20_000 * DAY_NS + each * 3_600 * 10**9) for each in at
    ]


def test_a_file_ends_with_the_day_of_the_records(tmp_path: Path) -> None:
    written(tmp_path, days(1, 23, 24, 25, 47, 72))
    counts = [len(each.splitlines()) for each in contents(tmp_path)]
    assert counts == [1 + 2, 2 + 3, 2 + 1]


def test_a_start_on_a_later_day_begins_one_file(tmp_path: Path) -> None:
    written(tmp_path, days(1))
    written(tmp_path, days(30, 31))
    assert [len(each.splitlines()) for each in contents(tmp_path)] == [1 + 1, 2 + 2]


def test_what_a_start_ends_of_the_one_before_has_no_file_of_its_own(tmp_path: Path) -> None:
    """It has the time of that. With the next file figures would count the time between the two."""
    written(tmp_path, days(1))
    written(tmp_path, days(1, 1, 30, 31, 50))
    assert [len(each.splitlines()) for each in contents(tmp_path)] == [1 + 1, 2 + 4, 2 + 1]


def test_a_report_before_any_record_ends_no_file(tmp_path: Path) -> None:
    written(tmp_path, [replace(ORDER, symbol="X", time_ns=0), *days(1)])
    assert len(contents(tmp_path)) == 1


# What a restart reads.


def test_a_restart_reads_the_newest_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, reports(), 6_000)
    count, real = [0], journal.decode

    def counting(line: bytes) -> Entry:
        count[0] += 1
        return real(line)

    monkeypatch.setattr(journal, "decode", counting)
    assert left_in(tmp_path) == left_by(reports())
    newest = len(contents(tmp_path)[-1].splitlines())
    assert count[0] == newest + 2  # its head is looked at first
    for path in files_in(tmp_path)[:-1]:
        path.write_bytes(b"nothing to read\n")
    assert left_in(tmp_path) == left_by(reports())
    for path in files_in(tmp_path)[:-1]:
        path.unlink()
    assert left_in(tmp_path) == left_by(reports())


def cuts_of(data: bytes) -> list[int]:
    """Around the end of each line, and here and there within the lines."""
    ends = [at for at, each in enumerate(data) if each == ord("\n")]
    around = {at + by for at in ends for by in (-1, 0, 1, 2)}
    return sorted({*range(0, len(data), 61), *around} & set(range(len(data))))


def test_a_run_that_was_killed_at_any_byte_goes_on(tmp_path: Path) -> None:
    """All files but one are whole; that one is cut, and those behind it were never begun."""
    written(tmp_path, reports()[:45], 4_000)
    files = contents(tmp_path)
    assert len(files) >= 3
    for number in range(1, len(files)):
        for path in files_in(tmp_path):
            path.unlink()
        for at, data in enumerate(files[:number], start=1):
            (tmp_path / file_name(at)).write_bytes(data)
        path = tmp_path / file_name(number + 1)
        for length in cuts_of(files[number]):
            path.write_bytes(files[number][:length])
            left = left_in(tmp_path)
            whole = path.read_bytes()
            assert whole == files[number][: files[number].rfind(b"\n", 0, length) + 1]
            assert left == left_by(only_reports(tmp_path))  # type: ignore[arg-type]


def test_a_run_goes_on_behind_a_file_whose_checkpoint_was_cut_off(tmp_path: Path) -> None:
    written(tmp_path, reports()[:60], 8_000)
    newest = files_in(tmp_path)[-1]
    started, *_ = newest.read_bytes().splitlines(keepends=True)
    newest.write_bytes(started + b'{"type":"Checkpoint","time_ns"')
    kept = only_reports(tmp_path)
    assert needed_files(tmp_path) == files_in(tmp_path)[-2:]
    written(tmp_path, reports()[len(kept) :])
    assert newest.read_bytes() == started
    assert needed_files(tmp_path) == files_in(tmp_path)[-1:]
    assert left_in(tmp_path) == left_by(reports())


def test_a_run_without_its_first_files_is_refused_where_no_checkpoint_is_left(
    tmp_path: Path,
) -> None:
    """It would go on without its positions."""
    written(tmp_path, reports()[:60], 8_000)
    *older, newest = files_in(tmp_path)
    data = newest.read_bytes()
    for path in older:
        path.unlink()
    assert left_in(tmp_path) == left_by(reports()[:60])
    started, checkpoint, *_ = data.splitlines(keepends=True)
    for torn in (started + checkpoint[:-1], started, started[:-1], b""):
        newest.write_bytes(torn)
        with pytest.raises(ConfigError, match=rf"{newest.name}: neither .* are gone: give another"):
            left_in(tmp_path)
        assert newest.read_bytes() == torn


def test_a_start_goes_on_with_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, reports()[:40])
    written(tmp_path, reports()[40:])
    head, checkpoint, *_ = reports_of(files_in(tmp_path)[1])
    assert head == STARTED
    assert checkpoint == left_by(reports()[:40])


def test_what_the_desks_do_with_their_orders_leaves_the_checkpoint_alone(tmp_path: Path) -> None:
    written(tmp_path, reports()[:40])
    with locked(str(tmp_path)) as files:
        left = files.earlier().left_of("X")
        assert left is not None
        left.past.settle()
        left.past.positions.clear()
        files.begin(STARTED)
    assert left_in(tmp_path) == left_by(reports()[:40])


def test_a_journal_of_version_1_is_read_whole_and_goes_on_in_version_2(tmp_path: Path) -> None:
    old = encode(STARTED).replace(b'"version":2', b'"version":1').replace(b',"part":1', b"")
    for number, part in enumerate((reports()[:50], reports()[50:90]), start=1):
        (tmp_path / file_name(number)).write_bytes(old + b"".join(map(encode, part)))
    assert left_in(tmp_path) == left_by(reports()[:90])
    with locked(str(tmp_path)) as files:
        started = files.earlier().started
        assert started is not None
        assert started.version == 1
        files.begin(started)
        files.append(reports()[90:])
    assert needed_files(tmp_path) == files_in(tmp_path)[-1:]
    assert next(reports_of(files_in(tmp_path)[-1])) == STARTED
    assert left_in(tmp_path) == left_by(reports())


def test_damage_in_the_newest_file_is_named_and_not_passed_over(tmp_path: Path) -> None:
    written(tmp_path, reports()[:60], 8_000)
    newest = files_in(tmp_path)[-1]
    started, checkpoint, *others = newest.read_bytes().splitlines(keepends=True)
    newest.write_bytes(b"".join([started, checkpoint[9:], *others]))
    with pytest.raises(ConfigError, match=rf"{newest.name}, line 2: no line of a journal of a run"):
        left_in(tmp_path)


# A disk that is full.


def full_after(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the disk takes so many bytes, and no more."""
    real, left = os.write, [room]

    def write(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = real(descriptor, data[: left[0]])
        left[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", write)


def test_a_disk_that_fills_up_at_any_byte_leaves_whole_lines_and_a_checkpoint(
    tmp_path: Path,
) -> None:
    """In the file before, in the head of the next one, and in its reports."""
    said = reports()[:30]
    whole = written(tmp_path / "whole", said, 2_500)
    assert len(whole) >= 3
    for room in range(0, sum(map(len, whole)) - len(whole[0].splitlines()[0]) - 1, 29):
        place = tmp_path / str(room)
        with pytest.MonkeyPatch.context() as patch, writing(place, 2_500) as files:
            full_after(room, patch)
            with pytest.raises(OutputError, match=r"cannot write .*jsonl: No space left"):
                files.append(said)
            patch.undo()
            with pytest.raises(OutputError, match="No space left"):
                files.append(said)  # it knows no more what stands there
        kept = contents(place)
        assert all(each.endswith(b"\n") for each in kept)
        assert b"".join(whole).startswith(b"".join(kept))
        assert all(len(each.splitlines()) >= 2 for each in kept[1:])
        assert left_in(place) == left_by(only_reports(place))  # type: ignore[arg-type]


def test_a_file_that_cannot_be_made_ends_the_run_with_the_one_before_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with writing(tmp_path, 6_000) as files, monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(OutputError, match=rf"{file_name(2)}: Too many open files"):
            files.append(reports())
        patch.undo()
    (kept,) = contents(tmp_path)
    assert len(kept) <= 6_000
    assert left_in(tmp_path) == left_by(only_reports(tmp_path))  # type: ignore[arg-type]


NO_OUTLIVING = "may not outlive a power cut: Input/output error"


def test_a_disk_that_does_not_keep_the_end_of_a_run_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OutputError, match=NO_OUTLIVING):
        written(tmp_path, reports()[:9])
    with locked(str(tmp_path)):
        pass  # nobody has it any more


# Which files are removed.


def test_the_oldest_files_are_removed_beyond_a_limit(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", reports(), 6_000)
    kept = written(tmp_path / "kept", reports(), 6_000, 20_000)
    assert 2 <= len(kept) < len(whole)
    assert kept == whole[-len(kept) :]
    assert sum(map(len, kept)) <= 20_000
    # One more would exceed the limit, with room for the newest one to grow.
    assert sum(map(len, whole[-len(kept) - 1 : -1])) + 6_000 > 20_000
    assert left_in(tmp_path / "kept") == left_by(reports())


def test_without_a_limit_nothing_is_removed(tmp_path: Path) -> None:
    written(tmp_path, reports(), 3_000)
    assert files_in(tmp_path)[0].name == file_name(1)


def test_a_limit_that_is_far_too_low_keeps_what_a_restart_needs(tmp_path: Path) -> None:
    (kept,) = written(tmp_path, reports(), 6_000, 1)
    assert kept.splitlines()[1].startswith(b'{"type":"Checkpoint"')
    assert left_in(tmp_path) == left_by(reports())


def test_a_start_without_a_checkpoint_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / file_name(1)).write_bytes(encode(STARTED_BTC) + encode(ORDER) + encode(FILL))
    kept = JournalSettings(segment_bytes=100, keep_bytes=1)
    with locked(str(tmp_path), kept) as files:
        files.begin(STARTED_BTC)  # nobody has asked what was there
    assert len(files_in(tmp_path)) == 2


def test_a_file_that_cannot_be_removed_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "unlink", fail)
    with writing(tmp_path, 6_000, 12_000) as files:
        for each in reports():
            files.append([each])
            files._writer._syncer.sync()
    assert capsys.readouterr().err == (
        f"fanout: cannot remove {tmp_path / file_name(1)}: Operation not permitted: "
        "keep-bytes is exceeded\n"
    )


def test_nothing_is_removed_before_the_newest_file_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OutputError, match=NO_OUTLIVING):
        written(tmp_path, reports(), 6_000, 12_000)
    assert files_in(tmp_path)[0].name == file_name(1)
