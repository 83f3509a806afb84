"""The shared-memory queue under stress: two processes, kills, cuts and noise.

    python -m tests.stress.shm              everything, as often as one likes; a few minutes
    python -m tests.stress.shm kills 300    one of them, that many times

The suite runs each of them a few times, in a process of its own: what is shown here is also that
the process survives. Each prints a line, and fails by an assertion. The seed is printed.
"""

import ctypes
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NoReturn

from fanout.clients import shared_client
from fanout.clients.shm import DisconnectedError, Outcome, PeerError, QueueError, ShmClient, Wait
from fanout.clients.shm_file import attach
from fanout.protocol import Record, Trade, frame
from fanout.transports.shm.queue_file import create
from tests.clients.queues import Writer, numbers, overwrite

CAPACITY_BYTES: Final = 4096
_PR_SET_PDEATHSIG: Final = 1


def payloads(count: int, seed: int) -> Iterator[bytes]:
    """Payloads of random sizes, mostly small, now and then as large as the queue."""
    chance = random.Random(seed)
    noise = chance.randbytes(CAPACITY_BYTES)
    for _ in range(count):
        most = CAPACITY_BYTES - 4 if chance.random() < 0.01 else 120
        yield noise[: chance.randint(1, most)]


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child, which never returns. Gives its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    # Not to spin on for ever when the parent fails.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def frames(directory: Path, count: int, seed: int) -> str:
    """Random frames through a queue that wraps all the time, byte for byte."""
    ready, told = os.pipe()

    def write() -> None:
        queue = create(str(directory / "q"), capacity_bytes=CAPACITY_BYTES, header=None)
        os.write(told, b"!")
        for payload in payloads(count, seed):
            data = frame(payload)
            while not queue.writer.push(data):
                os.sched_yield()
        queue.writer.end()

    pid = fork(write)
    os.read(ready, 1)
    began = time.perf_counter()
    with ShmClient("shm://q", directory=str(directory)) as client:
        for expected in payloads(count, seed):
            while (payload := client.pop()) is None:
                os.sched_yield()
            assert payload == expected
        outcome = None
        while outcome is None:
            try:
                assert client.pop() is None
            except QueueError as error:
                outcome = error.outcome
    assert outcome in (Outcome.ENDED, Outcome.WRITER_DIED)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return f"{count / (time.perf_counter() - began):,.0f} frames a second"


def kills(directory: Path, count: int, seed: int) -> str:
    """A writer killed at a random moment: no wrong frame, and known within a second."""
    chance = random.Random(seed)
    slowest_s, trades = 0.0, 0

    def write() -> NoReturn:
        writer = Writer(directory, capacity_bytes=CAPACITY_BYTES)
        while True:
            count = chance.randint(1, 20)
            while not writer.trades(count):
                os.sched_yield()

    for _ in range(count):
        pid = fork(write)
        while not (directory / "q").exists():
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the writer ended before it began"
            time.sleep(0.0005)
        until_s = time.monotonic() + chance.random() * 0.03
        client = ShmClient("shm://q", directory=str(directory), reconnect=False)
        records: list[Record] = []
        try:
            killed_s = 0.0
            for each in client:
                records.append(each)
                if not killed_s and time.monotonic() > until_s:
                    os.kill(pid, signal.SIGKILL)
                    killed_s = time.monotonic()
        except DisconnectedError as error:
            if not killed_s:
                os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"given up while the writer lived: {error!r}") from error
            slowest_s = max(slowest_s, time.monotonic() - killed_s)
        client.close()
        os.waitpid(pid, 0)
        assert client.outcome is Outcome.WRITER_DIED, client.outcome
        assert_true(records)
        trades += client.statistics.trades
        os.unlink(directory / "q")
    assert slowest_s < 1, slowest_s
    return f"{trades:,} trades, a death known after {slowest_s:.2f} s at most"


def assert_true(records: list[Record]) -> None:
    """Every trade is what was written, and the numbers have no hole and no overlap."""
    got = numbers(records)
    assert not got or got == list(range(got[0], got[-1] + 1))
    assert all(each.trade_id == each.seq for each in records if isinstance(each, Trade))


def cuts(directory: Path, count: int, seed: int) -> str:
    """The file cut short at a random moment while it is read: an outcome, not a SIGBUS."""
    chance = random.Random(seed)
    path = directory / "q"

    def cut(size: int) -> None:
        time.sleep(chance.random() * 0.002)
        os.truncate(path, size)
        if size == 0 and seed % 2:
            os.truncate(path, 4096 + 65536)

    for step in range(count):
        writer = Writer(directory)
        client = ShmClient("shm://q", directory=str(directory), reconnect=False, wait=Wait.SPIN)
        size = (0, 100, 4096, 5000, 20000)[step % 5]
        if step % 2:
            client.connect()
        writer.trades(1)
        pid = fork(lambda size=size: cut(size))  # type: ignore[misc]
        if step % 2:
            try:
                assert_true(list(client))  # type: ignore[arg-type]
            except DisconnectedError:
                assert client.outcome is Outcome.TRUNCATED, client.outcome
        else:
            # Cut and made long again before it was attached to, it is no queue any more.
            outcome = pop_until_error(client)
            assert outcome in (Outcome.TRUNCATED, Outcome.FOREIGN), outcome
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        writer.die()
        path.unlink()
    return "all survived"


def pop_until_error(client: ShmClient) -> Outcome:
    with client:
        while True:
            try:
                client.pop()
            except QueueError as error:
                return error.outcome


WORDS: Final = [8 * word for word in (*range(7), 8, 9, 10, 16, 17, 24, 32, 72, 73, 292, 293)]
VALUES: Final = [0, 1, 3, 4095, 65535, 65536, 65537, 2**31, 2**32, 2**63, 2**64 - 1]


def noise(directory: Path, count: int, seed: int) -> str:
    """Noise in the page and in the frames: errors, never a crash, a hang or a wrong trade."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    shared_client.CHECK_S = 0.01  # type: ignore[misc]
    chance = random.Random(seed)
    outcomes: set[str] = set()
    for step in range(count):
        writer = Writer(directory, capacity_bytes=CAPACITY_BYTES)
        while writer.trades(3):
            pass
        if step % 2:
            writer.end(keep=True, in_queue=step % 4 == 1)
        else:
            writer.die()
        for _ in range(chance.randint(1, 3)):
            scribble(writer.path, chance)
        with ShmClient(
            "shm://q", directory=str(directory), reconnect=False, idle_timeout_s=0.1
        ) as client:
            records: list[Record] = []
            try:
                records.extend(client)  # type: ignore[arg-type]
            except DisconnectedError:
                assert client.outcome is not None
            assert_true(records)
            outcomes.add(client.outcome.name if client.outcome else "none")
        try:
            with closing(attach(str(writer.path), now_s=0)) as queue:
                while queue.reader.pop() is not None:
                    pass
        except PeerError as error:
            outcomes.add(type(error).__name__)
        writer.path.unlink()
    return ", ".join(sorted(outcomes))


def scribble(path: Path, chance: random.Random) -> None:
    """Change a field of the page, a length or any byte."""
    at = chance.choice(WORDS) if chance.random() < 0.6 else chance.randrange(8192)
    if chance.random() < 0.2:
        at = 4096
    size = chance.choice([1, 2, 4, 8])
    value = chance.choice(VALUES) if chance.random() < 0.5 else chance.getrandbits(64)
    overwrite(path, at, (value % 256**size).to_bytes(size, "little"))


STRESSES: Final[dict[str, tuple[Callable[[Path, int, int], str], int]]] = {
    "frames": (frames, 1_000_000),
    "kills": (kills, 300),
    "cuts": (cuts, 300),
    "noise": (noise, 3_000),
}


def main(arguments: list[str]) -> None:
    names = arguments[:1] or list(STRESSES)
    for name in names:
        stress, count = STRESSES[name]
        count = int(arguments[1]) if arguments[1:] else count
        seed = int(arguments[2]) if arguments[2:] else random.randrange(10**6)
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            said = stress(Path(directory), count, seed)
        print(f"{name} {count} (seed {seed}): {said}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
