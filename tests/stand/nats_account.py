"""The judge of a stream of NATS JetStream: each number stands in it once, in its order.

It takes the stream's messages as they stand there, from the first on, and holds each against
WIRE.md, section 14. It shares neither names nor code with what writes and reads streams, and takes
from the project only what decodes frames. What an honest stream never has is a complaint:

    a number that comes twice, or out of its turn, or not at all; an epoch that comes back
    headers of a message that differ from its frames, or from the messages before it
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from fanout.protocol import (
    Block,
    Gap,
    Header,
    Loss,
    Quote,
    Status,
    Trade,
    decode_block,
    decode_event,
)
from fanout.protocol.blocks import BLOCK_KINDS, UPDATE_DECODERS
from fanout.protocol.book_records import BookUpdate, OrderUpdate
from fanout.protocol.errors import PeerError
from fanout.protocol.framing import payloads_of
from fanout.protocol.header import decode_opening

MAX_COMPLAINTS: Final = 50
U64_MAX: Final = 2**64 - 1
_WRITTEN_OTHERWISE: Final = ".*>%/\\\x7f"

Kept = Trade | Quote | BookUpdate | OrderUpdate | Status | Gap | Loss


class Message(NamedTuple):
    """A message of a stream."""

    number: int
    """The stream's sequence number of it."""
    subject: str
    headers: Mapping[str, str]
    data: bytes


class Stamp(NamedTuple):
    """The headers of a message."""

    epoch_ns: int
    seq: int
    numbers: int
    time_ns: int
    header: int
    whole: int
    part: int
    parts: int
    before: int | None

    @property
    def last_seq(self) -> int:
        return self.seq + self.numbers - 1


class WrongError(ValueError):
    """What is wrong with a message."""


class Numbering:
    """The numbers of an epoch, as they come."""

    def __init__(self, first_seq: int) -> None:
        self.first_seq = first_seq
        self.due = first_seq
        self._runs: list[tuple[int, int]] = []

    def add(self, first: int, last: int) -> None:
        """Raises `WrongError` unless these were due."""
        due, self.due = self.due, max(self.due, last + 1)
        self._runs.append((first, last))
        if first != due:
            raise WrongError(f"{first} to {last} came where {due} was due")

    @property
    def doubles(self) -> int:
        """How many numbers came that had come before."""
        return sum(last - first + 1 for first, last in self._runs) - self._different

    @property
    def holes(self) -> int:
        """How many numbers never came, up to the last one that did."""
        return self.due - self.first_seq - self._different

    @property
    def _different(self) -> int:
        count, due = 0, 0
        for first, last in sorted(self._runs):
            count += max(0, last + 1 - max(first, due))
            due = max(due, last + 1)
        return count


class Divided:
    """A block whose records come in several messages, one for each symbol."""

    def __init__(self, stamp: Stamp) -> None:
        self.stamp = stamp
        self._records: list[Any] = []
        self._parts = 0

    def add(self, stamp: Stamp, records: Sequence[Any]) -> None:
        if stamp.part != self._parts + 1 or stamp.parts != self.stamp.parts:
            raise WrongError(f"part {stamp.part} of {stamp.parts} came after part {self._parts}")
        self._parts += 1
        self._records += records

    def has_place_for(self, stamp: Stamp) -> bool:
        return stamp[:3] == self.stamp[:3]

    @property
    def is_complete(self) -> bool:
        return self._parts == self.stamp.parts

    def records(self) -> list[Any]:
        """All of them, in order."""
        found = sorted(self._records, key=lambda each: each.seq)
        due = list(range(self.stamp.seq, self.stamp.last_seq + 1))
        if [each.seq for each in found] != due:
            raise WrongError(f"the parts of {due[0]} to {due[-1]} have other numbers")
        return found


class StreamAccount:
    """What came, and what is wrong with it."""

    def __init__(
        self, subject: str, receive: Callable[[Kept, int], None] = lambda record, epoch_ns: None
    ) -> None:
        """`subject` is the part of all subjects before the kind, such as `fanout.binance`.
        `receive` is given each record and LOSS, with its epoch."""
        self.complaints: list[str] = []
        self.numbers: dict[int, Numbering] = {}
        """By epoch, in the order in which they came."""
        self.records = 0
        self.lost = 0
        """Numbers that a LOSS names."""
        self.messages = 0
        self._subject = subject
        self._receive = receive
        self._headers: dict[int, Header] = {}
        """By the number of their message."""
        self._header = 0
        """That of the newest one."""
        self._whole = 0
        """That of the newest one with a complete snapshot."""
        self._parts = (0, 0)
        """Of the newest header's snapshot: how many have come, and how many there are."""
        self._divided: Divided | None = None
        self._before: dict[str, tuple[int, int]] = {}
        """By subject, the last number of its newest message: of its records, and of their block."""
        self._newest = 0

    @property
    def doubles(self) -> int:
        return sum(each.doubles for each in self.numbers.values())

    @property
    def holes(self) -> int:
        return sum(each.holes for each in self.numbers.values())

    def take(self, message: Message) -> None:
        """Enter the message that comes next in the stream."""
        self.messages += 1
        if message.number != self._newest + 1:
            self._complain(message, f"it follows {self._newest}")
        self._newest = message.number
        try:
            self._take(message, _stamp_of(message.headers))
        except (WrongError, PeerError) as error:
            self._complain(message, str(error))

    def end(self) -> None:
        """There are no more messages."""
        if self._divided is not None:
            self.complaints.append(f"parts are missing of the block {self._divided.stamp.seq}")

    def _take(self, message: Message, stamp: Stamp) -> None:
        kind, *symbol = message.subject.removeprefix(f"{self._subject}.").split(".")
        match kind, len(symbol):
            case "header", 0:
                self._take_header(message, stamp)
            case "snapshot", 0:
                self._take_snapshot(message, stamp)
            case "records", 0 | 1:
                self._take_records(message, stamp)
            case _:
                raise WrongError("its subject is not one of the channel's")

    def _take_header(self, message: Message, stamp: Stamp) -> None:
        header = decode_opening(message.data)
        _require((header.epoch_ns, header.next_seq), (stamp.epoch_ns, stamp.seq), "the header")
        newest = max(self.numbers, default=0)
        if stamp.epoch_ns < newest:
            raise WrongError(f"epoch {stamp.epoch_ns} comes after {newest}")
        _require(stamp.numbers, 0, "Fanout-Count")
        _require(stamp.header, 0, "Fanout-Header")
        _require(stamp.whole, self._whole, "Fanout-Whole")
        self._header = message.number
        self._headers[message.number] = header
        self._parts = (0, stamp.parts)
        if stamp.epoch_ns != newest:
            # A reader of the service's oldest records has the first epoch from there on.
            first_seq = 1 if self.numbers else stamp.seq
            self.numbers[stamp.epoch_ns] = Numbering(first_seq)
            self._before.clear()
        _require(stamp.seq, self.numbers[stamp.epoch_ns].due, "the number that is due")

    def _take_snapshot(self, message: Message, stamp: Stamp) -> None:
        header = self._header_of(stamp)
        come, parts = self._parts
        _require((stamp.part, stamp.parts), (come + 1, parts), "the part")
        _require(stamp.seq, self.numbers[stamp.epoch_ns].due, "the number that is due")
        _require(stamp.numbers, 0, "Fanout-Count")
        for payload in payloads_of(message.data):
            if not _block_of(payload, header).is_snapshot:
                raise WrongError("a block of it is not flagged snapshot")
        self._parts = come + 1, parts
        if come + 1 == parts:
            self._whole = self._header

    def _take_records(self, message: Message, stamp: Stamp) -> None:
        """What has another header's epoch still shows which numbers it has."""
        symbol = message.subject.removeprefix(f"{self._subject}.records").removeprefix(".")
        if stamp.epoch_ns not in self.numbers:
            raise WrongError(f"epoch {stamp.epoch_ns} has no header before it")
        header = self._headers.get(stamp.header) or self._headers[self._header]
        payloads = payloads_of(message.data)
        if not symbol:
            _require(len(payloads), 1, "the number of frames")
        records = [each for payload in payloads for each in _records_of(payload, header, stamp)]
        faults = [
            *self._faults_of_headers(message, stamp, symbol),
            *self._faults_of_records(records, stamp, symbol),
        ]
        if symbol:
            faults += self._take_before(message, stamp, records)
        if stamp.parts > 1:
            records = self._put_together(stamp, records)
        elif self._divided is not None:
            faults.append(f"parts are missing of the block {self._divided.stamp.seq}")
            self._divided = None
        if records:
            try:
                self._number(records, stamp)
            except WrongError as error:
                faults.append(str(error))
        if faults:
            raise WrongError("; ".join(faults))

    def _faults_of_headers(self, message: Message, stamp: Stamp, symbol: str) -> list[str]:
        newest = max(self.numbers)
        due_id = f"{stamp.epoch_ns}-{stamp.seq}{symbol and f'-{symbol}'}"
        found = message.headers.get("Nats-Msg-Id")
        return [
            *[f"epoch {stamp.epoch_ns} comes after {newest}"] * (stamp.epoch_ns != newest),
            *[f"Fanout-Header is {stamp.header}, not {self._header}"]
            * (stamp.header != self._header),
            *[f"Nats-Msg-Id is {found}, not {due_id}"] * (found != due_id),
        ]

    @staticmethod
    def _faults_of_records(records: Sequence[Any], stamp: Stamp, symbol: str) -> list[str]:
        if not records:
            return ["it has no records"]
        if stamp.parts == 1:
            found = _first_of(records[0]), _last_of(records[-1])
            if found != (stamp.seq, stamp.last_seq):
                return [f"it has {found[0]} to {found[1]}, not {stamp.seq} to {stamp.last_seq}"]
        others = {_token_of(each) for each in records} - {symbol}
        return [f"{', '.join(sorted(others))} stands under {symbol}"] if symbol and others else []

    def _take_before(self, message: Message, stamp: Stamp, records: Sequence[Any]) -> list[str]:
        due = self._before.get(message.subject, (0, 0))
        last_seq = _last_of(records[-1]) if records else stamp.last_seq
        self._before[message.subject] = last_seq, stamp.last_seq
        return [] if stamp.before in due else [f"Fanout-Before is {stamp.before}, not {due[1]}"]

    def _put_together(self, stamp: Stamp, records: Sequence[Any]) -> list[Any]:
        """The records of a divided block once all its parts are there; none before."""
        if self._divided is None:
            self._divided = Divided(stamp)
        divided = self._divided
        if not divided.has_place_for(stamp):
            self._divided = Divided(stamp)
            self._divided.add(stamp, records)
            raise WrongError(f"parts are missing of the block {divided.stamp.seq}")
        divided.add(stamp, records)
        if not divided.is_complete:
            return []
        self._divided = None
        return divided.records()

    def _number(self, records: Sequence[Any], stamp: Stamp) -> None:
        for each in records:
            self._receive(each, stamp.epoch_ns)
            if isinstance(each, Loss):
                self.lost += each.count
            else:
                self.records += 1
        self.numbers[stamp.epoch_ns].add(_first_of(records[0]), _last_of(records[-1]))

    def _header_of(self, stamp: Stamp) -> Header:
        """The newest header, if this message has its epoch and names it."""
        if not self._header:
            raise WrongError("no header came before it")
        _require(stamp.header, self._header, "Fanout-Header")
        header = self._headers[self._header]
        _require(stamp.epoch_ns, header.epoch_ns, "Fanout-Epoch")
        return header

    def _complain(self, message: Message, what: str) -> None:
        if len(self.complaints) < MAX_COMPLAINTS:
            self.complaints.append(f"message {message.number} ({message.subject}): {what}")


def _stamp_of(headers: Mapping[str, str]) -> Stamp:
    return Stamp(
        epoch_ns=_number(headers, "Fanout-Epoch"),
        seq=_number(headers, "Fanout-Seq"),
        numbers=_number(headers, "Fanout-Count"),
        time_ns=_number(headers, "Fanout-Time"),
        header=_number(headers, "Fanout-Header"),
        whole=_number(headers, "Fanout-Whole", "0"),
        part=_number(headers, "Fanout-Part", "1"),
        parts=_number(headers, "Fanout-Parts", "1"),
        before=_number(headers, "Fanout-Before") if "Fanout-Before" in headers else None,
    )


def _number(headers: Mapping[str, str], name: str, default: str | None = None) -> int:
    text = headers.get(name, default)
    if text is None or not text.isdecimal() or str(int(text)) != text or int(text) > U64_MAX:
        raise WrongError(f"{name} is {text}")
    return int(text)


def _require(found: object, due: object, what: str) -> None:
    if found != due:
        raise WrongError(f"{what} is {found}, not {due}")


def _block_of(payload: bytes, header: Header) -> Any:
    if payload[0] not in BLOCK_KINDS:
        raise WrongError(f"a frame of kind {payload[0]:#04x} is no block")
    return UPDATE_DECODERS.get(payload[0], decode_block)(payload, header)


def _records_of(payload: bytes, header: Header, stamp: Stamp) -> Sequence[Any]:
    """The records of a frame, which has the time that the message names."""
    if payload[0] not in BLOCK_KINDS:
        event = decode_event(payload, header)
        if not isinstance(event, Status | Gap | Loss):
            raise WrongError(f"a {type(event).__name__} stands among the records")
        _require(stamp.time_ns, event.since_ns if isinstance(event, Status) else 0, "Fanout-Time")
        return [event]
    block = _block_of(payload, header)
    if block.is_snapshot:
        raise WrongError("a block of a snapshot stands among the records")
    _require(stamp.time_ns, block.received_ns, "Fanout-Time")
    records: Sequence[Any] = block.trades if isinstance(block, Block) else block.records
    return records


def _first_of(record: Any) -> int:
    seq: int = record.first_seq if isinstance(record, Loss) else record.seq
    return seq


def _last_of(record: Any) -> int:
    seq: int = record.last_seq if isinstance(record, Loss) else record.seq
    return seq


def _token_of(record: Any) -> str:
    """What stands in the subject in the place of this record's symbol."""
    if isinstance(record, Loss) or record.instrument is None:
        return "%all"
    symbol: str = record.instrument.symbol
    return "".join(
        f"%{ord(char):02X}" if char in _WRITTEN_OTHERWISE or char <= " " else char
        for char in symbol
    )
