"""Streams of a newer service, and of an odd one: a reader takes what it knows, and goes on."""

from tests.vectors.spelling import (
    Value,
    block_body,
    entry,
    header_body,
    header_prefix,
    sealed,
    short,
)
from tests.vectors.valid import vector as stream_vector
from tests.vectors.values import (
    BTC,
    EPOCH_NS,
    HEADER,
    OPENING,
    START,
    Piece,
    Vector,
    block,
    body_of,
    end,
    gap,
    header,
    heartbeat,
    loss,
    next_trade,
    said,
    status,
)

UNKNOWN = "frames of an unknown kind after the header"
MORE = "bytes between the last field known and the CRC"
RESERVED = "reserved bits and bytes"
CODE = "unknown values of a *code*"
SNAPSHOTS = "snapshots, any number of them and anywhere after the header"
ENTRY = "skip to its end after the last known field"
SPELLING = "A trade without an escape has the kind `ordinary`"
NOT_SENT = "they are not sent"

MORE_BYTES = b"\x01\xff\0more"
UNKNOWN_CODE = 200

_PAYLOAD_MOST = 65_536
_CRC_BYTES = 4


def vector(name: str, rule: str, *pieces: Piece, due: int) -> Vector:
    made = stream_vector(name, f"Tolerate: {rule}.", *pieces, due=due)
    return Vector(name=name, about=made.about, members={**made.members, "rule": rule})


def tolerated() -> list[Vector]:
    return [
        *_unknown_kinds(),
        *_longer_bodies(),
        *_reserved(),
        *_codes(),
        *_snapshots(),
        *_spellings(),
    ]


def skipped(body: bytes) -> Piece:
    return sealed(body), {"event": "skipped", "kind": body[0]}


def _unknown_kinds() -> list[Vector]:
    kinds = (0x00, 0x0F, 0x11, 0x1F, 0x25, 0x53, 0x7F, 0x80, 0xFF)
    longest = b"\x7f" + bytes(_PAYLOAD_MOST - 1 - _CRC_BYTES)
    return [
        vector(
            "frames of unknown kinds",
            UNKNOWN,
            *OPENING,
            *(skipped(bytes([kind])) for kind in kinds),
            skipped(b"START"),
            said(block(1_001, next_trade())),
            skipped(b"\x25with a body"),
            said(heartbeat(1_002)),
            due=1_002,
        ),
        vector(
            "headers of other wires in mid-stream",
            UNKNOWN,
            *OPENING,
            *(skipped(bytes([kind]) + header_body(HEADER)[1:]) for kind in (1, 3, 15)),
            due=1_001,
        ),
        vector("the longest payload", UNKNOWN, *OPENING, skipped(longest), due=1_001),
    ]


def _longer_bodies() -> list[Vector]:
    values = (
        block(1_001, next_trade()),
        status(1_002),
        gap(1_003),
        loss(1_004, 1_005),
        heartbeat(1_006),
        header(next_seq=1_006),
        end(1_005),
    )
    entries = b"".join(short(entry(each) + MORE_BYTES) for each in HEADER["instruments"])
    full = entry(BTC) + bytes(255 - len(entry(BTC)))
    alone = header(BTC)
    return [
        *(
            vector(
                f"more in each frame: {len(more)} bytes",
                MORE,
                START,
                *_longer(values, more),
                due=1_006,
            )
            for more in (b"\0", MORE_BYTES, bytes(1_000))
        ),
        vector(
            "more in each entry of a header",
            ENTRY,
            START,
            (sealed(header_prefix(HEADER) + entries), HEADER),
            said(block(1_001, next_trade())),
            due=1_002,
        ),
        vector(
            "an entry of 255 bytes",
            ENTRY,
            START,
            (sealed(header_prefix(alone) + short(full)), alone),
            due=1_001,
        ),
    ]


def _longer(values: tuple[Value, ...], more: bytes) -> list[Piece]:
    return [(sealed(body_of(value) + more), value) for value in (HEADER, *values)]


def _reserved() -> list[Vector]:
    body = bytearray(header_body(HEADER))
    body[1] = 0xFF
    one, both = block(1_001, next_trade()), block(1_001, next_trade(), back_filled=True)
    seen = block(1_001, next_trade(), back_filled=True, snapshot=True, received_ns=7)
    return [
        vector("a header's reserved byte", RESERVED, START, (sealed(body), HEADER), due=1_001),
        vector("a block's reserved flags", RESERVED, *OPENING, _flagged(one, 0xFC), due=1_002),
        vector(
            "reserved flags and a known one", RESERVED, *OPENING, _flagged(both, 0xFD), due=1_002
        ),
        vector("both flags", SNAPSHOTS, *OPENING, said(seen), due=1_001),
    ]


def _flagged(value: Value, flags: int) -> Piece:
    body = bytearray(body_of(value))
    body[1] = flags
    return sealed(body), value


def _codes() -> list[Vector]:
    events = {
        "a STATUS": (status(1_001, state="OTHER"), 10),
        "a GAP": (gap(1_001, state="OTHER"), 10),
        "a LOSS": (loss(1_001, 1_001, "OTHER"), 17),
        "an END": (end(1_000, reason="OTHER"), 9),
    }
    dues = {"an END": 1_001}
    ordinary = block(1_001, next_trade(kind="OTHER"), next_trade(1, kind="OTHER"))
    escaped = block(1_001, next_trade(), next_trade(1, kind="OTHER"))
    at_escape = block_body(escaped, HEADER).index(b"\x7f\xff\0")
    said_by_clients = [loss(1_001, 1_001, "DISCONNECTED"), loss(1_002, 1_002, "UNANNOUNCED")]
    return [
        *(
            vector(
                f"an unknown code in {name}",
                CODE,
                *OPENING,
                _coded(value, at),
                due=dues.get(name, 1_002),
            )
            for name, (value, at) in events.items()
        ),
        vector("an unknown ordinary kind", CODE, *OPENING, _coded(ordinary, 2), due=1_003),
        vector(
            "an unknown kind of a trade", CODE, *OPENING, _coded(escaped, at_escape + 1), due=1_003
        ),
        vector(
            "a LOSS for a client's reason",
            NOT_SENT,
            *OPENING,
            *map(said, said_by_clients),
            due=1_003,
        ),
    ]


def _coded(value: Value, at: int) -> Piece:
    """With a code that nobody knows yet at the offset `at` of its body."""
    body = bytearray(body_of(value))
    body[at] = UNKNOWN_CODE
    return sealed(body), value


def _snapshots() -> list[Vector]:
    seqs = (1_001, 1, 1_000_000)
    pictures = [
        block(seq, next_trade(place), snapshot=True, received_ns=0)
        for place, seq in enumerate(seqs)
    ]
    twice = block(1_001, next_trade(), next_trade(), snapshot=True, received_ns=EPOCH_NS)
    return [
        vector(
            "snapshots here and there",
            SNAPSHOTS,
            *OPENING,
            said(pictures[0]),
            said(block(1_001, next_trade())),
            said(pictures[1]),
            said(heartbeat(1_002)),
            said(pictures[2]),
            said(status(1_002)),
            due=1_003,
        ),
        vector("a snapshot with an instrument twice", SNAPSHOTS, *OPENING, said(twice), due=1_001),
    ]


def _spellings() -> list[Vector]:
    sold = block(1_001, next_trade(), next_trade(1, buyer_is_maker=True))
    rare = block(1_001, next_trade(), next_trade(1, kind="RPI"))
    return [
        vector(
            "escapes that need not be",
            SPELLING,
            *OPENING,
            (sealed(_all_escaped(sold)), sold),
            due=1_003,
        ),
        vector(
            "an ordinary kind that the first trade does not have",
            SPELLING,
            *OPENING,
            (sealed(block_body(rare, HEADER, ordinary=1)), rare),
            due=1_003,
        ),
    ]


def _all_escaped(value: Value) -> bytes:
    """Each trade spells its kind, though it is the ordinary one."""
    body = bytearray(block_body(value, HEADER, ordinary=1))
    body[2] = 0
    return bytes(body)
