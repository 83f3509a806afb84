"""INSTRUMENTS: the symbols of a channel, with their units and references, a run of them in a frame.

    u8   kind = 0x25
    u8   reserved = 0
    u16  index of the first entry
    u16  n, 1 to 1,024
    n x  u8 length of the rest of the entry
         u8 length, then the symbol
         i8 price exponent, i8 quantity exponent, i8 time exponent
         i64 price, u64 quantity, u64 trade id, u64 time, u64 update id: the references
         u64 tick, u64 lot, in units of the exponents; 0 unknown
         u8 length, then the base; u8 length, then the quote; maybe empty
         u8 type
         i64 contract mantissa, i8 contract exponent
    u32  CRC-32

All little-endian. A reader ignores bytes that follow the fields it knows, in an entry and behind
the last one.

The runs that follow a header bring its instruments in order. In mid-stream a run changes the
entries that it names, or adds some at the end, from the next frame on. An index keeps its symbol
for a whole epoch, so a record that was decoded before a change still means the same.
"""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from struct import Struct
from struct import error as StructError  # noqa: N812

from msgspec.structs import replace

from fanout.protocol.constants import (
    CRC_BYTES,
    EXPONENTS,
    MAX_ASSET_BYTES,
    MAX_FRAME_BYTES,
    MAX_INSTRUMENTS,
    MAX_SYMBOL_BYTES,
    TIME_EXPONENTS,
    FrameKind,
    InstrumentType,
)
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.framing import seal, unseal
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header, Reference
from fanout.protocol.text import name_fault, pack_text, unpack_text

_PREFIX = Struct("<BBHH")
_NUMBERS = Struct("<bbbqQQQQQQ")
_CONTRACT = Struct("<Bqb")
assert (_PREFIX.size, _NUMBERS.size, _CONTRACT.size) == (6, 59, 10)

MAX_ENTRY_BYTES = 2 + MAX_SYMBOL_BYTES + _NUMBERS.size + 2 * (1 + MAX_ASSET_BYTES) + _CONTRACT.size
"""The longest an entry can be, its length byte included."""

MAX_OVERHEAD_BYTES = _PREFIX.size + CRC_BYTES
"""What a run takes beside its entries."""

assert MAX_ENTRY_BYTES == 201


def encode_instruments(header: Header, first: int, stop: int) -> list[bytes]:
    """The payloads with the instruments from index `first` up to, not including, `stop`: one, or
    more where they do not fit one frame. Raises `NotRepresentableError`, naming what does not
    fit."""
    pairs = zip(header.instruments[first:stop], header.references[first:stop], strict=True)
    return runs_of(first, [encode_entry(*pair) for pair in pairs])


def runs_of(
    first: int, entries: Sequence[bytes], *, max_bytes: int = MAX_FRAME_BYTES
) -> list[bytes]:
    """The payloads with these entries, from index `first` on, each of `max_bytes` at the most. One
    entry takes up to `MAX_ENTRY_BYTES`, and `MAX_OVERHEAD_BYTES` come with it."""
    payloads = []
    run, size = list[bytes](), 0
    for index, entry in enumerate(entries, first):
        if run and size + len(entry) > max_bytes - MAX_OVERHEAD_BYTES:
            payloads.append(_run(index - len(run), run))
            run, size = [], 0
        run.append(entry)
        size += len(entry)
    return [*payloads, _run(first + len(entries) - len(run), run)] if run else payloads


def encode_changes(
    before: Header, after: Header, *, max_bytes: int = MAX_FRAME_BYTES
) -> list[bytes]:
    """The payloads that lead a reader from one header to a later one of the same epoch: runs of the
    instruments that are new or have changed, each of `max_bytes` at the most. Raises
    `NotRepresentableError`."""
    changed = [
        index
        for index, (old, new) in enumerate(zip_longest(_entries(before), _entries(after)))
        if new is not None and new != old
    ]
    payloads = list[bytes]()
    for first, stop in _runs(changed):
        pairs = zip(after.instruments[first:stop], after.references[first:stop], strict=True)
        entries = [encode_entry(*pair) for pair in pairs]
        payloads += runs_of(first, entries, max_bytes=max_bytes)
    return payloads


def _entries(header: Header) -> Iterator[tuple[Instrument, Reference]]:
    return zip(header.instruments, header.references, strict=True)


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending indices as ranges without holes: first, and one behind the last."""
    first = 0
    for place, index in enumerate(indices):
        if place + 1 == len(indices) or indices[place + 1] != index + 1:
            yield indices[first], index + 1
            first = place + 1


def _run(first: int, entries: list[bytes]) -> bytes:
    prefix = _PREFIX.pack(FrameKind.INSTRUMENTS, 0, first, len(entries))
    return seal(prefix + b"".join(entries))


def encode_entry(instrument: Instrument, reference: Reference) -> bytes:
    """One instrument's entry. Raises `NotRepresentableError`, naming what does not fit."""
    try:
        _check(instrument)
        numbers = _NUMBERS.pack(
            instrument.price_exponent,
            instrument.quantity_exponent,
            instrument.time_exponent,
            reference.price,
            reference.quantity,
            reference.trade_id,
            reference.time,
            reference.update_id,
            instrument.tick,
            instrument.lot,
        )
        contract = _CONTRACT.pack(
            instrument.type, instrument.contract_mantissa, instrument.contract_exponent
        )
    except MalformedError as error:
        raise NotRepresentableError(str(error)) from error
    except StructError as error:
        raise NotRepresentableError(
            f"{instrument.symbol} does not fit its fields: {error}"
        ) from error
    entry = (
        pack_text(instrument.symbol, MAX_SYMBOL_BYTES, "symbol")
        + numbers
        + pack_text(instrument.base, MAX_ASSET_BYTES, "base")
        + pack_text(instrument.quote, MAX_ASSET_BYTES, "quote")
        + contract
    )
    return bytes([len(entry)]) + entry


def _check(instrument: Instrument) -> None:
    """Raises `MalformedError` for what both ends refuse, beyond what the fields' widths say."""
    names = (instrument.symbol, instrument.base or "-", instrument.quote or "-")
    for fault in filter(None, map(name_fault, names)):
        raise MalformedError(fault)
    exponents = {
        "price exponent": (instrument.price_exponent, EXPONENTS),
        "quantity exponent": (instrument.quantity_exponent, EXPONENTS),
        "time exponent": (instrument.time_exponent, TIME_EXPONENTS),
        "contract exponent": (instrument.contract_exponent, EXPONENTS),
    }
    for what, (exponent, allowed) in exponents.items():
        if exponent not in allowed:
            raise MalformedError(
                f"{instrument.symbol}: {what} {exponent} "
                f"is not within {allowed.start} to {allowed.stop - 1}"
            )


def require_unique(instruments: Sequence[Instrument]) -> None:
    """Raises `MalformedError` if two of these have one symbol."""
    last = {each.symbol: each for each in instruments}
    if len(last) < len(instruments):
        twice = next(each for each in instruments if last[each.symbol] is not each)
        raise MalformedError(f"symbol {twice.symbol!r} stands twice")


def with_instruments(header: Header, payload: bytes, *, first: int | None = None) -> Header:
    """The header with the run in an INSTRUMENTS payload: entries that are changed, or added at the
    end. `first` is the index at which the run has to begin, if it has to begin at one.

    Raises `PeerError` for every other payload; for a run that leaves a hole; for another symbol at
    an index that has one; and for a symbol that stands twice.
    """
    start, added = decode_run(payload)
    known = len(header.instruments)
    if start > known or first not in (None, start):
        raise MalformedError(f"instruments from index {start:,} on, where {known:,} are known")
    for old, (new, _) in zip(header.instruments[start:], added, strict=False):
        if new.symbol != old.symbol:
            raise MalformedError(
                f"index {old.index} is {old.symbol}, and cannot become {new.symbol}"
            )
    stop = start + len(added)
    instruments = tuple(instrument for instrument, _ in added)
    references = tuple(reference for _, reference in added)
    changed = replace(
        header,
        instruments=header.instruments[:start] + instruments + header.instruments[stop:],
        references=header.references[:start] + references + header.references[stop:],
    )
    if stop > known:
        require_unique(changed.instruments)
    return changed


def decode_run(payload: bytes) -> tuple[int, list[tuple[Instrument, Reference]]]:
    """The index of a run's first entry, and its entries. Raises `PeerError` for a payload that is
    not INSTRUMENTS."""
    body = unseal(payload)
    if len(body) < _PREFIX.size or body[0] != FrameKind.INSTRUMENTS:
        raise MalformedError(f"payload of {len(body) + CRC_BYTES} bytes is not INSTRUMENTS")
    _, _, first, count = _PREFIX.unpack_from(body)
    if not 1 <= count <= MAX_INSTRUMENTS - first:
        raise LimitExceededError(
            f"{count:,} instruments from index {first:,} on: "
            f"1 to {MAX_INSTRUMENTS:,} allowed in all"
        )
    offset = _PREFIX.size
    entries = []
    for index in range(first, first + count):
        if offset >= len(body) or offset + 1 + body[offset] > len(body):
            raise MalformedError(f"payload ends within instrument {index}")
        end = offset + 1 + body[offset]
        entries.append(_decode_entry(body[offset + 1 : end], index))
        offset = end
    return first, entries


def _decode_entry(entry: bytes, index: int) -> tuple[Instrument, Reference]:
    symbol, offset = unpack_text(entry, 0, MAX_SYMBOL_BYTES, "symbol")
    numbers = _unpack(_NUMBERS, entry, offset, index)
    base, offset = unpack_text(entry, offset + _NUMBERS.size, MAX_ASSET_BYTES, "base")
    quote, offset = unpack_text(entry, offset, MAX_ASSET_BYTES, "quote")
    code, mantissa, exponent = _unpack(_CONTRACT, entry, offset, index)
    instrument = Instrument(
        index=index,
        symbol=symbol,
        price_exponent=numbers[0],
        quantity_exponent=numbers[1],
        time_exponent=numbers[2],
        tick=numbers[8],
        lot=numbers[9],
        base=base,
        quote=quote,
        type=InstrumentType(code),
        contract_mantissa=mantissa,
        contract_exponent=exponent,
    )
    _check(instrument)
    price, quantity, trade_id, time, update_id = numbers[3:8]
    return instrument, Reference(
        price=price, quantity=quantity, trade_id=trade_id, time=time, update_id=update_id
    )


def _unpack(layout: Struct, entry: bytes, offset: int, index: int) -> tuple[int, ...]:
    if len(entry) < offset + layout.size:
        raise MalformedError(f"entry of instrument {index} is cut short")
    return layout.unpack_from(entry, offset)
