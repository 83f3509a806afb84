"""A forked process shares no connection with the one that it was forked from."""

import asyncio
import multiprocessing
import os
import runpy
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fanout.clients import forks
from fanout.clients.outcomes import ForkedError
from fanout.clients.ring import RingClient
from fanout.clients.shm import ShmClient
from fanout.clients.shm_asyncio import AsyncioShmClient
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp import TcpClient
from fanout.clients.tcp_asyncio import AsyncioTcpClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import Trade
from fanout.protocol.ring_page import reader_word
from tests.clients import rings
from tests.clients.queues import numbers, writing
from tests.contracts.client import serving, take_request
from tests.protocol.test_session import block, opening


def in_fork(act: Callable[[], None]) -> int:
    """Run something in a forked process. Gives its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        act()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@contextmanager
def living_fork() -> Iterator[None]:
    """A forked process that touches nothing, for as long as the block runs."""
    process = multiprocessing.get_context("fork").Process(target=signal.pause)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def refused(call: Callable[[], Any]) -> Callable[[], None]:
    parent = os.getpid()

    def act() -> None:
        with pytest.raises(ForkedError, match=f"belongs to process {parent}, and this is its fork"):
            call()

    return act


def test_a_fork_that_lives_does_not_keep_the_queue(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        first = ShmClient("shm://q", directory=str(tmp_path))
        first.connect()
        with living_fork():
            first.close()
            with ShmClient("shm://q", directory=str(tmp_path), reconnect=False) as second:
                writer.trades(2)
                assert numbers([next(second), next(second)]) == [1, 2]


def test_a_queue_is_free_when_its_reader_was_killed_and_a_fork_of_it_lives(tmp_path: Path) -> None:
    ready, told = os.pipe()

    def attach_and_fork() -> None:
        client = ShmClient("shm://q", directory=str(tmp_path))
        client.connect()
        if os.fork() == 0:
            os.write(told, b"%d\n" % os.getpid())
            signal.pause()
        os.read(ready, 0)
        os.kill(os.getpid(), signal.SIGKILL)

    with writing(tmp_path):
        assert in_fork(attach_and_fork) == -signal.SIGKILL
        orphan = int(os.read(ready, 20))
        try:
            with ShmClient("shm://q", directory=str(tmp_path), reconnect=False) as another:
                another.connect()
        finally:
            os.kill(orphan, signal.SIGKILL)
            os.close(ready)
            os.close(told)


def test_a_fork_may_not_read_from_its_parents_queue_and_takes_nothing_by_trying(
    tmp_path: Path,
) -> None:
    with (
        writing(tmp_path) as writer,
        ShmClient("shm://q", directory=str(tmp_path), reconnect=False) as client,
    ):
        client.connect()
        writer.trades(2)
        assert in_fork(refused(lambda: next(client))) == 0
        assert in_fork(refused(client.pop)) == 0
        assert in_fork(client.close) == 0
        assert numbers([next(client), next(client)]) == [1, 2]
        with pytest.raises(Exception, match="a reader already"):
            ShmClient("shm://q", directory=str(tmp_path)).pop()


def test_a_fork_may_not_read_from_its_parents_socket_and_takes_nothing_by_trying() -> None:
    with serving(opening(1) + block(1) + block(2), silent=True) as service:
        client = TcpClient(service.url)
        assert isinstance(next(client), Trade)
        client._subscription.ready.clear()
        assert in_fork(refused(lambda: [next(client), next(client)])) == 0
        assert in_fork(client.close) == 0
        client._require_own()
        client.close()


def test_a_fork_may_not_read_from_its_parents_ring_and_leaves_its_entry_alone(
    tmp_path: Path,
) -> None:
    with (
        rings.writing(tmp_path) as writer,
        RingClient("ring://r", directory=str(tmp_path), start="oldest") as client,
    ):
        writer.trades(2)
        assert numbers([next(client)]) == [1]
        client._subscription.ready.clear()
        assert in_fork(refused(lambda: [next(client), next(client)])) == 0
        assert in_fork(client.close) == 0
        (entry,) = writer.ring.writer.readers()
        assert entry.pid == os.getpid()
        assert writer.ring.is_locked(reader_word(entry.slot))


@pytest.mark.parametrize("kind", [TrioTcpClient, AsyncioTcpClient])
def test_a_fork_of_an_event_loop_is_refused_too(kind: Any) -> None:
    async def use(client: Any) -> None:
        await client.connect()
        client._subscription.ready.clear()
        child = refused(lambda: client.__anext__().send(None))
        assert in_fork(child) == 0
        client._require_own()

    async def run(url: str) -> None:
        async with kind(url) as client:
            await use(client)

    with serving(opening(1) + block(1), silent=True) as service:
        asyncio.run(run(service.url)) if kind is AsyncioTcpClient else trio.run(run, service.url)


@pytest.mark.parametrize("kind", [TrioShmClient, AsyncioShmClient])
def test_a_fork_of_an_event_loop_that_reads_a_queue_is_refused_too(
    tmp_path: Path, kind: Any
) -> None:
    async def run() -> None:
        async with kind("shm://q", directory=str(tmp_path)) as client:
            await client.connect()
            assert in_fork(refused(lambda: client.__anext__().send(None))) == 0
            client._require_own()

    with writing(tmp_path):
        asyncio.run(run()) if kind is AsyncioShmClient else trio.run(run)


def test_the_service_reads_the_end_of_stream_though_a_fork_of_the_client_lives() -> None:
    def greet() -> socket.socket:
        connection, _ = listener.accept()
        take_request(connection)
        connection.sendall(opening(1) + block(1))
        return connection

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        accepting = pool.submit(greet)
        client = TcpClient(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        next(client)
        with accepting.result() as connection, living_fork():
            client.close()
            connection.settimeout(10)
            assert connection.recv(1) == b""


def test_a_client_that_was_not_connected_works_in_a_fork(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.trades(1)
        client = ShmClient("shm://q", directory=str(tmp_path), reconnect=False)

        def read() -> None:
            assert numbers([next(client)]) == [1]
            client.close()

        assert in_fork(read) == 0
        assert client.connect().next_seq == 2
        client.close()


def test_a_fork_that_lives_does_not_keep_the_writers_name(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, living_fork():
        writer.die()
        with writing(tmp_path, epoch_ns=2) as another:
            another.trades(1)


def test_a_fork_that_closes_the_writers_queue_leaves_it_alone(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        assert in_fork(writer.end) == 0
        assert writer.path.exists()
        assert writer.queue.is_whole()


# In a forked process nothing counts which lines ran. So what it runs first is run here as well.


@pytest.fixture
def fork(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this process the child of itself, as far as the clients can see."""

    def become_child() -> None:
        parent = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: parent + 1)
        monkeypatch.setattr(os, "getppid", lambda: parent)
        forks._after_fork()

    return become_child


def test_the_child_closes_its_copy_of_a_queue_and_refuses(
    tmp_path: Path, fork: Callable[[], None]
) -> None:
    with writing(tmp_path), ShmClient("shm://q", directory=str(tmp_path)) as client:
        client.connect()
        parent = os.getpid()
        fork()
        assert not client._has_connection()
        with pytest.raises(ForkedError, match=f"process {parent}, and this is its fork"):
            client.pop()


def test_the_child_closes_its_copy_of_a_ring_and_leaves_the_entry_to_its_parent(
    tmp_path: Path, fork: Callable[[], None]
) -> None:
    with (
        rings.writing(tmp_path) as writer,
        RingClient("ring://r", directory=str(tmp_path), start="oldest") as client,
    ):
        client.connect()
        parent = os.getpid()
        fork()
        assert not client._has_connection()
        assert [each.pid for each in writer.ring.writer.readers()] == [parent]


def test_the_child_closes_its_copy_of_a_socket_and_refuses(fork: Callable[[], None]) -> None:
    with serving(opening(1) + block(1), silent=True) as service:
        client, idle = TcpClient(service.url), TcpClient(service.url)
        client.connect()
        fork()
        client._close_copy()  # there is none any more
        assert (client._has_connection(), idle._has_connection()) == (False, False)
        client._subscription.ready.clear()
        with pytest.raises(ForkedError, match="make a client in each process"):
            next(client)
        idle._require_own()


@pytest.mark.parametrize("kind", [TrioTcpClient, AsyncioTcpClient])
def test_the_child_of_an_event_loop_refuses(kind: Any, fork: Callable[[], None]) -> None:
    async def run(url: str) -> None:
        client = kind(url)
        await client.connect()
        streams = client._streams if kind is AsyncioTcpClient else None
        fork()
        client._close_copy()  # there is none any more
        assert not client._has_connection()
        client._subscription.ready.clear()
        with pytest.raises(ForkedError):
            await anext(client)
        if streams is not None:
            streams[1].transport.abort()

    with serving(opening(1) + block(1), silent=True) as service:
        asyncio.run(run(service.url)) if kind is AsyncioTcpClient else trio.run(run, service.url)


def test_clients_do_without_forks_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")
    module = runpy.run_path(str(forks.__file__))
    assert module["tell_of_forks"] is not None
