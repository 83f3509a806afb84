"""`fanout journal ls|verify|index|prune`, and that the transport is still there."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fanout.cli import journal
from fanout.cli.journal_view import HEAD
from fanout.errors import ConfigError
from fanout.journal.disk import RealDisk
from fanout.journal.recovery import recover
from fanout.journal.store import take_lock
from fanout.protocol.constants import START
from fanout.protocol.framing import frame
from fanout.protocol.header import opening
from fanout.protocol.journal import FileHeader, encode_file_header, numbered
from tests.fanout.cli.processes import at_once
from tests.fanout.journal.kept import EPOCH_NS, Keeper, files_below, make_channel
from tests.protocol.golden import HEADER, payload
from tests.stand.packed import pack_file

FIRST = f"test/{EPOCH_NS:020}/{1:020}"
SECOND = f"test/{EPOCH_NS:020}/{9:020}"


@pytest.fixture
def kept(tmp_path: Path) -> str:
    """A journal of two segments: numbers 1 to 8 and 9 to 12."""
    keeper = Keeper(str(tmp_path), make_channel(), created_ns=10**18)
    keeper.publish(5, 3)
    keeper.seal()
    keeper.begin(10**18 + 10**9)
    keeper.publish(4)
    keeper.seal()
    return str(tmp_path)


def change(directory: str, name: str, offset: int) -> None:
    path = Path(directory) / name
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def rows(*arguments: str) -> list[dict[str, Any]]:
    done = at_once("journal", *arguments, "--json")
    assert done.stderr == ""
    return [json.loads(each) for each in done.stdout.splitlines()]


def said(*arguments: str, code: int = 0) -> str:
    done = at_once("journal", *arguments)
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


def test_an_epoch_is_listed_with_its_numbers_and_times(kept: str) -> None:
    head, line = said("ls", kept).splitlines()
    assert tuple(head.split()) == HEAD
    assert line.split()[:7] == ["test", "1000", "2", "1", "12", "2001-09-09", "01:46:40"]
    assert line.endswith("stopped")
    (row,) = rows("ls", kept)
    assert (row["first_seq"], row["last_seq"], row["segments"]) == (1, 12, 2)


@pytest.mark.parametrize(
    ("names", "harm", "last", "state"),
    [
        (("trades", "status", "gap", "loss", "end"), None, 2_005, "ended"),
        (("trades", "status", "gap", "loss"), None, 2_005, "stopped"),
        (("trades", "gap", "loss"), None, 2_005, "stopped"),
        (("trades", "status", "trades"), None, 1_003, "stopped"),
        (("trades", "status", "gap"), "status", 1_005, "stopped"),
        (("trades", "status", "gap"), "gap", 1_004, "stopped"),
        ((), None, 1_000, "stopped"),
    ],
)
def test_an_epoch_is_listed_to_its_last_number(
    tmp_path: Path, names: tuple[str, ...], harm: str | None, last: int, state: str
) -> None:
    begun = FileHeader(epoch_ns=HEADER.epoch_ns, first_seq=1_001, created_ns=7)
    frames = [frame(START) + opening(HEADER), *(frame(payload(each)) for each in names)]
    if harm:
        place = 1 + names.index(harm)
        frames[place] = frames[place][:-1] + bytes([frames[place][-1] ^ 1])
    folder = tmp_path / "perps" / numbered(begun.epoch_ns)
    folder.mkdir(parents=True)
    (folder / numbered(1_001, ".fj")).write_bytes(encode_file_header(begun) + b"".join(frames))
    (row,) = rows("ls", str(tmp_path))
    assert (row["last_seq"], row["state"]) == (last, state)


def test_a_journal_that_a_service_has_is_open(kept: str) -> None:
    lock = take_lock(RealDisk(), kept)
    try:
        assert rows("ls", kept)[0]["state"] == "open"
        with (Path(kept) / f"{SECOND}.fj").open("ab") as segment:
            segment.write(b"half a frame")
        assert said("verify", kept).endswith(": right\n")
        assert len(rows("index", kept)) == 1
    finally:
        os.close(lock)
    assert "torn end" in said("verify", kept, code=1)


def test_a_journal_that_is_right_is_verified(kept: str) -> None:
    assert said("verify", kept).startswith("test: 2 segments, ")
    assert [(each["first_seq"], each["last_seq"]) for each in rows("verify", kept)] == [
        (1, 8),
        (9, 12),
    ]
    assert all(each["ok"] for each in rows("verify", kept, "--channel", "test"))


def test_compressed_segments_are_looked_at_like_all_others(kept: str) -> None:
    before = rows("ls", kept)
    sizes = [each["size_bytes"] for each in rows("verify", kept)]
    for name in (FIRST, SECOND):
        pack_file(Path(kept) / f"{name}.fj")
    (Path(kept) / f"{FIRST}.fi").unlink()
    on_disk = sum(each.stat().st_size for each in Path(kept).rglob("*.zst"))
    assert rows("ls", kept) == [before[0] | {"size_bytes": on_disk}]
    assert [each["changed"] for each in rows("index", kept) if each.get("changed")] == []
    checked = rows("verify", kept)
    assert [(each["file"], each["size_bytes"]) for each in checked] == [
        (f"{kept}/{FIRST}.fj.zst", sizes[0]),
        (f"{kept}/{SECOND}.fj.zst", sizes[1]),
    ]
    assert all(each["ok"] for each in checked)
    change(kept, f"{SECOND}.fj.zst", -1)
    assert said("verify", kept, code=1).startswith(
        f"{kept}/{SECOND}.fj.zst: no segment: no table of zstd frames stands at the end"
    )
    assert rows("ls", kept)[0]["state"] == "damaged"
    assert rows("prune", kept, "--keep-bytes", "1")[0]["file"] == f"{kept}/{FIRST}.fj.zst"
    assert list(files_below(Path(kept))) == [f"{SECOND}.fi", f"{SECOND}.fj.zst"]


def test_without_the_package_of_a_compressed_journal_it_is_named(
    kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_file(Path(kept) / f"{FIRST}.fj")
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    needed = "compressed segments need zstandard: pip install zstandard\n"
    for command in (("verify", kept), ("ls", kept), ("prune", kept, "--keep-bytes", "1")):
        done = at_once("journal", *command)
        assert (done.returncode, done.stdout, done.stderr) == (78, "", f"fanout: {needed}")
    with pytest.raises(ConfigError, match=f"{kept}/{FIRST}.fj.zst: {needed.strip()}"):
        recover(RealDisk(), kept)


def test_what_is_damaged_and_missing_is_told(kept: str) -> None:
    change(kept, f"{FIRST}.fj", -1)
    out = said("verify", kept, code=1).splitlines()
    assert out[0].startswith(f"{kept}/{FIRST}.fj: torn end at ")
    assert out[1].endswith(": the next segment begins behind them: numbers 6 to 8")
    assert out[2].endswith(": 2 faults")
    first, second = rows("verify", kept)
    assert (first["ok"], second["ok"]) == (False, True)
    missing = first["findings"][-1]
    assert (missing["kind"], missing["first_seq"], missing["last_seq"]) == ("missing", 6, 8)


def test_files_that_are_no_segments_are_told(kept: str) -> None:
    folder = Path(kept) / "test" / f"{EPOCH_NS:020}"
    os.mkfifo(folder / f"{20:020}.fj")
    (folder / f"{30:020}.fj").mkdir()
    (folder / f"{40:020}.fj").symlink_to("/dev/zero")
    (Path(kept) / "readme").write_text("no channel")
    out = said("verify", kept, code=1)
    assert out.count("no segment: ") == 3
    assert rows("ls", kept)[0]["state"] == "damaged"


def test_segments_are_verified_at_the_same_time(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def pool(workers: int, mp_context: object) -> ThreadPoolExecutor:
        asked.append(workers)
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr(journal, "ProcessPoolExecutor", pool)
    alone = said("verify", kept)
    assert said("verify", kept, "--jobs", "9") == alone
    monkeypatch.setattr(journal, "BYTES_FOR_JOB", 100)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert said("verify", kept) == alone
    assert asked == [2, 2]


def test_a_segment_that_goes_meanwhile_is_left_out(
    kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = journal.addresses

    def then_removed(*arguments: Any) -> Any:
        found = whole(*arguments)
        (Path(kept) / f"{FIRST}.fj").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(journal, "addresses", then_removed)
    assert said("verify", kept).startswith("test: 1 segment, ")


def test_an_index_is_made_anew(kept: str) -> None:
    before = files_below(Path(kept))
    (Path(kept) / f"{FIRST}.fi").unlink()
    (Path(kept) / f"{FIRST}.fi.part").write_bytes(b"left")
    change(kept, f"{SECOND}.fi", 20)
    assert said("verify", kept, code=1).count(" index") == 2
    assert said("index", kept).splitlines()[-1] == "2 of 2 indexes made anew"
    assert files_below(Path(kept)) == before
    assert said("index", kept) == "0 of 2 indexes made anew\n"
    assert [each["file"] for each in rows("index", kept)] == [
        f"{kept}/{FIRST}.fi",
        f"{kept}/{SECOND}.fi",
    ]


def test_an_index_of_what_is_no_segment_is_not_made(kept: str) -> None:
    change(kept, f"{FIRST}.fj", 20)
    os.rename(f"{kept}/{SECOND}.fj", f"{kept}/test/{EPOCH_NS:020}/{10:020}.fj")
    (Path(kept) / "test" / f"{EPOCH_NS:020}" / f"{11:020}.fj").mkdir()
    faults = [each["fault"] for each in rows("index", kept)]
    assert "CRC" in faults[0]
    assert faults[1:] == ["the segment is another than its name says", "not a plain file"]
    said("index", kept, code=1)


def test_the_oldest_segments_are_removed(kept: str) -> None:
    before = files_below(Path(kept))
    assert said("prune", kept, "--keep", "1d", "--dry-run").splitlines()[1].startswith("1 segment ")
    assert files_below(Path(kept)) == before
    with (Path(kept) / f"{FIRST}.fj").open("rb") as reader:
        RealDisk().share(reader.fileno())
        assert said("prune", kept, "--keep", "1d") == "0 segments removed, 0 B\n"
    (row,) = rows("prune", kept, "--keep-bytes", "100")
    assert row["file"] == f"{kept}/{FIRST}.fj"
    assert list(files_below(Path(kept))) == [f"{SECOND}.fi", f"{SECOND}.fj"]
    assert said("prune", kept, "--keep", "1s") == "0 segments removed, 0 B\n"


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("ls", "/nowhere"), 78, "/nowhere is no directory"),
        (("verify", "/etc/passwd"), 78, "/etc/passwd is no directory"),
        (("verify",), 2, "Missing argument 'DIR'"),
        (("verify", ".", "--jobs", "x"), 2, "--jobs"),
        (("ls", "."), 78, "no journal in .: "),
        (("verify", "."), 78, "no journal in .: "),
        (("index", "."), 78, "no journal in .: "),
        (("prune", ".", "--keep", "1d"), 78, "no journal in .: "),
        (("prune", "."), 2, "give --keep, --keep-bytes or both"),
        (("prune", ".", "--keep", "5"), 2, "'5' is not a duration"),
        (("prune", ".", "--keep-bytes", "much"), 2, "'much' is not a size"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    arguments: tuple[str, ...], code: int, why: str
) -> None:
    done = at_once("journal", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_channel_that_is_not_there_is_told_with_those_that_are(kept: str) -> None:
    done = at_once("journal", "ls", kept, "--channel", "nyse")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no channel 'nyse' in {kept}: it has test" in done.stderr


def test_a_folder_that_cannot_be_read_is_told(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[str]:
        raise PermissionError(13, "Permission denied", f"{kept}/test")

    monkeypatch.setattr(RealDisk, "names", refuse)
    done = at_once("journal", "ls", kept)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == f"fanout: cannot read {kept}/test: Permission denied\n"


def test_without_one_of_these_words_it_is_the_transport() -> None:
    assert "--segment-bytes" in at_once("journal", "--help").stdout
    assert "fanout journal ls" in at_once("journal", "--help").stdout
    done = at_once("journal", "list")
    assert done.returncode == 2
