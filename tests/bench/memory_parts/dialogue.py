"""How the stage speaks with its processes: it writes a line of words, and they answer in JSON."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.bench.measure import start

LIMIT_S: Final = 900
"""How long a process may live, whatever happens to it or to the stage."""


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def limit_life(seconds: int = LIMIT_S) -> None:
    """Nobody waits for ever for an answer: the kernel ends a process that lives longer."""
    signal.alarm(seconds)


class Memory(msgspec.Struct, frozen=True):
    """Bytes of a process in memory: `resident`, and `proportional`, in which what it shares with
    others counts only in part."""

    resident: int
    proportional: int


class Part:
    """A process of the stage, from outside."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def ask(self, words: str) -> Any:
        """Say something, and wait for the answer. Raises `RuntimeError` if there is none."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{words}\n")
        self._child.stdin.flush()
        return self.hear()

    def hear(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._child.args} ended without an answer")
        return json.loads(line)

    def memory(self) -> Memory:
        """As the kernel adds it up, page by page: `statm` counts in batches and may be off."""
        rows = Path(f"/proc/{self._child.pid}/smaps_rollup").read_text().splitlines()[1:]
        kib = {name: int(value.split()[0]) for name, _, value in (r.partition(":") for r in rows)}
        return Memory(kib["Rss"] * 1024, kib["Pss"] * 1024)


@contextmanager
def part(
    module: str, *arguments: object, core: int, package: str = "memory_parts"
) -> Iterator[Part]:
    """A process that is killed at the end of the block."""
    child = start(f"tests.bench.{package}.{module}", *arguments, core=core, stdin=subprocess.PIPE)
    try:
        yield Part(child)
    finally:
        child.kill()
        child.communicate()
