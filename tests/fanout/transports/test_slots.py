"""What a program finds in the ring of slots, whatever the channel and the program do."""

import errno
import os
import random
import struct
from fractions import Fraction
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from fanout.channel.reader import CHUNK_BYTES
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.errors import ConfigError
from fanout.protocol import DataKinds, EndReason, FeedState, Trade
from fanout.protocol.book_records import OrderUpdate, pack_orders
from fanout.protocol.constants import BlockFlags, BookFlags, LossReason, Side
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.orders_book import OrdersBook
from fanout.protocol.records import Loss
from fanout.protocol.slots import DELETE, FILE_BYTES, SLOT_COUNT
from fanout.simulator import SimulatorConfig
from fanout.transports.slots.openings import Openings
from fanout.transports.slots.transport import GONE_S, SETTLE_S, SlotsTransport
from fanout.transports.tcp.config import TcpConfig
from fanout.venues.bitfinex.book import read_orders
from fanout.venues.bitfinex.messages import decode
from tests.stand.inside import one_source, running_service, running_simulator
from tests.stand.slot_ring import (
    BTC,
    ETH,
    ONE,
    ZERO,
    Feeder,
    Orders,
    Program,
    channel_of,
    config,
    fill,
    orders_of,
    program,
    serving,
    serving_far_on,
)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_trades_are_written_as_they_come(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path) as served:
        assert served.url == "slots://hft_ring"
        with program(tmp_path) as reading:
            sold = Trade(BTC, 1_700_000_001, 1, 6_432_129 * 10**6, ONE // 2, True)
            feeder.publish(sold)
            await settle()
            raw = (tmp_path / "hft_ring").read_bytes()
            assert raw[128:160].hex() == (
                "01f153650000000020a107000000000081256200000000000100010000000000"
            )
            for each in range(5):
                feeder.trade(each)
            await settle()
            reading.read()
            assert reading.trade_ids == [1_700_000_001, 0, 1, 2, 3, 4]
    assert served.counts.trades == 6


async def test_what_is_little_is_written_before_its_publisher_goes_on(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path):
        with program(tmp_path) as reading:
            feeder.whole({1: (99, 5)}, {})
            await settle()
            feeder.change({2: (98, 6)})
            assert reading.has({1: (99, 5), 2: (98, 6)}, {})
            await settle()
            feeder.trade(7)
            reading.read()
            assert reading.trade_ids == [7]
            await settle()
            feeder.whole({3: (97, 4)}, {})
            assert reading.has({1: (99, 5), 2: (98, 6)}, {})
            await settle()
            assert reading.has({3: (97, 4)}, {})


async def test_a_burst_is_written_whole_and_in_order(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    async with serving(channel, tmp_path) as served:
        with program(tmp_path) as reading:
            for first in range(0, 10_000, 1_000):
                numbers = range(first, first + 1_000)
                Feeder(channel).publish(
                    *(Trade(BTC, each, 1, each % 7 * ONE, each * ONE, False) for each in numbers)
                )
            assert channel.log.appended_bytes > 2 * CHUNK_BYTES
            await settle()
            reading.read()
            assert reading.trade_ids == list(range(10_000))
            assert served.counts.dropped == 0


async def test_the_whole_book_is_written_and_what_changes_then(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path):
        with program(tmp_path) as reading:
            feeder.whole({1: (99, 5), 2: (98, 6)}, {3: (101, 7)})
            await settle()
            assert reading.has({1: (99, 5), 2: (98, 6)}, {3: (101, 7)})
            feeder.change({2: (97, 4), 4: (98, 1)}, {3: (0, 0), 5: (102, 2)})
            await settle()
            read = [(each.id, each.action) for each in reading.read()]
            assert read == [(2, 0), (4, 0), (3, DELETE), (5, 0)]
            assert reading.has({1: (99, 5), 2: (97, 4), 4: (98, 1)}, {5: (102, 2)})


async def test_rows_of_bitfinex_become_the_slots_of_its_feeder(tmp_path: Path) -> None:
    """The id is the first element of an R0 row, the price the second, the signed amount the third;
    price 0 removes the order. A trade's row is ID, MTS, AMOUNT, PRICE."""
    channel = channel_of(BTC)
    whole = b"[[34753002978,7294.7,1.543],[34753002979,7295.15,-0.2]]"
    changes = [b"[34753002980,7294,0.000001]", b"[34753002978,0,1]", b"[34753002979,0,-1]"]
    async with serving(channel, tmp_path):
        book = channel.books.any_of(0)
        assert isinstance(book, OrdersBook)
        for number, message in enumerate([whole, *changes]):
            rows = decode(message) if number == 0 else [decode(message)]
            update = read_orders(rows, BTC, number + 1, 0, whole=number == 0)
            book.apply(update)
            channel.publish([update], received_ns=1, held_ns=1)
            await settle()
    raw = (tmp_path / "hft_ring").read_bytes()
    assert raw[:8] == (6).to_bytes(8, "little")  # the last deletes what is left, at the end
    assert [raw[at : at + 32] for at in range(128, 128 + 6 * 32, 32)] == [
        struct.pack("<QQqbbbB4x", *each)
        for each in (
            (34753002978, 1_543_000, 729_470, 0, 0, 0, 0),
            (34753002979, 200_000, 729_515, 1, 0, 0, 0),
            (34753002980, 1, 729_400, 0, 0, 0, 0),
            (34753002978, 1_000_000, 0, 0, 1, 0, 0),
            (34753002979, 1_000_000, 0, 1, 1, 0, 0),
            (34753002980, 1_000_000, 0, 0, 1, 0, 0),
        )
    ]


async def test_another_whole_book_deletes_what_it_lacks(tmp_path: Path) -> None:
    """A connection was made anew: the venue sends the whole book, in two pieces here."""
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path):
        with program(tmp_path) as reading:
            feeder.whole({1: (99, 5), 2: (98, 6)}, {3: (101, 7)})
            await settle()
            reading.read()
            feeder.whole({2: (98, 6), 7: (99, 1)}, {8: (100, 1), 9: (102, 3)}, pieces=2)
            feeder.trade(5)
            await settle()
            read = {(each.id, each.action) for each in reading.read()}
            assert read == {(5, 0), (1, DELETE), (3, DELETE), (7, 0), (8, 0), (9, 0)}
            assert reading.has({2: (98, 6), 7: (99, 1)}, {8: (100, 1), 9: (102, 3)})


async def test_the_rest_of_a_whole_book_is_waited_for(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path):
        with program(tmp_path) as reading:
            feeder.whole({1: (99, 5)}, {})
            await settle()
            assert reading.has({1: (99, 5)}, {})
            feeder._update({2: (98, 6)}, {}, BookFlags.WHOLE | BookFlags.MORE)
            await settle()
            assert reading.has({1: (99, 5)}, {})
            channel.publish_status(BTC, FeedState.LIVE, "")
            feeder.trade(1)
            await settle()
            assert reading.has({}, {})
            feeder._update({3: (97, 6)}, {}, BookFlags.NONE)
            await settle()
            assert reading.has({2: (98, 6), 3: (97, 6)}, {})
            feeder._update({2: (98, 1)}, {}, BookFlags.MORE)
            channel.publish_status(BTC, FeedState.LIVE, "")
            await settle()
            assert reading.has({2: (98, 6), 3: (97, 6)}, {})
            feeder.change({3: (0, 0)})
            await settle()
            assert reading.has({2: (98, 1)}, {})


async def test_a_book_that_is_no_longer_live_is_deleted_until_it_is_again(tmp_path: Path) -> None:
    channel = channel_of(BTC, ETH)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path, symbol="tBTCUSD"):
        with program(tmp_path) as reading:
            feeder.whole({1: (99, 5)}, {3: (101, 7)})
            for instrument in (None, BTC):
                channel.publish_status(instrument, FeedState.DOWN, "the connection broke")
                await settle()
                assert reading.has({}, {})
                channel.publish_status(BTC, FeedState.LIVE, "")
                await settle()
                assert reading.has({1: (99, 5)}, {3: (101, 7)})
            channel.publish_status(ETH, FeedState.DOWN, "another symbol")
            await settle()
            assert reading.read() == []


async def test_a_program_that_opens_the_file_gets_the_whole_book(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path) as served:
        feeder.whole({1: (99, 5)}, {3: (101, 7)})
        await settle()
        with program(tmp_path) as first:
            assert first.has({}, {})
            await trio.sleep(SETTLE_S + 0.2)
            assert first.has({1: (99, 5)}, {3: (101, 7)})
            with program(tmp_path) as second:
                await trio.sleep(SETTLE_S + 0.2)
                assert second.has({1: (99, 5)}, {3: (101, 7)})
                channel.publish_status(BTC, FeedState.LIVE, "the book is looked at again")
                await trio.sleep(60)
                assert second.read() == []
                assert served.stats().accepted >= 2


async def test_the_book_is_repeated_at_an_interval_where_that_is_asked_for(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = channel_of(BTC)
    async with serving(channel, tmp_path, snapshot_s=5):
        Feeder(channel).whole({1: (99, 5)}, {})
        with program(tmp_path) as reading:
            await trio.sleep(1)
            reading.read()
            await trio.sleep(10.5)
            assert [each.id for each in reading.read()] == [1, 1]


async def test_without_inotify_the_rest_works_and_a_warning_says_what_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Openings, "__init__", refuse)
    channel = channel_of(BTC)
    async with serving(channel, tmp_path):
        Feeder(channel).trade(1)
        await settle()
        assert "(Too many open files), and get no book of their own" in caplog.text
        with program(tmp_path) as reading:
            Feeder(channel).trade(2)
            await settle()
            reading.read()
            assert reading.trade_ids == [2]


async def test_a_full_ring_drops_the_newest_counts_and_goes_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving_far_on(channel, tmp_path) as served:
        with program(tmp_path) as reading:
            await trio.sleep(1)
            fill(tmp_path, 3)
            for each in range(10):
                feeder.trade(each)
            with trio.fail_after(1):
                await settle()
            assert served.counts.dropped == 7
            assert "its reader leaves 16,384 slots unread" in caplog.text
            reading.read()
            assert reading.trade_ids[-3:] == [0, 1, 2]
            feeder.trade(11)
            await settle()
            reading.read()
            assert reading.trade_ids[-1] == 11
            stats = served.stats()
            assert stats.anomalies == {"slot dropped, the ring was full": 7}
            assert stats.lost == 7


async def test_a_book_that_a_full_ring_had_no_room_for_is_put_right(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving_far_on(channel, tmp_path) as served:
        with program(tmp_path) as reading:
            feeder.whole({1: (99, 5), 2: (98, 6), 4: (90, 1)}, {3: (101, 7)})
            await settle()
            reading.read()
            fill(tmp_path, 1)
            feeder.change({1: (99, 4), 2: (0, 0)}, {5: (102, 1)})  # room for the first of three
            feeder.change({6: (95, 1), 4: (0, 0)})
            await settle()
            assert served.counts.dropped == 4
            assert reading.has({1: (99, 4), 2: (98, 6), 4: (90, 1)}, {3: (101, 7)})
            await trio.sleep(0.3)
            assert reading.has({1: (99, 4), 6: (95, 1)}, {3: (101, 7), 5: (102, 1)})
            assert served.counts.dropped == 4


async def test_a_book_larger_than_the_room_comes_as_there_is_room(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    bids = dict.fromkeys(range(1, 1_001), (99, 1))
    async with serving_far_on(channel, tmp_path) as served:
        with program(tmp_path) as reading:
            await trio.sleep(1)
            fill(tmp_path, 300)
            feeder.whole(bids, {})
            await settle()
            assert len(reading.read()) >= 300
            await trio.sleep(0.3)
            assert reading.has(bids, {})
            assert served.counts.dropped == 0


async def test_a_slow_reader_ends_up_with_the_book_of_the_channel(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = channel_of(BTC)
    feeder, dice = Feeder(channel), random.Random(20)
    async with serving_far_on(channel, tmp_path) as served:
        with program(tmp_path) as reading:
            feeder.whole({1: (99, 5)}, {2: (101, 7)})
            await settle()
            reading.read()
            for round_ in range(60):
                if not round_ % 6:
                    fill(tmp_path, dice.randrange(8))
                for _ in range(dice.randrange(6)):
                    side = {dice.randrange(30): (dice.randrange(90, 99), dice.randrange(3))}
                    feeder.change(side) if dice.randrange(2) else feeder.trade(round_)
                if not round_ % 15:
                    feeder.whole({dice.randrange(30): (90, 1)}, {99: (120, 1)})
                await trio.sleep(0.05)
                if not dice.randrange(3):
                    reading.read()
            await trio.sleep(1)
            reading.read()
            await trio.sleep(1)
            assert reading.has(orders_of(feeder.book, Side.BID), orders_of(feeder.book, Side.ASK))
            assert served.counts.dropped > 0


async def test_values_that_a_slot_cannot_hold_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path) as served:
        with program(tmp_path) as reading:
            feeder.whole({1: (99, 5)}, {})
            feeder.trade(1, price=ONE + 1)
            feeder.trade(2, quantity=1)
            feeder.trade(3)
            packed = pack_orders([(1, 99 * ONE + 1, ONE), (4, 98 * ONE, ONE)])
            update = OrderUpdate(BTC, 90, 5, packed, b"")
            feeder.book.apply(update)
            feeder.publish(update)
            await settle()
            reading.read()
            assert reading.trade_ids == [3]
            # Its price is not what the reader was told, and what it is now cannot be said.
            assert reading.has({4: (98, 1)}, {})
            feeder.change({1: (0, 0)})
            await settle()
            assert reading.read() == []
            assert caplog.text.count("left out: price 1.00000001 of tBTCUSD") == 1
            assert "with --inexact values are rounded" in caplog.text
            refused = served.stats().anomalies["value left out, too long for a slot"]
            assert refused == served.counts.refused == 3


async def test_with_inexact_they_are_rounded_and_each_counts(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path, inexact=True) as served:
        with program(tmp_path) as reading:
            feeder.trade(1, price=ONE + 1, quantity=1)
            feeder.trade(2, quantity=ONE + 1)
            feeder.trade(3)
            packed = pack_orders([(1, 99 * ONE + 1, ONE)])
            update = OrderUpdate(BTC, 90, 5, packed, b"", BookFlags.WHOLE)
            feeder.book.apply(update)
            feeder.publish(update)
            await settle()
            assert [(each.id, each.price, each.size) for each in reading.read()] == [
                (1, 100, 1),
                (2, 100, 1_000_000),
                (3, 100, 1_000_000),
                (1, 9_900, 1_000_000),
            ]
            channel.publish_status(BTC, FeedState.LIVE, "")
            await settle()
            assert served.stats().anomalies == {"value rounded for a slot": 4}
            assert served.counts.rounded == 4


async def test_one_symbol_of_several_is_served(tmp_path: Path) -> None:
    channel = channel_of(BTC, ETH)
    async with serving(channel, tmp_path, symbol="tETHUSD"):
        with program(tmp_path) as reading:
            for instrument, first in ((BTC, 10), (ETH, 20)):
                feeder = Feeder(channel, instrument)
                feeder.whole({first: (99, 5)}, {})
                feeder.trade(first + 1)
                feeder.change({first + 2: (98, 1)})
            await settle()
            assert {each.id for each in reading.read()} == {20, 21, 22}


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("", "a slot has no room for a symbol, and channel bitfinex has 2: give --symbol, such as"),
        ("tLTCUSD", "no symbol tLTCUSD in channel bitfinex: it has tBTCUSD, tETHUSD"),
    ],
)
async def test_a_ring_has_exactly_one_symbol(tmp_path: Path, symbol: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        await SlotsTransport(config(tmp_path, symbol=symbol)).run([channel_of(BTC, ETH)])
    assert os.listdir(tmp_path) == []


async def test_a_channel_without_trades_and_orders_is_refused(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    channel.header = replace(channel.header, data=DataKinds.BOOK_BY_PRICE)
    with pytest.raises(ConfigError, match="has no trades and no books by order"):
        await SlotsTransport(config(tmp_path)).run([channel])


async def test_a_channel_with_trades_alone_needs_no_books(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    channel.header = channel.log.context = replace(
        channel.header, data=DataKinds.TRADES | DataKinds.BOOK_BY_PRICE
    )
    async with serving(channel, tmp_path):
        with program(tmp_path) as reading:
            Feeder(channel).trade(1)
            await settle()
            reading.read()
            assert reading.trade_ids == [1]


@pytest.mark.parametrize("symbol", ["", "tBTCUSD"])
async def test_an_instrument_that_comes_later_is_waited_for(tmp_path: Path, symbol: str) -> None:
    channel = channel_of()
    async with serving(channel, tmp_path, symbol=symbol) as served:
        with program(tmp_path) as reading:
            channel.publish_status(None, FeedState.DOWN, "the venue does not answer")
            await settle()
            (trouble,) = served.troubles("bitfinex")
            assert trouble.startswith("slots hft_ring: channel bitfinex has no")
            assert served.troubles("another") == ()
            channel.change([BTC], [ZERO])
            feeder = Feeder(channel)
            feeder.trade(1)
            await settle()
            assert served.troubles("bitfinex") == ()
            channel.change([ETH], [ZERO])
            Feeder(channel, ETH).trade(2)
            feeder.trade(3)
            await settle()
            reading.read()
            assert reading.trade_ids == [1, 3]


async def test_finer_units_change_nothing_of_what_is_written(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    async with serving(channel, tmp_path):
        with program(tmp_path) as reading:
            Feeder(channel).trade(1)
            channel.change([ETH], [ZERO])
            finer = replace(BTC, price_exponent=-9)
            channel.change([finer], [ZERO])
            Feeder(channel, finer).trade(2, price=10 * ONE)
            await settle()
            assert [(each.id, each.price) for each in reading.read()] == [(1, 100), (2, 100)]


async def test_what_the_log_lost_is_counted_and_the_book_is_put_right(tmp_path: Path) -> None:
    """The loop did not come to the transport while far more was published than the log holds."""
    channel = channel_of(BTC, log_bytes=5_000)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path) as served:
        with program(tmp_path) as reading:
            feeder.whole({1: (99, 5)}, {3: (101, 7)})
            await settle()
            reading.read()
            feeder.trade(0)  # it is taken at once, and the others are left to the task
            feeder.change({1: (0, 0), 2: (98, 6)})
            for each in range(1, 101):
                feeder.trade(each)
            await settle()
            assert reading.has({2: (98, 6)}, {3: (101, 7)})
            assert served.counts.lost + len(reading.trade_ids) == 102
            assert served.counts.lost > 50
            assert reading.trade_ids == [0, *range(102 - len(reading.trade_ids), 101)]


async def test_a_loss_of_the_channel_is_counted(tmp_path: Path) -> None:
    """A journal that is replayed may have lost something."""
    channel = channel_of(BTC)
    async with serving(channel, tmp_path) as served:
        lost = Loss(first_seq=1, last_seq=5, reason=LossReason.DAMAGED)
        channel.relay(frame(encode_event(lost)), 5)
        await settle()
        assert served.stats().lost == 5


async def test_snapshots_of_trades_are_no_trades(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    async with serving(channel, tmp_path):
        with program(tmp_path) as reading:
            trade = Trade(BTC, 1, 1, ONE, ONE, False)
            channel.publish([trade], received_ns=1, held_ns=1)
            channel.publish(
                [replace(trade, trade_id=2)], received_ns=1, held_ns=1, flags=BlockFlags.BACK_FILLED
            )
            channel.relay(channel.snapshot(), 0)
            await settle()
            reading.read()
            assert reading.trade_ids == [1, 2]


async def test_at_the_end_no_order_is_left_and_the_file_stays(tmp_path: Path) -> None:
    channel = channel_of(BTC)
    async with serving(channel, tmp_path):
        with program(tmp_path) as reading:
            Feeder(channel).whole({1: (99, 5)}, {3: (101, 7)})
            await settle()
            assert reading.has({1: (99, 5)}, {3: (101, 7)})
            channel.end(EndReason.SHUTDOWN, retry_ms=1, why="stopped")
            await settle()
            assert reading.has({}, {})
    assert os.listdir(tmp_path) == ["hft_ring"]


async def test_a_reader_comes_through_a_restart(tmp_path: Path) -> None:
    """Also of a service that was killed: then nothing was deleted at its end, and the next one
    finds in the ring what its reader was told."""
    with trio.CancelScope() as killed:
        channel = channel_of(BTC)
        async with serving(channel, tmp_path):
            reading = Program(tmp_path / "hft_ring")
            feeder = Feeder(channel)
            feeder.whole({1: (99, 5), 2: (98, 6)}, {3: (101, 7)})
            await settle()
            feeder.change({2: (0, 0)})
            feeder.trade(77)
            await settle()
            killed.cancel()
            await trio.lowlevel.checkpoint()
    assert reading.has({1: (99, 5)}, {3: (101, 7)})
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path):
        await settle()
        assert [(each.id, each.action) for each in reading.read()] == [(1, DELETE), (3, DELETE)]
        assert reading.has({}, {})
        feeder.whole({3: (101, 7), 4: (99, 1)}, {})
        feeder.trade(2)
        await settle()
        assert reading.has({3: (101, 7), 4: (99, 1)}, {})
        assert reading.trade_ids == [77, 2]
    reading.close()


async def test_a_ring_that_an_earlier_run_left_full_goes_on_with_its_next_reader(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "hft_ring"
    buffer = bytearray(FILE_BYTES)
    struct.pack_into("<Q56xQ", buffer, 0, 20_000, 20_000 - SLOT_COUNT)
    path.write_bytes(buffer)
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path) as served:
        feeder.whole({1: (99, 5)}, {})
        feeder.trade(1)
        await settle()
        assert served.counts.dropped == 1
        with program(tmp_path) as reading:
            assert reading.reader.position == 20_000
            await trio.sleep(SETTLE_S + 0.2)
            assert reading.has({1: (99, 5)}, {})


async def test_indices_that_contradict_each_other_are_mended(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, and also later: a reader goes on where it was in a ring of before."""
    path = tmp_path / "hft_ring"
    buffer = bytearray(FILE_BYTES)
    struct.pack_into("<Q56xQ", buffer, 0, 5, 900)
    path.write_bytes(buffer)
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    feeder_book: Orders = {1: (99, 5)}
    async with serving(channel, tmp_path):
        await settle()
        assert "its indices were nonsense" in caplog.text
        with program(tmp_path) as reading:
            assert reading.reader.position == 900
            feeder.whole(feeder_book, {})
            await trio.sleep(1)
            reading.read()
            reading.bids.clear()
            reading.reader._words[8] = reading.reader.position = 5_000
            await trio.sleep(0.2)
            assert reading.has(feeder_book, {})


async def test_a_reader_is_known_by_its_index(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path) as served:
        feeder.trade(1)
        await trio.sleep(1)
        assert (served.readers, served.unread, served.stats().consumers) == (0, 0.0, ())
        with program(tmp_path) as reading:
            feeder.trade(2)
            await trio.sleep(1)
            (consumer,) = served.stats().consumers
            assert (consumer.lag_blocks, consumer.lag_bytes) == (1, 32)
            assert served.unread == 1 / SLOT_COUNT
            reading.read()
            await trio.sleep(2 * GONE_S)
            assert served.readers == 1  # it has read everything
            feeder.trade(3)
            await trio.sleep(GONE_S - 1)
            assert served.readers == 1
            await trio.sleep(2)
            assert served.readers == 0
            reading.read()
            await trio.sleep(1)
            assert served.readers == 1
    assert served.readers == 0
    assert served.stats().consumers == ()
    assert 0 < served.stride_bytes <= 65_536


@pytest.mark.parametrize("damage", ["cut", "removed", "replaced", "zeroed"])
async def test_a_damaged_ring_is_made_anew(
    tmp_path: Path,
    damage: str,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "hft_ring"
    channel = channel_of(BTC)
    feeder = Feeder(channel)
    async with serving(channel, tmp_path) as served:
        feeder.whole({1: (99, 5)}, {})
        feeder.trade(1)
        await trio.sleep(1)
        match damage:
            case "cut":
                os.truncate(path, 100)
            case "removed":
                path.unlink()
            case "replaced":
                path.unlink()
                path.write_bytes(b"my thesis")
            case "zeroed":
                path.write_bytes(bytes(FILE_BYTES))
        feeder.trade(7)
        await trio.sleep(1.5)
        assert "was damaged or removed by somebody: making it anew" in caplog.text
        if damage in ("cut", "replaced"):
            (trouble,) = served.troubles("bitfinex")
            assert "no ring of slots" in trouble
            assert caplog.text.count("no ring of slots") == 1
            path.unlink()
            await trio.sleep(1.5)
        assert served.troubles("bitfinex") == ()
        with program(tmp_path) as reading:
            await trio.sleep(1)
            feeder.trade(2)
            await settle()
            assert reading.has({1: (99, 5)}, {})
            assert reading.trade_ids == [2]
        assert (served.counts.trades, served.counts.lost) == (3, 0)


async def test_a_ring_that_cannot_be_made_anew_lets_the_service_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    channel = channel_of(BTC)
    async with serving(channel, tmp_path):
        os.truncate(tmp_path / "hft_ring", 100)
        await trio.sleep(3)
    assert (tmp_path / "hft_ring").stat().st_size == 100


async def test_a_program_has_the_book_and_the_trades_of_an_exchange(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A simulated Bitfinex, the service, and a TCP client beside the program. Both books change
    update by update, so the program's is always one that the client's was. Sizes are rounded: this
    exchange has eight decimals, and a slot six."""
    states: list[Orders] = [{}]
    trade_ids: list[int] = []

    def rounded(book: OrdersBook) -> Orders:
        return {
            each.order_id: (each.price / ONE, round(Fraction(each.quantity, 100)) / 10**6)
            for side in Side
            for each in book.orders(side)
        }

    async def listen(url: str) -> None:
        book = OrdersBook()
        async with TrioTcpClient(url, start="oldest") as client:
            async for record in client:
                if isinstance(record, Trade):
                    trade_ids.append(record.trade_id)
                elif isinstance(record, OrderUpdate) and (record.seq or not book.is_known):
                    book.apply(record)
                    states.append(rounded(book))

    market = SimulatorConfig(dialect="bitfinex", symbols=("tBTCUSD",), rate=20.0)
    async with running_simulator(market) as simulator, trio.open_nursery() as nursery:
        service = one_source(
            venue="bitfinex",
            assets=("tBTCUSD",),
            data=("trades", "orders"),
            transports=(TcpConfig(port=0), config(tmp_path, inexact=True)),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
        )
        async with running_service(service) as running:
            nursery.start_soon(listen, next(each for each in running.urls if "tcp" in each))
            with program(tmp_path) as reading:
                for _ in range(8):
                    await trio.sleep(0.5)
                    await settle()
                    reading.read()
                    with trio.fail_after(2):
                        while {**reading.bids, **reading.asks} not in states:  # noqa: ASYNC110
                            await trio.sleep(0.01)  # its client is on a real socket
                assert len(states) > 20
                assert reading.bids
                assert reading.asks
                assert len(reading.trade_ids) > 10
                first = trade_ids.index(reading.trade_ids[0])
                assert reading.trade_ids == trade_ids[first : first + len(reading.trade_ids)]
            nursery.cancel_scope.cancel()
