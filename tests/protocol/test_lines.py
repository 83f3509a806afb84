"""Two lines as one stream: what comes out, what is waited for, and what is counted."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from fanout.protocol import (
    START,
    Block,
    BookUpdate,
    EndReason,
    Header,
    Line,
    Lines,
    Loss,
    LossReason,
    Moment,
    PeerError,
    Position,
    Quote,
    Record,
    Snapshot,
    Start,
    Status,
    SubscriberSession,
    Trade,
    decode_packet,
    encode_block,
    encode_event,
    encode_packet,
    frame,
    on_line,
    opening,
)
from fanout.protocol.constants import LENGTH_BYTES
from fanout.protocol.errors import NotHeardError, RecoveryEndedError, WrongEpochError
from fanout.protocol.framing import seal
from fanout.protocol.instruments import encode_entry, runs_of
from fanout.protocol.lines import SILENCE_S, Missing
from fanout.protocol.packet_order import MAX_SEQ_LEAP
from fanout.protocol.packet_stream import MAX_HEADERS
from fanout.protocol.packets import SNAPSHOT, ListingSums, frames_of
from fanout.protocol.records import End, Heartbeat, Skipped
from fanout.protocol.request import Begin
from tests.stand.packet_sender import Sender

EPOCH_NS = 1


class Heard:
    """`Lines` and what a session makes of its frames."""

    def __init__(self, lines: Lines | None = None, begin: Begin = Start.LIVE) -> None:
        self.lines = lines or Lines(begin=begin)
        self.session = SubscriberSession()
        self.session.ask(begin)

    def hear(
        self, packets: Sequence[bytes], *, line: Line = Line.A, now_s: float = 0.0, source: str = ""
    ) -> list[Record]:
        """The records that come out behind these packets."""
        for each in packets:
            self.lines.receive(on_line(each, line), line, source or line.name, now_s)
        return self.records()

    def recover(self, data: bytes, *, now_s: float = 0.0, piece_bytes: int = 10**9) -> bool:
        for at in range(0, len(data), piece_bytes):
            if self.lines.recovered(data[at : at + piece_bytes], now_s):
                return True
        return False

    def records(self) -> list[Record]:
        self.session.receive(self.lines.take())
        return [each for records in iter(self.session.next_records, None) for each in records]


def joined(sender: Sender, lines: Lines | None = None) -> Heard:
    """A reader that has joined and has everything so far."""
    heard = Heard(lines)
    heard.hear(sender.snapshot())
    assert heard.lines.has_joined
    return heard


def numbers(records: Sequence[Record]) -> list[int | tuple[int, int, str]]:
    """The numbers of records, and the ranges and reasons of losses."""
    return [
        (each.first_seq, each.last_seq, each.reason.name)
        if isinstance(each, Loss)
        else getattr(each, "seq", 0)
        for each in records
    ]


# In order.


def test_packets_in_order_come_out_as_they_are() -> None:
    sender = Sender()
    heard = joined(sender)
    assert heard.lines.take() == b""
    packets = sender.trades(3) + sender.status()
    assert numbers(heard.hear(packets)) == [1, 2, 3, 4]
    assert heard.session.header == replace(sender.channel.header, next_seq=1)
    assert (heard.lines.next_seq, heard.lines.missing, heard.lines.wanted) == (5, None, None)


def test_each_packet_is_taken_from_the_line_that_is_first() -> None:
    sender = Sender()
    heard = joined(sender)
    one, two, three = sender.trades() + sender.trades() + sender.trades()
    assert numbers(heard.hear([one, two])) == [1, 2]
    assert numbers(heard.hear([one, two, three], line=Line.B)) == [3]
    assert numbers(heard.hear([three])) == []
    counts = heard.lines.statistics
    assert counts.second == 3
    assert (counts.lines[0].lost, counts.lines[1].lost, counts.lines[1].packets) == (0, 0, 3)


def test_an_early_packet_waits_for_the_one_before() -> None:
    sender = Sender()
    heard = joined(sender)
    one, two, three = sender.trades() + sender.trades(5) + sender.trades()
    assert numbers(heard.hear([one, three], now_s=7.0)) == [1]
    assert heard.lines.missing == Missing(2, 6, 7.0)
    assert heard.lines.wanted == Position(epoch_ns=EPOCH_NS, seq=2)
    assert heard.lines.statistics.early == 1
    assert numbers(heard.hear([two], line=Line.B, now_s=8.0)) == [2, 3, 4, 5, 6, 7]
    assert heard.lines.missing is None
    heard.lines.give_up()
    assert heard.records() == []


def test_a_heartbeat_shows_that_the_last_records_are_missing() -> None:
    sender = Sender()
    heard = joined(sender)
    sender.trades(2)
    heard.hear(sender.heartbeat(), now_s=3.0)
    assert heard.lines.missing == Missing(1, 2, 3.0)
    assert heard.lines.heard_s == 3.0


def test_a_lost_heartbeat_holds_nothing_up() -> None:
    sender = Sender()
    heard = joined(sender)
    sender.heartbeat()
    assert numbers(heard.hear(sender.trades())) == [1]
    assert numbers(heard.hear(sender.trades())) == [2]


def test_frames_of_unknown_kinds_pass() -> None:
    sender = Sender()
    heard = joined(sender)
    unknown = frame(seal(b"\x1e\0\0\3\0" + (1).to_bytes(8, "little"))) + frame(seal(b"\x30new"))
    found = heard.hear(sender.packer.pack(unknown, 1))
    assert found == [Skipped(first_seq=1, last_seq=3, kind=0x1E)]
    assert heard.session.statistics.unknown_frames == 2


# Giving up.


def test_what_is_given_up_is_reported_as_lost() -> None:
    sender = Sender()
    heard = joined(sender)
    packets = [packet for _ in range(6) for packet in sender.trades(2)]
    heard.hear([packets[1], packets[3], packets[4]])
    heard.lines.give_up()
    assert numbers(heard.records()) == [(1, 2, "UNANNOUNCED"), 3, 4]
    assert heard.lines.missing == Missing(5, 6, 0.0)
    heard.lines.give_up()
    assert numbers(heard.records()) == [(5, 6, "UNANNOUNCED"), 7, 8, 9, 10]
    assert numbers(heard.hear([packets[0]])) == [], "it comes too late"
    assert (heard.lines.statistics.lost, heard.lines.statistics.second) == (4, 1)


def test_a_hole_is_as_old_as_the_first_packet_behind_it() -> None:
    sender = Sender()
    heard = joined(sender)
    packets = [packet for _ in range(6) for packet in sender.trades()]
    heard.hear([packets[1]], now_s=1.0)
    heard.hear([packets[3]], now_s=2.0)
    heard.hear([packets[5]], now_s=3.0)
    assert heard.lines.missing == Missing(1, 1, 1.0)
    heard.lines.give_up()
    assert heard.lines.missing == Missing(3, 3, 2.0)
    heard.hear([packets[2]], now_s=9.0)
    assert heard.lines.missing == Missing(5, 5, 3.0)


@pytest.mark.parametrize("limits", [{"max_early_packets": 3}, {"max_early_bytes": 200}])
def test_what_waits_is_bounded(limits: dict[str, int]) -> None:
    sender = Sender()
    heard = joined(sender, Lines(**limits))  # type: ignore[arg-type]
    sender.trades()
    found = []
    for _ in range(8):
        found += heard.hear(sender.trades())
        assert heard.lines.statistics.early <= 5
    assert numbers(found) == [(1, 1, "UNANNOUNCED"), 2, 3, 4, 5, 6, 7, 8, 9]


def test_what_waits_before_joining_is_bounded_too() -> None:
    sender = Sender()
    heard = Heard(Lines(max_early_packets=4))
    for _ in range(9):
        heard.hear(sender.trades())
    assert heard.lines.statistics.early == 4
    found = heard.hear(sender.snapshot())
    assert heard.lines.has_joined
    assert numbers(found)[:4] == [6, 7, 8, 9], "the oldest made room"


# Joining by packets.


def test_a_reader_joins_at_the_first_packet_whose_instruments_it_knows() -> None:
    sender = Sender()
    before = sender.change() + sender.trades(2)
    behind = sender.change() + sender.trades(2)
    heard = Heard()
    assert heard.hear(before) == heard.hear(behind) == []
    assert heard.lines.wanted is Start.LIVE
    found = heard.hear(sender.snapshot())
    assert heard.session.header == replace(sender.channel.header, next_seq=3)
    assert numbers(found)[:2] == [3, 4]
    assert isinstance(found[2], Snapshot)


def test_a_reader_that_joined_skips_later_snapshots() -> None:
    sender = Sender(has_books=True)
    sender.whole_book()
    sender.trades(2)
    heard = Heard()
    first = heard.hear(sender.snapshot())
    assert {type(each) for each in first} == {Snapshot, BookUpdate}
    assert heard.hear(sender.snapshot()) == []
    sender.quotes()
    assert heard.hear(sender.snapshot()) == []  # and the quote that was lost is waited for
    assert heard.lines.missing is not None


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (Position(epoch_ns=EPOCH_NS, seq=3), [(3, 5, "DISCONNECTED"), 6]),
        (Position(epoch_ns=EPOCH_NS, seq=6), [6]),
        (Position(epoch_ns=EPOCH_NS, seq=9), [6]),
        (Position(epoch_ns=0, seq=3), [(1, 5, "OTHER_EPOCH"), 6]),
        (Start.OLDEST, [(1, 5, "EVICTED"), 6]),
        (Moment(time_ns=5), [6]),
        (Start.LIVE, [6]),
    ],
)
def test_what_went_by_before_joining_is_lost_without_tcp(
    begin: Begin, expected: list[int | tuple[int, int, str]]
) -> None:
    sender = Sender()
    sender.trades(5)
    heard = Heard(begin=begin)
    heard.lines.receive(sender.packer.opening(1, is_last=True)[0], Line.A, "A", 0.0)
    found = heard.hear(sender.trades())
    heard.lines.give_up()
    assert numbers(found + heard.records()) == expected
    sender.trades()
    heard.hear(sender.heartbeat())
    heard.lines.give_up()
    assert numbers(heard.records()) == [(7, 7, "UNANNOUNCED")]


# Instruments.


def test_instruments_that_change_come_out_at_their_place() -> None:
    sender = Sender()
    heard = joined(sender)
    packets = sender.trades() + sender.change() + sender.trades() + sender.change()
    assert numbers(heard.hear(packets)) == [1, 2]
    assert heard.session.header is not None
    assert heard.session.header.instruments == sender.channel.header.instruments
    assert heard.lines.header == replace(sender.channel.header, next_seq=1)


def test_records_under_instruments_that_were_lost_wait_for_a_header() -> None:
    sender = Sender()
    heard = joined(sender)
    sender.change()
    heard.hear(sender.trades(2), now_s=4.0)
    assert heard.lines.missing == Missing(1, 0, 4.0)
    assert heard.lines.wanted == Position(epoch_ns=EPOCH_NS, seq=1)
    found = heard.hear(sender.snapshot())
    assert found == [sender.sent[1], sender.sent[2]]
    assert heard.lines.missing is None


def test_records_under_instruments_that_were_lost_can_be_given_up() -> None:
    sender = Sender()
    heard = joined(sender)
    sender.change()
    heard.hear(sender.trades(2) + sender.trades(3) + sender.heartbeat())
    heard.lines.give_up()
    assert numbers(heard.records()) == [(1, 5, "UNANNOUNCED")]
    assert heard.lines.missing is None
    found = heard.hear(sender.snapshot() + sender.trades())
    assert found == [sender.sent[6]]


def test_a_header_that_was_in_force_long_ago_is_forgotten() -> None:
    sender = Sender()
    heard = joined(sender)
    for _ in range(MAX_HEADERS + 5):
        assert heard.hear(sender.change() + sender.trades()) == [
            sender.sent[sender.channel.log.next_seq - 1]
        ]
    assert heard.lines.missing is None


def test_instruments_that_cannot_follow_are_counted_and_left_out() -> None:
    sender = Sender()
    heard = joined(sender)
    wrong = replace(sender.channel.header.instruments[0], symbol="OTHER")
    (run,) = runs_of(0, [encode_entry(wrong, sender.channel.header.references[0])])
    heard.hear([_like(sender, [frame(run)])])
    assert heard.lines.statistics.malformed == 1
    assert heard.lines.missing is None


def _like(
    sender: Sender, frames: list[bytes], *, flags: int = 0, listing: int | None = None
) -> bytes:
    """A packet that comes next, with frames that are none of the packer's."""
    known = decode_packet(sender.packer.heartbeat(1))
    return encode_packet(
        frames,
        next_seq=known.next_seq,
        number=known.number,
        epoch_ns=known.epoch_ns,
        listing=known.listing if listing is None else listing,
        sent_ns=1,
        flags=flags,
    )


# Snapshots.


def book_reader() -> tuple[Sender, Heard]:
    sender = Sender(has_books=True)
    sender.whole_book(300)
    sender.quotes()
    heard = joined(sender)
    assert heard.lines.next_seq == 3
    return sender, heard


def test_books_come_again_after_a_loss() -> None:
    sender, heard = book_reader()
    sender.trades()
    heard.hear(sender.trades())
    heard.lines.give_up()
    assert numbers(heard.records()) == [(3, 3, "UNANNOUNCED"), 4]
    found = heard.hear(sender.snapshot())
    assert {type(each) for each in found} == {Quote, BookUpdate}
    assert heard.hear(sender.snapshot()) == []


def test_a_snapshot_that_is_older_than_its_place_is_left_out() -> None:
    sender, heard = book_reader()
    sender.trades()
    heard.hear(sender.trades())
    heard.lines.give_up()
    heard.records()
    late = sender.snapshot()
    assert numbers(heard.hear(sender.trades())) == [5]
    assert heard.hear(late) == []
    assert {type(each) for each in heard.hear(sender.snapshot())} == {Quote, BookUpdate}


def test_a_piece_of_a_book_is_waited_for_and_then_given_up() -> None:
    sender, heard = book_reader()
    sender.trades()
    heard.hear(sender.heartbeat())
    heard.lines.give_up()
    heard.records()
    packets = sender.snapshot()
    piece = next(
        place for place, each in enumerate(packets) if decode_packet(each).frames[4] == 0x12
    )
    lost = packets[piece + 1]
    assert len(packets) > piece + 3
    found = heard.hear(packets[: piece + 1] + packets[piece + 2 :] + sender.trades(), now_s=2.0)
    assert heard.lines.missing == Missing(4, 3, 2.0)
    assert heard.lines.wanted is None, "no record is missing"
    heard.lines.give_up()
    found += heard.records()
    assert numbers(found)[-1] == 4
    (begun,) = [each for each in found if isinstance(each, BookUpdate)]
    assert begun.has_more, "and the rest of this book is of no use"
    assert heard.hear([lost]) == []
    again = [each for each in heard.hear(sender.snapshot()) if isinstance(each, BookUpdate)]
    assert again[0].is_whole
    assert not again[-1].has_more


def needing_books() -> tuple[Sender, Heard]:
    """A reader of a channel with books that lost a record, and has everything else."""
    sender, heard = book_reader()
    sender.trades()
    heard.hear(sender.heartbeat())
    heard.lines.give_up()
    assert numbers(heard.records()) == [(3, 3, "UNANNOUNCED")]
    return sender, heard


def books_among(packets: Sequence[bytes]) -> list[bytes]:
    return [each for each in packets if decode_packet(each).frames[4] == 0x12]


def test_a_book_is_left_out_after_a_packet_that_may_have_been_a_piece_of_it() -> None:
    sender, heard = needing_books()
    first, _, *rest = books_among(sender.snapshot())
    assert heard.hear([first]) == []
    heard.lines.give_up()
    (begun,) = heard.records()
    assert isinstance(begun, BookUpdate)
    assert numbers(heard.hear(sender.trades())) == [4], (
        "it is not held up by a snapshot without end"
    )
    sender.packer.number -= 1
    later = [_renumbered(sender, each) for each in rest]
    assert heard.hear(later) == []


def _renumbered(sender: Sender, data: bytes) -> bytes:
    """A packet of a snapshot as it would be sent now."""
    return _like(sender, list(frames_of(decode_packet(data).frames)), flags=SNAPSHOT)


def test_packets_behind_a_recovered_hole_are_not_held_up_by_a_snapshot() -> None:
    sender, heard = needing_books()
    heard.hear(sender.snapshot()[:2])
    sender.trades()
    heard.hear(sender.trades())
    wanted = heard.lines.wanted
    assert wanted == Position(epoch_ns=EPOCH_NS, seq=4)
    assert heard.recover(sender.answer(wanted))
    assert numbers(heard.records())[-2:] == [4, 5]


def test_a_snapshot_behind_a_recovered_hole_is_not_held_up() -> None:
    sender, heard = needing_books()
    sender.trades()
    heard.hear(sender.snapshot() + sender.trades())
    wanted = heard.lines.wanted
    assert wanted is not None
    answer = sender.answer(wanted)
    without_books = answer[: answer.index(b"\x12\2") - 4] + answer[answer.index(b"\x10\0") - 4 :]
    assert heard.recover(without_books)
    first, *books, last = heard.records()
    assert numbers([first, last]) == [4, 5]
    assert {type(each) for each in books} == {Quote, BookUpdate}
    assert heard.lines.missing is None


def test_a_snapshot_amid_what_was_recovered_as_one_block_is_left_out() -> None:
    sender, heard = needing_books()
    sender.trades()
    amid = sender.snapshot()
    sender.trades()
    heard.hear([*amid, *sender.trades()])
    trades = [each for seq in (4, 5, 6) if isinstance(each := sender.sent[seq], Trade)]
    block = Block(first_seq=4, trades=trades, received_ns=1)
    payload = encode_block(block, sender.channel.header)
    assert heard.recover(stream(frame(payload), header=sender.channel.header))
    assert numbers(heard.records()) == [4, 5, 6]


def test_the_rest_of_a_book_is_left_out_behind_a_recovered_hole() -> None:
    sender, heard = needing_books()
    packets = sender.snapshot()
    place = packets.index(books_among(packets)[0])
    begun = heard.hear(packets[: place + 1])[-1]
    assert isinstance(begun, BookUpdate)
    assert begun.has_more
    sender.packer.number -= len(packets) - place - 1
    sender.trades()
    heard.hear([_renumbered(sender, each) for each in packets[place + 2 :]])
    wanted = heard.lines.wanted
    assert wanted == Position(epoch_ns=EPOCH_NS, seq=4)
    answer = sender.answer(wanted)
    without_books = answer[: answer.index(b"\x12\2") - 4] + answer[answer.index(b"\x10\0") - 4 :]
    assert heard.recover(without_books)
    assert numbers(heard.records()) == [4]


def test_a_snapshot_over_tcp_that_packets_have_overtaken_is_left_out() -> None:
    sender, heard = needing_books()
    late = sender.trades()
    more = sender.trades()
    sender.trades()
    last = sender.trades()
    heard.hear([*more, *last])
    wanted = heard.lines.wanted
    assert wanted == Position(epoch_ns=EPOCH_NS, seq=4)
    answer = sender.answer(wanted)
    books = answer.index(b"\x12\2") - 4
    assert not heard.recover(answer[:books])
    assert numbers(heard.hear(late)) == [4, 5]
    assert heard.recover(answer[books:])
    assert numbers(heard.records()) == [6, 7]


def test_a_piece_of_a_book_that_comes_late_is_in_its_place() -> None:
    sender, heard = book_reader()
    sender.trades()
    heard.hear(sender.heartbeat())
    heard.lines.give_up()
    heard.records()
    packets = sender.snapshot()
    heard.hear(packets[:2] + packets[3:])
    found = heard.hear(packets[2:3], line=Line.B)
    books = [each for each in found if isinstance(each, BookUpdate)]
    assert b"".join(each.packed_bids for each in books) == sender.channel.books.of(0).packed()[0]


def test_a_snapshot_of_unknown_instruments_and_a_broken_one_are_left_out() -> None:
    sender, heard = book_reader()
    sender.trades()
    heard.hear(sender.heartbeat())
    heard.lines.give_up()
    heard.records()
    quotes = sender.channel.state_snapshot()
    heard.hear([_like(sender, [quotes], flags=SNAPSHOT, listing=1)])
    broken = frame(seal(quotes[LENGTH_BYTES:-9]))
    assert heard.hear([_like(sender, [broken], flags=SNAPSHOT)]) == []
    header = frame(seal(sender.packer.opening(1)[0][52:60]))
    heard.hear([_like(sender, [header], flags=SNAPSHOT, listing=2)])
    assert heard.lines.statistics.malformed == 2


def test_a_broken_opening_is_counted() -> None:
    sender = Sender()
    heard = Heard()
    opened = next(frames_of(decode_packet(sender.packer.opening(1)[0]).frames))
    broken = frame(seal(opened[LENGTH_BYTES:-8]))
    heard.hear([_like(sender, [broken], flags=SNAPSHOT)])
    assert (heard.lines.statistics.malformed, heard.lines.has_joined) == (1, False)


def test_a_snapshot_block_and_a_loss_among_records_pass() -> None:
    sender, heard = book_reader()
    lost = Loss(first_seq=3, last_seq=9, reason=LossReason.DAMAGED)
    quotes = sender.channel.state_snapshot()
    packets = sender.packer.pack(frame(encode_event(lost)), 1)
    packets += sender.packer.pack(quotes, 1)
    found = heard.hear(packets)
    assert found[0] == lost
    assert isinstance(found[1], Quote)
    stray = _like(sender, [quotes], listing=7)
    assert heard.hear([stray]) == [], "of unknown instruments"
    sender.channel.relay(frame(encode_event(lost)), 7)
    again = heard.hear(sender.snapshot())
    assert {type(each) for each in again} == {Quote, BookUpdate}


# Recovery over TCP.


def holed(**options: object) -> tuple[Sender, Heard]:
    """A reader that lacks the numbers 3 to 8."""
    sender = Sender(**options)  # type: ignore[arg-type]
    heard = joined(sender)
    heard.hear(sender.trades(2))
    sender.trades(6)
    heard.hear(sender.trades(2))
    heard.records()
    assert heard.lines.wanted == Position(epoch_ns=EPOCH_NS, seq=3)
    return sender, heard


@pytest.mark.parametrize("piece_bytes", [1, 60, 10**6])
def test_what_is_missing_is_recovered(piece_bytes: int) -> None:
    sender, heard = holed()
    answer = sender.answer(Position(epoch_ns=EPOCH_NS, seq=3))
    assert heard.recover(answer, piece_bytes=piece_bytes)
    found = heard.records()
    assert found == [sender.sent[seq] for seq in range(3, 11)]
    assert heard.lines.statistics.recovered == 6
    assert (heard.lines.wanted, heard.lines.missing) == (None, None)


def test_a_hole_in_the_middle_of_a_block_is_recovered_from_there() -> None:
    sender = Sender()
    heard = joined(sender)
    packets = sender.trades(400)
    assert len(packets) > 3
    found = heard.hear(packets[:1] + packets[2:])
    wanted = heard.lines.wanted
    assert isinstance(wanted, Position)
    assert heard.recover(sender.answer(wanted))
    assert numbers(found + heard.records()) == [*range(1, 401)]
    # All of the block came over TCP, so that the packets behind the hole brought nothing.
    assert heard.lines.statistics.early == 0


@pytest.mark.parametrize("last", range(1, 9))
def test_a_packet_of_which_a_part_has_come_gives_the_rest(last: int) -> None:
    sender = Sender()
    heard = joined(sender)
    packets = sender.trades(3) + sender.trades(4) + sender.status()
    frames = b"".join(decode_packet(each).frames for each in packets)
    part = encode_event(Loss(first_seq=1, last_seq=last, reason=LossReason.SLOW))
    found = heard.hear([_packet(sender, frame(part), 1), _packet(sender, frames, 1, number=501)])
    assert numbers(found) == [(1, last, "SLOW"), *range(last + 1, 9)]


def test_a_block_that_cannot_be_cut_leaves_a_hole() -> None:
    sender = Sender()
    heard = joined(sender)
    broken = frame(seal(sender_block(sender)[:-5]))
    part = encode_event(Loss(first_seq=1, last_seq=1, reason=LossReason.SLOW))
    found = heard.hear([_packet(sender, frame(part), 1), _packet(sender, broken, 1, number=501)])
    assert numbers(found) == [(1, 1, "SLOW")]
    assert (heard.lines.next_seq, heard.lines.statistics.malformed) == (2, 1)
    heard.hear(sender.trades())
    assert heard.lines.missing == Missing(2, 3, 0.0)


def sender_block(sender: Sender) -> bytes:
    """The payload of a block with the numbers 1 to 3."""
    (packet,) = sender.trades(3)
    return next(frames_of(decode_packet(packet).frames))[LENGTH_BYTES:]


def _packet(sender: Sender, frames: bytes, next_seq: int, number: int = 500) -> bytes:
    return encode_packet(
        list(frames_of(frames)),
        next_seq=next_seq,
        number=number,
        epoch_ns=EPOCH_NS,
        listing=ListingSums()(sender.channel.header),
        sent_ns=1,
    )


def test_a_loss_in_a_packet_is_cut_to_what_did_not_come() -> None:
    sender = Sender()
    heard = joined(sender)
    heard.hear(sender.trades(2))
    lost = Loss(first_seq=1, last_seq=9, reason=LossReason.EVICTED)
    found = heard.hear([_packet(sender, frame(encode_event(lost)), 1)])
    assert numbers(found) == [(3, 9, "EVICTED")]


def test_instruments_that_were_lost_are_recovered() -> None:
    sender = Sender()
    heard = joined(sender)
    heard.hear(sender.trades(2))
    sender.change()
    heard.hear(sender.trades(2))
    wanted = heard.lines.wanted
    assert wanted == Position(epoch_ns=EPOCH_NS, seq=3)
    assert heard.recover(sender.answer(wanted))
    assert heard.records() == [sender.sent[3], sender.sent[4]]


def test_instruments_within_a_hole_are_recovered() -> None:
    sender = Sender()
    heard = joined(sender)
    for _ in range(3):
        sender.trades(2)
        sender.change()
    heard.hear(sender.trades(2))
    wanted = heard.lines.wanted
    assert wanted is not None
    assert heard.recover(sender.answer(wanted), piece_bytes=20)
    assert heard.records() == [sender.sent[seq] for seq in range(1, 9)]


def test_instruments_that_were_recovered_already_change_nothing() -> None:
    sender = Sender()
    heard = joined(sender)
    first, change, second = sender.trades(2), sender.change(), sender.trades(2)
    heard.hear(second)
    wanted = heard.lines.wanted
    assert wanted is not None
    assert heard.recover(sender.answer(wanted))
    assert numbers(heard.records()) == [1, 2, 3, 4]
    assert heard.hear(change + first) == []
    assert heard.hear(sender.trades()) == [sender.sent[5]]


def test_what_the_service_has_no_more_is_lost_with_its_reason() -> None:
    sender = Sender(log_bytes=400)
    heard = joined(sender)
    for _ in range(10):
        sender.trades()
    heard.hear(sender.trades())
    wanted = heard.lines.wanted
    assert wanted is not None
    assert heard.recover(sender.answer(wanted))
    lost, *rest = heard.records()
    assert isinstance(lost, Loss)
    assert (lost.first_seq, lost.reason) == (1, LossReason.EVICTED)
    assert numbers(rest) == [*range(lost.last_seq + 1, 12)]
    assert heard.lines.statistics.lost == lost.count


def test_after_a_loss_over_tcp_the_books_come_before_the_packets() -> None:
    sender = Sender(has_books=True, log_bytes=900)
    sender.whole_book(3)
    heard = joined(sender)
    heard.hear(sender.trades())
    for _ in range(10):
        sender.trades()
    heard.hear(sender.trades())
    wanted = heard.lines.wanted
    assert wanted is not None
    answer = sender.answer(wanted)
    behind = answer.index(b"\x22" + (3).to_bytes(8, "little")) + 40
    assert not heard.recover(answer[:behind])
    assert heard.lines.wanted is not None, "the snapshots are still to come"
    assert heard.hear(sender.trades()) != []
    assert heard.recover(answer[behind:])
    found = heard.records()
    assert isinstance(found[0], BookUpdate)
    assert numbers(found)[-1] == sender.channel.log.next_seq - 1


def test_books_over_tcp_are_left_out_by_a_reader_that_has_them() -> None:
    sender, heard = book_reader()
    sender.trades()
    heard.hear(sender.trades())
    wanted = heard.lines.wanted
    assert wanted is not None
    answer = sender.answer(wanted)
    assert b"\x12\2" in answer
    assert heard.recover(answer)
    assert numbers(heard.records()) == [3, 4]


def test_packets_behind_a_loss_over_tcp_wait_for_the_books() -> None:
    sender = Sender(has_books=True, log_bytes=1)
    sender.whole_book(3)
    heard = joined(sender)
    sender.trades()
    heard.hear(sender.trades())
    wanted = heard.lines.wanted
    assert wanted is not None
    answer = sender.answer(wanted)
    assert not heard.recover(answer[: answer.index(b"\x12\2") - 4])
    assert numbers(heard.records()) == [(2, 2, "EVICTED")]
    assert heard.recover(answer[answer.index(b"\x12\2") - 4 :])
    books, trade = heard.records()
    assert isinstance(books, BookUpdate)
    assert numbers([trade]) == [3]


def test_a_connection_that_breaks_is_followed_by_another() -> None:
    sender, heard = holed()
    answer = sender.answer(Position(epoch_ns=EPOCH_NS, seq=3))
    assert not heard.recover(answer[:-110])
    heard.lines.recovery_lost()
    wanted = heard.lines.wanted
    assert wanted is not None
    assert heard.recover(sender.answer(wanted))
    assert numbers(heard.records()) == [*range(3, 11)]


def test_a_connection_is_of_no_use_once_late_packets_have_come() -> None:
    sender = Sender()
    heard = joined(sender)
    one, two = sender.trades(), sender.trades()
    heard.hear(two)
    wanted = heard.lines.wanted
    assert wanted is not None
    answer = sender.answer(wanted)
    assert not heard.recover(answer[:30])
    heard.hear(one)
    assert heard.recover(answer[30:])
    assert heard.records() == []


def stream(*frames: bytes, header: Header) -> bytes:
    return frame(START) + opening(header) + b"".join(frames)


def test_a_service_that_begins_behind_what_was_asked_is_refused() -> None:
    sender, heard = holed()
    beat = frame(encode_event(Heartbeat(next_seq=9, time_ns=1)))
    with pytest.raises(NotHeardError, match="sent number 9, and 3 was asked for"):
        heard.recover(stream(beat, header=sender.channel.header))


def test_a_service_at_another_epoch_is_refused() -> None:
    sender, heard = holed()
    other = replace(sender.channel.header, epoch_ns=99)
    with pytest.raises(WrongEpochError, match="at epoch 99, and the packets are of epoch 1"):
        heard.recover(stream(header=other))


def test_a_service_that_ends_is_said_so() -> None:
    sender, heard = holed()
    end = End(reason=EndReason.FULL, last_seq=2, retry_ms=5, why="full house")
    with pytest.raises(RecoveryEndedError, match="full house") as ended:
        heard.recover(stream(frame(encode_event(end)), header=sender.channel.header))
    assert ended.value.end == frame(encode_event(end))
    heard.lines.recovery_lost()
    over = End(reason=EndReason.EPOCH_OVER, last_seq=1, retry_ms=0)
    with pytest.raises(RecoveryEndedError, match="EPOCH_OVER"):
        heard.recover(stream(frame(encode_event(over)), header=sender.channel.header))


def test_broken_bytes_over_tcp_are_refused() -> None:
    sender, heard = holed()
    with pytest.raises(PeerError):
        heard.recover(frame(b"\x10") + sender.answer(Position(epoch_ns=EPOCH_NS, seq=3)))
    heard.lines.recovery_lost()
    with pytest.raises(PeerError):
        heard.recover(stream(frame(b"\x10"), header=sender.channel.header))


def test_frames_without_numbers_over_tcp_are_left_out() -> None:
    sender, heard = holed()
    unknown = frame(seal(b"\x30new"))
    assert not heard.recover(stream(unknown, header=sender.channel.header))
    assert heard.records() == []


# Joining over TCP.


def test_a_reader_joins_over_tcp_before_any_packet() -> None:
    sender = Sender(has_books=True)
    sender.whole_book()
    sender.trades(2)
    heard = Heard()
    wanted = heard.lines.wanted
    assert wanted is Start.LIVE
    assert heard.recover(sender.answer(wanted), piece_bytes=9, now_s=5.0)
    assert (heard.lines.epoch_ns, heard.lines.heard_s) == (EPOCH_NS, 5.0)
    assert {type(each) for each in heard.records()} == {Snapshot, BookUpdate}
    assert numbers(heard.hear(sender.trades())) == [4]
    assert heard.hear(sender.snapshot()) == [], "it has one"


def test_packets_wait_until_the_snapshots_have_come_over_tcp() -> None:
    sender = Sender(has_books=True)
    sender.whole_book()
    heard = Heard()
    answer = sender.answer(Start.LIVE)
    cut = len(answer) - 20  # the last frame, a HEARTBEAT, is cut
    assert not heard.recover(answer[:40])
    assert heard.hear(sender.book_change()) == []
    assert not heard.recover(answer[40:cut])
    assert heard.lines.wanted == Position(epoch_ns=EPOCH_NS, seq=2)
    assert {getattr(each, "seq", 0) for each in heard.records()} == {0}
    assert heard.recover(answer[cut:])
    assert numbers(heard.records()) == [2]


def test_packets_go_on_if_the_connection_breaks_before_the_snapshots_have_come() -> None:
    sender = Sender(has_books=True)
    sender.whole_book()
    heard = Heard()
    assert not heard.recover(sender.answer(Start.LIVE)[:-20])
    assert numbers(heard.hear(sender.trades())) == [0], "the book"
    heard.lines.recovery_lost()
    assert numbers(heard.records()) == [2]


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (Position(epoch_ns=EPOCH_NS, seq=3), [3, 4, 5, 6, 7]),
        (Position(epoch_ns=0, seq=3), [1, 2, 3, 4, 5, 6, 7]),
        (Start.OLDEST, [1, 2, 3, 4, 5, 6, 7]),
        (Moment(time_ns=-(10**18)), [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_reader_joins_where_it_asks_to(begin: Begin, expected: list[int]) -> None:
    sender = Sender()
    sender.trades(2)
    sender.trades(4)
    heard = Heard(begin=begin)
    assert heard.lines.wanted == begin
    assert heard.recover(sender.answer(begin), piece_bytes=15)
    assert numbers(heard.hear(sender.trades())) == expected


def test_a_reader_that_asks_for_a_time_gets_the_books_of_that_time() -> None:
    sender = Sender(has_books=True)
    sender.whole_book()
    sender.trades(2)
    heard = Heard(begin=Moment(time_ns=-(10**18)))
    assert heard.recover(sender.answer(Moment(time_ns=-(10**18))))
    found = heard.records()
    assert isinstance(found[0], BookUpdate)
    assert numbers(found) == [0, 1, 2, 3]


def test_a_reader_that_asks_for_a_time_goes_on_live_without_an_answer() -> None:
    sender = Sender()
    sender.trades(2)
    heard = Heard(begin=Moment(time_ns=5))
    answer = sender.answer(Start.LIVE)
    assert not heard.recover(answer[: answer.index(b"\x10\2")])
    assert heard.hear(sender.trades()) == []
    heard.lines.recovery_lost()
    assert numbers(heard.records()) == [3]


def test_a_hole_is_not_given_up_while_it_is_being_recovered() -> None:
    sender = Sender()
    heard = joined(sender, Lines(max_early_packets=3))
    sender.trades()
    heard.hear(sender.trades())
    wanted = heard.lines.wanted
    assert wanted is not None
    assert not heard.recover(sender.answer(wanted)[:20])
    for _ in range(6):
        heard.hear(sender.trades())
    assert (heard.lines.statistics.early, heard.lines.statistics.lost) == (3, 0)
    heard.lines.recovery_lost()
    wanted = heard.lines.wanted
    assert wanted is not None
    assert heard.recover(sender.answer(wanted))
    assert numbers(heard.records()) == [*range(1, 9)]


def test_a_reader_leaves_tcp_where_it_meets_the_packets() -> None:
    sender = Sender()
    sender.trades(2)
    begin = Position(epoch_ns=EPOCH_NS, seq=1)
    answer = sender.answer(begin)
    heard = Heard(begin=begin)
    heard.hear(sender.trades())
    assert heard.recover(answer[: answer.index(b"\x23") - 4])
    assert numbers(heard.records()) == [1, 2, 3]


def test_a_reader_that_gets_no_packets_goes_on_over_tcp() -> None:
    sender = Sender()
    heard = Heard()
    begin = sender.answer(Start.LIVE)
    assert not heard.recover(begin[: begin.index(b"\x23") - 4])
    for seq in range(1, 4):
        (packet,) = sender.trades()
        assert not heard.recover(decode_packet(packet).frames)
        assert numbers(heard.records()) == [seq]
        assert heard.lines.wanted == Position(epoch_ns=EPOCH_NS, seq=seq + 1)
    heard.lines.recovery_lost()
    assert heard.lines.wanted is not None
    assert heard.hear([packet]) == []
    assert heard.lines.wanted is None, "the packets are at the same place"
    assert numbers(heard.hear(sender.trades())) == [4]


def test_a_service_at_a_later_epoch_than_the_packets_decides() -> None:
    old, new = Sender(), Sender(epoch_ns=9)
    heard = Heard()
    heard.hear(old.trades() + old.trades())
    assert heard.lines.epoch_ns == EPOCH_NS
    assert not heard.recover(new.answer(Start.LIVE)[:-20], now_s=1.0)
    assert heard.lines.epoch_ns == 9
    assert heard.lines.statistics.early == 0
    heard.lines.recovery_lost()
    assert numbers(heard.hear(new.trades(), now_s=1.0)) == [1]
    assert heard.hear(old.trades(), now_s=2.0) == []
    assert heard.lines.next_epoch_ns is None


def test_packets_of_the_services_epoch_count_that_came_as_those_of_another() -> None:
    old, new = Sender(), Sender(epoch_ns=9)
    heard = Heard()
    heard.hear(old.trades(), now_s=1.0)
    answer = new.answer(Start.LIVE)
    heard.hear(new.trades() + new.trades(), now_s=1.0)
    assert heard.recover(answer, now_s=1.0)
    assert numbers(heard.records()) == [1, 2]
    heard.hear(old.trades(), now_s=1.0 + SILENCE_S)
    assert heard.lines.following(5.0).epoch_ns == EPOCH_NS


def test_packets_of_a_third_epoch_are_kept() -> None:
    heard = Heard()
    heard.hear(Sender(epoch_ns=9).trades())
    assert not heard.recover(Sender().answer(Start.LIVE)[:-20], now_s=1.0)
    assert heard.lines.epoch_ns == EPOCH_NS
    again = Heard()
    assert not again.recover(Sender().answer(Start.LIVE)[:-20], now_s=1.0)
    again.lines.recovery_lost()
    third = Sender(epoch_ns=7)
    again.hear(third.trades() + third.trades(), now_s=1.0 + SILENCE_S)
    assert again.lines.next_epoch_ns == 7


def test_an_older_epoch_is_read_over_tcp_before_that_of_the_packets() -> None:
    old, new = Sender(), Sender(epoch_ns=9)
    old.trades(3)
    begin = Position(epoch_ns=EPOCH_NS, seq=2)
    heard = Heard(begin=begin)
    heard.hear(new.trades() + new.trades())
    over = frame(encode_event(End(reason=EndReason.EPOCH_OVER, last_seq=3, retry_ms=0)))
    beat = frame(encode_event(Heartbeat(next_seq=4, time_ns=1)))
    answer = old.answer(begin).removesuffix(beat)
    assert heard.recover(answer + over, now_s=1.0)
    *records, end = heard.records()
    assert numbers(records) == [2, 3]
    assert isinstance(end, End)
    assert heard.lines.is_over
    heard.hear(new.trades(), now_s=2.0)
    assert heard.lines.next_epoch_ns == 9
    after = Heard(heard.lines.following(2.0, begin=Start.OLDEST), begin=Start.OLDEST)
    assert numbers(after.hear(new.snapshot()))[:3] == [1, 2, 3]


# Another epoch, another sender.


def test_an_end_that_comes_again_is_not_taken_for_the_next_epoch() -> None:
    old, new = Sender(), Sender(epoch_ns=9)
    heard = joined(old)
    heard.hear(old.end())
    after = Heard(heard.lines.following(1.0))
    assert after.hear(old.end(), now_s=1.0) == []
    assert (after.lines.epoch_ns, after.lines.statistics.other_epoch) == (None, 2)
    after.hear(new.snapshot(), now_s=1.0)
    assert numbers(after.hear(new.trades(), now_s=1.0)) == [1]


def test_the_next_epoch_begins_behind_an_end() -> None:
    old, new = Sender(), Sender(epoch_ns=9)
    heard = joined(old)
    ends = old.end()
    (end,) = heard.hear(ends)
    assert isinstance(end, End)
    assert (heard.lines.is_over, heard.lines.wanted) == (True, None)
    assert heard.hear(ends * 4 + old.trades()) == []
    assert heard.lines.next_epoch_ns is None
    (one,) = new.trades()
    heard.hear([one, one], now_s=1.0)
    assert heard.lines.next_epoch_ns is None, "one packet proves nothing"
    heard.hear(new.snapshot(), now_s=1.0)
    assert heard.lines.next_epoch_ns == 9
    heard.hear(Sender(epoch_ns=11).trades(), now_s=1.0)
    assert heard.lines.next_epoch_ns == 9
    after = Heard(heard.lines.following(1.0))
    assert numbers(after.records())[0] == 1
    assert (after.lines.epoch_ns, after.lines.next_seq) == (9, 2)


def test_another_epoch_counts_for_nothing_while_the_present_one_is_heard() -> None:
    sender, other = Sender(), Sender(epoch_ns=9)
    heard = joined(sender)
    for step in range(10):
        heard.hear(other.trades(), now_s=float(step))
        assert heard.hear(sender.trades(), now_s=float(step)) != []
    assert heard.lines.next_epoch_ns is None
    assert heard.lines.statistics.other_epoch == 10


def test_another_epoch_takes_over_from_one_that_is_silent() -> None:
    old, new = Sender(), Sender(epoch_ns=9)
    heard = joined(old)
    one, two, three = old.trades() + old.trades() + old.trades()
    heard.hear([one, three], now_s=10.0)
    assert two
    heard.hear(new.trades(), now_s=11.0)
    heard.hear(Sender(epoch_ns=5).trades(), now_s=11.0)
    heard.hear(new.trades(), now_s=12.0)
    heard.hear(new.trades(), now_s=10.0 + SILENCE_S - 0.1)
    assert not heard.lines.is_over
    heard.hear(new.trades(), now_s=10.0 + SILENCE_S)
    assert heard.lines.is_over
    assert heard.lines.next_epoch_ns == 9
    heard.records()
    assert heard.lines.statistics.lost == 1
    after = heard.lines.following(13.0)
    assert after.statistics.packets == 3


def test_an_end_that_waits_comes_out_when_another_epoch_takes_over() -> None:
    old, new = Sender(), Sender(epoch_ns=9)
    heard = joined(old)
    old.trades()
    heard.hear(old.end(), now_s=0.0)
    assert heard.lines.missing is not None
    new_packets = new.trades() + new.trades()
    found = heard.hear(new_packets, now_s=SILENCE_S)
    assert numbers(found)[0] == (1, 1, "UNANNOUNCED")
    assert isinstance(found[1], End)
    assert heard.lines.next_epoch_ns == 9


def test_a_reader_that_never_joined_goes_on_to_another_epoch() -> None:
    old, new = Sender(), Sender(epoch_ns=9)
    heard = Heard()
    heard.hear(old.trades())
    heard.hear(new.trades() + new.trades(), now_s=SILENCE_S)
    assert (heard.lines.is_over, heard.lines.next_epoch_ns) == (True, 9)
    assert heard.records() == []


def test_a_line_has_one_sender_until_that_is_silent() -> None:
    sender = Sender()
    heard = joined(sender)
    one, two, three = sender.trades() + sender.trades() + sender.trades()
    assert heard.hear([one], source="forger", now_s=1.0) == []
    assert numbers(heard.hear([one], now_s=1.0)) == [1]
    assert numbers(heard.hear([two], line=Line.B, source="other", now_s=1.0)) == [2]
    assert heard.lines.statistics.other_sender == 1
    assert numbers(heard.hear([three], source="moved", now_s=1.0 + SILENCE_S)) == [3]


@pytest.mark.parametrize("line", Line)
def test_a_forged_end_does_not_end_a_session(line: Line) -> None:
    sender = Sender()
    heard = joined(sender)
    heard.hear(sender.trades())
    for each in sender.end():
        heard.lines.receive(on_line(each, line), Line.A, "forger", 1.0)
    assert heard.lines.statistics.other_sender == 2
    assert numbers(heard.hear(sender.trades(), now_s=1.0)) == [2]


def test_an_end_counts_when_it_has_come_twice() -> None:
    sender = Sender()
    heard = joined(sender)
    wrong, _ = sender.end()
    assert heard.hear([wrong]) == []
    assert not heard.lines.is_over
    assert numbers(heard.hear(sender.trades())) == [1]
    one, two = sender.end()
    assert heard.hear([one]) == [], "it is another one"
    (end,) = heard.hear([two])
    assert isinstance(end, End)
    assert heard.lines.is_over


def test_an_end_that_comes_on_both_lines_has_come_twice() -> None:
    sender = Sender()
    heard = joined(sender)
    one, _ = sender.end()
    assert heard.hear([one]) == []
    (end,) = heard.hear([one], line=Line.B)
    assert isinstance(end, End)


def test_an_end_shows_that_the_last_records_are_missing_and_waits_for_them() -> None:
    sender = Sender()
    heard = joined(sender)
    last = sender.trades(3)
    one, two = sender.end()
    heard.hear([one], now_s=2.0)
    assert heard.lines.missing == Missing(1, 3, 2.0)
    heard.hear([one], line=Line.B)
    heard.hear([two])
    assert numbers(heard.hear(last))[:3] == [1, 2, 3]
    assert heard.lines.is_over


@pytest.mark.parametrize("line", Line)
def test_a_forged_heartbeat_makes_no_reader_give_up_records(line: Line) -> None:
    sender = Sender()
    heard = joined(sender)
    for far in (MAX_SEQ_LEAP, 2**24 - 1):
        for forged in _heartbeats(sender, 1 + far):
            heard.lines.receive(on_line(forged, line), Line.A, "forger", 0.0)
    assert heard.lines.missing is None
    assert heard.lines.statistics.other_sender == 4
    assert numbers(heard.hear(sender.trades())) == [1]


def _heartbeats(sender: Sender, next_seq: int) -> list[bytes]:
    """Two heartbeats that come next, with another number than is due."""
    beat = frame(encode_event(Heartbeat(next_seq=next_seq, time_ns=1)))
    number = sender.packer.number
    return [_packet(sender, beat, next_seq, number=number + each) for each in range(2)]


@pytest.mark.parametrize(
    ("event", "next_seq"),
    [
        (Heartbeat(next_seq=2**24, time_ns=1), 2**24),
        (Loss(first_seq=1, last_seq=2**24, reason=LossReason.SLOW), 1),
    ],
)
def test_one_wrong_packet_of_the_sender_makes_no_reader_give_up_millions(
    event: Heartbeat | Loss, next_seq: int
) -> None:
    sender = Sender()
    heard = joined(sender)
    wrong = _packet(sender, frame(encode_event(event)), next_seq, number=sender.packer.number)
    assert heard.hear([wrong]) == []
    assert (heard.lines.missing, heard.lines.statistics.far) == (None, 1)
    assert numbers(heard.hear(sender.trades() + sender.trades())) == [1, 2]


def test_a_leap_counts_when_the_next_packet_of_its_sender_agrees_with_it() -> None:
    sender = Sender()
    heard = joined(sender)
    for _ in range(MAX_SEQ_LEAP // 500 + 1):
        sender.trades(500)
    due = sender.channel.log.next_seq
    one, two = sender.trades() + sender.trades()
    assert heard.hear([one]) == []
    assert heard.hear([one], line=Line.B) == [], "the same packet confirms nothing"
    assert heard.lines.missing is None
    heard.hear([two])
    assert heard.lines.missing == Missing(1, due - 1, 0.0)
    heard.lines.give_up()
    assert numbers(heard.records()) == [(1, due - 1, "UNANNOUNCED"), due, due + 1]
    counts = heard.lines.statistics
    assert (counts.far, counts.lost) == (1, due - 1), "the packet of line B confirmed nothing"


def test_a_line_is_the_socket_that_brought_a_packet() -> None:
    sender = Sender()
    heard = joined(sender)
    (one,) = sender.trades()
    heard.lines.receive(on_line(one, Line.B), Line.A, "A", 0.0)
    assert numbers(heard.records()) == [1]
    counts = heard.lines.statistics
    assert (list(counts.lines), counts.lines[0].packets) == ([0], counts.packets)


# What is no packet of ours.


def test_what_is_not_in_order_is_counted_by_its_fault() -> None:
    sender = Sender()
    heard = joined(sender)
    (packet,) = sender.trades(2)
    inside = bytearray(packet)
    inside[-1] ^= 1
    for data in (b"HTFP", packet[:60], bytes(inside), packet + b"more"):
        heard.lines.receive(data, Line.A, "A", 0.0)
    wrong = replace(decode_packet(packet), channel=4)
    again = encode_packet(
        list(frames_of(wrong.frames)),
        next_seq=1,
        number=wrong.number,
        epoch_ns=EPOCH_NS,
        listing=wrong.listing,
        sent_ns=1,
        channel=4,
    )
    heard.lines.receive(again, Line.A, "A", 0.0)
    counts = heard.lines.statistics
    assert (counts.foreign, counts.cut, counts.damaged, counts.malformed) == (2, 1, 1, 1)
    assert numbers(heard.hear([packet])) == [1, 2]


def test_a_packet_that_is_far_from_all_others_is_counted_and_changes_nothing() -> None:
    sender = Sender()
    heard = joined(sender)
    far = _packet(sender, frame(encode_event(Heartbeat(next_seq=10**12, time_ns=1))), 10**12)
    assert heard.hear([far]) == []
    assert heard.lines.statistics.far == 1
    assert numbers(heard.hear(sender.trades())) == [1]


def test_a_sender_that_numbers_its_packets_anew_is_followed() -> None:
    sender = Sender(number=10**6)
    heard = joined(sender)
    assert numbers(heard.hear(sender.trades())) == [1]
    sender.packer.number = 0
    one, two, three = sender.trades() + sender.trades() + sender.trades()
    assert heard.hear([one]) == []
    assert heard.lines.statistics.far == 1
    assert numbers(heard.hear([two, three])) == [2, 3, 4]
    assert heard.lines.statistics.far == 0
    assert numbers(heard.hear(sender.heartbeat() + sender.status())) == [5]


def test_the_end_counts_also_where_packets_are_numbered_anew() -> None:
    sender = Sender(number=500)
    heard = joined(sender)
    sender.packer.number = 0
    lost = sender.trades()
    heard.hear(sender.heartbeat())
    assert heard.lines.missing == Missing(1, 1, 0.0)
    assert numbers(heard.hear(lost)) == [1]
    late = sender.end()
    assert numbers(heard.hear(sender.trades())) == [2]
    assert heard.hear(late) == [], "an END of before"
    (end,) = heard.hear(sender.end())
    assert isinstance(end, End)


def test_a_status_is_a_record_like_others() -> None:
    sender = Sender()
    heard = joined(sender)
    found = heard.hear(sender.status() + sender.trades())
    assert [type(each) for each in found] == [Status, Trade]
