import os
import stat
from pathlib import Path

import pytest

from fanout.cli.outcome import OutputError
from fanout.cli.saving.aside import Aside, leftovers, require_free
from fanout.errors import UsageError


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "trades.csv"


def test_a_file_has_its_name_once_it_is_whole(target: Path) -> None:
    aside = Aside(target)
    aside.write(b"half")
    assert not target.exists()
    assert aside.path.name.startswith(".trades.csv.")
    aside.write(b" and half")
    aside.write_front(b"HALF")
    aside.complete(force=False)
    assert target.read_bytes() == b"HALF and half"
    assert list(target.parent.iterdir()) == [target]


def test_it_may_be_read_by_whom_files_here_may_be_read(target: Path) -> None:
    before = os.umask(0o027)
    try:
        Aside(target).complete(force=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_write_that_is_cut_short_goes_on(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    aside = Aside(target)
    aside.write(b"0123456789")
    aside.complete(force=False)
    assert target.read_bytes() == b"0123456789"


@pytest.mark.parametrize("has_links", [True, False])
def test_a_name_that_was_taken_meanwhile_is_left_alone(
    has_links: bool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", _refuse)
    aside = Aside(target)
    aside.write(b"ours")
    target.write_bytes(b"theirs")
    with pytest.raises(OutputError, match="File exists"):
        aside.complete(force=False)
    assert (target.read_bytes(), aside.path.read_bytes()) == (b"theirs", b"ours")
    aside.complete(force=True)
    assert target.read_bytes() == b"ours"


def test_a_file_system_without_links_will_do(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _refuse)
    aside = Aside(target)
    aside.write(b"whole")
    aside.complete(force=False)
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_an_aside_that_is_gone_becomes_nothing(target: Path) -> None:
    aside = Aside(target)
    aside.path.unlink()
    with pytest.raises(OutputError, match="No such file"):
        aside.complete(force=False)
    assert list(target.parent.iterdir()) == []


def _refuse(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_discarding_leaves_nothing(target: Path) -> None:
    Aside(target).discard()
    assert list(target.parent.iterdir()) == []


def test_a_link_to_nowhere_is_a_name_that_is_taken(target: Path) -> None:
    target.symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists"):
        require_free(target, force=False)
    require_free(target, force=True)


def test_what_is_left_is_told_from_what_is_being_written(target: Path) -> None:
    assert leftovers(target) == []
    written = Aside(target)
    assert leftovers(target) == []
    os.close(written._descriptor)
    assert leftovers(target) == [written.path]
    assert leftovers(target.with_name("trades.cs")) == []
    assert leftovers(target.parent / "nowhere" / "trades.csv") == []
