"""The client of a journal, on files of real frames."""

import asyncio
import fcntl
import os
import sys
import threading
from pathlib import Path

import pytest

from fanout.clients.client import Client
from fanout.clients.journal import JournalClient, JournalError, Moment
from fanout.clients.journal_asyncio import AsyncioJournalClient
from fanout.clients.journal_files import LocalDisk, folder_of, path_in
from fanout.clients.outcomes import (
    AddressError,
    Restarted,
    UnknownChannelError,
    UnknownSymbolError,
)
from fanout.protocol import End, EndReason, Loss, LossReason, Position, Trade, frame
from fanout.protocol.framing import seal
from fanout.protocol.journal import numbered
from fanout.protocol.journal_folder import ChannelFolder, OpenSegment
from tests.protocol.golden import BTC
from tests.protocol.test_journal_play import Story, block_at
from tests.stand.journals import MemoryFiles
from tests.stand.packed import pack_file


class Folder:
    """A journal with one channel of an epoch or more, on the disk."""

    def __init__(self, path: Path, channel: str = "spot") -> None:
        self.path = path / channel
        self.files = MemoryFiles()
        self.url = f"journal://{path}/{channel}"

    def story(self, epoch_ns: int = 1) -> Story:
        return Story(epoch_ns=epoch_ns, files=self.files)

    def write(self) -> None:
        """Write what has come."""
        for (epoch_ns, first_seq), segment in self.files.all.items():
            epoch = self.path / numbered(epoch_ns)
            epoch.mkdir(parents=True, exist_ok=True)
            _grow(epoch / numbered(first_seq, ".fj"), segment.data)
            _grow(epoch / numbered(first_seq, ".fi"), segment.index or b"")

    def file(self, first_seq: int, epoch_ns: int = 1) -> Path:
        return self.path / numbered(epoch_ns) / numbered(first_seq, ".fj")

    def open(self, first_seq: int) -> OpenSegment:
        return ChannelFolder(LocalDisk(), str(self.path)).open(1, first_seq)


def _grow(path: Path, data: bytes | bytearray) -> None:
    """Write what the file lacks at its end, as a service does: somebody may be reading it."""
    there = path.read_bytes() if path.exists() else b""
    if data.startswith(there):
        with path.open("ab") as file:
            file.write(data[len(there) :])
    else:
        path.write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "journal")


def three(folder: Folder) -> Folder:
    """Numbers 1 to 27 of one epoch, in three segments."""
    folder.story().blocks(3).rotate(100).blocks(3).rotate(200).blocks(3)
    folder.write()
    return folder


def numbers(client: JournalClient) -> list[int]:
    return [each.seq for each in client if isinstance(each, Trade)]


def test_it_reads_a_journal_to_its_end(folder: Folder) -> None:
    with JournalClient(three(folder).url) as client:
        assert client.connect().channel == "test"
        assert numbers(client) == list(range(1, 28))
        assert list(client) == []
        assert client.position == Position(epoch_ns=1, seq=28)
        assert client.statistics.lost == 0
    assert client.reconnects == ()


def test_it_begins_at_a_number_a_time_or_the_end(folder: Folder) -> None:
    three(folder)
    at_14 = Position(epoch_ns=1, seq=14)
    assert numbers(JournalClient(folder.url, start=at_14)) == list(range(14, 28))
    assert list(JournalClient(folder.url, start="live")) == []
    with pytest.raises(ValueError, match="then"):
        JournalClient(folder.url, start="then")


def test_it_begins_at_a_time(folder: Folder) -> None:
    folder.story().blocks(2, at_ns=10).blocks(2, at_ns=20)
    folder.write()
    client = JournalClient(folder.url, start=Moment(time_ns=15))
    assert numbers(client) == list(range(7, 13))


def test_each_epoch_ends_and_the_next_one_is_a_restart(folder: Folder) -> None:
    first = folder.story(5).blocks(1)
    first.channel.end(EndReason.FEED_FAILED, retry_ms=None, why="the venue is gone")
    first.recorder.write()
    folder.story(6).blocks(1)
    last = folder.story(7).blocks(1)
    last.channel.end(EndReason.SHUTDOWN, retry_ms=3, why="stopped")
    last.recorder.write()
    folder.write()
    client = JournalClient(folder.url)
    records, epochs = [], []
    for each in client:
        records.append(each)
        assert client.header is not None
        epochs.append(client.header.epoch_ns)
    assert epochs == [5] * 4 + [6] * 5 + [7] * 5
    events = [each for each in records if not isinstance(each, Trade)]
    assert events == [
        End(reason=EndReason.EPOCH_OVER, last_seq=3, retry_ms=0, why="the venue is gone"),
        Restarted(before=Position(epoch_ns=5, seq=4), epoch_ns=6),
        End(
            reason=EndReason.EPOCH_OVER,
            last_seq=3,
            retry_ms=0,
            why="the service ended without an END",
        ),
        Restarted(before=Position(epoch_ns=6, seq=4), epoch_ns=7),
        End(reason=EndReason.SHUTDOWN, last_seq=3, retry_ms=3, why="stopped"),
    ]
    assert sum(isinstance(each, Trade) for each in records) == 9
    assert client.statistics.lost == 0
    ahead = JournalClient(folder.url, start=Position(epoch_ns=7, seq=9))
    assert [type(each) for each in ahead] == [End]


def test_an_epoch_that_cannot_be_read_is_an_error_at_its_place(folder: Folder) -> None:
    for epoch_ns in (5, 9, 15):
        folder.story(epoch_ns).blocks(1)
    folder.files.all[9, 1].data[20] ^= 1
    folder.write()
    client, found = JournalClient(folder.url), []
    why = f"^{folder.url}: no segment of epoch 9 can be read: begin at epoch 15 to skip it$"
    with pytest.raises(JournalError, match=why):
        found += [each.seq for each in client if isinstance(each, Trade)]
    assert client.position == Position(epoch_ns=5, seq=4)
    behind = JournalClient(folder.url, start=Position(epoch_ns=15, seq=1))
    assert numbers(behind) == [1, 2, 3]


def test_removed_and_damaged_records_are_losses(folder: Folder) -> None:
    folder.story().blocks(3).rotate().blocks(3).rotate().blocks(3)
    damaged = folder.files.all[1, 19]
    damaged.data[block_at(damaged, 22)[0] + 20] ^= 1
    del folder.files.all[1, 1]
    folder.write()
    client = JournalClient(folder.url)
    losses = [each for each in client if isinstance(each, Loss)]
    assert losses == [
        Loss(first_seq=1, last_seq=9, reason=LossReason.EVICTED),
        Loss(first_seq=22, last_seq=24, reason=LossReason.DAMAGED),
    ]
    assert client.position == Position(epoch_ns=1, seq=28)


def test_symbols_are_selected(folder: Folder) -> None:
    three(folder)
    assert list(JournalClient(folder.url, symbols=["币安人生USDT"])) == []
    assert len(numbers(JournalClient(folder.url, symbols=[BTC.symbol], market_only=True))) == 27
    with pytest.raises(UnknownSymbolError, match="NOPE"):
        list(JournalClient(folder.url, symbols=["NOPE"]))


def test_a_client_that_follows_gets_what_comes_later(folder: Folder) -> None:
    story = folder.story().blocks(1)
    folder.write()
    with JournalClient(folder.url, follow=True) as client:
        assert [next(client).seq for _ in range(3)] == [1, 2, 3]  # type: ignore[union-attr]
        assert not client._take()
        story.blocks(1).rotate().blocks(1)
        folder.write()
        assert [next(client).seq for _ in range(6)] == [4, 5, 6, 7, 8, 9]  # type: ignore[union-attr]
        story.blocks(1)
        folder.write()
        folder.story(9).blocks(1)
        folder.write()
        assert [next(client).seq for _ in range(3)] == [10, 11, 12]  # type: ignore[union-attr]
        assert isinstance(next(client), End)
        assert isinstance(next(client), Restarted)


def test_closing_from_another_thread_ends_the_wait(folder: Folder) -> None:
    three(folder)
    client = JournalClient(folder.url, follow=True, start="live")
    client.connect()
    closing = threading.Timer(0.01, client.close)
    closing.start()
    assert list(client) == []
    closing.join()


def test_an_interrupt_while_it_reads_loses_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = JournalClient(three(folder).url)
    assert client.connect()
    pread = os.pread

    def interrupted(*_: int) -> bytes:
        monkeypatch.setattr(os, "pread", pread)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "pread", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(client)
    assert numbers(client) == list(range(1, 28))
    assert client.statistics.lost == 0


def test_a_forked_child_does_not_share_the_files(folder: Folder) -> None:
    client = JournalClient(three(folder).url)
    client.connect()
    client._leave_to_parent(1)
    assert not client._has_connection()
    client = JournalClient(folder.url)
    client._leave_to_parent(1)
    assert len(numbers(client)) == 27


def test_frames_that_cannot_be_decoded_end_it_behind_the_records_before(folder: Folder) -> None:
    story = folder.story().blocks(1)
    bad = b"\x10\0\0\x01\0" + (4).to_bytes(8, "little") + bytes(8)
    story.recorder.segment.data += frame(seal(bad))
    folder.write()
    client = JournalClient(folder.url)
    assert [next(client).seq for _ in range(3)] == [1, 2, 3]  # type: ignore[union-attr]
    with pytest.raises(JournalError, match=f"^{folder.url}: "):
        next(client)
    assert client.position == Position(epoch_ns=1, seq=4)


def test_a_file_that_is_cut_while_it_is_read_just_ends(folder: Folder) -> None:
    three(folder)
    with JournalClient(folder.url, start=Position(epoch_ns=1, seq=20)) as client:
        client.connect()
        os.truncate(folder.file(19), 100)
        assert list(client) == []


def test_a_journal_without_a_segment_is_an_error_or_waited_for(folder: Folder) -> None:
    (folder.path / numbered(1)).mkdir(parents=True)
    (folder.path / numbered(2)).write_text("")
    with pytest.raises(JournalError, match="no segment that can be read is kept there"):
        list(JournalClient(folder.url))
    with JournalClient(folder.url, follow=True) as client:
        assert not client._take()
        folder.story().blocks(1)  # of epoch 1, and nothing of epoch 2
        folder.write()
        assert [next(client).seq for _ in range(3)] == [1, 2, 3]  # type: ignore[union-attr]


def test_without_a_channel_the_only_one_is_read(tmp_path: Path) -> None:
    three(Folder(tmp_path, "spot"))
    (tmp_path / "lock").write_text("1")
    (tmp_path / "empty").mkdir()
    for url in (f"journal://{tmp_path}", f"journal://{tmp_path}/", f"journal://{tmp_path}/spot/"):
        assert folder_of(url).path == str(tmp_path / "spot")
    three(Folder(tmp_path, "perps"))
    with pytest.raises(UnknownChannelError, match="has 2 channels, add one of them: perps, spot"):
        list(JournalClient(f"journal://{tmp_path}"))
    with pytest.raises(
        UnknownChannelError, match="no channel options: the journal has perps, spot"
    ):
        list(JournalClient(f"journal://{tmp_path}/options"))


def test_what_is_no_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"there is no folder /.*/nowhere"):
        list(JournalClient(f"journal://{tmp_path}/nowhere"))
    with pytest.raises(JournalError, match="holds no journal, or one without any record"):
        list(JournalClient(f"journal://{tmp_path}"))
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="there is no folder"):
        list(JournalClient(f"journal://{tmp_path}/file"))
    for url in ("journal://", "tcp://h:1", "journal://a\0b", "x"):
        with pytest.raises(AddressError, match="use journal://DIR/CHANNEL"):
            JournalClient(url)
    assert path_in("journal:///") == "/"


def test_a_folder_that_may_not_be_read_is_an_error(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: str) -> list[str]:
        raise PermissionError(13, "Permission denied")

    client: Client = JournalClient(three(folder).url)
    monkeypatch.setattr(os, "listdir", refused)
    with pytest.raises(JournalError, match=f"^{folder.url}: Permission denied$"):
        client.connect()  # type: ignore[attr-defined]


def test_only_plain_files_are_opened(folder: Folder) -> None:
    path = three(folder).file(1)
    real = path.rename(path.with_name("real"))
    path.symlink_to(real)
    with pytest.raises(OSError, match="symbolic link"):
        folder.open(1)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a plain file"):
        folder.open(1)
    assert numbers(JournalClient(folder.url)) == list(range(10, 28))


def test_an_open_segment_is_locked_against_removal(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = three(folder).file(1)
    with path.open() as other:
        segment = folder.open(1)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        segment.close()
        segment.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            folder.open(1)

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    folder.open(1).close()
    path.with_suffix(".fi").unlink()
    segment = folder.open(1)
    assert segment.index() == b""
    segment.close()


def test_the_names_in_a_folder_that_does_not_change_are_read_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = three(folder).file(1).parent
    os.utime(path, ns=(1, 1))
    channel = ChannelFolder(LocalDisk(), str(folder.path))
    assert channel.segments(1) == [1, 10, 19]
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda _: 1 / 0)
    assert channel.segments(1) == [1, 10, 19]
    monkeypatch.setattr(os, "listdir", listdir)
    folder.file(1).unlink()
    assert channel.segments(1) == [10, 19]
    assert channel.segments(2) == []


def test_compressed_segments_are_read_as_if_they_were_not(folder: Folder) -> None:
    three(folder)
    for seq in (1, 10):
        pack_file(folder.file(seq))
    assert numbers(JournalClient(folder.url)) == list(range(1, 28))
    for seq in (2, 9, 10, 14, 20):
        client = JournalClient(folder.url, start=Position(epoch_ns=1, seq=seq))
        assert numbers(client) == list(range(seq, 28))
    with_time = Folder(folder.path.parent / "times")
    with_time.story().blocks(2, at_ns=10).rotate(15).blocks(2, at_ns=20)
    with_time.write()
    pack_file(with_time.file(1))
    pack_file(with_time.file(7))
    client = JournalClient(with_time.url, start=Moment(time_ns=15))
    assert numbers(client) == list(range(7, 13))
    segment = folder.open(10)
    assert segment.size() == len(folder.files.all[1, 10].data)
    assert segment.read(0, 8) == b"fanoutFJ"
    segment.close()


def test_a_compressed_segment_that_is_damaged_is_a_loss(folder: Folder) -> None:
    path = pack_file(three(folder).file(10))
    path.write_bytes(path.read_bytes()[:-1])
    client = JournalClient(folder.url)
    assert [each for each in client if isinstance(each, Loss)] == [
        Loss(first_seq=10, last_seq=18, reason=LossReason.DAMAGED)
    ]
    assert client.position == Position(epoch_ns=1, seq=28)


def test_without_the_package_the_records_before_come_and_then_its_name(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_file(three(folder).file(10))
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    client, found = JournalClient(folder.url), []
    needed = f"^{folder.url}: compressed segments need zstandard: pip install zstandard$"
    with pytest.raises(JournalError, match=needed):
        found += [each.seq for each in client if isinstance(each, Trade)]
    assert client.position == Position(epoch_ns=1, seq=10)


def test_the_client_for_asyncio_reads_and_waits_for_more(folder: Folder) -> None:
    story = folder.story().blocks(1)
    folder.write()

    async def read() -> list[int]:
        seen = []
        async with AsyncioJournalClient(folder.url, follow=True) as client:
            async for each in client:
                assert isinstance(each, Trade)
                seen.append(each.seq)
                if each.seq == 3:
                    story.blocks(1)
                    asyncio.get_running_loop().call_later(0.01, folder.write)
                if each.seq == 6:
                    return seen
        raise AssertionError("it ended")

    assert asyncio.run(read()) == list(range(1, 7))
