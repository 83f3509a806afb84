"""Headers out of order."""

from itertools import accumulate

from tests.vectors.rejected import (
    BAD_UTF8,
    CUT,
    LIMIT,
    LIMIT_EXCEEDED,
    MALFORMED,
    TABLE,
    TWICE,
    UTF8,
    vector,
)
from tests.vectors.spelling import entry, header_body, header_prefix, sealed, short, text
from tests.vectors.values import BTC, HEADER, MAX_SEQ, START, Vector, header, raw


def rejected_headers() -> list[Vector]:
    return [*_first_headers(), *_header_texts(), *_cut_headers()]


def _first_headers() -> list[Vector]:
    long_symbol, long_venue = BTC | {"symbol": "x" * 65}, "币" * 11
    fields = {
        "price exponent -19": BTC | {"price_exponent": -19},
        "price exponent 9": BTC | {"price_exponent": 9},
        "quantity exponent -19": BTC | {"quantity_exponent": -19},
        "quantity exponent 9": BTC | {"quantity_exponent": 9},
        "time exponent -10": BTC | {"time_exponent": -10},
        "time exponent 1": BTC | {"time_exponent": 1},
    }
    numbers = {"0": 0, "2^63": MAX_SEQ + 1, "2^64 - 1": 2**64 - 1}
    many = [BTC | {"symbol": f"S{place}"} for place in range(128)]
    return [
        *(_header(name, TABLE, header_body(header(each))) for name, each in fields.items()),
        *(
            _header(f"a header's next_seq of {name}", LIMIT, header_body(header(next_seq=each)))
            for name, each in numbers.items()
        ),
        _header(
            "no instruments", TABLE, header_prefix(HEADER | {"instruments": []}), LIMIT_EXCEEDED
        ),
        _header("128 instruments", LIMIT, header_body(header(*many)), LIMIT_EXCEEDED),
        _header("a symbol twice", TWICE, header_body(header(BTC, BTC))),
        _header("a symbol of 65 bytes", LIMIT, header_body(header(long_symbol))),
        _header("a venue of 33 bytes", LIMIT, header_body(header(venue=long_venue))),
    ]


def _header(name: str, rule: str, body: bytes, error: str = MALFORMED) -> Vector:
    return vector(name, rule, error, START, raw(sealed(body)))


def _header_texts() -> list[Vector]:
    blanks = ("", " BTC", "BTC\n", "\0", "a\x7fb", "a\x80b", "a\u00a0b", "\x1b[31m")
    return [
        *(
            _header(f"a symbol {each!a}", TABLE, header_body(header(BTC | {"symbol": each})))
            for each in blanks
        ),
        *(
            _header(f"a venue {each!a}", TABLE, header_body(header(venue=each)))
            for each in blanks[:3]
        ),
        *(
            _header(f"a symbol of {name}", UTF8, _header_of_symbol(data))
            for name, data in BAD_UTF8.items()
        ),
        _header(
            "a venue of a byte of no encoding",
            UTF8,
            header_prefix(HEADER | {"venue": ""})[:18] + short(b"\xff") + header_body(HEADER)[31:],
        ),
    ]


def _header_of_symbol(symbol: bytes) -> bytes:
    fields = entry(BTC)[len(text(BTC["symbol"])) :]
    return header_prefix(header(BTC)) + short(short(symbol) + fields)


def _cut_headers() -> list[Vector]:
    one = header(BTC)
    body = header_body(one)
    widths = {"version": 1, "reserved byte": 1, "epoch_ns": 8, "next_seq": 8}
    widths |= {"venue's length": 1, "venue": 12, "number of instruments": 1, "entry's length": 1}
    ends = dict(zip(widths, accumulate(widths.values()), strict=True))
    fields = entry(BTC)
    return [
        *(
            _header(f"a header that ends after its {name}", CUT, body[:at])
            for name, at in ends.items()
        ),
        _header("a header that ends within an entry", CUT, body[:-1]),
        _header("a header with one entry of two", CUT, header_prefix(HEADER) + short(fields)),
        _header("an entry that is too short", CUT, header_prefix(one) + short(fields[:-1]) + b"\0"),
        _header(
            "a last entry longer than the header",
            CUT,
            header_prefix(one) + bytes([len(fields) + 1]) + fields,
        ),
        _header("an empty entry", CUT, header_prefix(one) + b"\0" + fields),
        _header("a symbol longer than its entry", CUT, header_prefix(one) + short(b"\x40BTCUSDT")),
    ]
