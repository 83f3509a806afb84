import errno
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from fanout.channel.channel import Channel
from fanout.config import Config, SourceConfig
from fanout.errors import BindError, ConfigError, UsageError
from fanout.journal import compressing
from fanout.journal.disk import RealDisk
from fanout.journal.memory import remember
from fanout.journal.recorder import LEAST_FREE_BYTES, State
from fanout.journal.worker import Failure, Track, Worker
from fanout.protocol import End, EndReason, Heartbeat, Loss, Snapshot, Trade, decode_event
from fanout.protocol.constants import FrameKind
from fanout.protocol.framing import payloads_of
from fanout.protocol.journal_folder import ChannelFolder
from fanout.stats.snapshots import JournalStats
from fanout.transports.journal.config import JournalConfig
from fanout.transports.journal.keeping import Keeping
from fanout.transports.journal.transport import LAST_S, JournalTransport
from tests.contracts.transport import TransportContract
from tests.fanout.journal.kept import EPOCH_NS, write_journal
from tests.stand import channels
from tests.stand.book_channel import Feeder, KeptBooks, book_channel
from tests.stand.channels import new_channel, publish, publish_bulk
from tests.stand.disk import MemoryDisk
from tests.stand.kept import Kept
from tests.stand.subscriber import StreamSubscriber

DAY_NS = 86_400 * 10**9
MIB = 1024 * 1024


class SegmentSubscriber(StreamSubscriber):
    """Reads a segment while it is written."""

    def __init__(self, kept: Kept) -> None:
        super().__init__(self._next)
        self._kept = kept
        self._offset = 0

    async def _next(self) -> bytes:
        while True:
            frames = self._kept.frames(first) if (first := self._first()) else b""
            data, self._offset = frames[self._offset :], len(frames)
            if data:
                return data
            await trio.sleep(0.003)

    def _first(self) -> int:
        return next(iter(self._kept.segments()), 0)


class HeldDisk(RealDisk):
    """Takes nothing while a channel that it is to keep up with goes on."""

    awaited: Channel | None = None

    def write(self, descriptor: int, offset: int, pieces: Sequence[bytes]) -> int:
        while self.awaited is not None and not self.awaited.log.closed:
            threading.Event().wait(0.001)
        return super().write(descriptor, offset, pieces)


class TestJournalTransport(TransportContract):
    max_readers = 2

    @pytest.fixture(autouse=True)
    def _directory(
        self, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.directory = str(tmp_path / "journal")
        self.first = ""
        monkeypatch.setattr("fanout.transports.journal.transport.GATHER_S", 0.003)
        self.is_slow = request.node.name == "test_what_a_reader_missed_is_told_exactly"
        if self.is_slow:
            monkeypatch.setattr("fanout.transports.journal.transport.MAX_BACKLOG_BYTES", 0)

    def make(self) -> JournalTransport:
        self.disk = HeldDisk()
        return JournalTransport(JournalConfig(dir=self.directory), disk=self.disk)

    @asynccontextmanager
    async def serving(self, *channels: Channel, by: object = None) -> AsyncIterator[str]:
        self.first = channels[0].name
        async with super().serving(*channels, by=self.make()) as url:
            self.disk.awaited = channels[0] if self.is_slow else None
            yield url

    @asynccontextmanager
    async def reader(self, url: str) -> AsyncIterator[StreamSubscriber]:
        assert url == f"journal://{self.directory}"
        async with self.reader_of(url, self.first) as reading:
            yield reading

    @asynccontextmanager
    async def reader_of(self, url: str, channel: str) -> AsyncIterator[StreamSubscriber]:
        yield SegmentSubscriber(Kept(self.directory, channel, 1))


class InlineWorker(Worker):
    """Does at once what it is given, so that a test may have a clock of its own."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        super().stop()
        self.do_all()

    def open(self, *given: object, **options: object) -> None:  # type: ignore[override]
        super().open(*given, **options)  # type: ignore[arg-type]
        self.do_all()

    def write(self, *given: object, **options: object) -> None:  # type: ignore[override]
        super().write(*given, **options)  # type: ignore[arg-type]
        self.do_all()

    def seal(self, *given: object) -> None:  # type: ignore[override]
        super().seal(*given)  # type: ignore[arg-type]
        self.do_all()


class Stand:
    """A journal on a disk in memory, on a virtual clock."""

    def __init__(self, **options: object) -> None:
        self.disk = MemoryDisk()
        self.now_ns = 0
        config = JournalConfig(dir="/j", **options)  # type: ignore[arg-type]
        self.worker = InlineWorker(self.disk, sync_s=config.sync_s)
        self.transport = JournalTransport(
            config, disk=self.disk, worker=self.worker, wall_ns=lambda: self.now_ns
        )

    @asynccontextmanager
    async def serving(self, *served: Channel) -> AsyncIterator[None]:
        async with channels.serving(served, self.transport):
            yield

    def kept(self, channel: str = "one") -> Kept:
        return Kept("/j", channel, 1, self.disk)

    @property
    def stats(self) -> JournalStats:
        return self.transport.stats().journal[0]


def one(log_bytes: int = 50_000_000) -> Channel:
    return new_channel(log_bytes, name="one")


def heartbeats(kept: Kept, channel: Channel) -> list[object]:
    """Those of the first segment."""
    payloads = payloads_of(kept.frames(1))
    beats = [each for each in payloads if each[0] == FrameKind.HEARTBEAT]
    return [decode_event(each, channel.header) for each in beats]


async def test_records_are_kept_in_order_and_end_is_the_last(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        for each in range(1, 101, 2):
            publish(channel, each, 2)
            await trio.sleep(0.003)
    assert stand.kept().accounted() == list(range(1, 101))
    *_, last = stand.kept().records(1)
    assert last == End(reason=EndReason.SHUTDOWN, last_seq=100, retry_ms=1, why="the test is over")
    assert (stand.stats.state, stand.stats.synced_seq, stand.stats.lag_bytes) == ("ENDED", 100, 0)
    assert stand.disk.open_files == 0


async def test_what_comes_within_100_ms_is_written_in_one_go(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        await trio.sleep(0.5)
        before = stand.disk.writes
        for each in range(8):
            publish(channel, 1 + each)
            await trio.sleep(0.01)
        await trio.sleep(0.1)
        assert stand.disk.writes == before + 1


async def test_a_heartbeat_comes_each_second_whatever_else_comes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        for each in range(100):
            stand.now_ns = each
            publish(channel, 1 + each)
            await trio.sleep(0.1)
    beats = heartbeats(stand.kept(), channel)
    assert len(beats) in (10, 11)
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        await trio.sleep(100)
    assert len(heartbeats(stand.kept(), channel)) in (100, 101)
    assert all(isinstance(each, Heartbeat) for each in beats)


async def test_a_segment_is_followed_by_the_next_one_without_a_hole(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(segment_bytes=MIB), one()
    async with stand.serving(channel):
        for _ in range(3):
            publish_bulk(channel, MIB * 6 // 10)
            publish(channel, channel.trades + 1)
            await trio.sleep(1)
    first, second, *_ = stand.kept().segments()
    assert first == 1
    assert stand.kept().accounted() == list(range(1, channel.log.next_seq))
    snapshot, *_ = stand.kept().records(second)
    assert isinstance(snapshot, Snapshot)
    assert stand.stats.segments == len(stand.kept().segments())


async def test_what_the_next_start_needs_is_saved_with_each_segment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        publish(channel, 1, 3)
        for names in (["00000000000000000001.fs"], ["00000000000000000004.fs"]):
            await trio.sleep(2)
            stand.worker.sync_all()
            assert [each for each in stand.kept().names() if ".fs" in each] == names
            stand.now_ns += DAY_NS
    memory = remember(stand.disk, ChannelFolder(stand.disk, "/j/one"))
    assert memory is not None
    assert (memory.next_seq, memory.symbols["BTCUSDT"].next_id) == (4, 4)


async def test_the_next_segment_begins_at_midnight_of_utc(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one()
    stand.now_ns = 5 * DAY_NS - 1
    async with stand.serving(channel):
        publish(channel, 1, 3)
        await trio.sleep(2)
        stand.now_ns += 1
        await trio.sleep(2)
        stand.now_ns -= 1
        publish(channel, 4)
        await trio.sleep(2)
    assert stand.kept().segments() == [1, 4]
    assert stand.kept().accounted() == [1, 2, 3, 4]


async def test_a_segment_begins_with_whole_books(autojump_clock: trio.testing.MockClock) -> None:
    channel = book_channel()
    stand, feeder, kept_books = Stand(), Feeder(channel), KeptBooks(channel)
    feeder.whole(levels=8_000)
    async with stand.serving(channel):
        feeder.change([(990, 9)])
        stand.now_ns = DAY_NS
        await trio.sleep(2)
        feeder.change([(991, 9)])
        publish(channel, 1)
        await trio.sleep(2)
    first, last = stand.kept("test").segments()
    assert stand.kept("test").accounted() == list(range(first, channel.log.next_seq))
    kept_books.take(stand.kept("test").records(last))
    kept_books.assert_right(0)


async def test_a_full_disk_costs_nothing_that_the_log_still_has(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        publish(channel, 1, 10)
        await trio.sleep(1)
        assert stand.transport.troubles("one") == []
        stand.disk.room_bytes = 8
        publish(channel, 11, 90)
        await trio.sleep(10)
        words = "journal: No space left on device; 90 records wait"
        assert list(stand.transport.troubles("one")) == [words]
        assert list(stand.transport.troubles("two")) == []
        assert (stand.stats.state, stand.stats.written_seq) == ("FULL", 10)
        assert stand.stats.lag_bytes > 400
        stand.disk.room_bytes = LEAST_FREE_BYTES
        await trio.sleep(2)
        publish(channel, 101)
        await trio.sleep(1)
        assert stand.transport.troubles("one") == []
        assert stand.stats.state == "WRITING"
    assert stand.kept().accounted() == list(range(1, 102))
    assert (stand.kept().segments(), stand.stats.lost) == ([1, 11], 0)
    stops = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    assert stops == [
        "the journal of one stops at number 11: No space left on device; trying again each second",
        "the journal of one goes on",
    ]


async def test_what_the_log_lost_meanwhile_is_a_loss_with_its_exact_range(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one(log_bytes=20_000)
    async with stand.serving(channel):
        publish(channel, 1, 10)
        await trio.sleep(1)
        stand.disk.write_error = errno.EIO
        for each in range(11, 201):
            publish(channel, each)
            await trio.sleep(0.1)
        assert stand.stats.state == "AWAY"
        stand.disk.write_error = 0
        await trio.sleep(2)
        oldest = channel.log.oldest_seq()
        publish(channel, 201)
        await trio.sleep(1)
    assert oldest > 11
    assert stand.kept().accounted() == list(range(1, 202))
    losses = [each for each in stand.kept().records(11) if isinstance(each, Loss)]
    assert [(each.first_seq, each.last_seq) for each in losses] == [(11, oldest - 1)]
    assert stand.stats.lost == oldest - 11


async def test_after_a_failed_sync_what_was_not_synced_is_written_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        publish(channel, 1, 10)
        await trio.sleep(1)
        stand.worker.sync_all()
        publish(channel, 11, 10)
        await trio.sleep(1)
        stand.disk.sync_error = errno.EIO
        stand.worker.sync_all()
        await trio.sleep(0.5)
        stand.disk.sync_error = 0
        publish(channel, 21)
        await trio.sleep(5)
        assert stand.stats.state == "WRITING"
    assert stand.kept().segments() == [1, 11]
    assert stand.kept().accounted() == list(range(1, 22))
    after = stand.disk.after_power_cut()
    assert Kept("/j", "one", 1, after).accounted() == list(range(1, 22))


async def test_a_directory_that_is_removed_is_made_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        publish(channel, 1, 10)
        await trio.sleep(1)
        stand.worker.sync_all()
        stand.disk.remove_tree("/j")
        publish(channel, 11, 10)
        await trio.sleep(1)
        stand.worker.sync_all()
        await trio.sleep(3)
    assert stand.kept().segments() == [11]
    assert stand.kept().accounted() == list(range(11, 21))


async def test_units_that_change_while_the_disk_fails_are_in_the_next_segment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        publish(channel, 1, 3)
        await trio.sleep(1)
        stand.disk.write_error = errno.EIO
        publish(channel, 4, 3)
        changed = channel.header.references[1]
        channel.change(channel.header.instruments[:1], [changed])
        publish(channel, 7, 3)
        await trio.sleep(3)
        stand.disk.write_error = 0
        await trio.sleep(3)
    assert stand.kept().accounted() == list(range(1, 10))
    ids = [each.trade_id for each in stand.kept().records(4) if isinstance(each, Trade)]
    assert ids == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("is_lost", [False, True])
async def test_end_is_written_if_the_disk_recovers_in_time(
    autojump_clock: trio.testing.MockClock, is_lost: bool
) -> None:
    stand, channel = Stand(), one(log_bytes=3_000)
    async with stand.serving(channel):
        publish(channel, 1, 3)
        await trio.sleep(1)
        stand.disk.write_error = errno.EIO
        for each in range(20 if is_lost else 1):
            publish(channel, 4 + each)
        channel.end(EndReason.SHUTDOWN, retry_ms=1, why="bye")
        await trio.sleep(2)
        stand.disk.write_error = 0
    assert stand.kept().accounted() == list(range(1, channel.log.next_seq))
    *_, last = stand.kept().records(stand.kept().segments()[-1])
    assert isinstance(last, End)
    assert stand.stats.state == "ENDED"


async def test_a_disk_that_stays_full_delays_the_end_by_a_bounded_time(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    stand, channel = Stand(), one()
    async with stand.serving(channel):
        publish(channel, 1, 3)
        await trio.sleep(1)
        stand.disk.room_bytes = 0
        publish(channel, 4)
        await trio.sleep(1)
        ended_s = trio.current_time()
    assert LAST_S <= trio.current_time() - ended_s < LAST_S + 1
    assert "the journal of one ends without END: No space left" in caplog.text
    assert stand.kept().accounted() == [1, 2, 3]


async def test_one_channel_that_ends_leaves_the_others_and_the_news_of_each_counts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, first, second = Stand(), one(), new_channel(name="two")
    async with stand.serving(first, second):
        first.end(EndReason.FEED_FAILED, retry_ms=None, why="refused")
        await trio.sleep(3)
        states = [each.state for each in stand.transport.stats().journal]
        assert states == ["ENDED", "WRITING"]
        publish(second, 1, 3)
        await trio.sleep(0.15)
        assert stand.transport.stats().journal[1].written_seq == 3


def test_the_threads_may_go_on_while_the_loop_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment gets its head and its END between two things that the loop reads."""
    disk, channel = MemoryDisk(), one()
    track, worker = Track("/j/one"), InlineWorker(disk, sync_s=1)
    keeping = Keeping(channel, track, worker, segment_bytes=MIB, wall_ns=lambda: 0)
    keeping.begin()
    track.failure = Failure(1, OSError(errno.EIO, "Input/output error"), 1)
    keeping.look(0.0)
    keeping.look(2.0)
    headed = keeping.recorder.headed

    def look_late(serial: int) -> bool:
        track.published = track.sealed = 2
        return headed(serial)

    monkeypatch.setattr(keeping.recorder, "headed", look_late)
    keeping.look(2.1)
    assert keeping.recorder.state is State.AWAY
    keeping.look(2.2)
    assert keeping.has_ended


async def test_a_cancellation_leaves_files_that_end_in_a_whole_frame(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand, channel = Stand(), one()
    async with trio.open_nursery() as nursery:
        await nursery.start(stand.transport.run, [channel])
        publish(channel, 1, 3)
        await trio.sleep(1)
        publish(channel, 4)
        nursery.cancel_scope.cancel()
    assert stand.kept().accounted() == [1, 2, 3]
    assert stand.disk.open_files == 0


async def test_a_disk_that_fails_at_the_start_is_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stand = Stand()
    stand.disk.make_error = errno.EROFS
    with pytest.RaisesGroup(pytest.RaisesExc(BindError, match="journal /j: Read-only")):
        async with stand.serving(one()):
            pass


async def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = JournalTransport(JournalConfig(dir=str(tmp_path / "file" / "j")))
    with pytest.raises(BindError, match="Not a directory"):
        async with journal.opened():
            pass


async def until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not is_so():  # noqa: ASYNC110  threads, no event to wait for
            await trio.sleep(0.002)


async def test_a_disk_that_hangs_never_stops_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No call to the disk comes from the loop's thread. While the disk hangs, what does not fit
    between is in the log, and what the log drops is told."""
    monkeypatch.setattr("fanout.transports.journal.transport.GATHER_S", 0.003)
    disk = MemoryDisk(forbidden_thread=threading.get_ident())
    journal = JournalTransport(JournalConfig(dir="/j", sync="always"), disk=disk)
    channel = one(log_bytes=500_000)
    async with channels.serving(channel, journal, within_s=60):
        disk.may_sync.clear()
        for _ in range(20):
            publish_bulk(channel, 200_000)
            await trio.sleep(0.015)
        assert disk.syncing.is_set()
        assert journal.stats().journal[0].lag_bytes < 4 * MIB
        disk.may_sync.set()
        await until(lambda: journal.stats().journal[0].lag_bytes == 0)
    assert journal.stats().lost > 0
    after = disk.after_power_cut()
    after._forbidden_thread = None
    assert Kept("/j", "one", 1, after).accounted() == list(range(1, channel.log.next_seq))


async def test_a_disk_that_hangs_at_the_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fanout.transports.journal.transport.LAST_S", 0.01)
    monkeypatch.setattr("fanout.transports.journal.transport.CLOSE_S", 0.01)
    disk = MemoryDisk()
    journal = JournalTransport(JournalConfig(dir="/j", sync="always"), disk=disk)
    async with channels.serving(one(), journal, within_s=60):
        disk.may_sync.clear()
    assert "the disk took longer" in caplog.text
    disk.may_sync.set()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dir": ""}, "--dir ''"),
        ({"dir": "a\0b"}, "--dir"),
        ({"segment_bytes": MIB - 1}, "--segment-bytes 1,048,575: from 1,048,576"),
        ({"segment_bytes": 16 * 1024**3 + 1}, "--segment-bytes 17,179,869,185"),
        ({"keep_bytes": 1024}, "--keep-bytes 1,024: at least two segments"),
        ({"keep_bytes": 3 * MIB, "segment_bytes": 2 * MIB}, "at least two segments, 4,194,304"),
        ({"sync": "5"}, "--sync '5' is not a duration"),
        ({"compress": "lz4"}, "--compress 'lz4': zstd is the only one there is"),
        ({"sync": ""}, "--sync ''"),
        ({"sync": "0s"}, "--sync '0s'"),
        ({"sync": "sometimes"}, "or always, or never"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        JournalConfig(**{"dir": "/j", **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sync", "sync_s"), [("always", 0), ("never", None), ("1s", 1), ("2m", 120)]
)
def test_how_often_is_synced(sync: str, sync_s: int | None) -> None:
    assert JournalConfig(dir="/j", sync=sync).sync_s == sync_s


def test_a_service_has_one_journal() -> None:
    journals = (JournalConfig(dir="/a"), JournalConfig(dir="/b"))
    source = SourceConfig(venue="sim", assets=("BTCUSDT",))
    with pytest.raises(UsageError, match="the journal is asked for twice"):
        Config(sources=(source,), transports=journals)


async def test_segments_that_are_complete_are_compressed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressing, "BOTH_S", 0.0)
    old, new = (write_journal(tmp_path, 3, epoch_ns=each) for each in (EPOCH_NS, EPOCH_NS + 1))
    transport = JournalTransport(JournalConfig(dir=str(tmp_path), compress="zstd"))
    async with channels.serving([one()], transport):
        while old.exists():  # noqa: ASYNC110  a thread, no event to wait for
            await trio.sleep(0.001)
    assert old.with_suffix(".fj.zst").exists()
    assert new.exists()
    assert "journal-compress" not in [each.name for each in threading.enumerate()]


def test_to_compress_without_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match="--compress zstd: compressed segments need"):
        JournalConfig(dir="/j", compress="zstd")
