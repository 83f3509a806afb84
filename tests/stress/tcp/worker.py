"""Processes of their own: what shares none has no part in the delays and the memory of another."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from tests.stress.tcp.account import PATIENCE_S

SPAWN: Final = multiprocessing.get_context("spawn")


class Worker:
    """A process that does one thing, and is spoken with over a pipe. It is killed at the end."""

    def __init__(self, work: Callable[..., None], *arguments: object) -> None:
        """`work` is given its end of the pipe, and then the arguments."""
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=work, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def say(self, word: str) -> None:
        self._pipe.send(word)

    def hear(self) -> Any:
        """What it says next. Raises `EOFError` if it is gone."""
        assert self._pipe.poll(PATIENCE_S), f"no answer in {PATIENCE_S:g} s"
        return self._pipe.recv()

    def finish(self) -> None:
        """Wait for its end, which has to be a good one."""
        self._process.join(PATIENCE_S)
        assert self._process.exitcode == 0, self._process

    def memory(self, which: str) -> int:
        """Bytes of memory that are its own: VmRSS now, VmHWM at the most."""
        for line in self._file("status").read_text().splitlines():
            if line.startswith(which):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {which}")

    def cpu_s(self) -> float:
        fields = self._file("stat").read_text().rpartition(")")[2].split()
        ticks_a_second: int = os.sysconf("SC_CLK_TCK")
        return (int(fields[11]) + int(fields[12])) / ticks_a_second

    def _file(self, name: str) -> Path:
        return Path(f"/proc/{self._process.pid}/{name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
