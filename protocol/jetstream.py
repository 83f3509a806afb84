"""A channel in a stream of NATS JetStream: the names, and the headers of messages. See WIRE.md,
section 14.

    fanout-binance                          the stream
    fanout.binance.header                   its subjects
    fanout.binance.snapshot
    fanout.binance.records
    fanout.binance.records.BTCUSDT          where blocks are divided by symbol

A message's data are whole frames, and its `Stamp` says which numbers they take.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from fanout.protocol.constants import MAX_SEQ, U64_MAX
from fanout.protocol.text import channel_fault

MAX_PREFIX_CHARS: Final = 32

MAX_PARTS: Final = 65_535
"""Limit of the messages that a block or a snapshot is divided into."""

ALL: Final = "%all"
"""In the place of a symbol: what concerns all of them. No symbol is written so."""

_WRITTEN_OTHERWISE: Final = frozenset(b".*>%/\\\x7f") | frozenset(range(0x21))

_MESSAGE_ID: Final = "Nats-Msg-Id"
_EPOCH: Final = "Fanout-Epoch"
_SEQ: Final = "Fanout-Seq"
_COUNT: Final = "Fanout-Count"
_TIME: Final = "Fanout-Time"
_HEADER: Final = "Fanout-Header"
_WHOLE: Final = "Fanout-Whole"
_PART: Final = "Fanout-Part"
_PARTS: Final = "Fanout-Parts"
_BEFORE: Final = "Fanout-Before"


class Subject(StrEnum):
    """What a message holds, as its subject says."""

    HEADER = "header"
    SNAPSHOT = "snapshot"
    RECORDS = "records"


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of a message say of it."""

    epoch_ns: int
    seq: int
    """The first number of the records, or the number that is due."""
    count: int = 0
    """How many numbers the records take."""
    time_ns: int = 0
    """Of the records, unix ns; 0 if they have none."""
    header: int = 0
    """Of records and a snapshot: the stream's sequence number of the header message in force."""
    whole: int = 0
    """In a header, that of the newest header message whose snapshot is complete."""
    part: int = 1
    parts: int = 1
    """Of a divided block or of a snapshot. In a header, how many parts its snapshot has."""
    before: int | None = None
    """In a message of one symbol, the last number of the one before; 0 if there is none."""

    @property
    def next_seq(self) -> int:
        """The number that is due behind the records."""
        return self.seq + self.count


def prefix_fault(prefix: str) -> str | None:
    """What is wrong with a prefix; None if nothing is."""
    is_short = 0 < len(prefix) <= MAX_PREFIX_CHARS
    if is_short and prefix.isascii() and prefix.replace("-", "").replace("_", "a").isalnum():
        return None
    return f"{prefix[:60]!r} is no prefix: 1 to {MAX_PREFIX_CHARS} letters, digits, - and _"


def token(name: str) -> str:
    """The name of a channel or a symbol as it stands in a subject."""
    if not _WRITTEN_OTHERWISE.intersection(name.encode()):
        return name
    return "".join(
        f"%{ord(char):02X}" if ord(char) in _WRITTEN_OTHERWISE else char for char in name
    )


def stream_of(prefix: str, channel: str) -> str:
    """The name of a channel's stream. It has `=` in place of `%`: nats-server takes a `%` there for
    a format, and sends acknowledgement subjects that its clients cannot read."""
    return f"{prefix}-{token(channel).replace('%', '=')}"


def channel_of(prefix: str, stream: str) -> str | None:
    """The channel of a stream with this name; None for a name that is not ours."""
    start, channel = f"{prefix}-", stream.removeprefix(f"{prefix}-").replace("=2E", ".")
    if not stream.startswith(start) or channel_fault(channel) is not None:
        return None
    return channel


def subjects_of(prefix: str, channel: str) -> tuple[str, ...]:
    """All subjects of a channel's stream."""
    records = subject_of(prefix, channel, Subject.RECORDS)
    others = (subject_of(prefix, channel, each) for each in (Subject.HEADER, Subject.SNAPSHOT))
    return (*others, records, f"{records}.*")


def subject_of(prefix: str, channel: str, kind: Subject, symbol: str = "") -> str:
    """One subject of a channel. `symbol` is for records of a block that is divided, or `ALL`."""
    subject = f"{prefix}.{token(channel)}.{kind.value}"
    return f"{subject}.{symbol if symbol == ALL else token(symbol)}" if symbol else subject


def kind_of(subject: str) -> Subject | None:
    """What a message of this subject holds; None for a subject that is not ours."""
    parts = subject.split(".")
    if not 3 <= len(parts) <= 4:
        return None
    kind = next((each for each in Subject if each.value == parts[2]), None)
    return kind if len(parts) == 3 or kind is Subject.RECORDS else None


def symbol_token_of(subject: str) -> str:
    """What stands in a subject of records in the place of a symbol; empty if nothing does."""
    return ".".join(subject.split(".")[3:])


def headers_of(kind: Subject, stamp: Stamp, symbol: str = "") -> dict[str, str]:
    """The headers of a message. `symbol` is as in `subject_of`."""
    headers = {
        _EPOCH: str(stamp.epoch_ns),
        _SEQ: str(stamp.seq),
        _COUNT: str(stamp.count),
        _TIME: str(stamp.time_ns),
        _HEADER: str(stamp.header),
    }
    if kind is Subject.RECORDS:
        end = f"-{symbol if symbol == ALL else token(symbol)}" if symbol else ""
        headers[_MESSAGE_ID] = f"{stamp.epoch_ns}-{stamp.seq}{end}"
    if kind is Subject.HEADER:
        headers[_WHOLE] = str(stamp.whole)
    if kind is not Subject.RECORDS or stamp.parts > 1:
        headers[_PART] = str(stamp.part)
        headers[_PARTS] = str(stamp.parts)
    if stamp.before is not None:
        headers[_BEFORE] = str(stamp.before)
    return headers


def stamp_of(headers: Mapping[str, str] | None) -> Stamp | None:
    """What the headers of a message say; None if they are not ours."""
    if not headers or _EPOCH not in headers:
        return None
    try:
        epoch_ns, seq = _number(headers, _EPOCH), _number(headers, _SEQ, 1, MAX_SEQ)
        before = _number(headers, _BEFORE, most=MAX_SEQ) if _BEFORE in headers else None
        stamp = Stamp(
            epoch_ns=epoch_ns,
            seq=seq,
            count=_number(headers, _COUNT, most=MAX_SEQ + 1 - seq),
            time_ns=_number(headers, _TIME),
            header=_number(headers, _HEADER),
            whole=_number(headers, _WHOLE, absent="0"),
            part=_number(headers, _PART, absent="1", most=MAX_PARTS),
            parts=_number(headers, _PARTS, absent="1", most=MAX_PARTS),
            before=before,
        )
    except ValueError:
        return None
    return stamp


def _number(
    headers: Mapping[str, str], name: str, least: int = 0, most: int = U64_MAX, absent: str = ""
) -> int:
    """Raises `ValueError` for what is no number within the limits."""
    text = headers.get(name, absent)
    if not (text.isascii() and text.isdecimal()) or len(text) > 20:
        raise ValueError(name)
    number = int(text)
    if str(number) != text or not least <= number <= most:
        raise ValueError(name)
    return number
