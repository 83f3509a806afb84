import asyncio
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from fanout.clients import shared_client, sigbus
from fanout.clients.shm import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Outcome,
    QueueError,
    Restarted,
    ShmClient,
    Wait,
)
from fanout.clients.shm_asyncio import AsyncioShmClient
from fanout.clients.shm_file import attach
from fanout.clients.shm_trio import TrioShmClient
from fanout.protocol import (
    End,
    Loss,
    LossReason,
    PeerError,
    Position,
    QueueReader,
    Trade,
    encode_event,
    frame,
)
from fanout.protocol.queue_file import UnsupportedMachineError
from fanout.protocol.queue_page import MARK_SEQ_WORD, PAGE_BYTES, WORD_BYTES, NotAQueueError
from tests.clients.queues import (
    NOTICED_S,
    SleptTime,
    Writer,
    block,
    goodbye,
    numbers,
    overwrite,
    writing,
)
from tests.protocol import golden

ROOT = Path(__file__).parents[2]


def client(directory: Path, **options: Any) -> ShmClient:
    return ShmClient("shm://q", directory=str(directory), **options)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SleptTime:
    """The blocking client's."""
    clock = SleptTime()
    monkeypatch.setattr(shared_client, "time", clock)
    return clock


def take(reader: ShmClient, count: int) -> list[Any]:
    return [next(reader) for _ in range(count)]


def until(reader: ShmClient, kind: type) -> list[Any]:
    """Records up to the first of a kind."""
    records = []
    for each in reader:
        records.append(each)
        if isinstance(each, kind):
            break
    return records


def until_over(reader: ShmClient) -> tuple[list[Any], Outcome | None]:
    """All records of a client that does not reconnect, and what ended it."""
    records: list[Any] = []
    with suppress(DisconnectedError):
        records.extend(reader)
    return records, reader.outcome


@pytest.mark.parametrize(
    "url", ["q", "tcp://q:1", "shm://", "shm:///dev/shm/q", "shm://a/b", "shm://..", "SHM//q"]
)
def test_a_malformed_queue_address_is_refused(url: str) -> None:
    with pytest.raises(AddressError, match="shm://NAME"):
        ShmClient(url)


def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(UnsupportedMachineError, match="use tcp"):
        ShmClient("shm://q")


@pytest.mark.parametrize("wait", Wait)
def test_records_come_in_order_whatever_the_wait(tmp_path: Path, wait: Wait) -> None:
    with writing(tmp_path) as writer, client(tmp_path, wait=wait) as reader:
        assert reader.connect().venue == writer.header.venue
        writer.trades(3)
        later = threading.Timer(0.02, writer.trades, (2,))
        later.start()
        assert [each.trade_id for each in take(reader, 5)] == [1, 2, 3, 4, 5]
        later.join()
        assert (reader.statistics.trades, reader.statistics.connections) == (5, 1)
        assert reader.header == writer.header


def test_a_late_reader_gets_the_unread_records_and_no_loss(tmp_path: Path) -> None:
    with writing(tmp_path, next_seq=100) as writer:
        writer.trades(3)
        with client(tmp_path) as reader:
            assert reader.connect().next_seq == 100
            assert numbers(take(reader, 3)) == [100, 101, 102]
            writer.trades(2)
        with client(tmp_path) as reader:
            assert numbers(take(reader, 2)) == [103, 104]
        with client(tmp_path) as reader:
            assert reader.connect().next_seq == 105


def test_a_killed_reader_loses_no_record(tmp_path: Path) -> None:
    read_two = (
        "import os, sys; from fanout.clients.shm import ShmClient\n"
        "client = ShmClient('shm://q', directory=sys.argv[1])\n"
        "next(client); print(next(client).seq, flush=True); os.kill(os.getpid(), 9)"
    )
    with writing(tmp_path) as writer:
        writer.trades(1)
        writer.trades(1)
        writer.trades(1)
        done = subprocess.run(
            [sys.executable, "-c", read_two, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, int(done.stdout)) == (-signal.SIGKILL, 2)
        # It had the second trade in its hands: that one comes again, and none is missing.
        with client(tmp_path) as reader:
            assert numbers([next(reader), next(reader)]) == [2, 3]


def test_a_reader_that_leaves_within_a_block_leaves_only_its_rest(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as writer:
        writer.trades(5)
        writer.trades(2)
        with client(tmp_path) as reader:
            assert numbers(take(reader, 2)) == [1, 2]
        with client(tmp_path) as reader:
            assert reader.connect().next_seq == 3
            assert numbers(take(reader, 1)) == [3]
        with client(tmp_path) as reader:
            assert numbers(take(reader, 4)) == [4, 5, 6, 7]
            assert reader.statistics.lost == 0


@pytest.mark.parametrize("name", ["quotes", "book", "orders"])
def test_a_reader_can_leave_within_a_block_of_any_kind(tmp_path: Path, name: str) -> None:
    whole: Any = golden.decode(name, golden.payload(name))
    records, after = list(whole.records), whole.first_seq + len(whole.records)
    with writing(tmp_path, next_seq=whole.first_seq) as writer:
        writer.queue.writer.push(frame(golden.payload(name)))
        writer.next_seq = after
        writer.trades(1)
        for place, expected in enumerate(records):
            with client(tmp_path) as reader:
                assert reader.connect().next_seq == whole.first_seq + place
                assert next(reader) == expected
        with client(tmp_path) as reader:
            assert numbers(take(reader, 1)) == [after]
            assert reader.statistics.lost == 0


def test_a_block_that_was_not_begun_stays_whole(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.trades(3)
        with client(tmp_path) as reader:
            while not reader._subscription.ready:
                reader._step()
        with client(tmp_path) as reader:
            assert numbers(take(reader, 3)) == [1, 2, 3]


def test_the_number_where_a_reader_left_is_ignored_in_other_frames(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.trades(5)
        with client(tmp_path) as reader:
            take(reader, 2)
        with client(tmp_path) as reader:
            assert numbers(take(reader, 3)) == [3, 4, 5]
        goodbye_frame = frame(encode_event(goodbye(writer.next_seq - 1)))
        writer.queue.writer.push(goodbye_frame)
        with client(tmp_path, reconnect=False) as reader:
            assert numbers(list(reader)) == []
            assert reader.statistics.lost == 0


def test_a_reader_that_leaves_consumes_only_records_it_handed_over(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        for _ in range(100):
            writer.trades(1)
        for expected in range(1, 6):
            with client(tmp_path) as reader:
                assert numbers([next(reader)]) == [expected]


def test_closing_lets_the_next_reader_in_with_and_without_a_block(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.trades(1)
        first = client(tmp_path)
        next(first)
        first.close()
        forgotten = client(tmp_path)
        forgotten.connect()
        del forgotten
        with client(tmp_path, reconnect=False) as last:
            last.connect()
        assert not sigbus._guarded


def test_pauses_before_attaching_again_stay_short(tmp_path: Path) -> None:
    with client(tmp_path) as reader:
        pauses = [next(reader).pause_s for _ in range(4)]  # type: ignore[union-attr]
    assert max(pauses) <= 0.5


def test_a_second_reader_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    with writing(tmp_path), client(tmp_path) as first:
        first.connect()
        with client(tmp_path, reconnect=False) as second:
            with pytest.raises(DisconnectedError, match=f"already: process {os.getpid()}"):
                next(second)
            assert second.outcome is Outcome.BUSY
            with pytest.raises(QueueError, match="a reader already"):
                second.pop()


def make_nothing(path: Path) -> None:
    pass


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_text(path: Path) -> None:
    path.write_bytes(b"x" * 100_000)


def make_zeros(path: Path) -> None:
    path.write_bytes(bytes(100_000))


def make_link(path: Path) -> None:
    make_text(path.with_name("other"))
    path.symlink_to(path.with_name("other"))


def make_other_version(path: Path) -> None:
    Writer(path.parent).die()
    overwrite(path, 8, b"\1")


def make_empty(path: Path) -> None:
    path.touch()


def make_short(path: Path) -> None:
    Writer(path.parent).die()
    os.truncate(path, PAGE_BYTES + 65535)


def make_long(path: Path) -> None:
    Writer(path.parent).die()
    os.truncate(path, PAGE_BYTES + 65537)


def make_page_only(path: Path) -> None:
    Writer(path.parent).die()
    os.truncate(path, PAGE_BYTES)


def make_dead(path: Path) -> None:
    Writer(path.parent).die()


def make_ended(path: Path) -> None:
    Writer(path.parent).end(keep=True)
    with client(path.parent, reconnect=False) as first:
        assert [type(each) for each in first] == [End]


def make_odd_capacity(path: Path) -> None:
    Writer(path.parent).die()
    overwrite(path, 16, b"\1")


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (make_nothing, Outcome.ABSENT),
        (make_directory, Outcome.FOREIGN),
        (make_pipe, Outcome.FOREIGN),
        (make_link, Outcome.FOREIGN),
        (make_text, Outcome.FOREIGN),
        (make_zeros, Outcome.FOREIGN),
        (make_other_version, Outcome.OTHER_VERSION),
        (make_empty, Outcome.TRUNCATED),
        (make_short, Outcome.TRUNCATED),
        (make_long, Outcome.TRUNCATED),
        (make_page_only, Outcome.TRUNCATED),
        (make_odd_capacity, Outcome.CORRUPT),
        (make_dead, Outcome.WRITER_DIED),
        (make_ended, Outcome.ENDED),
    ],
)
class TestUnusableQueue:
    def test_the_error_names_the_queue(
        self, tmp_path: Path, make: Callable[[Path], None], outcome: Outcome
    ) -> None:
        make(tmp_path / "q")
        before = (tmp_path / "q").read_bytes() if (tmp_path / "q").is_file() else None
        with client(tmp_path, reconnect=False) as reader:
            with pytest.raises(DisconnectedError, match="shm://q: ") as caught:
                next(reader)
            assert str(caught.value.__cause__) in str(caught.value)
            assert reader.outcome is outcome
        after = (tmp_path / "q").read_bytes() if (tmp_path / "q").is_file() else None
        # But for the reader's own pid and count nothing is written, cut or created.
        assert (before is None) == (after is None)
        assert len(before or b"") == len(after or b"")
        if outcome not in (Outcome.WRITER_DIED, Outcome.ENDED):
            assert before == after

    def test_the_client_attaches_once_there_is_a_queue(
        self, tmp_path: Path, make: Callable[[Path], None], outcome: Outcome
    ) -> None:
        make(tmp_path / "q")
        with client(tmp_path) as reader:
            assert isinstance(next(reader), Disconnected)
            assert reader.outcome is outcome
            if (tmp_path / "q").is_dir():
                (tmp_path / "q").rmdir()
            (tmp_path / "q").unlink(missing_ok=True)
            with writing(tmp_path, epoch_ns=2) as writer:
                writer.trades(1)
                assert isinstance(until(reader, Trade)[-1], Trade)


def test_a_queue_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with client(tmp_path, reconnect=False) as reader:
        with pytest.raises(DisconnectedError, match="belongs to another user"):
            next(reader)
        assert reader.outcome is Outcome.NO_PERMISSION


def test_too_few_descriptors_are_not_blamed_on_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with writing(tmp_path) as writer, client(tmp_path) as reader:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            assert "Too many open files" in next(reader).why  # type: ignore[union-attr]
            assert reader.outcome is Outcome.NO_RESOURCES
        writer.trades(1)
        assert isinstance(until(reader, Trade)[-1], Trade)


def test_too_little_memory_is_not_blamed_on_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    with writing(tmp_path), client(tmp_path) as reader:
        monkeypatch.setattr("fanout.clients.shared_file.mmap.mmap", refuse)
        with pytest.raises(QueueError, match="Cannot allocate memory") as caught:
            reader.pop()
        assert caught.value.outcome is Outcome.NO_RESOURCES
        assert caught.value.__cause__ is not caught.value


def test_a_writer_that_dies_is_read_to_its_end_and_noticed_by_the_next_check(
    tmp_path: Path, clock: SleptTime
) -> None:
    with writing(tmp_path) as writer, client(tmp_path, reconnect=False) as reader:
        reader.connect()
        writer.trades(5)
        writer.die()
        died_s = clock.now_s
        records, outcome = until_over(reader)
        assert clock.now_s - died_s <= NOTICED_S
        assert (numbers(records), outcome) == ([1, 2, 3, 4, 5], Outcome.WRITER_DIED)


def test_a_dead_writers_queue_still_gives_what_is_unread(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.trades(5)
    writer.die()
    with client(tmp_path, reconnect=False) as reader:
        records, outcome = until_over(reader)
    assert (numbers(records), outcome) == ([1, 2, 3, 4, 5], Outcome.WRITER_DIED)


def test_a_writer_that_restarts_is_found_and_the_loss_is_reported(tmp_path: Path) -> None:
    with client(tmp_path) as reader:
        with writing(tmp_path) as writer:
            writer.trades(5)
            assert numbers(take(reader, 5)) == [1, 2, 3, 4, 5]
        (died,) = until(reader, Disconnected)
        assert died.why == Outcome.WRITER_DIED.value
        with writing(tmp_path, epoch_ns=2, next_seq=4) as writer:
            writer.trades(2)
            records = until(reader, Trade)
            assert records[0] == Restarted(before=Position(epoch_ns=1, seq=6), epoch_ns=2)
            assert records[1] == Loss(first_seq=1, last_seq=3, reason=LossReason.OTHER_EPOCH)
            assert records[-1].seq == 4


def test_a_queue_that_is_created_anew_is_noticed_by_the_next_check(
    tmp_path: Path, clock: SleptTime
) -> None:
    with writing(tmp_path) as old, client(tmp_path) as reader:
        reader.connect()
        old.trades(2)
        old.path.unlink()
        with writing(tmp_path, epoch_ns=2) as new:
            created_s = clock.now_s
            records = until(reader, Disconnected)
            assert clock.now_s - created_s <= NOTICED_S
            assert numbers(records) == [1, 2]
            assert reader.outcome is Outcome.REPLACED
            new.trades(1)
            assert until(reader, Trade)[-1].seq == 1


def test_a_queue_without_a_name_is_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_client, "CHECK_S", 0.0)
    with writing(tmp_path) as writer, client(tmp_path) as reader:
        reader.connect()
        writer.path.unlink()
        for _ in range(10):
            writer.trades(1)
            next(reader)
        assert reader.statistics.connections == 1


def test_a_writer_that_lives_but_writes_nothing_is_given_up(
    tmp_path: Path, clock: SleptTime
) -> None:
    with (
        writing(tmp_path) as writer,
        client(tmp_path, reconnect=False, idle_timeout_s=0.3) as reader,
    ):
        reader.connect()
        stirred_s = clock.now_s + 0.3
        clock.call(stirred_s, lambda: writer.queue.writer.beat(1))
        _, outcome = until_over(reader)
        assert outcome is Outcome.SILENT
        assert 0.3 < clock.now_s - stirred_s <= 0.3 + 2 * NOTICED_S  # to notice each


@pytest.mark.parametrize("in_queue", [True, False])
def test_an_end_in_the_queue_or_in_the_page_ends_the_iteration(
    tmp_path: Path, in_queue: bool
) -> None:
    with writing(tmp_path) as writer, client(tmp_path, reconnect=False) as reader:
        reader.connect()
        writer.trades(2)
        writer.end(in_queue=in_queue)
        records, outcome = until_over(reader)
        assert numbers(records) == [1, 2]
        assert isinstance(records[-1], End)
        assert outcome is Outcome.ENDED


@pytest.mark.parametrize("in_queue", [True, False])
def test_a_queue_that_ended_and_was_kept_ends_once(tmp_path: Path, in_queue: bool) -> None:
    with writing(tmp_path) as writer, client(tmp_path) as reader:
        writer.trades(1)
        writer.end(keep=True, in_queue=in_queue)
        records = take(reader, 5)
        assert [type(each) for each in records] == [Trade, End] + [Disconnected] * 3
        assert records[3].pause_s < records[4].pause_s * 2.1


def test_a_frame_that_is_broken_is_skipped_with_all_that_was_there(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path) as reader:
        reader.connect()
        writer.trades(1)
        size = len(block(writer.header, 1, 1))
        overwrite(writer.path, PAGE_BYTES + size + 20, b"\xff")
        writer.trades(1)
        writer.queue.writer._data[size + 20] ^= 0xFF
        writer.trades(1)
        records = until(reader, Disconnected)
        assert numbers(records) == [1]
        assert reader.outcome is Outcome.CORRUPT
        assert "CRC" in records[-1].why
        threading.Timer(0.4, writer.trades, (1,)).start()
        records = until(reader, Trade)
        assert numbers(records) == [2, 3, 4]
        assert records[0].reason is LossReason.DISCONNECTED


def test_close_releases_a_queue_that_a_finished_thread_attached(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.trades(2)
        reader = client(tmp_path)
        thread = threading.Thread(target=lambda: [next(reader) for _ in range(2)])
        thread.start()
        thread.join()
        reader.close()
        with client(tmp_path, reconnect=False) as another:
            another.connect()


def test_close_during_a_wait_releases_the_queue_without_another_read(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as writer:
        reader = client(tmp_path)
        reader.connect()
        taken = threading.Event()

        def take_one() -> None:
            with suppress(StopIteration):
                next(reader)
            taken.set()

        threading.Thread(target=take_one).start()
        reader.close()
        writer.trades(1)
        assert taken.wait(10)
        with client(tmp_path, reconnect=False) as another:
            another.connect()


def test_close_ends_the_iteration_from_another_thread(tmp_path: Path) -> None:
    with writing(tmp_path), client(tmp_path) as reader:
        reader.connect()
        threading.Timer(0.05, reader.close).start()
        assert list(reader) == []


def test_pop_gives_undecoded_payloads_and_never_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_client, "CHECK_S", 0.0)
    with writing(tmp_path) as writer, client(tmp_path) as reader:
        assert reader.pop() is None
        writer.trades(2)
        assert reader.pop() == block(writer.header, 1, 2)[4:]
        assert reader.pop() is None
        writer.trades(1)
        writer.die()
        assert reader.pop() == block(writer.header, 3, 1)[4:]
        with pytest.raises(QueueError, match="ended without an END"):
            reader.pop()


def test_a_writer_that_writes_without_heartbeats_is_not_silent(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, closing(attach(str(tmp_path / "q"), now_s=0)) as queue:
        for now_s in range(1, 20):
            writer.trades(1)
            assert queue.trouble(now_s, 5) is None
        assert queue.trouble(24, 5) is None
        trouble = queue.trouble(25, 5)
        assert trouble is not None
        assert trouble.outcome is Outcome.SILENT


def test_pop_reports_a_missing_queue(tmp_path: Path) -> None:
    with client(tmp_path) as reader:
        with pytest.raises(QueueError, match="no queue of that name"):
            reader.pop()
        with writing(tmp_path):
            assert reader.pop() is None


def test_pop_reports_a_malformed_frame_once_and_resumes_after_it(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path) as reader:
        writer.trades(1)
        writer.queue.writer._data[:4] = bytes(4)
        with pytest.raises(PeerError, match="frame of 0 bytes"):
            reader.pop()
        assert reader.outcome is Outcome.CORRUPT
        assert reader.pop() is None
        writer.trades(1)
        assert reader.pop() is not None


def test_pop_goes_on_with_the_queue_that_replaced_one_that_was_cut(tmp_path: Path) -> None:
    with client(tmp_path) as reader:
        with writing(tmp_path) as writer:
            writer.trades(1)
            reader.pop()
            os.truncate(tmp_path / "q", 0)
            assert pop_outcome(reader) is Outcome.TRUNCATED
        (tmp_path / "q").unlink(missing_ok=True)
        with writing(tmp_path) as writer:
            writer.trades(1)
            assert reader.pop() is not None


def pop_outcome(reader: ShmClient) -> Outcome:
    """What a reader that only pops is told, when it is told something."""
    while True:
        try:
            reader.pop()
        except QueueError as error:
            return error.outcome


async def test_the_trio_client_reads_the_same_and_loses_nothing_when_cancelled(
    tmp_path: Path,
) -> None:
    with writing(tmp_path) as writer:
        async with TrioShmClient("shm://q", directory=str(tmp_path)) as reader:
            assert (await reader.connect()) == writer.header
            with trio.move_on_after(0.02) as scope:
                await anext(reader)
            assert scope.cancelled_caught
            writer.trades(3)
            assert [(await anext(reader)).seq for _ in range(3)] == [1, 2, 3]
            writer.die()
            assert isinstance(await anext(reader), Disconnected)
            assert reader.outcome is Outcome.WRITER_DIED


async def test_the_trio_client_lets_others_run_when_there_is_always_something(
    tmp_path: Path,
) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    with writing(tmp_path, capacity_bytes=4096) as writer:
        client = TrioShmClient("shm://q", directory=str(tmp_path))
        async with client as reader, trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(100):
                writer.trades(1)
                await anext(reader)
            assert turns > 50
            nursery.cancel_scope.cancel()


def test_the_asyncio_client_reads_the_same(tmp_path: Path) -> None:
    async def read() -> None:
        with writing(tmp_path) as writer:
            async with AsyncioShmClient(
                "shm://q", directory=str(tmp_path), reconnect=False
            ) as reader:
                assert (await reader.connect()) == writer.header
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(reader), 0.02)
                writer.trades(3)
                assert [(await anext(reader)).seq for _ in range(3)] == [1, 2, 3]
                writer.end()
                assert [type(each) async for each in reader] == [End]

    asyncio.run(read())


async def test_a_client_without_a_queue_raises_if_it_may_not_wait(tmp_path: Path) -> None:
    async with TrioShmClient("shm://q", directory=str(tmp_path), reconnect=False) as reader:
        with pytest.raises(DisconnectedError, match="no queue of that name"):
            await reader.connect()


@pytest.mark.parametrize("kind", ["blocking", "trio", "asyncio"])
def test_waiting_burns_no_core_by_default(tmp_path: Path, kind: str) -> None:
    async def wait(client_type: type) -> None:
        async with client_type("shm://q", directory=str(tmp_path)) as reader:
            await reader.connect()
            await anext(reader)

    with writing(tmp_path) as writer:
        threading.Timer(0.5, writer.trades).start()
        began = time.process_time()
        if kind == "trio":
            trio.run(wait, TrioShmClient)
        elif kind == "asyncio":
            asyncio.run(wait(AsyncioShmClient))
        else:
            with client(tmp_path) as reader:
                next(reader)
        assert time.process_time() - began < 0.25


def test_a_sigbus_outside_a_queue_ends_the_process(tmp_path: Path) -> None:
    code = """
import mmap, os, sys
from pathlib import Path
sys.path.insert(0, os.getcwd())
from fanout.clients.shm import ShmClient
from tests.clients.queues import Writer
Writer(Path(sys.argv[1]))
ShmClient("shm://q", directory=sys.argv[1]).connect()
fd = os.open(sys.argv[1] + "/other", os.O_RDWR | os.O_CREAT)
os.truncate(fd, 4096)
mapped = mmap.mmap(fd, 4096)
os.truncate(fd, 0)
mapped[0]
"""
    assert run_child(code, tmp_path).returncode == -signal.SIGBUS


def run_child(code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("stress", "count"), [("frames", 50_000), ("kills", 10), ("cuts", 24), ("noise", 300)]
)
def test_a_small_dose_of_each_stress_is_survived(stress: str, count: int) -> None:
    command = [sys.executable, "-m", "tests.stress.shm", stress, str(count)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_an_empty_queue_with_a_damaged_mark_is_corrupt(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, reconnect=False) as reader:
        overwrite(writer.path, MARK_SEQ_WORD * WORD_BYTES, bytes(8))
        _, outcome = until_over(reader)
        assert outcome is Outcome.CORRUPT


def test_frames_of_unknown_kinds_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    unread = QueueReader.unread
    monkeypatch.setattr(QueueReader, "unread", lambda self: looks.append(1) or unread(self))
    with writing(tmp_path) as writer, client(tmp_path, reconnect=False) as reader:
        assert writer.queue.writer.push(frame(b"?") * 1_000)
        _, outcome = until_over(reader)
        assert (outcome, len(looks)) == (Outcome.SILENT, 1)


def test_close_ends_the_wait_for_a_queue_that_is_not_there(tmp_path: Path) -> None:
    with client(tmp_path) as reader:
        assert isinstance(next(reader), Disconnected)
        threading.Timer(0.02, reader.close).start()
        assert all(isinstance(each, Disconnected) for each in reader)


def test_an_end_in_the_page_of_an_empty_queue_is_given_to_a_later_reader(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, reconnect=False) as reader:
        writer.end(keep=True, in_queue=False)
        records, outcome = until_over(reader)
        assert [type(each) for each in records] == [End]
        assert outcome is Outcome.ENDED


def test_a_file_that_is_cut_during_attaching_is_not_a_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotAQueueError("it was cut")

    with writing(tmp_path) as writer:
        monkeypatch.setattr("fanout.clients.shm_file.QueueReader", refuse)
        with pytest.raises(QueueError, match="not a queue: it was cut"):
            attach(str(writer.path), now_s=0.0)
        assert not sigbus._guarded


def test_a_queue_that_is_cut_before_it_is_mapped_is_truncated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("mmap length is greater than file size")

    with writing(tmp_path) as writer:
        monkeypatch.setattr("fanout.clients.shared_file.mmap.mmap", refuse)
        with pytest.raises(QueueError, match="cut short: mmap length"):
            attach(str(writer.path), now_s=0.0)


def test_a_cut_of_one_queue_does_not_affect_another(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with (
        writing(tmp_path),
        writing(other) as cut,
        client(tmp_path) as first,
        client(other, reconnect=False) as second,
    ):
        first.connect()
        second.connect()
        os.truncate(cut.path, 0)
        assert until_over(second)[1] is Outcome.TRUNCATED
        assert first.statistics.connections == 1


def test_a_sigbus_sent_by_a_process_goes_to_the_previous_handler(tmp_path: Path) -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGBUS, lambda number, _: caught.append(number))
    try:
        with writing(tmp_path), client(tmp_path) as reader:
            reader.connect()
            os.kill(os.getpid(), signal.SIGBUS)
            while not caught:
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGBUS, before)
    assert caught == [signal.SIGBUS]


def test_a_file_that_grows_is_damaged(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, client(tmp_path, reconnect=False) as reader:
        reader.connect()
        os.truncate(writer.path, writer.path.stat().st_size + 1)
        assert until_over(reader) == ([], Outcome.TRUNCATED)


def test_a_reader_that_pops_and_never_had_a_header_leaves_the_queue_as_it_is(
    tmp_path: Path,
) -> None:
    with client(tmp_path) as reader:
        while not reader._subscription.ready:
            reader._step()
        with writing(tmp_path) as writer:
            writer.trades(2)
            assert reader.pop() is not None
            reader.close()
            with client(tmp_path) as another:
                assert numbers(take(another, 2)) == [1, 2]


def test_a_mapping_that_goes_away_is_no_longer_guarded() -> None:
    """An interrupt may come between the two, before anybody could `unguard` it."""
    mapped = mmap.mmap(-1, 4096)
    address = sigbus.guard(mapped)
    assert address in sigbus._guarded
    del mapped
    assert address not in sigbus._guarded
