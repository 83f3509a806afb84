"""Consumers that hand all they get to the oracle: one of each kind of client, each as a task."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from fanout.clients.client import AsyncClient, BlockingClient
from fanout.clients.multicast_trio import TrioMulticastClient
from fanout.clients.nats_trio import TrioNatsClient
from fanout.clients.outcomes import Received, RefusedError
from fanout.clients.ring import RingClient
from fanout.clients.shm import ShmClient
from fanout.clients.tcp import TcpClient
from fanout.clients.tcp_asyncio import AsyncioTcpClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import End, EndReason
from fanout.protocol.group import Group
from tests.stand.groups import LOOPBACK
from tests.stand.oracle import Oracle, Reader


class Consumer:
    """A client and its account. It reads until the service has said goodbye, or is closed."""

    def __init__(
        self, oracle: Oracle, name: str, *, is_concerned: bool = True, may_miss: bool = False
    ) -> None:
        self.reader = Reader(oracle, name, is_concerned=is_concerned, may_miss=may_miss)
        self.refusal: RefusedError | None = None
        self.pause_s = 0.0
        """How long it thinks about each record."""
        self.is_over = False

    def take(self, client: AsyncClient | BlockingClient, record: Received, now_s: float) -> bool:
        """Enter a record. Whether it is the last one."""
        header = client.header
        self.reader.take(record, header.epoch_ns if header else 0, now_s)
        return isinstance(record, End) and record.reason is EndReason.SHUTDOWN

    async def run(self) -> None:
        try:
            await self._run()
        except RefusedError as error:
            self.refusal = error
        finally:
            self.is_over = True

    async def _run(self) -> None:
        raise NotImplementedError


class BlockingConsumer(Consumer):
    """Over TCP, or from a queue or a ring, in a thread."""

    def __init__(self, oracle: Oracle, name: str, client: BlockingClient, **options: Any) -> None:
        super().__init__(oracle, name, **options)
        self._client = client

    async def _run(self) -> None:
        try:
            await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        finally:
            self._client.close()

    def _read(self) -> None:
        with self._client:
            for record in self._client:
                if self.take(self._client, record, time.monotonic()):
                    return
                if self.pause_s:
                    time.sleep(self.pause_s)


class AsyncioConsumer(Consumer):
    """Over TCP, in a thread with an event loop of its own."""

    def __init__(
        self, oracle: Oracle, name: str, url: str, *, is_concerned: bool = True, **options: Any
    ) -> None:
        super().__init__(oracle, name, is_concerned=is_concerned)
        self._make = partial(AsyncioTcpClient, url, **options)
        self._stop: Callable[[], object] = lambda: None

    async def _run(self) -> None:
        try:
            await trio.to_thread.run_sync(self._run_loop, abandon_on_cancel=True)
        finally:
            self._stop()

    def _run_loop(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._read())

    async def _read(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._stop = lambda: loop.is_closed() or loop.call_soon_threadsafe(task.cancel)
        async with self._make() as client:
            async for record in client:
                if self.take(client, record, time.monotonic()):
                    return


class TrioConsumer(Consumer):
    """Over TCP, multicast or NATS, as a task."""

    def __init__(
        self,
        oracle: Oracle,
        name: str,
        url: str,
        *,
        is_concerned: bool = True,
        may_miss: bool = False,
        kind: Callable[..., TrioTcpClient | TrioMulticastClient | TrioNatsClient] = TrioTcpClient,
        **options: Any,
    ) -> None:
        super().__init__(oracle, name, is_concerned=is_concerned, may_miss=may_miss)
        self.url = url
        self._make = partial(kind, url, **options)

    async def _run(self) -> None:
        async with self._make() as client:
            async for record in client:
                if self.take(client, record, trio.current_time()):
                    return
                if self.pause_s:
                    await trio.sleep(self.pause_s)


def all_kinds(oracle: Oracle, url: str, **options: Any) -> list[Consumer]:
    """A client of each kind over TCP."""
    return [
        BlockingConsumer(oracle, "blocking", TcpClient(url, **options)),
        AsyncioConsumer(oracle, "asyncio", url, **options),
        TrioConsumer(oracle, "trio", url, **options),
    ]


def one_of_trio(oracle: Oracle, url: str, **options: Any) -> list[Consumer]:
    """For a virtual clock, which threads know nothing of."""
    return [TrioConsumer(oracle, "trio", url, **options)]


def of_multicast(
    oracle: Oracle, name: str, groups: Sequence[Group], *, recovery: str | None, **options: Any
) -> Consumer:
    """A receiver of one line or of both. Without `recovery` it may miss what no line brings."""
    a, *others = map(str, groups)
    tastes: dict[str, Any] = {"interface": LOOPBACK, "recovery": recovery, "may_miss": not recovery}
    if others:
        tastes["group_b"] = others[0]
    if recovery:
        tastes["start"] = "oldest"
    url = f"multicast://{a}"
    return TrioConsumer(oracle, name, url, kind=TrioMulticastClient, **tastes | options)


def of_queue(oracle: Oracle, name: str, url: str, **options: Any) -> Consumer:
    return BlockingConsumer(oracle, name, ShmClient(url, **options))


def of_ring(oracle: Oracle, name: str, url: str, **options: Any) -> Consumer:
    return BlockingConsumer(oracle, name, RingClient(url, **options))
