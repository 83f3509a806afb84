import contextlib
import itertools
from collections.abc import Callable
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import (
    START,
    Block,
    BlockFlags,
    BookBlock,
    BookUpdate,
    ChecksumError,
    End,
    EndReason,
    FeedState,
    Gap,
    GapState,
    Header,
    Heartbeat,
    LimitExceededError,
    Loss,
    LossReason,
    MalformedError,
    Moment,
    OrderBlock,
    OrderUpdate,
    PeerError,
    Phase,
    Position,
    Quote,
    QuoteBlock,
    Record,
    SessionStatistics,
    Skipped,
    Snapshot,
    Start,
    Status,
    SubscriberSession,
    Trade,
    UnexpectedFrameError,
    encode_block,
    encode_book,
    encode_event,
    encode_header,
    encode_instruments,
    encode_orders,
    encode_quotes,
    frame,
    pack_levels,
    pack_orders,
)
from fanout.protocol.errors import NotHeardError, WrongChannelError
from fanout.protocol.framing import payloads_of, seal
from fanout.protocol.header import opening as header_frames
from fanout.protocol.request import Begin
from fanout.protocol.rows import ROW
from tests.protocol.golden import BTC, HEADER, ROWS_HEADER

GREETING = frame(START)
SNAPSHOT = BlockFlags.SNAPSHOT


def opening(next_seq: int = 1, epoch_ns: int = 7) -> bytes:
    header = replace(HEADER, next_seq=next_seq, epoch_ns=epoch_ns)
    return GREETING + header_frames(header)


def block(first_seq: int, count: int = 1, flags: BlockFlags = BlockFlags.NONE) -> bytes:
    trades = [Trade(BTC, 100 + first_seq + i, 5, 6, 7, False) for i in range(count)]
    value = Block(first_seq=first_seq, trades=trades, received_ns=9, flags=flags)
    return frame(encode_block(value, HEADER))


def quotes(first_seq: int, count: int = 1, flags: BlockFlags = BlockFlags.NONE) -> bytes:
    many = [Quote(BTC, first_seq + i, 5, 6, 7, 8, 9) for i in range(count)]
    value = QuoteBlock(first_seq=first_seq, quotes=many, received_ns=9, flags=flags)
    return frame(encode_quotes(value, HEADER))


def book(first_seq: int, count: int = 1, flags: BlockFlags = BlockFlags.NONE) -> bytes:
    side = pack_levels([(6, 7)])
    many = [BookUpdate(BTC, first_seq + i, 5, side, side) for i in range(count)]
    value = BookBlock(first_seq=first_seq, updates=many, received_ns=9, flags=flags)
    return frame(encode_book(value, HEADER))


def orders(first_seq: int, count: int = 1, flags: BlockFlags = BlockFlags.NONE) -> bytes:
    side = pack_orders([(1, 6, 7)])
    many = [OrderUpdate(BTC, first_seq + i, 5, side, b"") for i in range(count)]
    value = OrderBlock(first_seq=first_seq, updates=many, received_ns=9, flags=flags)
    return frame(encode_orders(value, HEADER))


UPDATES = [
    pytest.param(quotes, Quote, id="quotes"),
    pytest.param(book, BookUpdate, id="book"),
    pytest.param(orders, OrderUpdate, id="orders"),
]


def run(first_seq: int, count: int, kind: int = 0x1E, flags: int = 0) -> bytes:
    """Records of a kind to come, which nobody here can read."""
    return frame(seal(pack("<BBBHQ", kind, flags, 9, count, first_seq) + b"records"))


def loss(first: int, last: int) -> bytes:
    return frame(encode_event(Loss(first_seq=first, last_seq=last, reason=LossReason.SLOW)))


def heartbeat(next_seq: int) -> bytes:
    return frame(encode_event(Heartbeat(next_seq=next_seq, time_ns=1)))


def end(last_seq: int) -> bytes:
    event = End(reason=EndReason.SHUTDOWN, last_seq=last_seq, retry_ms=10)
    return frame(encode_event(event))


def status(seq: int) -> bytes:
    event = Status(seq=seq, instrument=None, state=FeedState.LIVE, since_ns=1)
    return frame(encode_event(event))


def gap(seq: int) -> bytes:
    event = Gap(seq=seq, instrument=BTC, first_id=1, last_id=2, state=GapState.OPEN)
    return frame(encode_event(event))


def unknown() -> bytes:
    return frame(seal(b"\x7fa message of a later version"))


def drain(session: SubscriberSession, data: bytes) -> list[Record]:
    session.receive(data)
    records: list[Record] = []
    while (more := session.next_records()) is not None:
        records += more
    return records


def streaming(next_seq: int = 1) -> SubscriberSession:
    session = SubscriberSession()
    assert drain(session, opening(next_seq)) == []
    return session


def numbers(records: list[Record]) -> list[int]:
    """The sequence numbers that records account for, in their order."""
    result: list[int] = []
    for record in records:
        if isinstance(record, Loss):
            result += range(record.first_seq, record.last_seq + 1)
        elif isinstance(record, Trade | Quote | BookUpdate | OrderUpdate | Status | Gap):
            result.append(record.seq)
    return result


def test_trades_and_events_come_out_in_their_order() -> None:
    session = streaming()
    records = drain(session, status(1) + block(2, 3) + gap(5) + block(6) + loss(7, 9) + block(10))
    names = [type(record).__name__ for record in records]
    assert names == ["Status", "Trade", "Trade", "Trade", "Gap", "Trade", "Loss", "Trade"]
    assert numbers(records) == list(range(1, 11))


NUMBERED = ["block", "quotes", "book", "orders", "status", "gap"]
PIECES = st.lists(
    st.sampled_from([*NUMBERED, "loss", "heartbeat", "unknown", "header"]),
    max_size=15,
)


@given(PIECES, st.lists(st.integers(0, 3_000), max_size=12), st.integers(1, 2**40))
def test_any_split_of_the_stream_gives_every_number_once(
    pieces: list[str], cuts: list[int], first: int
) -> None:
    stream, seq = opening(first), first
    for place, piece in enumerate(pieces):
        match piece:
            case "block":
                stream, seq = stream + block(seq, place + 1), seq + place + 1
            case "quotes":
                stream, seq = stream + quotes(seq, place + 1), seq + place + 1
            case "book":
                stream, seq = stream + book(seq, place + 1), seq + place + 1
            case "orders":
                stream, seq = stream + orders(seq, place + 1), seq + place + 1
            case "status":
                stream, seq = stream + status(seq), seq + 1
            case "gap":
                stream, seq = stream + gap(seq), seq + 1
            case "loss":
                stream, seq = stream + loss(seq, seq + place), seq + place + 1
            case "heartbeat":
                stream += heartbeat(seq)
            case "unknown":
                stream += unknown()
            case "header":
                stream += opening(seq)[len(GREETING) :]
    stream += end(seq - 1)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    session = SubscriberSession()
    records: list[Record] = []
    for start, stop in itertools.pairwise(edges):
        records += drain(session, stream[start:stop])
    assert numbers(records) == list(range(first, seq))
    assert isinstance(records[-1], End)
    assert session.phase is Phase.ENDED
    assert session.statistics.unknown_frames == pieces.count("unknown")
    assert session.statistics.bytes_received == len(stream)


def test_the_time_of_the_newest_heartbeat_is_known() -> None:
    session = streaming()
    assert session.heartbeat_ns == 0
    drain(session, heartbeat(1))
    assert session.heartbeat_ns == 1


def test_blocks_are_taken_as_rows_once_numbers_have_come() -> None:
    blocks = block(1, 2) + block(3)
    session = streaming()
    assert session.rows_at(blocks, 0) == (b"", 0)
    drain(session, heartbeat(1))
    before = session.statistics
    rows, behind = session.rows_at(blocks + heartbeat(4), 0)
    assert [row[0] for row in ROW.iter_unpack(rows)] == [1, 2, 3]
    assert (behind, session.next_seq) == (len(blocks), 4)
    assert session.statistics == replace(
        before,
        bytes_received=before.bytes_received + len(blocks),
        frames=before.frames + 2,
        trades=before.trades + 3,
    )
    drain(session, end(3))
    assert session.rows_at(blocks, 0) == (b"", 0)


def test_a_snapshot_is_no_trade_and_takes_no_number() -> None:
    session = streaming(5)
    (snapshot,) = drain(session, block(5, 2, BlockFlags.SNAPSHOT))
    assert isinstance(snapshot, Snapshot)
    assert numbers(drain(session, block(5))) == [5]
    assert session.statistics.trades == 1


@pytest.mark.parametrize(("of", "type_"), UPDATES)
def test_quotes_and_book_updates_come_out_in_their_order(
    of: Callable[..., bytes], type_: type[Record]
) -> None:
    session = streaming()
    # As the first frame that shows a number, and in mid-stream.
    records = drain(session, of(1, 2) + block(3) + of(4, 2) + of(8))
    names = [type(record).__name__ for record in records]
    name = type_.__name__
    assert names == [name, name, "Trade", name, name, "Loss", name]
    assert numbers(records) == [*range(1, 9)]
    assert {each.received_ns for each in records if isinstance(each, type_)} == {9}
    statistics = session.statistics
    assert (statistics.updates, statistics.trades, statistics.lost) == (5, 1, 2)


@pytest.mark.parametrize(("of", "type_"), UPDATES)
def test_quotes_and_books_of_a_snapshot_come_out_without_numbers(
    of: Callable[..., bytes], type_: type[Record]
) -> None:
    session = streaming(5)
    for before, flagged in ((b"", of(5, 2, BlockFlags.SNAPSHOT)), (block(5), of(1, 2, SNAPSHOT))):
        drain(session, before)
        records = drain(session, flagged)
        assert [type(each) for each in records] == [type_, type_]
        assert numbers(records) == [0, 0]
    assert (session.next_seq, session.statistics.updates) == (6, 0)


@pytest.mark.parametrize(("of", "type_"), UPDATES)
def test_a_damaged_block_of_any_kind_is_refused(
    of: Callable[..., bytes], type_: type[Record]
) -> None:
    for before in (b"", heartbeat(1)):
        session = streaming()
        drain(session, before)
        damaged = bytearray(of(1))
        damaged[-1] ^= 1
        with pytest.raises(ChecksumError):
            drain(session, bytes(damaged))


@pytest.mark.parametrize(
    ("late", "found"),
    [
        pytest.param(block(4), [4], id="block"),
        pytest.param(quotes(4), [4], id="quotes"),
        pytest.param(book(4), [4], id="book"),
        pytest.param(orders(4), [4], id="orders"),
        pytest.param(status(4), [4], id="status"),
        pytest.param(loss(4, 5), [4, 5], id="loss"),
        pytest.param(heartbeat(4), [], id="heartbeat"),
        pytest.param(end(3), [], id="end"),
        pytest.param(opening(4)[len(GREETING) :], [], id="header"),
    ],
)
def test_an_unannounced_hole_is_reported_as_a_loss(late: bytes, found: list[int]) -> None:
    session = streaming()
    records = drain(session, block(1) + late)
    assert records[1] == Loss(first_seq=2, last_seq=3, reason=LossReason.UNANNOUNCED)
    assert numbers(records) == [1, 2, 3, *found]
    assert session.statistics.lost == 2 + (2 if found == [4, 5] else 0)


@pytest.mark.parametrize(
    "again",
    [
        block(2),
        quotes(2),
        book(2),
        orders(2),
        status(2),
        gap(2),
        loss(2, 9),
        heartbeat(2),
        end(1),
        opening(2)[len(GREETING) :],
    ],
)
def test_a_repeated_number_is_refused(again: bytes) -> None:
    session = streaming()
    drain(session, block(1, 2))
    with pytest.raises(MalformedError, match="comes again"):
        drain(session, again)


def test_frames_before_a_damaged_one_give_their_records() -> None:
    session = streaming()
    damaged = bytearray(block(2))
    damaged[-1] ^= 1
    session.receive(block(1) + damaged)
    assert numbers(session.next_records() or []) == [1]
    with pytest.raises(ChecksumError):
        session.next_records()


FRAMES = {
    "START": GREETING,
    "header": opening()[len(GREETING) :],
    "block": block(1),
    "quotes": quotes(1),
    "book": book(1),
    "orders": orders(1),
    "event": heartbeat(1),
    "end": end(0),
    "unknown": unknown(),
}


@pytest.mark.parametrize(
    ("before", "phase", "allowed"),
    [
        (b"", "GREETING", {"START"}),
        (GREETING, "OPENING", {"header"}),
        (
            opening(),
            "STREAMING",
            {"header", "block", "quotes", "book", "orders", "event", "end", "unknown"},
        ),
        (opening() + end(0), "ENDED", set()),
    ],
)
def test_a_frame_out_of_turn_is_refused(before: bytes, phase: str, allowed: set[str]) -> None:
    for name, data in FRAMES.items():
        session = SubscriberSession()
        drain(session, before)
        assert session.phase.name == phase
        if name in allowed:
            drain(session, data)
        else:
            with pytest.raises(UnexpectedFrameError, match=f"{phase} got"):
                drain(session, data)


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 20, b"\xff" * 20])
def test_bytes_of_another_protocol_are_refused(data: bytes) -> None:
    with pytest.raises(LimitExceededError):
        drain(SubscriberSession(), data)


def test_an_unknown_frame_that_is_damaged_is_not_skipped() -> None:
    session = streaming()
    with pytest.raises(ChecksumError):
        drain(session, unknown()[:-1] + b"\0")


def test_after_a_reconnect_the_numbers_missed_are_lost() -> None:
    session = streaming()
    drain(session, block(1, 2) + block(3)[:9])
    session.disconnected()
    records = drain(session, opening(6) + block(6))
    assert records[0] == Loss(first_seq=3, last_seq=5, reason=LossReason.DISCONNECTED)
    assert numbers(records) == [3, 4, 5, 6]
    assert session.statistics.connections == 2


def test_a_reconnect_at_the_next_number_loses_nothing() -> None:
    session = streaming()
    drain(session, block(1, 2))
    session.disconnected()
    assert numbers(drain(session, opening(3) + block(3))) == [3]


def test_after_a_restart_of_the_service_the_numbers_before_the_header_are_lost() -> None:
    session = streaming()
    drain(session, block(1, 2))
    session.disconnected()
    records = drain(session, opening(4, epoch_ns=8) + block(4))
    assert records[0] == Loss(first_seq=1, last_seq=3, reason=LossReason.OTHER_EPOCH)
    assert session.next_seq == 5


def test_a_restart_that_was_noticed_at_once_loses_nothing() -> None:
    session = streaming(50)
    session.disconnected()
    assert drain(session, opening(1, epoch_ns=8)) == []


def test_another_epoch_within_a_connection_is_refused() -> None:
    session = streaming()
    with pytest.raises(MalformedError, match="epoch"):
        drain(session, opening(1, epoch_ns=8)[len(GREETING) :])


def test_a_header_in_mid_stream_applies_to_the_blocks_after_it() -> None:
    session = streaming()
    finer = replace(BTC, price_exponent=-4)
    header = replace(HEADER, epoch_ns=7, next_seq=2, instruments=(finer, HEADER.instruments[1]))
    trades = drain(session, block(1) + header_frames(header) + block(2))
    assert [each.price_text for each in trades if isinstance(each, Trade)] == ["0.06", "0.0006"]


@given(st.binary(max_size=300), st.booleans())
def test_garbage_raises_only_a_peer_error(data: bytes, is_open: bool) -> None:
    session = streaming() if is_open else SubscriberSession()
    with contextlib.suppress(PeerError):
        drain(session, data)


def test_statistics_count_over_all_connections() -> None:
    session = SubscriberSession()
    assert session.statistics == SessionStatistics(
        bytes_received=0,
        frames=0,
        unknown_frames=0,
        trades=0,
        updates=0,
        events=0,
        lost=0,
        skipped=0,
        connections=0,
    )
    first = opening() + block(1, 2) + status(3) + unknown() + loss(4, 5) + block(7, 3) + unknown()
    third = opening(19) + run(19, 4) + quotes(23, 2) + book(25, 3) + orders(28) + end(28)
    second = opening(12) + block(12) + heartbeat(15) + gap(15) + loss(16, 18) + end(18)
    drain(session, first)
    session.disconnected()
    drain(session, second)
    session.disconnected()
    drain(session, third)
    assert session.statistics == SessionStatistics(
        bytes_received=len(first) + len(second) + len(third),
        frames=9 + 8 + 8,
        unknown_frames=3,
        trades=2 + 3 + 1,
        updates=2 + 3 + 1,
        events=2 + 4 + 1,
        lost=2 + 1 + 2 + 2 + 3,  # told, a hole, missed between the connections, a hole, told
        skipped=4,
        connections=3,
    )
    assert session.frames == 25


@pytest.mark.parametrize(
    ("data", "has_begun", "is_answered"),
    [
        pytest.param(b"", False, False, id="nothing"),
        pytest.param(GREETING, False, False, id="START"),
        pytest.param(opening(), False, False, id="header"),
        pytest.param(opening() + end(0), False, False, id="refusal"),
        pytest.param(opening() + block(1, 1, BlockFlags.SNAPSHOT), False, True, id="snapshot"),
        pytest.param(opening() + unknown(), False, True, id="unknown"),
        pytest.param(opening() + loss(1, 2), False, True, id="loss"),
        pytest.param(opening() + block(1), True, True, id="block"),
        pytest.param(opening() + quotes(1), True, True, id="quotes"),
        pytest.param(opening() + book(1), True, True, id="book"),
        pytest.param(
            opening() + book(1, 1, BlockFlags.SNAPSHOT), False, True, id="snapshot of books"
        ),
        pytest.param(opening() + heartbeat(1), True, True, id="heartbeat"),
        pytest.param(opening() + status(1), True, True, id="status"),
        pytest.param(opening() + gap(1), True, True, id="gap"),
        pytest.param(opening() + heartbeat(1) + end(0), True, True, id="end"),
        pytest.param(opening() + unknown() + end(0), False, True, id="end without a number"),
    ],
)
def test_each_connection_shows_whether_it_has_begun_and_is_answered(
    data: bytes, has_begun: bool, is_answered: bool
) -> None:
    session = SubscriberSession()
    drain(session, data)
    assert (session.has_begun, session.is_answered) == (has_begun, is_answered)
    session.disconnected()
    assert (session.has_begun, session.is_answered) == (False, False)


def asking(start: Begin, *, insist: bool = False) -> SubscriberSession:
    session = SubscriberSession()
    session.ask(start, insist=insist)
    return session


def at(seq: int, epoch_ns: int = 7) -> Position:
    return Position(epoch_ns=epoch_ns, seq=seq)


def test_a_requested_number_comes_next_although_the_header_is_further() -> None:
    session = asking(at(3))
    records = drain(session, opening(9) + block(3, 6) + block(9))
    assert numbers(records) == [3, 4, 5, 6, 7, 8, 9]
    assert session.statistics.lost == 0


@pytest.mark.parametrize(
    ("start", "first", "reason"),
    [
        (at(3), 3, LossReason.DISCONNECTED),
        (at(3, epoch_ns=6), 1, LossReason.OTHER_EPOCH),
        (Start.OLDEST, 1, LossReason.EVICTED),
    ],
)
def test_a_service_that_begins_after_the_requested_number_causes_a_loss(
    start: Start | Position, first: int, reason: LossReason
) -> None:
    for later in (block(9), heartbeat(9), status(9)):
        assert drain(asking(start), opening(9) + later)[0] == Loss(
            first_seq=first, last_seq=8, reason=reason
        )


@pytest.mark.parametrize("start", [at(3), at(3, epoch_ns=6), Start.OLDEST])
@pytest.mark.parametrize("later", [block(9), heartbeat(9), status(9), loss(9, 9)])
def test_an_insisting_session_refuses_a_service_that_begins_elsewhere(
    start: Start | Position, later: bytes
) -> None:
    session = asking(start, insist=True)
    drain(session, opening(9))
    due = session.next_seq
    with pytest.raises(NotHeardError, match=f"began at 9, and not at {due} as asked"):
        drain(session, later)
    assert (session.next_seq, session.statistics.lost) == (due, 0)


@pytest.mark.parametrize("first", [block(3), heartbeat(3), status(3), loss(3, 3)])
def test_an_insisting_session_accepts_the_requested_number(first: bytes) -> None:
    session = asking(at(3), insist=True)
    drain(session, opening(9) + first)
    (later,) = drain(session, heartbeat(9))
    assert isinstance(later, Loss)
    assert later.reason is LossReason.UNANNOUNCED


def test_insisting_has_no_effect_on_a_live_start() -> None:
    records = drain(asking(Start.LIVE, insist=True), opening(3) + block(9))
    assert records[0] == Loss(first_seq=3, last_seq=8, reason=LossReason.UNANNOUNCED)


def test_a_new_request_replaces_that_of_a_connection_without_records() -> None:
    session = asking(at(3))
    drain(session, opening(9))
    session.disconnected()
    session.ask(Start.LIVE)
    records = drain(session, opening(9) + block(12))
    assert records[:2] == [
        Loss(first_seq=3, last_seq=8, reason=LossReason.DISCONNECTED),
        Loss(first_seq=9, last_seq=11, reason=LossReason.UNANNOUNCED),
    ]


def test_the_service_reports_requested_numbers_that_it_no_longer_has() -> None:
    evicted = frame(encode_event(Loss(first_seq=3, last_seq=5, reason=LossReason.EVICTED)))
    records = drain(asking(at(3)), opening(9) + evicted + block(6, 3) + block(9))
    assert numbers(records) == list(range(3, 10))
    assert len([each for each in records if isinstance(each, Loss)]) == 1


def test_old_blocks_are_read_with_the_header_that_comes_before_them() -> None:
    coarse = replace(BTC, price_exponent=-1)
    old = replace(HEADER, epoch_ns=7, next_seq=3, instruments=(coarse, HEADER.instruments[1]))
    new = opening(4)[len(GREETING) :]
    stream = opening(9) + header_frames(old) + block(3) + new + block(4)
    trades = drain(asking(at(3)), stream)
    assert [each.price_text for each in trades if isinstance(each, Trade)] == ["0.6", "0.06"]


@pytest.mark.parametrize("start", [at(3), at(3, epoch_ns=6), Start.OLDEST, at(9), at(99)])
def test_a_refusal_causes_no_loss(start: Start | Position) -> None:
    session = asking(start)
    (refusal,) = drain(session, opening(9) + end(8))
    assert isinstance(refusal, End)
    assert session.statistics.lost == 0
    if start == at(3):
        assert session.next_seq == 3


def test_an_end_after_a_heartbeat_is_no_refusal() -> None:
    session = asking(at(3))
    assert numbers(drain(session, opening(3) + heartbeat(3) + end(4))) == [3, 4]


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (block(3, 2), [3, 4]),
        (status(12), [12]),
        (heartbeat(5) + block(5), [5]),
        (loss(4, 6), [4, 5, 6]),
        (block(9, flags=SNAPSHOT) + block(11), [11]),
        (header_frames(replace(HEADER, epoch_ns=7, next_seq=2)) + block(2), [2]),
    ],
)
@pytest.mark.parametrize("insist", [False, True])
def test_after_a_request_by_time_the_first_number_that_comes_is_the_first(
    frames: bytes, found: list[int], insist: bool
) -> None:
    session = asking(Moment(time_ns=5), insist=insist)
    drain(session, opening(9))
    assert session.next_seq is None
    assert numbers(drain(session, frames)) == found
    assert session.statistics.lost == (3 if frames == loss(4, 6) else 0)
    (hole,) = drain(session, heartbeat(20))
    assert hole == Loss(first_seq=found[-1] + 1, last_seq=19, reason=LossReason.UNANNOUNCED)


def test_an_end_before_the_first_number_of_a_time_leaves_the_session_without_a_number() -> None:
    session = asking(Moment(time_ns=5))
    (refusal,) = drain(session, opening(9) + end(8))
    assert isinstance(refusal, End)
    assert (session.next_seq, session.statistics.lost) == (None, 0)


@pytest.mark.parametrize("version", [1, *range(3, 16)])
def test_the_error_names_the_other_wire_version(version: int) -> None:
    with pytest.raises(MalformedError, match=f"wire {version} is spoken here, and not 2"):
        drain(SubscriberSession(), GREETING + frame(bytes([version]) + b"\x03\x07BTCUSDT"))


@pytest.mark.parametrize("kind", [0, 16, 37, 38, 255])
def test_an_unexpected_first_frame_is_not_taken_for_another_wire(kind: int) -> None:
    with pytest.raises(UnexpectedFrameError, match="OPENING got"):
        drain(SubscriberSession(), GREETING + frame(seal(bytes([kind]))))


def test_another_channel_than_requested_is_refused_before_its_first_record() -> None:
    session = SubscriberSession()
    session.ask(Start.LIVE, channel="books")
    assert drain(session, opening(5)) == []
    assert session.next_seq is None
    with pytest.raises(WrongChannelError, match="channel books was asked for, and the service"):
        drain(session, block(5))


def test_a_refusal_under_another_channels_header_leaves_the_numbering_alone() -> None:
    session = SubscriberSession()
    session.ask(Position(epoch_ns=7, seq=3), channel="books")
    (refusal,) = drain(session, opening(50) + end(49))
    assert isinstance(refusal, End)
    assert (session.header, session.next_seq, session.phase) == (None, None, Phase.ENDED)
    with pytest.raises(PeerError):
        drain(session, end(49))
    session.disconnected()
    session.ask(Start.LIVE)
    assert drain(session, opening(5)) == []
    assert session.next_seq == 5


def announced(*symbols: str, next_seq: int = 1) -> Header:
    instruments = tuple(replace(BTC, index=i, symbol=each) for i, each in enumerate(symbols))
    references = HEADER.references[:1] * len(symbols)
    return replace(
        HEADER, epoch_ns=7, next_seq=next_seq, instruments=instruments, references=references
    )


def added(header: Header, first: int) -> bytes:
    return b"".join(map(frame, encode_instruments(header, first, len(header.instruments))))


@pytest.mark.parametrize("kind", [0x15, 0x1F])
def test_records_of_an_unknown_kind_are_reported_as_skipped_and_leave_no_hole(kind: int) -> None:
    records = drain(SubscriberSession(), opening(5) + run(5, 3, kind) + block(8))
    assert records[0] == Skipped(first_seq=5, last_seq=7, kind=kind)
    assert records[0].count == 3  # type: ignore[union-attr]
    assert [each.seq for each in records[1:]] == [8]  # type: ignore[union-attr]


def test_a_hole_before_records_of_an_unknown_kind_is_a_loss() -> None:
    lost, skipped = drain(SubscriberSession(), opening(5) + run(9, 1))
    assert lost == Loss(first_seq=5, last_seq=8, reason=LossReason.UNANNOUNCED)
    assert skipped == Skipped(first_seq=9, last_seq=9, kind=0x1E)


def test_a_snapshot_of_an_unknown_kind_takes_no_numbers() -> None:
    session = SubscriberSession()
    assert drain(session, opening(5) + run(99, 7, flags=2)) == []
    assert (session.next_seq, session.statistics.skipped) == (5, 0)


@pytest.mark.parametrize(("seq", "count"), [(4, 1), (5, 0), (0, 1), (2**63 - 1, 2)])
def test_impossible_numbers_of_an_unknown_kind_are_refused(seq: int, count: int) -> None:
    with pytest.raises(MalformedError):
        drain(SubscriberSession(), opening(5) + run(seq, count))


def test_a_header_in_mid_stream_has_the_columns_of_the_epoch() -> None:
    session, header = SubscriberSession(), replace(ROWS_HEADER, next_seq=5)
    assert drain(session, frame(START) + header_frames(header)) == []
    assert drain(session, header_frames(header)) == []
    other = replace(header, columns=(*header.columns[:1], "other", *header.columns[2:]))
    with pytest.raises(MalformedError, match="column 1 was spread_bps, and is now other"):
        drain(session, header_frames(other))


@pytest.mark.parametrize(
    "asked", [Start.LIVE, Start.OLDEST, Position(epoch_ns=HEADER.epoch_ns, seq=5)]
)
def test_the_next_connection_has_the_columns_of_the_epoch(asked: Any) -> None:
    session, header = SubscriberSession(), replace(ROWS_HEADER, next_seq=5)
    drain(session, frame(START) + header_frames(header))
    session.disconnected()
    session.ask(asked)
    other = replace(header, columns=header.columns[::-1])
    with pytest.raises(MalformedError, match="column 0 was mid, and is now order_flow"):
        drain(session, frame(START) + header_frames(other))
    assert session.header == header


def test_another_epoch_may_have_other_columns() -> None:
    session, header = SubscriberSession(), replace(ROWS_HEADER, next_seq=5)
    drain(session, frame(START) + header_frames(header))
    session.disconnected()
    other = replace(header, epoch_ns=header.epoch_ns + 1, columns=("mid",))
    drain(session, frame(START) + header_frames(other))
    assert session.header == other


def test_a_header_applies_once_all_its_instruments_have_come() -> None:
    session = SubscriberSession()
    assert session.header is None
    drain(session, GREETING + frame(encode_header(announced("A", "B"))))
    assert (session.header, session.phase, session.next_seq) == (None, Phase.LISTING, None)
    drain(session, added(announced("A", "B"), 0))
    assert (session.header, session.phase) == (announced("A", "B"), Phase.STREAMING)


@pytest.mark.parametrize("frames", [block(1), heartbeat(1), end(0), unknown(), GREETING])
def test_nothing_comes_between_a_header_and_its_instruments(frames: bytes) -> None:
    session = SubscriberSession()
    drain(session, GREETING + frame(encode_header(announced("A"))))
    with pytest.raises(UnexpectedFrameError, match="LISTING got"):
        drain(session, frames)


def test_a_connection_that_is_lost_before_its_instruments_leaves_the_session_as_it_was() -> None:
    session = SubscriberSession()
    drain(session, header_of(announced("A")) + block(1))
    before = session.header
    session.disconnected()
    other = replace(announced("X"), epoch_ns=8, next_seq=50)
    drain(session, GREETING + frame(encode_header(other)))
    session.disconnected()
    assert (session.header, session.next_seq) == (before, 2)
    assert drain(session, header_of(announced("A", next_seq=2))) == []


def test_instruments_in_mid_stream_apply_from_the_next_frame_on() -> None:
    session = SubscriberSession()
    drain(session, header_of(announced("A")))
    drain(session, added(announced("A", "B"), 1))
    assert session.header == announced("A", "B")
    assert session.next_seq == 1


def test_a_channel_may_begin_without_instruments() -> None:
    session = SubscriberSession()
    drain(session, header_of(announced()) + heartbeat(1))
    assert session.header == announced()
    drain(session, added(announced("A"), 0))
    assert session.header == announced("A")


def header_of(header: Header) -> bytes:
    return GREETING + header_frames(header)


@pytest.mark.parametrize("is_reconnected", [False, True])
@pytest.mark.parametrize("later", [("X",), ("B", "A"), ("A", "X")])
def test_an_index_keeps_its_symbol_for_a_whole_epoch(
    later: tuple[str, ...], is_reconnected: bool
) -> None:
    session = SubscriberSession()
    drain(session, header_of(announced("A", "B")))
    frames = header_frames(announced(*later))
    if is_reconnected:
        session.disconnected()
        frames = GREETING + frames
    with pytest.raises(MalformedError, match=r"index [01] was [AB], and is now"):
        drain(session, frames)


def test_an_index_that_an_older_header_left_out_keeps_its_symbol() -> None:
    session = SubscriberSession()
    drain(session, header_of(announced("A", "B")) + header_frames(announced("A")))
    with pytest.raises(MalformedError, match="index 1 was B, and is now X"):
        drain(session, added(announced("A", "X"), 1))


def test_another_epoch_may_have_other_symbols() -> None:
    session = SubscriberSession()
    drain(session, header_of(announced("A", "B")))
    session.disconnected()
    other = replace(announced("X"), epoch_ns=8)
    drain(session, header_of(other))
    assert session.header == other
    drain(session, added(replace(announced("X", "Y"), epoch_ns=8), 1))


def state(session: SubscriberSession) -> dict[str, object]:
    """All but the frame reader, which forgets, and what is only kept for the next mark."""
    return {k: v for k, v in vars(session).items() if k not in ("_frames", "_steady")}


def test_a_session_returns_to_a_mark_with_every_attribute() -> None:
    session = streaming()
    before, mark = state(session), session.mark()
    for name in before:
        setattr(session, name, object())
    session.return_to(mark)
    assert state(session) == before


def test_a_frame_that_was_undone_can_be_taken_again_with_the_same_result() -> None:
    session = SubscriberSession()
    frames = [
        *(frame(each) for each in payloads_of(opening())),
        block(1, 2, BlockFlags.SNAPSHOT),
        block(1, 2),
        block(3, 2),
        block(7, 2),
        status(9),
        run(10, 3),
        heartbeat(13),
        book(1, 1, BlockFlags.SNAPSHOT),
        quotes(13),
        loss(14, 14),
        unknown(),
        *(frame(each) for each in payloads_of(opening(next_seq=15))[1:]),
        block(15),
        book(16, 2),
        orders(19, 2),
        end(20),
    ]
    for each in frames:
        before, mark = state(session), session.mark()
        records = drain(session, each)
        after = state(session)
        assert after != before, "a frame is counted"
        session.return_to(mark)
        assert state(session) == before
        assert drain(session, each) == records
        assert state(session) == after
    session.disconnected()
    assert session.mark()[0][0] is Phase.GREETING
