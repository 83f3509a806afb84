"""What a stream keeps: numbers of trades, when the server took each message, and how many bytes."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import nats
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StorageType
from nats.js.errors import NotFoundError

from fanout.protocol.framing import payloads_of
from fanout.protocol.jetstream import stamp_of
from fanout.protocol.joining import run_of

FETCHED: Final = 1_000
LOOK_EVERY_S: Final = 0.02
START_S: Final = 30.0
"""How long a bridge may take to publish its first message."""
PATIENCE_S: Final = 120.0


class Message(NamedTuple):
    """One message of trades."""

    runs: list[range]
    """The numbers of its trades."""
    at: datetime
    """When the server took it."""
    size: int
    """Bytes of its data, without headers."""


class Kept:
    """One stream, and its subject with trades."""

    def __init__(
        self, context: JetStreamContext, stream: str, subject: str, first: Subscription
    ) -> None:
        """`first` gets the first message that is published."""
        self._context = context
        self._first: Subscription | None = first
        self._stream = stream
        self._subject = subject

    async def make(self) -> None:
        """For contenders that do not make it themselves."""
        await self._context.add_stream(
            name=self._stream, subjects=[self._subject], storage=StorageType.FILE
        )

    async def remove(self) -> None:
        await self._context.delete_stream(self._stream)

    async def until(self, last: int) -> None:
        """Return once the stream has the trade of this number. Raises `RuntimeError` if it does not
        come."""
        deadline_s = time.monotonic() + PATIENCE_S
        if self._first is not None:
            # nats-server 2.9 may crash if it is asked for a message while it makes the stream.
            first, self._first = self._first, None
            await first.next_msg(START_S)
        found = 0
        while found < last:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{self._stream} ends with {found}, and {last} is missing")
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                message = await self._context.get_last_msg(self._stream, self._subject)
            except NotFoundError:
                continue
            found = last_of(message.headers, message.data or b"")

    async def stored_bytes(self) -> int:
        """What the server says that the stream takes: data, headers, subjects and its own."""
        return (await self._context.stream_info(self._stream)).state.bytes

    async def messages(self) -> list[Message]:
        """All messages of trades, in order. Raises `RuntimeError` unless their numbers are 1 and so
        on, each once. Where blocks are divided, the numbers of a block may be in any order."""
        consumer = await self._context.add_consumer(
            self._stream,
            ConsumerConfig(
                ack_policy=AckPolicy.NONE, filter_subject=self._subject, mem_storage=True
            ),
        )
        subscription = await self._context.pull_subscribe_bind(
            consumer=consumer.name, stream=self._stream
        )
        found: list[Message] = []
        due = 1
        block: list[range] = []
        while len(found) < (consumer.num_pending or 0):
            for each in await subscription.fetch(FETCHED, timeout=10):
                runs = runs_of(each.headers, each.data)
                found.append(Message(runs, each.metadata.timestamp, len(each.data)))
                block += found[-1].runs
                if is_whole(each.headers):
                    for run in sorted(block, key=attrgetter("start")):
                        if run.start != due:
                            raise RuntimeError(f"{self._stream} has {run} where {due} is due")
                        due = run.stop
                    block.clear()
        return found


def runs_of(headers: Mapping[str, str] | None, data: bytes) -> list[range]:
    """The numbers of a message's trades: of a block, of a part of one, or of a trade as JSON."""
    stamp = stamp_of(headers)
    if stamp is None:
        seq = msgspec.json.decode(data)["seq"]
        return [range(seq, seq + 1)]
    runs = [range(seq, seq + count) for seq, count in map(run_of, payloads_of(data))]
    is_divided = stamp.before is not None
    if not is_divided and runs != [range(stamp.seq, stamp.next_seq)]:
        raise RuntimeError(f"{stamp} is not of {runs}")
    return runs


def is_whole(headers: Mapping[str, str] | None) -> bool:
    """Whether a block ends with this message."""
    stamp = stamp_of(headers)
    return stamp is None or stamp.part == stamp.parts


def last_of(headers: Mapping[str, str] | None, data: bytes) -> int:
    """The number with which a stream ends that ends with this message."""
    stamp = stamp_of(headers)
    if stamp is None:
        return runs_of(headers, data)[-1][-1]
    return stamp.seq - 1 + (stamp.count if is_whole(headers) else 0)


@asynccontextmanager
async def kept_by(server: str, stream: str, subject: str) -> AsyncIterator[Kept]:
    connection: Any = await nats.connect(server)
    try:
        first = await connection.subscribe(subject)
        await first.unsubscribe(1)
        await connection.flush()
        yield Kept(connection.jetstream(timeout=10), stream, subject, first)
    finally:
        await connection.close()
