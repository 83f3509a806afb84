"""Quotes and books in a channel: blocks, whole books for who joins, and who fell off the log."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from fanout.channel.books import WholeBook
from fanout.channel.channel import Channel
from fanout.channel.reader import Reader
from fanout.protocol import (
    DataKinds,
    FeedState,
    Gap,
    GapState,
    Header,
    Instrument,
    Loss,
    Quote,
    Record,
    Request,
    Snapshot,
    Start,
    Status,
    Trade,
    encoding,
)
from fanout.protocol.book_block import encode_book
from fanout.protocol.book_records import (
    BookBlock,
    BookUpdate,
    OrderUpdate,
    pack_levels,
    pack_orders,
)
from fanout.protocol.constants import (
    LENGTH_BYTES,
    MAX_BLOCK_LEVELS,
    MAX_BLOCK_QUOTES,
    MAX_BLOCK_UPDATES,
    BookFlags,
)
from fanout.protocol.framing import payloads_of
from fanout.protocol.orders_book import OrdersBook
from fanout.protocol.request import Position
from tests.protocol.golden import BTC
from tests.stand.book_channel import OTHER, Feeder, KeptBooks, book_channel
from tests.stand.channels import new_channel
from tests.stand.subscriber import Subscriber


class Keeper(Subscriber):
    """A reader in a channel, with its books."""

    def __init__(self, channel: Channel, start: Start | Position = Start.LIVE) -> None:
        super().__init__()
        self.channel = channel
        self.place = Reader(channel)
        self.ask(start)
        self.records: list[Record] = []
        self.kept = KeptBooks(channel)
        self.take(self.place.greeting + self.place.start(Request(start=start)))

    def read(self) -> list[Record]:
        while not self.place.has_everything:
            self.take(self.place.next_piece())
        return self.records

    def take(self, data: bytes) -> None:
        new = self.receive(data)
        self.records += new
        self.kept.take(new)


def quote(update_id: int) -> Quote:
    return Quote(BTC, update_id, 5, 10, 1, 11, 2)


def trade(trade_id: int) -> Trade:
    return Trade(BTC, trade_id, 5, 6, 7, False)


def kinds(records: Sequence[Record]) -> list[type]:
    return [type(each) for each in records]


def test_records_of_all_kinds_keep_their_order_and_are_numbered() -> None:
    channel = book_channel()
    reader = Keeper(channel)
    update = BookUpdate(BTC, 1, 5, b"", b"", BookFlags.WHOLE)
    gap = Gap(seq=0, instrument=BTC, first_id=1, last_id=2, state=GapState.OPEN)
    channel.publish(
        [trade(1), quote(1), quote(2), update, gap, update, trade(2), gap, gap, quote(3)],
        received_ns=1,
        held_ns=1,
    )
    records = reader.read()
    expected = [Trade, Quote, Quote, BookUpdate, Gap, BookUpdate, Trade, Gap, Gap, Quote]
    assert kinds(records) == expected
    assert [each.seq for each in records] == list(range(1, 11))  # type: ignore[union-attr]
    assert (channel.trades, channel.quotes, channel.book_updates) == (2, 3, 2)
    assert (channel.blocks, channel.events) == (6, 3)


def test_many_quotes_are_divided_into_blocks() -> None:
    channel = book_channel()
    reader = Keeper(channel)
    channel.publish([quote(each) for each in range(MAX_BLOCK_QUOTES + 1)], received_ns=1, held_ns=1)
    assert len(reader.read()) == MAX_BLOCK_QUOTES + 1
    assert channel.blocks == 2


def test_many_updates_are_divided_into_blocks() -> None:
    channel = book_channel()
    reader = Keeper(channel)
    updates = [BookUpdate(BTC, each, 5, b"", b"") for each in range(MAX_BLOCK_UPDATES + 1)]
    channel.publish(updates, received_ns=1, held_ns=1)
    assert len(reader.read()) == MAX_BLOCK_UPDATES + 1
    assert channel.blocks == 2


def test_updates_with_many_levels_are_divided_into_blocks() -> None:
    channel = book_channel()
    reader = Keeper(channel)
    levels = pack_levels([(-each, 1) for each in range(MAX_BLOCK_LEVELS // 2 + 1)])
    channel.publish(
        [BookUpdate(BTC, each, 5, levels, b"") for each in range(3)], received_ns=1, held_ns=1
    )
    assert len(reader.read()) == channel.blocks == 3


def test_an_update_that_is_larger_than_a_block_is_continued() -> None:
    channel = book_channel()
    feeder, reader = Feeder(channel), Keeper(channel)
    feeder.whole()
    change = feeder.change([(999 - each, 1) for each in range(2 * MAX_BLOCK_LEVELS + 10)])
    reader.read()
    parts = [each for each in reader.records if isinstance(each, BookUpdate)][1:]
    assert [each.flags for each in parts] == [BookFlags.MORE, BookFlags.MORE, BookFlags.NONE]
    assert b"".join(each.packed_bids for each in parts) == change.packed_bids
    assert {each.update_id for each in parts} == {change.update_id}
    reader.kept.assert_right(0)


def test_books_by_order_are_divided_and_given_to_who_joins_too() -> None:
    channel = new_channel()
    header = replace(channel.header, data=DataKinds.BOOK_BY_ORDER)
    channel = Channel(header, log_bytes=50_000_000, wall_ns=lambda: 1)
    present, orders = Keeper(channel), pack_orders([(each, 5, 1) for each in range(4_000)])
    whole = OrderUpdate(BTC, 7, 5, orders, b"", BookFlags.WHOLE | BookFlags.TOP_ONLY)
    book = channel.books.any_of(BTC.index)
    assert isinstance(book, OrdersBook)
    book.apply(whole)
    channel.publish([whole], received_ns=1, held_ns=1)
    late = Keeper(channel)
    for reader, is_numbered in ((present, True), (late, False)):
        parts = [each for each in reader.read() if isinstance(each, OrderUpdate)]
        assert [each.is_whole for each in parts] == [True, False, False]
        assert [each.has_more for each in parts] == [True, True, False]
        assert b"".join(each.packed_bids for each in parts) == orders
        assert all(each.is_top_only for each in parts)
        assert all(bool(each.seq) is is_numbered for each in parts)
    channel.publish_status(BTC, FeedState.STALE, "a test")
    refused = Keeper(channel)
    channel.publish_status(BTC, FeedState.LIVE, "a test")
    assert len([each for each in refused.read() if isinstance(each, OrderUpdate)]) == 3


def test_who_joins_gets_the_whole_books_and_the_newest_quotes_without_numbers() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.publish(trade(1), quote(1), quote(2))
    feeder.whole(BTC)
    feeder.whole(OTHER, levels=MAX_BLOCK_LEVELS)
    reader = Keeper(channel)
    reader.read()
    assert {getattr(each, "seq", 0) for each in reader.records} == {0}
    assert [each.update_id for each in reader.records if isinstance(each, Quote)] == [2]
    reader.kept.assert_right(0, 1)
    feeder.change([(998, 0)])
    reader.read()
    reader.kept.assert_right(0, 1)


def test_a_book_that_changes_while_others_are_sent_is_sent_as_it_is_then() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC)
    feeder.whole(OTHER)
    reader = Keeper(channel)
    assert not reader.place.has_everything
    feeder.change([(997, 4)])
    feeder.change([(998, 0)])
    reader.take(reader.place.next_piece())
    reader.kept.assert_right(0, 1)
    reader.read()
    reader.kept.assert_right(0, 1)
    feeder.change([(996, 9)])
    reader.read()
    reader.kept.assert_right(0, 1)


def test_a_book_is_encoded_once_for_all_who_join_at_one_place() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC)
    made = _book(channel)
    assert made is not None
    assert all(_book(channel) is made for _ in range(2))
    feeder.change([(997, 4)])
    assert _book(channel) is not made


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[BookBlock]:
    """The pieces of whole books that are encoded for readers."""
    blocks: list[BookBlock] = []

    def encode(block: BookBlock, header: Header) -> bytes:
        blocks.extend([block] * block.is_snapshot)
        return encode_book(block, header)

    monkeypatch.setattr(encoding, "encode_book", encode)
    return blocks


def test_readers_that_go_on_at_other_numbers_share_the_encoding(encoded: list[BookBlock]) -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC, levels=MAX_BLOCK_LEVELS)
    readers = []
    for each in range(3):
        readers.append(Keeper(channel))
        readers[-1].read()
        feeder.publish(trade(each + 1))
    assert len(encoded) == 2, "the pieces of one book"
    for reader in readers:
        reader.read()
        reader.kept.assert_right(0)
    finer = replace(OTHER, tick=OTHER.tick + 1)
    channel.change([finer], [channel.header.references[1]])
    Keeper(channel).read()
    assert len(encoded) == 4, "another header"


def test_a_deep_book_is_encoded_in_steps_and_is_of_one_moment(encoded: list[BookBlock]) -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC, levels=5 * MAX_BLOCK_LEVELS)
    feeder.whole(OTHER)
    first, second = Keeper(channel), Keeper(channel)
    present = Keeper(channel)
    present.read()
    assert len(encoded) == 11, "ten pieces of a deep book, and a small one"
    steps: list[int] = []
    for reader in (first, second):
        while not reader.place.has_everything:
            feeder.change([(988 - len(steps), 1 + len(steps))])
            encoded.clear()
            reader.take(reader.place.next_piece())
            steps.append(len(encoded))
            present.read()
    assert max(steps) <= 3
    assert sum(steps) == 2 * 10
    for reader in (first, second, present):
        reader.read()
        reader.kept.assert_right(0, 1)


def test_readers_in_the_middle_of_a_deep_book_share_its_pieces(encoded: list[BookBlock]) -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC, levels=5 * MAX_BLOCK_LEVELS)
    readers = []
    for each in range(3):
        readers.append(Keeper(channel))
        for reader in readers:
            reader.take(reader.place.next_piece())
        feeder.publish(trade(each + 1))
    for reader in reversed(readers):
        reader.read()
        reader.kept.assert_right(0)
    assert len(encoded) == 10


def test_a_reader_that_falls_off_the_log_in_the_middle_of_a_book_begins_it_anew() -> None:
    channel = book_channel(150_000)
    feeder = Feeder(channel)
    feeder.whole(BTC, levels=5 * MAX_BLOCK_LEVELS)
    reader = Keeper(channel)
    reader.take(reader.place.next_piece())
    assert not reader.kept.books[0].is_consistent
    for each in range(2_000):
        feeder.change([(990 - each % 50, 1 + each)])
    reader.read()
    assert any(isinstance(each, Loss) for each in reader.records)
    reader.kept.assert_right(0)


def _book(channel: Channel) -> WholeBook | None:
    reader = Reader(channel)
    reader.start(Request())
    return reader.next_book()


def test_an_unknown_book_is_not_shown() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC)
    channel.books.of(0).clear()
    reader = Keeper(channel)
    assert reader.read() == []
    feeder.whole(BTC)
    reader.read()
    reader.kept.assert_right(0)


def test_books_of_an_earlier_feed_are_not_shown() -> None:
    channel = book_channel()
    Feeder(channel).whole(BTC)
    channel.books.clear()
    assert Keeper(channel).read() == []


def test_a_reader_from_an_old_place_gets_the_books_of_now_and_ignores_what_they_have() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.publish(trade(1))
    feeder.whole(BTC)
    for each in range(5):
        feeder.change([(990 - each, 1)])
    for start in (Start.OLDEST, Position(epoch_ns=1, seq=1), Position(epoch_ns=1, seq=4)):
        reader = Keeper(channel, start)
        reader.read()
        reader.kept.assert_right(0)
    feeder.change([(990, 0)])
    reader.read()
    reader.kept.assert_right(0)


def test_a_reader_that_falls_off_the_log_goes_on_live_with_the_whole_books() -> None:
    channel = book_channel(100_000)
    feeder = Feeder(channel)
    feeder.whole(BTC)
    reader = Keeper(channel)
    reader.read()
    for each in range(1_000):
        feeder.change([(990 - each % 50, 1 + each)])
    feeder.publish(quote(7))
    reader.take(reader.place.next_piece())
    assert reader.place.cursor.position == channel.log.end
    (loss,) = [each for each in reader.records if isinstance(each, Loss)]
    assert loss.last_seq == channel.log.next_seq - 1
    assert not reader.place.is_shareable
    feeder.change([(998, 0)])
    reader.read()
    reader.kept.assert_right(0)
    assert [each.update_id for each in reader.records if isinstance(each, Quote)] == [7]
    assert reader.place.is_shareable


def test_a_book_in_other_units_comes_with_the_log() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC)
    reader = Keeper(channel)
    finer = replace(BTC, price_exponent=BTC.price_exponent - 1)
    channel.change([finer], [channel.header.references[0]])
    assert not channel.books.of(0).is_known
    feeder.whole(finer)
    reader.read()
    reader.kept.assert_right(0)
    assert sum(isinstance(each, BookUpdate) for each in reader.records) == 1


def test_a_book_comes_whole_when_its_symbol_is_live_again_if_a_reader_missed_it() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC)
    feeder.whole(OTHER)
    present = Keeper(channel)
    present.read()
    channel.publish_status(BTC, FeedState.STALE, "")
    joined = Keeper(channel)
    joined.read()
    assert set(joined.kept.books) == {1}
    feeder.change([(997, 4)])
    channel.publish_status(BTC, FeedState.LIVE, "")
    joined.read()
    joined.kept.assert_right(0, 1)
    assert kinds(present.read())[2:] == [Status, BookUpdate, BookUpdate, Status]
    present.kept.assert_right(0, 1)
    later = Keeper(channel)
    later.read()
    later.kept.assert_right(0, 1)


@pytest.mark.parametrize("whose", [BTC, None])
def test_a_book_that_no_reader_missed_is_not_published_again(whose: Instrument | None) -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC)
    present = Keeper(channel)
    present.read()
    channel.publish_status(whose, FeedState.DOWN, "")
    channel.publish_status(BTC, FeedState.LIVE, "")
    assert kinds(present.read())[1:] == [Status, Status]
    later = Keeper(channel)
    later.read()
    later.kept.assert_right(0)


@pytest.mark.parametrize("state", [FeedState.DOWN, FeedState.STALE, FeedState.HALTED])
@pytest.mark.parametrize("whose", [BTC, None])
def test_a_book_that_becomes_whole_before_its_symbol_is_live_is_given_to_no_reader_that_joins(
    whose: Instrument | None, state: FeedState
) -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    channel.books.of(0)
    channel.publish_status(whose, state, "")
    refused = Keeper(channel)
    refused.read()
    feeder.whole(BTC)
    refused.read()
    refused.kept.assert_right(0)
    joined = Keeper(channel)
    joined.read()
    assert joined.kept.books == {}
    feeder.change([(997, 4)])
    channel.publish_status(BTC, FeedState.LIVE, "")
    for reader in (refused, joined, Keeper(channel)):
        reader.read()
        reader.kept.assert_right(0)


def test_a_book_that_came_whole_since_a_reader_was_refused_is_not_published_again() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(BTC)
    channel.publish_status(BTC, FeedState.STALE, "")
    refused = Keeper(channel)
    refused.read()
    feeder.whole(BTC)
    channel.publish_status(BTC, FeedState.LIVE, "")
    assert kinds(refused.read()) == [BookUpdate, Status]
    refused.kept.assert_right(0)


def test_a_reader_that_falls_off_the_log_meanwhile_missed_the_book() -> None:
    channel = book_channel(100_000)
    feeder = Feeder(channel)
    feeder.whole(BTC)
    reader = Keeper(channel)
    reader.read()
    channel.publish_status(BTC, FeedState.STALE, "")
    for each in range(1_000):
        feeder.change([(990 - each % 50, 1 + each)])
    reader.read()
    assert reader.kept.books == {}
    channel.publish_status(BTC, FeedState.LIVE, "")
    reader.read()
    reader.kept.assert_right(0)


def test_a_channel_without_books_shows_none() -> None:
    channel = new_channel()
    reader = Keeper(channel)
    channel.publish_status(None, FeedState.LIVE, "")
    assert kinds(reader.read()) == [Status]
    assert reader.place.is_shareable


def short_channel(longest_frame_bytes: int, data: DataKinds = DataKinds.BOOK_BY_PRICE) -> Channel:
    """A channel for a transport that carries no longer frames."""
    header = replace(book_channel().header, data=data)
    return Channel(
        header, log_bytes=50_000_000, wall_ns=lambda: 1, longest_frame_bytes=longest_frame_bytes
    )


def lengths(frames: bytes) -> list[int]:
    return [LENGTH_BYTES + len(each) for each in payloads_of(frames)]


@pytest.mark.parametrize("longest", [504, 1_356])
def test_blocks_are_as_short_as_a_transport_needs_them(longest: int) -> None:
    channel = short_channel(longest)
    feeder, reader = Feeder(channel), Keeper(channel)
    feeder.publish(*[trade(each) for each in range(1_500)])
    feeder.publish(*[quote(each) for each in range(1_500)])
    feeder.publish(*[BookUpdate(BTC, 1, 5, b"", b"", BookFlags.WHOLE)] * 300)
    feeder.whole(levels=2_500)
    change = feeder.change([(999 - each, 7) for each in range(700)])
    frames = [channel.log.entry(each).frame for each in range(channel.log.end)]
    assert 3 * longest // 4 < max(map(len, frames)) <= longest
    records = reader.read()
    assert [each.seq for each in records] == list(range(1, channel.log.next_seq))  # type: ignore[union-attr]
    updates = [each for each in records if isinstance(each, BookUpdate)]
    parts = [each for each in updates if each.update_id == change.update_id]
    assert b"".join(each.packed_bids for each in parts) == change.packed_bids
    assert [each.has_more for each in parts] == [True] * (len(parts) - 1) + [False]
    assert len(parts) > 1
    reader.kept.assert_right(0)


@pytest.mark.parametrize("longest", [504, 1_356])
def test_a_joiner_gets_frames_as_short_as_a_transport_needs_them(longest: int) -> None:
    channel = short_channel(longest)
    names = [f"S{each:03}" for each in range(100)]
    instruments = [replace(BTC, index=each, symbol=name) for each, name in enumerate(names, 2)]
    channel.change(instruments, [channel.header.references[0]] * len(instruments))
    assert max(lengths(channel.log.entry(0).frame)) <= longest
    for each in instruments:
        channel.publish([replace(trade(1), instrument=each)], received_ns=1, held_ns=1)
        channel.publish([replace(quote(1), instrument=each)], received_ns=1, held_ns=1)
    Feeder(channel).whole(levels=2_500)
    reader = Keeper(channel)
    while not reader.place.has_everything:
        piece = reader.place.next_piece()
        assert max(lengths(piece)) <= longest
        reader.take(piece)
    reader.kept.assert_right(0)
    assert max(lengths(channel.snapshot())) <= longest
    shown = [each for one in reader.records if isinstance(one, Snapshot) for each in one.trades]
    assert [each.symbol for each in shown] == names
    assert [each.symbol for each in reader.records if isinstance(each, Quote)] == names


def test_books_by_order_are_as_short_as_a_transport_needs_them() -> None:
    channel = short_channel(504, DataKinds.BOOK_BY_ORDER)
    orders = pack_orders([(each, 5, 1) for each in range(2_000)])
    whole = OrderUpdate(BTC, 7, 5, orders, b"", BookFlags.WHOLE)
    book = channel.books.any_of(BTC.index)
    assert isinstance(book, OrdersBook)
    present = Keeper(channel)
    present.read()
    book.apply(whole)
    channel.publish([whole], received_ns=1, held_ns=1)
    for reader in (present, Keeper(channel)):
        parts = [each for each in reader.read() if isinstance(each, OrderUpdate)]
        assert b"".join(each.packed_bids for each in parts) == orders
        assert [each.is_whole for each in parts] == [True] + [False] * (len(parts) - 1)
    assert max(len(channel.log.entry(each).frame) for each in range(channel.log.end)) <= 504


def test_a_record_that_cannot_be_divided_is_published_as_it_is() -> None:
    channel = short_channel(60)
    reader = Keeper(channel)
    huge = replace(trade(2**63), time=2**63, price=2**62, quantity=2**63)
    level = BookUpdate(BTC, 2**63, 2**63, pack_levels([(2**62, 2**63)]), b"", BookFlags.WHOLE)
    channel.publish([huge, huge, level], received_ns=1, held_ns=1)
    assert [each.seq for each in reader.read()] == [1, 2, 3]  # type: ignore[union-attr]
    assert channel.blocks == 3
