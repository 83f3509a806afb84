"""A channel that repeats a journal is like the channel that was recorded."""

import pytest
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.channel.reader import Reader
from fanout.channel.relay import Relay, frames_of
from fanout.protocol import (
    BlockFlags,
    End,
    EndReason,
    FeedState,
    Gap,
    GapState,
    Heartbeat,
    Loss,
    LossReason,
    Position,
    Record,
    Request,
    Status,
    SubscriberSession,
    Trade,
    encode_event,
    frame,
    opening,
)
from fanout.protocol.book_records import BookUpdate, OrderUpdate, Quote, pack_orders
from fanout.protocol.constants import BookFlags, DataKinds
from fanout.protocol.errors import PeerError
from fanout.protocol.framing import seal
from tests.protocol.golden import BTC
from tests.stand.book_channel import OTHER, Feeder, book_channel
from tests.stand.channels import new_channel, publish


def relay_like(channel: Channel, log_bytes: int = 50_000_000) -> Relay:
    """A relay that begins where the channel's log ends."""
    header = replace(channel.header, next_seq=channel.log.next_seq)
    return Relay(Channel(header, log_bytes=log_bytes, wall_ns=lambda: 0))


def new_frames(reader: Reader) -> bytes:
    data = b""
    while piece := reader.next_piece():
        data += piece
    return data


def repeat(relay: Relay, data: bytes) -> None:
    for each in frames_of(data):
        relay.publish(relay.read(each))


def log_of(channel: Channel) -> bytes:
    log = channel.log
    return b"".join(log.entry(each).frame for each in range(log.oldest, log.end))


def times_of(channel: Channel) -> list[int]:
    """The times by which readers find their place."""
    log = channel.log
    return [log.entry(each).time_ns for each in range(log.oldest, log.end)]


def shown_to_a_joiner(channel: Channel) -> bytes:
    reader = Reader(channel)
    return reader.greeting + reader.start(Request()) + new_frames(reader)


def records_of(channel: Channel, begin: Request) -> list[Record]:
    """What a reader that begins there is told."""
    reader = Reader(channel)
    session = SubscriberSession()
    session.ask(begin.start)
    session.receive(reader.greeting + reader.start(begin) + new_frames(reader))
    return [each for records in iter(session.next_records, None) for each in records]


def live_story(channel: Channel) -> None:
    """Something of every kind."""
    feeder = Feeder(channel)
    publish(channel, 1, 3)
    feeder.publish(Quote(BTC, 1, 5, 10, 20, 11, 21))
    feeder.whole(levels=5)
    feeder.whole(OTHER)
    feeder.change([(1_000, 9), (990, 4)])
    gap = Gap(seq=0, instrument=BTC, first_id=7, last_id=9, state=GapState.OPEN, why="")
    channel.publish([gap], received_ns=2, held_ns=0)
    late = [Trade(BTC, 7, 5, 6, 7, False)]
    channel.publish(late, received_ns=2, held_ns=0, flags=BlockFlags.BACK_FILLED)
    channel.publish_status(OTHER, FeedState.STALE, "quiet")
    channel.change([replace(OTHER, price_exponent=-1)], [channel.header.references[1]])
    publish(channel, 10, 2)


def test_a_relay_has_the_bytes_of_the_recorded_channel_and_shows_joiners_the_same() -> None:
    channel = book_channel()
    relay, reader = relay_like(channel), Reader(channel)
    live_story(channel)
    repeat(relay, new_frames(reader))
    assert log_of(relay.channel) == log_of(channel)
    assert times_of(relay.channel) == times_of(channel)
    assert times_of(channel)[-1] > 0
    assert shown_to_a_joiner(relay.channel) == shown_to_a_joiner(channel)
    assert relay.channel.header == channel.header
    for name in ("trades", "quotes", "book_updates", "events", "blocks"):
        assert getattr(relay.channel, name) == getattr(channel, name), name


def test_a_relay_that_begins_with_snapshots_shows_them_to_joiners() -> None:
    channel = book_channel()
    live_story(channel)
    relay, reader = relay_like(channel), Reader(channel)
    data = reader.start(Request()) + new_frames(reader)
    repeat(relay, data)
    relay.channel.begin_here()
    assert log_of(relay.channel) == b""
    assert shown_to_a_joiner(relay.channel) == shown_to_a_joiner(channel)


def test_a_book_that_is_newer_than_its_place_is_not_changed_by_older_updates() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(levels=5)
    relay, reader = relay_like(channel), Reader(channel)
    feeder.change([(1_000, 50)])
    feeder.change([(1_000, 60)])
    for each in frames_of(reader.start(Request()) + new_frames(reader)):
        repeat(relay, each)
        assert relay.channel.books.of(0).digest() == channel.books.of(0).digest()
    feeder.change([(1_000, 70)])
    repeat(relay, new_frames(reader))
    assert relay.channel.books.of(0).digest() == channel.books.of(0).digest()


def test_a_whole_book_in_several_pieces_is_followed() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(levels=5_000)
    relay, reader = relay_like(channel), Reader(channel)
    feeder.change([(1_000, 50)])
    repeat(relay, reader.start(Request()) + new_frames(reader))
    assert relay.channel.books.of(0).digest() == channel.books.of(0).digest()


def test_updates_of_a_book_that_is_not_known_leave_it_unknown() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole()
    relay, reader = relay_like(channel), Reader(channel)
    feeder.change([(1_000, 50)])
    repeat(relay, new_frames(reader))
    assert not relay.channel.books.of(0).is_known
    assert log_of(relay.channel) == log_of(channel)[-len(log_of(relay.channel)) :]
    feeder.whole()
    repeat(relay, new_frames(reader))
    assert relay.channel.books.of(0).digest() == channel.books.of(0).digest()


def test_books_by_order_are_followed() -> None:
    channel = new_channel()
    by_order = replace(channel.header, data=DataKinds.BOOK_BY_ORDER)
    channel = Channel(by_order, log_bytes=1_000_000, wall_ns=lambda: 0)
    relay, reader = relay_like(channel), Reader(channel)
    book = channel.books.any_of(0)
    for update in (
        OrderUpdate(BTC, 7, 5, pack_orders([(1, 10, 5)]), b"", BookFlags.WHOLE),
        OrderUpdate(BTC, 8, 5, b"", pack_orders([(2, 11, 5)])),
    ):
        book.apply(update)  # type: ignore[arg-type]
        channel.publish([update], received_ns=1, held_ns=0)
    repeat(relay, new_frames(reader))
    assert relay.channel.books.any_of(0).whole() == book.whole()


def test_a_book_is_withheld_while_its_instrument_is_not_live() -> None:
    """A reader of the relay that was refused the book gets it without a number, in the stream."""
    channel = book_channel()
    feeder = Feeder(channel)
    relay, reader = relay_like(channel), Reader(channel)
    feeder.whole(levels=5)
    channel.publish_status(BTC, FeedState.STALE, "quiet")
    repeat(relay, new_frames(reader))
    joining = Reader(relay.channel)
    assert not new_frames(joining)
    channel.publish_status(BTC, FeedState.LIVE, "")
    repeat(relay, new_frames(reader))
    session = SubscriberSession()
    session.receive(joining.greeting + joining.start(Request()) + new_frames(joining))
    got = [each for records in iter(session.next_records, None) for each in records]
    assert [type(each) for each in got] == [BookUpdate, Status]
    assert isinstance(got[0], BookUpdate)
    assert got[0].is_whole
    assert relay.channel.log.next_seq == channel.log.next_seq


def lost_frame(first: int, last: int) -> bytes:
    return frame(encode_event(Loss(first_seq=first, last_seq=last, reason=LossReason.SLOW)))


def relay_after_loss() -> Relay:
    """Trades 1 to 3, LOSS of 4 to 9, trades 10 and 11."""
    relay = relay_like(new_channel())
    recorded = new_channel()
    reader = Reader(recorded)
    publish(recorded, 1, 11)
    session_frames = list(frames_of(new_frames(reader)))
    assert len(session_frames) == 1
    first, last = (
        new_channel(),
        Channel(replace(recorded.header, next_seq=10), log_bytes=10_000, wall_ns=lambda: 0),
    )
    publish(first, 1, 3)
    publish(last, 10, 2)
    repeat(relay, log_of(first) + lost_frame(4, 9) + log_of(last))
    return relay


@pytest.mark.parametrize("seq", range(1, 12))
def test_a_reader_that_begins_anywhere_about_a_loss_is_told_the_exact_range(seq: int) -> None:
    relay = relay_after_loss()
    assert relay.lost == 6
    got = records_of(relay.channel, Request(start=Position(epoch_ns=1, seq=seq)))
    told: list[int] = []
    for each in got:
        if isinstance(each, Loss):
            assert each.reason is LossReason.SLOW
            told += range(each.first_seq, each.last_seq + 1)
        elif isinstance(each, Trade):
            told.append(each.seq)
    assert told == list(range(seq, 12))


def test_a_hole_in_the_numbers_comes_as_a_loss_and_books_and_quotes_are_unknown() -> None:
    channel = book_channel()
    feeder = Feeder(channel)
    relay, reader = relay_like(channel), Reader(channel)
    feeder.whole(levels=5)
    feeder.publish(Quote(BTC, 1, 5, 10, 20, 11, 21))
    repeat(relay, new_frames(reader))
    publish(channel, 1, 4)
    new_frames(reader)
    publish(channel, 5, 2)
    live = LogReader(relay.channel)
    repeat(relay, new_frames(reader))
    lost, *trades = live.records()
    assert lost == Loss(first_seq=3, last_seq=6, reason=LossReason.DAMAGED)
    assert [each.seq for each in trades if isinstance(each, Trade)] == [7, 8]
    assert not relay.channel.books.of(0).is_known
    assert relay.channel.state_snapshot() == b""


class LogReader:
    """A reader that has joined, and what it is told since."""

    def __init__(self, channel: Channel) -> None:
        self._reader = Reader(channel)
        self._session = SubscriberSession()
        self._session.receive(self._reader.greeting + self._reader.start(Request()))
        self.records()

    def records(self) -> list[Record]:
        self._session.receive(new_frames(self._reader))
        return [each for records in iter(self._session.next_records, None) for each in records]


def test_a_header_in_mid_stream_brings_what_is_lost_before_it_and_its_instruments() -> None:
    channel = new_channel()
    relay = relay_like(channel)
    live = LogReader(relay.channel)
    changed = replace(OTHER, price_exponent=-1)
    instruments = (channel.header.instruments[0], changed)
    header = replace(channel.header, next_seq=5, instruments=instruments)
    repeat(relay, opening(header))
    assert live.records() == [Loss(first_seq=1, last_seq=4, reason=LossReason.DAMAGED)]
    assert relay.channel.header.instruments == instruments
    size = len(log_of(relay.channel))
    repeat(relay, opening(header))
    assert len(log_of(relay.channel)) == size


def test_heartbeats_and_ends_are_left_out_and_frames_of_unknown_kinds_are_not() -> None:
    relay = relay_like(new_channel())
    live = LogReader(relay.channel)
    numbered = seal(bytes((0x1F, 0, 0, 2, 0)) + (1).to_bytes(8, "little") + bytes(8))
    repeat(relay, frame(numbered) + frame(seal(b"\x70what is this")))
    repeat(relay, frame(encode_event(Heartbeat(next_seq=3, time_ns=9))))
    repeat(
        relay,
        frame(encode_event(End(reason=EndReason.SHUTDOWN, last_seq=2, retry_ms=None, why=""))),
    )
    repeat(relay, frame(numbered))  # behind
    assert relay.channel.log.next_seq == 3
    assert len(live.records()) == 1
    assert relay.channel.log.end == 2


def test_what_tells_the_time_of_a_frame() -> None:
    channel = book_channel()
    relay, reader = relay_like(channel), Reader(channel)
    live_story(channel)
    times = [relay.read(each).time_ns for each in frames_of(new_frames(reader))][:3]
    assert times == [1, 1, 1]
    heartbeat = relay.read(frame(encode_event(Heartbeat(next_seq=3, time_ns=9))))
    assert (heartbeat.time_ns, heartbeat.first_seq, heartbeat.count) == (9, 3, 0)


def test_a_frame_that_is_damaged_is_refused() -> None:
    relay = relay_like(new_channel())
    with pytest.raises(PeerError):
        relay.read(frame(b"\x70 without its CRC"))
