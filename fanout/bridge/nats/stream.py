"""The stream of a channel: making it, checking it, and where it stands."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from fanout.bridge.nats.connection import REQUEST_S, in_words
from fanout.bridge.nats.options import NatsOptions
from fanout.clients.nats_client import Joining, Message
from fanout.clients.wholes import Wholes
from fanout.errors import ConfigError, EngineRefusedError
from fanout.protocol.constants import MAX_FRAME_BYTES
from fanout.protocol.errors import FanoutError
from fanout.protocol.framing import payloads_of
from fanout.protocol.jetstream import (
    Subject,
    stream_of,
    subject_of,
    subjects_of,
)
from fanout.protocol.joining import span_of
from fanout.protocol.request import Position

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats
    from nats.js import JetStreamContext
    from nats.js.api import StreamConfig

FETCHED: Final = 500

BY_SYMBOL: Final = ", by symbol"
"""The end of a stream's description where blocks are divided."""

_SETTINGS: Final = (
    *("num_replicas", "max_age", "max_bytes", "duplicate_window", "allow_direct", "storage"),
    *("retention", "discard", "max_msgs", "max_msgs_per_subject", "max_msg_size"),
)
"""What a stream is compared by."""

DUPLICATES_S: Final = 120
"""For how long the server knows message ids. The stream's last message decides, so this only helps
people who look at the stream."""

LEAST_PAYLOAD_BYTES: Final = MAX_FRAME_BYTES + 4 * 1024
"""The longest block, and its headers."""

_NOT_ENABLED: Final = frozenset((10039, 10076))
"""Errors of JetStream: it is not enabled for the account, or for the server."""

_log = logging.getLogger(__name__)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream stands."""

    last: int
    """Its last sequence number."""
    due: Position | None
    """The epoch and number behind its last records; None if it has none."""
    part: int = 0
    """How many parts of a divided block it has, if some are missing. `due` is that block then."""
    parts: int = 0
    whole: int = 0
    """The newest header message whose snapshot is complete; 0 if there is none."""


class ChannelStream:
    """The stream of one channel, over one connection."""

    def __init__(
        self, nats: "Nats", options: NatsOptions, channel: str, told: set[str] | None = None
    ) -> None:
        """`told` are the warnings that were logged over earlier connections."""
        self._told = set[str]() if told is None else told
        self.replicas = options.replicas
        self.name = stream_of(options.prefix, channel)
        self._nats = nats
        self._js: JetStreamContext = nats.jetstream(timeout=REQUEST_S)
        self._options = options
        self._channel = channel

    async def ensure(self) -> None:
        """Make the stream, or check the one that is there. Raises `EngineError`, and `ConfigError`
        for a stream that a bridge with other options writes."""
        from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

        options, most = self._options, self._nats.max_payload
        if most < LEAST_PAYLOAD_BYTES:
            raise EngineRefusedError(
                f"{options.server} takes messages of {most:,} bytes at the most, and a block may "
                f"have {LEAST_PAYLOAD_BYTES:,}: raise max_payload there"
            )
        wanted = self._config()
        with in_words(options):
            try:
                there = (await self._js.stream_info(self.name)).config
            except APIError as error:
                nobody_answers = isinstance(error, ServiceUnavailableError) and not error.err_code
                if nobody_answers or error.err_code in _NOT_ENABLED:
                    raise self._no_jetstream() from error
                if not isinstance(error, NotFoundError):
                    raise
                there = None
            if there is None:
                await self._js.add_stream(wanted)
                _log.info("made stream %s for channel %s", self.name, self._channel)
                return
        if set(there.subjects or ()) != set(wanted.subjects or ()):
            raise EngineRefusedError(
                f"stream {self.name} is there, and is not ours: its subjects are "
                f"{', '.join(there.subjects or ()) or 'none'}; choose another --prefix"
            )
        is_by_symbol = (there.description or "").endswith(BY_SYMBOL)
        if is_by_symbol is not options.by_symbol:
            ways = ("with --by-symbol", "without --by-symbol")
            was, now = ways if is_by_symbol else reversed(ways)
            raise ConfigError(
                f"stream {self.name} was made {was}: go on like that, or choose another --prefix; "
                f"{now} its blocks would stand there twice"
            )
        self.replicas = there.num_replicas or 1
        await self._compare(there, wanted)

    def _no_jetstream(self) -> EngineRefusedError:
        return EngineRefusedError(
            f"{self._options.server} has no JetStream for this account: start it with "
            "nats-server -js, or enable it for the account"
        )

    def _config(self) -> "StreamConfig":
        from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

        options = self._options
        return StreamConfig(
            name=self.name,
            description=f"fanout: channel {self._channel}{BY_SYMBOL if options.by_symbol else ''}",
            subjects=list(subjects_of(options.prefix, self._channel)),
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.OLD,
            num_replicas=options.replicas,
            max_age=options.max_age_s,
            max_bytes=options.max_bytes,
            duplicate_window=min(DUPLICATES_S, options.max_age_s),
            allow_direct=True,
        )

    async def _compare(self, there: "StreamConfig", wanted: "StreamConfig") -> None:
        """Tell how the settings differ, and change them with `--apply`."""
        pairs = {name: (getattr(there, name), getattr(wanted, name)) for name in _SETTINGS}
        differing = {
            name: (is_now, asked)
            for name, (is_now, asked) in pairs.items()
            if is_now != asked and not (asked is None and is_now in (None, -1))
        }
        if not differing:
            return
        words = "; ".join(
            f"{name} is {is_now}, and not {'unlimited' if asked is None else asked}"
            for name, (is_now, asked) in differing.items()
        )
        if not self._options.apply:
            if words not in self._told:
                self._told.add(words)
                _log.warning("stream %s: %s; --apply changes it", self.name, words)
            return
        with in_words(self._options):
            changes = {
                name: -1 if asked is None else asked for name, (_, asked) in differing.items()
            }
            await self._js.update_stream(there.evolve(**changes))
        _log.info("stream %s: changed what was different: %s", self.name, words)

    async def place(self) -> Place:
        """Where the stream stands. Raises `EngineError`."""
        with in_words(self._options):
            # First: a message that comes between makes our first one be refused.
            last = (await self._js.stream_info(self.name)).state.last_seq
            return await self._place(last)

    async def _place(self, last: int) -> Place:
        """Any message of ours says which number is due behind it. So the stream's last one decides,
        if it is ours. If not, the newest that is, found from the last header on."""
        header = await self._newest(Subject.HEADER)
        end = await self._at(last)
        stands = _Stands(last)
        if end is not None and end.stamp is not None:
            stands.take(end)
            if end.kind is not Subject.RECORDS and self._options.by_symbol:
                # A bridge that went on within a divided block has put its header there.
                stands.take(await self._newest(Subject.RECORDS, "*"))
        elif last:
            await self._read(header.stream_seq if header else 1, last, stands.take)
        return stands.place(header, await self._newest(Subject.SNAPSHOT))

    async def _newest(self, kind: Subject, symbol: str = "") -> Message | None:
        """The last message of ours on a subject, if no other's stands behind it there."""
        from nats.js.errors import NotFoundError

        subject = subject_of(self._options.prefix, self._channel, kind)
        try:
            found = await self._js.get_last_msg(
                self.name, f"{subject}.{symbol}" if symbol else subject
            )
        except NotFoundError:
            return None
        message = Message.of(found.seq or 0, found.subject or "", found.headers, found.data)
        return message if message.stamp is not None else None

    async def _at(self, stream_seq: int) -> Message | None:
        """The message with this number, whosever it is; None if it was removed."""
        from nats.js.errors import NotFoundError

        if not stream_seq:
            return None
        try:
            found = await self._js.get_msg(self.name, stream_seq)
        except NotFoundError:
            return None
        return Message.of(stream_seq, found.subject or "", found.headers, found.data)

    async def last_number(self, symbol: str, epoch_ns: int) -> int:
        """The last number on the subject of a symbol, or `ALL`, in this epoch; 0 if there is none.
        Raises `EngineError`."""
        with in_words(self._options):
            message = await self._newest(Subject.RECORDS, symbol)
        stamp = None if message is None else message.stamp
        if message is None or stamp is None or stamp.epoch_ns != epoch_ns:
            return 0
        try:
            return span_of(payloads_of(message.data)[-1], stamp.seq)[1] - 1
        except (FanoutError, IndexError):
            return 0

    async def recall(self, place: Place) -> Wholes:
        """What a reader has to get that begins where the stream ends, from its last whole snapshot
        on. Nobody else has it there: a service sends none to a client that goes on from a number.
        Raises `EngineError`."""
        joining = Joining(self.name)
        with in_words(self._options):
            await self._read(place.whole, place.last, joining.take)
        return joining.wholes

    async def _read(self, first: int, last: int, take: Callable[[Message], None]) -> None:
        """Give all messages of a part of the stream."""
        from nats.errors import TimeoutError as NothingThere
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        info = await self._js.add_consumer(
            self.name,
            ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=first,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=30,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        subscription = await self._js.pull_subscribe_bind(consumer=info.name, stream=self.name)
        left = info.num_pending or 0
        while left > 0:
            try:
                messages = await subscription.fetch(FETCHED, timeout=REQUEST_S)
            except NothingThere:
                break  # what was there has been removed meanwhile
            left -= len(messages)
            for each in messages:
                stream_seq = each.metadata.sequence.stream
                if stream_seq > last:
                    left = 0
                    break
                take(Message.of(stream_seq, each.subject, each.headers, each.data))
        await subscription.unsubscribe()
        await self._js.delete_consumer(self.name, info.name)

    async def last_seq(self) -> int:
        """The stream's last sequence number. Raises `EngineError`."""
        with in_words(self._options):
            return int((await self._js.stream_info(self.name)).state.last_seq)


class _Stands:
    """Finds where a stream stands, from its last messages in order."""

    def __init__(self, last: int) -> None:
        self._last = last
        self._newest: Message | None = None
        self._divided: Message | None = None
        """The newest part of a divided block."""

    def take(self, message: Message | None) -> None:
        if message is None or message.stamp is None or message.kind is None:
            return
        if message.kind is Subject.RECORDS:
            self._divided = message
        if self._newest is None or message.stream_seq > self._newest.stream_seq:
            self._newest = message

    def place(self, header: Message | None, snapshot: Message | None) -> Place:
        """`header` and `snapshot` are the newest of their kind."""
        whole = 0
        if header is not None and header.stamp is not None:
            stamp = None if snapshot is None else snapshot.stamp
            is_whole = stamp is not None and (
                (stamp.header, stamp.part) == (header.stream_seq, stamp.parts)
            )
            whole = header.stream_seq if is_whole else header.stamp.whole
        newest = None if self._newest is None else self._newest.stamp
        if newest is None:
            return Place(last=self._last, due=None, whole=whole)
        divided = None if self._divided is None else self._divided.stamp
        if divided is not None and divided.part < divided.parts and divided.seq == newest.seq:
            due = Position(epoch_ns=divided.epoch_ns, seq=divided.seq)
            return Place(
                last=self._last, due=due, part=divided.part, parts=divided.parts, whole=whole
            )
        due = Position(epoch_ns=newest.epoch_ns, seq=newest.next_seq)
        return Place(last=self._last, due=due, whole=whole)
