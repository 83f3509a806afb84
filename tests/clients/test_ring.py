import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from fanout.clients import ring_file, shared_client, sigbus
from fanout.clients.ring import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Outcome,
    Position,
    RefusedError,
    Restarted,
    RingClient,
    RingError,
)
from fanout.clients.ring_asyncio import AsyncioRingClient
from fanout.clients.ring_file import attach
from fanout.clients.ring_trio import TrioRingClient
from fanout.clients.subscription import Subscription
from fanout.protocol import (
    BlockFlags,
    BookUpdate,
    DataKinds,
    End,
    FeedState,
    Loss,
    LossReason,
    PeerError,
    Quote,
    Snapshot,
    Status,
    Trade,
    encode_changes,
    encode_event,
    frame,
)
from fanout.protocol.queue_file import UnsupportedMachineError
from fanout.protocol.ring import Lapped, RingReader
from fanout.protocol.ring_page import CAPACITY_WORD, DATA_AT, READERS, NotARingError
from fanout.transports.ring.ring_file import create
from tests.clients.queues import NOTICED_S, SleptTime, numbers, overwrite
from tests.clients.rings import ALL, Writer, change, writing
from tests.protocol.test_session import run, unknown

ROOT = Path(__file__).parents[2]
OLDEST: dict[str, Any] = {"start": "oldest"}


def client(directory: Path, **options: Any) -> RingClient:
    return RingClient("ring://r", directory=str(directory), **options)


def at(seq: int, epoch_ns: int = 1) -> Position:
    return Position(epoch_ns=epoch_ns, seq=seq)


def take(reader: RingClient, count: int) -> list[Any]:
    return [next(reader) for _ in range(count)]


def until(reader: RingClient, kind: type) -> list[Any]:
    """Records up to the first of a kind."""
    records = []
    for each in reader:
        records.append(each)
        if isinstance(each, kind):
            break
    return records


def until_over(reader: RingClient) -> tuple[list[Any], Outcome | None]:
    """All records of a client that does not reconnect, and what ended it."""
    records: list[Any] = []
    with suppress(DisconnectedError):
        records.extend(reader)
    return records, reader.outcome


def join(reader: RingClient, writer: Writer) -> None:
    """Attach at the live end, and answer what the reader asks."""
    reader._step()
    assert writer.ring.writer.asked
    writer.snapshot()


@pytest.fixture
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader does not wait for a snapshot."""
    monkeypatch.setattr(ring_file, "SNAPSHOT_WAIT_S", 0.0)


@pytest.fixture
def _read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file belongs to another user. Root may write to every file, so the kernel does not say
    so in every test run."""
    opened = os.open

    def refuse(path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR and not flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *mode)

    monkeypatch.setattr("fanout.clients.shared_file.os.open", refuse)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SleptTime:
    """The blocking client's."""
    clock = SleptTime()
    monkeypatch.setattr(shared_client, "time", clock)
    return clock


# Where a reader begins.


@pytest.mark.parametrize("url", ["r", "shm://r", "ring://", "ring://a/b", "ring://..", "RING//r"])
def test_a_malformed_address_is_refused(url: str) -> None:
    with pytest.raises(AddressError, match="not a ring's address, ring://NAME"):
        RingClient(url)


def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(UnsupportedMachineError, match="use tcp"):
        RingClient("ring://r")


def test_a_new_reader_asks_for_a_snapshot_and_begins_there(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path) as reader:
        writer.trades(3)
        writer.snapshot()  # an older one, which it does not begin at
        writer.trades(2)
        join(reader, writer)
        writer.trades(2)
        assert reader.connect() == replace(writer.header, next_seq=6)
        first, *trades = take(reader, 3)
        assert isinstance(first, Snapshot)
        assert numbers(trades) == [6, 7]
        assert (reader.statistics.lost, reader.statistics.connections) == (0, 1)


def test_any_number_of_readers_get_the_same(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, ExitStack() as stack:
        readers = [stack.enter_context(client(tmp_path, **OLDEST)) for _ in range(5)]
        for _ in range(10):
            writer.trades(3)
            for each in readers:
                assert numbers(take(each, 3)) == list(range(writer.next_seq - 3, writer.next_seq))
        entries = writer.ring.writer.readers()
        assert {each.pid for each in entries} == {os.getpid()}
        assert [each.slot for each in entries] == [0, 1, 2, 3, 4]
        stack.close()
        assert writer.ring.writer.readers() == []


def test_a_reader_of_the_oldest_records_is_told_what_is_gone(tmp_path: Path) -> None:
    with writing(tmp_path, next_seq=100) as writer, client(tmp_path, **OLDEST) as reader:
        writer.trades(2)
        lost, *trades = take(reader, 3)
        assert lost == Loss(first_seq=1, last_seq=99, reason=LossReason.EVICTED)
        assert numbers(trades) == [100, 101]


def test_a_position_in_the_ring_is_resumed_without_a_loss(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.many(30)
        for seq in range(1, 32):
            with client(tmp_path, start=at(seq)) as reader:
                assert reader.connect().next_seq == seq
                assert numbers(take(reader, 31 - seq)) == list(range(seq, 31))
                assert reader.statistics.lost == 0


def test_frames_of_all_kinds_before_the_position_are_left_out(tmp_path: Path) -> None:
    with writing(tmp_path, capacity_bytes=2**17) as writer:  # one landmark for all of them
        writer.trades(3)
        changed = change(writer.header, 77)
        changes = b"".join(map(frame, encode_changes(writer.header, changed)))
        writer.push(changes)
        writer.header = changed
        writer.heartbeat()
        writer.push(unknown())
        writer.push(run(writer.next_seq, 2), 2)
        status = Status(
            seq=writer.next_seq, instrument=None, state=FeedState.LIVE, since_ns=1, why=""
        )
        writer.push(frame(encode_event(status)), 1)
        lost = Loss(first_seq=7, last_seq=10, reason=LossReason.SLOW)
        writer.push(frame(encode_event(lost)), 4)
        writer.trades(4)
        with client(tmp_path, start=at(12)) as reader:
            assert numbers(take(reader, 3)) == [12, 13, 14]
            assert reader.header is not None
            assert reader.header.references == changed.references
        with client(tmp_path, start=at(9)) as reader:
            assert numbers(take(reader, 5)) == [9, 10, 11, 12, 13, 14]
        with client(tmp_path, start=at(15)) as reader:
            reader.connect()
            writer.trades(1)
            assert numbers(take(reader, 1)) == [15]


def test_a_position_that_is_gone_is_a_loss_and_the_reader_begins_in_the_middle(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as writer:
        writer.many(2_000)
        with client(tmp_path, start=at(5)) as reader:
            lost, first = take(reader, 2)
            assert lost == Loss(first_seq=5, last_seq=first.seq - 1, reason=LossReason.EVICTED)
            assert 1_700 < first.seq < 1_990


def test_a_position_that_is_still_to_come_is_refused(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, start=at(9)) as reader:
        writer.trades(2)
        assert isinstance(next(reader), End)
        with pytest.raises(RefusedError, match="number 9 is still to come: 3 is next"):
            next(reader)


def test_a_position_of_another_epoch_begins_with_a_restart(tmp_path: Path) -> None:
    with writing(tmp_path, epoch_ns=8, next_seq=3) as writer:
        writer.trades(1)
        with client(tmp_path, start=at(9, epoch_ns=7)) as reader:
            restarted, lost, trade = take(reader, 3)
            assert restarted == Restarted(before=at(9, epoch_ns=7), epoch_ns=8)
            assert lost == Loss(first_seq=1, last_seq=2, reason=LossReason.OTHER_EPOCH)
            assert trade.seq == 3


def test_a_ring_without_a_header_is_not_readable(tmp_path: Path) -> None:
    ring = create(str(tmp_path / "r"), capacity_bytes=4096, header=None)
    with client(tmp_path, **OLDEST, reconnect=False) as reader:
        with pytest.raises(DisconnectedError, match="no session header"):
            next(reader)
        assert reader.outcome is Outcome.CORRUPT
    ring.close(keep=False)


def test_a_place_that_goes_as_soon_as_it_is_found_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, left = RingReader.begin_oldest, [3]

    def begin_late(reader: RingReader) -> Any:
        left[0] -= 1
        if left[0] > 0:
            raise Lapped("gone")
        return begin(reader)

    monkeypatch.setattr(RingReader, "begin_oldest", begin_late)
    with writing(tmp_path) as writer, client(tmp_path, **OLDEST) as reader:
        writer.trades(1)
        assert numbers(take(reader, 1)) == [1]
        assert left == [0]


# Snapshots.


def test_a_reader_that_has_its_snapshot_skips_all_others(tmp_path: Path) -> None:
    with writing(tmp_path, data=ALL) as writer, client(tmp_path) as reader:
        join(reader, writer)
        first, book = take(reader, 2)
        assert (type(first), type(book)) == (Snapshot, BookUpdate)
        for _ in range(3):
            writer.trades(1)
            writer.snapshot()
            writer.book(7)
        assert [each.seq for each in take(reader, 6)] == [1, 2, 3, 4, 5, 6]
        writer.snapshot(is_ended=False)
        assert not reader._take()
        writer.ring.writer.end_snapshot()
        writer.trades(1)
        assert [each.seq for each in take(reader, 1)] == [7]


@pytest.mark.usefixtures("_no_wait")
def test_a_snapshot_is_taken_whole_while_it_is_being_written(tmp_path: Path) -> None:
    with writing(tmp_path, data=ALL) as writer, client(tmp_path) as reader:
        reader.connect()
        writer.snapshot(is_ended=False)
        assert [type(each) for each in take(reader, 2)] == [Snapshot, BookUpdate]
        writer.book(8)
        assert next(reader).seq == 1  # type: ignore[union-attr]
        writer.ring.writer.end_snapshot()
        writer.trades(1)
        assert next(reader).seq == 2  # type: ignore[union-attr]
        writer.snapshot()
        writer.trades(1)
        assert next(reader).seq == 3  # type: ignore[union-attr]


@pytest.mark.usefixtures("_no_wait")
def test_a_reader_whose_snapshot_does_not_come_goes_on_without(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path) as reader:
        writer.trades(2)
        assert reader.connect().next_seq == 3
        writer.trades(1)
        assert numbers(take(reader, 1)) == [3]
        writer.snapshot()
        assert isinstance(next(reader), Snapshot)


@pytest.mark.usefixtures("_read_only")
def test_a_reader_that_may_not_write_begins_at_the_last_snapshot(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.trades(2)
        writer.snapshot()
        writer.trades(2)
        with client(tmp_path) as reader:
            first, *trades = take(reader, 3)
            assert isinstance(first, Snapshot)
            assert numbers(trades) == [3, 4]
        assert not writer.ring.writer.asked
        assert writer.ring.writer.readers() == []


@pytest.mark.usefixtures("_read_only")
def test_a_reader_that_may_not_write_begins_live_if_there_is_no_snapshot(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.trades(2)
        with client(tmp_path) as reader:
            assert reader.connect().next_seq == 3


@pytest.mark.usefixtures("_read_only")
def test_a_reader_that_comes_back_to_a_snapshot_before_its_number_skips_what_it_has(
    tmp_path: Path,
) -> None:
    with writing(tmp_path, data=ALL) as writer, client(tmp_path, **OLDEST) as reader:
        writer.trades(1)
        writer.snapshot()
        writer.trades(3)
        assert [each.seq for each in until(reader, Trade)[-1:]] == [1]
        book, *trades = take(reader, 4)
        assert isinstance(book, BookUpdate)
        assert numbers(trades) == [2, 3, 4]


@pytest.mark.usefixtures("_read_only")
def test_a_reader_that_may_not_write_gets_nothing_twice_when_it_comes_back_for_the_newest(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as writer, client(tmp_path, resume=False) as reader:
        writer.snapshot()
        writer.trades(5)
        assert numbers(take(reader, 4)) == [1, 2, 3]
        until(reader, Trade)
        reader._subscription.ready.clear()
        reader._lost(OSError("as if interrupted"))
        writer.trades(2)
        records = until(reader, Trade)
        assert numbers(records) == [6]
        writer.snapshot()
        writer.trades(1)
        assert [each.seq for each in take(reader, 2)] == [7, 8]
        assert reader.statistics.lost == 0


def bids(records: list[Any]) -> list[tuple[int | None, int]]:
    """The number and the best bid of each quote and each book update."""
    return [
        (each.seq, each.bid_price if isinstance(each, Quote) else each.bids[0].price)
        for each in records
        if isinstance(each, Quote | BookUpdate)
    ]


@pytest.mark.parametrize("push", [Writer.book, Writer.quote])
def test_a_reader_that_resumes_takes_no_snapshot_from_before_its_number(
    tmp_path: Path, push: Callable[[Writer, int], None]
) -> None:
    with writing(tmp_path, data=ALL, capacity_bytes=2**17) as writer:  # one landmark
        writer.standing(10)
        for value in (11, 12, 13, 14):
            push(writer, value)
        with client(tmp_path, start=at(4)) as reader:
            assert bids(take(reader, 1)) == [(4, 14)]
            assert writer.ring.writer.asked
            writer.standing(14)
            push(writer, 15)
            assert bids(take(reader, 3)) == [(0, 14), (0, 14), (5, 15)]
            writer.standing(15)
            push(writer, 16)
            assert bids(take(reader, 1)) == [(6, 16)]


def test_a_reader_that_resumes_at_the_live_end_takes_the_snapshot_there(tmp_path: Path) -> None:
    with writing(tmp_path, data=ALL, capacity_bytes=2**17) as writer:
        writer.standing(10)
        writer.book(11)
        with client(tmp_path, start=at(2)) as reader:
            reader.connect()
            writer.standing(11)
            writer.book(12)
            assert bids(take(reader, 3)) == [(0, 11), (0, 11), (2, 12)]
            writer.standing(12)
            writer.book(13)
            assert bids(take(reader, 1)) == [(3, 13)]


def test_a_reader_whose_number_comes_within_a_snapshot_takes_the_next_one_too(
    tmp_path: Path,
) -> None:
    with writing(tmp_path, data=ALL, capacity_bytes=2**17) as writer:
        writer.ring.writer.begin_snapshot()
        writer.quote(10, flags=BlockFlags.SNAPSHOT)
        writer.book(11)
        writer.book(11, flags=BlockFlags.SNAPSHOT)
        writer.ring.writer.end_snapshot()
        with client(tmp_path, start=at(2)) as reader:
            writer.standing(11)
            writer.book(12)
            assert bids(take(reader, 4)) == [(0, 11), (0, 11), (0, 11), (2, 12)]


@pytest.mark.usefixtures("_read_only")
def test_a_reader_that_may_not_write_takes_no_snapshot_from_before_its_number(
    tmp_path: Path,
) -> None:
    with writing(tmp_path, data=ALL) as writer, client(tmp_path, resume=False) as reader:
        writer.standing(10)
        writer.book(11)
        assert bids(take(reader, 3)) == [(0, 10), (0, 10), (1, 11)]
        reader._lost(OSError("as if interrupted"))
        writer.book(12)
        assert bids(take(reader, 2)) == [(2, 12)]
        writer.snapshot()
        writer.book(13)
        assert bids(take(reader, 2)) == [(0, 103), (3, 13)]


def test_a_reader_that_finds_the_table_full_reads_all_the_same(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, ExitStack() as stack:
        for _ in range(READERS):
            subscription = Subscription("ring://r", reconnect=True)
            stack.callback(attach(str(writer.path), subscription, now_s=0.0).close)
        reader = stack.enter_context(client(tmp_path, **OLDEST))
        writer.trades(1)
        assert numbers(take(reader, 1)) == [1]
        assert reader._file is not None
        assert not reader._file.reader.is_listed


def test_after_a_loss_of_the_service_a_reader_takes_the_next_snapshot(tmp_path: Path) -> None:
    with writing(tmp_path, data=ALL) as writer, client(tmp_path) as reader:
        join(reader, writer)
        take(reader, 2)
        lost = Loss(first_seq=1, last_seq=4, reason=LossReason.SLOW)
        writer.push(frame(encode_event(lost)), 4)
        assert next(reader) == lost
        writer.trades(1)
        assert numbers(take(reader, 1)) == [5]
        assert writer.ring.writer.asked
        writer.snapshot()
        writer.trades(1)
        book, trade = take(reader, 2)
        assert (type(book), trade.seq) == (BookUpdate, 6)
        writer.snapshot()
        writer.trades(1)
        assert numbers(take(reader, 1)) == [7]


@pytest.mark.usefixtures("_no_wait")
def test_after_a_loss_within_a_snapshot_a_reader_takes_the_next_one(tmp_path: Path) -> None:
    with writing(tmp_path, data=ALL) as writer, client(tmp_path) as reader:
        reader.connect()
        writer.snapshot(is_ended=False)
        assert [type(each) for each in take(reader, 2)] == [Snapshot, BookUpdate]
        lost = Loss(first_seq=1, last_seq=4, reason=LossReason.SLOW)
        writer.push(frame(encode_event(lost)), 4)
        assert next(reader) == lost
        writer.ring.writer.end_snapshot()
        writer.trades(1)
        assert numbers(take(reader, 1)) == [5]
        assert writer.ring.writer.asked
        writer.standing(7)
        writer.trades(1)
        assert bids(take(reader, 2)) == [(0, 7), (0, 7)]
        assert numbers(take(reader, 1)) == [6]
        writer.standing(8)
        writer.trades(1)
        assert numbers(take(reader, 1)) == [7]


def test_after_a_loss_in_a_channel_of_trades_a_reader_asks_for_nothing(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path) as reader:
        join(reader, writer)
        take(reader, 1)
        lost = Loss(first_seq=1, last_seq=4, reason=LossReason.SLOW)
        writer.push(frame(encode_event(lost)), 4)
        assert next(reader) == lost
        writer.trades(1)
        assert numbers(take(reader, 1)) == [5]
        assert not writer.ring.writer.asked


# Lapped.


def test_a_lapped_reader_gets_the_exact_loss_and_goes_on_in_the_middle(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, **OLDEST) as reader:
        seen = []
        for _ in range(3):
            writer.trades(2)
            seen += take(reader, 2)
            writer.many(2_000)
            lost, first = take(reader, 2)
            assert (type(lost), lost.reason) == (Loss, LossReason.SLOW)
            assert 20 < writer.next_seq - first.seq < 250
            seen += [lost, first]
            while seen[-1].seq < writer.next_seq - 1:
                seen.append(next(reader))
        assert numbers(seen) == list(range(1, writer.next_seq))
        assert reader._file is not None
        reader._file.trouble(0.0, 5.0)
        (entry,) = writer.ring.writer.readers()
        assert (entry.lapped, entry.lost) == (3, reader.statistics.lost)
        assert entry.cursor == writer.ring.writer.position


def test_a_lapped_reader_with_books_goes_on_at_a_snapshot(tmp_path: Path) -> None:
    with writing(tmp_path, data=ALL) as writer, client(tmp_path) as reader:
        join(reader, writer)
        take(reader, 2)
        writer.many(2_000)
        reader._step()
        assert writer.ring.writer.asked
        writer.trades(5)
        writer.snapshot()
        writer.trades(1)
        lost, book, trade = take(reader, 3)
        assert lost == Loss(first_seq=1, last_seq=2_005, reason=LossReason.SLOW)
        assert (type(book), trade.seq) == (BookUpdate, 2_006)


@pytest.mark.parametrize(
    ("data", "asks"),
    [
        (DataKinds.TRADES, False),
        (DataKinds.TRADES | DataKinds.QUOTES, True),
        (DataKinds.TRADES | DataKinds.FEATURES, True),
    ],
)
def test_a_lapped_reader_asks_for_a_snapshot_of_what_the_channel_keeps_the_newest_of(
    tmp_path: Path, data: DataKinds, asks: bool
) -> None:
    with writing(tmp_path, data=data) as writer, client(tmp_path, **OLDEST) as reader:
        writer.trades(1)
        take(reader, 1)
        writer.many(2_000)
        reader._step()
        assert writer.ring.writer.asked == asks


def test_a_lapped_reader_has_the_header_that_counts_where_it_goes_on(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, **OLDEST) as reader:
        writer.trades(1)
        take(reader, 1)
        writer.header = replace(change(writer.header, 77), next_seq=writer.next_seq)
        writer.ring.writer.push_header(writer.header)
        writer.many(2_000)
        assert isinstance(next(reader), Loss)
        assert reader.header is not None
        assert reader.header.references[0].price == 77
        assert next(reader).price == 6  # type: ignore[union-attr]


# How a ring ends.


def test_an_end_ends_the_iteration(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, **OLDEST, reconnect=False) as reader:
        writer.trades(2)
        reader.connect()
        writer.end()
        records, outcome = until_over(reader)
        assert numbers(records) == [1, 2]
        assert isinstance(records[-1], End)
        assert outcome is Outcome.ENDED
        assert not sigbus._guarded


@pytest.mark.parametrize("is_lapped", [False, True])
def test_a_reader_that_waits_for_a_snapshot_gets_the_end_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_lapped: bool
) -> None:
    monkeypatch.setattr(shared_client, "CHECK_S", 0.0)
    with writing(tmp_path, data=ALL) as writer, client(tmp_path, reconnect=False) as reader:
        if is_lapped:
            join(reader, writer)
            take(reader, 2)
            writer.many(2_000)
        reader._step()
        writer.trades(1)
        writer.end()
        records, outcome = until_over(reader)
        assert isinstance(records[-1], End)
        assert outcome is Outcome.ENDED
        assert numbers(records) == (list(range(1, writer.next_seq)) if is_lapped else [])


def test_a_waiting_reader_tries_again_if_its_place_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_client, "CHECK_S", 0.0)
    with writing(tmp_path) as writer, client(tmp_path, reconnect=False) as reader:
        reader._step()
        writer.end()
        with monkeypatch.context() as patch:
            patch.setattr(RingReader, "begin_before", lambda *_: None)
            reader._step()
        records, _ = until_over(reader)
        assert [type(each) for each in records] == [End]


def test_a_writer_that_dies_is_read_to_its_end_and_noticed_by_the_next_check(
    tmp_path: Path, clock: SleptTime
) -> None:
    with writing(tmp_path) as writer, client(tmp_path, **OLDEST) as reader:
        writer.trades(5)
        reader.connect()
        writer.die()
        died_s = clock.now_s
        records = until(reader, Disconnected)
        assert clock.now_s - died_s <= NOTICED_S
        assert (numbers(records), reader.outcome) == ([1, 2, 3, 4, 5], Outcome.WRITER_DIED)
        # It is not read again from there on.
        assert [type(each) for each in take(reader, 2)] == [Disconnected] * 2
        with writing(tmp_path, epoch_ns=2, next_seq=4) as another:
            another.trades(1)
            records = until(reader, Trade)
            assert records[-3:-1] == [
                Restarted(before=at(6), epoch_ns=2),
                Loss(first_seq=1, last_seq=3, reason=LossReason.OTHER_EPOCH),
            ]


def test_a_reader_that_lost_its_place_in_a_dead_writers_ring_reads_the_rest(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as writer, client(tmp_path, **OLDEST) as reader:
        writer.trades(3)
        assert numbers(take(reader, 3)) == [1, 2, 3]
        writer.trades(2)
        reader._lost(OSError("as if interrupted"))
        writer.die()
        records = until(reader, Disconnected) + until(reader, Disconnected)
        assert numbers(records) == [4, 5]
        assert reader.outcome is Outcome.WRITER_DIED


def test_a_new_reader_does_not_read_a_dead_writers_ring(tmp_path: Path) -> None:
    Writer(tmp_path).die()
    with client(tmp_path, **OLDEST, reconnect=False) as reader:
        assert until_over(reader) == ([], Outcome.WRITER_DIED)


def test_a_ring_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    with writing(tmp_path) as old, client(tmp_path, **OLDEST) as reader:
        reader.connect()
        old.trades(2)
        old.path.unlink()
        with writing(tmp_path, epoch_ns=2) as new:
            assert numbers(until(reader, Disconnected)) == [1, 2]
            assert reader.outcome is Outcome.REPLACED
            new.trades(1)
            assert until(reader, Trade)[-1].seq == 1


def test_a_ring_that_is_cut_is_noticed_and_kills_nobody(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, **OLDEST, reconnect=False) as reader:
        reader.connect()
        os.truncate(writer.path, 0)
        assert until_over(reader) == ([], Outcome.TRUNCATED)
        assert not sigbus._guarded
        os.truncate(writer.path, DATA_AT + 4096)


def test_a_writer_that_lives_but_writes_nothing_is_given_up(tmp_path: Path) -> None:
    options = {**OLDEST, "reconnect": False, "idle_timeout_s": 0.1}
    with writing(tmp_path), client(tmp_path, **options) as reader:
        reader.connect()
        assert until_over(reader)[1] is Outcome.SILENT


def test_broken_bytes_are_skipped_with_a_loss_and_a_snapshot(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, **OLDEST) as reader:
        writer.trades(1)
        take(reader, 1)
        at_byte = writer.ring.writer.position + 20
        writer.trades(2)
        overwrite(writer.path, DATA_AT + at_byte, b"\xff\xff")
        (disconnected,) = until(reader, Disconnected)
        assert "CRC" in disconnected.why
        assert reader.outcome is Outcome.CORRUPT
        while reader._file is None:
            reader._step()
        writer.trades(1)
        writer.snapshot()
        writer.trades(1)
        lost, trade = take(reader, 2)
        assert lost == Loss(first_seq=2, last_seq=4, reason=LossReason.DAMAGED)
        assert trade.seq == 5


def test_what_comes_before_a_length_that_cannot_be_is_read(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, **OLDEST, reconnect=False) as reader:
        writer.trades(2)
        at_byte = writer.ring.writer.position
        writer.trades(1)
        overwrite(writer.path, DATA_AT + at_byte, bytes(4))
        records, outcome = until_over(reader)
        assert (numbers(records), outcome) == ([1, 2], Outcome.CORRUPT)


def make_nothing(path: Path) -> None:
    pass


def make_directory(path: Path) -> None:
    path.mkdir()


def make_text(path: Path) -> None:
    path.write_bytes(b"x" * 500_000)


def make_other_version(path: Path) -> None:
    Writer(path.parent).die()
    overwrite(path, 8, b"\7")


def make_short(path: Path) -> None:
    Writer(path.parent).die()
    os.truncate(path, DATA_AT + 4095)


def make_odd_capacity(path: Path) -> None:
    Writer(path.parent).die()
    overwrite(path, CAPACITY_WORD * 8, b"\1")


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (make_nothing, Outcome.ABSENT),
        (make_directory, Outcome.FOREIGN),
        (make_text, Outcome.FOREIGN),
        (make_other_version, Outcome.OTHER_VERSION),
        (make_short, Outcome.TRUNCATED),
        (make_odd_capacity, Outcome.CORRUPT),
    ],
)
def test_the_error_names_a_file_that_is_no_ring(
    tmp_path: Path, make: Callable[[Path], None], outcome: Outcome
) -> None:
    make(tmp_path / "r")
    with client(tmp_path, reconnect=False) as reader:
        with pytest.raises(DisconnectedError, match="ring://r: ") as caught:
            next(reader)
        assert str(caught.value.__cause__) in str(caught.value)
        assert reader.outcome is outcome


def test_a_ring_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fanout.clients.shared_file.os.open", refuse)
    reader = client(tmp_path, reconnect=False)
    with pytest.raises(DisconnectedError, match="the ring belongs to another user"):
        next(reader)


@pytest.mark.parametrize("maps", [0, 1])
def test_what_was_mapped_is_given_back_if_attaching_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maps: int
) -> None:
    """The first mapping is of the whole file, the second of the table."""

    def refuse(*_: object, **__: object) -> None:
        raise NotARingError("it was cut")

    def refuse_second(*arguments: Any, **options: Any) -> Any:
        if options["offset"]:
            raise OSError(12, "Cannot allocate memory")
        return mapped(*arguments, **options)

    mapped = ring_file.mmap.mmap
    with writing(tmp_path) as writer:
        subscription = Subscription("ring://r", reconnect=True)
        if maps:
            monkeypatch.setattr("fanout.clients.shared_file.mmap.mmap", refuse_second)
        else:
            monkeypatch.setattr("fanout.clients.ring_file.RingReader", refuse)
        with pytest.raises(RingError, match="allocate" if maps else "not a ring: it was cut"):
            attach(str(writer.path), subscription, now_s=0.0)
        assert not sigbus._guarded


# Waiting.


async def test_the_trio_client_reads_the_same_and_loses_nothing_when_cancelled(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as writer:
        async with TrioRingClient("ring://r", directory=str(tmp_path), start="oldest") as reader:
            assert (await reader.connect()) == writer.header
            with trio.move_on_after(0.02) as scope:
                await anext(reader)
            assert scope.cancelled_caught
            writer.trades(3)
            assert [(await anext(reader)).seq for _ in range(3)] == [1, 2, 3]  # type: ignore[union-attr]
            writer.die()
            assert isinstance(await anext(reader), Disconnected)
            assert reader.outcome is Outcome.WRITER_DIED


def test_the_asyncio_client_reads_the_same(tmp_path: Path) -> None:
    async def read() -> None:
        with writing(tmp_path) as writer:
            async with AsyncioRingClient(
                "ring://r", directory=str(tmp_path), start="oldest", reconnect=False
            ) as reader:
                assert (await reader.connect()) == writer.header
                writer.trades(3)
                assert [(await anext(reader)).seq for _ in range(3)] == [1, 2, 3]  # type: ignore[union-attr]
                writer.end()
                assert [type(each) async for each in reader] == [End]

    asyncio.run(read())


def test_close_ends_the_iteration_from_another_thread(tmp_path: Path) -> None:
    with writing(tmp_path), client(tmp_path, **OLDEST) as reader:
        reader.connect()
        threading.Timer(0.02, reader.close).start()
        assert list(reader) == []


def test_a_killed_reader_frees_its_entry(tmp_path: Path) -> None:
    code = (
        "import os, sys; from fanout.clients.ring import RingClient\n"
        "client = RingClient('ring://r', directory=sys.argv[1], start='oldest')\n"
        "print(next(client).seq, flush=True); os.kill(os.getpid(), 9)"
    )
    with writing(tmp_path) as writer:
        writer.trades(1)
        command = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=30)
        assert (done.returncode, done.stdout) == (-9, b"1\n")
        (killed,) = writer.ring.writer.readers()
        with client(tmp_path, **OLDEST) as reader:
            assert numbers(take(reader, 1)) == [1]
            (entry,) = writer.ring.writer.readers()
            assert (killed.slot, entry.slot, entry.pid) == (0, 0, os.getpid())


def test_an_error_of_the_wire_is_not_the_files(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        subscription = Subscription("ring://r", reconnect=True)
        ring = attach(str(writer.path), subscription, now_s=0.0)
        error = PeerError("of the bytes")
        assert ring.explained(error) is error
        ring.close()
