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
    instruments,
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
    widest = [instrument(f"{place:03}" + "币" * 20 + "x", (8, -18, -9)) for place in range(40)]
    most = [instrument(f"{place}", (0, 0, 0)) for place in range(1_024)]
    edges = (
        instrument(
            "LOW",
            (-18, -18, -9),
            (I64_MIN, 0, 0, 0),
            type="SPOT",
            contract_mantissa=I64_MIN,
            contract_exponent=-18,
        ),
        instrument(
            "HIGH",
            (8, 8, 0),
            (I64_MAX, U64_MAX, U64_MAX, U64_MAX),
            update_id=U64_MAX,
            tick=U64_MAX,
            lot=U64_MAX,
            base="币" * 10 + "xx",
            quote="q" * 32,
            type="OPTION",
            contract_mantissa=I64_MAX,
            contract_exponent=8,
        ),
        instrument("A", type="INVERSE_PERPETUAL"),
        instrument("B", type="FUTURE"),
        instrument("C", type="INVERSE_FUTURE"),
    )
    named = {"channel": "a", "channels": [f"{place:03}" + "c" * 29 for place in range(255)]}
    at_zero = header(epoch_ns=0, next_seq=1)
    at_most = header(*edges, epoch_ns=U64_MAX, next_seq=MAX_SEQ, venue="v" * 32, data=15)
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
            "symbols of 64 bytes",
            "As long as they may be.",
            START,
            said(header(*widest)),
            due=1_001,
        ),
        vector(
            "1,024 instruments",
            "As many as a channel may have. They come in several frames.",
            START,
            said(header(*most)),
            due=1_001,
        ),
        vector(
            "no instruments",
            "The listing is not known yet, or all of it comes in mid-stream.",
            START,
            said(header() | {"instruments": []}),
            said(instruments(0, BTC)),
            said(block(1_001, next_trade())),
            due=1_002,
        ),
        vector(
            "channels",
            "The names of 255 other channels.",
            START,
            said(header(**named)),
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
    third = instrument("ETHUSDT", reference=(5, 5, 5, 5))
    grown = header(BTC, LIFE, third)
    more = header(finer, LIFE, third)
    of_third = trade(6, 6, 6, 6, index=2)
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
            "an instrument that is added",
            "INSTRUMENTS in mid-stream: index 2 is known from the next frame on.",
            *OPENING,
            before,
            said(instruments(2, third)),
            said(block(1_002, of_third, of=grown), grown),
            due=1_003,
        ),
        vector(
            "instruments that are changed and added at once",
            "The second run changes index 0; its units and references count from there on.",
            *OPENING,
            before,
            said(instruments(1, LIFE, third)),
            said(instruments(0, finer)),
            said(block(1_002, fine, of_third | {"trade_id": 9}, of=more), more),
            due=1_004,
        ),
        vector(
            "back to a header with less, and on",
            "An older header has an instrument less, which comes again at its index.",
            *OPENING,
            said(instruments(2, third)),
            said(header(BTC, LIFE)),
            said(instruments(2, third)),
            said(block(1_001, of_third, of=grown), grown),
            due=1_002,
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
