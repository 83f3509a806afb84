"""What the messages of a stream become at a reader, without a server."""

from typing import Any

import pytest
from msgspec.structs import replace

from fanout.clients.nats_client import (
    Foreigners,
    Joining,
    Message,
    NatsAddress,
    Opened,
    Reading,
    parse_address,
    require_prefix,
    without_password,
)
from fanout.clients.outcomes import AddressError, DisconnectedError, Restarted
from fanout.clients.subscription import Subscription
from fanout.clients.wanted import Wanted
from fanout.clients.wholes import Wholes
from fanout.protocol import (
    BookFlags,
    BookUpdate,
    DataKinds,
    FeedState,
    Gap,
    GapState,
    Heartbeat,
    LimitExceededError,
    Loss,
    LossReason,
    Position,
    Quote,
    Request,
    Skipped,
    Snapshot,
    Start,
    Status,
    Trade,
    encode_event,
    pack_levels,
)
from fanout.protocol.framing import frame, seal
from fanout.protocol.jetstream import Stamp, Subject, headers_of, subject_of
from fanout.protocol.request import Moment
from tests.clients.nats_streams import BOTH, BTC, LIFE, Writer, trade

EPOCH_NS = BOTH.epoch_ns
ALL_KINDS = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
QUOTE = Quote(BTC, 7, 5, 10, 1, 11, 2)
BOOK = BookUpdate(BTC, 7, 5, pack_levels([(10, 5)]), pack_levels([(11, 2)]), BookFlags.WHOLE)


class Reader:
    """A reading, and what came of it."""

    def __init__(
        self, start: Any = Start.OLDEST, *, symbols: Any = (), make: Any = Reading, **place: Any
    ) -> None:
        self.subscription = Subscription(
            "nats://test",
            reconnect=True,
            request=Request(start=start),
            wanted=Wanted.of(symbols, False),
        )
        self.subscription.request()
        self.foreigners = Foreigners()
        if start is Start.OLDEST:
            place.setdefault("due", 1)
        elif isinstance(start, Position):
            place = {"epoch_ns": start.epoch_ns, "due": start.seq, **place}
        self.reading = make(self.subscription, self.foreigners, **place)
        self.stream_seq = 0

    def take(self, *messages: Any) -> list[Any]:
        """The records that they become."""
        for each in messages:
            self.stream_seq += 1
            if each is not None:
                message = (
                    each if isinstance(each, Message) else Message.of(self.stream_seq, *_of(each))
                )
                self.reading.take(message)
        return self.records()

    def records(self) -> list[Any]:
        records = list(self.subscription.ready)
        self.subscription.ready.clear()
        return records

    @property
    def foreign(self) -> list[tuple[str, int]]:
        return [(each.why, each.messages) for each in self.foreigners]


def _of(message: tuple[Any, ...]) -> tuple[Any, ...]:
    subject, data, headers = message
    return subject, headers, data


def seqs(records: list[Any]) -> list[Any]:
    """The number of each record, and the range of a loss."""
    return [
        (each.first_seq, each.last_seq) if isinstance(each, Loss) else each.seq for each in records
    ]


def changed(message: tuple[Any, ...], **headers: str) -> tuple[Any, ...]:
    """The message with other headers."""
    subject, data, its = message
    return subject, data, {**its, **{f"Fanout-{name}": value for name, value in headers.items()}}


def fetched(messages: list[tuple[Any, ...]], stream_seq: int) -> Message:
    """A header message that was fetched."""
    return Message.of(stream_seq, *_of(messages[0]), is_fetched=True)


# Addresses.


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nats://h/a", NatsAddress((("h", 4222),), "a", False)),
        ("nats://h:1/a.b", NatsAddress((("h", 1),), "a.b", False)),
        ("nats://h", NatsAddress((("h", 4222),), "", False)),
        ("nats://h,i:7/a", NatsAddress((("h", 4222), ("i", 7)), "a", False)),
        ("nats://h,nats://i/a", NatsAddress((("h", 4222), ("i", 4222)), "a", False)),
        ("nats+tls://[::1]:9/a", NatsAddress((("::1", 9),), "a", True)),
        ("nats://u:p%40w@h/a", NatsAddress((("h", 4222),), "a", False, "u", "p@w")),
        ("nats://u:p:q@h/a", NatsAddress((("h", 4222),), "a", False, "u", "p:q")),
        ("nats://u:p,q@h/a", NatsAddress((("h", 4222),), "a", False, "u", "p,q")),
    ],
)
def test_an_address_names_a_server_and_a_channel(url: str, expected: NatsAddress) -> None:
    assert parse_address(url) == expected


def test_an_address_shows_no_password() -> None:
    address = parse_address("nats+tls://user:secret@[::1]:9,h/a")
    assert address.servers == ["tls://[::1]:9", "tls://h:4222"]
    assert (
        repr(address)
        == f"NatsAddress({address.shown})"
        == "NatsAddress(nats+tls://[::1]:9,h:4222/a)"
    )
    assert without_password("nats://user:secret@h/a") == "nats://h/a"
    assert parse_address("nats://h").shown == "nats://h:4222"


@pytest.mark.parametrize(
    "url",
    [
        "tcp://user:secret@h:1/a",
        "nats://user:secret@",
        "nats://user:secret@h:x/a",
        "nats://user:secret@h:0/a",
        "nats://user:secret@h/a?b=c",
        "nats://user:secret@h/a#b",
        "nats://user:secret@h/A",
        "nats://user:secret@h/a/b",
        "nats://user:secret@[h/a",
        "nats://user:secret@h,/a",
        "nats://user:secret@h?x/a",
        "user:secret@h/a",
        "user:secret@host:4222",
        "nats://h,user:secret@h/a",
        "nats://user:secret@h,user:secret@h/a",
        "nats://user:secret@h,nats://user:secret@h/a",
        "nats://user:secret@more@h/a",
        "nats://user:1/secret@h/a",
        "nats://user:1/secret@h",
        "nats://user:secret/2@h",
    ],
)
def test_what_is_no_address_is_told_without_the_password(url: str) -> None:
    with pytest.raises(AddressError) as raised:
        parse_address(url)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None or "secret" not in str(raised.value.__cause__)


def test_a_prefix_is_looked_at() -> None:
    assert require_prefix("fanout-2") == "fanout-2"
    with pytest.raises(AddressError, match=r"prefix='a\.b' is no prefix"):
        require_prefix("a.b")


# Records in order.


def test_records_are_handed_on_as_they_are() -> None:
    reader, writer = Reader(), Writer()
    status = Status(seq=4, instrument=BTC, state=FeedState.STALE, since_ns=9)
    gap = Gap(seq=5, instrument=BTC, first_id=1, last_id=2, state=GapState.OPEN)
    loss = Loss(first_seq=6, last_seq=9, reason=LossReason.SLOW)
    records = reader.take(
        *writer.head(),
        writer.trades(3),
        writer.event(status),
        writer.event(gap),
        writer.event(loss, 4),
        writer.trades(1),
    )
    assert seqs(records) == [1, 2, 3, 4, 5, (6, 9), 10]
    assert records[3:6] == [status, gap, loss]
    assert (reader.foreign, reader.reading.place) == ([], Position(epoch_ns=EPOCH_NS, seq=11))


def test_a_frame_of_an_unknown_kind_takes_its_numbers() -> None:
    reader, writer = Reader(), Writer()
    head = writer.head()
    subject, data, headers = writer.trades(2)
    unknown = frame(seal(b"\x1f" + data[5:-4]))
    (record,) = reader.take(*head, (subject, unknown, headers))
    assert isinstance(record, Skipped)
    assert (record.first_seq, record.last_seq) == (1, 2)


def test_a_header_that_is_repeated_is_left_out_and_a_changed_one_is_handed_on() -> None:
    reader, writer = Reader(), Writer()
    reader.take(*writer.head(), writer.trades(1))
    first = reader.subscription.header
    assert seqs(reader.take(*writer.head(), writer.trades(1))) == [2]
    assert reader.subscription.header is first
    other = replace(BOTH, references=BOTH.references[::-1])
    assert seqs(reader.take(*writer.head(header=other), writer.trades(1))) == [3]
    assert reader.subscription.header == replace(other, next_seq=3)
    assert reader.foreign == []


def test_what_is_missing_between_two_numbers_is_lost() -> None:
    reader, writer = Reader(), Writer()
    reader.take(*writer.head(), writer.trades(2))
    lost = [writer.trades(3), writer.trades(1)]
    records = reader.take(*[None for _ in lost], writer.trades(1))
    assert records[0] == Loss(first_seq=3, last_seq=6, reason=LossReason.EVICTED)
    assert seqs(records[1:]) == [7]


def test_what_is_missing_before_a_header_is_lost_as_soon_as_it_comes() -> None:
    reader, writer = Reader(), Writer()
    reader.take(*writer.head(), writer.trades(2))
    writer.trades(3)
    assert seqs(reader.take(None, *writer.head())) == [(3, 5)]


def test_the_oldest_records_begin_with_the_loss_of_those_before() -> None:
    reader, writer = Reader(), Writer(header=replace(BOTH, next_seq=5))
    assert seqs(reader.take(*writer.head(), writer.trades(2))) == [(1, 4), 5, 6]


@pytest.mark.parametrize(
    ("seq", "expected"), [(1, [(1, 2), 3, 4, 5]), (3, [3, 4, 5]), (4, [4, 5]), (9, [])]
)
def test_a_position_is_the_first_number_that_is_handed_on(seq: int, expected: list[Any]) -> None:
    reader = Reader(Position(epoch_ns=EPOCH_NS, seq=seq))
    writer = Writer(header=replace(BOTH, next_seq=3))
    assert seqs(reader.take(*writer.head(), writer.trades(3))) == expected
    assert reader.foreign == []


def test_a_position_within_a_loss_gets_the_rest_of_it() -> None:
    reader, writer = Reader(Position(epoch_ns=EPOCH_NS, seq=4)), Writer()
    loss = Loss(first_seq=1, last_seq=6, reason=LossReason.SLOW)
    (rest,) = reader.take(*writer.head(), writer.event(loss, 6))
    assert rest == replace(loss, first_seq=4)


def test_a_position_within_a_frame_of_an_unknown_kind_loses_the_rest_of_it() -> None:
    reader, writer = Reader(Position(epoch_ns=EPOCH_NS, seq=2)), Writer()
    head = writer.head()
    subject, data, headers = writer.trades(3)
    records = reader.take(*head, (subject, frame(seal(b"\x1f" + data[5:-4])), headers))
    assert seqs(records) == [(2, 3)]


def test_a_moment_begins_with_the_number_that_comes() -> None:
    writer = Writer(header=replace(BOTH, next_seq=5))
    head = writer.head()
    writer.trades(2)
    reader = Reader(Moment(time_ns=5), epoch_ns=EPOCH_NS, due=7)
    assert seqs(reader.take(fetched(head, 1), None, writer.trades(2))) == [7, 8]


def test_records_whose_header_is_gone_are_lost_up_to_the_next_header() -> None:
    reader, writer = Reader(Moment(time_ns=5)), Writer()
    writer.head()
    assert reader.take(None, writer.trades(2)) == []
    assert seqs(reader.take(*writer.head(), writer.trades(1))) == [(1, 2), 3]


def test_a_header_that_is_fetched_counts_for_the_records_that_name_it() -> None:
    reader, writer = Reader(), Writer()
    reader.take(*writer.head(), writer.trades(1))
    other = replace(BOTH, references=BOTH.references[::-1])
    head = writer.head(header=other)
    late = writer.trades(1)
    assert reader.take(None, late) == [], "under the header before it would say something else"
    reader.stream_seq -= 2
    assert seqs(reader.take(fetched(head, 3), late)) == [2]
    assert reader.foreign == []


# Epochs.


def next_epoch(writer: Writer, next_seq: int = 1) -> Writer:
    header = replace(BOTH, epoch_ns=EPOCH_NS + 5, next_seq=next_seq)
    return Writer(header=header, last=writer.last)


def test_another_epoch_follows_a_restarted() -> None:
    reader, writer = Reader(), Writer()
    reader.take(*writer.head(), writer.trades(2))
    later = next_epoch(writer)
    restarted, *records = reader.take(*later.head(), later.trades(2))
    before = Position(epoch_ns=EPOCH_NS, seq=3)
    assert restarted == Restarted(before=before, epoch_ns=EPOCH_NS + 5)
    assert seqs(records) == [1, 2]
    assert (reader.subscription.state.reconnects, reader.foreign) == ((), [])
    assert reader.subscription.position == Position(epoch_ns=EPOCH_NS + 5, seq=3)


def test_another_epoch_whose_beginning_is_gone_begins_with_a_loss() -> None:
    reader, writer = Reader(), Writer()
    reader.take(*writer.head(), writer.trades(2))
    later = next_epoch(writer, 4)
    (restarted, *records) = reader.take(*later.head(), later.trades(1))
    assert isinstance(restarted, Restarted)
    assert seqs(records) == [(1, 3), 4]


def test_an_epoch_of_which_nothing_could_be_read_is_passed_over() -> None:
    reader, writer = Reader(), Writer()
    reader.take(*writer.head(), writer.trades(2))
    later = next_epoch(writer)
    later.head()
    assert reader.take(None, later.trades(1)) == []
    third = Writer(header=replace(BOTH, epoch_ns=EPOCH_NS + 9), last=later.last)
    restarted, *records = reader.take(*third.head(), third.trades(1))
    assert restarted == Restarted(before=Position(epoch_ns=EPOCH_NS, seq=3), epoch_ns=EPOCH_NS + 9)
    assert seqs(records) == [1]


def test_a_position_in_an_epoch_that_is_gone_stands_for_the_next_one() -> None:
    reader, writer = Reader(Position(epoch_ns=EPOCH_NS - 5, seq=77)), Writer()
    restarted, *records = reader.take(*writer.head(), writer.trades(1))
    assert isinstance(restarted, Restarted)
    assert seqs(records) == [1]


def test_messages_of_an_earlier_epoch_are_passed_over_before_the_place_and_foreign_behind() -> None:
    reader, writer = Reader(Position(epoch_ns=EPOCH_NS + 5, seq=1)), Writer()
    early = [*writer.head(writer.snapshot(QUOTE)), writer.trades(1)]
    assert (reader.take(*early), reader.foreign) == ([], [])
    later = next_epoch(writer)
    assert seqs(reader.take(*later.head(), later.trades(1), early[2])) == [1]
    assert reader.foreign == [("a message of an earlier epoch", 1)]


# Snapshots.


def test_a_reader_that_joins_gets_a_snapshot() -> None:
    reader, writer = Reader(), Writer(header=replace(BOTH, data=ALL_KINDS))
    records = reader.take(*writer.head(writer.snapshot(trade(0), QUOTE, BOOK)), writer.trades(1))
    assert [type(each) for each in records] == [Snapshot, Quote, BookUpdate, Trade]
    assert [type(each) for each in reader.take(*writer.head(writer.snapshot(QUOTE)))] == []


def test_a_reader_that_joins_amid_records_gets_no_newest_trades() -> None:
    reader = Reader(Position(epoch_ns=EPOCH_NS, seq=1))
    writer = Writer(header=replace(BOTH, data=ALL_KINDS))
    reader.take(*writer.head(), writer.trades(1))
    records = reader.take(*writer.head(writer.snapshot(trade(0), QUOTE, BOOK)))
    assert [type(each) for each in records] == [Quote, BookUpdate]


def test_a_snapshot_of_which_nothing_is_wanted_counts_as_taken() -> None:
    reader = Reader(Position(epoch_ns=EPOCH_NS, seq=1))
    writer = Writer(header=replace(BOTH, data=ALL_KINDS))
    reader.take(*writer.head(), writer.trades(1))
    assert reader.take(*writer.head(writer.snapshot(trade(0)))) == []
    assert (reader.foreign, reader.reading.needs_snapshot) == ([], False)


def test_a_reader_that_comes_back_gets_none() -> None:
    reader, writer = Reader(needs_snapshot=False), Writer(header=replace(BOTH, data=ALL_KINDS))
    assert seqs(reader.take(*writer.head(writer.snapshot(QUOTE)), writer.trades(1))) == [1]


@pytest.mark.parametrize("data", [DataKinds.TRADES, ALL_KINDS])
def test_after_a_loss_a_reader_of_books_and_quotes_gets_a_snapshot(data: DataKinds) -> None:
    reader, writer = Reader(), Writer(header=replace(BOTH, data=data))
    reader.take(*writer.head(writer.snapshot(trade(0))), writer.trades(1))
    assert not reader.reading.needs_snapshot
    writer.trades(3)
    reader.take(None, writer.trades(1))
    records = reader.take(*writer.head(writer.snapshot(trade(0), QUOTE, BOOK)))
    expected = [Quote, BookUpdate] if data is ALL_KINDS else []
    assert [type(each) for each in records] == expected


def test_after_a_loss_of_the_service_too() -> None:
    reader, writer = Reader(), Writer(header=replace(BOTH, data=ALL_KINDS))
    reader.take(*writer.head(writer.snapshot(QUOTE)))
    reader.take(writer.event(Loss(first_seq=1, last_seq=2, reason=LossReason.SLOW), 2))
    records = reader.take(*writer.head(writer.snapshot(QUOTE)))
    assert [type(each) for each in records] == [Quote]


def test_a_part_of_a_snapshot_that_is_behind_the_records_is_left_out() -> None:
    reader, writer = Reader(), Writer(header=replace(BOTH, data=ALL_KINDS))
    head, one, two = writer.head(writer.snapshot(QUOTE, BOOK))
    records = reader.take(head, one, writer.trades(1), two)
    assert [type(each) for each in records] == [Quote, Trade]
    assert (reader.reading.needs_snapshot, reader.foreign) == (True, [])


# Divided blocks.

NAMES = (BTC.symbol, LIFE.symbol, LIFE.symbol, BTC.symbol)


def test_the_parts_of_a_block_are_put_together() -> None:
    reader, writer = Reader(), Writer()
    one, two = [*writer.head(), *writer.divided(*NAMES)][1:]
    writer = Writer()
    reader.take(*writer.head())
    assert reader.take(one) == []
    records = reader.take(two)
    assert seqs(records) == [1, 2, 3, 4]
    assert tuple(each.symbol for each in records) == NAMES


def test_a_reader_of_some_symbols_counts_the_numbers_of_the_others() -> None:
    reader, writer = Reader(symbols=[LIFE.symbol]), Writer()
    records = reader.take(*writer.head(), *writer.divided(*NAMES), *writer.divided(*NAMES))
    assert seqs(records) == [2, 3, 6, 7]
    assert (reader.subscription.lost, reader.foreign) == (0, [])


def test_the_numbers_of_a_part_that_is_missing_are_lost() -> None:
    reader, writer = Reader(), Writer()
    reader.take(*writer.head())
    (one, _), (_, two) = writer.divided(*NAMES), writer.divided(*NAMES)
    records = reader.take(one, None, None, two)
    assert seqs(records) == [1, (2, 3), 4, (5, 5), 6, 7, (8, 8)]


@pytest.mark.parametrize("what", ["block", "header", "epoch"])
def test_an_incomplete_block_is_handed_on_with_what_follows(what: str) -> None:
    reader, writer = Reader(), Writer()
    reader.take(*writer.head())
    one, _ = writer.divided(*NAMES)
    reader.take(one, None)
    later = next_epoch(writer)
    followers = {"block": lambda: [writer.trades(1)], "header": writer.head, "epoch": later.head}
    assert seqs(reader.take(*followers[what]())[:4]) == [1, (2, 3), 4, *[5][: what == "block"]]


def test_a_header_that_comes_again_within_a_block_does_not_end_it() -> None:
    """As where a sender died within a block, and another one goes on."""
    reader, writer = Reader(), Writer()
    (head,) = writer.head()
    one, two = writer.divided(*NAMES)
    records = reader.take(head, one, head, changed(two, Header="3"), *writer.head())
    assert seqs(records) == [1, 2, 3, 4]
    assert (reader.subscription.lost, reader.foreign) == (0, [])


def test_another_header_within_a_block_ends_it() -> None:
    """What came under the one before cannot be read under this one."""
    reader, writer = Reader(), Writer()
    (head,) = writer.head()
    (other,) = Writer().head(header=replace(BOTH, references=BOTH.references[::-1]))
    one, two = writer.divided(*NAMES)
    records = reader.take(head, one, other, changed(two, Header="3"))
    assert seqs(records) == [1, (2, 3), 4]


def test_what_concerns_all_symbols_stands_on_a_subject_of_its_own() -> None:
    reader, writer = Reader(symbols=[LIFE.symbol]), Writer()
    down = Status(seq=1, instrument=None, state=FeedState.DOWN, since_ns=9)
    assert reader.take(*writer.head(), writer.of_all(down)) == [down]


# What is not ours.


def bad_messages() -> dict[str, Any]:
    """Messages that are not ours, by the reason, and where they stand: behind a header and one
    message of records, of which one is to come again."""
    writer = Writer()
    head, *_ = writer.head()
    subject, data, headers = writer.trades(2)
    snapshot = writer.head(writer.snapshot(QUOTE))[1]
    beat = frame(encode_event(Heartbeat(next_seq=3, time_ns=0)))
    two = data + writer.trades(1)[1]
    elsewhere = "fanout.perps.elsewhere"
    return {
        "a message without the headers of fanout": (subject, data, None),
        "a message with another subject": (elsewhere, data, headers),
        "a message that does not consist of whole frames": (subject, data[:-1], headers),
        "frame of 0 bytes": (subject, bytes(4), headers),
        "a message that does not consist": (subject, b"", headers),
        "CRC of a payload": (subject, data[:-1] + b"x", headers),
        "records with other numbers than": changed((subject, data, headers), Count="3"),
        "records with other numbers": (subject, two, {**headers, "Fanout-Count": "3"}),
        "records with other": changed((subject, data * 2, headers), Part="1", Parts="2"),
        "a frame of kind 0x23 among records": (subject, beat, headers),
        "a header with another epoch or number": changed(head, Seq="4"),
        "a header with another epoch": changed(head, Count="1"),
        "7 bytes hold no header": (head[0], bytes(7)[:0], head[2]),
        "a snapshot with other frames": changed(snapshot, Seq="8"),
        "a snapshot with other": (snapshot[0], beat, snapshot[2]),
    }


@pytest.mark.parametrize("why", list(bad_messages()))
def test_a_message_that_is_not_ours_is_counted_and_skipped(why: str) -> None:
    reader, writer = Reader(), Writer()
    bad = Message.of(2, *_of(bad_messages()[why]))
    head = writer.head()
    records = reader.take(*head, bad, bad, writer.trades(1))
    reader.stream_seq = writer.last
    assert seqs(records) == [1]
    ((told, count),) = reader.foreign
    assert told.startswith(why.removeprefix("7 bytes ")) or "hold no header" in told
    assert count == 2
    assert next(iter(reader.foreigners)).first_stream_seq == 2


def test_a_block_that_cannot_be_decoded_is_skipped_and_its_numbers_are_lost() -> None:
    reader, writer = Reader(), Writer()
    head = writer.head()
    subject, data, headers = writer.trades(1)
    body = bytearray(data[4:-4])
    broken = frame(seal(body[:-3]))
    records = reader.take(*head, (subject, broken, headers), writer.trades(1))
    assert seqs(records) == [(1, 1), 2]
    ((_, count),) = reader.foreign
    assert count == 1


def test_a_symbol_that_is_not_served_ends_it() -> None:
    reader, writer = Reader(symbols=["NONE"]), Writer()
    with pytest.raises(DisconnectedError, match="NONE is not served here"):
        reader.take(*writer.head())


def test_reasons_beyond_the_limit_are_counted_together() -> None:
    foreigners = Foreigners()
    for each in range(Foreigners.MAX_REASONS + 5):
        foreigners.add(f"reason {each}", each)
    *_, last = foreigners
    assert (last.why, last.messages) == ("other reasons", 5)
    assert len(list(foreigners)) == Foreigners.MAX_REASONS + 1


# The end of the stream.


def test_at_the_end_the_numbering_is_certain() -> None:
    reader, writer = Reader(Position(epoch_ns=EPOCH_NS - 5, seq=3)), Writer()
    reader.reading.reach_end()
    reader.take(*writer.head())
    for _ in range(2):
        reader.reading.reach_end()
    (restarted,) = reader.records()
    assert isinstance(restarted, Restarted)
    assert reader.subscription.statistics.events == 1


def opened_by(joining: Joining, *messages: tuple[Any, ...]) -> Opened:
    for place, each in enumerate(messages, 1):
        joining.take(Message.of(place, *_of(each)))
    return joining.opened(len(messages) + 1)


def test_a_reader_that_joins_at_the_end_gets_what_a_service_would_send() -> None:
    writer = Writer(header=replace(BOTH, data=ALL_KINDS))
    head = writer.head(writer.snapshot(trade(0), QUOTE, BOOK))
    opened = opened_by(Joining("nats://test"), *head, writer.trades(3), writer.trades(1))
    assert opened.place == Position(epoch_ns=EPOCH_NS, seq=5)
    assert (opened.header_at, opened.is_whole, opened.stream_seq) == (1, True, 7)
    reader = Reader(Start.LIVE)
    reader.reading.begin(opened)
    snapshot, quote, book = reader.records()
    assert [each.trade_id for each in snapshot.trades] == [1_004]
    assert (quote.update_id, book.update_id) == (7, 7)
    reader.stream_seq = writer.last
    assert seqs(reader.take(writer.trades(1), *writer.head(writer.snapshot(QUOTE)))) == [5]


def test_a_reader_that_joins_within_a_block_gets_all_of_it() -> None:
    writer = Writer()
    head = writer.head()
    one, two = writer.divided(*NAMES)
    opened = opened_by(Joining("nats://test"), *head, one)
    assert opened.place == Position(epoch_ns=EPOCH_NS, seq=1)
    reader = Reader(Start.LIVE)
    reader.reading.begin(opened)
    reader.stream_seq = 2
    assert seqs(reader.take(two)) == [1, 2, 3, 4]
    assert reader.subscription.lost == 0


@pytest.mark.parametrize("what", ["loss", "part of a book"])
def test_what_a_joiner_lacks_comes_with_the_next_snapshot(what: str) -> None:
    writer = Writer(header=replace(BOTH, data=ALL_KINDS))
    head = writer.head(writer.snapshot(trade(0), QUOTE, BOOK))
    lost = Loss(first_seq=1, last_seq=2, reason=LossReason.SLOW)
    amid = replace(BOOK, update_id=9, flags=BookFlags.MORE)
    last = writer.event(lost, 2) if what == "loss" else writer.block([amid])
    opened = opened_by(Joining("nats://test"), *head, last)
    reader = Reader(Start.LIVE)
    reader.reading.begin(opened)
    assert not any(isinstance(each, BookUpdate) for each in reader.records())
    reader.stream_seq = writer.last
    records = reader.take(*writer.head(writer.snapshot(trade(0), QUOTE, BOOK)))
    assert [type(each) for each in records] == [Quote, BookUpdate]


def test_a_reader_that_joins_before_the_first_record_gets_no_snapshot() -> None:
    writer = Writer()
    opened = opened_by(Joining("nats://test"), *writer.head())
    assert (opened.is_whole, opened.snapshot) == (True, ())
    reader = Reader(Start.LIVE)
    reader.reading.begin(opened)
    reader.stream_seq = 1
    assert seqs(reader.take(writer.trades(2))) == [1, 2]


def test_a_book_that_is_too_deep_does_not_keep_a_reader_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise LimitExceededError("more than 100,000 bids in a book")

    monkeypatch.setattr(Wholes, "apply", refused)
    writer = Writer()
    opened = opened_by(Joining("nats://test"), *writer.head(), writer.trades(2))
    assert (opened.place, opened.snapshot) == (Position(epoch_ns=EPOCH_NS, seq=3), ())


def test_a_stream_without_a_header_has_no_place_yet() -> None:
    assert opened_by(Joining("nats://test")) == Opened(stream_seq=1)


def test_a_reader_goes_on_at_the_end_with_the_header_there() -> None:
    reader, writer = Reader(Position(epoch_ns=EPOCH_NS, seq=9)), Writer()
    writer.head()
    header = replace(BOTH, next_seq=4)
    place = Position(epoch_ns=EPOCH_NS, seq=9)
    reader.reading.begin(Opened(stream_seq=2, place=place, header=header, header_at=1))
    assert reader.subscription.position == place
    reader.stream_seq = writer.last
    writer.next_seq = 8
    assert seqs(reader.take(writer.trades(3))) == [9, 10]


def test_a_message_without_headers_stands_before_all() -> None:
    assert Message.of(1, "x", None, None).place == (0, 0)
    stamp = Stamp(epoch_ns=3, seq=4, count=2)
    headers = headers_of(Subject.RECORDS, stamp)
    message = Message.of(1, subject_of("x", "y", Subject.RECORDS), headers, b"")
    assert message.place == (3, 6)
