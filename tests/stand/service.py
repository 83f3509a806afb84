"""The service as a real process, asked over HTTP how it is."""

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from fanout.stats.snapshots import ServiceStats
from tests.fanout.cli.processes import FANOUT, environment
from tests.stand.forks import Forked

PATIENCE_S: Final = 30.0
NEVER: Final = -1
"""In place of the exit code of a process that did not end in time."""

ROOT: Final = Path(__file__).parents[2]


class Service:
    """A process that serves, and what it says."""

    def __init__(self, process: trio.Process | Forked, log: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._log = log

    @property
    def said(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def peak_bytes(self) -> int:
        """The most memory that it has had mapped: what `ulimit -v` limits."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(re.search(r"VmPeak:\s*(\d+) kB", status)[1])  # type: ignore[index]

    async def address(self, scheme: str) -> str:
        """The URL of that scheme, once it has been announced."""
        with trio.fail_after(PATIENCE_S):
            while True:
                words = [word for line in self.said for word in line.split()]
                for word in words:
                    if word.startswith(f"{scheme}://"):
                        return word.rstrip(",").removesuffix("/status")
                assert self.is_running, "\n".join(self.said)
                await trio.sleep(0.02)

    async def status(self, http_url: str) -> ServiceStats:
        """What it answers. Raises `OSError` if nothing."""
        body = await trio.to_thread.run_sync(_get, f"{http_url}/status")
        return msgspec.json.decode(body, type=ServiceStats)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def wait(self) -> int:
        """Until it has ended by itself. Gives the exit code."""
        with trio.move_on_after(PATIENCE_S):
            while (code := self._process.poll()) is None:  # noqa: ASYNC110  a process
                await trio.sleep(0.01)
            return code
        return NEVER

    async def end(self) -> int:
        """Ask it to end, and give the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return await self.wait()


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        body: bytes = answer.read()
    return body


@asynccontextmanager
async def serving(
    *options: str, log: Path, inside: Sequence[str] = (), **process_options: Any
) -> AsyncIterator[Service]:
    """`fanout` with these options. What it says on stderr is kept in a file, so that it never waits
    for a reader; at the end it is killed, if it still runs. `inside` is a command that runs the
    command behind it in its own place."""
    with log.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            [*inside, *FANOUT, *options],
            **{
                "stdout": subprocess.DEVNULL,
                "stderr": stderr,
                "env": environment(),
                "cwd": ROOT,
                **process_options,
            },
        )
    try:
        yield Service(process, log)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def forked(*options: str, log: Path) -> AsyncIterator[Service]:
    """The same, up in a fraction of the time: see `forks`."""
    process = await trio.to_thread.run_sync(Forked, options, environment(), log)
    try:
        yield Service(process, log)
    finally:
        process.kill()
        with process:
            pass


_WITH_BUFFER: Final = """
from fanout.clients.multicast_client import GroupClient
GroupClient.__init__.__kwdefaults__["buffer_bytes"] = {}
from fanout.cli import main
main()
"""


def tailing(*arguments: str, buffer_bytes: int | None = None) -> Sequence[str]:
    """The command of a consumer in a process of its own. For multicast, `buffer_bytes` is the
    receive buffer of each line, which `fanout tail` has no option for."""
    program = (
        ["-m", "fanout"] if buffer_bytes is None else ["-c", _WITH_BUFFER.format(buffer_bytes)]
    )
    return [sys.executable, *program, "tail", *arguments, "--format", "json"]
