"""Where a reader begins in a channel, and what it is told about its place: without a socket."""

import itertools
from typing import Any

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
    Moment,
    Position,
    Record,
    Request,
    SlowPolicy,
    Snapshot,
    Start,
    Trade,
    frame,
)
from tests.protocol.golden import BTC, HEADER, LIFE, decode, payload
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
def test_a_reader_can_start_at_any_kept_number_and_gets_each_record_once(seq: int) -> None:
    channel = filled(3, 1, 5, 2)
    reader = asked_for(channel, seq)
    assert ids(reader.read()) == list(range(seq, 12))
    publish(channel, 12, 2)
    assert ids(reader.read()) == numbers(reader.records) == list(range(seq, 14))


@pytest.mark.parametrize(("time_ns", "first"), [(0, 3), (2, 3), (3, 4), (6, 7), (7, None)])
def test_a_reader_can_start_at_a_time_and_loses_nothing(time_ns: int, first: int | None) -> None:
    """Without a past; number n was received at time n - 1, and 1 and 2 are gone."""
    channel = filled()
    for number in range(1, 8):
        trade = Trade(BTC, number, 5, 6, 7, False)
        channel.publish([trade], received_ns=number - 1, held_ns=0)
    for _ in range(2):
        channel.log._evict()
    reader = JoinedSubscriber(channel, Request(start=Moment(time_ns=time_ns)))
    records = reader.read()
    assert isinstance(records[0], Snapshot) is (first is None)
    assert ids(records) == numbers(records) == list(range(first or 8, 8))


def test_the_rest_of_a_cut_block_has_unchanged_trades() -> None:
    channel = filled(5)
    whole = asked_for(channel, 1).read()
    assert asked_for(channel, 3).read() == whole[2:]


@pytest.mark.parametrize("name", ["quotes", "book", "orders"])
def test_a_block_of_any_kind_can_be_asked_for_from_its_middle(name: str) -> None:
    channel = filled(1_000)
    block: Any = decode(name, payload(name))
    channel.log.append(frame(payload(name)), count=len(block.records))
    publish(channel, 1, 2)
    whole = asked_for(channel, block.first_seq).read()
    assert whole[:-2] == block.records
    for place in range(len(whole)):
        assert asked_for(channel, block.first_seq + place).read() == whole[place:]


def test_a_live_reader_gets_a_snapshot_first_and_a_resuming_reader_gets_none() -> None:
    channel = filled(3)
    live = JoinedSubscriber(channel, Request())
    assert [type(each) for each in live.read()] == [Snapshot]
    publish(channel, 4)
    assert numbers(live.read()) == [4]
    assert not [each for each in asked_for(channel, 2).read() if isinstance(each, Snapshot)]


def test_trades_between_the_greeting_and_the_request_arrive() -> None:
    channel = filled(3)
    place = place_in(channel)
    publish(channel, 4)
    place.start(Request())
    publish(channel, 5)
    records = Subscriber().receive(place.greeting + place.next_piece())
    assert ids(records) == [4, 5]


def test_a_start_at_the_oldest_gives_everything_and_reports_evicted_records() -> None:
    everything = JoinedSubscriber(filled(2, 3), Request(start=Start.OLDEST))
    assert numbers(everything.read()) == [1, 2, 3, 4, 5]
    channel = filled(*[10] * 60, log_bytes=4_000)
    lost, *rest = JoinedSubscriber(channel, Request(start=Start.OLDEST)).read()
    assert isinstance(lost, Loss)
    assert lost.reason is LossReason.EVICTED
    assert numbers([lost, *rest]) == list(range(1, 601))
    assert ids(rest)


def test_evicted_records_of_a_request_are_reported_first() -> None:
    channel = filled(*[10] * 60, log_bytes=4_000)
    lost, *rest = asked_for(channel, 7).read()
    assert isinstance(lost, Loss)
    assert (lost.first_seq, lost.reason) == (7, LossReason.EVICTED)
    assert numbers([lost, *rest]) == list(range(7, 601))


@pytest.mark.parametrize("epoch_ns", [0, 2])
def test_a_position_of_another_epoch_starts_at_the_beginning_of_this_one(epoch_ns: int) -> None:
    assert numbers(asked_for(filled(2, 3), 4, epoch_ns).read()) == [1, 2, 3, 4, 5]
    lost = asked_for(filled(*[10] * 60, log_bytes=4_000), 4, epoch_ns).read()[0]
    assert isinstance(lost, Loss)
    assert (lost.first_seq, lost.reason) == (1, LossReason.OTHER_EPOCH)


def test_a_start_beyond_the_next_number_is_refused() -> None:
    reader = asked_for(filled(3), 5)
    (end,) = reader.read()
    assert end == End(
        reason=EndReason.BAD_REQUEST,
        last_seq=3,
        retry_ms=None,
        why="number 5 is still to come: 4 is next",
    )
    assert reader.place.is_over


def test_a_start_at_the_next_number_is_accepted() -> None:
    channel = filled(3)
    reader = asked_for(channel, 4)
    assert reader.read() == []
    publish(channel, 4)
    assert numbers(reader.read()) == [4]


def test_old_blocks_arrive_with_the_header_they_were_encoded_with() -> None:
    channel = filled(2)
    finer = replace(BTC, price_exponent=-4)
    channel.change((finer, LIFE), HEADER.references)
    publish(channel, 3)
    for seq in (1, 2):
        trades = asked_for(channel, seq).read()
        prices = [each.price_text for each in trades if isinstance(each, Trade)]
        assert prices == ["0.06", "0.06", "0.0006"][seq - 1 :]
    assert numbers(asked_for(channel, 3).read()) == [3]


def test_a_reader_that_joins_after_the_end_gets_the_end() -> None:
    channel = filled(2)
    place = place_in(channel)
    channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
    place.start(Request(start=Position(epoch_ns=EPOCH_NS, seq=3)))
    subscriber = Subscriber()
    subscriber.ask(Position(epoch_ns=EPOCH_NS, seq=3))
    records = subscriber.receive(place.greeting + place.next_piece())
    assert [type(each) for each in records] == [End]


def test_a_lapped_reader_gets_a_loss_and_resumes_at_the_oldest_block() -> None:
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


def test_a_lapped_reader_resumes_live_if_the_log_is_too_old() -> None:
    channel = filled(log_bytes=4_000)
    reader = JoinedSubscriber(channel, Request(), max_lag_ms=-1)
    for first in range(1, 601, 10):
        publish(channel, first, 10)
    assert reader.read() == [Loss(first_seq=1, last_seq=600, reason=LossReason.SLOW)]
    publish(channel, 601)
    assert numbers(reader.read()) == list(range(1, 602))


def test_a_reader_that_resumes_live_gets_the_end() -> None:
    channel = filled(log_bytes=4_000)
    reader = JoinedSubscriber(channel, Request(), max_lag_ms=-1)
    for first in range(1, 601, 10):
        publish(channel, first, 10)
    channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
    assert [type(each) for each in reader.read()] == [Loss, End]


def test_a_lapped_reader_with_the_disconnect_policy_gets_its_last_number() -> None:
    channel = filled(2, log_bytes=4_000)
    reader = JoinedSubscriber(channel, Request(slow=SlowPolicy.DISCONNECT))
    publish(channel, 3, 2)
    reader.read()
    publish_bulk(channel, 10_000)
    end = reader.read()[-1]
    assert isinstance(end, End)
    assert (end.reason, end.last_seq, end.retry_ms) == (EndReason.SLOW, 4, 1_000)
    assert reader.place.is_over


def test_evicted_frames_without_numbers_are_no_loss() -> None:
    channel = filled(log_bytes=2_000)
    readers = [
        JoinedSubscriber(channel, Request(slow=slow), max_lag_ms=max_lag_ms)
        for slow in SlowPolicy
        for max_lag_ms in (60_000, -1)
    ]
    for trade_id in range(60):
        references = [replace(each, trade_id=trade_id) for each in HEADER.references]
        channel.change(HEADER.instruments, references)
    assert channel.log.oldest > 0
    publish(channel, 1)
    for reader in readers:
        assert [type(each) for each in reader.read()] == [Trade]
        assert reader.place.lost == 0


def test_a_piece_is_bounded_at_any_lag() -> None:
    channel = filled(1)
    reader = asked_for(channel, 1)
    publish_bulk(channel, 5 * CHUNK_BYTES)
    sizes = [len(each) for each in iter(reader.place.next_piece, b"")]
    assert len(sizes) > 5
    assert max(sizes) <= CHUNK_BYTES


def test_a_reader_can_resume_at_an_event() -> None:
    channel = filled(2)
    channel.publish_status(None, FeedState.DOWN, "gone")
    publish(channel, 4, 2)
    for seq in range(1, 6):
        assert numbers(asked_for(channel, seq).read()) == list(range(seq, 6))


def test_readers_from_every_start_get_the_same_trades() -> None:
    channel = filled(*itertools.islice(itertools.cycle([1, 7, 1_500, 2]), 12))
    last = channel.log.next_seq
    for seq in range(1, last + 1, 97):
        assert ids(asked_for(channel, seq).read()) == list(range(seq, last))


def test_a_reader_that_comes_after_the_end_gets_the_end() -> None:
    channel = filled(3)
    channel.end(EndReason.SHUTDOWN, retry_ms=5, why="over")
    for start in (Start.LIVE, Start.OLDEST):
        end = JoinedSubscriber(channel, Request(start=start)).read()[-1]
        assert isinstance(end, End)
        assert end.why == "over"
