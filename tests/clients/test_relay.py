"""Whole frames for who passes a channel on, each with its records."""

import pytest
from msgspec.structs import replace

from fanout.clients.outcomes import Disconnected, DisconnectedError, Restarted
from fanout.clients.relay import Passed, RelayedSubscription, Relaying
from fanout.clients.tcp import TcpClient
from fanout.protocol import (
    Gap,
    Header,
    Loss,
    MalformedError,
    Position,
    Request,
    Snapshot,
    Status,
    Trade,
    encode_changes,
)
from fanout.protocol.constants import LENGTH_BYTES, FrameKind
from fanout.protocol.framing import payloads_of
from tests.protocol.golden import HEADER, payload
from tests.protocol.test_session import block, frame, gap, heartbeat, opening, status, unknown


def subscription(start: Position | None = None) -> RelayedSubscription:
    request = Request() if start is None else Request(start=start)
    made = RelayedSubscription("tcp://127.0.0.1:9", reconnect=True, request=request)
    made.request()
    return made


def passed(its: RelayedSubscription) -> list[Passed]:
    taken = [each for each in its.ready if isinstance(each, Passed)]
    its.ready.clear()
    return taken


def test_each_frame_comes_with_its_records() -> None:
    its = subscription()
    data = opening() + block(1, 2) + status(3) + unknown() + heartbeat(4)
    for place in range(0, len(data), 7):
        assert its.receive(data[place : place + 7]) in (True, False)
    header, trades, told, beat = passed(its)
    assert list(header.records) == []
    assert isinstance(header.header, Header)
    assert payloads_of(block(1, 2)) == [trades.payload]
    assert [type(each) for each in trades.records] == [Trade, Trade]
    assert [type(each) for each in told.records] == [Status]
    assert (trades.first_seq, told.first_seq, beat.first_seq) == (1, 3, None)
    with pytest.raises(DisconnectedError):
        its.receive(b"")


def test_what_a_frame_shows_to_be_missing_comes_before_its_records() -> None:
    its = subscription()
    its.receive(opening() + block(1) + block(5))
    last = passed(its)[-1]
    loss, trade = last.records
    assert isinstance(loss, Loss)
    assert (loss.first_seq, loss.last_seq, last.first_seq) == (2, 4, 2)
    assert isinstance(trade, Trade)


def test_a_change_of_the_header_is_passed_without_records() -> None:
    its = subscription()
    changed = replace(
        HEADER, references=(replace(HEADER.references[0], time=1), *HEADER.references[1:])
    )
    (change,) = encode_changes(HEADER, changed)
    its.receive(opening() + block(1) + frame(change) + block(2))
    _, first, change_of_header, second = passed(its)
    assert change_of_header.payload[0] == FrameKind.INSTRUMENTS
    assert list(change_of_header.records) == []
    assert first.header.references[0].time != 1
    assert change_of_header.header.references[0].time == 1
    assert second.header is change_of_header.header


def test_what_was_held_back_is_no_part_of_the_frame_that_lets_it_go() -> None:
    """After a restart a snapshot is held back until a number shows that another epoch is served."""
    its = subscription(Position(epoch_ns=3, seq=9))
    its.receive(opening() + frame(payload("snapshot")))
    assert [list(each.records) for each in passed(its)] == [[]]
    its.receive(gap(1))
    restarted = its.ready.popleft()
    assert isinstance(restarted, Restarted)
    held, told = passed(its)
    assert (held.payload, [type(each) for each in held.records]) == (b"", [Snapshot])
    assert held.first_seq is None
    assert payloads_of(gap(1)) == [told.payload]
    assert [type(each) for each in told.records] == [Gap]


def test_a_frame_that_breaks_the_wire_leaves_the_records_before_it() -> None:
    its = subscription()
    with pytest.raises(MalformedError):
        its.receive(opening() + block(1) + frame(b"\x10") + block(2))
    assert [each.first_seq for each in passed(its)] == [None, 1]
    its.disconnected(DisconnectedError("cut"))
    assert [type(each) for each in its.ready] == [Disconnected]
    its.ready.clear()
    its.request()
    its.receive(opening(2) + block(2))
    assert [each.first_seq for each in passed(its)] == [None, 2]


def test_half_a_frame_is_forgotten_with_its_step() -> None:
    its = subscription()
    its.receive(opening() + block(1))
    passed(its)
    mark = its.mark()
    its.receive(block(2)[: LENGTH_BYTES + 3])
    its.return_to(mark)
    its.receive(block(2))
    assert [each.first_seq for each in passed(its)] == [2]


def test_a_client_that_relays_is_made_of_two_classes() -> None:
    class Relay(Relaying, TcpClient):
        pass

    with Relay("tcp://127.0.0.1:9") as client:
        assert isinstance(client._subscription, RelayedSubscription)
