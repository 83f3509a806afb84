"""Events out of order."""

from itertools import accumulate

from tests.vectors.rejected import BAD_UTF8, CUT, INDEX, LIMIT, RANGE, UTF8, after_opening
from tests.vectors.spelling import sealed, short
from tests.vectors.values import MAX_SEQ, Vector, body_of, end, gap, heartbeat, loss, said, status


def rejected_events() -> list[Vector]:
    return [*_cut_events(), *_event_fields()]


def _cut_events() -> list[Vector]:
    events = {
        "STATUS": (body_of(status(1_001)), (1, 8, 2, 1, 8, 1)),
        "GAP": (body_of(gap(1_001)), (1, 8, 2, 1, 8, 8, 1)),
        "LOSS": (body_of(loss(1_001, 1_002)), (1, 8, 8)),
        "HEARTBEAT": (body_of(heartbeat(1_001)), (1, 8)),
        "END": (body_of(end(1_000)), (1, 8, 1, 4, 1)),
    }
    return [
        after_opening(f"a {name} of {size} bytes and a CRC", CUT, sealed(body[:size]))
        for name, (body, widths) in events.items()
        for size in sorted({*accumulate(widths), len(body) - 1})
    ]


def _event_fields() -> list[Vector]:
    bad_why = body_of(status(1_001, why=""))[:-1]
    far = {"0": 0, "2^63": MAX_SEQ + 1}
    bodies = {
        "STATUS": status,
        "GAP": gap,
        "LOSS": lambda seq: loss(min(seq, 1_001), seq),
        "HEARTBEAT": heartbeat,
    }
    return [
        *(
            after_opening(f"a {name} number of {words}", LIMIT, sealed(body_of(made(seq))))
            for name, made in bodies.items()
            for words, seq in far.items()
        ),
        after_opening("an END's number of 2^63", LIMIT, sealed(body_of(end(MAX_SEQ + 1)))),
        after_opening("a STATUS of index 2", INDEX, said(status(1_001, index=2))[0]),
        after_opening("a STATUS of index 65,534", INDEX, said(status(1_001, index=65_534))[0]),
        after_opening("a GAP of index 2", INDEX, said(gap(1_001, index=2))[0]),
        after_opening("a GAP of the whole feed", INDEX, said(gap(1_001, index=65_535))[0]),
        after_opening("a GAP turned round", RANGE, said(gap(1_001, first_id=8, last_id=7))[0]),
        after_opening("a LOSS turned round", RANGE, said(loss(1_002, 1_001))[0]),
        *(
            after_opening(f"a why of {name}", UTF8, sealed(bad_why + short(data)))
            for name, data in BAD_UTF8.items()
        ),
    ]
