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


def test_a_file_gets_its_name_only_when_complete(target: Path) -> None:
    aside = Aside(target)
    aside.write(b"half")
    assert not target.exists()
    assert aside.path.name.startswith(".trades.csv.")
    aside.write(b" and half")
    aside.write_front(b"HALF")
    aside.complete(force=False)
    assert target.read_bytes() == b"HALF and half"
    assert list(target.parent.iterdir()) == [target]


def test_a_file_has_the_permissions_of_the_umask(target: Path) -> None:
    before = os.umask(0o027)
    try:
        Aside(target).complete(force=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_partial_write_is_continued(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    aside = Aside(target)
    aside.write(b"0123456789")
    aside.complete(force=False)
    assert target.read_bytes() == b"0123456789"


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_created_meanwhile_is_not_replaced(
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


def test_a_file_system_without_hard_links_works(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _refuse)
    aside = Aside(target)
    aside.write(b"whole")
    aside.complete(force=False)
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_completing_a_deleted_temporary_file_fails(target: Path) -> None:
    aside = Aside(target)
    aside.path.unlink()
    with pytest.raises(OutputError, match="No such file"):
        aside.complete(force=False)
    assert list(target.parent.iterdir()) == []


def _refuse(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_discard_deletes_the_temporary_file(target: Path) -> None:
    Aside(target).discard()
    assert list(target.parent.iterdir()) == []


def test_discard_after_complete_leaves_the_target_and_the_descriptors_of_others(
    target: Path,
) -> None:
    aside = Aside(target)
    aside.complete(force=False)
    with open(target, "rb") as reused:
        assert reused.fileno() == aside._descriptor
        aside.discard()
        aside.discard()
        assert reused.read() == b""
    assert list(target.parent.iterdir()) == [target]


def test_a_dangling_link_counts_as_an_existing_file(target: Path) -> None:
    target.symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists"):
        require_free(target, force=False)
    require_free(target, force=True)


def test_leftovers_exclude_files_that_are_being_written(target: Path) -> None:
    assert leftovers(target) == []
    written = Aside(target)
    assert leftovers(target) == []
    os.close(written._descriptor)
    assert leftovers(target) == [written.path]
    assert leftovers(target.with_name("trades.cs")) == []
    assert leftovers(target.parent / "nowhere" / "trades.csv") == []
