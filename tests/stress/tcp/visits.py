"""A service in this process, and visits to it over trio. When they are over, it has to be as it was
before they came."""

import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import trio

from fanout.channel.channel import Channel
from fanout.clients.tcp_client import parse_address
from fanout.protocol import FeedState
from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.config import TcpConfig
from tests.stand.channels import new_channel, publish, serving
from tests.stress.tcp.account import PATIENCE_S, READ_BYTES, Account, request
from tests.stress.tcp.service import ANY_RATE, UNHURRIED_S, no_traceback, waiting

SETTLE_S: Final = 20.0
"""How long it may take until what clients left behind is gone."""


class WitnessedService:
    """A service that publishes, and the account of a client that is there all the time."""

    def __init__(self, config: TcpConfig) -> None:
        self.channel = new_channel()
        self.transport = TcpTransport(config)
        self.witness = Account()
        self.url = ""

    async def publish(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """A block and an event, a hundred times a second."""
        with trio.CancelScope() as scope:
            task_status.started(scope)
            while True:
                publish_some(self.channel)
                await trio.sleep(0.01)

    async def watch(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Read everything, up to the END."""
        async with visit(self.url) as stream:
            await stream.send_all(request())
            while data := await stream.receive_some(READ_BYTES):
                self.witness.take(data)
                if self.witness.trades:
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED


def publish_some(channel: Channel) -> None:
    publish(channel, channel.log.next_seq, 3)
    channel.publish_status(None, FeedState.LIVE, "well")


@asynccontextmanager
async def witnessed(
    *, accept_rate: float = ANY_RATE, request_s: float = UNHURRIED_S
) -> AsyncIterator[WitnessedService]:
    """A service that at the end has to be as it was before its visitors came, but for the one that
    was there all the time and has got everything. A request may take `request_s`."""
    service = WitnessedService(TcpConfig(port=0, accept_rate=accept_rate))
    channel, transport, before = service.channel, service.transport, traces()
    with no_traceback(), waiting(request_s):
        async with trio.open_nursery() as nursery, serving(channel, transport) as service.url:
            publishing = await nursery.start(service.publish)
            await nursery.start(service.watch)
            alone = traces()
            yield service
            await until(lambda: transport.client_count == 1 and traces() == alone)
            publishing.cancel()
        assert (transport.client_count, *traces()) == (0, *before)
    assert (service.witness.lost, service.witness.next_seq) == (0, channel.log.next_seq)
    assert service.witness.end, "the service said no goodbye"


def traces() -> tuple[int, int]:
    """What clients could leave behind: open descriptors, and tasks."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return len(os.listdir("/proc/self/fd")), tasks


async def until(condition: Callable[[], bool]) -> None:
    with trio.move_on_after(SETTLE_S):
        while not condition():  # noqa: ASYNC110  real sockets, no event to wait for
            await trio.sleep(0.005)
    assert condition(), f"after {SETTLE_S:g} s: {traces()} descriptors and tasks"


# Visits.


@asynccontextmanager
async def visit(url: str, *, receive_buffer: int = 0) -> AsyncIterator[trio.SocketStream]:
    """A connection to the service; closed at the end."""
    host, port, _ = parse_address(url)
    with trio.socket.socket() as sock:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect((host, port))
        yield trio.SocketStream(sock)


def reset_at_close(stream: trio.SocketStream) -> None:
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def read(stream: trio.SocketStream, size: int = READ_BYTES) -> bytes:
    """What comes next; nothing at the end, whether it is orderly or not."""
    try:
        return bytes(await stream.receive_some(size))
    except trio.BrokenResourceError:
        return b""


async def read_answer(stream: trio.SocketStream, account: Account) -> None:
    """Read up to the first trade or the END, or until the service closes."""
    while not (account.trades or account.end) and (data := await read(stream)):
        account.take(data)


async def at_once(limit: int, visits: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """All of them, so many at a time."""
    limiter = trio.CapacityLimiter(limit)

    async def one(each: Callable[[], Awaitable[None]]) -> None:
        async with limiter:
            with trio.fail_after(PATIENCE_S):
                await each()

    async with trio.open_nursery() as nursery:
        for each in visits:
            nursery.start_soon(one, each)
