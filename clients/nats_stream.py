"""The messages of one channel's stream in NATS, in order.

The messages come through a *pull consumer* that the server forgets by itself: it keeps no state but
its place. This end asks for some hundreds of messages, and for as many more once a part of them is
read, so a request is always open. A message goes out as soon as the stream has it, and never more
of them wait here than were asked for.

A consumer numbers what it sends. If a number is missing, if its heartbeats stop, or if the server
says that the consumer is gone or cut short, the consumer is made anew behind the last message that
was taken in order. The client is not told: the stream still has the messages, or else the numbers
of fanout show what is gone.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fanout.clients.nats_client import (
    Foreigners,
    Joining,
    Message,
    Opened,
    Reading,
)
from fanout.clients.nats_connection import API, NatsConnection, NatsSettings, translated
from fanout.clients.nats_symbols import ReadingOfSymbols, subjects_wanted
from fanout.clients.outcomes import DisconnectedError, UnknownChannelError
from fanout.clients.subscription import Subscription
from fanout.protocol.errors import PeerError
from fanout.protocol.header import decode_opening
from fanout.protocol.jetstream import (
    Stamp,
    Subject,
    stamp_of,
    stream_of,
    subject_of,
    token,
)
from fanout.protocol.request import Begin, Moment, Position, Start

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js.api import StreamInfo

BATCH: Final = 256
"""Messages that one request asks for. Another request goes out when no more than this many of what
was asked for are still to come and to be read."""

PULL_S: Final = 30.0
"""How long the server keeps a request."""

BEATS: Final = 3.0
"""Heartbeats of a request in the longest silence."""

FORGET_S: Final = 300.0
"""How long the server keeps a consumer of which nothing is asked."""

FRUITLESS: Final = 3
"""A consumer is made anew this many times in a row without a message between. Then the connection
counts as lost, and the client pauses before it tries again."""

LOOK_S: Final = 0.02
"""A reader of several symbols holds records of a divided block back until it has all parts. If none
comes for so long, it looks whether any follow. Then it waits twice as long before it looks again.
"""

_HEARTBEAT: Final = "100"
"""What a server says while there is nothing to send."""
_OVER: Final = frozenset({"404", "408"})
"""What a server says of a request that brings no more. All else is out of the ordinary."""


class NatsStream:
    """The messages of a channel. See the module."""

    def __init__(
        self,
        connection: NatsConnection,
        settings: NatsSettings,
        channel: str,
        tokens: Collection[str] = (),
    ) -> None:
        """`tokens` are the symbols that are wanted, as they stand in subjects; none stand for
        all."""
        self._connection = connection
        self._settings = settings
        self._channel = channel
        self._name = stream_of(settings.prefix, channel)
        self._shown = settings.address.shown
        self._subjects = f"{settings.prefix}.{token(channel)}.>"
        self._tokens = tokens
        self._filters = subjects_wanted(settings.prefix, channel, tokens)
        self._wanted = frozenset(self._filters)
        self._amid: Stamp | None = None
        """The newest part of a divided block, if parts of other wanted symbols may follow. Records
        with later numbers wait for them."""
        self._look_s = LOOK_S
        """How long to wait before looking whether parts follow."""
        self._arrived: deque[Msg] = deque()
        self._consumer = ""
        self._inbox = ""
        self._subscription: Any = None
        self._asked: dict[str, int] = {}
        """The open requests, and how many messages each has still to bring."""
        self._requests = 0
        self._consumer_seq = 0
        """The consumer's number of the last message."""
        self._next_stream_seq = 1
        """The stream's number behind the last message."""
        self._header_at = 0
        """The stream's number of the newest header that was seen or asked for."""
        self._fruitless = 0
        self._held: list[Message] = []
        """Messages that were read already, and are to be given first."""
        self._created = ""
        """When the stream was made."""
        self.is_at_end = False
        """Whether the stream had no more messages than those that were given."""
        self._has_told_end = False

    async def begin(self, start: Begin) -> Opened:
        """Go to a place. Raises `UnknownChannelError` if there is no such stream."""
        with translated():
            info = await self._info()
            self._created = _made_at(info)
            first, last = info.state.first_seq, info.state.last_seq
            match start:
                case Start.OLDEST:
                    return await self._begin_at(Opened(stream_seq=first, seq=1))
                case Position():
                    return await self._begin_at(await self._place_of(start, first, last))
                case Moment(time_ns=time_ns):
                    found = await self._first(
                        first, last, lambda each: _time_of(each) >= time_ns, has_time=True
                    )
                    begun = await self._at_or_behind(found) if found <= last else None
                    if begun is not None and begun.stamp is not None:
                        at = Position(epoch_ns=begun.stamp.epoch_ns, seq=begun.stamp.seq)
                        return await self._begin_at(Opened(stream_seq=found, place=at))
            return await self._begin_at_end(last)

    async def _info(self) -> "StreamInfo":
        from nats.js.errors import NotFoundError

        try:
            return await self._connection.jetstream.stream_info(self._name)
        except NotFoundError as error:
            raise UnknownChannelError(
                f"{self._shown}: there is no stream {self._name} for channel {self._channel}"
            ) from error

    async def _begin_at(self, opened: Opened) -> Opened:
        self._header_at = opened.header_at
        self._next_stream_seq = max(1, opened.stream_seq)
        await self._make_consumer()
        return opened

    async def _place_of(self, start: Position, first: int, last: int) -> Opened:
        """The first message with numbers from `start` on, or of a later epoch."""
        at = (start.epoch_ns, start.seq)
        found = await self._first(first, last, lambda each: each.place > at)
        begun = await (self._at_or_behind(found) if found <= last else self._newest_part())
        stamp = begun.stamp if begun is not None else None
        if stamp is not None and stamp.parts > 1 and _has(stamp, start):
            # Behind an earlier part of this block there may be a header, which has a lower place.
            # From the number before the block on no place is lower than those before it.
            before = (stamp.epoch_ns, stamp.seq - 1)
            found = await self._first(first, last, lambda each: each.place > before)
        opened = Opened(stream_seq=found, place=start)
        newest = await self._newest_header() if found > last else None
        if newest is None:
            return opened
        try:
            header = decode_opening(newest.data)
        except PeerError:
            return opened
        if header.epoch_ns != start.epoch_ns:
            return opened
        return msgspec.structs.replace(opened, header=header, header_at=newest.stream_seq)

    async def _first(
        self,
        first: int,
        last: int,
        is_there: Callable[[Message], bool],
        *,
        has_time: bool = False,
    ) -> int:
        """The stream's number of the first message for which `is_there` holds, as it then does for
        all behind it. The number behind the last one if there is none. Messages that are not ours
        are passed over, and with `has_time` those without a time."""
        low, high, found = first, last + 1, last + 1
        while low < high:
            middle = (low + high) // 2
            message = await self._at_or_behind(middle)
            while message is not None and not (_time_of(message) if has_time else message.stamp):
                message = await self._at_or_behind(message.stream_seq + 1)
            if message is None or message.stream_seq > last:
                high = middle
            elif is_there(message):
                high, found = middle, min(found, message.stream_seq)
            else:
                low = message.stream_seq + 1
        return found

    async def _begin_at_end(self, last: int) -> Opened:
        """Read from the newest header whose snapshot is complete up to the end."""
        newest = await self._newest_header()
        if newest is None or newest.stamp is None or newest.stream_seq > last:
            return await self._begin_at(Opened(stream_seq=last + 1))
        whole = await self._header(newest.stamp.whole) or newest
        await self._begin_at(Opened(stream_seq=whole.stream_seq))
        joining = Joining(self._shown, self._reading)
        while self._next_stream_seq <= last and not self.is_at_end:
            for message in await self.read():
                if message.stream_seq <= last:
                    joining.take(message)
                else:
                    self._held.append(message)
        return joining.opened(last + 1)

    @property
    def _reading(self) -> Callable[[Subscription, Foreigners], Reading]:
        """What takes the messages."""
        return partial(ReadingOfSymbols, tokens=self._tokens) if self._tokens else Reading

    async def _newest_header(self) -> Message | None:
        subject = subject_of(self._settings.prefix, self._channel, Subject.HEADER)
        return await self._message(subject=subject)

    async def _newest_part(self) -> Message | None:
        """The newest message on a subject of one symbol."""
        records = subject_of(self._settings.prefix, self._channel, Subject.RECORDS)
        return await self._message(subject=f"{records}.*")

    async def _header(self, stream_seq: int, *, is_fetched: bool = False) -> Message | None:
        """The header message with this number in the stream; None if it is gone."""
        message = await self._message(seq=stream_seq, is_fetched=is_fetched) if stream_seq else None
        return message if message is not None and message.kind is Subject.HEADER else None

    async def _at_or_behind(self, stream_seq: int) -> Message | None:
        return await self._message(seq=stream_seq, subject=self._subjects, next=True)

    async def _message(self, *, is_fetched: bool = False, **which: Any) -> Message | None:
        from nats.js.errors import NotFoundError

        try:
            found = await self._connection.jetstream.get_msg(self._name, **which)
        except NotFoundError:
            return None
        return Message.of(
            found.seq or 0, found.subject or "", found.headers, found.data, is_fetched=is_fetched
        )

    async def _make_consumer(self) -> None:
        """A consumer that begins behind the last message."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        client = self._connection.client
        info = await self._connection.jetstream.add_consumer(
            self._name,
            ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._next_stream_seq,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=FORGET_S,
                num_replicas=1,
                mem_storage=True,
                filter_subjects=self._filters or None,
            ),
        )
        self._consumer, self._inbox = info.name, client.new_inbox()
        self._asked.clear()
        self._consumer_seq = 0
        self._note_end(not info.num_pending)
        arrived: deque[Msg] = deque()
        self._arrived = arrived

        async def arrive(message: "Msg") -> None:
            arrived.append(message)
            self._connection.news.set()

        self._subscription = await client.subscribe(
            f"{self._inbox}.*", cb=arrive, pending_msgs_limit=0, pending_bytes_limit=0
        )

    def _note_end(self, is_at_end: bool) -> None:
        self.is_at_end = is_at_end
        self._has_told_end = self._has_told_end and is_at_end

    async def read(self) -> list[Message]:
        """The messages that have come, in the order of the stream. It waits for some, or until it
        is certain that the stream has no more: then the list is empty. A cancellation loses none.
        Raises `DisconnectedError`."""
        with translated():
            while True:
                await self._ask()
                self._connection.news.clear()
                await self._sort()
                if self._held or (self.is_at_end and not self._has_told_end):
                    break
                if not self._has_asked_enough:
                    continue
                await self._wait()
        self._has_told_end = self.is_at_end
        held, self._held = self._held, []
        return held

    async def _ask(self) -> None:
        """Ask for more, so that a request is open."""
        while not self._has_asked_enough:
            number = str(self._requests)
            self._requests += 1
            self._asked[number] = BATCH
            await self._pull(number)

    @property
    def _has_asked_enough(self) -> bool:
        return sum(self._asked.values()) > BATCH

    async def _pull(self, number: str) -> None:
        beat_s = min(self._settings.idle_timeout_s, PULL_S) / BEATS
        wanted = {
            "batch": BATCH,
            "expires": int(PULL_S * 1e9),
            "idle_heartbeat": int(beat_s * 1e9),
        }
        await self._connection.client.publish(
            f"{API}.CONSUMER.MSG.NEXT.{self._name}.{self._consumer}",
            json.dumps(wanted).encode(),
            reply=f"{self._inbox}.{number}",
        )

    async def _sort(self) -> None:
        """Take what has arrived: messages of the stream, and what the server says of requests."""
        arrived = self._arrived
        while arrived:
            # It stays there until all that has to be waited for is done.
            message = arrived[0]
            if message.subject.startswith(self._inbox):
                fault = self._note(message)
            else:
                fault = await self._take(message)
            if fault:
                await self._renew(fault)
                return
            arrived.popleft()

    def _note(self, message: "Msg") -> str:
        """Take what the server says of a request. Gives what is wrong with the consumer."""
        headers = message.headers or {}
        status = headers.get("Status")
        if status == _HEARTBEAT:
            self._note_end(len(self._arrived) == 1)
            return ""
        if status in _OVER:
            self._asked.pop(message.subject.rpartition(".")[2], None)
            return ""
        return f"{status} {headers.get('Description', '')}".strip()

    async def _take(self, message: "Msg") -> str:
        """Take a message of the stream. Gives what is wrong with the consumer."""
        stream_seq, consumer_seq, pending = _numbers_in(message.reply)
        if consumer_seq != self._consumer_seq + 1:
            return f"message {self._consumer_seq + 1} is missing"
        # A server before 2.10 knows no filter of several subjects, and sends all.
        if not self._wanted or message.subject in self._wanted:
            its = Message.of(stream_seq, message.subject, message.headers, message.data)
            named = its.stamp.header if its.stamp is not None else 0
            fetched = None
            if its.kind is Subject.HEADER:
                named = stream_seq
            elif named not in (0, self._header_at):
                fetched = await self._header(named, is_fetched=True)
            # From here on nothing waits.
            self._header_at = named or self._header_at
            self._held += [each for each in (fetched, its) if each is not None]
            self._note_part(its)
        elif self._amid is not None and _ends(self._amid, stamp_of(message.headers)):
            self._end_block(stream_seq)
        self._consumer_seq, self._next_stream_seq = consumer_seq, stream_seq + 1
        self._fruitless = 0
        self._note_end(not pending)
        number = next(iter(self._asked), "")  # the first that was asked is served first
        left = self._asked.pop(number, 0) - 1
        if left > 0:
            self._asked = {number: left, **self._asked}
        return ""

    def _note_part(self, message: Message) -> None:
        """Note whether parts of a block may follow that the reader has to put in order."""
        stamp = message.stamp
        if len(self._tokens) < 2 or stamp is None or message.kind is not Subject.RECORDS:
            return
        self._amid = stamp if stamp.part < stamp.parts else None
        self._look_s = LOOK_S

    def _end_block(self, stream_seq: int) -> None:
        """No more parts of the block are wanted."""
        self._amid = None
        self._held.append(Message(stream_seq, None, None, b"", ends_block=True))

    async def _wait(self) -> None:
        """Wait until something arrives."""
        if self._connection.fault is not None:
            raise DisconnectedError(self._connection.fault)
        silence_s = self._settings.idle_timeout_s
        looks = self._amid is not None and self._look_s < silence_s
        try:
            async with asyncio.timeout(self._look_s if looks else silence_s):
                await self._connection.news.wait()
        except TimeoutError:
            if looks:
                self._look_s *= 2
                await self._look()
            else:
                await self._renew("its heartbeats are missing")

    async def _look(self) -> None:
        """See whether the stream has the last part of the block, and the consumer nothing more for
        this reader."""
        from nats.js.errors import NotFoundError

        amid = self._amid
        assert amid is not None, "the caller has looked"
        newest = await self._newest_part()
        if newest is None or not _ends(amid, newest.stamp):
            return
        try:
            info = await self._connection.jetstream.consumer_info(self._name, self._consumer)
        except NotFoundError:
            return  # the server tells, and it is made anew
        assert info.delivered is not None, "every server tells it"
        is_all = info.delivered.consumer_seq == self._consumer_seq and not info.num_pending
        if is_all and not self._arrived:
            self._end_block(self._next_stream_seq - 1)

    async def _renew(self, why: str) -> None:
        """Make another consumer that goes on behind the last message."""
        self._fruitless += 1
        if self._fruitless > FRUITLESS:
            raise DisconnectedError(f"a consumer of {self._name} failed again and again: {why}")
        client = self._connection.client
        await self._subscription.unsubscribe()
        # No answer is waited for: the server forgets it by itself.
        await client.publish(f"{API}.CONSUMER.DELETE.{self._name}.{self._consumer}")
        info = await self._info()
        if _made_at(info) != self._created:
            raise DisconnectedError(f"the stream {self._name} was made anew")
        await self._make_consumer()


def _numbers_in(reply: str) -> tuple[int, int, int]:
    """The number in the stream, the consumer's number, and how many messages follow, from the
    subject on which a message is acknowledged:

        $JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM_SEQ.CONSUMER_SEQ.TIME.PENDING
        $JS.ACK.DOMAIN.ACCOUNT.STREAM.CONSUMER.DELIVERED.STREAM_SEQ.CONSUMER_SEQ.TIME.PENDING[.X]

    Names of streams and consumers have no dots.
    """
    parts = reply.split(".")
    first = 5 if len(parts) == 9 else 7
    return int(parts[first]), int(parts[first + 1]), int(parts[first + 3])


def _ends(amid: Stamp, stamp: Stamp | None) -> bool:
    """Whether the message with this stamp, which comes behind a part of a block, is its last part
    or stands behind it."""
    if stamp is None:
        return False
    is_same = (stamp.epoch_ns, stamp.seq) == (amid.epoch_ns, amid.seq)
    return not is_same or stamp.part >= stamp.parts


def _has(stamp: Stamp, place: Position) -> bool:
    """Whether the block with this stamp has the number of the place."""
    is_same = stamp.epoch_ns == place.epoch_ns
    return is_same and stamp.seq <= place.seq < stamp.next_seq


def _time_of(message: Message) -> int:
    return 0 if message.stamp is None else message.stamp.time_ns


def _made_at(info: "StreamInfo") -> str:
    return str(info.created)
