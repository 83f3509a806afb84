"""What every transport has to do. Subclass `TransportContract`, say how to make one and how to
read from it, and inherit the tests."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from fanout.channel.channel import Channel
from fanout.protocol import (
    End,
    EndReason,
    FeatureRow,
    Loss,
    LossReason,
    Snapshot,
    Trade,
)
from fanout.protocol.book_records import BookUpdate
from fanout.transports.base import Transport
from tests.protocol.golden import HEADER
from tests.stand.book_channel import OTHER, Feeder, KeptBooks, book_channel
from tests.stand.channels import new_channel, publish, serving
from tests.stand.row_channel import publish_rows, row_at, row_channel
from tests.stand.subscriber import StreamSubscriber


class TransportContract(ABC):
    max_readers = 3

    @abstractmethod
    def make(self) -> Transport:
        """A transport on a free address."""

    @abstractmethod
    def reader(self, url: str) -> AbstractAsyncContextManager[StreamSubscriber]:
        """A reader that has joined."""

    def make_for(self, channel: str) -> Transport:
        """A transport whose reader reads a channel, where that is for the transport to say."""
        return self.make()

    def reader_of(self, url: str, channel: str) -> AbstractAsyncContextManager[StreamSubscriber]:
        """A reader that has joined a channel, where that is for the reader to say."""
        return self.reader(url)

    @asynccontextmanager
    async def serving(self, *channels: Channel, by: Transport | None = None) -> AsyncIterator[str]:
        """The URL of a transport that serves these channels."""
        async with serving(channels, by or self.make(), within_s=20) as url:
            yield url

    async def test_a_reader_that_names_no_channel_gets_the_first(self) -> None:
        first, second = new_channel(name="first"), new_channel(name="second")
        async with self.serving(first, second) as url, self.reader(url) as reading:
            await reading.until_header()
            publish(second, 100, 2)
            publish(first, 1, 2)
            await reading.until(Trade, 2)
            assert reading.trade_ids == [1, 2]

    async def test_each_channel_can_be_read_with_its_own_numbers(self) -> None:
        first, second = new_channel(name="first"), new_channel(name="second")
        publish(first, 1, 7)
        by = self.make_for("second")
        async with (
            self.serving(first, second, by=by) as url,
            self.reader_of(url, "second") as reading,
        ):
            await reading.until_header()
            publish(first, 8, 3)
            publish(second, 100, 2)
            await reading.until(Trade, 2)
            assert [each.seq for each in reading.records if isinstance(each, Trade)] == [1, 2]
            assert reading.trade_ids == [100, 101]

    async def test_one_channel_that_ends_leaves_the_others(self) -> None:
        first, second = new_channel(name="first"), new_channel(name="second")
        by = self.make_for("second")
        async with (
            self.serving(first, second, by=by) as url,
            self.reader_of(url, "second") as reading,
        ):
            await reading.until_header()
            first.end(EndReason.FEED_FAILED, retry_ms=None, why="its venue refuses")
            publish(second, 1)
            await reading.until(Trade)
            assert reading.trade_ids == [1]

    async def test_a_reader_gets_header_snapshot_and_what_comes_then(self) -> None:
        channel = new_channel()
        publish(channel, 1, 3)
        async with self.serving(channel) as url, self.reader(url) as reading:
            await reading.until_header()
            publish(channel, 4, 2)
            await reading.until(Trade, 2)
            assert reading.header is not None
            assert reading.header.instruments == HEADER.instruments
            assert [each.trade_id for each in reading.records if isinstance(each, Trade)] == [4, 5]
            snapshots = [each for each in reading.records if isinstance(each, Snapshot)]
            assert [each.trades[0].trade_id for each in snapshots] == [3]

    async def test_a_reader_gets_the_whole_books_and_what_changes_then(self) -> None:
        channel = book_channel()
        feeder, kept = Feeder(channel), KeptBooks(channel)
        feeder.whole(levels=500)
        feeder.whole(OTHER)
        async with self.serving(channel) as url, self.reader(url) as reading:
            await reading.until(BookUpdate, 2)
            for each in range(300):
                feeder.change([(990 - each, 7)])
            await reading.until(BookUpdate, 302)
            kept.take(reading.records)
            kept.assert_right(0, 1)

    async def test_rows_of_features_arrive_as_they_were_published(self) -> None:
        channel = row_channel()
        publish_rows(channel, 0, 3)
        async with self.serving(channel) as url, self.reader(url) as reading:
            await reading.until(FeatureRow)
            assert reading.header is not None
            assert reading.header.columns == channel.header.columns
            sent = publish_rows(channel, 3, 600) + publish_rows(channel, 603)
            await reading.until(FeatureRow, 602)
            snapshot, *rows = [each for each in reading.records if isinstance(each, FeatureRow)]
            assert snapshot == row_at(2)
            assert rows == sent

    async def test_what_a_reader_missed_of_rows_is_told_exactly(self) -> None:
        channel = row_channel(log_bytes=200_000)
        async with self.serving(channel) as url, self.reader(url) as reading:
            await reading.until_header()
            for first in range(0, 100_000, 500):
                publish_rows(channel, first, 500)
                if first % 10_000 == 0:
                    await trio.lowlevel.checkpoint()
            channel.end(EndReason.SHUTDOWN, retry_ms=1, why="that was all")
            await reading.until(End)
        accounted: list[int] = []
        for each in reading.records:
            if isinstance(each, Loss):
                accounted += range(each.first_seq, each.last_seq + 1)
            elif isinstance(each, FeatureRow) and each.seq:
                expected = row_at(each.seq - 1)
                assert (each.values, each.absences) == (expected.values, expected.absences)
                accounted.append(each.seq)
        assert accounted == list(range(1, 100_001))

    async def test_a_reader_that_lost_something_gets_the_whole_books(self) -> None:
        channel = book_channel(200_000)
        feeder, kept = Feeder(channel), KeptBooks(channel)
        feeder.whole(levels=100)
        async with self.serving(channel) as url, self.reader(url) as reading:
            await reading.until(BookUpdate)
            while not any(isinstance(each, Loss) for each in reading.records):
                for each in range(20_000):
                    feeder.change([(990 - each % 80, 1 + each)])
                await reading.read_once()
            feeder.change([(500, 5)])
            taken = 0
            while not kept.books or kept.books[0].update_id != channel.books.of(0).update_id:
                await reading.read_once()
                kept.take(reading.records[taken:])
                taken = len(reading.records)
            kept.assert_right(0)

    async def test_every_reader_gets_everything(self) -> None:
        channel = new_channel()
        async with self.serving(channel) as url, trio.open_nursery() as nursery:
            joined: list[StreamSubscriber] = []

            async def read() -> None:
                async with self.reader(url) as reading:
                    await reading.until_header()
                    joined.append(reading)
                    await reading.until(Trade, 300)

            for _ in range(self.max_readers):
                nursery.start_soon(read)
            while len(joined) < self.max_readers:  # noqa: ASYNC110  real sockets, no event to wait for
                await trio.sleep(0.001)
            for first in range(1, 301, 3):
                publish(channel, first, 3)
                await trio.lowlevel.checkpoint()
        assert [each.trade_ids for each in joined] == [list(range(1, 301))] * self.max_readers

    async def test_a_closed_log_ends_in_an_end_and_the_transport_returns(self) -> None:
        channel = new_channel()
        async with self.serving(channel) as url, self.reader(url) as reading:
            await reading.until_header()
            publish(channel, 1)
            channel.end(EndReason.SHUTDOWN, retry_ms=7, why="enough")
            await reading.until(End)
            assert reading.records[-1] == End(
                reason=EndReason.SHUTDOWN, last_seq=1, retry_ms=7, why="enough"
            )
            assert reading.trade_ids == [1]

    async def test_what_a_reader_missed_is_told_exactly(self) -> None:
        """A reader that does not read while far more than fits is published."""
        channel = new_channel(log_bytes=200_000)
        async with self.serving(channel) as url, self.reader(url) as reading:
            await reading.until_header()
            for first in range(1, 400_000, 1_000):
                publish(channel, first, 1_000)
                await trio.lowlevel.checkpoint()
            channel.end(EndReason.SHUTDOWN, retry_ms=1, why="that was all")
            await reading.until(End)
            accounted: list[int] = []
            for each in reading.records:
                if isinstance(each, Loss):
                    assert each.reason is not LossReason.UNANNOUNCED
                    accounted += range(each.first_seq, each.last_seq + 1)
                elif isinstance(each, Trade):
                    assert each.trade_id == each.seq
                    accounted.append(each.seq)
            assert accounted == list(range(1, 400_001))
            assert len(reading.trade_ids) < 400_000
