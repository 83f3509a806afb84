"""Streams in order: what a service may send, at every limit. Here, headers."""

from tests.vectors.spelling import Value
from tests.vectors.values import (
    BTC,
    I64_MAX,
    I64_MIN,
    LIFE,
    MAX_SEQ,
    OPENING,
    START,
    U64_MAX,
    Piece,
    Vector,
    block,
    header,
    hole,
    instrument,
    next_trade,
    said,
    stream,
    trade,
)


def vector(name: str, about: str, *pieces: Piece, due: int, ask: Value | None = None) -> Vector:
    """A stream whose reader waits for the number `due` at its end."""
    asked = {} if ask is None else {"ask": ask}
    return Vector(name=name, about=about, members={**asked, **stream(*pieces), "due": due})


def valid_headers() -> list[Vector]:
    return [*_headers(), *_later_headers()]


def _headers() -> list[Vector]:
    widest = [instrument(f"{place:03}" + "币" * 20 + "x", (8, -18, -9)) for place in range(127)]
    edges = (
        instrument("LOW", (-18, -18, -9), (I64_MIN, 0, 0, 0)),
        instrument("HIGH", (8, 8, 0), (I64_MAX, U64_MAX, U64_MAX, U64_MAX)),
    )
    at_zero = header(epoch_ns=0, next_seq=1)
    at_most = header(*edges, epoch_ns=U64_MAX, next_seq=MAX_SEQ, venue="v" * 32)
    first = header(next_seq=1)
    return [
        vector("a header and nothing else", "A service that is quiet.", *OPENING, due=1_001),
        vector("the first number", "Numbers begin with 1.", START, said(first), due=1),
        vector("an epoch of zero", "All 64 bits are free.", START, said(at_zero), due=1),
        vector(
            "every field at its limit",
            "Exponents, references, the epoch, the number that is due, the venue's length.",
            START,
            said(at_most),
            due=MAX_SEQ,
        ),
        vector(
            "127 instruments of 64 bytes",
            "As many as a header has room for, with symbols as long as they may be.",
            START,
            said(header(*widest)),
            due=1_001,
        ),
        vector(
            "symbols that only differ in their bytes",
            "Symbols are compared as they stand: nothing is normalised, and U+FEFF is not dropped.",
            START,
            said(header(*map(instrument, ("é", "e\u0301", "\ufeffé", "É", "😀")))),
            due=1_001,
        ),
    ]


def _later_headers() -> list[Vector]:
    finer = instrument("BTCUSDT", (-4, -6, -6), (830_845_000, 1, 8_153_634_400, 1_791_382_992_338))
    renewed = header(finer, next_seq=1_002)
    turned = header(LIFE, BTC, next_seq=1_002)
    of_life = trade(52_001, 1_791_382_990_001, 12_346, 5)
    fine = trade(8_153_634_401, 1_791_382_992_340, 830_845_001, 7)
    same = header(next_seq=1_002)
    before = said(block(1_001, next_trade()))
    return [
        vector(
            "a header again, with other units",
            "From the next frame on it counts: references, exponents, and one instrument less.",
            *OPENING,
            before,
            said(renewed),
            said(block(1_002, fine, of=renewed), renewed),
            due=1_003,
        ),
        vector(
            "a header again, the other way round",
            "Index 0 is another instrument after it.",
            *OPENING,
            before,
            said(turned),
            said(block(1_002, of_life, of=turned), turned),
            due=1_003,
        ),
        vector("a header twice", "It may say the same.", *OPENING, before, said(same), due=1_002),
        vector(
            "a header that shows a loss",
            "Its next_seq is further on than the number that is due.",
            *OPENING,
            before,
            hole(1_002, 1_009),
            said(header(next_seq=1_010)),
            due=1_010,
        ),
    ]
