"""The session header: who sends, which channel, in which numbering, and how many instruments.

    u8   version = 2
    u8   reserved = 0
    u64  epoch_ns
    u64  next_seq
    u8   length, then the venue's name
    u8   length, then the channel's name
    u8   data, bits: 1 trades, 2 quotes, 4 book by price, 8 book by order, 16 rows of features
    u16  number of instruments, 0 to 1,024
    u8   m, number of the service's other channels
    m x  u8 length, then the channel's name
    u16  k, number of columns, 1 to 256              only with bit 16 of data, as what follows
    k x  u8 length, then the column's name
    u32  CRC-32

All little-endian. A reader ignores bytes that follow the fields it knows.

1,024 instruments do not fit one frame, so they travel in frames of their own (`instruments`), right
behind the header. `opening` makes all of them, `Gathering` puts them together again.
"""

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final

import msgspec

from fanout.protocol.constants import (
    CRC_BYTES,
    LENGTH_BYTES,
    MAX_CHANNEL_BYTES,
    MAX_CHANNELS,
    MAX_COLUMN_BYTES,
    MAX_COLUMNS,
    MAX_FRAME_BYTES,
    MAX_INSTRUMENTS,
    MAX_SEQ,
    MAX_VENUE_BYTES,
    WIRE_VERSION,
    DataKinds,
)
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.framing import frame, payloads_of, seal, unseal
from fanout.protocol.instrument import Instrument
from fanout.protocol.instruments import (
    MAX_ENTRY_BYTES,
    MAX_OVERHEAD_BYTES,
    encode_entry,
    encode_instruments,
    require_unique,
    runs_of,
    with_instruments,
)
from fanout.protocol.records import Header, Reference
from fanout.protocol.text import (
    channel_fault,
    column_fault,
    name_fault,
    pack_text,
    unpack_text,
)

_PREFIX = Struct("<BBQQ")
_COUNTS = Struct("<BHB")
_COLUMNS = Struct("<H")
_NUMBER = Struct("<Q")
assert (_PREFIX.size, _COUNTS.size, _COLUMNS.size) == (18, 4, 2)

_ALL_DATA = DataKinds(0x1F)


def opening(header: Header) -> bytes:
    """The frames of a header and of all its instruments. A connection sends them behind START, and
    again in mid-stream where a reader goes on under another header. Raises
    `NotRepresentableError`."""
    payload = encode_header(header)
    instruments = encode_instruments(header, 0, len(header.instruments))
    return b"".join(map(frame, (payload, *instruments)))


class Opener:
    """`opening` for one channel whose header changes little from call to call: an instrument is
    encoded when it is new or has changed. For 1,024 of them that is a tenth of the time."""

    def __init__(self) -> None:
        self._entries: list[tuple[Instrument, Reference, bytes]] = []
        self._instruments: tuple[Instrument, ...] = ()
        self._references: tuple[Reference, ...] = ()
        self._frames = b""

    def __call__(self, header: Header) -> bytes:
        """The frames of `opening(header)`. Raises `NotRepresentableError`."""
        payload = encode_header(header)
        if header.instruments is not self._instruments or header.references is not self._references:
            pairs = zip(header.instruments, header.references, strict=True)
            self._entries = [self._entry(*pair) for pair in pairs]
            self._frames = b"".join(map(frame, runs_of(0, [each for _, _, each in self._entries])))
            self._instruments, self._references = header.instruments, header.references
        return frame(payload) + self._frames

    def _entry(
        self, instrument: Instrument, reference: Reference
    ) -> tuple[Instrument, Reference, bytes]:
        index = instrument.index
        if index < len(self._entries):
            known = self._entries[index]
            if known[0] is instrument and known[1] is reference:
                return known
        return instrument, reference, encode_entry(instrument, reference)


MAX_OPENING_BYTES: Final = (
    (LENGTH_BYTES + _PREFIX.size + 1 + MAX_VENUE_BYTES + 1 + MAX_CHANNEL_BYTES + _COUNTS.size)
    + MAX_CHANNELS * (1 + MAX_CHANNEL_BYTES)
    + (_COLUMNS.size + MAX_COLUMNS * (1 + MAX_COLUMN_BYTES))
    + CRC_BYTES
    + MAX_INSTRUMENTS * MAX_ENTRY_BYTES
    + 4 * (LENGTH_BYTES + MAX_OVERHEAD_BYTES)
)
"""What the longest opening takes. Entries of the worst size come in four runs."""

assert 4 * (MAX_FRAME_BYTES - MAX_OVERHEAD_BYTES - MAX_ENTRY_BYTES) > (
    MAX_INSTRUMENTS * MAX_ENTRY_BYTES
)


def encode_header(header: Header) -> bytes:
    """A header's payload, without the instruments. Raises `NotRepresentableError`, naming what does
    not fit."""
    _check_instruments(header)
    try:
        _check_meaning(header)
        body = bytearray(_PREFIX.pack(WIRE_VERSION, 0, header.epoch_ns, header.next_seq))
        body += pack_text(header.venue, MAX_VENUE_BYTES, "venue")
        body += pack_text(header.channel, MAX_CHANNEL_BYTES, "channel")
        data = header.data & _ALL_DATA
        body += _COUNTS.pack(data, len(header.instruments), len(header.channels))
        for channel in header.channels:
            body += pack_text(channel, MAX_CHANNEL_BYTES, "channel")
        body += _encode_columns(header.columns)
    except StructError as error:
        raise NotRepresentableError(f"header does not fit its fields: {error}") from error
    except MalformedError as error:
        raise NotRepresentableError(str(error)) from error
    return seal(body)


def _encode_columns(columns: Sequence[str]) -> bytes:
    """Nothing without columns, so that other channels keep the header that they had before."""
    if not columns:
        return b""
    names = (pack_text(each, MAX_COLUMN_BYTES, "column") for each in columns)
    return _COLUMNS.pack(len(columns)) + b"".join(names)


def with_next_seq(payload: bytes, next_seq: int) -> bytes:
    """The payload of a header, with another number due."""
    body = bytearray(payload[:-CRC_BYTES])
    _NUMBER.pack_into(body, _PREFIX.size - _NUMBER.size, next_seq)
    return seal(body)


def _check_instruments(header: Header) -> None:
    count = len(header.instruments)
    if count > MAX_INSTRUMENTS:
        raise NotRepresentableError(f"{count:,} instruments: at most {MAX_INSTRUMENTS:,} fit")
    if len(header.references) != count:
        raise NotRepresentableError(f"{len(header.references)} references for {count} instruments")
    if [each.index for each in header.instruments] != list(range(count)):
        raise NotRepresentableError("instrument indices are not 0, 1, 2, ...")
    try:
        require_unique(header.instruments)
    except MalformedError as error:
        raise NotRepresentableError(str(error)) from error


def _check_meaning(header: Header) -> None:
    """Raises `MalformedError` for what both ends refuse, beyond what the fields' widths say."""
    if not 1 <= header.next_seq <= MAX_SEQ:
        raise MalformedError(f"sequence number {header.next_seq} is out of range")
    if len(header.channels) > MAX_CHANNELS:
        raise MalformedError(f"{len(header.channels)} other channels: at most {MAX_CHANNELS} fit")
    channels = (header.channel, *header.channels)
    _check_columns(header)
    faults = (
        name_fault(header.venue),
        *map(channel_fault, channels),
        _repeated("channel", channels),
        *map(column_fault, header.columns),
        _repeated("column", header.columns),
    )
    for fault in filter(None, faults):
        raise MalformedError(fault)


def _check_columns(header: Header) -> None:
    """Raises `MalformedError` for columns without rows, and for rows without columns."""
    count, has_rows = len(header.columns), DataKinds.FEATURES in header.data
    if count > MAX_COLUMNS or has_rows != bool(count):
        raise MalformedError(
            f"{count} columns in a channel {'with' if has_rows else 'without'} rows of features: "
            f"1 to {MAX_COLUMNS} with rows, and none without"
        )


def _repeated(what: str, names: Sequence[str]) -> str | None:
    if len(set(names)) == len(names):
        return None
    twice = next(each for place, each in enumerate(names) if each in names[:place])
    return f"{what} {twice!r} stands twice"


def decode_header(payload: bytes) -> tuple[Header, int]:
    """The header in a payload, still without instruments, and how many of them follow. Raises
    `PeerError` for every other payload."""
    body = unseal(payload)
    if body[0] != WIRE_VERSION:
        raise MalformedError(f"wire version {body[0]}: this reader speaks {WIRE_VERSION}")
    if len(body) < _PREFIX.size:
        raise MalformedError(f"header of {len(body)} bytes is cut short")
    _, _, epoch_ns, next_seq = _PREFIX.unpack_from(body)
    venue, offset = unpack_text(body, _PREFIX.size, MAX_VENUE_BYTES, "venue")
    channel, offset = unpack_text(body, offset, MAX_CHANNEL_BYTES, "channel")
    if not channel:
        raise MalformedError("the channel has no name")
    if offset + _COUNTS.size > len(body):
        raise MalformedError("header ends before its counts")
    data, count, others = _COUNTS.unpack_from(body, offset)
    if count > MAX_INSTRUMENTS:
        raise LimitExceededError(f"{count:,} instruments: at most {MAX_INSTRUMENTS:,} allowed")
    kinds = DataKinds(data) & _ALL_DATA
    channels, offset = _decode_channels(body, offset + _COUNTS.size, others)
    header = Header(
        epoch_ns=epoch_ns,
        next_seq=next_seq,
        venue=venue,
        channel=channel,
        data=kinds,
        instruments=(),
        references=(),
        channels=channels,
        columns=_decode_columns(body, offset) if DataKinds.FEATURES in kinds else (),
    )
    _check_meaning(header)
    return header, count


def _decode_channels(body: bytes, offset: int, count: int) -> tuple[tuple[str, ...], int]:
    """The names, and the offset behind them."""
    channels = []
    for _ in range(count):
        channel, offset = unpack_text(body, offset, MAX_CHANNEL_BYTES, "channel")
        channels.append(channel)
    return tuple(channels), offset


def _decode_columns(body: bytes, offset: int) -> tuple[str, ...]:
    if offset + _COLUMNS.size > len(body):
        raise MalformedError("header of a channel of rows ends before its columns")
    (count,) = _COLUMNS.unpack_from(body, offset)
    if count > MAX_COLUMNS:
        raise LimitExceededError(f"{count:,} columns: at most {MAX_COLUMNS} allowed")
    columns = []
    offset += _COLUMNS.size
    for _ in range(count):
        column, offset = unpack_text(body, offset, MAX_COLUMN_BYTES, "column")
        columns.append(column)
    return tuple(columns)


class Gathering(msgspec.Struct, frozen=True):
    """A header whose instruments are still coming: a value, as it is after so many frames."""

    header: Header
    """With the instruments that have come."""
    count: int
    """How many instruments the header announced."""

    @classmethod
    def begin(cls, payload: bytes) -> "Gathering":
        """`payload` is the header's. Raises `PeerError` for every other."""
        return cls(*decode_header(payload))

    @property
    def is_complete(self) -> bool:
        """Whether the header has as many instruments as it announced."""
        return len(self.header.instruments) == self.count

    def add(self, payload: bytes) -> "Gathering":
        """With the instruments of the next frame. Raises `PeerError` for every other payload, and
        for instruments that the header did not announce or that came before."""
        known = len(self.header.instruments)
        header = with_instruments(self.header, payload, first=known)
        if len(header.instruments) > self.count:
            raise MalformedError(
                f"{len(header.instruments):,} instruments: the header announced {self.count:,}"
            )
        return Gathering(header, self.count)


def decode_opening(frames: bytes) -> Header:
    """The whole header in the frames that `opening` makes. Raises `PeerError`."""
    payloads = payloads_of(frames)
    if not payloads:
        raise MalformedError(f"{len(frames):,} bytes hold no header")
    gathering = Gathering.begin(payloads[0])
    for payload in payloads[1:]:
        gathering = gathering.add(payload)
    if not gathering.is_complete:
        raise MalformedError("instruments are missing behind their header")
    return gathering.header
