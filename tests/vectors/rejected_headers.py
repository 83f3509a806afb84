"""Headers and instruments out of order."""

from itertools import accumulate

from tests.vectors.rejected import (
    BAD_UTF8,
    CUT,
    LEFT_OUT,
    LIMIT,
    LIMIT_EXCEEDED,
    MALFORMED,
    REUSED,
    TABLE,
    TWICE,
    UNANNOUNCED,
    UTF8,
    after_opening,
    vector,
)
from tests.vectors.spelling import (
    entry,
    header_body,
    instruments_body,
    run_body,
    sealed,
    short,
    text,
    uint,
)
from tests.vectors.values import (
    BTC,
    HEADER,
    LIFE,
    MAX_SEQ,
    OPENING,
    START,
    Vector,
    header,
    instrument,
    raw,
    said,
)

ONE = header(BTC)


def rejected_headers() -> list[Vector]:
    return [
        *_headers(),
        *_header_texts(),
        *_cut_headers(),
        *_instruments(),
        *_runs(),
        *_instrument_texts(),
        *_cut_instruments(),
    ]


def _header(name: str, rule: str, body: bytes, error: str = MALFORMED) -> Vector:
    return vector(name, rule, error, START, raw(sealed(body)))


def _of_one(name: str, rule: str, body: bytes, error: str = MALFORMED) -> Vector:
    """INSTRUMENTS behind a header that announces one."""
    opened = raw(sealed(header_body(ONE)))
    return vector(name, rule, error, START, opened, raw(sealed(body)))


def _headers() -> list[Vector]:
    numbers = {"0": 0, "2^63": MAX_SEQ + 1, "2^64 - 1": 2**64 - 1}
    counts = {"1,025": 1_025, "65,535": 65_535}
    return [
        *(
            _header(f"a header's next_seq of {name}", LIMIT, header_body(header(next_seq=each)))
            for name, each in numbers.items()
        ),
        *(
            _header(f"{name} instruments", LIMIT, header_body(ONE, count=each), LIMIT_EXCEEDED)
            for name, each in counts.items()
        ),
        _header("a venue of 33 bytes", LIMIT, header_body(header(venue="币" * 11))),
        _header("a channel of 33 bytes", LIMIT, header_body(header(channel="c" * 33))),
        _header("another channel of its own name", TABLE, header_body(header(channels=["perps"]))),
        _header("another channel twice", TABLE, header_body(header(channels=["a", "a"]))),
    ]


def _header_texts() -> list[Vector]:
    blanks = ("", " BTC", "BTC\n")
    channels = ("", "Perps", ".perps", "per ps", "perps\n", "é")
    in_place = header_body(HEADER | {"venue": ""})[:18] + short(b"\xff")
    return [
        *(_header(f"a venue {each!a}", TABLE, header_body(header(venue=each))) for each in blanks),
        *(
            _header(f"a channel {each!a}", TABLE, header_body(header(channel=each)))
            for each in channels
        ),
        _header("another channel 'A'", TABLE, header_body(header(channels=["A"]))),
        _header("a venue of a byte of no encoding", UTF8, in_place + header_body(HEADER)[31:]),
    ]


def _cut_headers() -> list[Vector]:
    widths = {"version": 1, "reserved byte": 1, "epoch_ns": 8, "next_seq": 8}
    widths |= {"venue's length": 1, "venue": 12, "channel's length": 1, "channel": 5, "data": 1}
    widths |= {"number of instruments": 2}
    ends = dict(zip(widths, accumulate(widths.values()), strict=True))
    body = header_body(header(channels=["spot"]))
    return [
        *(
            _header(f"a header that ends after its {name}", CUT, body[:at])
            for name, at in ends.items()
        ),
        _header("a header without its other channel", CUT, body[:-5]),
        _header("a header that ends within a channel", CUT, body[:-1]),
    ]


def _instruments() -> list[Vector]:
    fields = {
        "price exponent -19": BTC | {"price_exponent": -19},
        "price exponent 9": BTC | {"price_exponent": 9},
        "quantity exponent -19": BTC | {"quantity_exponent": -19},
        "quantity exponent 9": BTC | {"quantity_exponent": 9},
        "time exponent -10": BTC | {"time_exponent": -10},
        "time exponent 1": BTC | {"time_exponent": 1},
        "contract exponent -19": BTC | {"contract_exponent": -19},
        "contract exponent 9": BTC | {"contract_exponent": 9},
    }
    long_symbol, long_base = BTC | {"symbol": "x" * 65}, BTC | {"base": "x" * 33}
    twice = raw(sealed(instruments_body([BTC, BTC])))
    return [
        *(_of_one(name, TABLE, instruments_body([each])) for name, each in fields.items()),
        vector("a symbol twice", TWICE, MALFORMED, START, raw(sealed(header_body(HEADER))), twice),
        after_opening("a symbol again", TWICE, sealed(instruments_body([BTC], 2))),
        _of_one("a symbol of 65 bytes", LIMIT, instruments_body([long_symbol])),
        _of_one("a base of 33 bytes", LIMIT, instruments_body([long_base])),
    ]


def _runs() -> list[Vector]:
    third, opened = instrument("X"), raw(sealed(header_body(HEADER)))
    renewed = header(LIFE, BTC)
    return [
        _of_one("an instrument too many", UNANNOUNCED, instruments_body([BTC, LIFE])),
        _of_one("a run that begins at 1", UNANNOUNCED, instruments_body([BTC], 1)),
        vector(
            "an instrument again before all are there",
            UNANNOUNCED,
            MALFORMED,
            START,
            opened,
            raw(sealed(instruments_body([BTC]))),
            raw(sealed(instruments_body([BTC]))),
        ),
        after_opening("index 3 before index 2", LEFT_OUT, sealed(instruments_body([third], 3))),
        after_opening("another symbol at index 1", REUSED, sealed(instruments_body([third], 1))),
        vector(
            "a later header the other way round",
            REUSED,
            MALFORMED,
            *OPENING,
            raw(sealed(header_body(renewed))),
            raw(sealed(instruments_body(renewed["instruments"]))),
        ),
        vector(
            "another symbol at an index that a later header left out",
            REUSED,
            MALFORMED,
            *OPENING,
            said(header(BTC)),
            raw(sealed(instruments_body([third], 1))),
        ),
        *(
            after_opening(
                f"a run of {count:,} from index {first:,} on",
                LIMIT,
                sealed(run_body([short(entry(third))], first, count=count)),
                LIMIT_EXCEEDED,
            )
            for first, count in ((2, 0), (2, 1_023), (1_024, 1), (65_535, 1))
        ),
    ]


def _instrument_texts() -> list[Vector]:
    blanks = ("", " BTC", "BTC\n", "\0", "a\x7fb", "a\x80b", "a\u00a0b", "\x1b[31m")
    return [
        *(
            _of_one(f"a symbol {each!a}", TABLE, instruments_body([BTC | {"symbol": each}]))
            for each in blanks
        ),
        *(
            _of_one(f"a {name} with a blank", TABLE, instruments_body([BTC | {name: "a b"}]))
            for name in ("base", "quote")
        ),
        *(
            _of_one(f"a symbol of {name}", UTF8, run_body([short(_of_symbol(data))]))
            for name, data in BAD_UTF8.items()
        ),
    ]


def _of_symbol(symbol: bytes) -> bytes:
    return short(symbol) + entry(BTC)[len(text(BTC["symbol"])) :]


def _cut_instruments() -> list[Vector]:
    fields = entry(BTC)
    prefix = b"\x25\0" + uint(0, 2) + uint(1, 2)
    return [
        *(
            _of_one(f"INSTRUMENTS of {size} bytes and a CRC", CUT, (prefix + short(fields))[:size])
            for size in (1, 2, 4, 6, 7)
        ),
        _of_one("INSTRUMENTS that end within an entry", CUT, instruments_body([BTC])[:-1]),
        _of_one("INSTRUMENTS with one entry of two", CUT, run_body([short(fields)], count=2)),
        *(
            _of_one(f"an entry of {size} bytes", CUT, run_body([short(fields[:size])]))
            for size in (0, 8, 66, 67, 71, 76, len(fields) - 1)
        ),
        _of_one(
            "a last entry longer than the frame", CUT, prefix + bytes([len(fields) + 1]) + fields
        ),
        _of_one("a symbol longer than its entry", CUT, run_body([short(b"\x40BTCUSDT")])),
    ]
