"""What the clients share, without any connection."""

import msgspec
import pytest

from fanout.clients.outcomes import Disconnected, DisconnectedError, Restarted
from fanout.clients.subscription import Subscription
from fanout.clients.wanted import Wanted
from fanout.protocol import (
    BookUpdate,
    End,
    EndReason,
    FeatureRow,
    Instrument,
    Loss,
    LossReason,
    Moment,
    OrderUpdate,
    Position,
    Quote,
    Record,
    Request,
    Snapshot,
    Start,
    Trade,
    decode_request,
    encode_event,
)
from fanout.protocol.constants import LENGTH_BYTES, START, U64_MAX
from fanout.protocol.errors import NotHeardError
from fanout.protocol.feature_block import encode_features
from fanout.protocol.header import opening as header_frames
from fanout.protocol.request import Begin
from tests.protocol.golden import BTC, FEATURES, HEADER, LIFE, ROWS_HEADER, payload
from tests.protocol.test_session import (
    SNAPSHOT,
    block,
    book,
    end,
    frame,
    heartbeat,
    opening,
    quotes,
)


def test_an_unread_snapshot_does_not_change_the_position() -> None:
    subscriber = Subscription("tcp://127.0.0.1:9", reconnect=True)
    subscriber.receive(opening(1_001) + frame(payload("snapshot")) + block(1_001, 2))
    assert isinstance(subscriber.ready[0], Snapshot)
    assert subscriber.position == Position(epoch_ns=7, seq=1_001)
    subscriber.ready.clear()
    assert subscriber.position == Position(epoch_ns=7, seq=1_003)


def test_unread_quotes_and_books_of_a_snapshot_do_not_change_the_position() -> None:
    subscriber = Subscription("tcp://127.0.0.1:9", reconnect=True)
    subscriber.receive(opening(1_001) + book(1_001, 2, SNAPSHOT) + quotes(1, 1, SNAPSHOT))
    subscriber.receive(book(1_001, 2) + quotes(1_003))
    for seq in (0, 0, 0, 1_001, 1_002, 1_003):
        assert subscriber.position == Position(epoch_ns=7, seq=max(seq, 1_001))
        record = subscriber.ready.popleft()
        assert isinstance(record, Quote | BookUpdate)
        assert record.seq == seq
    assert subscriber.position == Position(epoch_ns=7, seq=1_004)


def test_unread_rows_of_features_move_the_position_as_they_are_taken() -> None:
    subscriber = Subscription("tcp://127.0.0.1:9", reconnect=True)
    snapshot = msgspec.structs.replace(FEATURES, flags=SNAPSHOT, received_ns=0)
    blocks = [encode_features(each, ROWS_HEADER) for each in (snapshot, FEATURES)]
    subscriber.receive(frame(START) + header_frames(ROWS_HEADER) + b"".join(map(frame, blocks)))
    for seq in (0, 0, 0, 1_001, 1_002, 1_003):
        assert subscriber.position == Position(epoch_ns=ROWS_HEADER.epoch_ns, seq=max(seq, 1_001))
        record = subscriber.ready.popleft()
        assert isinstance(record, FeatureRow)
        assert record.seq == seq
    assert subscriber.statistics.updates == 3


def test_quotes_and_books_are_filtered_by_symbol_alone() -> None:
    def records_of(each: Instrument) -> list[Record]:
        sides = (each, 1, 2, b"", b"")
        row = FeatureRow(each, 5, (1.5,), bytes(1))
        return [Quote(each, 1, 2, 3, 4, 5, 6), BookUpdate(*sides), OrderUpdate(*sides), row]

    of_life = records_of(LIFE)
    records = [*records_of(BTC), *of_life]
    assert Wanted.of([LIFE.symbol], market_only=True).select(records) == of_life
    assert Wanted.of([], market_only=True).select(records) == records


def test_a_header_in_mid_stream_may_lack_a_symbol_that_the_caller_wants() -> None:
    wanted = Wanted.of([LIFE.symbol], market_only=False)
    subscriber = Subscription("tcp://127.0.0.1:9", reconnect=True, wanted=wanted)
    subscriber.receive(opening(1) + block(1))
    older = msgspec.structs.replace(
        HEADER,
        epoch_ns=7,
        next_seq=2,
        instruments=HEADER.instruments[:1],
        references=HEADER.references[:1],
    )
    subscriber.receive(header_frames(older))
    assert subscriber.failure is None
    assert subscriber.header == older


def test_a_subscription_returns_to_a_mark_with_every_attribute_that_changes() -> None:
    subscriber = Subscription("tcp://127.0.0.1:9", reconnect=True)
    never_changed = {"_url", "_reconnect", "_request", "_resume", "_wanted", "_uniform"}
    never_changed |= {"ready", "_session", "_longest_pause_s", "_wants_everything"}
    subscriber.receive(opening(1_001))
    before, mark = vars(subscriber).copy(), subscriber.mark()
    subscriber.receive(block(1_001, 2))
    for name in before.keys() - never_changed:
        setattr(subscriber, name, object())
    subscriber.return_to(mark)
    assert vars(subscriber) == before
    assert not subscriber.ready
    assert subscriber.position == Position(epoch_ns=7, seq=1_001)


def test_a_late_loss_does_not_take_the_position_back() -> None:
    subscriber = Subscription("tcp://127.0.0.1:9", reconnect=True)
    subscriber.receive(opening(1_001) + block(1_001, 2))
    subscriber.ready.clear()
    subscriber.pass_over(1_005)
    mark = subscriber.mark()
    late = Loss(first_seq=1_001, last_seq=1_002, reason=LossReason.EVICTED)
    for _ in range(2):
        subscriber.lose_late(late)
        subscriber.receive(block(1_005, 1))
        subscriber.pass_over(1_003)
        assert subscriber.position == Position(epoch_ns=7, seq=1_005)
        assert [subscriber.ready.popleft(), subscriber.lost] == [late, 2]
        subscriber.lose_late(Loss(first_seq=1_003, last_seq=1_003, reason=LossReason.EVICTED))
        assert (subscriber.state.late, subscriber.lost) == ((subscriber.ready[-1],), 3)
        subscriber.ready.clear()
        subscriber.return_to(mark)


def asked(subscriber: Subscription) -> Begin:
    """Where the next connection asks to begin."""
    return decode_request(subscriber.request()[LENGTH_BYTES:]).start


def over(last_seq: int) -> bytes:
    end = End(reason=EndReason.EPOCH_OVER, last_seq=last_seq, retry_ms=0, why="all sent")
    return frame(encode_event(end))


def disconnect(subscriber: Subscription) -> None:
    with pytest.raises(DisconnectedError) as raised:
        subscriber.receive(b"")
    subscriber.disconnected(raised.value)


def begun(start: Begin, *, resume: bool = True, reconnect: bool = True) -> Subscription:
    request = Request(start=start)
    subscriber = Subscription(
        "tcp://127.0.0.1:9", reconnect=reconnect, request=request, resume=resume
    )
    assert asked(subscriber) == start
    return subscriber


def test_behind_the_end_of_an_epoch_the_client_asks_at_once_for_the_next_one() -> None:
    subscriber = begun(Position(epoch_ns=7, seq=3))
    subscriber.receive(opening(3) + block(3, 2) + over(4))
    disconnect(subscriber)
    assert subscriber.ready.pop() == Disconnected(why="the service ended: all sent", pause_s=0)
    subscriber.ready.clear()
    place = Position(epoch_ns=7, seq=5)
    for _ in range(2):  # an attempt that reaches nobody changes nothing
        assert subscriber.position == place
        assert asked(subscriber) == Position(epoch_ns=8, seq=1)
        subscriber.disconnected(OSError("refused"))
        assert subscriber.state.pause_s > 0
    subscriber.ready.clear()
    asked(subscriber)
    subscriber.receive(opening(1, epoch_ns=9) + block(1))
    restarted, trade = subscriber.ready
    assert restarted == Restarted(before=place, epoch_ns=9)
    assert isinstance(trade, Trade)
    disconnect(subscriber)
    assert asked(subscriber) == Position(epoch_ns=9, seq=2)
    assert subscriber.statistics.lost == 0


def test_a_client_that_is_ahead_of_what_was_kept_loses_nothing() -> None:
    subscriber = begun(Position(epoch_ns=7, seq=9))
    subscriber.receive(opening(9) + over(8))
    assert subscriber.position == Position(epoch_ns=7, seq=9)
    disconnect(subscriber)
    assert subscriber.state.pause_s == 0
    assert asked(subscriber) == Position(epoch_ns=8, seq=1)


def test_without_a_journal_the_next_epoch_begins_with_a_loss_as_before() -> None:
    subscriber = begun(Position(epoch_ns=7, seq=3))
    subscriber.receive(opening(3) + over(2))
    disconnect(subscriber)
    asked(subscriber)
    gone = Loss(first_seq=1, last_seq=4, reason=LossReason.OTHER_EPOCH)
    subscriber.receive(opening(9, epoch_ns=9) + frame(encode_event(gone)) + block(5))
    assert subscriber.ready[-2] == gone


def test_a_service_that_ends_the_same_epoch_again_and_again_is_asked_with_pauses() -> None:
    subscriber = begun(Position(epoch_ns=U64_MAX, seq=3))
    for attempt in range(3):
        subscriber.receive(opening(3, epoch_ns=U64_MAX) + over(2))
        disconnect(subscriber)
        assert (subscriber.state.pause_s > 0) == (attempt > 0)
        assert asked(subscriber) == Position(epoch_ns=U64_MAX, seq=1)


def test_without_resume_or_reconnect_no_next_epoch_is_asked_for() -> None:
    place = Position(epoch_ns=7, seq=3)
    live = begun(place, resume=False)
    once = begun(place, reconnect=False)
    for each in (live, once):
        each.receive(opening(3) + block(3) + over(3))
        disconnect(each)
    assert asked(live) is Start.LIVE
    assert once.state.is_over
    assert isinstance(once.ready[-1], End)


def test_a_client_asks_for_a_time_until_the_first_number_has_come() -> None:
    moment = Moment(time_ns=5)
    subscriber = begun(moment)
    for frames in (b"", frame(payload("snapshot")), end(8)):
        subscriber.receive(opening(9) + frames)
        assert subscriber.position is None
        disconnect(subscriber)
        assert asked(subscriber) == moment
    subscriber.receive(opening(9) + heartbeat(4))
    disconnect(subscriber)
    assert asked(subscriber) == Position(epoch_ns=7, seq=4)
    assert subscriber.statistics.lost == 0


def test_a_refusal_under_the_header_of_a_later_epoch_changes_no_position() -> None:
    """A crowded service refuses before it reads the request, and greets with its present epoch."""
    place = Position(epoch_ns=7, seq=3)
    subscriber = begun(place)
    full = frame(encode_event(End(reason=EndReason.FULL, last_seq=4, retry_ms=5, why="full")))
    for _ in range(2):
        subscriber.receive(opening(5, epoch_ns=9) + full)
        disconnect(subscriber)
        assert not [each for each in subscriber.ready if isinstance(each, Restarted)]
        assert subscriber.position == asked(subscriber) == place
    subscriber.ready.clear()
    subscriber.receive(opening(3) + block(3) + over(3))
    disconnect(subscriber)
    assert asked(subscriber) == Position(epoch_ns=8, seq=1)
    subscriber.receive(opening(5, epoch_ns=9) + full)
    disconnect(subscriber)
    assert asked(subscriber) == Position(epoch_ns=8, seq=1)


def test_an_epoch_without_records_is_passed_over() -> None:
    subscriber = begun(Position(epoch_ns=7, seq=3))
    subscriber.receive(opening(1, epoch_ns=9) + over(0))
    assert subscriber.ready[0] == Restarted(before=Position(epoch_ns=7, seq=3), epoch_ns=9)
    disconnect(subscriber)
    assert asked(subscriber) == Position(epoch_ns=10, seq=1)


def test_a_snapshot_of_another_epoch_is_handed_over_once_that_epoch_is_certain() -> None:
    place = Position(epoch_ns=7, seq=3)
    subscriber = begun(place)
    snapshot = frame(payload("snapshot"))
    subscriber.receive(opening(5, epoch_ns=9) + snapshot + quotes(1, 1, SNAPSHOT))
    assert not subscriber.ready
    assert subscriber.position == place
    with pytest.raises(NotHeardError) as raised:
        subscriber.receive(heartbeat(5))
    subscriber.disconnected(raised.value)
    assert subscriber.position == asked(subscriber) == place
    subscriber.ready.clear()
    subscriber.receive(opening(5, epoch_ns=9) + snapshot + end(4))
    assert [type(each) for each in subscriber.ready] == [End]
    disconnect(subscriber)
    assert asked(subscriber) == place
    subscriber.ready.clear()
    subscriber.receive(opening(5, epoch_ns=9) + snapshot + block(1))
    assert [type(each) for each in subscriber.ready] == [Restarted, Snapshot, Trade]


def test_a_client_that_asks_for_the_newest_records_is_certain_at_once() -> None:
    subscriber = begun(Position(epoch_ns=7, seq=3), resume=False)
    subscriber.receive(opening(3) + block(3))
    disconnect(subscriber)
    subscriber.ready.clear()
    assert asked(subscriber) is Start.LIVE
    subscriber.receive(opening(1, epoch_ns=9) + frame(payload("snapshot")))
    assert [type(each) for each in subscriber.ready] == [Restarted, Snapshot]
