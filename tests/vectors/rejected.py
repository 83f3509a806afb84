"""Streams out of order: what a reader has to refuse, each by the rule that it breaks.

The rules are phrases of WIRE.md, word for word. What is wrong with frames of
one kind stands in the files beside this one.
"""

from tests.vectors.spelling import (
    framed,
    sealed,
    uint,
)
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
    instruments,
    loss,
    next_trade,
    raw,
    said,
    status,
    stream,
)

LENGTH = "a length of 0 or over 65,536"
CRC = "a wrong CRC"
CUT = "a payload that is cut short"
FIRST = "a first frame that is not START"
SECOND = "a second that is not a header of version 2"
START_AGAIN = "a START later on"
AFTER_END = "anything after END"
LIMIT = "a value outside the limits of section 8"
TABLE = "outside those its field's table names"
UTF8 = "text that is not UTF-8"
VARINT = "a varint that is longer than it needs to be or than 64 bits"
INDEX = "an index that is not in the header"
RANGE = "a range whose first is after its last"
TWICE = "a symbol that stands twice in a header"
LONG_INDEX = "an index that is spelled longer than it needs to be"
BETWEEN = "any other frame between a header and its instruments"
UNANNOUNCED = "instruments that do not follow on those before, or that the header did not announce"
LEFT_OUT = "a run of instruments that leaves an index out"
REUSED = "another symbol at an index that has had one in this epoch"
OTHER_EPOCH = "a header with another `epoch_ns`"
OTHER_COLUMNS = "or other columns"
NO_COLUMNS = "a block of rows in a channel without columns"
AGAIN = "a sequence number before the one that is due"

MALFORMED = "MalformedError"
CHECKSUM = "ChecksumError"
LIMIT_EXCEEDED = "LimitExceededError"
UNEXPECTED = "UnexpectedFrameError"

BAD_UTF8 = {
    "a lone continuation byte": b"\x80",
    "a character cut short": "币".encode()[:2],
    "an overlong slash": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "a code point over U+10FFFF": b"\xf4\x90\x80\x80",
    "a byte of no encoding": b"\xff",
}


def vector(name: str, rule: str, error: str, *pieces: Piece) -> Vector:
    """A stream whose last frame is refused; what came before it is good."""
    members = {**stream(*pieces), "rule": rule, "error": error}
    return Vector(name=name, about=f"Reject: {rule}.", members=members)


def after_opening(name: str, rule: str, frame: bytes, error: str = MALFORMED) -> Vector:
    return vector(name, rule, error, *OPENING, raw(frame))


def rejected() -> list[Vector]:
    return [
        *_lengths(),
        *_checksums(),
        *_phases(),
        *_between(),
        *_numbering(),
        *_unknown_runs(),
    ]


def _lengths() -> list[Vector]:
    named = {"zero": 0, "one over the limit": 65_537, "all bits set": 2**32 - 1}
    at_once = [
        vector(f"a first length of {name}", LENGTH, LIMIT_EXCEEDED, raw(uint(length, 4)))
        for name, length in named.items()
    ]
    later = [
        after_opening(f"a later length of {name}", LENGTH, uint(length, 4), LIMIT_EXCEEDED)
        for name, length in named.items()
    ]
    http = raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    return [*at_once, *later, vector("an answer over HTTP", LENGTH, LIMIT_EXCEEDED, http)]


def _checksums() -> list[Vector]:
    frames = {
        "header": header() | {"instruments": []},
        "INSTRUMENTS": instruments(0, BTC),
        "block": block(1_001, next_trade()),
        "status": status(1_001),
        "gap": gap(1_001),
        "loss": loss(1_001, 1_002),
        "heartbeat": heartbeat(1_001),
        "end": end(1_000),
    }
    whole = {name: bytes(said(value)[0]) for name, value in frames.items()}
    whole["frame of unknown kind"] = sealed(b"\x7fnews")
    return [
        vector("a damaged first header", CRC, CHECKSUM, START, raw(_damaged(whole["header"]))),
        *(
            after_opening(f"a damaged {name}", CRC, _damaged(frame), CHECKSUM)
            for name, frame in whole.items()
        ),
        after_opening("a CRC of zero", CRC, whole["end"][:-4] + bytes(4), CHECKSUM),
        after_opening(
            "a CRC with its bytes turned round",
            CRC,
            whole["end"][:-4] + whole["end"][:-5:-1],
            CHECKSUM,
        ),
        after_opening("a kind without a CRC", CUT, framed(b"\x23")),
        after_opening("a CRC without a kind", CUT, framed(bytes(4))),
    ]


def _damaged(frame: bytes) -> bytes:
    """With one bit of its last field turned."""
    return frame[:-5] + bytes([frame[-5] ^ 1]) + frame[-4:]


def _phases() -> list[Vector]:
    ended = said(end(1_000))
    greeting = START[0]
    late = {
        "heartbeat": said(heartbeat(1_001))[0],
        "header": sealed(body_of(HEADER)),
        "second END": ended[0],
        "frame of unknown kind": sealed(b"\x7fnews"),
        "START": greeting,
        "INSTRUMENTS": said(instruments(0, BTC))[0],
    }
    firsts = {
        "a header first": sealed(body_of(HEADER)),
        "a heartbeat first": late["heartbeat"],
        "START with a byte more": framed(b"START\0"),
        "START in small letters": framed(b"start"),
    }
    seconds = {
        "START twice": greeting,
        "a block before the header": said(block(1_001, next_trade()))[0],
        "an END before the header": ended[0],
        "INSTRUMENTS before the header": late["INSTRUMENTS"],
        "an unknown kind before the header": late["frame of unknown kind"],
    }
    others = {
        f"a header of wire {kind}": bytes([kind]) + body_of(HEADER)[1:] for kind in (1, 3, 15)
    }
    return [
        *(vector(name, FIRST, UNEXPECTED, raw(frame)) for name, frame in firsts.items()),
        *(vector(name, SECOND, UNEXPECTED, START, raw(each)) for name, each in seconds.items()),
        *(vector(name, SECOND, MALFORMED, START, raw(sealed(x))) for name, x in others.items()),
        vector(
            "a header of wire 1, which has no CRC",
            SECOND,
            MALFORMED,
            START,
            raw(framed(b"\x01\x01\x07BTCUSDT" + bytes(24))),
        ),
        after_opening("START in mid-stream", START_AGAIN, greeting, UNEXPECTED),
        *(
            vector(f"a {name} after END", AFTER_END, UNEXPECTED, *OPENING, ended, raw(frame))
            for name, frame in late.items()
        ),
    ]


def _between() -> list[Vector]:
    bare = raw(sealed(body_of(HEADER)))
    frames = {
        "a block": said(block(1_001, next_trade()))[0],
        "a heartbeat": said(heartbeat(1_001))[0],
        "an END": said(end(1_000))[0],
        "a header": bare[0],
        "START": START[0],
        "an unknown kind": sealed(b"\x7fnews"),
    }
    return [
        *(
            vector(f"{name} before the instruments", BETWEEN, UNEXPECTED, START, bare, raw(frame))
            for name, frame in frames.items()
        ),
        vector(
            "a block before the instruments of a later header",
            BETWEEN,
            UNEXPECTED,
            *OPENING,
            bare,
            raw(frames["a block"]),
        ),
    ]


def _numbering() -> list[Vector]:
    came = said(block(1_001, next_trade(), next_trade(1)))
    again = {
        "block": block(1_002, next_trade(2)),
        "STATUS": status(1_002),
        "GAP": gap(1_002),
        "LOSS": loss(1_002, 2_000),
        "HEARTBEAT": heartbeat(1_002),
        "END": end(1_001),
        "header": header(next_seq=1_002) | {"instruments": []},
    }
    other = header(epoch_ns=EPOCH_NS + 1) | {"instruments": []}
    return [
        *(
            vector(f"a number again: {name}", AGAIN, MALFORMED, *OPENING, came, raw(said(value)[0]))
            for name, value in again.items()
        ),
        vector(
            "another epoch in mid-stream", OTHER_EPOCH, MALFORMED, *OPENING, raw(said(other)[0])
        ),
    ]


def _unknown_runs() -> list[Vector]:
    def run(seq: int, count: int) -> bytes:
        return sealed(b"\x1a\0\0" + uint(count, 2) + uint(seq, 8))

    return [
        after_opening("records of an unknown kind, again", AGAIN, run(1_000, 1)),
        after_opening("no records of an unknown kind", LIMIT, run(1_001, 0)),
        after_opening("an unknown kind from number 0", LIMIT, run(0, 1)),
        after_opening("an unknown kind past the last number", LIMIT, run(2**63 - 1, 2)),
        after_opening("an unknown kind without a number", CUT, sealed(b"\x1a" + bytes(11))),
    ]
