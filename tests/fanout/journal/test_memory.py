"""What a journal remembers for the next start."""

import errno
import logging

import pytest

from fanout.channel.memory import RECENT_NS, Memory, Recollection, Remembered
from fanout.journal.memory import decode, encode, remember, remember_all, save
from fanout.protocol import EndReason, Gap, GapState, Trade
from fanout.protocol.journal_folder import ChannelFolder
from tests.fanout.journal.kept import EPOCH_NS, Keeper, make_channel
from tests.protocol.golden import BTC, LIFE
from tests.stand.disk import MemoryDisk
from tests.stand.kept_past import KeptPast
from tests.stand.subscriber import LogSubscriber

S = 1_000_000_000
AT_S = 1_790_000_000


class Start:
    """One start of a service that keeps a channel, and what a reader of it is told."""

    def __init__(self, disk: MemoryDisk, epoch_ns: int = EPOCH_NS) -> None:
        self.disk = disk
        self.before = memory_of(disk)
        self.channel = make_channel(epoch_ns, past=KeptPast(self.before))
        self.keeper = Keeper("/j", self.channel, disk=disk)
        self._reader = LogSubscriber(self.channel)
        self._recollection = Recollection(self.before)
        self.save()

    def publish(self, *trade_ids: int, s: int = AT_S, opens: range = range(0)) -> None:
        """Trades that come at second `s`, and then a gap."""
        trades = [Trade(BTC, each, s * 1_000, 5, 6, True) for each in trade_ids]
        self.channel.publish(trades, received_ns=s * S, held_ns=1)
        if opens:
            gap = Gap(
                seq=0,
                instrument=BTC,
                first_id=opens[0],
                last_id=opens[-1],
                state=GapState.OPEN,
            )
            self.channel.publish([gap], received_ns=s * S, held_ns=1)
        self.keeper.write()
        self._recollection.take(self._reader.records())

    def save(self) -> None:
        assert save(self.disk, self.keeper.folder, self.channel.memory())

    def end(self) -> None:
        self.channel.end(EndReason.SHUTDOWN, retry_ms=1, why="")
        self.keeper.write()
        self.keeper.seal()
        self.over(is_orderly=True)

    def over(self, *, is_orderly: bool = False) -> Memory:
        """What the next start should know, as the reader has it."""
        self._recollection.end(is_orderly=is_orderly)
        return self._recollection.memory(
            epoch_ns=self.channel.header.epoch_ns,
            next_seq=self.channel.log.next_seq,
            symbols=[BTC.symbol, LIFE.symbol],
        )


def folder_of(disk: MemoryDisk) -> ChannelFolder:
    return ChannelFolder(disk, "/j/test")


def memory_of(disk: MemoryDisk) -> Memory | None:
    return remember(disk, folder_of(disk))


def known(disk: MemoryDisk) -> Remembered:
    memory = memory_of(disk)
    assert memory is not None
    return memory.symbols[BTC.symbol]


def states(disk: MemoryDisk) -> list[str]:
    return [each for each in disk.names(folder_of(disk).epoch_path(EPOCH_NS)) if ".fs" in each]


def test_nothing_is_remembered_of_a_channel_that_is_new() -> None:
    assert memory_of(MemoryDisk()) is None


def test_a_start_knows_what_a_reader_of_everything_knows() -> None:
    start = Start(MemoryDisk())
    start.publish(5, 6, 8, opens=range(7, 8))
    start.save()
    start.publish(9, 12, s=AT_S + 1)
    memory = memory_of(start.disk)
    assert memory == start.over()
    assert known(start.disk).gaps == ((7, 7), (10, 11)), "the service was killed"
    assert [each for each, _ in known(start.disk).recent] == [5, 6, 8, 9, 12]


def test_what_an_epoch_inherited_is_known_behind_it() -> None:
    start = Start(MemoryDisk())
    start.publish(5, 8, opens=range(6, 8))
    start.end()
    again = Start(start.disk, EPOCH_NS + 1)
    assert again.before is not None
    assert again.before.symbols[BTC.symbol].gaps == ((6, 7),)
    assert again.channel.memory().symbols == again.before.without_recent().symbols
    again.publish(20, s=AT_S + 100)
    assert (known(start.disk).next_id, known(start.disk).gaps) == (21, ((6, 7), (9, 19)))


def test_an_epoch_that_saved_nothing_goes_on_from_the_one_before() -> None:
    start = Start(MemoryDisk())
    start.publish(5, 8, opens=range(6, 8))
    start.end()
    again = Start(start.disk, EPOCH_NS + 1)
    start.disk.remove(again.keeper.folder + "/00000000000000000001.fs")
    again.publish(9)
    assert (known(start.disk).next_id, known(start.disk).gaps) == (10, ((6, 7),))


def test_a_start_that_is_damaged_all_over_hides_no_other() -> None:
    start = Start(MemoryDisk())
    start.publish(5, 8, opens=range(6, 8))
    start.end()
    again = Start(start.disk, EPOCH_NS + 1)
    again.publish(9)
    again.end()
    for path in start.disk.paths():
        if path.startswith(again.keeper.folder):
            descriptor = start.disk.open(path)
            start.disk.write(descriptor, 0, [b"damaged"])
            start.disk.close(descriptor)
    assert (known(start.disk).next_id, known(start.disk).gaps) == (9, ((6, 7),))


def test_starts_that_were_killed_before_they_saved_anything_are_passed_over() -> None:
    disk = MemoryDisk()
    for turn in range(4):
        start = Start(disk, EPOCH_NS + turn)
        disk.remove(start.keeper.folder + "/00000000000000000001.fs")
        if turn == 0:
            start.publish(5, 8, opens=range(6, 8))
    assert (known(disk).next_id, known(disk).gaps) == (9, ((6, 7),))


@pytest.mark.parametrize("size", [0, 5, None])
def test_without_a_file_of_use_the_last_segments_are_read(
    size: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    start = Start(MemoryDisk())
    start.publish(5, 8, opens=range(6, 8))
    start.keeper.seal()
    start.keeper.begin()
    start.publish(9)
    path = f"{start.keeper.folder}/{states(start.disk)[0]}"
    descriptor = start.disk.open(path)
    start.disk.truncate(descriptor, size if size is not None else 40)
    if size is None:
        start.disk.remove(path)
    assert memory_of(start.disk) == start.over()
    assert ("is not whole" in caplog.text) is bool(size)


def test_the_newest_file_takes_the_place_of_the_ones_before() -> None:
    start = Start(MemoryDisk())
    start.publish(5)
    start.keeper.seal()
    start.keeper.begin()
    start.save()
    assert states(start.disk) == ["00000000000000000002.fs"]
    start.disk.open(start.keeper.folder + "/00000000000000000002.fs.part", make=True)
    start.save()
    assert states(start.disk) == ["00000000000000000002.fs"]
    other = start.channel.memory()
    assert not save(start.disk, "/j/test/empty", other), "it has no segment"


def test_frames_of_long_ago_are_not_read() -> None:
    start = Start(MemoryDisk())
    start.publish(5)
    start.publish(8, s=AT_S + 2 * RECENT_NS // S)
    assert save(
        start.disk,
        start.keeper.folder,
        Memory(epoch_ns=EPOCH_NS, next_seq=3, time_ns=(AT_S + 2 * RECENT_NS // S + 1) * S),
    )
    assert [each for each, _ in known(start.disk).recent] == [8]


def test_a_clock_that_was_set_back_hides_no_frames() -> None:
    start = Start(MemoryDisk())
    start.publish(5)
    start.publish(6, s=AT_S - 1_000)
    memory = start.channel.memory()
    later = Memory(epoch_ns=EPOCH_NS, next_seq=2, time_ns=(AT_S + 1_000) * S)
    assert save(start.disk, start.keeper.folder, later)
    assert known(start.disk).next_id == memory.symbols[BTC.symbol].next_id


def test_a_file_says_what_is_remembered_but_for_single_trades() -> None:
    trade = Trade(LIFE, 5, 6, 7, 8, True)
    symbols = {"a": Remembered(trade, 6, ((1, 2),), ((5, 6),)), "b": Remembered(None, 7)}
    memory = Memory(epoch_ns=2**64 - 1, next_seq=2, time_ns=3, symbols=symbols)
    data = encode(memory)
    assert decode(data) == memory.without_recent()
    for place in range(len(data)):
        assert decode(data[:place]) is None
        assert decode(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]) is None


def test_a_channel_that_cannot_be_read_begins_as_a_new_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = Start(MemoryDisk())
    start.publish(5)
    start.keeper.seal()
    assert list(remember_all(start.disk, "/j", ["test", "other"])) == ["test"]

    def fail(folder: str) -> list[str]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(start.disk, "names", fail)
    with caplog.at_level(logging.ERROR):
        assert remember_all(start.disk, "/j", ["test"]) == {}
    assert "test begins without its past: Input/output error" in caplog.text
