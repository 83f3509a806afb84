"""Faults of the process: a small dose of kills and stops (`python -m tests.faults` has hundreds),
and what becomes of a service that is denied what it needs."""

import os
import random
import resource
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from fanout.clients.tcp import Disconnected, TcpClient
from tests.fanout.cli.processes import FANOUT, environment
from tests.faults.house import ORDERLY, PATIENCE_S, opened
from tests.faults.rounds import ROUNDS, Round
from tests.stand.consumers import TrioConsumer


@pytest.mark.long
@pytest.mark.parametrize("play", ROUNDS, ids=lambda each: each.__name__)
async def test_who_is_killed_or_stopped_is_missed_aloud(play: Round, tmp_path: Path) -> None:
    await play(tmp_path, random.Random())


# What a service is denied.


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def full_pipe() -> int:
    """The writing end of a pipe that nobody reads, and that takes no more."""
    _, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    return writing


def first_record(url: str) -> object:
    """What a client is given first, once there is a service."""
    with TcpClient(url, start="oldest") as client:
        return next(each for each in client if not isinstance(each, Disconnected))


@pytest.mark.parametrize("stderr", ["closed", "full"])
def test_a_stderr_that_takes_nothing_keeps_nobody_from_being_served(stderr: str) -> None:
    port, full = free_port(), full_pipe()
    command = [*FANOUT, "--venue", "sim", "tcp", "--port", str(port)]
    if stderr == "closed":
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    with subprocess.Popen(command, stderr=full, env=environment()) as process:
        try:
            assert first_record(f"tcp://127.0.0.1:{port}")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == ORDERLY
        finally:
            process.kill()
    os.close(full)


@pytest.mark.long
async def test_without_descriptors_those_who_are_served_stay_and_others_come_later(
    tmp_path: Path,
) -> None:
    """The feed, too, finds no descriptor for another connection until there are some."""
    async with opened(tmp_path) as house, house.served() as service, trio.open_nursery() as nursery:
        house.watch(nursery)
        await house.more_trades()
        open_now = len(os.listdir(f"/proc/{service.pid}/fd"))
        before = resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (open_now, 20_000))
        late = TrioConsumer(house.oracle, "late", house.door.url("tcp"), start="oldest")
        nursery.start_soon(late.run)
        await trio.sleep(1)
        assert late.reader.trades == 0
        await house.more_trades()
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, before)
        house.consumers.append(late)
        await house.more_trades()
        await house.end()


SMALL_SHM = 'mount -t tmpfs -o size=64k none /dev/shm && exec "$@"'
IN_SMALL_SHM = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL_SHM, "sh")


def has_namespaces() -> bool:
    try:
        done = subprocess.run([*IN_SMALL_SHM, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="no user namespace for a small /dev/shm")
def test_a_full_shared_memory_is_a_line_and_no_crash() -> None:
    command = [*IN_SMALL_SHM, *FANOUT, "--venue", "sim", "shm", "--name", "q"]
    done = subprocess.run(
        [*command, "--capacity", "1MiB"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert "are free there: a smaller --capacity, or more shared memory" in done.stderr
    assert "Traceback" not in done.stderr
