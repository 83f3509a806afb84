import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.protocol import (
    MAX_BLOCK_TRADES,
    End,
    EndReason,
    FeedState,
    Gap,
    GapState,
    Header,
    Record,
    Snapshot,
    Status,
    SubscriberSession,
    Trade,
)
from tests.protocol.golden import BTC, HEADER, LIFE


class Reader:
    """A subscriber that reads the channel's log."""

    def __init__(self, channel: Channel) -> None:
        self._log = channel.log
        self._cursor = channel.log.live()
        self._session = SubscriberSession()
        self._session.receive(channel.greeting() + channel.snapshot())

    @property
    def header(self) -> Header | None:
        return self._session.header

    def records(self) -> list[Record]:
        data = self._log.read(self._cursor, 10**9)
        assert isinstance(data, bytes)
        self._session.receive(data)
        found: list[Record] = []
        while (more := self._session.next_records()) is not None:
            found += more
        return found


def new_channel() -> Channel:
    return Channel(
        Header(
            epoch_ns=1,
            next_seq=1,
            venue="test",
            instruments=HEADER.instruments,
            references=HEADER.references,
        ),
        log_bytes=10_000_000,
        wall_ns=lambda: 77,
    )


def trade(trade_id: int, instrument: object = BTC) -> Trade:
    return Trade(instrument, trade_id, 10, 20, 30, True)  # type: ignore[arg-type]


def gap() -> Gap:
    return Gap(seq=0, instrument=BTC, first_id=1, last_id=2, state=GapState.OPEN)


def test_one_read_becomes_one_block() -> None:
    channel = new_channel()
    reader = Reader(channel)
    channel.publish([trade(1), trade(2), trade(3)], received_ns=5, held_ns=6)
    assert channel.log.end == 1
    got = reader.records()
    assert [(each.seq, each.received_ns) for each in got if isinstance(each, Trade)] == [
        (1, 5),
        (2, 5),
        (3, 5),
    ]


def test_nothing_is_published_for_nothing() -> None:
    channel = new_channel()
    channel.publish([], received_ns=1, held_ns=1)
    assert channel.log.end == 0


@given(st.lists(st.booleans(), max_size=12))
def test_gaps_keep_their_place_between_trades(kinds: list[bool]) -> None:
    channel = new_channel()
    reader = Reader(channel)
    channel.publish(
        [trade(place) if is_trade else gap() for place, is_trade in enumerate(kinds)],
        received_ns=1,
        held_ns=1,
    )
    got = reader.records()
    assert [isinstance(each, Trade) for each in got] == kinds
    assert [each.seq for each in got if isinstance(each, Trade | Gap)] == list(
        range(1, len(kinds) + 1)
    )


def test_a_burst_of_more_trades_than_a_block_holds_becomes_several() -> None:
    channel = new_channel()
    reader = Reader(channel)
    channel.publish([trade(i) for i in range(2 * MAX_BLOCK_TRADES + 1)], received_ns=1, held_ns=1)
    assert channel.blocks == 3
    assert len(reader.records()) == 2 * MAX_BLOCK_TRADES + 1


def test_a_joiner_gets_the_header_and_the_newest_trade_of_each_instrument() -> None:
    channel = new_channel()
    channel.seed([trade(1), trade(2, LIFE)])
    channel.publish([trade(3), trade(4)], received_ns=1, held_ns=1)
    reader = Reader(channel)
    (snapshot,) = reader.records()
    assert isinstance(snapshot, Snapshot)
    assert [each.trade_id for each in snapshot.trades] == [4, 2]
    assert reader.header is not None
    assert reader.header.next_seq == 3


def test_a_joiner_before_the_first_trade_gets_no_snapshot() -> None:
    assert Reader(new_channel()).records() == []


def test_a_new_header_counts_from_the_next_trade_on() -> None:
    channel = new_channel()
    reader = Reader(channel)
    channel.publish([trade(1)], received_ns=1, held_ns=1)
    finer = replace(BTC, price_exponent=-4)
    channel.change((finer, LIFE), HEADER.references)
    assert Reader(channel).records() == []
    channel.publish([trade(2, finer)], received_ns=1, held_ns=1)
    got = [each for each in reader.records() if isinstance(each, Trade)]
    assert [(each.seq, each.price_text) for each in got] == [(1, "0.20"), (2, "0.0020")]
    joiner = Reader(channel)
    (snapshot,) = joiner.records()
    assert isinstance(snapshot, Snapshot)
    assert snapshot.trades[0].price_text == "0.0020"


def test_a_status_is_numbered_and_says_since_when() -> None:
    channel = new_channel()
    reader = Reader(channel)
    channel.publish_status(None, FeedState.DOWN, "é" * 300)
    (status,) = reader.records()
    assert isinstance(status, Status)
    assert (status.seq, status.since_ns, status.instrument) == (1, 77, None)
    assert status.why == "é" * 127


def test_the_end_says_the_last_number_and_closes_the_log() -> None:
    channel = new_channel()
    reader = Reader(channel)
    channel.publish([trade(1)], received_ns=1, held_ns=1)
    channel.end(EndReason.SHUTDOWN, retry_ms=5, why="done")
    assert channel.log.closed
    assert reader.records()[-1] == End(
        reason=EndReason.SHUTDOWN, last_seq=1, retry_ms=5, why="done"
    )


@pytest.mark.parametrize("why", ["", "\ud800 half a character"])
def test_any_words_can_be_said(why: str) -> None:
    channel = new_channel()
    channel.publish_status(None, FeedState.DOWN, why)
    assert channel.events == 1
