"""Publishing to a stream, so that each message stands there once and in order.

Each message names the stream's last sequence number and, but for the first one, the id of the
message before it. So the stream takes it only behind that message: if one is refused or lost on the
way, all that follow are refused too. The number alone would not do. Where somebody else's message
takes the place of one of ours, the next one of ours has the right number again.

Acknowledgements are not awaited one by one: up to a window of messages is under way.

The first message that is refused, acknowledged elsewhere, or not acknowledged in time, ends the
publisher. What stands in the stream then decides where the next one begins.
"""

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from fanout.bridge.nats.connection import in_words
from fanout.bridge.nats.options import NatsOptions
from fanout.bridge.nats.stats import ChannelStats
from fanout.errors import EngineError, EngineRefusedError
from fanout.protocol.request import Position

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

WINDOW: Final = 1_024
"""Most messages without an acknowledgement."""

WINDOW_BYTES: Final = 8 * 1024**2
"""Most bytes without an acknowledgement. One message may exceed it."""

ACK_S: Final = 10.0
"""How long an acknowledgement may take."""

LOOK_EVERY_S: Final = 0.2
"""How often the connection and the age of the oldest message are looked at."""

HEADERS_BYTES: Final = 1_024
"""What the headers of a message take at the most."""

WRONG_LAST: Final = 10071

_FENCED: Final = frozenset((10070, WRONG_LAST))
"""JetStream's errors for a message that does not stand behind the one that it names."""

_ID: Final = "Nats-Msg-Id"


class FencedError(EngineError):
    """Somebody else publishes to the stream."""


class DuplicateError(FencedError):
    """The server knows the id of a message. Either another bridge has published it, or it was
    removed from the stream a short time ago."""


class _ApiError(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: _ApiError | None = None


_read_ack = msgspec.json.Decoder(_Ack).decode


class _Pending(msgspec.Struct):
    """A message without an acknowledgement."""

    seq: int
    size: int
    sent_s: float
    received_ns: int
    behind: Position | None
    records: int
    lost: int


class Publisher:
    """Publishes to one stream over one connection."""

    def __init__(
        self, nats: "Nats", options: NatsOptions, stream: str, last: int, stats: ChannelStats
    ) -> None:
        """`last` is the stream's last sequence number."""
        self._nats = nats
        self._options = options
        self._stream = stream
        self._stats = stats
        self._last = last
        self._last_id = ""
        self._pending: deque[_Pending] = deque()
        self._pending_bytes = 0
        self._failure: EngineError | None = None
        self._failed = asyncio.Event()
        self._answered = asyncio.Event()
        """Set by every answer. Who waits for one clears it first."""
        self._inbox = ""
        self._answers: Subscription | None = None
        self.acknowledged = 0
        """How many messages stand in the stream."""

    @property
    def last(self) -> int:
        """The stream's last sequence number, with the messages under way."""
        return self._last

    def most_bytes(self, wanted: int) -> int:
        """As many bytes as are wanted in a message, or as the server takes."""
        return min(wanted, self._nats.max_payload - HEADERS_BYTES)

    async def open(self) -> None:
        """Listen for acknowledgements. Raises `EngineError`."""
        with in_words(self._options):
            self._inbox = self._nats.new_inbox()
            self._answers = await self._nats.subscribe(f"{self._inbox}.*", cb=self._acknowledged)

    async def close(self) -> None:
        """Listen no more."""
        self._stats.window, self._stats.waiting_since_s = 0, None
        answers, self._answers = self._answers, None
        if answers is not None and not self._nats.is_closed:
            with suppress(Exception):  # the connection is about to be given up
                await answers.unsubscribe()

    async def publish(
        self,
        subject: str,
        data: bytes,
        headers: dict[str, str],
        *,
        received_ns: int = 0,
        behind: Position | None = None,
        records: int = 0,
        lost: int = 0,
    ) -> int:
        """Publish a message once there is room in the window. Returns the sequence number that it
        has in the stream if it is accepted. The rest is for the statistics: when its records were
        received, the place behind them, and how many are there or told as lost. Raises
        `EngineError` if an earlier message failed."""
        while self._failure is None and (
            len(self._pending) >= WINDOW or self._pending_bytes >= WINDOW_BYTES
        ):
            await self._answer()
        self._require_good()
        most = self._nats.max_payload
        if len(data) > most - HEADERS_BYTES:
            raise EngineRefusedError(
                f"{self._options.server} takes messages of {most:,} bytes at the most, and one of "
                f"{self._stream} has {len(data) + HEADERS_BYTES:,}: raise max_payload there"
            )
        seq = self._last + 1
        headers["Nats-Expected-Last-Sequence"] = str(self._last)
        if self._last_id:
            headers["Nats-Expected-Last-Msg-Id"] = self._last_id
        self._last = seq
        self._last_id = headers.setdefault(_ID, f"{self._inbox}-{seq}")
        now_s = time.monotonic()
        self._pending.append(_Pending(seq, len(data), now_s, received_ns, behind, records, lost))
        self._pending_bytes += len(data)
        stats = self._stats
        stats.window = len(self._pending)
        if stats.waiting_since_s is None:
            stats.waiting_since_s = now_s
        try:
            await self._nats.publish(subject, data, reply=f"{self._inbox}.{seq}", headers=headers)
        except Exception:
            # To enter it for each message takes 3 us.
            with in_words(self._options):
                raise
        return seq

    async def watch(self) -> None:
        """Raise the error that ends this publisher, whenever it comes."""
        while self._failure is None:
            if self._nats.is_closed:
                self._fail(EngineError(f"{self._options.server}: the connection is lost"))
                break
            if self._pending and time.monotonic() - self._pending[0].sent_s > ACK_S:
                self._fail(
                    EngineError(f"{self._options.server} did not acknowledge within {ACK_S:.0f} s")
                )
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._failed.wait()
        self._require_good()

    def _require_good(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _answer(self) -> None:
        """Wait for the next answer, or for the failure."""
        self._answered.clear()
        await self._answered.wait()

    def _fail(self, error: EngineError) -> None:
        if self._failure is None:
            self._failure = error
        self._failed.set()
        self._answered.set()

    async def _acknowledged(self, message: "Msg") -> None:
        if self._failure is not None or not self._pending:
            return
        first = self._pending[0]
        fault = self._fault_of(message, first)
        if fault is not None:
            self._fail(fault)
            return
        self._pending.popleft()
        self._pending_bytes -= first.size
        self._stats.acknowledged(
            size=first.size,
            took_s=time.monotonic() - first.sent_s,
            received_ns=first.received_ns,
            behind=first.behind,
            records=first.records,
            lost=first.lost,
        )
        self.acknowledged += 1
        self._stats.window = len(self._pending)
        self._stats.waiting_since_s = self._pending[0].sent_s if self._pending else None
        self._answered.set()

    def _fault_of(self, message: "Msg", first: _Pending) -> EngineError | None:
        """What is wrong with the answer to the oldest message that has none; None if nothing is."""
        if message.headers and message.headers.get("Status") == "503":
            return EngineError(f"{self._options.server}: JetStream does not answer")
        try:
            ack = _read_ack(message.data)
        except msgspec.DecodeError as error:
            server = self._options.server
            return EngineError(f"{server}: an acknowledgement that cannot be read: {error}")
        if ack.error is not None:
            if ack.error.err_code in _FENCED:
                return FencedError(f"another bridge publishes to stream {self._stream}")
            words = ack.error.description or ack.error.err_code
            return EngineError(f"{self._options.server}: {words}")
        if ack.duplicate:
            return DuplicateError(
                f"stream {self._stream} had a message already, or knows the id of one that was "
                "removed"
            )
        if ack.seq != first.seq:
            return FencedError(f"stream {self._stream} has message {ack.seq} and not {first.seq}")
        return None
