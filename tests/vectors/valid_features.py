"""Blocks of rows of features in order, at every limit."""

from tests.vectors.valid import vector
from tests.vectors.values import (
    MAX_SEQ,
    ROWS_HEADER,
    ROWS_OPENING,
    START,
    U64_MAX,
    Vector,
    features,
    header,
    heartbeat,
    instrument,
    next_row,
    row,
    said,
)

PICTURE = {"snapshot": True, "received_ns": 0, "held_ns": 0}
COUNTS = (1, 7, 8, 9, 16, 17, 256)
CODES = ("WARMING_UP", "NO_BOOK", "LOST", "NOT_LIVE", "ONE_SIDED", "CROSSED", "TOO_SHALLOW")
EDGES = (0, 31, 32, 99)


def valid_features() -> list[Vector]:
    return [*_rows(), *_values(), *_columns(), *_most()]


def _rows() -> list[Vector]:
    many = {"channel": "features", "data": 16, "columns": ["x"]}
    of_many = header(*(instrument(f"S{place}") for place in range(100)), **many)
    at_edges = features(1_001, *(row(7, 1.5, index=each) for each in EDGES))
    last = ROWS_HEADER | {"next_seq": MAX_SEQ}
    life = next_row(1, index=1)
    return [
        vector(
            "rows of two instruments",
            "Their times are deltas to the row before, of whatever instrument.",
            *ROWS_OPENING,
            said(features(1_001, next_row(), life, next_row(2)), ROWS_HEADER),
            said(features(1_004, next_row(3), back_filled=True), ROWS_HEADER),
            due=1_005,
        ),
        vector(
            "times from one end to the other",
            "Deltas are modulo 2^64.",
            *ROWS_OPENING,
            said(
                features(
                    1_001,
                    *(next_row(time_ns=each) for each in (0, U64_MAX, 2**63, 1, U64_MAX - 1)),
                    received_ns=U64_MAX,
                    held_ns=U64_MAX,
                ),
                ROWS_HEADER,
            ),
            due=1_006,
        ),
        vector(
            "a snapshot of rows, and rows behind it",
            "The newest row of each instrument; then the first number.",
            *ROWS_OPENING,
            said(features(1_001, next_row(), life, **PICTURE), ROWS_HEADER),
            said(features(1_001, next_row(2)), ROWS_HEADER),
            said(heartbeat(1_002)),
            due=1_002,
        ),
        vector(
            "a row of the last number, behind a snapshot of two",
            "Only the number that follows has to fit.",
            START,
            said(last),
            said(features(MAX_SEQ, next_row(), life, **PICTURE), ROWS_HEADER),
            said(features(MAX_SEQ, next_row()), ROWS_HEADER),
            due=2**63,
        ),
        vector(
            "rows with indices of one byte and of two",
            "The first 32 take one.",
            START,
            said(of_many),
            said(at_edges, of_many),
            due=1_005,
        ),
        vector(
            "a header of a channel of rows in mid-stream",
            "Its columns are those of the first.",
            *ROWS_OPENING,
            said(features(1_001, next_row()), ROWS_HEADER),
            said(ROWS_HEADER | {"next_seq": 1_002}),
            said(features(1_002, next_row(1)), ROWS_HEADER),
            due=1_003,
        ),
    ]


def _values() -> list[Vector]:
    doubles = (0.1, 1 / 3, -2.5, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1e-9)
    return [
        vector(
            "values of every size",
            "The least and the greatest doubles, and some that no decimal spells.",
            *ROWS_OPENING,
            said(features(1_001, *(row(5, each, "EMPTY", -each) for each in doubles)), ROWS_HEADER),
            due=1_001 + len(doubles),
        ),
        vector(
            "every reason of an absence",
            "A byte in the place of the value.",
            *ROWS_OPENING,
            said(
                features(
                    1_001,
                    *(row(5, each, 0.5, each) for each in (*CODES, "EMPTY", "NOT_FITTED", "OTHER")),
                    row(6, "LOST", "EMPTY", "LOST"),
                ),
                ROWS_HEADER,
            ),
            due=1_012,
        ),
    ]


def _columns() -> list[Vector]:
    """Bitmaps of one byte and of several, full and with absences at each end."""
    made = []
    for count in COUNTS:
        named = {"channel": "features", "data": 16, "columns": [f"c{i}" for i in range(count)]}
        under = header(**named)
        full = row(5, *(place + 0.5 for place in range(count)))
        ends = row(6, "LOST", *([1.5] * (count - 2)), *(["EMPTY"] if count > 1 else []))
        made.append(
            vector(
                f"rows of {count} columns",
                "A bit for each, in as few bytes as they fit.",
                START,
                said(under),
                said(features(1_001, full, ends), under),
                due=1_003,
            )
        )
    longest = {"channel": "f", "data": 31, "columns": ["_" * 64, "0", "a" * 63 + "9"]}
    made.append(
        vector(
            "names of columns as long as they may be",
            "Beside every other kind of data, and another channel.",
            START,
            said(header(**longest, channels=["perps"])),
            due=1_001,
        )
    )
    return made


def _most() -> list[Vector]:
    """As many as a block may have."""
    one = header(instrument("X"), channel="features", data=16, columns=["x"])
    return [
        vector(
            "512 rows",
            "As many as a block may have.",
            START,
            said(one),
            said(features(1_001, *[row(1, "LOST")] * 512), one),
            due=1_513,
        ),
    ]
