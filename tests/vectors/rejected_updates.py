"""Blocks of quotes and book updates out of order, each in a stream that is good until it comes."""

from collections.abc import Iterator
from itertools import accumulate

from tests.vectors.rejected import (
    AGAIN,
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
from tests.vectors.rejected_blocks import LONG_VARINTS
from tests.vectors.spelling import FLAGGED, MORE, TRADES_AT, Value, block_prefix, sealed, varint
from tests.vectors.values import (
    MAX_SEQ,
    OPENING,
    START,
    Vector,
    block,
    body_of,
    book,
    header,
    next_orders,
    next_quote,
    next_trade,
    next_update,
    orders,
    quotes,
    raw,
    said,
)

OUTWARDS = "levels that do not stand from the best outwards"

KINDS = {
    "quotes": (quotes, next_quote, 1_024, 6),
    "book": (book, next_update, 512, 4),
    "orders": (orders, next_orders, 512, 4),
}
"""How a block of each kind is made, the most records in it, and how many varints of zero are the
least of a record behind its head."""

ENTRIES = {"book": (2_048, 2), "orders": (1_536, 3)}
"""The most levels or orders in a block, and how many varints each has."""


def rejected_updates() -> list[Vector]:
    return [
        *(each for name in KINDS for each in _of_kind(name)),
        *(each for name in ENTRIES for each in _entries(name)),
        *_inwards(),
    ]


def _one(name: str) -> Value:
    make, record, _, _ = KINDS[name]
    return make(1_001, record())


def _of_kind(name: str) -> Iterator[Vector]:
    yield from _counts(name)
    yield from _numbers(name)
    yield from _indices(name)
    yield from _varints(name)
    yield from _cut(name)


def _counts(name: str) -> Iterator[Vector]:
    _, _, most, fields = KINDS[name]
    record = bytes(1 + fields)
    for count, had in ((0, 0), (0, 1), (most + 1, most + 1), (65_535, 1)):
        data = sealed(block_prefix(_one(name), count=count) + record * had)
        title = f"{name}: a block of {count:,} records that has {had:,}"
        yield after_opening(title, LIMIT, data, LIMIT_EXCEEDED)
    for count, had in ((3, 2), (most, 1)):
        data = sealed(block_prefix(_one(name), count=count) + record * had)
        yield after_opening(f"{name}: a block that counts {count:,} and has {had}", CUT, data)


def _numbers(name: str) -> Iterator[Vector]:
    make, record, _, _ = KINDS[name]
    for seq in (0, MAX_SEQ + 1, 2**64 - 1):
        for of, is_snapshot in (("a block", False), ("a snapshot", True)):
            data = said(make(seq, record(), snapshot=is_snapshot))[0]
            yield after_opening(f"{name}: {of} of number {seq}", LIMIT, data)
    yield vector(
        f"{name}: a block that goes on after the last number",
        LIMIT,
        MALFORMED,
        START,
        said(header(next_seq=MAX_SEQ)),
        raw(said(make(MAX_SEQ, record(), record(1)))[0]),
    )
    yield vector(
        f"{name}: a number that comes again",
        AGAIN,
        MALFORMED,
        *OPENING,
        said(block(1_001, next_trade(), next_trade(1))),
        raw(said(make(1_002, record()))[0]),
    )


def _indices(name: str) -> Iterator[Vector]:
    outside = {
        "index 2": bytes([2]),
        "index 31 with a reserved bit": bytes([0x80 + 31]),
        "index 32": bytes([MORE, 1]),
        "index 1,024": bytes([MORE, 32]),
        "the greatest index": bytes([MORE + 31]) + b"\xff" * 9 + b"\x01",
    }
    longer = {
        "index 0 with a byte more": bytes([MORE, 0]),
        "index 1 with a byte more": bytes([MORE + 1, 0]),
    }
    if name != "quotes":
        outside |= {
            "index 2 with flags": bytes([FLAGGED + 2, 1]),
            "index 32 with flags": bytes([FLAGGED + MORE, 1, 1]),
        }
        longer |= {"index 0 with flags and a byte more": bytes([FLAGGED + MORE, 1, 0])}
    prefix, fields = block_prefix(_one(name)), bytes(KINDS[name][3])
    for rule, heads in ((INDEX, outside), (LONG_INDEX, longer)):
        for title, head in heads.items():
            yield after_opening(f"{name}: {title}", rule, sealed(prefix + head + fields))
    too_many = bytes([MORE, 0x81, 0x80, 0])
    yield after_opening(
        f"{name}: index 32 in two bytes too many", VARINT, sealed(prefix + too_many + fields)
    )


def _varints(name: str) -> Iterator[Vector]:
    prefix, fields = block_prefix(_one(name)), KINDS[name][3]
    for title, data in LONG_VARINTS.items():
        held = sealed(prefix[:TRADES_AT] + data + bytes(1 + fields))
        yield after_opening(f"{name}: held_ns: {title}", VARINT, held)
        for place in range(fields):
            body = prefix + bytes(1 + place) + data + bytes(fields - 1 - place)
            yield after_opening(f"{name}: field {place + 1}: {title}", VARINT, sealed(body))


def _cut(name: str) -> Iterator[Vector]:
    make, record, _, _ = KINDS[name]
    flags = {} if name == "quotes" else {"whole": True}
    body = body_of(make(1_001, record(**flags), record(1)))
    in_prefix = accumulate((1, 1, 1, 2, 8, 8, 1))
    for size in (*in_prefix, *range(TRADES_AT + 2, len(body))):
        yield after_opening(f"{name}: {size} bytes and a CRC", CUT, sealed(body[:size]))


def _entries(name: str) -> Iterator[Vector]:
    """Sides that are longer than a block may have, and fields of a level or an order."""
    most, fields = ENTRIES[name]
    empty = bytes(5)
    prefix = block_prefix(_one(name), count=1)
    for bids, asks in ((most + 1, 0), (0, most + 1), (most, 1), (2**64 - 1, 0), (2**63, 2**63)):
        data = sealed(prefix + empty[:3] + varint(bids) + varint(asks))
        title = f"{name}: an update that counts {bids:,} bids and {asks:,} asks"
        yield after_opening(title, LIMIT, data, LIMIT_EXCEEDED)
    of_two = block_prefix(_one(name), count=2) + empty[:4] + b"\1" + bytes(fields) + empty[:3]
    yield after_opening(
        f"{name}: two updates that count too many together",
        LIMIT,
        sealed(of_two + varint(most) + b"\0"),
        LIMIT_EXCEEDED,
    )
    for title, data in LONG_VARINTS.items():
        for place in range(fields):
            entry = bytes(place) + data + bytes(fields - 1 - place)
            for side, counts in (("bid", b"\1\0"), ("ask", b"\0\1")):
                yield after_opening(
                    f"{name}: field {place + 1} of a {side}: {title}",
                    VARINT,
                    sealed(prefix + empty[:3] + counts + entry),
                )
    yield after_opening(
        f"{name}: a side that counts 2 and has 1",
        CUT,
        sealed(prefix + empty[:3] + b"\2\0" + bytes(fields)),
    )


def _inwards() -> Iterator[Vector]:
    levels = {
        "rise": ([5, 1], [6, 1]),
        "fall": ([6, 1], [5, 1]),
        "stand still": ([5, 1], [5, 1]),
        "turn round": ([5, 1], [7, 1], [6, 1]),
        "turn round at last": ([7, 1], [6, 1], [6, 0]),
        "go over the end": ([2**63 - 1, 1], [-(2**63), 1]),
        "go under the end": ([-(2**63), 1], [2**63 - 1, 1]),
    }
    refused = {
        "bids": ("rise", "stand still", "turn round", "turn round at last", "go under the end"),
        "asks": ("fall", "stand still", "turn round", "turn round at last", "go over the end"),
    }
    for side, ways in refused.items():
        for way in ways:
            update = next_update(bids=[], asks=[]) | {side: list(levels[way])}
            data = said(book(1_001, next_update(), update))[0]
            yield after_opening(f"{side} that {way}", OUTWARDS, data)
