"""Packets: whole datagrams, and what is wrong with those that a reader skips."""

from typing import Any
from zlib import crc32

from tests.vectors.rejected import MALFORMED
from tests.vectors.spelling import Value, entry, framed, sealed, uint
from tests.vectors.values import (
    EPOCH_NS,
    HEADER,
    MAX_SEQ,
    U64_MAX,
    Vector,
    block,
    book,
    end,
    frames_of,
    gap,
    header,
    heartbeat,
    instruments,
    loss,
    next_quote,
    next_trade,
    next_update,
    quotes,
    said,
    status,
)

CHECKSUM = "ChecksumError"
CUT = "CutShortError"
LIMIT = "LimitExceededError"
NO_PACKET = "NotAPacketError"

FLAGS = {"heartbeat": 1, "end": 2, "snapshot": 4, "last": 8}

SENT_NS = 1_791_382_992_840_223_456

CRC_AT = 44
SYMBOL_TO_LOT = 1 + 59
"""Bytes of an entry up to `lot`, without those of the symbol."""


def listing(instruments: list[Value]) -> int:
    """The checksum of a header's instruments."""
    total = 0
    for index, each in enumerate(instruments):
        size = SYMBOL_TO_LOT + len(each["symbol"].encode())
        total += crc32(uint(index, 2) + entry(each)[:size])
    return total % 2**32


LISTING = listing(HEADER["instruments"])

FIELDS: Value = {
    "flags": [],
    "channel": 0,
    "line": 0,
    "listing": LISTING,
    "epoch_ns": EPOCH_NS,
    "next_seq": 1_001,
    "sent_ns": SENT_NS,
    "number": 4_207,
}


def datagram(
    frames: list[bytes],
    fields: Value,
    *,
    magic: bytes = b"fanP",
    version: int = 2,
    more_flags: int = 0,
    reserved: int = 0,
    count: int | None = None,
) -> bytes:
    """A packet. `count` is that of the frames, unless it is another one."""
    flags = sum(FLAGS[each] for each in fields["flags"]) | more_flags
    head = magic + uint(version, 1) + uint(flags, 1) + uint(fields["channel"], 2)
    head += uint(fields["line"], 1) + uint(reserved, 1)
    head += uint(len(frames) if count is None else count, 2) + uint(fields["listing"], 4)
    head += uint(fields["epoch_ns"], 8) + uint(fields["next_seq"], 8)
    head += uint(fields["sent_ns"], 8) + uint(fields["number"], 4)
    return head + uint(crc32(head), 4) + b"".join(frames)


def _spelled(values: tuple[Value | bytes, ...]) -> list[bytes]:
    """Frames by themselves, those of a header and of its instruments included."""
    frames = []
    for each in values:
        frames += [each] if isinstance(each, bytes) else frames_of(said(each)[0])
    return frames


UNKNOWN = sealed(b"\x30new")
UNKNOWN_RECORDS = sealed(b"\x1e\0\0\3\0" + uint(1_001, 8) + b"new")


def packets() -> list[Vector]:
    trades = block(1_001, next_trade(), next_trade(1))
    latest = {"snapshot": True, "received_ns": 0}
    limits = {"epoch_ns": U64_MAX, "sent_ns": U64_MAX, "number": 2**32 - 1, "channel": 65_535}
    return [
        _packet("a block", "The usual packet.", trades, stop_seq=1_003),
        _packet(
            "several frames",
            "They follow each other without a hole, a LOSS included.",
            trades,
            quotes(1_003, next_quote()),
            status(1_004),
            gap(1_005),
            loss(1_006, 1_009),
            book(1_010, next_update()),
            stop_seq=1_011,
            line=1,
        ),
        _packet(
            "a heartbeat",
            "It takes no number.",
            heartbeat(1_001),
            stop_seq=1_001,
            flags=["heartbeat"],
        ),
        _packet("an end", "END says the last number.", end(1_000), stop_seq=1_001, flags=["end"]),
        _packet(
            "instruments",
            "Those that change come alone, and with the listing from before them.",
            instruments(0, HEADER["instruments"][0] | {"lot": 2}),
            stop_seq=1_001,
        ),
        _packet(
            "the beginning of a snapshot",
            "A header and its instruments.",
            HEADER,
            stop_seq=1_001,
            flags=["snapshot"],
        ),
        _packet(
            "the end of a snapshot",
            "Blocks flagged snapshot, which take no numbers.",
            block(1_001, next_trade(), **latest),
            quotes(1_001, next_quote(), **latest),
            book(1_001, next_update(whole=True), **latest),
            stop_seq=1_001,
            flags=["snapshot", "last"],
        ),
        _packet(
            "a snapshot's block among records",
            "A service that replays a journal sends it at its place, and not flagged.",
            status(1_001),
            quotes(1_002, next_quote(), **latest),
            trades | {"first_seq": 1_002},
            stop_seq=1_004,
        ),
        _packet(
            "no instruments",
            "Their listing is 0.",
            header() | {"instruments": []},
            stop_seq=1_001,
            flags=["snapshot", "last"],
            listing=0,
        ),
        _packet(
            "limits",
            "Each field at its limit.",
            status(MAX_SEQ),
            stop_seq=MAX_SEQ + 1,
            next_seq=MAX_SEQ,
            **limits,
        ),
        _packet(
            "reserved flags and a reserved byte",
            "They are written 0 and ignored.",
            trades,
            stop_seq=1_003,
            spelled={"more_flags": 0xF0, "reserved": 0xFF},
        ),
        _packet(
            "frames of unknown kinds",
            "Those from 0x10 to 0x1F take numbers.",
            UNKNOWN_RECORDS,
            UNKNOWN,
            status(1_004),
            stop_seq=1_005,
        ),
    ]


def _packet(
    name: str,
    about: str,
    *values: Value | bytes,
    stop_seq: int,
    spelled: Value | None = None,
    **changed: Any,
) -> Vector:
    fields, frames = FIELDS | changed, _spelled(values)
    made = datagram(frames, fields, **(spelled or {}))
    members = {"packet": made.hex(), **fields, "stop_seq": stop_seq}
    members["frames"] = [each.hex() for each in frames]
    return Vector(name=name, about=about, members=members)


def rejected_packets() -> list[Vector]:
    trades = _spelled((block(1_001, next_trade(), next_trade(1)),))
    right = datagram(trades, FIELDS)
    over = FIELDS | {"next_seq": MAX_SEQ + 1}
    snapshot, ending = FIELDS | {"flags": ["snapshot"]}, FIELDS | {"flags": ["end"]}
    unflagged = "END in a packet that is not flagged *end*"
    change = _spelled((instruments(0, HEADER["instruments"][0]),))
    magic, cut = "another magic or version", "a packet that ends before its last frame"
    turn = "a frame that does not take the number that is due"
    alone, inside = (
        "INSTRUMENTS beside other frames, outside a snapshot",
        "records, HEARTBEAT or END in a snapshot",
    )
    outside = "a header or START outside a snapshot"
    crc, ruled = "a wrong CRC, of the packet or of a frame", "a frame that section 1 rejects"
    return [
        _rejected("another magic", magic, datagram(trades, FIELDS, magic=b"fanp"), NO_PACKET),
        _rejected("version 3", magic, datagram(trades, FIELDS, version=3), NO_PACKET),
        _rejected("a connection", magic, framed(b"START"), NO_PACKET),
        _rejected("no bytes at all", magic, b"", NO_PACKET),
        _rejected("47 bytes", cut, right[:47], CUT),
        _rejected("the magic alone", cut, right[:4], CUT),
        _rejected("without its frames", cut, right[:48], CUT),
        _rejected("within a frame's length", cut, right[:51], CUT),
        _rejected("within a frame", cut, right[:-1], CUT),
        _rejected("a frame too few", cut, datagram(trades, FIELDS, count=2), CUT),
        _rejected("a frame too many", "or after it", datagram(trades * 2, FIELDS, count=1)),
        _rejected("a byte too many", "or after it", right + b"\0"),
        _rejected("a flipped bit of a field", crc, _flipped(right, 40), CHECKSUM),
        _rejected("a flipped bit of the CRC", crc, _flipped(right, CRC_AT), CHECKSUM),
        _rejected("a flipped bit of a frame", crc, _flipped(right, -9), CHECKSUM),
        _rejected("no frames", "a count of 0", datagram([], FIELDS), LIMIT),
        _rejected("line 2", "a `line` over 1", datagram(trades, FIELDS | {"line": 2}), LIMIT),
        _rejected("a frame of no bytes", ruled, datagram([bytes(4)], FIELDS), LIMIT),
        _rejected("number 0", "a number outside section 8", _at(0, trades), LIMIT),
        _rejected("number 2^63", "a number outside section 8", datagram(trades, over), LIMIT),
        _rejected("records before those due", turn, _at(1_002, trades)),
        _rejected("records after those due", turn, _at(1_000, trades)),
        _rejected("the same records twice", turn, datagram(trades * 2, FIELDS)),
        _rejected("a heartbeat's number", turn, _one(heartbeat(1_002))),
        _rejected("an end's number", turn, datagram(_spelled((end(1_001),)), ending)),
        _rejected("an end without the flag", unflagged, _one(end(1_000))),
        _rejected("a loss that is no range", ruled, _one(loss(1_001, 1_000))),
        _rejected("a header", outside, datagram(_spelled((header(),)), FIELDS)),
        _rejected("START", outside, datagram([framed(b"START")], FIELDS), CHECKSUM),
        _rejected("records in a snapshot", inside, datagram(trades, snapshot)),
        _rejected(
            "a heartbeat in a snapshot", inside, datagram(_spelled((heartbeat(1_001),)), snapshot)
        ),
        _rejected("an end in a snapshot", inside, datagram(_spelled((end(1_000),)), snapshot)),
        _rejected("instruments and records", alone, datagram(change + trades, FIELDS)),
        _rejected("instruments behind records", alone, datagram(trades + change, FIELDS)),
    ]


def _at(next_seq: int, frames: list[bytes]) -> bytes:
    return datagram(frames, FIELDS | {"next_seq": next_seq})


def _one(value: Value) -> bytes:
    return datagram(_spelled((value,)), FIELDS)


def _flipped(data: bytes, place: int) -> bytes:
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _rejected(name: str, rule: str, data: bytes, error: str = MALFORMED) -> Vector:
    members = {"packet": data.hex(), "rule": rule, "error": error}
    return Vector(name=name, about=f"Skip the packet: {rule}.", members=members)


def listings() -> list[Vector]:
    """Headers with the checksum of their instruments."""
    changed = [*HEADER["instruments"]]
    changed[1] = changed[1] | {"lot": 5}
    same = [each | {"base": "X", "contract_exponent": 1} for each in HEADER["instruments"]]
    return [
        _listing("two instruments", "Their order counts, by the index.", HEADER),
        _listing("another lot", "So does each field up to `lot`.", header(*changed)),
        _listing("another base", "What stands behind `lot` does not count.", header(*same)),
        _listing("no instruments", "A sum of nothing.", header() | {"instruments": []}),
    ]


def _listing(name: str, about: str, value: Value) -> Vector:
    frames = [each.hex() for each in frames_of(said(value)[0])]
    members = {"frames": frames, "listing": listing(value["instruments"])}
    return Vector(name=name, about=about, members=members)
