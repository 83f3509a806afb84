"""A transport from outside the package: it writes the size of each block to a file, a line each."""

import os
import signal
from typing import Annotated, Any

import msgspec
import trio

from fanout.channel.reader import Reader
from fanout.checks.report import Fault, Subject
from fanout.config.options import Option
from fanout.stats.histogram import Histogram
from fanout.stats.snapshots import TransportStats
from fanout.transports import TransportEntry, register


class LinesConfig(msgspec.Struct, frozen=True, kw_only=True):
    path: Annotated[str, Option("File to write to.", metavar="FILE")]
    most: Annotated[int, Option("Blocks after which it ends the service.")] = 10
    claim = ""

    def warnings(self) -> list[str]:
        return []


class LinesTransport:
    def __init__(self, config: LinesConfig) -> None:
        self._config = config
        self.sending = Histogram()

    def stats(self) -> TransportStats:
        return TransportStats(
            url="lines", consumers=(), accepted=0, refused=0, lost=0, send=None, anomalies={}
        )

    async def run(self, channels: Any, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        reader = Reader(channels[0])
        task_status.started(f"lines://{self._config.path}")
        async with await trio.open_file(self._config.path, "w") as file:
            for _ in range(self._config.most):
                await reader.log.wait_beyond(reader.cursor.position)
                await file.write(f"{len(reader.next_piece())}\n")
        os.kill(os.getpid(), signal.SIGTERM)


async def check(configs: Any, held: Any) -> Any:
    rows = []
    for each in configs:
        subject = Subject("directory", os.path.dirname(each.path))
        is_there = await trio.Path(subject.target).is_dir()
        missing = subject.failed("it is missing", "make it", Fault.MACHINE)
        rows.append(subject.passed("it is there") if is_there else missing)
    return rows


register(
    TransportEntry(
        name="lines",
        config=LinesConfig,
        make=LinesTransport,
        check=check,
        help="Write a line for each block.",
    )
)

if __name__ == "__main__":
    from fanout.cli.app import run

    run()
