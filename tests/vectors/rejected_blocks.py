"""Blocks out of order, each in a stream that is good until it comes."""

from itertools import accumulate

from tests.vectors.rejected import (
    CUT,
    INDEX,
    LIMIT,
    LIMIT_EXCEEDED,
    LONG_INDEX,
    MALFORMED,
    VARINT,
    after_opening,
    vector,
)
from tests.vectors.spelling import (
    ESCAPE,
    MORE,
    TRADES_AT,
    Value,
    block_prefix,
    sealed,
)
from tests.vectors.values import (
    BTC,
    MAX_SEQ,
    OPENING,
    START,
    Vector,
    block,
    body_of,
    header,
    next_trade,
    raw,
    said,
)

ONE = block(1_001, next_trade())
FIELDS = b"\0\0\0\0"
"""Of a trade after its head: no differences, and no quantity."""

LONG_VARINTS = {
    "a zero in two bytes": b"\x80\0",
    "127 in two bytes": b"\xff\0",
    "zero in ten bytes": b"\x80" * 9 + b"\0",
    "2^64": b"\x80" * 9 + b"\x02",
    "a tenth byte of 127": b"\xff" * 9 + b"\x7f",
    "eleven bytes": b"\xff" * 10 + b"\x01",
    "ten bytes that go on": b"\x80" * 10,
}


def rejected_blocks() -> list[Vector]:
    return [*_counts(), *_numbers(), *_indices(), *_varints(), *_cut()]


def _counts() -> list[Vector]:
    trade = b"\0" + FIELDS
    return [
        *(
            after_opening(
                f"a block of {count:,} trades that has {had:,}",
                LIMIT,
                _counting(count, trade * had),
                LIMIT_EXCEEDED,
            )
            for count, had in ((0, 0), (0, 1), (1_025, 1_025), (65_535, 1))
        ),
        after_opening("a block with a trade less than it counts", CUT, _counting(3, trade * 2)),
        after_opening("a block that counts 1,024 trades and has one", CUT, _counting(1_024, trade)),
    ]


def _counting(count: int, trades: bytes) -> bytes:
    return sealed(block_prefix(ONE, count=count) + trades)


def _numbers() -> list[Vector]:
    last = header(next_seq=MAX_SEQ)
    beyond = said(block(MAX_SEQ, next_trade(), next_trade(1)))[0]
    return [
        *(
            after_opening(f"a {name} of number {seq}", LIMIT, said(_numbered(seq, is_snapshot))[0])
            for seq in (0, MAX_SEQ + 1, 2**64 - 1)
            for name, is_snapshot in (("block", False), ("snapshot", True))
        ),
        vector(
            "a block that goes on after the last number",
            LIMIT,
            MALFORMED,
            START,
            said(last),
            raw(beyond),
        ),
    ]


def _numbered(seq: int, is_snapshot: bool) -> Value:
    return block(seq, next_trade(), snapshot=is_snapshot)


def _indices() -> list[Vector]:
    heads = {
        "index 2": bytes([2]),
        "index 31": bytes([31]),
        "index 2 of a sale": bytes([0x82]),
        "index 2 with an escape": bytes([ESCAPE + 2, 0]),
        "index 32": bytes([MORE, 1]),
        "index 1,024": bytes([MORE, 32]),
        "index 4,096": bytes([MORE, 0x80, 1]),
        "the greatest index": bytes([MORE + 31]) + b"\xff" * 9 + b"\x01",
        "index 32 with an escape, sold": bytes([0xE0, 0, 1]),
    }
    longer = {
        "index 0 with a byte more": bytes([MORE, 0]),
        "index 1 with a byte more": bytes([MORE + 1, 0]),
        "index 0 with an escape and a byte more": bytes([MORE + ESCAPE, 0, 0]),
    }
    prefix = block_prefix(ONE)
    return [
        *(
            after_opening(f"a trade of {name}", INDEX, sealed(prefix + head + FIELDS))
            for name, head in heads.items()
        ),
        *(
            after_opening(f"a trade of {name}", LONG_INDEX, sealed(prefix + head + FIELDS))
            for name, head in longer.items()
        ),
        after_opening(
            "a trade of index 32 in two bytes too many",
            VARINT,
            sealed(prefix + bytes([MORE, 0x81, 0x80, 0]) + FIELDS),
        ),
        vector(
            "a trade of an instrument that a new header left out",
            INDEX,
            MALFORMED,
            *OPENING,
            said(header(BTC)),
            raw(said(block(1_001, next_trade(index=1)))[0]),
        ),
    ]


def _varints() -> list[Vector]:
    prefix = block_prefix(ONE)
    fields = ("id", "time", "price", "quantity")
    return [
        *(
            after_opening(
                f"held_ns: {name}", VARINT, sealed(prefix[:TRADES_AT] + data + b"\0" + FIELDS)
            )
            for name, data in LONG_VARINTS.items()
        ),
        *(
            after_opening(
                f"a trade's {field}: {name}",
                VARINT,
                sealed(prefix + b"\0" * (1 + place) + data + b"\0" * (3 - place)),
            )
            for place, field in enumerate(fields)
            for name, data in LONG_VARINTS.items()
        ),
    ]


def _cut() -> list[Vector]:
    value = block(1_001, next_trade(kind="RPI"), next_trade(1, index=1))
    body = body_of(value)
    widths = (1, 1, 1, 2, 8, 8, 1)
    in_prefix = list(accumulate(widths))
    in_trades = range(TRADES_AT + 2, len(body))
    return [
        after_opening(f"a block of {size} bytes and a CRC", CUT, sealed(body[:size]))
        for size in (*in_prefix, *in_trades)
    ]
