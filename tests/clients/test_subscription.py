"""What the clients share, without any connection."""

from fanout.clients.subscription import Subscription
from fanout.protocol import Position, Snapshot
from tests.protocol.golden import payload
from tests.protocol.test_session import block, frame, opening


def test_the_place_of_who_has_a_snapshot_to_read_is_that_of_the_trade_behind_it() -> None:
    subscriber = Subscription("tcp://127.0.0.1:9", reconnect=True)
    subscriber.receive(opening(1_001) + frame(payload("snapshot")) + block(1_001, 2))
    assert isinstance(subscriber.ready[0], Snapshot)
    assert subscriber.position == Position(epoch_ns=7, seq=1_001)
    subscriber.ready.clear()
    assert subscriber.position == Position(epoch_ns=7, seq=1_003)


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
