"""A command that prints lines of JSON, and a reader that notes when each of them came.

    python -m tests.bench.printed FILE [KIND]

runs the reader. For each line on its input, or each whose `type` is KIND, FILE gets two integers of
64 bits: the time of its arrival and the line's `time_ns`, both in unix ns. It only reads until the
input ends, and then looks at the lines.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from tests.bench.broadcast.children import running
from tests.bench.measure import REST_CORE, start

READ_BYTES: Final = 65_536


class _Line(msgspec.Struct):
    type: str = ""
    time_ns: int = 0


_decode: Final = msgspec.json.Decoder(_Line).decode


@contextmanager
def printing(
    command: Sequence[str], file: Path, *, cwd: Path, log: Path, kind: str = ""
) -> Iterator[tuple["subprocess.Popen[bytes]", "subprocess.Popen[str]"]]:
    """A command of fanout and the reader of its output, as two processes on one core. What it says
    on standard error goes to `log`."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "fanout", *command],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=stderr,
            preexec_fn=partial(os.sched_setaffinity, 0, {REST_CORE}),
        )
    try:
        reader = start("tests.bench.printed", file, kind, core=REST_CORE, stdin=process.stdout)
        with running(reader):
            assert process.stdout, "it was asked for"
            process.stdout.close()  # the reader's now
            yield process, reader
    finally:
        process.kill()
        process.wait()


def main(path: Path, kind: str, descriptor: int = 0) -> None:
    pieces = []
    while data := os.read(descriptor, READ_BYTES):
        pieces.append((time.time_ns(), data))
    path.write_bytes(np.array(noted(pieces, kind), np.int64).tobytes())


def noted(pieces: list[tuple[int, bytes]], kind: str = "") -> list[tuple[int, int]]:
    """Of each line that counts, when its end came and its time. Raises `ValueError` for what is no
    line, and for one that is cut."""
    found, rest = [], b""
    for at_ns, data in pieces:
        *texts, rest = (rest + data).split(b"\n")
        lines = map(_decode, texts)
        found += [(at_ns, each.time_ns) for each in lines if not kind or each.type == kind]
    if rest:
        raise ValueError(f"the output ends within a line: {rest[:80]!r}")
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
