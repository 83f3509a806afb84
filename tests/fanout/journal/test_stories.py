"""Power cuts while a journal is written and while it is recovered, against a simple model.

The model is the list of numbers that were written. After a power cut and a recovery,

    - what was reported as synced is there,
    - what is there is a prefix of what was written, each number once,
    - a reader finds it from any of its numbers on.
"""

import errno
from collections.abc import Iterator
from itertools import count, cycle, product
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.journal import places
from fanout.journal.disk import Disk
from fanout.journal.recovery import recover
from fanout.protocol.block import decode_block
from fanout.protocol.framing import payloads_of
from fanout.protocol.journal import numbered
from fanout.protocol.journal_folder import ChannelFolder
from fanout.protocol.journal_play import Playback
from fanout.protocol.request import Position
from tests.fanout.journal.kept import EPOCH_NS, Keeper, make_channel
from tests.stand.disk import MemoryDisk, PowerCutError, Unsynced
from tests.thoroughness import examples

DIRECTORY = "/journal"

STRIDE = 1 if examples(1) > 1 else 3
"""How far apart the bytes are at which the power goes off: all of them with FANOUT_EXAMPLES=10."""


@pytest.fixture(autouse=True, scope="module")
def _places_are_close_together() -> Iterator[None]:
    """So that short segments have indexes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "PLACE_EVERY_BYTES", 16)
        yield


class Story:
    """One service that keeps a channel until the power goes off."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk
        self.synced_seq = 0
        """The last number that was reported as synced."""
        self.written_seq = 0
        """The last number of which anything was given to the disk."""

    def run(self, steps: list[int]) -> None:
        """A step is a count of trades to write, 0 for a sync, and -1 for the next segment."""
        keeper = Keeper(DIRECTORY, make_channel(), disk=self._disk)
        for step in steps:
            if step > 0:
                self.written_seq += step
                keeper.publish(step)
                continue
            keeper.segment.sync()
            self.synced_seq = keeper.segment.synced_seq - 1
            if step < 0:
                keeper.segment.close()
                keeper.begin()


def kept(disk: MemoryDisk) -> list[int]:
    """The numbers that are in the journal."""
    found = kept_from(disk, 1)
    for seq in found[1:]:
        assert kept_from(disk, seq) == found[seq - 1 :]
    return found


def kept_from(disk: MemoryDisk, seq: int) -> list[int]:
    """The numbers from one on. Each stands there as the id of its trade."""
    playback = Playback(ChannelFolder(disk, f"{DIRECTORY}/test"))
    found: list[int] = []
    if playback.begin(Position(epoch_ns=EPOCH_NS, seq=seq)):
        while data := playback.read():
            for payload in payloads_of(data):
                block = decode_block(payload, playback.header)
                if block.is_snapshot:
                    continue
                found += range(block.first_seq, block.first_seq + len(block.trades))
                assert [each.trade_id for each in block.trades] == found[-len(block.trades) :]
    playback.close()
    return found


def tell(steps: list[int], power_bytes: int, unsynced: Unsynced, *, keeps_names: bool) -> bool:
    """Play a story, with a power cut once so much was written, and judge it. Whether the power went
    off before the end."""
    disk = MemoryDisk()
    disk.power_bytes = power_bytes
    story, is_cut = Story(disk), False
    try:
        story.run(steps)
    except PowerCutError:
        is_cut = True
    disk = disk.after_power_cut(unsynced, keeps_names=keeps_names)
    judge(disk, story)
    return is_cut


def judge(disk: MemoryDisk, story: Story) -> None:
    disk.make_folder(DIRECTORY)
    recover(disk, DIRECTORY)
    found = kept(disk)
    assert found == list(range(1, len(found) + 1))
    assert story.synced_seq <= len(found) <= story.written_seq
    assert disk.open_files == 0


steps = st.lists(st.integers(-1, 5), max_size=8)


@given(steps, st.integers(0, 6_000), st.sampled_from(Unsynced), st.booleans())
@settings(max_examples=examples(40))
def test_what_was_synced_outlives_a_power_cut(
    steps: list[int], power_bytes: int, unsynced: Unsynced, keeps_names: bool
) -> None:
    tell(steps, power_bytes, unsynced, keeps_names=keeps_names)


def test_the_power_may_go_off_at_any_byte() -> None:
    """In a short run, all of it: head, records, the next head, the index."""
    kinds = cycle(product(Unsynced, (True, False)))
    for power_bytes in count(0, STRIDE):
        unsynced, keeps_names = next(kinds)
        if not tell([1, 0, 2, -1, 1], power_bytes, unsynced, keeps_names=keeps_names):
            assert power_bytes > 500
            break


def test_an_index_that_was_being_written_back_hides_no_record() -> None:
    assert not tell([1] * 12 + [-1, 1, 0], 10**9, Unsynced.HALF, keeps_names=True)


def test_what_a_killed_service_wrote_is_safe_after_the_next_start() -> None:
    disk = MemoryDisk()
    Story(disk).run([1, 2, 3])
    recover(disk, DIRECTORY)
    assert kept(disk.after_power_cut(Unsynced.LOST, keeps_names=False)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("unsynced", Unsynced)
def test_the_power_may_go_off_during_a_recovery(unsynced: Unsynced) -> None:
    for power_bytes in count(0, STRIDE):
        disk = MemoryDisk()
        story = Story(disk)
        story.run([1, 0, 2, 3])
        (path,) = [each for each in disk.paths() if each.endswith(".fj")]
        descriptor = disk.open(path)
        disk.truncate(descriptor, disk.size(descriptor) - 5)
        disk.remove(path.replace(".fj", ".fi"))
        disk = disk.after_power_cut(Unsynced.KEPT)
        disk.power_bytes = power_bytes
        try:
            recover(disk, DIRECTORY)
        except PowerCutError:
            judge(disk.after_power_cut(unsynced), story)
        else:
            judge(disk, story)
            assert power_bytes > 100
            break


class PulledError(Exception):
    """The process ends here."""


class Pulled:
    """A disk that ends the process before a call."""

    def __init__(self, disk: MemoryDisk, calls: int) -> None:
        self._disk = disk
        self._calls = calls

    def __getattr__(self, name: str) -> object:
        if name != "close":
            self._calls -= 1
            if self._calls < 0:
                raise PulledError
        return getattr(self._disk, name)


def test_a_recovery_that_is_cut_short_is_done_again() -> None:
    """At each call. The segment is torn and has no index, and files of the next one are there."""
    origin = MemoryDisk()
    keeper = Keeper(DIRECTORY, make_channel(), disk=origin)
    keeper.publish(3, 2, 5)
    folder = keeper.folder
    segment = origin.open(f"{folder}/{numbered(1, '.fj')}")
    origin.truncate(segment, origin.size(segment) - 3)
    origin.remove(f"{folder}/{numbered(1, '.fi')}")
    for name in (numbered(6, ".fj"), numbered(6, ".fi"), f"{numbered(9, '.fj')}.part"):
        origin.close(origin.open(f"{folder}/{name}", make=True))

    def left(disk: MemoryDisk) -> dict[str, bytes]:
        return {each: disk.contents(each) for each in disk.paths()}

    wanted = origin.after_power_cut(Unsynced.KEPT)
    recover(wanted, DIRECTORY)
    for calls in range(200):
        disk = origin.after_power_cut(Unsynced.KEPT)
        try:
            recover(cast(Disk, Pulled(disk, calls)), DIRECTORY)
        except PulledError:
            recover(disk, DIRECTORY)
            assert left(disk) == left(wanted), calls
        else:
            assert calls > 20
            return
    raise AssertionError("a recovery takes fewer calls")


@pytest.mark.parametrize(("room_bytes", "sync_error"), [(3, 0), (10_000, errno.EIO)])
def test_nothing_is_cut_off_that_is_not_kept_elsewhere(room_bytes: int, sync_error: int) -> None:
    disk = MemoryDisk()
    keeper = Keeper(DIRECTORY, make_channel(), disk=disk)
    keeper.publish(3, 2)
    path = f"{keeper.folder}/{numbered(1, '.fj')}"
    segment = disk.open(path)
    disk.truncate(segment, disk.size(segment) - 5)
    before = disk.contents(path)
    disk.room_bytes, disk.sync_error = room_bytes, sync_error
    with pytest.raises(OSError, match=r"No space left on device|Input/output error"):
        recover(disk, DIRECTORY)
    assert disk.contents(path) == before
    disk.room_bytes, disk.sync_error = 10_000, 0
    recover(disk, DIRECTORY)
    assert kept(disk) == [1, 2, 3]
    rest = disk.contents(path.replace(".fj", ".torn"))
    assert disk.contents(path) + rest == before
