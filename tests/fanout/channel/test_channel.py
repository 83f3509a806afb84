from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.protocol import (
    MAX_BLOCK_TRADES,
    BlockFlags,
    End,
    EndReason,
    FeedState,
    Gap,
    GapState,
    Snapshot,
    Status,
    Trade,
)
from tests.protocol.golden import BTC, HEADER, LIFE
from tests.stand import channels
from tests.stand.subscriber import LogSubscriber

new_channel = partial(channels.new_channel, wall_ns=77)


def trade(trade_id: int, instrument: object = BTC, time_ms: int = 10) -> Trade:
    return Trade(instrument, trade_id, time_ms, 20, 30, True)  # type: ignore[arg-type]


def publish(channel: Channel, *trades: Trade, flags: BlockFlags = BlockFlags.NONE) -> None:
    """Each in a block of its own."""
    for each in trades:
        channel.publish([each], received_ns=1, held_ns=1, flags=flags)


def trade_ids(reader: LogSubscriber) -> list[int]:
    """All that a reader gets: first those of its snapshot, then the stream's."""
    found: list[int] = []
    for each in reader.records():
        trades = each.trades if isinstance(each, Snapshot) else (each,)
        found += [trade.trade_id for trade in trades if isinstance(trade, Trade)]
    return found


def gap() -> Gap:
    return Gap(seq=0, instrument=BTC, first_id=1, last_id=2, state=GapState.OPEN)


def test_one_read_becomes_one_block() -> None:
    channel = new_channel()
    reader = LogSubscriber(channel)
    channel.publish([trade(1), trade(2), trade(3)], received_ns=5, held_ns=6)
    assert channel.log.end == 1
    got = reader.records()
    assert [(each.seq, each.received_ns) for each in got if isinstance(each, Trade)] == [
        (1, 5),
        (2, 5),
        (3, 5),
    ]


def test_an_empty_read_publishes_nothing() -> None:
    channel = new_channel()
    channel.publish([], received_ns=1, held_ns=1)
    assert channel.log.end == 0


@given(st.lists(st.booleans(), max_size=12))
def test_gaps_keep_their_order_between_trades(kinds: list[bool]) -> None:
    channel = new_channel()
    reader = LogSubscriber(channel)
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


def test_a_burst_that_exceeds_a_block_becomes_several_blocks() -> None:
    channel = new_channel()
    reader = LogSubscriber(channel)
    channel.publish([trade(i) for i in range(2 * MAX_BLOCK_TRADES + 1)], received_ns=1, held_ns=1)
    assert channel.blocks == 3
    assert len(reader.records()) == 2 * MAX_BLOCK_TRADES + 1


def test_a_joiner_gets_the_header_and_the_newest_trade_of_each_instrument() -> None:
    channel = new_channel()
    channel.seed([trade(1), trade(2, LIFE)])
    channel.publish([trade(3), trade(4)], received_ns=1, held_ns=1)
    reader = LogSubscriber(channel)
    (snapshot,) = reader.records()
    assert isinstance(snapshot, Snapshot)
    assert [each.trade_id for each in snapshot.trades] == [4, 2]
    assert reader.header is not None
    assert reader.header.next_seq == 3


def test_a_joiner_before_the_first_trade_gets_no_snapshot() -> None:
    assert LogSubscriber(new_channel()).records() == []


def test_a_trade_in_a_joiners_snapshot_is_not_published_again() -> None:
    """REST is ahead of the stream: it has shown the trades to 5, and the stream is at 3."""
    channel = new_channel()
    channel.seed([trade(5, time_ms=50)])
    reader = LogSubscriber(channel)
    publish(channel, *(trade(each, time_ms=10 * each) for each in (3, 4, 5, 6, 7)))
    assert trade_ids(reader) == [5, 6, 7]
    assert channel.preceding == 3
    assert channel.log.next_seq == 3


def test_without_joiners_a_seed_suppresses_no_trade() -> None:
    channel = new_channel()
    channel.seed([trade(5, time_ms=50)])
    publish(channel, *(trade(each, time_ms=10 * each) for each in (3, 4, 5, 6)))
    assert channel.preceding == 0
    assert trade_ids(LogSubscriber(channel)) == [6]
    assert channel.log.next_seq == 5


def test_a_joiner_while_the_stream_is_behind_the_seed_gets_each_trade_once() -> None:
    channel = new_channel()
    channel.seed([trade(5, time_ms=50)])
    publish(channel, trade(3, time_ms=30))
    reader = LogSubscriber(channel)
    publish(channel, *(trade(each, time_ms=10 * each) for each in (4, 5, 6)))
    assert trade_ids(reader) == [3, 4, 5, 6]


def test_a_seed_suppresses_trades_of_its_own_instrument_only() -> None:
    channel = new_channel()
    channel.seed([trade(5, time_ms=50)])
    reader = LogSubscriber(channel)
    publish(channel, trade(1, LIFE, time_ms=10), trade(4, time_ms=40), trade(6, time_ms=60))
    assert trade_ids(reader) == [5, 1, 6]


def test_newer_trades_with_ids_below_the_seed_are_published() -> None:
    channel = new_channel()
    channel.seed([trade(5_000, time_ms=50)])
    reader = LogSubscriber(channel)
    publish(channel, trade(1, time_ms=51), trade(2, time_ms=52))
    assert trade_ids(reader) == [5_000, 1, 2]


def test_a_late_trade_after_the_first_published_one_is_published() -> None:
    channel = new_channel()
    channel.seed([trade(5, time_ms=50)])
    reader = LogSubscriber(channel)
    publish(channel, trade(6, time_ms=60), trade(4, time_ms=40))
    assert trade_ids(reader) == [5, 6, 4]


def test_a_seed_suppresses_no_gap_and_no_back_filled_trade() -> None:
    channel = new_channel()
    channel.seed([trade(5, time_ms=50)])
    reader = LogSubscriber(channel)
    channel.publish([gap()], received_ns=1, held_ns=1)
    publish(channel, trade(1), trade(2), flags=BlockFlags.BACK_FILLED)
    assert channel.events == 1
    assert trade_ids(reader) == [5, 1, 2]


def test_a_snapshot_keeps_the_trade_of_an_instrument_whose_tick_changes() -> None:
    channel = new_channel()
    publish(channel, trade(6))
    coarser = [replace(each, tick=each.tick + 5) for each in HEADER.instruments]
    channel.change(coarser, HEADER.references)
    assert trade_ids(LogSubscriber(channel)) == [6]


@pytest.mark.parametrize(("seed_id", "shown"), [(6, [6]), (7, []), (5, [5])])
def test_in_mid_stream_a_snapshot_shows_only_a_seed_that_the_stream_has_passed(
    seed_id: int, shown: list[int]
) -> None:
    channel = new_channel()
    publish(channel, trade(6, time_ms=60))
    finer = [replace(each, price_exponent=each.price_exponent - 1) for each in HEADER.instruments]
    channel.change(finer, HEADER.references)
    channel.seed([trade(seed_id, time_ms=10 * seed_id)])
    reader = LogSubscriber(channel)
    publish(channel, trade(7, time_ms=70), trade(8, time_ms=80))
    assert trade_ids(reader) == [*shown, 7, 8]
    assert channel.preceding == 0


def test_a_new_header_applies_from_the_next_trade_on() -> None:
    channel = new_channel()
    reader = LogSubscriber(channel)
    channel.publish([trade(1)], received_ns=1, held_ns=1)
    finer = replace(BTC, price_exponent=-4)
    channel.change((finer, LIFE), HEADER.references)
    assert LogSubscriber(channel).records() == []
    channel.publish([trade(2, finer)], received_ns=1, held_ns=1)
    got = [each for each in reader.records() if isinstance(each, Trade)]
    assert [(each.seq, each.price_text) for each in got] == [(1, "0.20"), (2, "0.0020")]
    joiner = LogSubscriber(channel)
    (snapshot,) = joiner.records()
    assert isinstance(snapshot, Snapshot)
    assert snapshot.trades[0].price_text == "0.0020"


def test_a_status_has_a_number_and_its_start_time() -> None:
    channel = new_channel()
    reader = LogSubscriber(channel)
    channel.publish_status(None, FeedState.DOWN, "é" * 300)
    (status,) = reader.records()
    assert isinstance(status, Status)
    assert (status.seq, status.since_ns, status.instrument) == (1, 77, None)
    assert status.why == "é" * 127


def test_the_end_has_the_last_number_and_closes_the_log() -> None:
    channel = new_channel()
    reader = LogSubscriber(channel)
    channel.publish([trade(1)], received_ns=1, held_ns=1)
    channel.end(EndReason.SHUTDOWN, retry_ms=5, why="done")
    assert channel.log.closed
    assert reader.records()[-1] == End(
        reason=EndReason.SHUTDOWN, last_seq=1, retry_ms=5, why="done"
    )


@pytest.mark.parametrize("why", ["", "\ud800 half a character"])
def test_a_status_accepts_any_text(why: str) -> None:
    channel = new_channel()
    channel.publish_status(None, FeedState.DOWN, why)
    assert channel.events == 1
