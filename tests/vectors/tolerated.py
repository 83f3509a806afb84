"""Streams of a newer service, and of an odd one: a reader takes what it knows, and goes on."""

from tests.vectors.spelling import (
    FLAGGED,
    Value,
    block_body,
    entry,
    header_body,
    instruments_body,
    run_body,
    sealed,
    short,
    uint,
)
from tests.vectors.valid import vector as stream_vector
from tests.vectors.values import (
    BTC,
    EPOCH_NS,
    HEADER,
    LIFE,
    OPENING,
    ROWS_HEADER,
    ROWS_OPENING,
    START,
    Frames,
    Piece,
    Vector,
    block,
    body_of,
    book,
    end,
    features,
    gap,
    header,
    heartbeat,
    hole,
    instruments,
    loss,
    next_orders,
    next_quote,
    next_row,
    next_trade,
    next_update,
    opening_bodies,
    orders,
    quotes,
    row,
    said,
    status,
)

UNKNOWN = "frames of an unknown kind after the header and its instruments"
RUNS = "frames of an unknown kind from 0x10 to 0x1F, whose numbers are counted"
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
        *_updates(),
        *_features(),
    ]


def skipped(body: bytes) -> Piece:
    return sealed(body), {"event": "skipped", "kind": body[0]}


def _unknown_kinds() -> list[Vector]:
    kinds = (0x00, 0x0F, 0x26, 0x2F, 0x53, 0x7F, 0x80, 0xFF)
    longest = b"\x7f" + bytes(_PAYLOAD_MOST - 1 - _CRC_BYTES)
    return [
        vector(
            "frames of unknown kinds",
            UNKNOWN,
            *OPENING,
            *(skipped(bytes([kind])) for kind in kinds),
            skipped(b"START"),
            said(block(1_001, next_trade())),
            skipped(b"\x26with a body"),
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
        vector(
            "records of unknown kinds",
            RUNS,
            *OPENING,
            _run(0x15, 1_001, 3),
            said(block(1_004, next_trade())),
            _run(0x1F, 1_005, 65_535, b"and records"),
            said(heartbeat(66_540)),
            due=66_540,
        ),
        vector(
            "records of an unknown kind, and a hole before them",
            RUNS,
            *OPENING,
            hole(1_001, 1_009),
            _run(0x1E, 1_010, 1),
            due=1_011,
        ),
        vector(
            "a snapshot of an unknown kind",
            SNAPSHOTS,
            *OPENING,
            skipped(_run_body(0x1E, 5, 7, flags=2)),
            said(block(1_001, next_trade())),
            due=1_002,
        ),
        vector("the longest payload", UNKNOWN, *OPENING, skipped(longest), due=1_001),
    ]


def _run_body(kind: int, seq: int, count: int, more: bytes = b"", *, flags: int = 0) -> bytes:
    """What frames of records begin with, whatever their kind."""
    return bytes((kind, flags, 0)) + uint(count, 2) + uint(seq, 8) + more


def _run(kind: int, seq: int, count: int, more: bytes = b"") -> Piece:
    numbers = {"first_seq": seq, "last_seq": seq + count - 1}
    skipping = {"event": "skipped", "kind": kind, **numbers}
    return sealed(_run_body(kind, seq, count, more)), skipping


def _longer_bodies() -> list[Vector]:
    values = (
        block(1_001, next_trade()),
        status(1_002),
        gap(1_003),
        loss(1_004, 1_005),
        heartbeat(1_006),
        instruments(0, BTC),
        header(next_seq=1_006),
        end(1_005),
    )
    entries = [short(entry(each) + MORE_BYTES) for each in HEADER["instruments"]]
    announced = sealed(header_body(HEADER))
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
            "more in each entry of INSTRUMENTS",
            ENTRY,
            START,
            (Frames(announced + sealed(run_body(entries))), HEADER),
            said(block(1_001, next_trade())),
            due=1_002,
        ),
        vector(
            "an entry of 255 bytes",
            ENTRY,
            START,
            (Frames(sealed(header_body(alone)) + sealed(run_body([short(full)]))), alone),
            due=1_001,
        ),
    ]


def _longer(values: tuple[Value, ...], more: bytes) -> list[Piece]:
    return [_longer_frame(value, more) for value in (HEADER, *values)]


def _longer_frame(value: Value, more: bytes) -> Piece:
    if value["event"] == "header":
        return Frames(b"".join(sealed(each + more) for each in opening_bodies(value))), value
    return sealed(body_of(value) + more), value


def _reserved() -> list[Vector]:
    body, listing = bytearray(header_body(HEADER)), bytearray(instruments_body([BTC, LIFE]))
    body[1] = listing[1] = 0xFF
    data = bytearray(header_body(HEADER))
    data[37] |= 0xE0
    both_bytes = Frames(sealed(body) + sealed(listing)), HEADER
    data_bits = Frames(sealed(data) + sealed(instruments_body([BTC, LIFE]))), HEADER
    one, both = block(1_001, next_trade()), block(1_001, next_trade(), back_filled=True)
    seen = block(1_001, next_trade(), back_filled=True, snapshot=True, received_ns=7)
    return [
        vector(
            "reserved bytes of a header and INSTRUMENTS", RESERVED, START, both_bytes, due=1_001
        ),
        vector("unknown kinds of data", RESERVED, START, data_bits, due=1_001),
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
        "a STATUS": (status(1_001, state="OTHER"), 11),
        "a GAP": (gap(1_001, state="OTHER"), 11),
        "a LOSS": (loss(1_001, 1_001, "OTHER"), 17),
        "an END": (end(1_000, reason="OTHER"), 9),
    }
    dues = {"an END": 1_001}
    ordinary = block(1_001, next_trade(kind="OTHER"), next_trade(1, kind="OTHER"))
    escaped = block(1_001, next_trade(), next_trade(1, kind="OTHER"))
    at_escape = block_body(escaped, HEADER).index(b"\x40\xff")
    odd = instruments(0, BTC | {"type": "OTHER"})
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
        vector(
            "an unknown type of an instrument",
            CODE,
            *OPENING,
            _coded(odd, 6 + 1 + len(entry(odd["instruments"][0])) - 10),
            due=1_001,
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


def _updates() -> list[Vector]:
    """Blocks of quotes and of book updates from a newer service."""
    values = (
        quotes(1_001, next_quote(), next_quote(1)),
        book(1_001, next_update(more=True), next_update(1)),
        orders(1_001, next_orders(more=True), next_orders(1)),
    )
    pictures = [each | {"snapshot": True, "back_filled": True} for each in values]
    return [
        each
        for value in values
        for each in (
            vector(
                f"{value['event']}: more in each frame",
                MORE,
                *OPENING,
                _longer_frame(value, MORE_BYTES),
                due=1_003,
            ),
            vector(
                f"{value['event']}: reserved flags of a block, and a reserved byte",
                RESERVED,
                *OPENING,
                _changed(value, {1: 0xFC, 2: 0xFF}),
                due=1_003,
            ),
            vector(
                f"{value['event']}: reserved bits of a head",
                RESERVED,
                *OPENING,
                _changed(value, {HEAD_AT: 0xC0 if value["event"] == "quotes" else 0x80}),
                due=1_003,
            ),
        )
    ] + [
        *(
            vector(
                f"{value['event']}: reserved flags of an update",
                RESERVED,
                *OPENING,
                _changed(value, {HEAD_AT + 1: 0xF8}),
                due=1_003,
            )
            for value in values[1:]
        ),
        *(
            vector(
                f"{value['event']}: flags of an update of which none is known: {flags:#04x}",
                RESERVED,
                *OPENING,
                _with_flags(value, flags),
                due=1_002,
            )
            for value in (book(1_001, next_update()), orders(1_001, next_orders()))
            for flags in (0x00, 0xF8)
        ),
        vector(
            "snapshots of updates with both flags",
            SNAPSHOTS,
            *OPENING,
            *(
                said(each | {name: [{**record, "seq": None} for record in each[name]]})
                for each in pictures
                for name in ("quotes", "updates")
                if name in each
            ),
            due=1_001,
        ),
    ]


def _features() -> list[Vector]:
    """Rows of features from a newer service."""
    rows = features(1_001, next_row(), next_row(1))
    unknown = features(1_001, row(1_791_382_992_840_000_000, "OTHER", "OTHER", "LOST"))
    at_codes = len(body_of(unknown)) - 3
    both = features(1_001, next_row(), snapshot=True, back_filled=True)
    return [
        vector("features: more in each frame", MORE, START, *_longer_rows(rows), due=1_003),
        vector(
            "features: reserved flags of a block, and a reserved byte",
            RESERVED,
            *ROWS_OPENING,
            _changed(rows, {1: 0xFC, 2: 0xFF}),
            due=1_003,
        ),
        vector(
            "features: reserved bits of a head, and behind the last column",
            RESERVED,
            *ROWS_OPENING,
            _changed(rows, {HEAD_AT: 0xC0, HEAD_AT + 4: 0xF8}),
            due=1_003,
        ),
        vector(
            "features: reasons that nobody knows yet",
            CODE,
            *ROWS_OPENING,
            _recoded(unknown, {at_codes: 10, at_codes + 1: 254}),
            due=1_002,
        ),
        vector(
            "features: a snapshot with both flags", SNAPSHOTS, *ROWS_OPENING, said(both), due=1_001
        ),
    ]


def _longer_rows(rows: Value) -> list[Piece]:
    return [_longer_frame(ROWS_HEADER, MORE_BYTES), _longer_frame(rows, MORE_BYTES)]


def _recoded(value: Value, codes: dict[int, int]) -> Piece:
    """With other codes, by their places."""
    body = bytearray(body_of(value))
    for at, code in codes.items():
        body[at] = code
    return sealed(body), value


HEAD_AT = 24
"""Where a block's first item begins: `held_ns` takes three bytes."""


def _changed(value: Value, bits: dict[int, int]) -> Piece:
    """With more bits set, by their places."""
    body = bytearray(body_of(value))
    for at, more in bits.items():
        body[at] |= more
    return sealed(body), value


def _with_flags(value: Value, flags: int) -> Piece:
    """The first update says its flags, though it has none that are known."""
    body = bytearray(body_of(value))
    body[HEAD_AT] |= FLAGGED
    body.insert(HEAD_AT + 1, flags)
    return sealed(body), value


def _all_escaped(value: Value) -> bytes:
    """Each trade spells its kind, though it is the ordinary one."""
    body = bytearray(block_body(value, HEADER, ordinary=1))
    body[2] = 0
    return bytes(body)
