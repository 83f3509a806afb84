"""Events: what a channel reports besides trades. Each is a frame with a CRC of its own.

    STATUS     u8 0x20 | u64 seq | u16 instrument or 0xFFFF | u8 state | u64 since_ns | text why
    GAP        u8 0x21 | u64 seq | u16 instrument | u8 state | u64 first_id | u64 last_id | text why
    LOSS       u8 0x22 | u64 first_seq | u64 last_seq | u8 reason
    HEARTBEAT  u8 0x23 | u64 next_seq | u64 time_ns
    END        u8 0x24 | u64 last_seq | u8 reason | u32 retry_ms | text why

then u32 CRC-32. Text is u8 length and UTF-8. A reader ignores bytes behind the fields it knows.
"""

from collections.abc import Callable
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any

from fanout.protocol.constants import (
    MAX_INSTRUMENTS,
    MAX_SEQ,
    MAX_TEXT_BYTES,
    NEVER_RETRY,
    WHOLE_FEED,
    EndReason,
    FeedState,
    FrameKind,
    GapState,
    LossReason,
)
from fanout.protocol.errors import MalformedError, NotRepresentableError
from fanout.protocol.framing import seal, unseal
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import End, Event, Gap, Header, Heartbeat, Loss, Status
from fanout.protocol.text import pack_text, unpack_text

_STATUS = Struct("<BQHBQ")
_GAP = Struct("<BQHBQQ")
_LOSS = Struct("<BQQB")
_HEARTBEAT = Struct("<BQQ")
_END = Struct("<BQBI")
assert [each.size for each in (_STATUS, _GAP, _LOSS, _HEARTBEAT, _END)] == [20, 28, 18, 17, 14]


def encode_event(event: Event) -> bytes:
    """An event's payload. Raises `NotRepresentableError`, naming what does not fit."""
    try:
        _check_numbers(event)
        return seal(_encode_body(event))
    except (StructError, MalformedError) as error:
        raise NotRepresentableError(f"{event} does not fit its fields: {error}") from error


def _encode_body(event: Event) -> bytes:
    match event:
        case Status(seq=seq, instrument=instrument, state=state, since_ns=since_ns):
            index = WHOLE_FEED if instrument is None else _index(instrument)
            fixed = _STATUS.pack(FrameKind.STATUS, seq, index, state, since_ns)
            return fixed + _pack_why(event.why)
        case Gap(seq=seq, instrument=of, state=gap_state, first_id=first_id, last_id=last_id):
            fixed = _GAP.pack(FrameKind.GAP, seq, _index(of), gap_state, first_id, last_id)
            return fixed + _pack_why(event.why)
        case Loss(first_seq=first_seq, last_seq=last_seq, reason=loss_reason):
            return _LOSS.pack(FrameKind.LOSS, first_seq, last_seq, loss_reason)
        case Heartbeat(next_seq=next_seq, time_ns=time_ns):
            return _HEARTBEAT.pack(FrameKind.HEARTBEAT, next_seq, time_ns)
        case End(last_seq=last_seq, reason=end_reason):  # pragma: no branch  the fifth of five
            if event.retry_ms == NEVER_RETRY:
                raise NotRepresentableError(f"retry_ms {NEVER_RETRY} is what 'never' is written as")
            wait = NEVER_RETRY if event.retry_ms is None else event.retry_ms
            fixed = _END.pack(FrameKind.END, last_seq, end_reason, wait)
            return fixed + _pack_why(event.why)


def _index(instrument: Instrument) -> int:
    """Its index, if a header can have it. Others fit the field as well, and one of them stands for
    the whole feed."""
    if not 0 <= instrument.index < MAX_INSTRUMENTS:
        raise NotRepresentableError(f"index {instrument.index}: 0 to {MAX_INSTRUMENTS - 1} fit")
    return instrument.index


def _pack_why(why: str) -> bytes:
    return pack_text(why, MAX_TEXT_BYTES, "reason")


def _check_numbers(event: Event) -> None:
    """What both ends insist on, beyond what the fields' widths say."""
    match event:
        case Gap(first_id=first, last_id=last) | Loss(first_seq=first, last_seq=last):
            if first > last:
                raise MalformedError(f"range {first} to {last} is empty")
    match event:
        case Status(seq=seq) | Gap(seq=seq) | Heartbeat(next_seq=seq):
            numbers = [seq]
        case Loss(first_seq=first, last_seq=last):
            numbers = [first, last]
        case End(last_seq=last):  # pragma: no branch  the fifth of five
            numbers = [last + 1]  # it may be the end of a service that published nothing
    if not all(1 <= each <= MAX_SEQ for each in numbers):
        raise MalformedError(f"a sequence number among {numbers} is out of range")


def decode_event(payload: bytes, header: Header) -> Event:
    """The event in a payload. Raises `PeerError` for every other payload."""
    body = unseal(payload)
    decoder = _DECODERS.get(body[0])
    if decoder is None:
        raise MalformedError(f"frame kind {body[0]:#04x} is not an event")
    event = decoder(body, header)
    _check_numbers(event)
    return event


def _decode_status(body: bytes, header: Header) -> Status:
    seq, index, state, since_ns = _unpack(_STATUS, body)
    return Status(
        seq=seq,
        instrument=None if index == WHOLE_FEED else _instrument(index, header),
        state=FeedState(state),
        since_ns=since_ns,
        why=_unpack_why(body, _STATUS.size),
    )


def _decode_gap(body: bytes, header: Header) -> Gap:
    seq, index, state, first_id, last_id = _unpack(_GAP, body)
    return Gap(
        seq=seq,
        instrument=_instrument(index, header),
        first_id=first_id,
        last_id=last_id,
        state=GapState(state),
        why=_unpack_why(body, _GAP.size),
    )


def _decode_loss(body: bytes, _header: Header) -> Loss:
    first_seq, last_seq, reason = _unpack(_LOSS, body)
    return Loss(first_seq=first_seq, last_seq=last_seq, reason=LossReason(reason))


def _decode_heartbeat(body: bytes, _header: Header) -> Heartbeat:
    next_seq, time_ns = _unpack(_HEARTBEAT, body)
    return Heartbeat(next_seq=next_seq, time_ns=time_ns)


def _decode_end(body: bytes, _header: Header) -> End:
    last_seq, reason, retry_ms = _unpack(_END, body)
    return End(
        reason=EndReason(reason),
        last_seq=last_seq,
        retry_ms=None if retry_ms == NEVER_RETRY else retry_ms,
        why=_unpack_why(body, _END.size),
    )


def _unpack(layout: Struct, body: bytes) -> tuple[Any, ...]:
    """The fields behind the kind."""
    if len(body) < layout.size:
        raise MalformedError(f"event of {len(body)} bytes is cut short: {layout.size} needed")
    return layout.unpack_from(body)[1:]


def _unpack_why(body: bytes, offset: int) -> str:
    return unpack_text(body, offset, MAX_TEXT_BYTES, "reason")[0]


def _instrument(index: int, header: Header) -> Instrument:
    if index >= len(header.instruments):
        raise MalformedError(f"instrument index {index} is not in the header")
    return header.instruments[index]


_DECODERS: dict[int, Callable[[bytes, Header], Event]] = {
    FrameKind.STATUS: _decode_status,
    FrameKind.GAP: _decode_gap,
    FrameKind.LOSS: _decode_loss,
    FrameKind.HEARTBEAT: _decode_heartbeat,
    FrameKind.END: _decode_end,
}
