"""The stream of a channel: making it, checking it, and where it stands."""

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fanout.bridge.nats.connection import REQUEST_S, in_words
from fanout.bridge.nats.options import NatsOptions
from fanout.clients.nats_client import Joining, Message
from fanout.clients.wholes import Wholes
from fanout.errors import ConfigError
from fanout.protocol.blocks import BLOCK_KINDS
from fanout.protocol.constants import MAX_FRAME_BYTES
from fanout.protocol.errors import FanoutError
from fanout.protocol.framing import payloads_of
from fanout.protocol.jetstream import (
    Stamp,
    Subject,
    stamp_of,
    stream_of,
    subject_of,
    subjects_of,
)
from fanout.protocol.joining import run_of
from fanout.protocol.request import Position

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats
    from nats.js import JetStreamContext
    from nats.js.api import StreamConfig

FETCHED: Final = 500

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
        self.name = stream_of(options.prefix, channel)
        self._nats = nats
        self._js: JetStreamContext = nats.jetstream(timeout=REQUEST_S)
        self._options = options
        self._channel = channel

    async def ensure(self) -> None:
        """Make the stream, or check the one that is there. Raises `ConfigError` and
        `EngineError`."""
        from nats.js.errors import NotFoundError

        options, most = self._options, self._nats.max_payload
        if most < LEAST_PAYLOAD_BYTES:
            raise ConfigError(
                f"{options.server} takes messages of {most:,} bytes at the most, and a block may "
                f"have {LEAST_PAYLOAD_BYTES:,}: raise max_payload there"
            )
        wanted = self._config()
        with in_words(options):
            try:
                there = (await self._js.stream_info(self.name)).config
            except NotFoundError as error:
                if error.err_code in _NOT_ENABLED:
                    raise self._no_jetstream() from error
                there = None
            except Exception as error:
                if getattr(error, "err_code", 0) in _NOT_ENABLED or _is_unanswered(error):
                    raise self._no_jetstream() from error
                raise
            if there is None:
                await self._js.add_stream(wanted)
                _log.info("made stream %s for channel %s", self.name, self._channel)
                return
        if set(there.subjects or ()) != set(wanted.subjects or ()):
            raise ConfigError(
                f"stream {self.name} is there, and is not ours: its subjects are "
                f"{', '.join(there.subjects or ()) or 'none'}; choose another --prefix"
            )
        await self._compare(there, wanted)

    def _no_jetstream(self) -> ConfigError:
        return ConfigError(
            f"{self._options.server} has no JetStream for this account: start it with "
            "nats-server -js, or enable it for the account"
        )

    def _config(self) -> "StreamConfig":
        from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

        options = self._options
        return StreamConfig(
            name=self.name,
            description=f"fanout: channel {self._channel}",
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
        names = ("num_replicas", "max_age", "max_bytes", "duplicate_window", "allow_direct")
        differing = {
            name: (getattr(there, name), getattr(wanted, name))
            for name in names
            if getattr(there, name) != getattr(wanted, name)
        }
        if not differing:
            return
        words = "; ".join(
            f"{name} is {is_now}, and not {asked}" for name, (is_now, asked) in differing.items()
        )
        if not self._options.apply:
            if words not in self._told:
                self._told.add(words)
                _log.warning("stream %s: %s; --apply changes it", self.name, words)
            return
        with in_words(self._options):
            changes = {name: asked for name, (_, asked) in differing.items()}
            await self._js.update_stream(there.evolve(**changes))
        _log.info("stream %s: changed what was different: %s", self.name, words)

    async def place(self) -> Place:
        """Where the stream stands. Raises `EngineError`."""
        with in_words(self._options):
            # First: a message that comes between makes our first one be refused.
            last = (await self._js.stream_info(self.name)).state.last_seq
            return await self._place(last)

    async def _place(self, last: int) -> Place:
        whole_records = await self._last_stamp(Subject.RECORDS)
        of_symbols = await self._last_stamp(Subject.RECORDS, "*")
        header = await self._last_stamp(Subject.HEADER)
        snapshot = await self._last_stamp(Subject.SNAPSHOT)
        whole = 0
        if header is not None:
            number, stamp = header
            is_whole = not stamp.parts or (
                snapshot is not None
                and snapshot[1].header == number
                and snapshot[1].part == snapshot[1].parts
            )
            whole = number if is_whole and stamp.parts else stamp.whole
        newest = max(
            (each for each in (whole_records, of_symbols) if each is not None),
            default=None,
            key=lambda each: each[0],
        )
        if newest is None:
            return Place(last=last, due=None, whole=whole)
        _, stamp = newest
        is_divided = stamp.part < stamp.parts
        return Place(
            last=last,
            due=Position(epoch_ns=stamp.epoch_ns, seq=stamp.seq if is_divided else stamp.next_seq),
            part=stamp.part if is_divided else 0,
            parts=stamp.parts if is_divided else 0,
            whole=whole,
        )

    async def _last_stamp(self, kind: Subject, symbol: str = "") -> tuple[int, Stamp] | None:
        """The last message of ours on a subject: its sequence number in the stream, and its stamp.
        None if there is none."""
        subject = subject_of(self._options.prefix, self._channel, kind)
        message = await self._last(f"{subject}.{symbol}" if symbol else subject)
        while message is not None:
            stamp = stamp_of(message.headers)
            if stamp is not None:
                return message.seq, stamp
            # Somebody else's. Go back to the one before it.
            message = await self._before(message.seq, message.subject)
        return None

    async def _last(self, subject: str) -> Any:
        from nats.js.errors import NotFoundError

        try:
            return await self._js.get_last_msg(self.name, subject)
        except NotFoundError:
            return None

    async def _before(self, seq: int, subject: str) -> Any:
        """The message before, on whatever subject of records it is."""
        from nats.js.errors import NotFoundError

        first = (await self._js.stream_info(self.name)).state.first_seq
        for number in range(seq - 1, first - 1, -1):
            try:
                message = await self._js.get_msg(self.name, number)
            except NotFoundError:
                continue
            if message.subject == subject:
                return message
        return None

    async def last_number(self, symbol: str, epoch_ns: int) -> int:
        """The last number on the subject of a symbol, or `ALL`, in this epoch; 0 if there is none.
        Raises `EngineError`."""
        subject = subject_of(self._options.prefix, self._channel, Subject.RECORDS, symbol)
        with in_words(self._options):
            message = await self._last(subject)
        stamp = None if message is None else stamp_of(message.headers)
        if message is None or stamp is None or stamp.epoch_ns != epoch_ns:
            return 0
        try:
            payload = payloads_of(message.data)[-1]
        except (FanoutError, IndexError):
            return 0
        if payload[0] in BLOCK_KINDS:
            seq, count = run_of(payload)
            return seq + count - 1
        return stamp.next_seq - 1

    async def recall(self, place: Place) -> Wholes:
        """What a reader has to get that begins where the stream ends, from its last whole snapshot
        on. Nobody else has it there: a service sends none to a client that goes on from a number.
        Raises `EngineError`."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        joining = Joining(self.name)
        with in_words(self._options):
            info = await self._js.add_consumer(
                self.name,
                ConsumerConfig(
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=place.whole,
                    ack_policy=AckPolicy.NONE,
                    inactive_threshold=30,
                    mem_storage=True,
                    num_replicas=1,
                ),
            )
            subscription = await self._js.pull_subscribe_bind(consumer=info.name, stream=self.name)
            reached = place.whole - 1
            while reached < place.last:
                for message in await subscription.fetch(FETCHED, timeout=5):
                    reached = message.metadata.sequence.stream
                    if reached <= place.last:
                        its = Message.of(reached, message.subject, message.headers, message.data)
                        joining.take(its)
            await subscription.unsubscribe()
            await self._js.delete_consumer(self.name, info.name)
        return joining.wholes

    async def last_seq(self) -> int:
        """The stream's last sequence number. Raises `EngineError`."""
        with in_words(self._options):
            return int((await self._js.stream_info(self.name)).state.last_seq)


def _is_unanswered(error: Exception) -> bool:
    return type(error).__name__ in ("NoRespondersError", "NoStreamResponseError") or (
        type(error).__name__ == "ServiceUnavailableError" and getattr(error, "err_code", 0) is None
    )
