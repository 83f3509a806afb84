"""Faults of the disk under a journal: it is full, read-only, gone, slow, or fails to sync.

The service serves on. Its clients get everything, `/readyz` and the statistics name the fault, and
the journal goes on once it can. What it lost by then is a LOSS in its files.
"""

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from errno import EIO, ENOSPC, EROFS
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from fanout.clients.tcp_trio import Moment
from fanout.stats.snapshots import JournalStats
from tests.fanout.cli.processes import environment, fanout
from tests.faults.house import PATIENCE_S, House, opened
from tests.faults.journal import SHORT_LOG, require_kept
from tests.stand.consumers import TrioConsumer
from tests.stand.small_disk import can_mount, small_disk

LOGFUL: Final = 2_500
"""Trades that are more than such a log holds."""
LOOK_S: Final = 0.1
LOUD: Final = 1_000.0
"""Trades a second."""

SLOW_DISK: Final = Path(__file__).parents[1] / "stand" / "slow_disk.c"


class Kept:
    """A service that keeps a journal, and a client that may lose nothing."""

    def __init__(self, house: House, nursery: trio.Nursery, http_url: str) -> None:
        self.house = house
        self._nursery = nursery
        self._http_url = http_url

    async def replay(self) -> None:
        """Let a client begin with the oldest record, until it has caught up."""
        url = self.house.door.url("tcp")
        late = TrioConsumer(self.house.oracle, "late", url, start=Moment(time_ns=0))
        self.house.consumers.append(late)
        self._nursery.start_soon(late.run)
        await self.house.level()
        assert late.reader.due == 1 + late.reader.got, "it has got every record"

    async def readiness(self) -> tuple[int, str]:
        """What `/readyz` answers."""
        return await trio.to_thread.run_sync(_asked, f"{self._http_url}/readyz")

    async def stats(self) -> JournalStats:
        status = await self.house.service.status(self._http_url)
        (found,) = [journal for each in status.transports for journal in each.journal]
        return found

    async def until_kept(self) -> None:
        """Until all is well, and what came so far would outlive a power cut."""
        await self.until_answer(lambda code, _: code == 200)
        written = (await self.stats()).written_seq
        await self.until_stats(lambda it: it.synced_seq >= written)

    async def until_answer(self, is_it: Callable[[int, str], bool]) -> str:
        """Until `/readyz` answers that, and everybody is served meanwhile."""
        with trio.fail_after(PATIENCE_S):
            while not is_it(*(answer := await self.readiness())):
                await self.house.more_trades(1)
                await trio.sleep(LOOK_S)
        return answer[1]

    async def until_stats(self, is_it: Callable[[JournalStats], bool]) -> JournalStats:
        with trio.fail_after(PATIENCE_S):
            while not is_it(stats := await self.stats()):
                await self.house.more_trades(1)
                await trio.sleep(LOOK_S)
        return stats


def _asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@asynccontextmanager
async def keeping(
    directory: Path, journal: Path, *more: str, rate: float = 200.0, **process: Any
) -> AsyncIterator[Kept]:
    """A service with a journal, and a client of it. They end in good order."""
    options = ("--dir", str(journal))
    async with (
        opened(directory, rate=rate, journal=options) as house,
        house.served(*more, **process) as service,
        trio.open_nursery() as nursery,
    ):
        house.watch(nursery)
        kept = Kept(house, nursery, await service.address("http"))
        await kept.until_kept()
        yield kept
        await house.end()


# Full, read-only, gone.


async def play(
    kept: Kept, spoil: Callable[[], None], mend: Callable[[], None], error: int, trades: int
) -> None:
    """Spoil the disk until so many trades have come, and mend it."""
    spoil()
    words = os.strerror(error)
    await kept.until_answer(lambda code, answer: code == 503 and f"journal: {words}; " in answer)
    await kept.until_stats(lambda it: it.why == words)
    await kept.house.more_trades(trades)
    mend()
    await kept.until_kept()


@pytest.mark.skipif(not can_mount(), reason="no mount namespace for a small disk")
@pytest.mark.long
async def test_a_journal_goes_on_when_its_disk_is_there_again(tmp_path: Path) -> None:
    """While the disk is away, records wait in the log, until the log drops them."""
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, size="4m") as disk:
        inside, outside = disk.path / "journal", disk.outside / "journal"
        async with keeping(tmp_path, inside, *SHORT_LOG, rate=LOUD, inside=disk.inside) as kept:
            await kept.house.more_trades(LOGFUL)
            disk.protect("journal")
            await kept.replay()
            disk.show("journal")
            shutil.rmtree(outside)
            begun = await kept.stats()
            await kept.until_stats(lambda it: it.segments > begun.segments)
            await kept.house.until((outside / "lock").exists)
            hide, show = partial(disk.hide, "journal"), partial(disk.show, "journal")
            await play(kept, hide, show, EROFS, trades=1)
            before = await kept.stats()
            await play(kept, disk.fill, disk.empty, ENOSPC, LOGFUL)
            lost = (await kept.until_stats(lambda it: it.lost > before.lost)).lost
        stops = [line for line in kept.house.service.said if "stops at number" in line]
        assert len(stops) == 3, stops
        await require_kept(kept.house, outside, lost=lost)
        assert fanout("journal", "verify", str(outside)).returncode == 0


# Syncs that fail, or do not return.


@pytest.fixture
def slow_disk(tmp_path: Path) -> Path:
    """What is to be loaded before the service."""
    if (cc := shutil.which("cc")) is None:
        pytest.skip("no C compiler")
    built = tmp_path / "slow_disk.so"
    subprocess.run([cc, "-shared", "-fPIC", "-o", built, SLOW_DISK], check=True)
    return built


@pytest.mark.long
async def test_a_sync_that_hangs_or_fails_keeps_nobody_waiting_and_loses_nothing(
    tmp_path: Path, slow_disk: Path
) -> None:
    how, journal = tmp_path / "how", tmp_path / "journal"

    def syncs(word: str) -> None:
        """Let them go like this from now on."""
        written = tmp_path / "written"
        written.write_text(word)
        written.rename(how)

    variables = environment(LD_PRELOAD=str(slow_disk), SLOW_DISK=str(how))
    async with keeping(tmp_path, journal, env=variables) as kept:
        syncs("hang")
        begun = await kept.stats()
        stats = await kept.until_stats(lambda it: it.written_seq > begun.written_seq + 200)
        assert stats.synced_seq <= begun.written_seq
        syncs("fail")
        why = f"journal: {os.strerror(EIO)}; "
        await kept.until_answer(lambda code, answer: code == 503 and why in answer)
        stats = await kept.until_stats(lambda it: it.state == "AWAY")
        assert stats.why == os.strerror(EIO)
        assert stats.sync_failures
        syncs("")
        await kept.until_kept()
        assert (await kept.stats()).segments >= 2, "the descriptor is not used again"
    await require_kept(kept.house, journal)
    assert fanout("journal", "verify", str(journal)).returncode == 0
