"""Quotes, book updates and books from each of the clients."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fanout.clients.books import Books
from fanout.clients.client import AsyncClient, BlockingClient, Client
from fanout.clients.ring import RingClient
from fanout.clients.ring_asyncio import AsyncioRingClient
from fanout.clients.ring_trio import TrioRingClient
from fanout.clients.shm import ShmClient
from fanout.clients.shm_asyncio import AsyncioShmClient
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp import TcpClient
from fanout.clients.tcp_asyncio import AsyncioTcpClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import CallerError, Position
from fanout.protocol.constants import NUMBERED_KINDS
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.joining import run_of
from tests.clients import rings
from tests.clients.queues import writing
from tests.contracts.client import serving
from tests.contracts.records import FIRST, RecordContract, Records
from tests.protocol.test_session import opening


def collected(
    client: BlockingClient | AsyncClient, count: int, with_books: bool
) -> tuple[Records, Client, Books]:
    """So many records of a client, in a thread or in the event loop that it needs."""
    books = Books(client)
    source: Any = books if with_books else client
    if isinstance(client, BlockingClient):
        with client:
            return [next(source) for _ in range(count)], client, books

    async def run() -> Records:
        async with client:
            return [await anext(source) for _ in range(count)]

    is_trio = type(client).__name__.startswith("Trio")
    return trio.run(run) if is_trio else asyncio.run(run()), client, books


class OverTcp(RecordContract):
    client: type

    def received(
        self, stream: bytes, count: int, *, with_books: bool = False, **options: Any
    ) -> tuple[Records, Client, Books]:
        with serving(opening(FIRST) + stream, silent=True) as service:
            return collected(self.client(service.url, **options), count, with_books)


class OfQueue(RecordContract):
    client: type

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    def received(
        self, stream: bytes, count: int, *, with_books: bool = False, **options: Any
    ) -> tuple[Records, Client, Books]:
        with self.queue_of(stream):
            client = self.client("shm://q", directory=str(self.directory), **options)
            return collected(client, count, with_books)

    @contextmanager
    def queue_of(self, stream: bytes) -> Iterator[None]:
        with writing(self.directory, next_seq=FIRST) as writer:
            at = 0
            while at < len(stream):
                end = at + 4 + int.from_bytes(stream[at : at + 4], "little")
                assert writer.queue.writer.push(stream[at:end])
                at = end
            yield
        (self.directory / "q").unlink(missing_ok=True)


class OfRing(RecordContract):
    client: type

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    def received(
        self, stream: bytes, count: int, *, with_books: bool = False, **options: Any
    ) -> tuple[Records, Client, Books]:
        # A long ring has only one place at which a reader can begin: before all frames.
        long = {"capacity_bytes": 2**17, "data": rings.ALL}
        with rings.writing(self.directory, next_seq=FIRST, **long) as writer:
            for payload in payloads_of(stream):
                writer.push(frame(payload), _numbers_of(payload))
            start = Position(epoch_ns=writer.header.epoch_ns, seq=FIRST)
            directory = str(self.directory)
            client = self.client("ring://r", start=start, directory=directory, **options)
            result = collected(client, count, with_books)
        writer.path.unlink()
        return result


def _numbers_of(payload: bytes) -> int:
    return run_of(payload)[1] if payload[0] in NUMBERED_KINDS else 1


class TestTcp(OverTcp):
    client = TcpClient


class TestTcpAsyncio(OverTcp):
    client = AsyncioTcpClient


class TestTcpTrio(OverTcp):
    client = TrioTcpClient


class TestRing(OfRing):
    client = RingClient


class TestRingAsyncio(OfRing):
    client = AsyncioRingClient


class TestRingTrio(OfRing):
    client = TrioRingClient


class TestShm(OfQueue):
    client = ShmClient


class TestShmAsyncio(OfQueue):
    client = AsyncioShmClient


class TestShmTrio(OfQueue):
    client = TrioShmClient


def test_books_are_iterated_the_way_their_client_is() -> None:
    with pytest.raises(CallerError, match=r"TrioTcpClient: iterate .* with `async for`"):
        next(Books(TrioTcpClient("tcp://127.0.0.1:1")))

    async def run() -> None:
        with pytest.raises(CallerError, match=r"TcpClient: iterate .* with `for`"):
            await anext(Books(TcpClient("tcp://127.0.0.1:1")))

    trio.run(run)
