"""Journals on disk, made of what channels publish, and replays of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.config.replay import ReplayConfig
from fanout.protocol import EndReason, Trade
from fanout.protocol.journal import INDEX, SEGMENT, numbered
from fanout.replay import run_replay
from tests.protocol.golden import BTC, HEADER
from tests.stand.inside import Running
from tests.stand.journals import MemoryFiles, Recorder

SECOND_NS = 1_000_000_000
BEGIN_S = 1_000
"""When the journals begin, in unix seconds."""


class Service:
    """One start of a service with a channel, and what its journal has of it."""

    def __init__(self, files: MemoryFiles, at_s: float = BEGIN_S, **header: Any) -> None:
        self.now_s = at_s
        of = {"venue": "test", "channel": "test", "epoch_ns": self.now_ns, "next_seq": 1} | header
        self.channel = Channel(
            replace(HEADER, **of), log_bytes=10_000_000, wall_ns=lambda: self.now_ns
        )
        self.recorder = Recorder(files, self.channel)
        self._last_id = 0

    @property
    def now_ns(self) -> int:
        return int(self.now_s * SECOND_NS)

    def trade(self, count: int = 1, *, after_s: float = 0.0) -> None:
        """Publish a block of trades, some time after what was before."""
        self.now_s += after_s
        ids = range(self._last_id + 1, self._last_id + count + 1)
        trades = [Trade(BTC, each, 5, 6, 7, False) for each in ids]
        self._last_id += count
        self.channel.publish(trades, received_ns=self.now_ns, held_ns=0)
        self.recorder.write()

    def beat(self, *, after_s: float = 1.0) -> None:
        self.now_s += after_s
        self.recorder.heartbeat(self.now_ns)

    def end(self, reason: EndReason = EndReason.SHUTDOWN, why: str = "stopped") -> None:
        self.channel.end(reason, retry_ms=None, why=why)
        self.recorder.write()

    def numbers(self) -> list[tuple[int, int]]:
        """The epoch and number of each trade."""
        return [(self.channel.header.epoch_ns, each + 1) for each in range(self._last_id)]


def saved(files: MemoryFiles, directory: Path, name: str = "test") -> str:
    """Write a channel's segments into a journal. Returns the journal's path."""
    for (epoch_ns, first_seq), segment in files.all.items():
        folder = directory / name / numbered(epoch_ns)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / numbered(first_seq, SEGMENT)).write_bytes(segment.data)
        (folder / numbered(first_seq, INDEX)).write_bytes(segment.index or b"")
    return str(directory)


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """In place of a thread, for a virtual clock."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


class Replaying(Running):
    """A replay that is up. `over` is set at its end."""

    def __init__(self, stop: trio.Event, *, urls: int) -> None:
        super().__init__(stop, urls=urls)
        self.over = trio.Event()


@asynccontextmanager
async def replaying(config: ReplayConfig, **options: Any) -> AsyncIterator[Replaying]:
    """Yields once the replay listens. Ends it at the end."""
    urls = len(config.transports) + (config.http is not None)
    running = Replaying(trio.Event(), urls=urls)

    async def run() -> None:
        await run_replay(config, stop=running.stop, announce=running.announce, **options)
        running.over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await running.up.wait()
        yield running
        running.stop.set()
