"""A service that keeps a journal is killed again and again, and its clients come back.

What the journal holds is read at the end by another client, `journal`. Of each epoch, every client
gets all that the journal keeps, and perhaps some records more, which were sent and never written.
Over all epochs the journal has each trade of the exchange once.
"""

import random
import signal
from pathlib import Path
from typing import Final

import trio

from fanout.clients.journal import JournalClient
from fanout.clients.tcp_trio import Moment
from tests.faults.house import House, opened
from tests.stand.consumers import BlockingConsumer, TrioConsumer
from tests.stand.verified import faults_of, lost_in, verified

KILLS: Final = 4
SHORT_LOG: Final = ("--log-bytes", "64KiB")
"""Clients that come back late go on from the journal."""

RATE: Final = 400.0
LONGEST_WAIT_S: Final = 0.4
CHANCE_OF_NO_START: Final = 0.25
"""How likely the next service is killed while it starts."""


async def service_with_journal_killed(directory: Path, chance: random.Random) -> None:
    """Nobody is sent another record under a number that was used, and no trade is lost: neither
    over a kill in the middle of a write, nor over one in the middle of a start."""
    journal = directory / "journal"
    sync = chance.choice(("1s", "always", "never"))
    async with (
        opened(directory, rate=RATE, journal=("--dir", str(journal), "--sync", sync)) as house,
        trio.open_nursery() as nursery,
    ):
        for number in range(KILLS):
            until_up = number == 0 or chance.random() > CHANCE_OF_NO_START
            async with house.forked(*SHORT_LOG, until_up=until_up) as service:
                if number == 0:
                    house.admit(nursery)
                if until_up:
                    await house.more_trades(1)
                await trio.sleep(chance.random() * LONGEST_WAIT_S)
                service.signal(signal.SIGKILL)
                await service.wait()
        async with house.forked(*SHORT_LOG):
            late = TrioConsumer(
                house.oracle, "late", house.door.url("tcp"), start=Moment(time_ns=0)
            )
            nursery.start_soon(late.run)
            house.consumers.append(late)
            await house.level()
            await house.more_trades()
            await house.until(lambda: not house.oracle.open_ids())
            await house.end()
    await require_kept(house, journal)


async def require_kept(house: House, journal: Path, *, lost: int = 0) -> dict[int, int]:
    """Read the journal, and hold it against what the exchange did and what the clients got. `lost`
    is how many records it lost. Gives the last number that it keeps of each epoch."""
    ((channel, segments),) = verified(journal).items()
    for fault in faults_of(segments):
        house.oracle.complain("P2", f"the journal: {fault}")
    assert lost_in(segments) == lost
    client = JournalClient(f"journal://{journal}/{channel}")
    reader = BlockingConsumer(house.oracle, "journal", client)
    await reader.run()
    kept = {**reader.reader.last_seqs, reader.reader.epoch_ns: (reader.reader.due or 1) - 1}
    house.oracle.account_kept(kept)
    for each in (reader, *house.consumers):
        each.reader.require_epochs(kept)
    # What a segment has that its writer did not know to be on the disk is lost to nobody who reads
    # that segment; what was removed is lost, and no LOSS in the files tells of it.
    removed = segments[0].first_seq - 1
    assert bool(reader.reader.losses) == bool(lost)
    assert reader.reader.losses.total() <= removed + lost
    for each in house.consumers:
        if each.reader.losses:
            house.oracle.complain("P2", f"{each.reader.name} lost {each.reader.losses}")
    house.oracle.check()
    return kept
