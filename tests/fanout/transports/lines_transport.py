"""A transport from outside the package: it writes the size of each block to a file, a line each."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import trio

from fanout.channel.reader import Reader
from fanout.checks.report import Check, Fault, Subject
from fanout.config import TransportConfig
from fanout.config.options import Option
from fanout.transports import TransportEntry, register
from fanout.transports.base import Transport


class LinesConfig(TransportConfig, frozen=True):
    path: Annotated[str, Option("File to write to.", metavar="FILE")]
    most: Annotated[int, Option("Blocks after which it ends the service.")] = 10


class Lines(Transport):
    config: LinesConfig

    async def run(self, channels: Any, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        reader, self.url = Reader(channels[0]), f"lines://{self.config.path}"
        task_status.started(self.url)
        async with await trio.open_file(self.config.path, "w") as file:
            for _ in range(self.config.most):
                await reader.log.wait_beyond(reader.cursor.position)
                await file.write(f"{len(reader.next_piece())}\n")
        os.kill(os.getpid(), signal.SIGTERM)


def directory_of(config: LinesConfig) -> Check:
    subject = Subject("directory", str(Path(config.path).parent))
    if Path(subject.target).is_dir():
        return subject.passed("it is there")
    return subject.failed("it is missing", "make it", Fault.MACHINE)


async def check(configs: Sequence[LinesConfig], held: Any) -> list[Check]:
    return [directory_of(each) for each in configs]


HELP = "Write a line for each block."
register(TransportEntry(name="lines", config=LinesConfig, make=Lines, check=check, help=HELP))

if __name__ == "__main__":
    from fanout.cli.app import run

    run()
