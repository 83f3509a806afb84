"""Reads a stream of NATS JetStream as it is, message by message, with nats-py alone."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import RawStreamMsg
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from tests.stand.nats_account import Message

AT_ONCE: Final = 64
"""Requests on the way."""
ANSWER_S: Final = 2.0
LOOK_S: Final = 0.03

Place = tuple[int, int]
"""An epoch, and the number that is due in it."""

_FAILURES: Final = (Error, OSError, asyncio.TimeoutError)
"""What a request may fail with while servers come and go."""


def read_all(url: str, stream: str) -> list[Message]:
    """All messages that a stream has. Those that were removed are left out."""
    return asyncio.run(_read_all(url, stream))


class Tip(threading.Thread):
    """Looks how far a stream has come, from a thread of its own."""

    def __init__(self, url: str, stream: str, subject: str, records: str = "records") -> None:
        """`subject` is the part of all subjects before the kind, and `records` the part behind it,
        of records."""
        super().__init__(name="tip of the stream", daemon=True)
        self.place: Place = (0, 0)
        """What its newest message says; (0, 0) before the first."""
        self._where = url, stream
        self._header = f"{subject}.header"
        self._records = f"{subject}.{records}"
        self._is_over = threading.Event()

    def run(self) -> None:
        asyncio.run(self._follow(*self._where))

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    async def _follow(self, url: str, stream: str) -> None:
        while not self._is_over.is_set():
            with suppress(*_FAILURES):
                async with _connected(url) as context:
                    # Direct requests fail as long as the stream is being made. Others may end a
                    # server before 2.10 then, by a nil pointer in jsMsgGetRequest.
                    await context.get_last_msg(stream, self._header, direct=True)
                    while not self._is_over.is_set():
                        await self._look(context, stream)
                        await asyncio.sleep(LOOK_S)
            await asyncio.sleep(LOOK_S)

    async def _look(self, context: JetStreamContext, stream: str) -> None:
        with suppress(NotFoundError):
            headers = (await context.get_last_msg(stream, self._records)).headers or {}
            due = int(headers["Fanout-Seq"]) + int(headers["Fanout-Count"])
            self.place = int(headers["Fanout-Epoch"]), due


@contextmanager
def watching(url: str, stream: str, subject: str, records: str = "records") -> Iterator[Tip]:
    tip = Tip(url, stream, subject, records)
    tip.start()
    try:
        yield tip
    finally:
        tip.stop()


async def _read_all(url: str, stream: str) -> list[Message]:
    async with _connected(url) as context:
        state = (await context.stream_info(stream)).state
        found: list[Message] = []
        for first in range(state.first_seq, state.last_seq + 1, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, state.last_seq + 1))
            read = await asyncio.gather(*(_read(context, stream, each) for each in numbers))
            found += [each for each in read if each is not None]
    return found


async def _read(context: JetStreamContext, stream: str, number: int) -> Message | None:
    try:
        raw: RawStreamMsg = await context.get_msg(stream, number)
    except NotFoundError:
        return None
    assert raw.seq == number
    return Message(number, raw.subject or "", raw.headers or {}, raw.data or b"")


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[JetStreamContext]:
    client = Client()
    try:
        await client.connect(
            url.split(","),
            allow_reconnect=False,
            max_reconnect_attempts=0,
            connect_timeout=2,
            error_cb=_say_nothing,
        )
        yield client.jetstream(timeout=ANSWER_S)
    finally:
        await client.close()


async def _say_nothing(error: Exception) -> None:
    """Each request fails by itself."""
