"""Reads the lines of `fanout analytics run`, and notes when each of them came.

    python -m tests.bench.feature_parts.lines FILE

For each line on its input, FILE gets two integers of 64 bits: the time of its arrival and the
row's `time_ns`, both in unix ns. It only reads until the input ends, and then looks at the lines.
"""

import os
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

READ_BYTES: Final = 65_536


class _Row(msgspec.Struct):
    time_ns: int


_decode: Final = msgspec.json.Decoder(_Row).decode


def main(path: Path, descriptor: int = 0) -> None:
    pieces = []
    while data := os.read(descriptor, READ_BYTES):
        pieces.append((time.time_ns(), data))
    path.write_bytes(np.array(noted(pieces), np.int64).tobytes())


def noted(pieces: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    """Of each line, when its end came and its row's time. Raises `ValueError` for what is none."""
    found, rest = [], b""
    for at_ns, data in pieces:
        *lines, rest = (rest + data).split(b"\n")
        found += [(at_ns, _decode(each).time_ns) for each in lines]
    if rest:
        raise ValueError(f"the output ends within a line: {rest[:80]!r}")
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
