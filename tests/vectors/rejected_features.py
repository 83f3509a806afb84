"""Rows of features out of order, and headers whose columns cannot be."""

from itertools import accumulate
from struct import pack

from tests.vectors.rejected import (
    AGAIN,
    CUT,
    INDEX,
    LIMIT,
    LIMIT_EXCEEDED,
    LONG_INDEX,
    MALFORMED,
    NO_COLUMNS,
    OTHER_COLUMNS,
    TABLE,
    VARINT,
    after_opening,
    vector,
)
from tests.vectors.rejected_blocks import LONG_VARINTS
from tests.vectors.spelling import (
    MORE,
    TRADES_AT,
    block_prefix,
    header_body,
    sealed,
    short,
    uint,
)
from tests.vectors.values import (
    MAX_SEQ,
    ROWS_HEADER,
    ROWS_OPENING,
    START,
    Vector,
    body_of,
    features,
    header,
    instrument,
    next_row,
    raw,
    said,
)

NAN, INFINITY = float("nan"), float("inf")
ROW = b"\0\0\0\1\1\1"
"""The shortest row of three columns: none of its values is there."""


def rejected_features() -> list[Vector]:
    return [*_headers(), *_blocks(), *_numbers(), *_rows(), *_values(), *_cut()]


def _after(name: str, rule: str, body: bytes, error: str = MALFORMED) -> Vector:
    return vector(f"features: {name}", rule, error, *ROWS_OPENING, raw(sealed(body)))


def _headers() -> list[Vector]:
    named = {"channel": "features", "data": 16}
    names = ("", "Mid", "mid price", "mid-price", "mid\n", "é", "a.b")
    bare = header_body(header(**named))

    def refused(name: str, rule: str, body: bytes, error: str = MALFORMED) -> Vector:
        return vector(name, rule, error, START, raw(sealed(body)))

    return [
        *(
            refused(f"a column {each!a}", TABLE, header_body(header(**named, columns=[each])))
            for each in names
        ),
        refused("a column twice", TABLE, header_body(header(**named, columns=["a", "b", "a"]))),
        refused("a column of 65 bytes", LIMIT, header_body(header(**named, columns=["x" * 65]))),
        refused("rows without columns", TABLE, bare + uint(0, 2)),
        *(
            refused(
                f"{count:,} columns", LIMIT, bare + uint(count, 2) + short(b"x"), LIMIT_EXCEEDED
            )
            for count in (257, 65_535)
        ),
        *(
            refused(f"a header of rows that ends {words}", CUT, bare + end)
            for words, end in {
                "before its columns": b"",
                "within their number": b"\1",
                "before the first": b"\1\0",
                "before the second": b"\2\0\1a",
                "within a name": b"\1\0\2a",
            }.items()
        ),
        vector(
            "other columns in mid-stream",
            OTHER_COLUMNS,
            MALFORMED,
            *ROWS_OPENING,
            raw(said(ROWS_HEADER | {"columns": ["mid"]})[0]),
        ),
    ]


def _blocks() -> list[Vector]:
    one = features(1_001, next_row())
    wide = header(
        instrument("X"), channel="features", data=16, columns=[f"c{i}" for i in range(256)]
    )
    too_many = block_prefix(one, count=29) + (b"\0\0" + bytes(32) + b"\1" * 256) * 29
    return [
        after_opening("features: rows in another channel", NO_COLUMNS, said(one)[0]),
        *(
            _after(
                f"a block of {count:,} rows that has {had:,}",
                LIMIT,
                block_prefix(one, count=count) + ROW * had,
                LIMIT_EXCEEDED,
            )
            for count, had in ((0, 0), (0, 1), (513, 513), (65_535, 1))
        ),
        *(
            _after(
                f"a block that counts {count:,} rows and has {had}",
                CUT,
                block_prefix(one, count=count) + ROW * had,
            )
            for count, had in ((3, 2), (512, 1))
        ),
        vector(
            "features: 29 rows of 256 columns",
            LIMIT,
            LIMIT_EXCEEDED,
            START,
            said(wide),
            raw(sealed(too_many)),
        ),
    ]


def _numbers() -> list[Vector]:
    return [
        *(
            _after(
                f"{of} of number {seq}", LIMIT, body_of(features(seq, next_row(), snapshot=is_it))
            )
            for seq in (0, MAX_SEQ + 1, 2**64 - 1)
            for of, is_it in (("a block", False), ("a snapshot", True))
        ),
        vector(
            "features: a block that goes on after the last number",
            LIMIT,
            MALFORMED,
            START,
            said(ROWS_HEADER | {"next_seq": MAX_SEQ}),
            raw(said(features(MAX_SEQ, next_row(), next_row(1)))[0]),
        ),
        vector(
            "features: a number that comes again",
            AGAIN,
            MALFORMED,
            *ROWS_OPENING,
            said(features(1_001, next_row(), next_row(1))),
            raw(said(features(1_002, next_row(2)))[0]),
        ),
    ]


def _rows() -> list[Vector]:
    prefix = block_prefix(features(1_001, next_row()))
    heads = {
        "index 2": (INDEX, bytes([2])),
        "index 31 with reserved bits": (INDEX, bytes([0xC0 + 31])),
        "index 32": (INDEX, bytes([MORE, 1])),
        "the greatest index": (INDEX, bytes([MORE + 31]) + b"\xff" * 9 + b"\x01"),
        "index 0 with a byte more": (LONG_INDEX, bytes([MORE, 0])),
        "index 32 in two bytes too many": (VARINT, bytes([MORE, 0x81, 0x80, 0])),
    }
    return [
        *(_after(name, rule, prefix + head + ROW[1:]) for name, (rule, head) in heads.items()),
        *(
            _after(f"{field}: {name}", VARINT, body)
            for name, data in LONG_VARINTS.items()
            for field, body in {
                "held_ns": prefix[:TRADES_AT] + data + ROW,
                "time_ns": prefix + b"\0" + data + ROW[2:],
            }.items()
        ),
    ]


def _values() -> list[Vector]:
    prefix = block_prefix(features(1_001, next_row()))
    negative_nan = b"\1\0\0\0\0\0\xf0\xff"
    doubles = {
        "no number": pack("<d", NAN),
        "a signalling NaN": negative_nan,
        "infinity": pack("<d", INFINITY),
        "minus infinity": pack("<d", -INFINITY),
    }
    good = pack("<d", 1.5)
    return [
        *(
            _after(f"{name} in column {place + 1}", TABLE, prefix + b"\0\0\7" + b"".join(values))
            for name, each in doubles.items()
            for place in range(3)
            for values in [[good] * place + [each] + [good] * (2 - place)]
        ),
        _after(
            "infinities of both signs",
            TABLE,
            prefix + b"\0\0\7" + pack("<ddd", INFINITY, -INFINITY, 1.0),
        ),
        *(
            _after(f"no reason in column {place + 1}", TABLE, prefix + b"\0\0\0" + bytes(codes))
            for place in range(3)
            for codes in [[1] * place + [0] + [1] * (2 - place)]
        ),
        _after("no reason beside a value", TABLE, prefix + b"\0\0\1" + good + b"\0\1"),
    ]


def _cut() -> list[Vector]:
    body = body_of(features(1_001, next_row(1, index=1)))
    in_prefix = accumulate((1, 1, 1, 2, 8, 8, 1))
    return [
        _after(f"{size} bytes and a CRC", CUT, body[:size])
        for size in (*in_prefix, *range(TRADES_AT + 2, len(body)))
    ]
