"""Rows as messages of NATS: the JSON of each on `SUBJECT.VENUE.SYMBOL`.

This is NATS without JetStream: a message goes to whoever subscribes now, and is kept nowhere.
`fanout bridge nats tcp://...` keeps the rows of `--tcp-port` in a stream instead, each once and in
order.

nats-py needs asyncio, so the connection lives in a thread. One batch is on its way there while the
next one is made. A server that is too slow for that slows down the inputs. A server that is gone
does not: rows are dropped and counted until it is back, since nobody could receive them.
"""

import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from fanout.analytics.consumer.consumer import PlacedRow
from fanout.analytics.consumer.lines import JsonLines
from fanout.analytics.consumer.roster import Listed
from fanout.bridge.nats.connection import connected, in_words, package
from fanout.bridge.nats.options import NatsOptions
from fanout.cli.outcome import say
from fanout.clients.nats import LoopThread
from fanout.clients.nats_trio import result_of
from fanout.errors import EngineError, UsageError, shown
from fanout.protocol.jetstream import token

if TYPE_CHECKING:
    from nats.aio.client import Client

RETRY_S: Final = 1.0
"""Pause between two attempts to reach a server that is gone."""

MAX_SUBJECT_CHARS: Final = 200

_ALIKE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")

Message = tuple[str, bytes]
"""A subject, and the data."""


def check_subject(subject: str) -> None:
    """Raises `UsageError` for what cannot be the beginning of a subject."""
    tokens = subject.split(".")
    is_fit = len(subject) <= MAX_SUBJECT_CHARS and all(
        each and set(each) <= _ALIKE for each in tokens
    )
    if not is_fit:
        raise UsageError(
            f"--nats-subject {shown(subject)[:60]!r}: words of letters, digits, - and _, with "
            f"dots between them, at most {MAX_SUBJECT_CHARS} characters"
        )


class Publisher:
    """The connection, in the loop of its thread."""

    def __init__(self, options: NatsOptions) -> None:
        self.dropped = 0
        """Messages that nobody could be sent."""
        self._options = options
        self._client: Client | None = None
        self._opened = AsyncExitStack()
        self._retry_s = 0.0

    async def connect(self) -> None:
        """Raises `EngineError` and `ConfigError`."""
        self._client = await self._opened.enter_async_context(connected(self._options))

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send messages, or count them as dropped."""
        sent = 0
        try:
            if self._client is None and not await self._is_back():
                return
            client = self._client
            assert client is not None, "it is connected"
            with in_words(self._options):
                for subject, data in messages:
                    await client.publish(subject, data)
                    sent += 1
                await client.flush()
        except EngineError as error:
            say(f"NATS: {error}: rows are dropped until it is back")
            await self._leave()
        finally:
            self.dropped += len(messages) - sent

    async def _is_back(self) -> bool:
        if time.monotonic() < self._retry_s:
            return False
        self._retry_s = time.monotonic() + RETRY_S
        with suppress(EngineError):
            await self.connect()
            say(f"NATS: {self._options.server} is back; {self.dropped:,} rows were dropped")
            return True
        return False

    async def _leave(self) -> None:
        self._client = None
        self._retry_s = time.monotonic() + RETRY_S
        opened, self._opened = self._opened, AsyncExitStack()
        with suppress(EngineError, OSError):
            await opened.aclose()

    async def close(self) -> None:
        """Leave the server."""
        await self._leave()


class NatsOutput:
    """Messages for a publisher."""

    def __init__(
        self,
        publisher: Publisher,
        loop: LoopThread,
        subject: str,
        columns: Sequence[str],
        listed: Sequence[Listed],
    ) -> None:
        self._publisher = publisher
        self._loop = loop
        self._subject = subject
        self._form = JsonLines(columns)
        self._listed = listed
        self._subjects: list[str] = []
        self._pending: list[Message] = []
        self._sending: Future[None] | None = None

    @property
    def dropped(self) -> int:
        """Rows that were dropped while the server was gone."""
        return self._publisher.dropped

    def add(self, rows: Sequence[PlacedRow]) -> None:
        """See `Output.add`."""
        for each in self._listed[len(self._subjects) :]:
            names = (token(each.venue), token(each.symbol))
            self._subjects.append(".".join((self._subject, *names)))
        line = self._form.line
        for place, row in rows:
            # The line without its end.
            self._pending.append((self._subjects[place], line(self._listed[place], row)[:-1]))

    async def flush(self) -> None:
        """See `Output.flush`. Waits for the batch before this one."""
        await self.settle()
        if self._pending:
            messages, self._pending = self._pending, []
            self._sending = self._loop.submit(self._publisher.publish(messages))

    async def settle(self) -> None:
        """Wait until everything that was flushed is sent."""
        if self._sending is not None:
            await result_of(self._sending)
            self._sending = None


@asynccontextmanager
async def open_nats(
    options: NatsOptions, subject: str, columns: Sequence[str], listed: Sequence[Listed]
) -> AsyncIterator[NatsOutput]:
    """A connection, closed at the end. Raises `MissingPackageError`, `UsageError`, and
    `EngineError` if the server cannot be reached at the start."""
    package()
    check_subject(subject)
    fault = options.fault()
    if fault:
        raise UsageError(f"--nats: {fault.removeprefix('--url').lstrip(': ')}")
    loop, publisher = LoopThread(), Publisher(options)
    try:
        await result_of(loop.submit(publisher.connect()))
        output = NatsOutput(publisher, loop, subject, columns, listed)
        try:
            yield output
        finally:
            with trio.move_on_after(RETRY_S, shield=True):
                await output.settle()
                await result_of(loop.submit(publisher.close()))
    finally:
        await trio.to_thread.run_sync(loop.end, abandon_on_cancel=True)
