import errno
import os
import threading
from pathlib import Path

import pytest
import trio

from fanout.channel.past import Passage
from fanout.journal import reading
from fanout.journal.disk import RealDisk
from fanout.journal.store import open_journal
from fanout.protocol import Position, Start
from fanout.protocol.constants import LossReason
from fanout.protocol.events import decode_event
from fanout.protocol.framing import payloads_of
from fanout.protocol.journal import numbered
from fanout.protocol.journal_scan import scan
from fanout.protocol.records import Loss
from fanout.protocol.request import Begin, Moment
from tests.fanout.journal.kept import EPOCH_NS, Keeper, make_channel, write_journal
from tests.protocol.golden import HEADER

NEXT_NS = EPOCH_NS + 10
"""The present epoch."""


async def numbers(passage: Passage) -> tuple[int, int]:
    """The first number that a passage brings, and the one behind its last."""
    first = passage.next_seq
    data = b""
    while piece := await passage.read():
        data += piece
    found = scan(data, 0, first, 0, stop=len(data))
    assert (found.offset, found.next_seq) == (len(data), passage.next_seq)
    return first, passage.next_seq


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """An old epoch with numbers 1 to 9. The present one has 1 to 6, of which 1 to 3 are gone."""
    write_journal(tmp_path, 3, 2, 4)
    keeper = Keeper(str(tmp_path), make_channel(NEXT_NS))
    keeper.publish(3)
    keeper.seal()
    keeper.begin()
    keeper.publish(1, 2)
    keeper.seal()
    for each in Path(keeper.folder).glob("*1.f?"):
        each.unlink()
    return str(tmp_path)


@pytest.mark.parametrize(
    ("begin", "epoch_ns", "first", "behind"),
    [
        (Position(epoch_ns=NEXT_NS, seq=5), NEXT_NS, 5, 7),
        (Start.OLDEST, NEXT_NS, 4, 7),
        (Position(epoch_ns=EPOCH_NS, seq=1), EPOCH_NS, 1, 10),
        (Position(epoch_ns=EPOCH_NS, seq=5), EPOCH_NS, 5, 10),
        (Position(epoch_ns=EPOCH_NS, seq=10), EPOCH_NS, 10, 10),
        (Position(epoch_ns=EPOCH_NS, seq=12), EPOCH_NS, 12, 12),
        (Position(epoch_ns=EPOCH_NS - 1, seq=7), EPOCH_NS, 1, 10),
        (Position(epoch_ns=EPOCH_NS + 1, seq=1), NEXT_NS, 1, 7),
        (Moment(time_ns=0), EPOCH_NS, 1, 10),
    ],
)
async def test_a_passage_begins_where_a_reader_asks(
    directory: str, begin: Begin, epoch_ns: int, first: int, behind: int
) -> None:
    async with open_journal(directory) as journal:
        passage = await journal.past_of("test").find(begin, epoch_ns=NEXT_NS)
        assert passage is not None
        assert passage.epoch_ns == epoch_ns
        assert passage.greeting.startswith(b"\x05\0\0\0START")
        assert await numbers(passage) == (first, behind)
        await passage.aclose()


@pytest.mark.parametrize(
    ("begin", "epoch_ns"),
    [
        (Start.LIVE, NEXT_NS),
        (Start.OLDEST, NEXT_NS + 1),
        (Position(epoch_ns=NEXT_NS + 1, seq=1), NEXT_NS + 1),
    ],
)
async def test_there_is_no_passage_to_what_is_not_kept(
    directory: str, begin: Begin, epoch_ns: int
) -> None:
    async with open_journal(directory) as journal:
        assert await journal.past_of("test").find(begin, epoch_ns=epoch_ns) is None
        assert await journal.past_of("other").find(Moment(time_ns=1), epoch_ns=epoch_ns) is None


async def test_what_is_gone_of_an_epoch_comes_as_a_loss(directory: str) -> None:
    async with open_journal(directory) as journal:
        begin = Position(epoch_ns=NEXT_NS, seq=2)
        passage = await journal.past_of("test").find(begin, epoch_ns=NEXT_NS)
        assert passage is not None
        loss = decode_event(payloads_of(await passage.read())[0], HEADER)
        assert loss == Loss(first_seq=2, last_seq=3, reason=LossReason.EVICTED)
        await passage.aclose()


async def test_a_passage_keeps_its_segment_until_it_is_closed(directory: str) -> None:
    disk = RealDisk()
    begin = Position(epoch_ns=EPOCH_NS, seq=1)
    async with open_journal(directory) as journal:
        passage = await journal.past_of("test").find(begin, epoch_ns=NEXT_NS)
        assert passage is not None
        segment = disk.open(f"{directory}/test/{numbered(EPOCH_NS)}/{numbered(1, '.fj')}")
        assert not disk.lock(segment)
        await passage.aclose()
        assert disk.lock(segment)
        disk.close(segment)


async def test_what_was_kept_is_read_on_when_nothing_can_be_written_any_more(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel makes a disk read-only that fails."""
    opens = os.open

    def read_only(path: str, flags: int, *more: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return opens(path, flags, *more)

    async with open_journal(directory) as journal:
        monkeypatch.setattr(os, "open", read_only)
        begin = Position(epoch_ns=EPOCH_NS, seq=1)
        passage = await journal.past_of("test").find(begin, epoch_ns=NEXT_NS)
        assert passage is not None
        assert await numbers(passage) == (1, 10)
        await passage.aclose()
        monkeypatch.undo()


async def test_folders_that_do_not_change_are_listed_once(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each, _, _ in os.walk(directory):
        os.utime(each, ns=(1, 1))
    listed: list[str] = []
    async with open_journal(directory) as journal:
        past, listdir = journal.past_of("test"), os.listdir

        def note(path: str) -> list[str]:
            listed.append(path)
            return listdir(path)

        monkeypatch.setattr(os, "listdir", note)
        for seq in (1, 4, 7):
            begin = Position(epoch_ns=EPOCH_NS, seq=seq)
            passage = await past.find(begin, epoch_ns=NEXT_NS)
            assert passage is not None
            await passage.aclose()
    assert len(listed) == 2


async def test_a_folder_that_cannot_be_read_now_is_not_taken_for_an_empty_one(
    directory: str,
) -> None:
    class Failing(RealDisk):
        fails = False

        def names(self, folder: str) -> list[str]:
            if self.fails:
                raise OSError(5, "Input/output error", folder)
            return super().names(folder)

    disk = Failing()
    async with open_journal(directory, disk=disk) as journal:
        past = journal.past_of("test")
        begin = Position(epoch_ns=EPOCH_NS, seq=1)
        disk.fails = True
        with pytest.raises(OSError, match="Input/output error"):
            await past.find(begin, epoch_ns=NEXT_NS)
        disk.fails = False
        passage = await past.find(begin, epoch_ns=NEXT_NS)
        assert passage is not None
        await passage.aclose()


async def test_an_epoch_that_is_damaged_all_over_is_not_taken_for_one_that_is_not_kept(
    directory: str,
) -> None:
    (segment,) = Path(directory, "test", numbered(EPOCH_NS)).glob("*.fj")  # noqa: ASYNC240
    data = bytearray(segment.read_bytes())
    data[20] ^= 1
    segment.write_bytes(data)
    async with open_journal(directory) as journal:
        past = journal.past_of("test")
        with pytest.raises(OSError, match=f"no segment of epoch {EPOCH_NS} can be read"):
            await past.find(Position(epoch_ns=EPOCH_NS, seq=5), epoch_ns=NEXT_NS)


class Hung(RealDisk):
    """A disk that does not answer while it is told so."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Event()

    def read(self, descriptor: int, offset: int, size: int) -> bytes:
        self.asked.set()
        assert self.answers.wait(30)
        return super().read(descriptor, offset, size)


async def test_a_disk_that_hangs_holds_up_nobody_who_leaves(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CLOSE_S", 0.0)
    disk = Hung()
    begin = Position(epoch_ns=EPOCH_NS, seq=5)
    async with open_journal(directory, disk=disk) as journal:
        past = journal.past_of("test")
        passage = await past.find(begin, epoch_ns=NEXT_NS)
        assert passage is not None
        disk.answers.clear()
        for work in (passage.read, lambda: past.find(begin, epoch_ns=NEXT_NS)):
            disk.asked.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                await trio.to_thread.run_sync(disk.asked.wait)
                nursery.cancel_scope.cancel()
        await passage.aclose()
        disk.answers.set()
