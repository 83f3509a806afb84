"""Reads the lines of `fanout paper run --format json`, and notes when each new quote came.

    python -m tests.bench.paper_parts.lines FILE

For each quote on its input, FILE gets two integers of 64 bits: the time of its arrival and the
quote's `time_ns`, both in unix ns. It only reads until the input ends, and then looks at the lines.
"""

import os
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

READ_BYTES: Final = 65_536


class _Report(msgspec.Struct):
    type: str
    time_ns: int = 0


_decode: Final = msgspec.json.Decoder(_Report).decode


def main(path: Path, descriptor: int = 0) -> None:
    pieces = []
    while data := os.read(descriptor, READ_BYTES):
        pieces.append((time.time_ns(), data))
    path.write_bytes(np.array(noted(pieces), np.int64).tobytes())


def noted(pieces: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    """Of each quote, when the end of its line came and its time. Raises `ValueError` for a line
    that is cut."""
    found, rest = [], b""
    for at_ns, data in pieces:
        *lines, rest = (rest + data).split(b"\n")
        reports = [_decode(each) for each in lines]
        found += [(at_ns, each.time_ns) for each in reports if each.type == "QuoteReport"]
    if rest:
        raise ValueError(f"the output ends within a line: {rest[:80]!r}")
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
