import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trio
import trio.lowlevel
import trio.testing

from fanout.channel.channel import Channel
from fanout.clients.outcomes import DisconnectedError
from fanout.clients.ring_file import AttachedRing, attach
from fanout.clients.subscription import Subscription
from fanout.errors import BindError, ConfigError, UsageError
from fanout.protocol import (
    End,
    EndReason,
    Heartbeat,
    Loss,
    LossReason,
    Snapshot,
    Trade,
    decode_event,
)
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import MAX_BLOCK_LEVELS, FrameKind
from fanout.protocol.framing import payloads_of
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Reference
from fanout.protocol.request import Request, Start
from fanout.protocol.ring import RingReader, RingWriter
from fanout.protocol.ring_page import CURSOR_WORD, DATA_AT, reader_word
from fanout.transports.ring import RingConfig, RingTransport
from tests.clients.queues import numbers, overwrite
from tests.contracts.transport import TransportContract
from tests.stand import channels
from tests.stand.book_channel import OTHER, Feeder, KeptBooks, book_channel
from tests.stand.channels import new_channel, publish, publish_bulk
from tests.stand.subscriber import StreamSubscriber

CAPACITY_BYTES = 512 * 1024


def config(directory: Path, **options: Any) -> RingConfig:
    return RingConfig(
        name="r", directory=str(directory), **{"capacity_bytes": CAPACITY_BYTES, **options}
    )


class RingSubscriber(StreamSubscriber):
    """A reader in the test's own process, without the client's policy."""

    def __init__(self, ring: AttachedRing, subscription: Subscription, start: Start) -> None:
        super().__init__(self._next)
        self.ask(start)
        self.ring = ring
        self._subscription = subscription
        self._opening = ring.opening()

    async def _next(self) -> bytes:
        while not (data := self._piece()):
            if self.ring.reader.has_ended and not self.ring.reader.unread_bytes:
                return b""
            await trio.sleep(0.001)
        return data

    def _piece(self) -> bytes:
        data, self._opening = self._opening or self.ring.read(), b""
        if data:
            self._subscription.receive(data)
        return data

    def all_now(self) -> "RingSubscriber":
        """Take what is there."""
        while data := self._piece():
            self.take(data)
        return self


@contextmanager
def reading(directory: Path, start: Start = Start.LIVE) -> Iterator[RingSubscriber]:
    subscription = Subscription("ring://r", reconnect=True, request=Request(start=start))
    with closing(attach(str(directory / "r"), subscription, now_s=0.0)) as ring:
        yield RingSubscriber(ring, subscription, start)


@asynccontextmanager
async def serving(
    channel: Channel, directory: Path, **options: Any
) -> AsyncIterator[RingTransport]:
    """A transport that has delivered what there is whenever the test goes on after `settle`."""
    served = RingTransport(config(directory, **options), wall_ns=lambda: 5)
    async with channels.serving(channel, served):
        yield served


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


class TestRingTransport(TransportContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    def make(self) -> RingTransport:
        return RingTransport(config(self.directory))

    def make_for(self, channel: str) -> RingTransport:
        return RingTransport(config(self.directory, channel=channel))

    @asynccontextmanager
    async def reader(self, url: str) -> AsyncIterator[StreamSubscriber]:
        assert url == "ring://r"
        with reading(self.directory) as each:
            yield each


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": ""}, "empty"),
        ({"name": "a/b"}, "slash"),
        ({"capacity_bytes": 2**20 + 1}, "a power of two"),
        ({"capacity_bytes": 2**18}, "at least 524,288 bytes"),
        ({"snapshot_s": -1}, "--snapshot-s"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RingConfig(**{"name": "r", **options})


def test_two_transports_cannot_have_one_ring() -> None:
    assert RingConfig(name="r").claims(1) == ("ring r",)


async def test_the_file_can_be_read_by_others_and_is_removed_at_the_end(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        async with serving(new_channel(), tmp_path):
            status = (tmp_path / "r").stat()
            assert os.listdir(tmp_path) == ["r"]
            assert stat.S_IMODE(status.st_mode) == 0o644
            assert status.st_size == DATA_AT + CAPACITY_BYTES
            assert status.st_blocks * 512 >= status.st_size
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == []


async def test_a_living_owner_is_named_and_left_alone(tmp_path: Path) -> None:
    async with serving(new_channel(), tmp_path):
        with pytest.raises(
            BindError, match=f"ring .* belongs to process {os.getpid()}, which is running"
        ):
            await RingTransport(config(tmp_path)).run([new_channel()])
        assert os.listdir(tmp_path) == ["r"]


async def test_an_unknown_channel_is_refused_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no channel third: this service has first"):
        await RingTransport(config(tmp_path, channel="third")).run([new_channel(name="first")])
    assert os.listdir(tmp_path) == []


async def test_a_record_is_in_the_ring_before_its_publisher_goes_on(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path):
        with reading(tmp_path, Start.OLDEST) as reader:
            await settle()
            publish(channel, 1, 2)
            assert reader.all_now().trade_ids == [1, 2]


async def test_a_record_after_another_is_in_the_ring_within_two_passes(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path):
        with reading(tmp_path, Start.OLDEST) as reader:
            await settle()
            publish(channel, 1, 2)
            publish(channel, 3)
            for _ in range(2):  # one pass for us, at most one for the transport
                await trio.lowlevel.checkpoint()
            assert reader.all_now().trade_ids == [1, 2, 3]


async def test_a_fault_while_something_is_published_ends_the_transport_and_not_its_publisher(
    tmp_path: Path,
) -> None:
    channel = new_channel()
    with pytest.RaisesGroup(ZeroDivisionError):
        async with serving(channel, tmp_path):
            await settle()
            with mock.patch.object(RingWriter, "push", side_effect=ZeroDivisionError):
                publish(channel, 1)
            await settle()
    assert os.listdir(tmp_path) == []
    publish(channel, 2)
    assert channel.log.next_seq == 3


async def test_a_ring_that_was_cut_is_not_touched_by_the_next_record(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path):
        await settle()
        os.truncate(tmp_path / "r", 0)
        publish(channel, 1)  # or this process has ended by SIGBUS
        await settle()
        publish(channel, 2)
        with reading(tmp_path, Start.OLDEST) as reader:
            assert reader.all_now().trade_ids == [2]


async def test_a_burst_longer_than_a_push_is_pushed_frame_by_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.channel.reader.CHUNK_BYTES", CAPACITY_BYTES)
    channel = new_channel()
    async with serving(channel, tmp_path):
        with reading(tmp_path, Start.OLDEST) as reader:
            await settle()
            publish_bulk(channel, CAPACITY_BYTES // 2)
            await settle()
            reader.all_now()
            assert len(reader.records) == channel.log.next_seq - 1


async def test_what_the_log_dropped_is_a_loss_for_all_readers(tmp_path: Path) -> None:
    channel = new_channel(log_bytes=2_000)
    async with serving(channel, tmp_path) as served:
        with (
            reading(tmp_path, Start.OLDEST) as one,
            reading(tmp_path, Start.OLDEST) as other,
        ):
            await settle()
            for first in range(1, 2_000, 20):
                publish(channel, first, 20)
            await settle()
            for reader in (one, other):
                records = reader.all_now().records
                losses = [each for each in records if isinstance(each, Loss)]
                assert [each.reason for each in losses] == [LossReason.SLOW]
                assert numbers(records) == list(range(1, 2_001))
                assert served.stats().lost == losses[0].count


async def test_a_new_header_counts_from_its_place_on(tmp_path: Path) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path):
        with reading(tmp_path, Start.OLDEST) as first:
            publish(channel, 1, 2)
            await settle()
            again(channel, 77)
            publish(channel, 3, 2)
            again(channel, 78)
            publish(channel, 5, 2)
            await settle()
            assert first.all_now().trade_ids == [1, 2, 3, 4, 5, 6]
            assert first.header is not None
            assert first.header.references[0].price == 78
        with reading(tmp_path, Start.OLDEST) as second:
            # The ring has room for two headers: it begins under the older of them.
            assert numbers(second.all_now().records) == [1, 2, 3, 4, 5, 6]
            assert second.trade_ids == [3, 4, 5, 6]


async def test_headers_that_the_log_dropped_follow_in_parts(tmp_path: Path) -> None:
    channel = new_channel(log_bytes=2_000)
    async with serving(channel, tmp_path):
        with reading(tmp_path, Start.OLDEST) as reader:
            await settle()
            index = len(channel.header.instruments)
            added = [
                Instrument(index=i, symbol=f"A{i:060}", price_exponent=0, quantity_exponent=0)
                for i in range(index, 1_024)
            ]
            zero = Reference(price=0, quantity=0, trade_id=0, time=0)
            channel.change(added, [zero] * len(added))
            for first in range(1, 2_000, 20):
                publish(channel, first, 20)
            await settle()
            reader.all_now()
            assert numbers(reader.records) == list(range(1, 2_001))
            assert reader.header is not None
            assert reader.header.instruments == channel.header.instruments


def again(channel: Channel, price: int) -> None:
    """What a channel does whose references went stale."""
    old = channel.header
    reference = Reference(price=price, quantity=1, trade_id=1, time=1)
    channel.change(old.instruments[:1], [reference])


async def test_heartbeats_come_every_second_and_the_page_shows_life(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ticks = iter(range(10_000))
    channel = new_channel()
    served = RingTransport(config(tmp_path, snapshot_s=0), wall_ns=lambda: next(ticks))
    async with channels.serving(channel, served):
        with reading(tmp_path, Start.OLDEST) as reader:
            reader.all_now()
            seen = set()
            for _ in range(41):
                seen.add(reader.ring.reader.pulse[0])
                await trio.sleep(0.25)
            assert len(seen) == 41
            payloads = payloads_of(reader.ring.reader.read(10**6))
    kinds = [each[0] for each in payloads]
    assert 9 <= kinds.count(FrameKind.HEARTBEAT) <= 10
    events = [decode_event(each, channel.header) for each in payloads]
    assert {each.next_seq for each in events if isinstance(each, Heartbeat)} == {1}


# Snapshots.


async def test_a_reader_that_asks_gets_a_snapshot_within_a_beat(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = new_channel()
    publish(channel, 1, 2)
    async with serving(channel, tmp_path, snapshot_s=0):
        await trio.sleep(100)
        for expected in (2, 4, 6):
            with reading(tmp_path) as reader:
                assert not reader._opening
                await trio.sleep(0.15)
                publish(channel, channel.log.next_seq, 2)
                await settle()
                records = reader.all_now().records
                (snapshot,) = [each for each in records if isinstance(each, Snapshot)]
                assert snapshot.trades[0].trade_id == expected
                assert reader.trade_ids == [expected + 1, expected + 2]


@pytest.mark.parametrize(("every_s", "count"), [(0.0, 1), (10.0, 11)])
async def test_snapshots_come_every_so_often_for_readers_that_cannot_ask(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, every_s: float, count: int
) -> None:
    channel = new_channel()
    publish(channel, 1)
    async with serving(channel, tmp_path, snapshot_s=every_s):
        await trio.sleep(105)
        found = RingReader((tmp_path / "r").read_bytes())
        assert found.begin_oldest().next_seq == 2
        kinds = [each[0] for each in payloads_of(found.read(10**6))]
        assert kinds.count(FrameKind.TRADES) == count


class Deep:
    """A channel with a book that is encoded in several steps, and what a reader keeps of it."""

    def __init__(self, levels: int = 5 * MAX_BLOCK_LEVELS) -> None:
        self.channel = book_channel()
        self.feeder = Feeder(self.channel)
        self.feeder.whole(levels=levels)
        self.feeder.whole(OTHER)
        self.kept = KeptBooks(self.channel)
        self._taken = 0

    async def change(self, passes: int) -> None:
        """A change in each pass of the scheduler."""
        for each in range(passes):
            self.feeder.change([(990 - each % 900, 7)])
            await trio.lowlevel.checkpoint()

    def take(self, reader: RingSubscriber) -> None:
        reader.all_now()
        self.kept.take(reader.records[self._taken :])
        self._taken = len(reader.records)


async def test_a_deep_book_is_encoded_in_steps_while_it_changes(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    deep = Deep()
    async with serving(deep.channel, tmp_path):
        await trio.sleep(1)
        with reading(tmp_path) as reader:
            await trio.sleep(0.15)
            await deep.change(60)
            await settle()
            deep.take(reader)
            deep.kept.assert_right(0, 1)
            assert sum(isinstance(each, Loss) for each in reader.records) == 0


async def test_no_heartbeat_overtakes_what_waits_for_a_deep_book(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.transports.ring.transport.HEARTBEAT_S", 0.0)
    deep = Deep()
    async with serving(deep.channel, tmp_path, snapshot_s=0):
        with reading(tmp_path, Start.OLDEST) as reader:
            await deep.change(60)
            await settle()
            deep.take(reader)
            deep.kept.assert_right(0, 1)
            losses = [each.reason for each in reader.records if isinstance(each, Loss)]
            assert losses == [LossReason.EVICTED]  # from before the ring


async def test_a_reader_that_asks_while_a_snapshot_is_made_gets_the_next(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    deep = Deep()
    async with serving(deep.channel, tmp_path):
        await deep.change(2)  # the first snapshot has begun
        with reading(tmp_path) as reader:
            await deep.change(3)
            await trio.sleep(1)
            deep.take(reader)
            deep.kept.assert_right(0, 1)


async def test_the_end_does_not_wait_for_a_book_that_is_encoded(tmp_path: Path) -> None:
    deep = Deep()
    async with serving(deep.channel, tmp_path):
        with reading(tmp_path, Start.OLDEST) as reader:
            await deep.change(2)
            deep.channel.end(EndReason.SHUTDOWN, retry_ms=None, why="")
            await reader.until(End)


async def test_a_book_that_does_not_fit_is_left_out_with_a_warning(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    deep = Deep(40 * MAX_BLOCK_LEVELS)
    async with serving(deep.channel, tmp_path):
        await trio.sleep(0.5)
        with reading(tmp_path) as reader:
            await trio.sleep(0.5)
            reader.all_now()
            found = [each for each in reader.records if isinstance(each, BookUpdate)]
            assert {each.instrument for each in found} == {OTHER}
    assert caplog.text.count("a whole book does not fit a ring of 524,288 bytes") == 1


async def test_books_that_do_not_fit_together_are_warned_of(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    deep = Deep(12 * MAX_BLOCK_LEVELS)
    deep.feeder.whole(OTHER, levels=12 * MAX_BLOCK_LEVELS)
    async with serving(deep.channel, tmp_path):
        for _ in range(40):
            publish(deep.channel, deep.channel.log.next_seq, 12_000)
            await trio.lowlevel.checkpoint()
        await trio.sleep(1)
    assert "the whole books of a snapshot do not fit" in caplog.text


# Who reads.


async def test_readers_are_shown_with_how_far_behind_they_are(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path) as served:
        assert (served.readers, served.unread, served.stats().consumers) == (0, 0, ())
        with reading(tmp_path, Start.OLDEST) as quick, reading(tmp_path, Start.OLDEST) as slow:
            await trio.sleep(1)
            for _ in range(40):
                publish_bulk(channel, CAPACITY_BYTES // 16)
                await settle()
                quick.all_now()
                quick.ring.commit()
            assert served.readers == 2
            assert served.unread == 1
            first, second = served.stats().consumers
            assert (first.address, first.channel) == (f"pid {os.getpid()}", "test")
            assert (first.lost, first.lapped, second.lapped) == (0, 0, 0)
            assert first.lag_bytes <= CAPACITY_BYTES // 16
            assert second.lag_bytes == CAPACITY_BYTES
            assert first.blocks > 1_000
            slow.all_now()
            slow.ring.commit()
            await trio.sleep(0.2)
            assert served.unread < 0.1
            _, second = served.stats().consumers
            assert second.lapped == 1
            assert second.lost == slow._session.lost > 0
            assert numbers(slow.records)
            lost = second.lost
        assert served.readers == 0
        stats = served.stats()
        assert (stats.consumers, stats.accepted, stats.lost) == ((), 2, lost)
        assert served.stride_bytes == 64 * 1024


async def test_a_place_that_cannot_be_harms_nobody(tmp_path: Path) -> None:
    async with serving(new_channel(), tmp_path) as served:
        with reading(tmp_path, Start.OLDEST):
            overwrite(tmp_path / "r", 8 * (reader_word(0) + CURSOR_WORD), b"\0\0\0\0\0\1\0\0")
            assert served.unread == 0


# Harm.


def cut(path: Path) -> None:
    os.truncate(path, 100)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [cut, remove])
async def test_a_damaged_ring_is_made_anew(
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path], None],
) -> None:
    channel = new_channel()
    async with serving(channel, tmp_path) as served:
        publish(channel, 1, 5)
        await trio.sleep(0.3)
        harm(tmp_path / "r")
        assert (served.readers, served.unread, served.stats().consumers) == (0, 0, ())
        await trio.sleep(0.5)
        with reading(tmp_path, Start.OLDEST) as reader:
            publish(channel, 6, 2)
            await trio.sleep(0.3)
            reader.all_now()
        assert [each.trade_id for each in reader.records if isinstance(each, Trade)] == [6, 7]
        assert "ring" in caplog.text
        assert "making it anew" in caplog.text
    assert not (tmp_path / "r").exists()


async def test_a_cancelled_transport_removes_its_file_and_writes_no_end(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(RingTransport(config(tmp_path)).run, [new_channel()])
        subscription = Subscription("ring://r", reconnect=True)
        ring = attach(str(tmp_path / "r"), subscription, now_s=0.0)
        nursery.cancel_scope.cancel()
    with closing(ring):
        assert os.listdir(tmp_path) == []
        assert not ring.reader.has_ended
        trouble = ring.trouble(0, 5)
        assert isinstance(trouble, DisconnectedError)
        assert "without an END" in str(trouble)
