"""The common part of the clients of NATS JetStream, without I/O: addresses, and how the messages of
a stream become what a connection brings. WIRE.md, section 14, has the layout of the stream.

    subject       .header  .snapshot  .records  .records.SYMBOL
                                 |
    Reading       due number, header in force, snapshot wanted
                                 |
    Subscription  START  header  [snapshot]  { block | event | LOSS | header }

A `Reading` takes the messages of one connection in the order of the stream. It hands on what a
service would have sent over TCP, so the records are the same as with every other client. Numbers
that the stream does not have any more become a `Loss`; `nats_symbols` says how they are found where
only some symbols are read. A header and a snapshot that the reader does not need are left out. A
message that is not ours is counted in `Foreigners`, and skipped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from fanout.clients.outcomes import AddressError, without_password
from fanout.clients.subscription import Subscription
from fanout.clients.wholes import Wholes
from fanout.protocol.blocks import BLOCK_KINDS, block_from
from fanout.protocol.constants import (
    LENGTH_BYTES,
    NUMBERED_KINDS,
    START,
    DataKinds,
    FrameKind,
    LossReason,
)
from fanout.protocol.errors import LimitExceededError, MalformedError, PeerError, reason
from fanout.protocol.events import decode_event, encode_event
from fanout.protocol.framing import frame, payloads_of
from fanout.protocol.header import decode_opening, opening
from fanout.protocol.jetstream import Stamp, Subject, kind_of, prefix_fault, stamp_of
from fanout.protocol.joining import run_of, span_of
from fanout.protocol.records import Header, Heartbeat, Loss
from fanout.protocol.request import Position, Request, Start
from fanout.protocol.text import channel_fault

DEFAULT_PREFIX: Final = "fanout"
DEFAULT_PORT: Final = 4222

_EVENTS: Final = frozenset({FrameKind.STATUS, FrameKind.GAP, FrameKind.LOSS})
"""Frames of records beside blocks."""

_UPDATES: Final = ~DataKinds.TRADES
"""Of these a reader that lost something needs a snapshot: they say what is, not what happened."""

Run = tuple[int, int, bytes]
"""The first number of a frame, the number that is due behind it, and its payload."""

NOWHERE: Final = Stamp(epoch_ns=0, seq=1)


class NatsAddress(msgspec.Struct, frozen=True):
    """The servers of NATS, of which one is enough, and a channel there."""

    hosts: tuple[tuple[str, int], ...]
    """The host and the port of each."""
    channel: str
    """Empty if the address names none."""
    is_tls: bool
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"NatsAddress({self.shown})"

    @property
    def servers(self) -> list[str]:
        """What nats-py connects to, without the password."""
        scheme = "tls" if self.is_tls else "nats"
        return [f"{scheme}://{_host_and_port(*each)}" for each in self.hosts]

    @property
    def shown(self) -> str:
        """The address without user and password, for messages."""
        hosts = ",".join(_host_and_port(*each) for each in self.hosts)
        scheme = "nats+tls" if self.is_tls else "nats"
        return f"{scheme}://{hosts}" + (f"/{self.channel}" if self.channel else "")


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(url: str) -> NatsAddress:
    """The address in `nats://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...][/CHANNEL]`, or in
    `nats+tls://...`. Raises `AddressError`, which does not show the password."""
    scheme, _, rest = url.partition("://")
    # Others write the scheme before each server.
    place, _, path = rest.replace(f",{scheme}://", ",").partition("/")
    login, _, hosts = place.rpartition("@")
    user, _, password = login.partition(":")
    found = [_host_in(each) for each in hosts.split(",")]
    # A password with a "/" would end up in the path, and others before the last "@" in the login.
    if scheme not in ("nats", "nats+tls") or None in found or set(path) & set("?#@"):
        raise AddressError(
            f"{without_password(url)!r} is no address of NATS: nats://HOST:PORT/CHANNEL, or "
            "nats+tls://HOST:PORT/CHANNEL"
        )
    if "," in user or "@" in login:
        raise AddressError(
            f"{without_password(url)!r}: USER:PASSWORD@ stands once, before the first host, with "
            "%2C, %40 and %2F for a comma, an @ and a / within it"
        )
    channel = unquote(path)
    fault = channel_fault(channel) if channel else None
    if fault is not None:
        raise AddressError(f"{without_password(url)!r}: {fault}")
    return NatsAddress(
        tuple(each for each in found if each is not None),
        channel,
        scheme == "nats+tls",
        unquote(user),
        unquote(password),
    )


def _host_in(text: str) -> tuple[str, int] | None:
    """A host and its port; None for what is none."""
    try:
        parts = urlsplit(f"//{text}")
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        return None
    is_plain = not (parts.path or parts.query or parts.fragment)
    return (parts.hostname, port) if parts.hostname and port and is_plain else None


def require_prefix(prefix: str) -> str:
    """Raises `AddressError` for what is no prefix of subjects."""
    fault = prefix_fault(prefix)
    if fault is not None:
        raise AddressError(f"prefix={fault}")
    return prefix


class Message(msgspec.Struct, frozen=True):
    """A message of the stream."""

    stream_seq: int
    """Its sequence number in the stream."""
    kind: Subject | None
    """None if its subject is not ours."""
    stamp: Stamp | None
    """None if its headers are not ours."""
    data: bytes
    is_fetched: bool = False
    """Whether it is a header that stands further back in the stream, and was fetched since records
    name it."""
    subject: str = ""
    ends_block: bool = False
    """Whether it is no message, but says that the divided block before it has no more parts that
    the reader wants."""

    @classmethod
    def of(
        cls,
        stream_seq: int,
        subject: str,
        headers: dict[str, str] | None,
        data: bytes | None,
        *,
        is_fetched: bool = False,
    ) -> "Message":
        """What NATS has brought."""
        kind = kind_of(subject)
        return cls(stream_seq, kind, stamp_of(headers), data or b"", is_fetched, subject)

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and the number that is due behind it. In a stream these never go back. (0, 0) for
        a message without our headers."""
        return (0, 0) if self.stamp is None else (self.stamp.epoch_ns, self.stamp.next_seq)


END_OF_BLOCK: Final = Message(0, None, None, b"", ends_block=True)
"""Stands behind the parts of a divided block, if the reader gets no more of them."""


class Foreign(msgspec.Struct, frozen=True):
    """Messages of the stream that were skipped for one reason."""

    why: str
    first_stream_seq: int
    """The sequence number in the stream of the first of them."""
    messages: int


class Foreigners:
    """The messages that were skipped, by the reason."""

    MAX_REASONS: Final = 100

    def __init__(self) -> None:
        self._by_reason: dict[str, Foreign] = {}

    def __iter__(self) -> Iterator[Foreign]:
        return iter(tuple(self._by_reason.values()))

    def add(self, why: str, stream_seq: int) -> None:
        """Count a message. Beyond `MAX_REASONS` different reasons it counts with the others."""
        if why not in self._by_reason and len(self._by_reason) >= self.MAX_REASONS:
            why = "other reasons"
        known = self._by_reason.get(why, Foreign(why, stream_seq, 0))
        self._by_reason[why] = msgspec.structs.replace(known, messages=known.messages + 1)


class Reading:
    """One connection's place in the stream. See the module.

    After an error of `take` the connection is finished.
    """

    def __init__(
        self,
        subscription: Subscription,
        foreigners: Foreigners,
        *,
        epoch_ns: int | None = None,
        due: int | None = None,
        needs_snapshot: bool = True,
    ) -> None:
        """`epoch_ns` and `due` are where the reader goes on. Without an epoch it begins with the
        first message that comes, at number `due`, or else at the number that this one has."""
        self._subscription = subscription
        self._foreigners = foreigners
        self._epoch_ns = epoch_ns
        self._due = due
        self._header: Header | None = None
        """The header in force, as the subscription has it. None before the first of the epoch."""
        self._header_at = 0
        """The stream's sequence number of the message that it stands in."""
        self.needs_snapshot = needs_snapshot
        """Whether the reader has joined or lost something, and no snapshot has come since."""
        self.has_lost = False
        """Whether it has lost something, and no snapshot has come since."""
        self._needs_trades = subscription.header is None
        """Whether the newest trades of a snapshot are wanted, too."""
        self._divided: list[Run] = []
        """The parts of a divided block that have come."""
        self._divided_at = NOWHERE
        """The stamp of the last of them."""
        self._is_at_end = False
        """Whether the subscription knows that nothing follows for now."""

    @property
    def place(self) -> Position | None:
        """The number that is due; None before the first message."""
        if self._epoch_ns is None or self._due is None:
            return None
        return Position(epoch_ns=self._epoch_ns, seq=self._due)

    @property
    def header(self) -> Header | None:
        """The header in force; None before the first."""
        return self._header

    @property
    def header_at(self) -> int:
        """The stream's sequence number of the header in force; 0 before the first."""
        return self._header_at

    @property
    def last(self) -> Mapping[str, int] | None:
        """As in `nats_symbols.ReadingOfSymbols`; None for a reader of all symbols."""
        return None

    def last_before(self, place: Position) -> Mapping[str, int] | None:
        """`last` for another connection, which goes on at this place. What was held back comes
        again there."""
        if self.last is None or self._epoch_ns != place.epoch_ns:
            return None
        return {each: min(number, place.seq - 1) for each, number in self.last.items()}

    @property
    def divided(self) -> tuple[tuple[Run, ...], Stamp]:
        """The parts of a divided block that wait for the others, and the stamp of the last one."""
        return tuple(self._divided), self._divided_at

    def begin(self, opened: "Opened") -> None:
        """Begin at the end of the stream, with a header and a snapshot made for this place."""
        assert opened.header is not None, "the caller has looked"
        assert opened.place is not None, "a header is for a place"
        self._epoch_ns, self._due = opened.place.epoch_ns, opened.place.seq
        self._greet(opened.header)
        self._header_at = opened.header_at
        self._divided, self._divided_at = list(opened.divided), opened.divided_at
        if opened.is_whole:
            self.needs_snapshot, self._needs_trades = opened.needs_snapshot, False
            self._take_frames(opened.snapshot)

    def _take_frames(self, frames: Sequence[bytes]) -> None:
        """Take the frames of a snapshot, or none: no bytes would be the end of the connection."""
        if frames:
            self._subscription.receive(b"".join(frames))

    def take(self, message: Message) -> None:
        """Take the next message of the stream. Raises `DisconnectedError` where the subscription
        ends, as for a symbol that the channel does not have."""
        if message.ends_block:
            self._complete()
            return
        subscription, due = self._subscription, self._due
        mark = subscription.mark()
        try:
            self._take(message)
        except PeerError as error:
            if subscription.failure is not None:
                raise
            subscription.return_to(mark)
            self._due = due
            self._foreigners.add(reason(error), message.stream_seq)

    def _take(self, message: Message) -> None:
        stamp = message.stamp
        if stamp is None:
            raise MalformedError("a message without the headers of fanout")
        # All of a message is looked at before anything changes.
        match message.kind:
            case Subject.HEADER:
                header = _header_in(message, stamp)
                if self._is_due(stamp):
                    self._take_header(message, stamp, header)
            case Subject.SNAPSHOT:
                payloads = _snapshots_in(message, stamp)
                if self._is_due(stamp):
                    self._take_snapshot(stamp, payloads)
            case Subject.RECORDS:
                runs = _runs_in(message, stamp)
                if self._is_due(stamp):
                    self._take_records(message.subject, stamp, runs)
            case _:
                raise MalformedError("a message with another subject")

    def _is_due(self, stamp: Stamp) -> bool:
        """Whether a message is of the epoch that is read, or of a later one, which begins now."""
        if self._epoch_ns is None:
            self._epoch_ns = stamp.epoch_ns
            self._due = self._due or stamp.seq
        if stamp.epoch_ns < self._epoch_ns:
            if self._header is not None:
                raise MalformedError("a message of an earlier epoch")
            return False
        if stamp.epoch_ns > self._epoch_ns:
            self._turn(stamp.epoch_ns)
        return True

    def _turn(self, epoch_ns: int) -> None:
        """Another epoch begins. Its numbers begin at 1."""
        self._complete()
        if self._header is not None:
            self._subscription.other_epoch()
            self._subscription.request()
        self._epoch_ns, self._due = epoch_ns, 1
        self._header, self._header_at = None, 0
        self.needs_snapshot = True
        self._is_at_end = False

    def _take_header(self, message: Message, stamp: Stamp, header: Header) -> None:
        known = self._header
        is_other = known is None or known != msgspec.structs.replace(
            header, next_seq=known.next_seq
        )
        # A sender that begins anew within a divided block publishes the header again, and then the
        # parts that are missing.
        if stamp.seq > self._divided_at.seq or is_other:
            self._complete()
        if known is None:
            known, is_other = self._greet(header), False
        if not message.is_fetched:
            self._reach_header(stamp.seq)
        if is_other:
            its = msgspec.structs.replace(header, next_seq=self._due)
            self._subscription.receive(opening(its))
            self._header = its
        self._header_at = message.stream_seq

    def _greet(self, header: Header) -> Header:
        """Begin the connection, or the epoch, at the number that is due."""
        its = msgspec.structs.replace(header, next_seq=self._due)
        self._subscription.receive(frame(START) + opening(its))
        self._header = its
        return its

    def _take_snapshot(self, stamp: Stamp, payloads: list[bytes]) -> None:
        if not self.needs_snapshot or not self._is_here(stamp):
            return
        wanted = [
            frame(each) for each in payloads if self._needs_trades or each[0] != FrameKind.TRADES
        ]
        self._take_frames(wanted)
        if stamp.part >= stamp.parts:
            self.needs_snapshot = self._needs_trades = self.has_lost = False

    def _take_records(self, subject: str, stamp: Stamp, runs: list[Run]) -> None:
        if self._header is None or stamp.header != self._header_at:
            return  # its header is gone, so the records cannot be read: the next header tells
        if self._divided and self._divided_at.seq != stamp.seq:
            self._complete()
        self._put_together(subject, stamp, runs)

    def _put_together(self, subject: str, stamp: Stamp, runs: list[Run]) -> None:
        """Hand on a block, once all its parts have come."""
        if stamp.parts == 1:
            self._feed(runs)
            return
        self._divided += runs
        self._divided_at = stamp
        if stamp.part >= stamp.parts:
            self._complete()

    def _complete(self) -> None:
        """Hand on the divided block of which parts have come, with or without the others."""
        runs, self._divided = self._divided, []
        if runs:
            self._feed(sorted(runs))
            self._lose_up_to(self._divided_at.next_seq)

    def _feed(self, runs: list[Run]) -> None:
        """Hand on blocks and events in the order of their numbers."""
        for seq, behind, payload in runs:
            assert self._due is not None, "the first message has set it"
            if behind <= self._due:
                continue
            self._reach(seq)
            if seq < self._due:
                payload = self._rest_of(payload, behind)
            self._subscription.receive(frame(payload))
            self._due = behind
            self._needs_trades = False
            if payload[0] == FrameKind.LOSS:
                self._note_loss()

    def _rest_of(self, payload: bytes, behind: int) -> bytes:
        """The part of a block or a LOSS from the number on that is due. Of a kind that is not known
        here nobody can make it."""
        assert self._due is not None, "the first message has set it"
        assert self._header is not None, "records are taken under a header"
        if payload[0] in BLOCK_KINDS:
            return block_from(payload, self._due, self._header)
        why = LossReason.EVICTED
        if payload[0] == FrameKind.LOSS:
            lost = decode_event(payload, self._header)
            assert isinstance(lost, Loss), "its kind says so"
            why = lost.reason
        return encode_event(Loss(first_seq=self._due, last_seq=behind - 1, reason=why))

    def _reach(self, seq: int) -> None:
        """Records with the number `seq` come next."""
        self._lose_up_to(seq)

    def _reach_header(self, seq: int) -> None:
        """A header has come for the place before `seq`."""
        self._lose_up_to(seq)

    def _is_here(self, stamp: Stamp) -> bool:
        """Whether a snapshot is for the place that the reader has reached."""
        return (stamp.seq, stamp.header) == (self._due, self._header_at)

    def _lose_up_to(self, seq: int) -> None:
        """The numbers before `seq` that have not come were removed from the stream."""
        due = self._due
        if due is not None and seq > due:
            lost = Loss(first_seq=due, last_seq=seq - 1, reason=LossReason.EVICTED)
            self._subscription.receive(frame(encode_event(lost)))
            self._due = seq
            self._note_loss()

    def _note_loss(self) -> None:
        assert self._header is not None, "a loss is told behind a header"
        self.has_lost = self.has_lost or bool(self._header.data & _UPDATES)
        self.needs_snapshot = self.needs_snapshot or self.has_lost

    def reach_end(self) -> None:
        """Nothing follows in the stream for now. So the numbering of the connection is certain,
        although no record has come."""
        if self._header is not None and self._due is not None and not self._is_at_end:
            self._is_at_end = True
            beat = Heartbeat(next_seq=self._due, time_ns=0)
            self._subscription.receive(frame(encode_event(beat)))


def _payloads_in(message: Message) -> list[bytes]:
    """The payloads of a message. Raises `PeerError` for what is not whole frames."""
    payloads = payloads_of(message.data)
    if not payloads or sum(map(len, payloads)) + LENGTH_BYTES * len(payloads) != len(message.data):
        raise MalformedError("a message that does not consist of whole frames")
    return payloads


def _header_in(message: Message, stamp: Stamp) -> Header:
    """Raises `PeerError` for another header than the message says."""
    header = decode_opening(message.data)
    if (header.epoch_ns, header.next_seq, 0) != (stamp.epoch_ns, stamp.seq, stamp.count):
        raise MalformedError("a header with another epoch or number than its message says")
    return header


def _snapshots_in(message: Message, stamp: Stamp) -> list[bytes]:
    """Raises `PeerError` for other frames than blocks of a snapshot at this number."""
    payloads = _payloads_in(message)
    for each in payloads:
        if each[0] not in NUMBERED_KINDS or run_of(each) != (stamp.seq, 0):
            raise MalformedError("a snapshot with other frames than its message says")
    return payloads


def _runs_in(message: Message, stamp: Stamp) -> list[Run]:
    """Raises `PeerError` for records with other numbers than the message says."""
    payloads, due = _payloads_in(message), stamp.seq
    runs = []
    for payload in payloads:
        if payload[0] not in NUMBERED_KINDS and payload[0] not in _EVENTS:
            raise MalformedError(f"a frame of kind {payload[0]:#04x} among records")
        seq, behind = span_of(payload, 0)
        if not due <= seq < behind <= stamp.next_seq:
            raise MalformedError("records with other numbers than their message says")
        runs.append((seq, behind, payload))
        due = behind
    if stamp.parts == 1 and [each[:2] for each in runs] != [(stamp.seq, stamp.next_seq)]:
        raise MalformedError("records with other numbers than their message says")
    return runs


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """Where a connection begins in the stream."""

    stream_seq: int
    """The sequence number in the stream of the first message to read."""
    place: Position | None = None
    """The number that is due, if it is known before the first message."""
    seq: int | None = None
    """The number that is due in whichever epoch comes first."""
    header: Header | None = None
    """The header to begin with, where the stream has no more messages for now."""
    header_at: int = 0
    snapshot: tuple[bytes, ...] = ()
    is_whole: bool = False
    """Whether `snapshot` is what a reader that joins gets. Else it was not asked for."""
    needs_snapshot: bool = False
    """Whether something is missing in it that the next one in the stream will have."""
    divided: tuple[Run, ...] = ()
    """The parts of a divided block of which the others follow."""
    divided_at: Stamp = NOWHERE
    last: Mapping[str, int] | None = None
    """As in `nats_symbols.ReadingOfSymbols`."""


class Joining:
    """Makes the snapshot for a reader that begins at the end of a stream: from a header with a
    whole snapshot, and all that follows."""

    def __init__(
        self, url: str, reading: Callable[[Subscription, Foreigners], Reading] = Reading
    ) -> None:
        """`reading` makes what takes the messages."""
        self._subscription = Subscription(url, reconnect=False, request=Request(start=Start.LIVE))
        self._subscription.request()
        self._reading = reading(self._subscription, Foreigners())
        self.wholes = Wholes()
        """What such a reader has to get."""

    def take(self, message: Message) -> None:
        """Take the next message. Raises `PeerError` as `Reading.take` does."""
        self._reading.take(message)
        ready = self._subscription.ready
        while ready:
            with suppress(LimitExceededError):  # then that book is unknown
                self.wholes.apply(ready.popleft())

    def opened(self, stream_seq: int) -> Opened:
        """Where the reader begins, whose first message has this sequence number in the stream."""
        header, place = self._reading.header, self._reading.place
        if header is None or place is None:
            return Opened(stream_seq=stream_seq)
        divided, divided_at = self._reading.divided
        return Opened(
            stream_seq=stream_seq,
            place=place,
            header=header,
            header_at=self._reading.header_at,
            snapshot=tuple(self.wholes.frames(header, place.seq)),
            is_whole=True,
            needs_snapshot=self._reading.has_lost or self.wholes.is_amid,
            divided=divided,
            divided_at=divided_at,
            last=self._reading.last,
        )
