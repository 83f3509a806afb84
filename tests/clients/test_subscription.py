"""What the clients share, without any connection."""

import msgspec

from fanout.clients.subscription import Subscription
from fanout.clients.wanted import Wanted
from fanout.protocol import Position, Snapshot
from fanout.protocol.header import opening as header_frames
from tests.protocol.golden import HEADER, LIFE, payload
from tests.protocol.test_session import block, frame, opening


def test_an_unread_snapshot_does_not_change_the_position() -> None:
    subscriber = Subscription("tcp://127.0.0.1:9", reconnect=True)
    subscriber.receive(opening(1_001) + frame(payload("snapshot")) + block(1_001, 2))
    assert isinstance(subscriber.ready[0], Snapshot)
    assert subscriber.position == Position(epoch_ns=7, seq=1_001)
    subscriber.ready.clear()
    assert subscriber.position == Position(epoch_ns=7, seq=1_003)


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
