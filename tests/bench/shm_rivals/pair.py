"""Two fresh processes, one way between them.

    python -m tests.bench.shm_rivals.pair WAY DIRECTORY PACED FLOOD WRITER_CORE READER_CORE

Prints as JSON how old each of PACED frames was, in ns, and how many frames a second went through
in a flood of FLOOD. It exits with `CANNOT_START` where an end cannot be made.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Final, TypeVar

from tests.bench.shm_rivals.ends import WAYS, Ends
from tests.bench.shm_rivals.frames import (
    FLOOD_WARM_UP,
    PACED_WARM_UP,
    read_flood,
    read_paced,
    write_flood,
    write_paced,
)

CANNOT_START: Final = os.EX_UNAVAILABLE

_READY: Final = b"!"
_PR_SET_PDEATHSIG: Final = 1

End = TypeVar("End")


def main(
    way: str, directory: str, paced: int, flood: int, writer_core: int, reader_core: int
) -> None:
    # What a way starts threads for may run where there is room; only the ends themselves are bound.
    os.sched_setaffinity(0, {writer_core, reader_core})
    ends = made(lambda: WAYS[way](directory))
    mine, theirs = socket.socketpair()
    reader = os.getpid()
    pid = os.fork()
    if not pid:
        mine.close()
        os._exit(exit_code(lambda: write(ends, paced, flood, theirs, writer_core, reader)))
    theirs.close()
    print(json.dumps(read(ends, paced, flood, mine, reader_core)), flush=True)
    mine.close()
    if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        sys.exit(f"the writer ended with {code}")


def made(make: Callable[[], End]) -> End:
    try:
        return make()
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(CANNOT_START)


def exit_code(work: Callable[[], None]) -> int:
    """Of a forked process whose work this is, and which is not to come back from it."""
    try:
        work()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def follow_to_death(parent: int) -> None:
    """Not to spin, or wait, for ever when the reader is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def write(
    ends: Ends, paced: int, flood: int, reader: socket.socket, core: int, reader_pid: int
) -> None:
    follow_to_death(reader_pid)
    send = made(ends.make_send)
    os.sched_setaffinity(0, {core})
    reader.send(_READY)
    if reader.recv(1) != _READY:
        return
    write_paced(send, PACED_WARM_UP + paced, rest_s=ends.rest_s)
    write_flood(send, FLOOD_WARM_UP + flood)
    reader.recv(1)  # the reader has it all


def read(ends: Ends, paced: int, flood: int, writer: socket.socket, core: int) -> dict[str, object]:
    if writer.recv(1) != _READY:
        sys.exit(CANNOT_START)
    receive = made(ends.make_receive)
    os.sched_setaffinity(0, {core})
    writer.send(_READY)
    ages = read_paced(receive, PACED_WARM_UP + paced)[PACED_WARM_UP:]
    rate = read_flood(receive, FLOOD_WARM_UP + flood, FLOOD_WARM_UP, ends.length_bytes)
    return {"ages": ages, "rate": rate}


if __name__ == "__main__":
    way, directory, *numbers = sys.argv[1:]
    main(way, directory, *map(int, numbers))
