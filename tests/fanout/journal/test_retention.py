from pathlib import Path

import pytest

from fanout.journal.disk import RealDisk
from fanout.journal.retention import DOUBT_NS, GRACE_NS, Limits, Retention, Sealed, choose
from fanout.protocol.journal import numbered
from fanout.protocol.journal_folder import ChannelFolder
from tests.fanout.journal.kept import EPOCH_NS, Keeper, make_channel

HOUR_NS = 3_600 * 10**9
FREE = Limits()


def sealed(first_seq: int, *, end_ns: int, size_bytes: int = 10, channel: str = "a") -> Sealed:
    return Sealed(
        channel=channel, epoch_ns=1, first_seq=first_seq, size_bytes=size_bytes, end_ns=end_ns
    )


A = [sealed(seq, end_ns=seq * HOUR_NS) for seq in range(1, 6)]
B = [sealed(seq, end_ns=seq * HOUR_NS + 1, channel="b") for seq in range(1, 6)]
NOW_NS = 6 * HOUR_NS


def test_without_limits_everything_stays() -> None:
    assert choose(A, FREE, now_ns=10**30) == []


def test_what_is_too_old_goes() -> None:
    limits = Limits(keep_ns=3 * HOUR_NS)
    assert choose([*A, *B], limits, now_ns=NOW_NS) == [A[0], B[0], A[1], B[1]]


def test_the_oldest_of_all_channels_go_until_the_size_is_right() -> None:
    limits = Limits(keep_bytes=95)
    assert choose([*B, *A], limits, now_ns=NOW_NS) == [A[0]]
    assert choose([*B, *A], limits, now_ns=NOW_NS, more_bytes=20) == [A[0], B[0], A[1]]
    assert choose(A, limits, now_ns=NOW_NS, more_bytes=1_000) == A, "the newest stay all the same"


def test_a_segment_that_is_read_stays_and_the_later_ones_of_its_channel() -> None:
    limits = Limits(keep_bytes=90)
    assert choose([*A, *B], limits, now_ns=NOW_NS, held={A[0]}) == [B[0]]
    limits = Limits(keep_ns=4 * HOUR_NS - GRACE_NS // 2)
    assert choose([*A, *B], limits, now_ns=NOW_NS, held={A[1]}) == [A[0], B[0], B[1]]


def test_a_segment_that_is_read_goes_after_a_grace() -> None:
    much = Limits(keep_bytes=40)
    assert choose(A, much, now_ns=NOW_NS, held={A[0]}) == []
    assert choose(A, much, now_ns=NOW_NS, more_bytes=1, held={A[0]}) == [A[0], A[1]]
    age_ns = NOW_NS - A[0].end_ns - GRACE_NS
    assert choose(A, Limits(keep_ns=age_ns), now_ns=NOW_NS, held={A[0]}) == []
    assert choose(A, Limits(keep_ns=age_ns - 1), now_ns=NOW_NS, held={A[0]})[0] == A[0]


def keep(directory: Path, count: int, *, epoch_ns: int = EPOCH_NS, first: int = 1) -> Path:
    """Segments of three trades, of which one is made each second."""
    keeper = Keeper(str(directory), make_channel(epoch_ns), created_ns=first * 10**9)
    for second in range(first + 1, first + count):
        keeper.publish(3)
        keeper.seal()
        keeper.begin(second * 10**9)
    keeper.publish(3)
    keeper.seal()
    return Path(keeper.folder)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def prune(directory: Path, limits: Limits, now_ns: int) -> list[int]:
    removed = Retention(RealDisk(), str(directory), limits).prune(now_ns)
    return [each.first_seq for each in removed]


def test_a_segment_goes_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    folder = keep(tmp_path, 4)
    (folder / numbered(1, ".fs")).write_bytes(b"state")
    (folder / numbered(1, ".torn.2")).write_bytes(b"torn")
    (folder / "notes").write_bytes(b"mine")
    (tmp_path / "lock").write_bytes(b"1")
    assert prune(tmp_path, FREE, 10**30) == []
    assert prune(tmp_path, Limits(keep_ns=10**9), 4 * 10**9) == [1]
    assert names(folder) == [
        *(numbered(seq, ending) for seq in (4, 7, 10) for ending in (".fi", ".fj")),
        "notes",
    ]


def test_the_size_is_that_of_all_files_of_a_journal(tmp_path: Path) -> None:
    folder = keep(tmp_path, 4)
    (folder / numbered(4, ".fs")).write_bytes(bytes(300))
    (folder / numbered(10, ".torn")).write_bytes(bytes(5_000))
    (folder / "notes").write_bytes(bytes(5_000))
    size = sum(each.stat().st_size for each in folder.iterdir() if each.name != "notes")
    retention = Retention(RealDisk(), str(tmp_path), Limits(keep_bytes=size))
    assert retention.prune(0) == []
    (folder / numbered(10, ".torn.2")).write_bytes(b"more")
    oldest = sum(each.stat().st_size for each in folder.glob(f"{numbered(1)}.*"))
    (gone,) = retention.prune(0)
    assert (gone.first_seq, gone.size_bytes) == (1, oldest)


def test_the_newest_segment_of_a_channel_stays(tmp_path: Path) -> None:
    old = keep(tmp_path, 3)
    new = keep(tmp_path, 2, epoch_ns=EPOCH_NS + 1, first=10)
    (tmp_path / "test" / numbered(EPOCH_NS + 2)).mkdir()  # of an epoch that begins
    assert prune(tmp_path, Limits(keep_bytes=1), 0) == [1, 4, 7, 1]
    assert not old.exists()
    assert names(new) == [numbered(4, ".fi"), numbered(4, ".fj")]
    assert names(tmp_path / "test") == [numbered(EPOCH_NS + 1), numbered(EPOCH_NS + 2)]


def test_what_an_interrupted_removal_left_goes(tmp_path: Path) -> None:
    old = keep(tmp_path, 1)
    (old / numbered(1, ".fj")).unlink()
    empty = tmp_path / "test" / numbered(EPOCH_NS - 1)
    empty.mkdir()
    keep(tmp_path, 1, epoch_ns=EPOCH_NS + 1)
    assert prune(tmp_path, Limits(keep_bytes=1), 0) == [1]
    assert names(tmp_path / "test") == [numbered(EPOCH_NS + 1)]


def test_bytes_that_were_set_aside_stay_as_long_as_a_segment(tmp_path: Path) -> None:
    old = keep(tmp_path, 1)
    (old / numbered(1, ".fi")).unlink()
    (old / numbered(1, ".fj")).rename(old / numbered(1, ".torn"))
    assert prune(tmp_path, Limits(keep_ns=10**9), 10**12) == [], "it may be the newest"
    keep(tmp_path, 1, epoch_ns=EPOCH_NS + 1, first=10)
    size = sum(each.stat().st_size for each in (tmp_path / "test").rglob("*.*"))
    assert prune(tmp_path, Limits(keep_ns=5 * 10**9, keep_bytes=size), 15 * 10**9) == []
    assert prune(tmp_path, Limits(keep_ns=5 * 10**9), 16 * 10**9) == [1]
    assert names(tmp_path / "test") == [numbered(EPOCH_NS + 1)]


def test_the_newest_segment_stays_also_where_a_later_one_was_set_aside(tmp_path: Path) -> None:
    folder = keep(tmp_path, 2)
    (folder / numbered(4, ".fj")).rename(folder / numbered(4, ".torn"))
    (folder / numbered(4, ".fi")).unlink()
    assert prune(tmp_path, Limits(keep_bytes=1, keep_ns=1), 10**12) == []
    keep(tmp_path, 1, epoch_ns=EPOCH_NS + 1)
    assert prune(tmp_path, Limits(keep_bytes=1), 0) == [1, 4]


def test_a_segment_that_is_read_stays_for_its_reader(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = keep(tmp_path, 5)
    other = keep(tmp_path / "more", 1)
    assert other.exists()
    size = sum(each.stat().st_size for each in folder.iterdir())
    reader = ChannelFolder(RealDisk(), str(tmp_path / "test")).open(EPOCH_NS, 4)
    assert prune(tmp_path, Limits(keep_bytes=size - 1), 0) == [1]
    assert prune(tmp_path, Limits(keep_bytes=size * 7 // 10), 0) == []
    assert caplog.messages == []
    assert prune(tmp_path, Limits(keep_bytes=size // 2), 0) == [4, 7]
    assert caplog.messages == [
        f"{folder / numbered(4, '.fj')}: removed while it was being read, to stay within the limits"
    ]
    assert reader.read(0, 8) == b"fanoutFJ", "its descriptor lives on"
    reader.close()
    assert prune(tmp_path, Limits(keep_bytes=1), 0) == [10]


def keep_made_at(directory: Path, *seconds: int) -> Path:
    """Segments of three trades that were made at these times."""
    keeper = Keeper(str(directory), make_channel(), created_ns=seconds[0] * 10**9)
    for each in seconds[1:]:
        keeper.publish(3)
        keeper.seal()
        keeper.begin(each * 10**9)
    keeper.seal()
    return Path(keeper.folder)


def test_segments_of_a_clock_that_was_wrong_go_with_those_around_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = keep_made_at(tmp_path, 10, 20, 9_999_999, 9_999_999, 30, 5, 40, 50, 9_999_999)
    limits, now_ns = Limits(keep_ns=25 * 10**9), 60 * 10**9
    retention = Retention(RealDisk(), str(tmp_path), limits)
    assert [each.first_seq for each in retention.prune(now_ns)] == [1, 4, 7, 10, 13]
    assert retention.prune(now_ns + 4 * 10**9) == []
    assert [each.first_seq for each in retention.prune(now_ns + 6 * 10**9)] == [16]
    assert caplog.messages == [
        f"{folder / numbered(7, '.fj')}: made in the future: the clock is or was wrong"
    ]


@pytest.mark.parametrize("is_mended", [True, False])
def test_a_clock_that_goes_ahead_removes_nothing_for_an_hour(
    tmp_path: Path, is_mended: bool, caplog: pytest.LogCaptureFixture
) -> None:
    keep_made_at(tmp_path, 10, 20, 30, 40)
    limits = Limits(keep_ns=25 * 10**9)
    retention, ahead_ns = Retention(RealDisk(), str(tmp_path), limits), 10**18

    def removed(now_ns: int) -> list[int]:
        return [each.first_seq for each in retention.prune(now_ns, doubts_clock=True)]

    for now_ns in (ahead_ns, ahead_ns + DOUBT_NS - 1):
        assert removed(now_ns) == []
    (line,) = caplog.messages
    assert line == (
        "journal: all 3 complete segments are older than --keep: the clock may be wrong, so they "
        "stay for another hour"
    )
    if is_mended:
        assert removed(50 * 10**9) == [1]
    assert removed(ahead_ns + DOUBT_NS)[-2:] == [4, 7]


def test_a_file_that_is_no_segment_does_not_stop_retention(tmp_path: Path) -> None:
    folder = keep(tmp_path, 3)
    (folder / numbered(2, ".fj")).mkdir()
    (folder / numbered(3, ".fj")).write_bytes(b"none")
    assert prune(tmp_path, Limits(keep_ns=1), 10**10) == [1, 3, 4]
    assert numbered(2, ".fj") in names(folder)
