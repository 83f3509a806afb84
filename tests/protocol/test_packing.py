"""A channel's frames as packets: nothing is lost in them but what fits no packet."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    START,
    BlockFlags,
    BookBlock,
    BookFlags,
    BookUpdate,
    End,
    EndReason,
    FeedState,
    Header,
    MalformedError,
    NotRepresentableError,
    OrderBlock,
    OrderUpdate,
    Packer,
    Packet,
    QuoteBlock,
    Record,
    Status,
    SubscriberSession,
    decode_header,
    decode_orders,
    decode_packet,
    encode_block,
    encode_book,
    encode_changes,
    encode_event,
    encode_features,
    encode_orders,
    encode_quotes,
    frame,
    opening,
    pack_levels,
    pack_orders,
)
from fanout.protocol.framing import seal
from fanout.protocol.packets import (
    END,
    HEARTBEAT,
    LAST,
    SNAPSHOT,
    ListingSums,
    frames_of,
)
from tests.protocol import strategies as own
from tests.protocol.golden import (
    BOOK,
    BTC,
    FEATURES,
    HEADER,
    ORDERS,
    QUOTES,
    ROWS_HEADER,
    TRADES,
    payload,
)
from tests.thoroughness import examples

START_AT = replace(HEADER, next_seq=1)
Blocks = QuoteBlock | BookBlock | OrderBlock


def packed(packer: Packer, *frames: bytes) -> list[Packet]:
    return [decode_packet(each) for each in packer.pack(b"".join(frames), 9)]


def records_of(packets: Iterable[Packet], header: Header = START_AT) -> list[Record]:
    """What a session makes of the frames of packets, one behind the other."""
    session = SubscriberSession()
    session.receive(frame(START) + opening(header) + b"".join(each.frames for each in packets))
    return [each for records in iter(session.next_records, None) for each in records]


def trades(count: int, first_seq: int = 1) -> bytes:
    many = [replace(TRADES.trades[0], trade_id=5**9 * each) for each in range(count)]
    return frame(encode_block(replace(TRADES, first_seq=first_seq, trades=many), HEADER))


def test_frames_share_a_packet_as_far_as_they_fit() -> None:
    packer = Packer(START_AT, packet_bytes=512, channel=3, number=2**32 - 1)
    frames = [trades(3, 1 + 3 * each) for each in range(24)]
    packets = packed(packer, *frames)
    assert b"".join(each.frames for each in packets) == b"".join(frames)
    assert [each.number for each in packets] == [2**32 - 1, 0, 1, 2]
    assert [each.next_seq for each in packets[1:]] == [each.stop_seq for each in packets[:-1]]
    assert {(each.channel, each.sent_ns, each.epoch_ns) for each in packets} == {
        (3, 9, HEADER.epoch_ns)
    }
    assert (packer.next_seq, packer.left_out) == (73, 0)


def test_a_frame_that_just_fits_stays_whole() -> None:
    frames = trades(80)
    exact = Packer(START_AT, packet_bytes=len(frames) + 48)
    assert [each.frames for each in packed(exact, frames)] == [frames]
    assert exact.longest_frame_bytes == len(frames)
    short = Packer(START_AT, packet_bytes=len(frames) + 47)
    assert len(packed(short, frames)) == 2


@settings(max_examples=examples(15), deadline=None)
@given(st.data(), own.headers())
def test_long_blocks_are_divided_and_their_records_stay_the_same(
    data: st.DataObject, header: Header
) -> None:
    header = replace(header, next_seq=1)
    frames, seq = [], 1
    for _ in range(data.draw(st.integers(1, 3))):
        block = data.draw(own.blocks(header))
        many = [*block.trades] * 9
        frames.append(frame(encode_block(replace(block, first_seq=seq, trades=many), header)))
        quotes = data.draw(own.quote_blocks(header))
        quotes = replace(quotes, first_seq=seq + len(many))
        frames.append(frame(encode_quotes(quotes, header)))
        seq += len(many) + len(quotes.quotes)
    packets = packed(Packer(header, packet_bytes=512), *frames)
    assert max(len(each.frames) for each in packets) <= 512 - 48
    session = SubscriberSession()
    session.receive(frame(START) + opening(header) + b"".join(frames))
    expected = [each for records in iter(session.next_records, None) for each in records]
    assert records_of(packets, header) == expected


def wide(levels: int) -> BookUpdate:
    bids = pack_levels((10**9 - 7**7 * each, 10**9 + each) for each in range(levels))
    asks = pack_levels((10**9 + 7**7 * each, 10**9 + each) for each in range(1, levels))
    return BookUpdate(BTC, 5, 6, bids, asks, BookFlags.WHOLE | BookFlags.TOP_ONLY)


def test_a_record_that_fits_no_packet_leaves_a_hole() -> None:
    packer = Packer(START_AT, packet_bytes=512)
    narrow = replace(wide(2), flags=BookFlags.NONE)
    block = BookBlock(first_seq=1, updates=[narrow, wide(200), narrow, narrow], received_ns=1)
    packets = packed(packer, frame(encode_book(block, HEADER)), trades(2, 5))
    assert [(each.next_seq, each.stop_seq) for each in packets] == [(1, 2), (3, 7)]
    assert (packer.left_out, packer.next_seq) == (1, 7)


def test_a_last_record_that_fits_no_packet_shows_in_the_heartbeat() -> None:
    packer = Packer(START_AT, packet_bytes=512)
    block = BookBlock(first_seq=1, updates=[wide(200)], received_ns=1)
    unknown = frame(seal(b"\x1e\0\0\3\0" + (2).to_bytes(8, "little") + bytes(1_000)))
    assert packed(packer, frame(encode_book(block, HEADER)), unknown) == []
    assert (packer.left_out, packer.next_seq) == (4, 5)
    beat = decode_packet(packer.heartbeat(77))
    assert (beat.next_seq, beat.stop_seq, beat.flags, beat.number) == (5, 5, HEARTBEAT, 0)


def test_numbers_that_the_log_lost_leave_a_hole() -> None:
    packer = Packer(START_AT)
    packets = packed(packer, trades(2), trades(2, 9))
    assert [(each.next_seq, each.stop_seq) for each in packets] == [(1, 3), (9, 11)]
    assert packer.left_out == 6


def test_numbers_that_come_again_are_refused() -> None:
    packer = Packer(START_AT)
    packer.pack(trades(2), 1)
    with pytest.raises(MalformedError, match="comes again: 3 is next"):
        packer.pack(trades(2), 1)


def test_instruments_get_packets_of_their_own() -> None:
    packer = Packer(START_AT)
    instruments = tuple(replace(each, lot=9) for each in HEADER.instruments)
    later = replace(HEADER, instruments=instruments)
    (change,) = encode_changes(HEADER, later)
    packets = packed(packer, trades(2), frame(change), trades(2, 3))
    assert [each.is_listing for each in packets] == [False, True, False]
    before, behind = ListingSums()(HEADER), ListingSums()(later)
    assert [each.listing for each in packets] == [before, before, behind]
    assert packer.header.instruments == instruments
    assert [each.seq for each in records_of(packets)] == [1, 2, 3, 4]  # type: ignore[union-attr]


def many_instruments(count: int) -> Header:
    return replace(
        START_AT,
        instruments=tuple(
            replace(BTC, index=index, symbol=f"SYMBOL-{index}") for index in range(count)
        ),
        references=(HEADER.references[0],) * count,
    )


def test_a_change_of_many_instruments_takes_several_packets() -> None:
    before = many_instruments(100)
    after = replace(before, instruments=tuple(replace(each, lot=9) for each in before.instruments))
    packer = Packer(before, packet_bytes=1_400)
    packets = packed(packer, *map(frame, encode_changes(before, after)))
    assert len(packets) > 5
    assert len({each.listing for each in packets}) == len(packets)
    assert packets[0].listing == ListingSums()(before)
    beat = decode_packet(packer.heartbeat(1))
    assert beat.listing == ListingSums()(after) == ListingSums()(packer.header)


def test_an_opening_is_a_header_and_all_instruments() -> None:
    header = many_instruments(100)
    packer = Packer(header, packet_bytes=600)
    packer.pack(trades(4), 1)
    packets = [decode_packet(each) for each in packer.opening(1)]
    assert {(each.flags, each.next_seq, each.stop_seq) for each in packets} == {(SNAPSHOT, 5, 5)}
    session = SubscriberSession()
    session.receive(frame(START) + b"".join(each.frames for each in packets))
    assert not any(iter(session.next_records, None))
    assert session.header == replace(header, next_seq=5)
    (last,) = Packer(START_AT).opening(1, is_last=True)
    assert decode_packet(last).flags == SNAPSHOT | LAST


def test_a_header_that_is_too_long_leaves_the_other_channels_out() -> None:
    header = replace(START_AT, channels=tuple(f"channel-{each}" for each in range(255)))
    (first, *_) = Packer(header, packet_bytes=512).opening(1)
    whole = next(iter(frames_of(decode_packet(first).frames)))
    assert decode_header(whole[4:])[0].channels == ()


def test_columns_that_fit_no_packet_are_refused() -> None:
    most = 16
    header = replace(ROWS_HEADER, columns=tuple(f"c{place:023}" for place in range(most)))
    (first, *_) = Packer(replace(header, channels=("spot",)), packet_bytes=512).opening(1)
    whole = next(iter(frames_of(decode_packet(first).frames)))
    assert decode_header(whole[4:])[0].columns == header.columns
    with pytest.raises(NotRepresentableError, match="header of 17 columns takes"):
        Packer(replace(header, columns=(*header.columns, "c" * 24)), packet_bytes=512)


def test_rows_are_divided_over_packets_and_one_that_fits_none_is_left_out() -> None:
    many = [replace(FEATURES.rows[0], time_ns=each) for each in range(40)]
    block = replace(FEATURES, rows=many)
    packer = Packer(ROWS_HEADER, packet_bytes=512)
    packets = packed(packer, frame(encode_features(block, ROWS_HEADER)))
    assert len(packets) > 1
    assert [each.time_ns for each in records_of(packets, ROWS_HEADER)] == list(range(40))  # type: ignore[union-attr]
    wide = replace(ROWS_HEADER, columns=tuple(f"c{place}" for place in range(60)))
    long = replace(FEATURES.rows[0], values=(0.5,) * 60, absences=bytes(60))
    short = replace(long, values=(None,) * 60, absences=bytes([1]) * 60)
    block = replace(FEATURES, rows=[short, long, short])
    packer = Packer(wide, packet_bytes=512)
    found = records_of(packed(packer, frame(encode_features(block, wide))), wide)
    assert [type(each).__name__ for each in found] == ["FeatureRow", "Loss", "FeatureRow"]
    assert packer.left_out == 1


def latest(block: Blocks) -> bytes:
    block = replace(block, flags=BlockFlags.SNAPSHOT, received_ns=0)
    if isinstance(block, QuoteBlock):
        return frame(encode_quotes(block, HEADER))
    if isinstance(block, BookBlock):
        return frame(encode_book(block, HEADER))
    return frame(encode_orders(block, HEADER))


def test_the_books_of_a_snapshot_are_divided_into_pieces() -> None:
    packer = Packer(HEADER, packet_bytes=512)
    book = replace(BOOK, updates=[wide(300), wide(1)])
    frames = latest(QUOTES) + latest(book)
    packets = [decode_packet(each) for each in packer.snapshot(frames, 1, is_last=True)]
    assert [each.flags for each in packets] == [SNAPSHOT] * (len(packets) - 1) + [SNAPSHOT | LAST]
    updates = [each for each in records_of(packets, HEADER) if isinstance(each, BookUpdate)]
    *pieces, last = updates
    assert last == wide(1)
    assert b"".join(each.packed_bids for each in pieces) == wide(300).packed_bids
    assert b"".join(each.packed_asks for each in pieces) == wide(300).packed_asks
    assert [each.is_whole for each in pieces] == [True] + [False] * (len(pieces) - 1)
    assert [each.has_more for each in pieces] == [True] * (len(pieces) - 1) + [False]
    assert all(each.is_top_only for each in pieces)


def test_the_orders_of_a_snapshot_are_divided_into_pieces() -> None:
    orders = [(7**7 * each, 10**6 + each, 5) for each in range(1, 300)]
    update = OrderUpdate(BTC, 5, 6, pack_orders(orders), pack_orders(orders), BookFlags.WHOLE)
    block = latest(replace(ORDERS, updates=[update]))
    packets = [decode_packet(each) for each in Packer(HEADER).snapshot(block, 1)]
    assert {each.flags for each in packets} == {SNAPSHOT}
    pieces = [each for each in records_of(packets, HEADER) if isinstance(each, OrderUpdate)]
    assert b"".join(each.packed_bids for each in pieces) == update.packed_bids
    assert b"".join(each.packed_asks for each in pieces) == update.packed_asks
    assert decode_orders(next(frames_of(packets[0].frames))[4:], HEADER).updates[0].has_more


def test_an_empty_snapshot_takes_no_packet() -> None:
    assert Packer(HEADER).snapshot(b"", 1, is_last=True) == []


def test_what_is_skipped_is_missing_between_two_packets() -> None:
    packer = Packer(START_AT)
    (first,) = packer.pack(trades(2), 1)
    packer.skip(3, 7)
    second = decode_packet(packer.heartbeat(1))
    assert (decode_packet(first).stop_seq, second.next_seq, second.number) == (3, 8, 1)


def test_the_end_says_the_last_number() -> None:
    packer = Packer(START_AT)
    packer.pack(trades(2), 1)
    end = End(reason=EndReason.SHUTDOWN, last_seq=2, retry_ms=1)
    found = decode_packet(packer.end(end, 5))
    assert (found.flags, found.next_seq, found.number) == (END, 3, 1)
    assert found.frames == frame(encode_event(end))


def test_every_event_and_entry_fits_the_shortest_packets() -> None:
    packer = Packer(START_AT, packet_bytes=512)
    status = Status(seq=1, instrument=None, state=FeedState.DOWN, since_ns=1, why="x" * 255)
    assert len(packed(packer, frame(encode_event(status)))) == 1


@pytest.mark.parametrize("packet_bytes", [511, 65_508])
def test_a_limit_that_makes_no_sense_is_refused(packet_bytes: int) -> None:
    with pytest.raises(NotRepresentableError, match="512 to 65,507 are possible"):
        Packer(HEADER, packet_bytes=packet_bytes)


def test_only_blocks_can_be_divided() -> None:
    packer = Packer(HEADER, packet_bytes=512)
    assert packer.snapshot(frame(seal(b"\x30" + bytes(1_000))), 1) == []
    assert packer.pack(frame(payload("trades")), 1)
