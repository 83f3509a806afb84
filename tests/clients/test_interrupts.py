"""An interrupt anywhere in a client loses no record, and repeats none."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from fanout.clients.client import AsyncClient, Client
from fanout.clients.journal import JournalClient
from fanout.clients.ring import RingClient
from fanout.clients.shm import ShmClient, Wait
from fanout.clients.shm_asyncio import AsyncioShmClient
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp import TcpClient
from fanout.clients.tcp_asyncio import AsyncioTcpClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import decode_block
from fanout.protocol.journal_play import Playback
from tests.clients import rings
from tests.clients.interrupts import (
    PIECE_BYTES,
    EndlessService,
    InterruptedByUserError,
    Interrupts,
    Oracle,
    ScriptedSocket,
    undisturbed,
)
from tests.clients.queues import Writer, writing
from tests.clients.test_journal import Folder
from tests.stand.channels import publish

MANY = 400
"""Points between two interrupts at the end: several reads, behind a recovery."""


# An interrupt within a destructor, or at the end of a generator, is printed and dropped by Python.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[EndlessService]:
    """Where all clients over TCP find themselves connected to."""
    service = EndlessService()

    async def trio_stream(*_: object, **__: object) -> Stream:
        return Stream(service)

    async def asyncio_streams(*_: object, **__: object) -> Any:
        sock = ScriptedSocket(service)
        transport = SimpleNamespace(abort=sock.close, get_extra_info=lambda _: sock)
        reader = Reader(service)
        return reader, SimpleNamespace(write=service.ask, transport=transport)

    monkeypatch.setattr("fanout.clients.tcp.connect", lambda *_, **__: ScriptedSocket(service))
    monkeypatch.setattr(trio, "open_tcp_stream", trio_stream)
    monkeypatch.setattr(asyncio, "open_connection", asyncio_streams)
    yield service
    for each in service.sockets:
        each.close()


class Stream(trio.abc.Stream):
    """A connection of trio's."""

    def __init__(self, service: EndlessService) -> None:
        self._service = service
        self.socket = ScriptedSocket(service)

    async def send_all(self, data: Any) -> None:
        self._service.ask(data)

    async def wait_send_all_might_not_block(self) -> None:
        pass

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return self._service.read()

    async def aclose(self) -> None:
        self.socket.close()


class Reader:
    """The reading end of a connection of asyncio's."""

    def __init__(self, service: EndlessService) -> None:
        self._service = service

    async def read(self, _: int) -> bytes:
        return self._service.read()


def interrupt(client: Any, interrupts: Interrupts, oracle: Oracle) -> None:
    """Iterate, catch what is raised, and go on."""
    while not interrupts.is_over:
        try:
            interrupts.arm()
            for record in client:
                oracle.take(record)
                interrupts.rearm()
        except InterruptedByUserError:
            interrupts.caught()
            oracle.check_position(client.position)
    sys.setprofile(None)


async def interrupt_async(client: Any, interrupts: Interrupts, oracle: Oracle) -> None:
    while not interrupts.is_over:
        try:
            interrupts.arm()
            async for record in client:
                oracle.take(record)
                interrupts.rearm()
        except InterruptedByUserError:
            interrupts.caught()
            oracle.check_position(client.position)
    sys.setprofile(None)


class Filled:
    """A queue in which there is always something, written by who reads it."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def fill(self) -> None:
        while self.writer.queue.writer.unread_bytes < 1_000:
            assert self.writer.trades(3)


class FilledOracle(Oracle):
    """One that sees to it that there is always more."""

    def __init__(self, queue: Filled) -> None:
        super().__init__()
        self._queue = queue
        queue.fill()

    def take(self, record: object) -> None:
        super().take(record)
        with undisturbed():
            self._queue.fill()

    def take_all(self, payload: bytes) -> None:
        with undisturbed():
            for each in decode_block(payload, self._queue.writer.header).trades:
                self.take(each)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Filled]:
    with writing(tmp_path, epoch_ns=7) as writer:
        yield Filled(writer)


def run_async(library: str, client: AsyncClient, interrupts: Interrupts, oracle: Oracle) -> None:
    if library == "trio":
        trio.run(interrupt_async, client, interrupts, oracle)
    else:
        asyncio.run(interrupt_async(client, interrupts, oracle))


def check(client: Client, interrupts: Interrupts, oracle: Oracle) -> None:
    assert interrupts.count > 0.9 * MANY
    assert oracle.next_seq > 1_000
    assert client.statistics.trades >= oracle.next_seq - 1
    assert client.statistics.lost == 0


def test_a_blocking_client_over_tcp_loses_nothing(service: EndlessService) -> None:
    interrupts, oracle = Interrupts(MANY), Oracle()
    with TcpClient("tcp://127.0.0.1:9") as client:
        interrupt(client, interrupts, oracle)
        check(client, interrupts, oracle)
    assert service.connections > 100


@pytest.mark.parametrize("library", ["trio", "asyncio"])
def test_a_client_of_an_event_loop_over_tcp_loses_nothing(
    service: EndlessService, library: str
) -> None:
    interrupts, oracle = Interrupts(MANY), Oracle()
    kind = TrioTcpClient if library == "trio" else AsyncioTcpClient
    # Short, so that a deadline which an interrupt has left behind would end the run.
    client = kind("tcp://127.0.0.1:9", idle_timeout_s=0.5)
    run_async(library, client, interrupts, oracle)
    check(client, interrupts, oracle)
    assert service.connections > 100


@pytest.mark.parametrize("wait", [Wait.SPIN, Wait.SLEEP])
def test_a_blocking_client_of_a_queue_loses_nothing_and_stays_attached(
    tmp_path: Path, queue: Filled, wait: Wait
) -> None:
    interrupts, oracle = Interrupts(MANY), FilledOracle(queue)
    url, directory = "shm://q", str(tmp_path)
    with ShmClient(url, directory=directory, wait=wait, reconnect=False) as client:
        interrupt(client, interrupts, oracle)
        check(client, interrupts, oracle)
        assert client.statistics.connections == 1
    with ShmClient(url, directory=directory, reconnect=False) as another:
        assert another.connect().next_seq in range(oracle.next_seq - 2, oracle.next_seq + 1)


class FollowedOracle(Oracle):
    """One that sees to it that there is always more in a ring."""

    def __init__(self, writer: rings.Writer) -> None:
        super().__init__()
        self._writer = writer

    def take(self, record: object) -> None:
        super().take(record)
        with undisturbed():
            while self._writer.next_seq < self.next_seq + 6:
                self._writer.trades(3)


def test_a_blocking_client_of_a_ring_loses_nothing_and_stays_attached(tmp_path: Path) -> None:
    with rings.writing(tmp_path, epoch_ns=7) as writer:
        writer.trades(3)
        interrupts, oracle = Interrupts(MANY), FollowedOracle(writer)
        with RingClient("ring://r", directory=str(tmp_path), start="oldest") as client:
            interrupt(client, interrupts, oracle)
            check(client, interrupts, oracle)
            assert client.statistics.connections < 100


@pytest.mark.parametrize("library", ["trio", "asyncio"])
def test_a_client_of_an_event_loop_of_a_queue_loses_nothing(
    tmp_path: Path, queue: Filled, library: str
) -> None:
    interrupts, oracle = Interrupts(MANY), FilledOracle(queue)
    kind = TrioShmClient if library == "trio" else AsyncioShmClient
    client = kind("shm://q", directory=str(tmp_path), reconnect=False)
    run_async(library, client, interrupts, oracle)
    check(client, interrupts, oracle)


def test_a_client_of_a_journal_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Playback.read, "__defaults__", (PIECE_BYTES,))
    folder = Folder(tmp_path)
    story = folder.story(7)
    for seq in range(1, 9_000, 3):
        publish(story.channel, seq, 3)
    story.recorder.write()
    folder.write()
    interrupts, oracle = Interrupts(MANY), Oracle()
    with JournalClient(folder.url, follow=True) as client:
        interrupt(client, interrupts, oracle)
        check(client, interrupts, oracle)
        assert client.statistics.connections > 100


def test_a_reader_that_pops_frames_loses_none(tmp_path: Path, queue: Filled) -> None:
    interrupts, oracle = Interrupts(200), FilledOracle(queue)
    with ShmClient("shm://q", directory=str(tmp_path)) as client:
        while not interrupts.is_over:
            try:
                interrupts.arm()
                while True:
                    payload = client.pop()
                    if payload is not None:
                        oracle.take_all(payload)
                        interrupts.rearm()
            except InterruptedByUserError:
                interrupts.caught()
    assert oracle.next_seq > 500
    with ShmClient("shm://q", directory=str(tmp_path), reconnect=False) as another:
        assert another.connect().next_seq in range(oracle.next_seq - 3, oracle.next_seq + 1)


def test_the_next_read_undoes_one_that_was_interrupted(
    service: EndlessService, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = Oracle()
    with TcpClient("tcp://127.0.0.1:9") as client:
        oracle.take(next(client))
        with monkeypatch.context() as broken:
            broken.setattr(client, "_settle", interrupted)
            with pytest.raises(InterruptedByUserError):  # noqa: PT012  a read gives several
                while True:
                    oracle.take(next(client))
        for _ in range(10):
            oracle.take(next(client))
        client._undo_step()  # a signal handler may have done it before
        oracle.check_position(client.position)


async def test_the_next_read_of_an_event_loop_undoes_one_that_was_interrupted(
    service: EndlessService, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = Oracle()
    async with TrioTcpClient("tcp://127.0.0.1:9") as client:
        oracle.take(await anext(client))
        with monkeypatch.context() as broken:
            broken.setattr(client, "_settle", interrupted)
            with pytest.raises(InterruptedByUserError):  # noqa: PT012  a read gives several
                while True:
                    oracle.take(await anext(client))
        for _ in range(10):
            oracle.take(await anext(client))
        oracle.check_position(client.position)


def interrupted() -> None:
    raise InterruptedByUserError
