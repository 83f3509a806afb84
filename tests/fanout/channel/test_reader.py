"""Where a reader begins in a channel, and what it is told about its place: without a socket."""

import itertools

import pytest
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.channel.reader import CHUNK_BYTES, Reader
from fanout.protocol import (
    End,
    EndReason,
    FeedState,
    Loss,
    LossReason,
    Position,
    Record,
    Request,
    SlowPolicy,
    Snapshot,
    Start,
    Trade,
)
from tests.protocol.golden import BTC, HEADER, LIFE
from tests.protocol.test_session import numbers
from tests.stand.channels import new_channel, publish, publish_bulk
from tests.stand.subscriber import Subscriber

EPOCH_NS = 1


def place_in(channel: Channel, *, max_lag_ms: int = 60_000) -> Reader:
    return Reader(channel, max_lag_ms=max_lag_ms)


class JoinedSubscriber(Subscriber):
    """A subscriber at a reader's far end, and what it got."""

    def __init__(self, channel: Channel, request: Request, **options: int) -> None:
        super().__init__()
        self.place = place_in(channel, **options)
        self.ask(request.start)
        self.records = self.receive(self.place.greeting + self.place.start(request))

    def read(self) -> list[Record]:
        """Everything there is for it now; what it got so far."""
        while not self.place.is_over and (piece := self.place.next_piece()):
            self.records += self.receive(piece)
        return self.records


def asked_for(channel: Channel, seq: int, epoch_ns: int = EPOCH_NS) -> JoinedSubscriber:
    return JoinedSubscriber(channel, Request(start=Position(epoch_ns=epoch_ns, seq=seq)))


def filled(*counts: int, log_bytes: int = 50_000_000) -> Channel:
    """A channel of blocks with so many trades each, whose ids are their numbers."""
    channel = new_channel(log_bytes)
    for count in counts:
        publish(channel, channel.log.next_seq, count)
    return channel


def ids(records: list[Record]) -> list[int]:
    return [each.trade_id for each in records if isinstance(each, Trade)]


@pytest.mark.parametrize("seq", range(1, 13))
def test_any_number_that_is_kept_can_be_asked_for_and_nothing_comes_twice(seq: int) -> None:
    channel = filled(3, 1, 5, 2)
    reader = asked_for(channel, seq)
    assert ids(reader.read()) == list(range(seq, 12))
    publish(channel, 12, 2)
    assert ids(reader.read()) == numbers(reader.records) == list(range(seq, 14))


def test_a_block_that_is_cut_keeps_what_it_says_of_its_trades() -> None:
    channel = filled(5)
    whole = asked_for(channel, 1).read()
    assert asked_for(channel, 3).read() == whole[2:]


def test_who_begins_live_gets_the_newest_trades_first_and_who_resumes_does_not() -> None:
    channel = filled(3)
    live = JoinedSubscriber(channel, Request())
    assert [type(each) for each in live.read()] == [Snapshot]
    publish(channel, 4)
    assert numbers(live.read()) == [4]
    assert not [each for each in asked_for(channel, 2).read() if isinstance(each, Snapshot)]


def test_what_comes_between_the_greeting_and_the_request_is_not_missed() -> None:
    channel = filled(3)
    place = place_in(channel)
    publish(channel, 4)
    place.start(Request())
    publish(channel, 5)
    records = Subscriber().receive(place.greeting + place.next_piece())
    assert ids(records) == [4, 5]


def test_the_oldest_is_all_there_is_and_word_of_what_is_gone() -> None:
    everything = JoinedSubscriber(filled(2, 3), Request(start=Start.OLDEST))
    assert numbers(everything.read()) == [1, 2, 3, 4, 5]
    channel = filled(*[10] * 60, log_bytes=4_000)
    lost, *rest = JoinedSubscriber(channel, Request(start=Start.OLDEST)).read()
    assert isinstance(lost, Loss)
    assert lost.reason is LossReason.EVICTED
    assert numbers([lost, *rest]) == list(range(1, 601))
    assert ids(rest)


def test_what_is_gone_of_what_was_asked_for_is_told_first() -> None:
    channel = filled(*[10] * 60, log_bytes=4_000)
    lost, *rest = asked_for(channel, 7).read()
    assert isinstance(lost, Loss)
    assert (lost.first_seq, lost.reason) == (7, LossReason.EVICTED)
    assert numbers([lost, *rest]) == list(range(7, 601))


@pytest.mark.parametrize("epoch_ns", [0, 2])
def test_of_another_epoch_there_is_only_this_one(epoch_ns: int) -> None:
    assert numbers(asked_for(filled(2, 3), 4, epoch_ns).read()) == [1, 2, 3, 4, 5]
    lost = asked_for(filled(*[10] * 60, log_bytes=4_000), 4, epoch_ns).read()[0]
    assert isinstance(lost, Loss)
    assert (lost.first_seq, lost.reason) == (1, LossReason.OTHER_EPOCH)


def test_a_number_from_the_future_is_refused() -> None:
    reader = asked_for(filled(3), 5)
    (end,) = reader.read()
    assert end == End(
        reason=EndReason.BAD_REQUEST,
        last_seq=3,
        retry_ms=None,
        why="number 5 is still to come: 4 is next",
    )
    assert reader.place.is_over


def test_the_next_number_is_not_from_the_future() -> None:
    channel = filled(3)
    reader = asked_for(channel, 4)
    assert reader.read() == []
    publish(channel, 4)
    assert numbers(reader.read()) == [4]


def test_old_blocks_come_with_the_header_they_were_written_under() -> None:
    channel = filled(2)
    finer = replace(BTC, price_exponent=-4)
    channel.change((finer, LIFE), HEADER.references)
    publish(channel, 3)
    for seq in (1, 2):
        trades = asked_for(channel, seq).read()
        prices = [each.price_text for each in trades if isinstance(each, Trade)]
        assert prices == ["0.06", "0.06", "0.0006"][seq - 1 :]
    assert numbers(asked_for(channel, 3).read()) == [3]


def test_an_end_that_was_said_already_is_heard_by_who_comes_late() -> None:
    channel = filled(2)
    place = place_in(channel)
    channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
    place.start(Request(start=Position(epoch_ns=EPOCH_NS, seq=3)))
    subscriber = Subscriber()
    subscriber.ask(Position(epoch_ns=EPOCH_NS, seq=3))
    records = subscriber.receive(place.greeting + place.next_piece())
    assert [type(each) for each in records] == [End]


def test_who_falls_off_the_log_is_told_what_it_lost_and_goes_on_at_the_oldest() -> None:
    channel = filled(log_bytes=4_000)
    reader = JoinedSubscriber(channel, Request())
    for first in range(1, 601, 10):
        publish(channel, first, 10)
    lost, *rest = reader.read()
    assert isinstance(lost, Loss)
    assert lost.reason is LossReason.SLOW
    assert numbers([lost, *rest]) == list(range(1, 601))
    assert lost.last_seq < 590
    assert reader.place.lost == lost.count


def test_who_falls_off_a_log_that_is_too_old_goes_on_live() -> None:
    channel = filled(log_bytes=4_000)
    reader = JoinedSubscriber(channel, Request(), max_lag_ms=-1)
    for first in range(1, 601, 10):
        publish(channel, first, 10)
    assert reader.read() == [Loss(first_seq=1, last_seq=600, reason=LossReason.SLOW)]
    publish(channel, 601)
    assert numbers(reader.read()) == list(range(1, 602))


def test_who_goes_on_live_does_not_miss_the_end() -> None:
    channel = filled(log_bytes=4_000)
    reader = JoinedSubscriber(channel, Request(), max_lag_ms=-1)
    for first in range(1, 601, 10):
        publish(channel, first, 10)
    channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
    assert [type(each) for each in reader.read()] == [Loss, End]


def test_who_asked_to_be_disconnected_learns_where_it_stood() -> None:
    channel = filled(2, log_bytes=4_000)
    reader = JoinedSubscriber(channel, Request(slow=SlowPolicy.DISCONNECT))
    publish(channel, 3, 2)
    reader.read()
    publish_bulk(channel, 10_000)
    end = reader.read()[-1]
    assert isinstance(end, End)
    assert (end.reason, end.last_seq, end.retry_ms) == (EndReason.SLOW, 4, 1_000)
    assert reader.place.is_over


def test_frames_without_numbers_that_are_gone_are_no_loss() -> None:
    channel = filled(log_bytes=2_000)
    readers = [JoinedSubscriber(channel, Request(slow=slow)) for slow in SlowPolicy]
    for _ in range(60):
        channel.change(HEADER.instruments, HEADER.references)
    publish(channel, 1)
    for reader in readers:
        assert numbers(reader.read()) == [1]


def test_a_piece_is_bounded_however_far_a_client_is_behind() -> None:
    channel = filled(1)
    reader = asked_for(channel, 1)
    publish_bulk(channel, 5 * CHUNK_BYTES)
    sizes = [len(each) for each in iter(reader.place.next_piece, b"")]
    assert len(sizes) > 5
    assert max(sizes) <= CHUNK_BYTES


def test_events_are_resumed_like_trades() -> None:
    channel = filled(2)
    channel.publish_status(None, FeedState.DOWN, "gone")
    publish(channel, 4, 2)
    for seq in range(1, 6):
        assert numbers(asked_for(channel, seq).read()) == list(range(seq, 6))


def test_readers_at_every_place_get_the_same() -> None:
    channel = filled(*itertools.islice(itertools.cycle([1, 7, 1_500, 2]), 12))
    last = channel.log.next_seq
    for seq in range(1, last + 1, 97):
        assert ids(asked_for(channel, seq).read()) == list(range(seq, last))
