"""Bridges in this process, from a journal on the disk to a real server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import nats
from nats.aio.client import Client as Nats

from fanout.bridge.nats.channel import ChannelBridge
from fanout.bridge.nats.clients import JournalRelay
from fanout.bridge.nats.options import NatsOptions
from fanout.bridge.nats.stats import ChannelStats
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.jetstream import Stamp, Subject, kind_of, stamp_of, stream_of
from fanout.protocol.request import Begin
from tests.clients.test_journal import Folder

PATIENCE_S: Final = 30.0

MAX_BYTES: Final = 16 * 1024**2
"""Of a stream. The server sets it aside."""


class Message:
    """One message of a stream, as it is kept."""

    def __init__(self, seq: int, subject: str, headers: dict[str, str], data: bytes) -> None:
        self.seq = seq
        self.subject = subject
        self.headers = headers
        self.kind = kind_of(subject)
        stamp = stamp_of(headers)
        assert stamp is not None, headers
        self.stamp: Stamp = stamp
        self.message_id = headers.get("Nats-Msg-Id", "")
        self.payloads = payloads_of(data)
        self.frames = [frame(each) for each in self.payloads]

    @property
    def numbers(self) -> range:
        return range(self.stamp.seq, self.stamp.next_seq)


class Bridged:
    """A bridge of one channel. It begins with the oldest record."""

    def __init__(
        self,
        folder: Folder,
        options: NatsOptions,
        channel: str = "test",
        *,
        is_like_a_queue: bool = False,
    ) -> None:
        """`is_like_a_queue`: it always begins with the oldest record, whatever place is asked."""
        self._is_like_a_queue = is_like_a_queue
        self.folder = folder
        self.options = options
        self.stats = ChannelStats(channel, stream_of(options.prefix, channel))
        self.bridge = ChannelBridge(options, channel, self.open, self.stats)
        self.begun: list[Begin | None] = []
        self._task: asyncio.Task[None] | None = None

    def open(self, begin: Begin | None) -> JournalRelay:
        self.begun.append(begin)
        start = "oldest" if begin is None or self._is_like_a_queue else begin
        return JournalRelay(self.folder.url, start=start, follow=True)  # type: ignore[arg-type]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = self._task = asyncio.ensure_future(self.bridge.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()

    async def until(self, next_seq: int, epoch_ns: int = 1) -> None:
        """Wait until all records before this number are acknowledged."""
        await until(lambda: self._is_at(epoch_ns, next_seq))

    def _is_at(self, epoch_ns: int, next_seq: int) -> bool:
        if self._task is not None and self._task.done():
            self._task.result()
        return (self.stats.epoch_ns, self.stats.next_seq) == (epoch_ns, next_seq)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110  what it waits for tells nobody
            await asyncio.sleep(0.002)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Nats]:
    connection = await nats.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def kept(url: str, stream: str) -> list[Message]:
    """All messages of a stream that are ours."""
    async with connected(url) as connection:
        js = connection.jetstream()
        state = (await js.stream_info(stream)).state
        found = []
        for seq in range(max(state.first_seq, 1), state.last_seq + 1):
            message = await js.get_msg(stream, seq)
            if stamp_of(message.headers) is not None:
                assert message.subject is not None
                found.append(
                    Message(seq, message.subject, message.headers or {}, message.data or b"")
                )
        return found


def records(messages: list[Message]) -> list[Message]:
    return [each for each in messages if each.kind is Subject.RECORDS]


def numbers(messages: list[Message], epoch_ns: int = 1) -> list[int]:
    """The numbers that the records of an epoch take, in the order of the stream."""
    return [
        number
        for each in records(messages)
        if each.stamp.epoch_ns == epoch_ns
        for number in each.numbers
    ]


def run(work: Awaitable[Any]) -> Any:
    """Run to its end, and not for ever."""

    async def within() -> Any:
        async with asyncio.timeout(2 * PATIENCE_S):
            return await work

    return asyncio.run(within())
