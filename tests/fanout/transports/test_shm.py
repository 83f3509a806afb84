import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
import trio
import trio.testing

from fanout.channel.channel import Channel
from fanout.channel.reader import Reader
from fanout.clients.shared_file import Outcome
from fanout.clients.shm_file import AttachedQueue, attach
from fanout.errors import BindError, ConfigError, UsageError
from fanout.protocol import (
    End,
    EndReason,
    FeedState,
    Header,
    Heartbeat,
    Loss,
    LossReason,
    Snapshot,
    Status,
    Trade,
    decode_event,
    queue_page,
)
from fanout.protocol.book_records import BookUpdate, Quote
from fanout.protocol.constants import MAX_BLOCK_LEVELS
from fanout.protocol.errors import MalformedError
from fanout.protocol.header import decode_opening
from fanout.protocol.instrument import Instrument
from fanout.protocol.queue import QueueWriter
from fanout.protocol.queue_page import PAGE_BYTES
from fanout.protocol.records import Reference
from fanout.transports import shared_file
from fanout.transports.shared_file import Holder
from fanout.transports.shm import ShmTransport, queue_file
from fanout.transports.shm.config import ShmConfig
from fanout.transports.shm.delivery import Delivery, Dropped
from fanout.transports.shm.queue_file import QUEUE
from tests.clients.queues import overwrite
from tests.contracts.transport import TransportContract
from tests.protocol.golden import BTC
from tests.stand import channels
from tests.stand.book_channel import OTHER, Feeder, KeptBooks, book_channel
from tests.stand.channels import new_channel, publish, publish_bulk
from tests.stand.subscriber import StreamSubscriber

ROOT = Path(__file__).parents[3]


def config(directory: Path, **options: object) -> ShmConfig:
    return ShmConfig(name="q", directory=str(directory), **{"capacity_bytes": 65536, **options})  # type: ignore[arg-type]


class QueueSubscriber(StreamSubscriber):
    """A reader in the test's own process, without the client's policy."""

    def __init__(self, queue: AttachedQueue) -> None:
        super().__init__(self._next)
        self.queue = queue
        self._opening = queue.opening()

    async def _next(self) -> bytes:
        opening, self._opening = self._opening, b""
        while not (data := opening or self.queue.reader.read(4096)):
            if self.queue.reader.has_ended:
                return self.queue.reader.read(4096) or self.queue.reader.tail()
            await trio.sleep(0.001)
        return data

    def all_now(self) -> "QueueSubscriber":
        """Take what is there."""
        opening, self._opening = self._opening, b""
        self.take(opening + self.queue.reader.read(10**9))
        return self


@contextmanager
def reading(directory: Path) -> Iterator[QueueSubscriber]:
    with closing(attach(str(directory / "q"), now_s=0)) as queue:
        yield QueueSubscriber(queue)


@asynccontextmanager
async def serving(
    channel: Channel, directory: Path, **options: object
) -> AsyncIterator[ShmTransport]:
    """A transport that has delivered what there is whenever the test goes on after `settle`."""
    served = ShmTransport(config(directory, **options), wall_ns=lambda: 5)
    async with channels.serving(channel, served):
        yield served


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


def holder_of(path: Path) -> tuple[Holder, int]:
    return shared_file.holder_of(QUEUE, str(path))


def accounted(records: list[object]) -> list[int]:
    """The numbers that a reader got or was told of as lost, in order."""
    numbers: list[int] = []
    for each in records:
        if isinstance(each, Loss):
            numbers += range(each.first_seq, each.last_seq + 1)
        elif isinstance(each, Trade | Status):
            numbers.append(each.seq)
    return numbers


class TestShmTransport(TransportContract):
    max_readers = 1

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    def make(self) -> ShmTransport:
        return ShmTransport(config(self.directory))

    def make_for(self, channel: str) -> ShmTransport:
        return ShmTransport(config(self.directory, channel=channel))

    @asynccontextmanager
    async def reader(self, url: str) -> AsyncIterator[StreamSubscriber]:
        assert url == "shm://q"
        with reading(self.directory) as each:
            yield each


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "empty"),
        ("a/b", "slash"),
        ("..", "leading dot"),
        (".", "leading dot"),
        (".hidden", "leading dot"),
        ("a\0b", "zero byte"),
        ("ä" * 101, "202 bytes exceeds 200"),
    ],
)
def test_a_name_that_is_no_file_name_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ShmConfig(name=name)


@pytest.mark.parametrize("capacity", [0, -1, 2048, 4097, 65535, 2**31])
def test_a_capacity_that_is_no_power_of_two_within_limits_is_refused(capacity: int) -> None:
    with pytest.raises(UsageError, match="a power of two from 4,096 to 1,073,741,824"):
        ShmConfig(name="q", capacity_bytes=capacity)


async def test_the_file_is_whole_private_and_removed_at_the_end(tmp_path: Path) -> None:
    async with serving(new_channel(), tmp_path):
        status = (tmp_path / "q").stat()
        assert os.listdir(tmp_path) == ["q"]
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_size == PAGE_BYTES + 65536
        assert status.st_blocks * 512 >= status.st_size
    assert os.listdir(tmp_path) == []


async def test_a_file_that_is_kept_gives_a_late_reader_all_records(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path, keep=True):
        publish(channel, 1, 3)
    with reading(tmp_path) as late:
        await late.until(End)
    assert late.trade_ids == [1, 2, 3]


async def test_a_cancelled_transport_removes_its_file_and_writes_no_end(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(ShmTransport(config(tmp_path)).run, [new_channel()])
        queue = attach(str(tmp_path / "q"), now_s=0)
        nursery.cancel_scope.cancel()
    with closing(queue):
        assert os.listdir(tmp_path) == []
        assert not queue.reader.has_ended
        trouble = queue.trouble(0, 5)
        assert trouble is not None
        assert trouble.outcome is Outcome.WRITER_DIED


async def test_the_holder_of_a_name_is_found_without_touching_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "q"
    assert holder_of(path) == (Holder.NOBODY, 0)
    async with serving(new_channel(), tmp_path):
        assert holder_of(path) == (Holder.WRITER, os.getpid())
    writer = abandoned_queue(path)
    assert holder_of(path) == (Holder.DEAD_WRITER, writer)
    path.write_bytes(b"letters to my aunt")
    assert holder_of(path) == (Holder.STRANGER, 0)
    assert path.read_bytes() == b"letters to my aunt"


async def test_a_live_owner_is_named_and_left_alone(tmp_path: Path) -> None:
    async with serving(new_channel(), tmp_path):
        inode = (tmp_path / "q").stat().st_ino
        with pytest.raises(BindError, match=f"belongs to process {os.getpid()}, which is running"):
            await ShmTransport(config(tmp_path)).run([new_channel()])
        assert (tmp_path / "q").stat().st_ino == inode
        assert os.listdir(tmp_path) == ["q"]


ABANDON = """
import os, sys, trio
from fanout.transports.shm.queue_file import create
from fanout.protocol.header import decode_opening
create(sys.argv[1], capacity_bytes=65536, header=decode_opening(bytes.fromhex(sys.argv[2])))
print(os.getpid(), flush=True)
os.kill(os.getpid(), 9)
"""


def abandoned_queue(path: Path) -> int:
    """A queue whose writer was killed. Gives its pid."""
    header = new_channel().greeting()[9:]
    command = [sys.executable, "-c", ABANDON, str(path), header.hex()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (-9, b"")
    return int(done.stdout)


async def test_a_dead_owners_file_is_taken_over_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pid = abandoned_queue(tmp_path / "q")
    with reading(tmp_path) as old:
        async with serving(new_channel(), tmp_path):
            assert f"taken over from process {pid}, which is gone" in caplog.text
            assert os.listdir(tmp_path) == ["q"]
            with reading(tmp_path) as new:
                assert new.all_now().header is not None
            assert old.queue.trouble(0, 5) is not None


async def test_a_file_that_is_no_queue_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "q").write_bytes(b"my thesis")
    with pytest.raises(BindError, match="no queue: remove it, or take another --name"):
        await ShmTransport(config(tmp_path)).run([new_channel()])
    assert (tmp_path / "q").read_bytes() == b"my thesis"
    assert os.listdir(tmp_path) == ["q"]


@pytest.mark.parametrize("make", ["mkdir", "symlink"])
async def test_a_directory_or_a_link_of_the_name_is_left_alone(tmp_path: Path, make: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(bytes(8192))
    (tmp_path / "q").mkdir() if make == "mkdir" else (tmp_path / "q").symlink_to(victim)
    with pytest.raises(BindError, match="is there, and not ours"):
        await ShmTransport(config(tmp_path)).run([new_channel()])
    assert sorted(os.listdir(tmp_path)) == ["q", "victim"]
    assert victim.read_bytes() == bytes(8192)


async def test_too_little_space_is_an_error_before_anything_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(BindError, match="no 65,536 bytes are free there: a smaller --capacity"):
        await ShmTransport(config(tmp_path)).run([new_channel()])
    assert os.listdir(tmp_path) == []


async def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="no such file or directory"):
        await ShmTransport(config(tmp_path / "nowhere")).run([new_channel()])


async def test_a_header_of_1024_instruments_fits_the_page(tmp_path: Path) -> None:
    count = 1_024
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue="test",
        instruments=tuple(
            Instrument(index=i, symbol=f"A{i:063}", price_exponent=0, quantity_exponent=0)
            for i in range(count)
        ),
        references=(Reference(price=0, quantity=0, trade_id=0, time=0),) * count,
    )
    channel = Channel(header, log_bytes=100_000, wall_ns=lambda: 0)
    async with serving(channel, tmp_path):
        queue = attach(str(tmp_path / "q"), now_s=0.0)
        assert queue.reader.header() == header
        queue.close()


async def test_a_change_of_many_instruments_comes_through_a_queue_that_is_smaller(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """100 instruments take some 8 kB, and the queue has 4: they come a run at a time."""
    channel = new_channel()
    async with serving(channel, tmp_path, capacity_bytes=4096):
        with reading(tmp_path) as reader:
            await settle()
            index = len(channel.header.instruments)
            added = [
                Instrument(index=i, symbol=f"A{i}", price_exponent=0, quantity_exponent=0)
                for i in range(index, index + 100)
            ]
            zero = Reference(price=0, quantity=0, trade_id=0, time=0)
            channel.change(added, [zero] * len(added))
            for _ in range(40):
                await trio.sleep(0.3)
                reader.all_now()
            publish(channel, channel.log.next_seq)
            await settle()
            assert reader.all_now().trade_ids == [1]
            assert reader.header is not None
            assert reader.header.instruments == channel.header.instruments


async def test_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(BindError, match="need an x86-64 processor, this is aarch64"):
        await ShmTransport(config(tmp_path)).run([new_channel()])


async def test_a_record_is_in_the_queue_before_its_publisher_goes_on(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path) as served:
        with reading(tmp_path) as reader:
            await settle()
            publish(channel, 1, 2)
            assert reader.all_now().trade_ids == [1, 2]
            assert served.stats().consumers[0].blocks == 1


async def test_a_record_after_another_is_in_the_queue_within_two_passes(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path):
        with reading(tmp_path) as reader:
            await settle()
            publish(channel, 1, 2)
            publish(channel, 3)
            for _ in range(2):  # one pass for us, at most one for the transport
                await trio.lowlevel.checkpoint()
            assert reader.all_now().trade_ids == [1, 2, 3]


async def test_a_new_reader_gets_its_snapshot_with_the_next_record(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path):
        for number in (1, 2):
            with reading(tmp_path) as reader:
                await settle()
                publish(channel, number)
                await settle()  # takes less time than there is between two beats
                records = reader.all_now().records
    assert {type(each) for each in records} == {Trade, Snapshot}


async def test_a_fault_while_something_is_published_ends_the_transport_and_not_its_publisher(
    tmp_path: Path,
) -> None:
    channel = new_channel()
    with pytest.RaisesGroup(ZeroDivisionError):
        async with serving(channel, tmp_path):
            await settle()
            with mock.patch.object(QueueWriter, "push", side_effect=ZeroDivisionError):
                publish(channel, 1)
            await trio.sleep_forever()
    assert os.listdir(tmp_path) == []
    publish(channel, 2)
    assert channel.log.next_seq == 3


async def test_a_queue_that_was_cut_is_not_touched_by_the_next_record(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path):
        await settle()
        os.truncate(tmp_path / "q", 0)
        publish(channel, 1)  # or this process has ended by SIGBUS
        await settle()
        publish(channel, 2)
        with reading(tmp_path) as reader:
            assert reader.all_now().trade_ids == [2]


async def test_a_stalled_reader_gets_a_loss_with_the_exact_numbers(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path, capacity_bytes=4096) as served:
        with reading(tmp_path) as reader:
            for first in range(1, 1000, 10):
                publish(channel, first, 10)
                await settle()
            got = reader.all_now().trade_ids
            assert got == list(range(1, len(got) + 1))
            assert 0 < len(got) < 1000
            await trio.sleep(0.3)
            losses = [each for each in reader.all_now().records if isinstance(each, Loss)]
            assert {each.reason for each in losses} == {LossReason.QUEUE_FULL}
            assert accounted(list(losses)) == list(range(got[-1] + 1, 1001))
            assert served.dropped.numbers == 1000 - len(got)
            assert served.dropped.losses == len(losses)
            publish(channel, 1001)
            await settle()
            assert reader.all_now().trade_ids[-1] == 1001
            assert accounted(reader.records) == list(range(1, 1002))


async def test_a_queue_with_a_reader_tells_how_much_of_it_is_unread(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path, capacity_bytes=4096) as served:
        publish_bulk(channel, 3_000)
        await settle()
        assert (served.readers, served.unread) == (0, 0)
        with reading(tmp_path) as reader:
            assert served.readers == 1
            assert 0.5 < served.unread < 1
            reader.all_now()
            assert served.unread == 0
    assert served.stride_bytes == 1024


async def test_a_loss_comes_before_later_records_however_slowly_the_reader_reads(
    tmp_path: Path,
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path, capacity_bytes=4096) as served:
        with reading(tmp_path) as reader:
            for step in range(1, 600):
                publish(channel, channel.log.next_seq, step % 40 + 1)
                if step % 7 == 0:
                    channel.publish_status(None, FeedState.STALE, "quiet" * (step % 20))
                await settle()
                if step % 50 < 25:
                    reader.all_now()
            channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
            await reader.until(End)
        assert served.dropped.losses > 5
    losses = [each for each in reader.records if isinstance(each, Loss)]
    assert {each.reason for each in losses} == {LossReason.QUEUE_FULL}
    assert accounted(reader.records) == list(range(1, channel.log.next_seq))


async def test_the_first_records_of_a_burst_that_does_not_fit_are_delivered(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path, capacity_bytes=4096):
        with reading(tmp_path) as reader:
            await settle()
            for first in range(1, 2000, 20):
                publish(channel, first, 20)
            await settle()
            got = reader.all_now().trade_ids
            assert 0 < len(got) < 2000
            assert len(got) % 20 == 0
            channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
            await reader.until(End)
    assert accounted(reader.records) == list(range(1, 2001))


async def test_a_lapped_reader_gets_a_loss(tmp_path: Path) -> None:
    channel = new_channel(log_bytes=2_000)
    async with serving(channel, tmp_path):
        with reading(tmp_path) as reader:
            await settle()
            for first in range(1, 2000, 20):
                publish(channel, first, 20)
            await settle()
            losses = [each for each in reader.all_now().records if isinstance(each, Loss)]
    assert [each.reason for each in losses] == [LossReason.SLOW]
    assert accounted(reader.records) == list(range(1, 2001))


async def test_an_end_without_room_is_left_in_the_page_with_its_loss(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path, capacity_bytes=4096):
        with reading(tmp_path) as reader:
            for first in range(1, 1000, 10):
                publish(channel, first, 10)
                await settle()
            channel.end(EndReason.FEED_FAILED, retry_ms=None, why="x" * 255)
            await settle()
            assert reader.queue.reader.has_ended
            await reader.until(End)
    assert accounted(reader.records) == list(range(1, 1001))
    assert [type(each) for each in reader.records[-2:]] == [Loss, End]


async def test_heartbeats_come_every_second_and_the_page_shows_life(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ticks = iter(range(10_000))
    channel = new_channel()
    served = ShmTransport(config(tmp_path), wall_ns=lambda: next(ticks))
    async with channels.serving(channel, served):
        with closing(attach(str(tmp_path / "q"), now_s=0)) as queue:
            seen = set()
            for _ in range(41):
                seen.add(queue.reader.pulse[0])
                await trio.sleep(0.25)
            assert len(seen) == 41
            payloads = list(queue.reader.unread())
        channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
    assert channel.log.next_seq == 1
    header = decode_opening(channel.greeting()[9:])
    events = [decode_event(each, header) for each in payloads]
    assert {each.next_seq for each in events if isinstance(each, Heartbeat)} == {1}
    assert 8 <= len(events) <= 10


async def test_a_later_reader_gets_a_snapshot_of_its_own(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = new_channel()
    publish(channel, 1, 2)
    async with serving(channel, tmp_path):
        snapshots = []
        for _ in range(3):
            with reading(tmp_path) as reader:
                publish(channel, channel.log.next_seq, 2)
                await trio.sleep(0.3)
                records = reader.all_now().records
                snapshots.append([e.trades[0].trade_id for e in records if isinstance(e, Snapshot)])
    assert snapshots == [[2], [6], [8]]


class Deep:
    """A channel with a book that is encoded in several steps, and its reader."""

    def __init__(self) -> None:
        self.channel = book_channel()
        self.feeder = Feeder(self.channel)
        self.feeder.whole(levels=5 * MAX_BLOCK_LEVELS)
        self.feeder.whole(OTHER)
        self.kept = KeptBooks(self.channel)
        self._taken = 0

    async def change(self, passes: int) -> None:
        """A change in each pass of the scheduler."""
        for each in range(passes):
            self.feeder.change([(990 - each, 7)])
            await trio.lowlevel.checkpoint()

    def take(self, reader: QueueSubscriber) -> None:
        reader.all_now()
        self.kept.take(reader.records[self._taken :])
        self._taken = len(reader.records)


async def test_a_deep_book_is_encoded_in_steps_while_it_changes(tmp_path: Path) -> None:
    deep = Deep()
    async with serving(deep.channel, tmp_path, capacity_bytes=2**18):
        with reading(tmp_path) as reader:
            deep.take(reader)
            assert not deep.kept.books, "it takes more passes of the scheduler than one"
            await deep.change(60)
            await settle()
            deep.take(reader)
            deep.kept.assert_right(0, 1)


async def test_a_reader_that_attaches_while_a_book_is_encoded_gets_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    deep = Deep()
    async with serving(deep.channel, tmp_path, capacity_bytes=2**18):
        for _ in range(2):
            with reading(tmp_path):
                await deep.change(3)
        with reading(tmp_path) as reader:
            await deep.change(3)
            await trio.sleep(1)
            deep.take(reader)
            deep.kept.assert_right(0, 1)


async def test_no_heartbeat_overtakes_what_waits_for_a_deep_book(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.transports.shm.transport.HEARTBEAT_S", 0.0)
    deep = Deep()
    async with serving(deep.channel, tmp_path, capacity_bytes=2**20):
        with reading(tmp_path) as reader:
            await deep.change(60)
            await settle()
            deep.take(reader)
            deep.kept.assert_right(0, 1)
            assert not any(isinstance(each, Loss) for each in reader.records)


async def test_no_snapshot_overtakes_what_waits_for_a_deep_book(tmp_path: Path) -> None:
    deep = Deep()
    async with serving(deep.channel, tmp_path, capacity_bytes=2**20):
        with reading(tmp_path):
            for each in range(2):
                publish(deep.channel, deep.channel.log.next_seq, 1)
                await deep.change(each)
        with reading(tmp_path) as reader:
            for _ in range(60):
                publish(deep.channel, deep.channel.log.next_seq, 1)
                await trio.lowlevel.checkpoint()
            await settle()
            deep.take(reader)
            deep.kept.assert_right(0, 1)
            (snapshot,) = [each for each in reader.records if isinstance(each, Snapshot)]
            behind = reader.records[reader.records.index(snapshot) :]
            ids = [each.trade_id for each in behind if isinstance(each, Trade)]
            assert ids[0] == snapshot.trades[-1].trade_id + 1


async def test_a_book_without_room_comes_when_there_is_room_as_it_is_then(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    deep = Deep()
    async with serving(deep.channel, tmp_path, capacity_bytes=2**18):
        await trio.sleep(1)
        with reading(tmp_path) as stuck:
            while stuck.queue.reader.unread_bytes < 2**18 - 20_000:
                publish(deep.channel, deep.channel.log.next_seq, 500)
                await trio.sleep(0.1)
        with reading(tmp_path) as reader:
            await deep.change(3)
            await trio.sleep(1)
            reader.all_now()
            taken = len(reader.records)
            await deep.change(3)
            await trio.sleep(1)
            reader.all_now()
            deep.kept.take(reader.records[taken:])
            assert isinstance(reader.records[taken], BookUpdate)
            deep.kept.assert_right(0, 1)


async def test_the_end_does_not_wait_for_a_book_that_is_encoded(tmp_path: Path) -> None:
    deep = Deep()
    async with serving(deep.channel, tmp_path, capacity_bytes=2**18):
        with reading(tmp_path) as reader:
            await deep.change(2)
            deep.channel.end(EndReason.SHUTDOWN, retry_ms=None, why="")
            await reader.until(End)
    assert isinstance(reader.records[-1], End)


async def test_readers_after_one_another_get_each_number_once(tmp_path: Path) -> None:
    channel = new_channel()
    numbers: list[int] = []
    async with serving(channel, tmp_path, capacity_bytes=4096):
        for step in range(1, 60):
            for _ in range(step % 9):
                publish(channel, channel.log.next_seq, step % 40 + 1)
                await settle()
            with reading(tmp_path) as reader:
                numbers += accounted(reader.all_now().records)
                await settle()
    told = numbers[-1]
    assert numbers == list(range(1, told + 1))


async def test_a_new_header_applies_to_readers_that_attach_behind_it(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path):
        publish(channel, 1, 2)
        await settle()
        again(channel, epoch_price=77)
        publish(channel, 3, 2)
        await settle()
        with reading(tmp_path) as first:
            # Two trades of the old header are unread: it is that one which counts for them.
            opening = first._opening
            assert first.all_now().trade_ids == [1, 2, 3, 4]
        with reading(tmp_path) as second:
            assert second._opening != opening
            assert second.all_now().header is not None
            assert second.header is not None
            assert second.header.references[0].price == 77


def again(channel: Channel, epoch_price: int) -> None:
    """What a channel does whose references went stale."""
    old = channel.header
    reference = Reference(price=epoch_price, quantity=1, trade_id=1, time=1)
    channel.change(old.instruments[:1], [reference])


@pytest.mark.parametrize("headers", [1, 5])
async def test_a_header_that_did_not_fit_follows_later(tmp_path: Path, headers: int) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path, capacity_bytes=4096):
        with reading(tmp_path) as reader:
            for price in range(headers):
                for _ in range(60):
                    publish(channel, channel.log.next_seq, 10)
                    await settle()
                again(channel, epoch_price=price)
                await settle()
            reader.all_now()
            for _ in range(3):
                publish(channel, channel.log.next_seq, 10)
                await settle()
                reader.all_now()
    assert accounted(reader.records) == list(range(1, channel.log.next_seq))
    assert reader.header is not None
    assert reader.header.references[0].price == headers - 1
    assert reader.trade_ids[-1] == channel.log.next_seq - 1


def cut(path: Path) -> None:
    os.truncate(path, 100)


def cut_and_stretch(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [cut, cut_and_stretch, remove])
async def test_a_damaged_queue_is_created_anew(
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path], None],
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path) as served:
        publish(channel, 1, 5)
        await trio.sleep(0.3)
        harm(tmp_path / "q")
        await trio.sleep(0.5)
        with reading(tmp_path) as reader:
            publish(channel, 6, 2)
            await trio.sleep(0.3)
            records = reader.all_now().records
        assert [each.trade_id for each in records if isinstance(each, Trade)] == [6, 7]
        assert "making it anew" in caplog.text
    del served
    assert not (tmp_path / "q").exists()


async def test_counts_in_the_page_that_a_reader_overwrote_do_no_harm(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path, capacity_bytes=4096):
        with (tmp_path / "q").open("r+b") as file:
            file.seek(8 * queue_page.DROPPED_FRAMES_WORD)
            file.write(b"\xff" * 16)
        publish_bulk(channel, 50_000)
        await trio.sleep(0.3)


async def test_a_reader_that_attaches_to_a_full_queue_gets_its_snapshot_when_there_is_room(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = new_channel()
    publish(channel, 1)
    async with serving(channel, tmp_path, capacity_bytes=4096):
        with reading(tmp_path):
            await trio.sleep(0.3)
        publish_bulk(channel, 50_000)
        await trio.sleep(0.3)
        with reading(tmp_path) as reader:
            await trio.sleep(0.3)
            reader.all_now()
            await trio.sleep(0.3)
            assert any(isinstance(each, Snapshot) for each in reader.all_now().records)


async def test_a_reader_counts_for_as_long_as_it_is_attached(tmp_path: Path) -> None:
    async with serving(new_channel(), tmp_path) as served:
        assert served.stats().consumers == ()
        with reading(tmp_path):
            (consumer,) = served.stats().consumers
            assert consumer.address == "shm://q"
        assert served.stats().consumers == ()
        assert served.stats().accepted == 1


async def test_a_name_that_another_file_took_is_not_removed(tmp_path: Path) -> None:
    async with serving(new_channel(), tmp_path):
        (tmp_path / "q").unlink()
        (tmp_path / "q").write_bytes(b"another")
    assert (tmp_path / "q").read_bytes() == b"another"


def test_a_whole_book_has_the_changes_that_come_before_it(tmp_path: Path) -> None:
    """The first book takes as much as is encoded in one go. The other one changes meanwhile."""
    channel = book_channel()
    feeder, kept = Feeder(channel), KeptBooks(channel)
    feeder.whole(levels=3_000)
    feeder.whole(OTHER)
    path, header = str(tmp_path / "q"), channel.header
    queue = queue_file.create(path, capacity_bytes=65_536, header=header)
    delivery = Delivery(queue.writer, Reader(channel), Dropped())
    delivery.show_books()
    assert delivery.is_giving_books
    feeder.change([(990, 7)], OTHER)
    delivery.deliver()
    with reading(tmp_path) as reader:
        kept.take(reader.all_now().records)
    queue.close(keep=False)
    kept.assert_right(0, 1)


@pytest.mark.parametrize("sizes", [{"log_bytes": 50_000}, {"capacity_bytes": 4_096}])
async def test_a_reader_of_a_channel_with_books_gets_the_newest_quotes_after_a_loss(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, sizes: dict[str, int]
) -> None:
    """Whether the log was too short or the queue was full."""
    channel = book_channel(sizes.get("log_bytes", 50_000_000))
    feeder = Feeder(channel)
    async with serving(channel, tmp_path, capacity_bytes=sizes.get("capacity_bytes", 65_536)):
        with reading(tmp_path) as reader:
            await settle()
            for number in range(1_000):  # in one pass
                feeder.publish(Quote(BTC, 5 + number, 6, 100, 1, 101, 2))
            await trio.sleep(1)
            reader.all_now()
            await trio.sleep(1)
            records = reader.all_now().records
            kept = [each for each in records if isinstance(each, Loss | Quote)]
            assert isinstance(kept[-2], Loss)
            assert isinstance(kept[-1], Quote)
            assert (kept[-1].update_id, kept[-1].seq) == (1_004, 0)


async def test_the_transport_waits_for_a_name_that_is_taken(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path) as served:
        (tmp_path / "q").unlink()
        (tmp_path / "q").write_bytes(b"another")
        await trio.sleep(10)
        assert served.stats().lost == 0
        assert caplog.text.count("and no queue: remove it") == 1
        (trouble,) = served.troubles(channel.name)
        assert "and no queue: remove it" in trouble
        assert not served.troubles("another")
        (tmp_path / "q").unlink()
        await trio.sleep(2)
        assert not served.troubles(channel.name)
        with reading(tmp_path) as reader:
            publish(channel, 1)
            await trio.sleep(1)
            assert reader.all_now().trade_ids == [1]


async def test_a_name_that_stays_taken_does_not_keep_the_service_from_ending(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(new_channel(), tmp_path):
        (tmp_path / "q").unlink()
        (tmp_path / "q").write_bytes(b"another")
        await trio.sleep(10)
    assert (tmp_path / "q").read_bytes() == b"another"


async def test_two_headers_that_come_at_once_count_for_their_own_trades(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path):
        publish(channel, 1, 2)
        again(channel, epoch_price=77)
        publish(channel, 3, 2)
        again(channel, epoch_price=78)
        publish(channel, 5, 2)
        await settle()
        with reading(tmp_path) as reader:
            # The page has room for one header that is yet to come; what is behind it waits.
            assert reader.all_now().trade_ids == [1, 2, 3, 4]
            assert reader.header is not None
            assert reader.header.references[0].price == 77
            publish(channel, 7)
            await settle()
            assert reader.all_now().header is not None
            assert reader.header.references[0].price == 78
            assert accounted(reader.records) == list(range(1, 8))


async def test_a_nonsensical_read_cursor_harms_nobody(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path) as served:
        overwrite(tmp_path / "q", 128, b"\xff" * 8)
        for _ in range(40):
            publish(channel, channel.log.next_seq, 500)
            await settle()
        assert served.dropped.numbers > 0
        with pytest.raises(MalformedError), reading(tmp_path):
            pass


def test_of_two_services_that_take_over_at_once_one_gets_the_name(tmp_path: Path) -> None:
    abandoned_queue(tmp_path / "q")
    fd = os.open(tmp_path / "q", os.O_RDWR)
    shared_file._lock(fd)
    try:
        with pytest.raises(BindError, match="belongs to process"):
            queue_file.create(str(tmp_path / "q"), capacity_bytes=4096, header=new_channel().header)
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == ["q"]


async def test_a_look_at_a_queue_that_somebody_cut_does_not_touch_it(tmp_path: Path) -> None:
    async with serving(new_channel(), tmp_path) as served:
        with reading(tmp_path):
            await settle()
            assert served.stats().accepted == 1
            os.truncate(tmp_path / "q", 0)
            assert served.stats().consumers == ()  # or this process has ended by SIGBUS


async def test_readers_of_a_queue_before_it_was_created_anew_are_counted(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(new_channel(), tmp_path) as served:
        with reading(tmp_path):
            await trio.sleep(1)  # it looks now and again
        (tmp_path / "q").unlink()
        await trio.sleep(1)
        with reading(tmp_path):
            assert served.stats().accepted == 2


async def test_an_unknown_channel_is_refused_at_the_start_with_the_names(tmp_path: Path) -> None:
    channels = [new_channel(name="first"), new_channel(name="second")]
    with pytest.raises(ConfigError, match="no channel third: this service has first, second"):
        await ShmTransport(config(tmp_path, channel="third")).run(channels)
    assert os.listdir(tmp_path) == []


async def test_the_heartbeat_changes_ten_times_a_second_in_silence(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    times: list[float] = []

    def note(writer: object, now_ns: int) -> None:
        times.append(trio.current_time())

    with mock.patch.object(QueueWriter, "beat", note):
        async with serving(new_channel(), tmp_path):
            await trio.sleep(2.05)
    assert len(times) >= 20
    assert max(later - one for one, later in pairwise(times)) < 0.11


def test_a_fork_keeps_no_queue_and_removes_none(tmp_path: Path) -> None:
    path = tmp_path / "q"
    queue = queue_file.create(str(path), capacity_bytes=65536, header=new_channel().header)
    ready, go = os.pipe()
    child = os.fork()
    if not child:
        try:
            queue.is_whole()
        except RuntimeError as error:
            os.write(go, str(error).encode())
        queue.close(keep=False)
        os.write(go, b"closed")
        signal.pause()
        os._exit(0)
    try:
        said = b""
        while not said.endswith(b"closed"):
            said += os.read(ready, 4096)
        assert b"forked from it, may not write to it" in said
        assert holder_of(path) == (Holder.WRITER, os.getpid())
        queue.close(keep=True)
        assert holder_of(path) == (Holder.DEAD_WRITER, os.getpid())
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_fork_that_did_nothing_releases_the_name_with_its_parent(tmp_path: Path) -> None:
    path = str(tmp_path / "q")
    queue = queue_file.create(path, capacity_bytes=65536, header=new_channel().header)
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    try:
        queue.close(keep=True)
        queue_file.create(path, capacity_bytes=65536, header=None).close(keep=False)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
