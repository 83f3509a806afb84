"""What a client hands over becomes messages: which, in what order, with what headers."""

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fanout.bridge.nats.options import NatsOptions
from fanout.bridge.nats.publisher import FencedError, Publisher
from fanout.bridge.nats.stats import ChannelStats
from fanout.bridge.nats.stream import ChannelStream, Place
from fanout.clients.relay import Passed
from fanout.clients.wholes import Wholes
from fanout.errors import ConfigError
from fanout.protocol.blocks import BLOCK_KINDS, by_symbol, rest_from
from fanout.protocol.constants import FrameKind, LossReason
from fanout.protocol.errors import LimitExceededError, PeerError
from fanout.protocol.events import encode_event
from fanout.protocol.framing import frame
from fanout.protocol.header import Opener
from fanout.protocol.jetstream import ALL, Stamp, Subject, headers_of, subject_of
from fanout.protocol.joining import run_of, span_of
from fanout.protocol.records import Gap, Header, Loss, Skipped, Status
from fanout.protocol.request import Position

HEADER_EVERY_S: Final = 60.0
"""How often the header and a snapshot are published. A reader that begins with the newest records
goes back to the one before the last."""

SNAPSHOT_BYTES: Final = 256 * 1024
"""Most bytes of snapshots in a message, but for a frame that has more alone."""


ALONE_S: Final = 2 * HEADER_EVERY_S
"""How long nobody may have published before a bridge does that has no records."""

LOOK_EVERY_S: Final = 1.0
"""How often it is looked whether the header is due."""

BEHIND_LOSS_S: Final = 2.0
"""How long after a LOSS they are published as well."""


_log = logging.getLogger(__name__)


class _Piece(msgspec.Struct, frozen=True):
    """Records that are published together."""

    payload: bytes
    first_seq: int
    count: int
    time_ns: int = 0
    symbol: str = ""
    """Of a STATUS or a GAP of one."""


class Passing:
    """From one client to one publisher."""

    def __init__(
        self,
        options: NatsOptions,
        channel: str,
        stream: ChannelStream,
        publisher: Publisher,
        place: Place,
        stats: ChannelStats,
        *,
        yields_s: float = 0.0,
    ) -> None:
        """`yields_s` is how long to wait with the first records for another bridge."""
        self._yields_s = yields_s if place.last else 0.0
        self._options = options
        self._stream = stream
        self._publisher = publisher
        self._stats = stats
        self._due = place.due
        self._part = place.part
        """How many parts of the block that is due stand in the stream already."""
        self._parts = place.parts
        self._whole = place.whole
        self._header = 0
        """The header message in force."""
        self._published: Header | None = None
        """The header that it has."""
        self._header_due_s = 0.0
        self._opener = Opener()
        self._before: dict[str, int] = {}
        """The last number of each subject of records in this epoch, by symbol."""
        self._is_whole_epoch = place.due is None
        """Whether all records of this epoch in the stream came from here. Then nobody has to ask it
        for the last number of each symbol, which for 800 of them takes some tenths of a second."""
        self._subjects = {each: subject_of(options.prefix, channel, each) for each in Subject}
        self._channel = channel
        self._newest: Header | None = None
        """The header that the source has."""
        self._amid = asyncio.Lock()
        """Held while messages that belong together are published."""
        self.wholes = Wholes()

    @property
    def stream(self) -> str:
        """The name of the stream."""
        return self._stream.name

    async def keep_header(self) -> None:
        """Publish the header in time where nothing comes, until cancelled. Where nobody has
        published for long, this bridge does so before it has records. Raises `EngineError`."""
        begun_s = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            async with self._amid:
                now_s = time.monotonic()
                if self._published is None:
                    if now_s >= begun_s + ALONE_S and self._newest is not None:
                        begun_s = now_s
                        await self._publish_alone(self._newest)
                elif now_s >= self._header_due_s:
                    await self._repeat_header()

    async def _publish_alone(self, header: Header) -> None:
        due = self._due
        if due is not None and due.epoch_ns != header.epoch_ns:
            return
        if await self._stream.last_seq() == self._publisher.last:
            await self._publish_header(
                header, header.next_seq if due is None else due.seq, with_snapshot=True
            )

    async def take(self, passed: Passed) -> None:
        """Publish what a frame has. Raises `EngineError`, and `ConfigError` for an epoch that is
        older than what the stream has."""
        async with self._amid:
            await self._take(passed)

    async def _take(self, passed: Passed) -> None:
        for piece in self._pieces(passed):
            await self._publish(piece, passed.header)
        apply = self.wholes.apply
        for record in passed.records:
            try:
                apply(record)
            except LimitExceededError:
                continue  # the book is unknown then
        self._newest = passed.header
        if time.monotonic() >= self._header_due_s:
            await self._repeat_header()

    async def _repeat_header(self) -> None:
        """Publish the header and a snapshot again, if something was published in this epoch. Not
        while a book waits for the rest of an update, or for the source to come back."""
        header, due = self._newest, self._due
        if header is None or due is None or due.epoch_ns != header.epoch_ns:
            return
        if self._published is not None and not self.wholes.is_amid:
            await self._publish_header(header, with_snapshot=True)

    def _pieces(self, passed: Passed) -> Iterator[_Piece]:
        """The records of a frame that the stream lacks, and before them a LOSS of what neither the
        service nor the stream has."""
        epoch_ns = passed.header.epoch_ns
        due = self._due
        if due is not None and due.epoch_ns > epoch_ns:
            raise ConfigError(
                f"stream of channel {self._channel} has epoch {due.epoch_ns}, and the service's is "
                f"{epoch_ns}, which is older: its clock was set back, or it is another service; "
                "choose another --prefix"
            )
        for piece in _pieces_of(passed):
            seq = piece.first_seq
            if due is not None and due.epoch_ns < epoch_ns:
                due = Position(epoch_ns=epoch_ns, seq=1)
                self._part = self._parts = 0
                self._before.clear()
                self._is_whole_epoch = True
            if due is not None:
                if piece.first_seq + piece.count <= due.seq:
                    continue
                if seq < due.seq:
                    piece = _rest_of(piece, due.seq, passed.header)
                elif seq > due.seq:
                    yield _loss(due.seq, seq - 1, LossReason.UNANNOUNCED)
            due = self._due = Position(epoch_ns=epoch_ns, seq=piece.first_seq + piece.count)
            yield piece

    async def _publish(self, piece: _Piece, header: Header) -> None:
        if self._published is not header:
            await self._publish_header_before(piece, header)
        if piece.payload[0] == FrameKind.LOSS:
            # Readers need the whole books anew, which the service sends behind the LOSS.
            self._header_due_s = min(self._header_due_s, time.monotonic() + BEHIND_LOSS_S)
        stamp = Stamp(
            epoch_ns=header.epoch_ns,
            seq=piece.first_seq,
            count=piece.count,
            time_ns=piece.time_ns,
            header=self._header,
        )
        if self._options.by_symbol:
            await self._publish_divided(piece, header, stamp)
            return
        await self._publisher.publish(
            self._subjects[Subject.RECORDS],
            frame(piece.payload),
            headers_of(Subject.RECORDS, stamp),
            received_ns=piece.time_ns,
            behind=Position(epoch_ns=stamp.epoch_ns, seq=stamp.next_seq),
            **_counts(piece),
        )

    async def _publish_header_before(self, piece: _Piece, header: Header) -> None:
        """Publish the header if it says anything else than the newest one."""
        published = self._published
        is_same = published is not None and (replace(published, next_seq=header.next_seq) == header)
        if is_same:
            self._published = header
            return
        if published is None and self._yields_s:
            await asyncio.sleep(self._yields_s)
            if await self._stream.last_seq() != self._publisher.last:
                raise FencedError(f"another bridge publishes to stream {self.stream}")
        is_first = published is None or published.epoch_ns != header.epoch_ns
        await self._publish_header(header, piece.first_seq, with_snapshot=is_first)

    async def _publish_header(
        self, header: Header, next_seq: int | None = None, *, with_snapshot: bool
    ) -> None:
        if next_seq is None:
            assert self._due is not None, "a header was published before"
            next_seq = self._due.seq
        parts = list(self._snapshot(header, next_seq)) if with_snapshot else []
        stamp = Stamp(
            epoch_ns=header.epoch_ns,
            seq=next_seq,
            whole=self._whole,
            parts=len(parts),
        )
        self._header = await self._publisher.publish(
            self._subjects[Subject.HEADER],
            self._opener(replace(header, next_seq=next_seq)),
            headers_of(Subject.HEADER, stamp),
        )
        self._published = header
        self._stats.headers += 1
        for number, data in enumerate(parts, 1):
            its = replace(stamp, header=self._header, whole=0, part=number)
            await self._publisher.publish(
                self._subjects[Subject.SNAPSHOT], data, headers_of(Subject.SNAPSHOT, its)
            )
        if with_snapshot:
            self._header_due_s = time.monotonic() + HEADER_EVERY_S
            if parts:
                self._whole = self._header
                self._stats.snapshots += 1

    def _snapshot(self, header: Header, next_seq: int) -> Iterator[bytes]:
        """The data of the messages of a snapshot."""
        data = b""
        for each in self.wholes.frames(header, next_seq):
            if data and len(data) + len(each) > self._publisher.most_bytes(SNAPSHOT_BYTES):
                yield data
                data = b""
            data += each
        if data:
            yield data

    # Blocks that are divided by symbol.

    async def _publish_divided(self, piece: _Piece, header: Header, stamp: Stamp) -> None:
        """Publish a piece as one message for each symbol, without those that are there already."""
        if piece.payload[0] in BLOCK_KINDS:
            parts = by_symbol(piece.payload, header)
        else:
            parts = {piece.symbol or ALL: [piece.payload]}
        behind = Position(epoch_ns=stamp.epoch_ns, seq=stamp.next_seq)
        there, self._part = self._part, 0
        if there and piece.payload[0] == FrameKind.LOSS:
            there = 0  # the source has the rest of the block no more
        if there and self._parts != len(parts):
            # The source divides otherwise than before. A reader sees which parts are missing, and
            # tells their numbers as lost.
            _log.warning(
                "channel %s: of the block at number %d only %d of %d parts are in the stream",
                *(self._channel, piece.first_seq, there, self._parts),
            )
            return
        for number, (symbol, payloads) in enumerate(parts.items(), 1):
            if number <= there:
                continue
            before = self._before.get(symbol, 0 if self._is_whole_epoch else None)
            if before is None:
                before = await self._stream.last_number(symbol, header.epoch_ns)
            its = replace(stamp, part=number, parts=len(parts), before=before)
            await self._publisher.publish(
                subject_of(self._options.prefix, self._channel, Subject.RECORDS, symbol),
                b"".join(map(frame, payloads)),
                headers_of(Subject.RECORDS, its, symbol),
                received_ns=piece.time_ns,
                behind=behind if number == len(parts) else None,
                **(_counts(piece) if number == len(parts) else {}),
            )
            self._before[symbol] = span_of(payloads[-1], stamp.seq)[1] - 1


def _counts(piece: _Piece) -> dict[str, int]:
    return {"lost" if piece.payload[0] == FrameKind.LOSS else "records": piece.count}


def _pieces_of(passed: Passed) -> Iterator[_Piece]:
    """All numbered records of a frame, those told as lost before it first."""
    first: Any = None
    for record in passed.records:
        if not isinstance(record, Loss):
            first = record
            break
        yield _loss(record.first_seq, record.last_seq, record.reason)
    match first:
        case Status(seq=seq, instrument=instrument, since_ns=since_ns):
            symbol = instrument.symbol if instrument is not None else ""
            yield _Piece(passed.payload, seq, 1, since_ns, symbol)
        case Gap(seq=seq):
            yield _Piece(passed.payload, seq, 1, 0, first.instrument.symbol)
        case Skipped(first_seq=seq, count=count):
            yield _Piece(passed.payload, seq, count)
        case _ if passed.payload[:1] and passed.payload[0] in BLOCK_KINDS:
            seq, count = run_of(passed.payload)
            if count:  # a snapshot takes no numbers
                whole = _Piece(passed.payload, seq, count, first.received_ns)
                yield _rest_of(whole, first.seq, passed.header)


def _rest_of(piece: _Piece, seq: int, header: Header) -> _Piece:
    """The records of a piece from a number on, which it has. Of a kind that is not known here
    nobody can make them: then they are told as lost."""
    if seq == piece.first_seq:
        return piece
    left = piece.first_seq + piece.count - seq
    try:
        payload = rest_from(piece.payload, seq, header)
    except PeerError:
        return _loss(seq, seq + left - 1, LossReason.UNANNOUNCED)
    return replace(piece, payload=payload, first_seq=seq, count=left)


def _loss(first_seq: int, last_seq: int, reason: LossReason) -> _Piece:
    loss = Loss(first_seq=first_seq, last_seq=last_seq, reason=reason)
    return _Piece(encode_event(loss), first_seq, last_seq - first_seq + 1)
