"""Blocks of rows of features, kind 0x14. They begin as all blocks do: see `runs`.

    row:    u8 head: the index's five lowest bits, 0x20 more of it follows, 0x40 and 0x80 reserved
            varint index >> 5, if the head has 0x20
            varint zigzag(time_ns - previous time_ns)
            ceil(columns / 8) bytes, a bit for each column, lowest first: its value is there
            columns x  f64 value, if it is there; else u8 why it is not, never 0

*Previous* is the row before this one in the same block, of whatever instrument; for the first it is
the block's `received_ns`. Deltas are modulo 2**64. The header has the names of the columns, and so
their number. A value is a finite double.

Rows of one pattern of absences have one layout, which `struct` reads and writes at once.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, Final, NamedTuple

from fanout.protocol.constants import (
    MAX_BLOCK_ROWS,
    MAX_BLOCK_VALUES,
    U64_MAX,
    Absence,
    FrameKind,
)
from fanout.protocol.errors import LimitExceededError, MalformedError, NotRepresentableError
from fanout.protocol.feature_rows import FeatureBlock, FeatureRow
from fanout.protocol.framing import seal
from fanout.protocol.records import Header
from fanout.protocol.runs import (
    FLAGS,
    append_head,
    begun,
    opened,
    read,
    read_index,
    reference_at,
    require_count,
    require_index,
)
from fanout.protocol.varint import append_varint, unzigzag, zigzag

_KNOWN: Final = bytes(int(Absence(code)) for code in range(256))
"""What a code is read as: one that is unknown is OTHER."""

_BITS: Final = b"1" + b"0" * 255
"""A digit of base 2 for each code: whether its value is there."""


class _Layout(NamedTuple):
    """How the values of a row stand behind its bitmap."""

    items: Struct
    """A double, or the byte of a code, for each column."""
    absent: tuple[int, ...]
    """The columns without a value."""


@lru_cache(maxsize=512)
def _layout_of(columns: int, present: int) -> _Layout:
    """`present` has the bits of the bitmap."""
    is_there = [bool(present >> column & 1) for column in range(columns)]
    items = Struct("<" + "".join("d" if each else "B" for each in is_there))
    return _Layout(items, tuple(column for column, each in enumerate(is_there) if not each))


def encode_features(block: FeatureBlock, header: Header) -> bytes:
    """A block's payload. The rows' own `seq` and `received_ns` are not looked at: the block's
    count. Raises `NotRepresentableError`, naming the value that does not fit."""
    rows, columns = block.rows, header.columns
    require_count(len(rows), MAX_BLOCK_ROWS, "rows")
    if len(rows) * len(columns) > MAX_BLOCK_VALUES:
        raise NotRepresentableError(
            f"{len(rows):,} rows of {len(columns)} columns: at most {MAX_BLOCK_VALUES:,} values fit"
        )
    body = begun(block, FrameKind.FEATURES, 0, len(rows))
    bitmap_bytes = (len(columns) + 7) // 8
    before = block.received_ns
    for row in rows:
        index = row.instrument.index
        require_index(header, index)
        if not 0 <= row.time_ns <= U64_MAX:
            raise NotRepresentableError(f"{row.symbol}: time_ns {row.time_ns} does not fit 64 bits")
        append_head(body, index, 0)
        append_varint(body, zigzag(row.time_ns - before))
        present, items = _items_of(row, columns)
        body += present.to_bytes(bitmap_bytes, "little")
        body += items
        before = row.time_ns
    return seal(body)


def _items_of(row: FeatureRow, columns: Sequence[str]) -> tuple[int, bytes]:
    """The bits of a row's bitmap, and what follows it."""
    values, codes = row.values, row.absences
    if not 0 < len(columns) == len(values) == len(codes):
        raise NotRepresentableError(
            f"{row.symbol}: row of {len(values)} values and {len(codes)} absences, "
            f"in a channel of {len(columns)} columns"
        )
    # From the last code to the first, since the first is the lowest bit.
    present = int(codes.translate(_BITS)[::-1], 2)
    items: Sequence[Any] = values
    absent = len(codes) - codes.count(0)
    if absent:
        items = [code or value for value, code in zip(values, codes, strict=True)]
    try:
        # A sum is finite only if all of its terms are, and costs less than to look at each.
        is_in_order = isfinite(sum(items)) or all(map(isfinite, items))
        if is_in_order and values.count(None) == absent and codes.translate(_KNOWN) == codes:
            return present, _layout_of(len(codes), present).items.pack(*items)
    except (StructError, TypeError, OverflowError):
        pass
    raise _refusal(row, columns)


def _refusal(row: FeatureRow, columns: Sequence[str]) -> NotRepresentableError:
    """Names the first column whose value and code do not fit."""
    fields = list(zip(columns, row.values, row.absences, strict=True))
    column, value, code = next((each for each in fields if not _fits(*each[1:])), fields[-1])
    return NotRepresentableError(
        f"{row.symbol}: {column} is {value!r} with absence {code}: a finite number with 0, or None "
        "with a code of Absence"
    )


def _fits(value: Any, code: int) -> bool:
    if code:
        return value is None and code in _KNOWN
    try:
        return isfinite(value)
    except (TypeError, OverflowError):
        return False


def decode_features(payload: bytes, header: Header) -> FeatureBlock:
    """The block in a payload. Raises `PeerError` for every other payload."""
    body, offset, bits, _, seqs, first_seq, received_ns, held_ns = opened(
        payload, FrameKind.FEATURES, MAX_BLOCK_ROWS, "rows"
    )
    columns = len(header.columns)
    if not columns:
        raise MalformedError("a block of rows, in a channel without columns")
    if len(seqs) * columns > MAX_BLOCK_VALUES:
        raise LimitExceededError(
            f"{len(seqs):,} rows of {columns} columns: at most {MAX_BLOCK_VALUES:,} values allowed"
        )
    try:
        rows = _read_rows(body, offset, header, seqs, received_ns)
    except (IndexError, StructError) as error:
        raise MalformedError(f"block of {len(seqs):,} rows is cut short") from error
    return FeatureBlock(
        first_seq=first_seq,
        rows=rows,
        received_ns=received_ns,
        held_ns=held_ns,
        flags=FLAGS[bits],
    )


def _read_rows(
    body: bytes, offset: int, header: Header, seqs: Sequence[int], received_ns: int
) -> list[FeatureRow]:
    columns = len(header.columns)
    bitmap_bytes, all_there = (columns + 7) // 8, 2**columns - 1
    no_absences = bytes(columns)
    rows: list[FeatureRow] = []
    time_ns = received_ns
    for seq in seqs:
        index, offset = read_index(body, offset + 1, body[offset])
        reference_at(header, index)
        time_delta, offset = read(body, offset)
        time_ns = (time_ns + unzigzag(time_delta)) & U64_MAX
        present = int.from_bytes(body[offset : offset + bitmap_bytes], "little") & all_there
        offset += bitmap_bytes
        items, absent = _layout_of(columns, present)
        values: Sequence[Any] = items.unpack_from(body, offset)
        offset += items.size
        if not isfinite(sum(values)) and not all(map(isfinite, values)):
            raise MalformedError(f"row {seq} has a value that is not finite")
        absences = no_absences
        if absent:
            values, absences = _with_absences(values, absent, seq)
        rows.append(
            FeatureRow(
                header.instruments[index], time_ns, tuple(values), absences, seq, received_ns
            )
        )
    return rows


def _with_absences(
    items: Sequence[Any], absent: Sequence[int], seq: int
) -> tuple[Sequence[Any], bytes]:
    """The values of a row, and the codes of those that are not there."""
    values, codes = list(items), bytearray(len(items))
    for column in absent:
        code = values[column]
        if not code:
            raise MalformedError(f"row {seq} has no reason why value {column} is absent")
        codes[column] = code
        values[column] = None
    return values, bytes(codes.translate(_KNOWN))
