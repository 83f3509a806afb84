"""The session header: who speaks, in which numbering, in which units, and from which values.

    u8   version = 2
    u8   reserved = 0
    u64  epoch_ns
    u64  next_seq
    u8   length, then the venue's name
    u8   n, 1 to 127
    n x  u8 length of the rest of the entry
         u8 length, then the symbol
         i8 price exponent, i8 quantity exponent, i8 time exponent
         i64 price, u64 quantity, u64 trade id, u64 time: the references
    u32  CRC-32

All little-endian. An entry or a body that is longer than this is read as far as it is known.
"""

from struct import Struct
from struct import error as StructError  # noqa: N812

from fanout.protocol.constants import (
    EXPONENTS,
    MAX_INSTRUMENTS,
    MAX_SEQ,
    MAX_SYMBOL_BYTES,
    MAX_VENUE_BYTES,
    TIME_EXPONENTS,
    WIRE_VERSION,
)
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.framing import seal, unseal
from fanout.protocol.records import Header, Instrument, Reference
from fanout.protocol.text import pack_text, unpack_text

_PREFIX = Struct("<BBQQ")
_ENTRY = Struct("<bbbqQQQ")
assert _PREFIX.size == 18
assert _ENTRY.size == 35


def encode_header(header: Header) -> bytes:
    """A header's payload. Raises `NotRepresentableError`, naming what does not fit."""
    _check(header)
    try:
        body = bytearray(_PREFIX.pack(WIRE_VERSION, 0, header.epoch_ns, header.next_seq))
        body += pack_text(header.venue, MAX_VENUE_BYTES, "venue")
        body.append(len(header.instruments))
        for instrument, reference in zip(header.instruments, header.references, strict=True):
            body += _encode_entry(instrument, reference)
    except StructError as error:
        raise NotRepresentableError(f"header does not fit its fields: {error}") from error
    return seal(body)


def _encode_entry(instrument: Instrument, reference: Reference) -> bytes:
    entry = pack_text(instrument.symbol, MAX_SYMBOL_BYTES, "symbol") + _ENTRY.pack(
        instrument.price_exponent,
        instrument.quantity_exponent,
        instrument.time_exponent,
        reference.price,
        reference.quantity,
        reference.trade_id,
        reference.time,
    )
    return bytes([len(entry)]) + entry


def _check(header: Header) -> None:
    count = len(header.instruments)
    if not 1 <= count <= MAX_INSTRUMENTS:
        raise NotRepresentableError(f"{count} instruments: 1 to {MAX_INSTRUMENTS} fit a header")
    if len(header.references) != count:
        raise NotRepresentableError(f"{len(header.references)} references for {count} instruments")
    if [each.index for each in header.instruments] != list(range(count)):
        raise NotRepresentableError("instrument indices are not 0, 1, 2, ...")
    try:
        _check_meaning(header)
    except MalformedError as error:
        raise NotRepresentableError(str(error)) from error


def _check_meaning(header: Header) -> None:
    """What both ends insist on, beyond what the fields' widths say."""
    if not 1 <= header.next_seq <= MAX_SEQ:
        raise MalformedError(f"sequence number {header.next_seq} is out of range")
    _check_name(header.venue)
    symbols = [each.symbol for each in header.instruments]
    for each in header.instruments:
        _check_name(each.symbol)
        if symbols.index(each.symbol) != each.index:
            raise MalformedError(f"symbol {each.symbol!r} stands twice")
        if each.price_exponent not in EXPONENTS or each.quantity_exponent not in EXPONENTS:
            raise MalformedError(
                f"{each.symbol}: exponents {each.price_exponent}, {each.quantity_exponent} "
                f"are not within {EXPONENTS.start} to {EXPONENTS.stop - 1}"
            )
        if each.time_exponent not in TIME_EXPONENTS:
            raise MalformedError(
                f"{each.symbol}: time exponent {each.time_exponent} "
                f"is not within {TIME_EXPONENTS.start} to {TIME_EXPONENTS.stop - 1}"
            )


def _check_name(name: str) -> None:
    """Names are shown on terminals and become columns and file names: no blanks and no control
    characters, U+0000 to U+0020 and U+007F to U+00A0."""
    if not name or any(each <= " " or "\x7f" <= each <= "\xa0" for each in name):
        raise MalformedError(f"name {name!r} is empty, or has a blank or a control character")


def decode_header(payload: bytes) -> Header:
    """The header in a payload. Raises `PeerError` for every other payload."""
    body = unseal(payload)
    if body[0] != WIRE_VERSION:
        raise MalformedError(f"wire version {body[0]}: this reader speaks {WIRE_VERSION}")
    if len(body) < _PREFIX.size:
        raise MalformedError(f"header of {len(body)} bytes is cut short")
    _, _, epoch_ns, next_seq = _PREFIX.unpack_from(body)
    venue, offset = unpack_text(body, _PREFIX.size, MAX_VENUE_BYTES, "venue")
    entries = _decode_entries(body, offset)
    header = Header(
        epoch_ns=epoch_ns,
        next_seq=next_seq,
        venue=venue,
        instruments=tuple(instrument for instrument, _ in entries),
        references=tuple(reference for _, reference in entries),
    )
    _check_meaning(header)
    return header


def _decode_entries(body: bytes, offset: int) -> list[tuple[Instrument, Reference]]:
    if offset >= len(body):
        raise MalformedError("header ends before its instruments")
    count = body[offset]
    if not 1 <= count <= MAX_INSTRUMENTS:
        raise LimitExceededError(f"{count} instruments: 1 to {MAX_INSTRUMENTS} allowed")
    offset += 1
    entries = []
    for index in range(count):
        if offset >= len(body) or offset + 1 + body[offset] > len(body):
            raise MalformedError(f"header ends within instrument {index}")
        end = offset + 1 + body[offset]
        entries.append(_decode_entry(body[offset + 1 : end], index))
        offset = end
    return entries


def _decode_entry(entry: bytes, index: int) -> tuple[Instrument, Reference]:
    symbol, offset = unpack_text(entry, 0, MAX_SYMBOL_BYTES, "symbol")
    if len(entry) < offset + _ENTRY.size:
        raise MalformedError(f"entry of instrument {index} is cut short")
    price_exponent, quantity_exponent, time_exponent, *reference = _ENTRY.unpack_from(entry, offset)
    price, quantity, trade_id, time = reference
    instrument = Instrument(
        index=index,
        symbol=symbol,
        price_exponent=price_exponent,
        quantity_exponent=quantity_exponent,
        time_exponent=time_exponent,
    )
    return instrument, Reference(price=price, quantity=quantity, trade_id=trade_id, time=time)
