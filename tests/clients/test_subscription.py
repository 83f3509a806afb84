"""What the clients share, without any connection."""

import msgspec

from fanout.clients.subscription import Subscription
from fanout.clients.wanted import Wanted
from fanout.protocol import BookUpdate, Instrument, OrderUpdate, Position, Quote, Record, Snapshot
from fanout.protocol.header import opening as header_frames
from tests.protocol.golden import BTC, HEADER, LIFE, payload
from tests.protocol.test_session import SNAPSHOT, block, book, frame, opening, quotes


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


def test_quotes_and_books_are_filtered_by_symbol_alone() -> None:
    def records_of(each: Instrument) -> list[Record]:
        sides = (each, 1, 2, b"", b"")
        return [Quote(each, 1, 2, 3, 4, 5, 6), BookUpdate(*sides), OrderUpdate(*sides)]

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
    never_changed |= {"ready", "_session", "_longest_pause_s"}
    subscriber.receive(opening(1_001))
    before, mark = vars(subscriber).copy(), subscriber.mark()
    subscriber.receive(block(1_001, 2))
    for name in before.keys() - never_changed:
        setattr(subscriber, name, object())
    subscriber.return_to(mark)
    assert vars(subscriber) == before
    assert not subscriber.ready
    assert subscriber.position == Position(epoch_ns=7, seq=1_001)
