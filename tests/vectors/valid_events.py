"""Events in order, at every limit."""

from tests.vectors.valid import vector
from tests.vectors.values import (
    MAX_SEQ,
    OPENING,
    START,
    U64_MAX,
    Vector,
    block,
    end,
    gap,
    header,
    heartbeat,
    hole,
    loss,
    next_trade,
    said,
    status,
)


def valid_events() -> list[Vector]:
    return [*_codes(), *_unsaid(), *_ends()]


def _codes() -> list[Vector]:
    states = ("CONNECTING", "LIVE", "STALE", "DOWN", "HALTED", "OTHER")
    of_gaps = ("OPEN", "BACK_FILLED", "UNRECOVERABLE", "NO_TRADE", "OTHER")
    reasons = ("SLOW", "EVICTED", "OTHER_EPOCH", "QUEUE_FULL", "DAMAGED", "OTHER")
    return [
        vector(
            "every state of an instrument, and of the feed",
            "Index 65,535 is the whole feed; why may be empty, or 255 bytes long.",
            *OPENING,
            *(said(status(1_001 + place, state=each)) for place, each in enumerate(states)),
            said(status(1_007, index=None, state="DOWN", since_ns=U64_MAX, why="行" * 85)),
            said(status(1_008, index=None, state="LIVE", since_ns=0, why="")),
            due=1_009,
        ),
        vector(
            "every state of a gap",
            "Of one id, and of all ids there are.",
            *OPENING,
            *(said(gap(1_001 + place, state=each)) for place, each in enumerate(of_gaps)),
            said(gap(1_006, index=1, first_id=0, last_id=U64_MAX, why="")),
            said(gap(1_007, first_id=U64_MAX, last_id=U64_MAX, why="\n\x1b[31m\0")),
            due=1_008,
        ),
        vector(
            "every reason for a loss",
            "Of one number, of many, and of all that are left.",
            *OPENING,
            *(said(loss(1_001 + place, 1_001 + place, each)) for place, each in enumerate(reasons)),
            said(loss(1_007, MAX_SEQ)),
            due=2**63,
        ),
    ]


def _unsaid() -> list[Vector]:
    return [
        vector(
            "heartbeats",
            "They take no number; the last one shows a loss.",
            *OPENING,
            said(heartbeat(1_001, time_ns=0)),
            said(heartbeat(1_001, time_ns=U64_MAX)),
            hole(1_001, 1_004),
            said(heartbeat(1_005)),
            due=1_005,
        ),
        vector(
            "losses that nobody spoke of",
            "Before a block, a STATUS, a GAP and a LOSS.",
            *OPENING,
            hole(1_001, 1_001),
            said(block(1_002, next_trade())),
            hole(1_003, 1_009),
            said(status(1_010)),
            hole(1_011, 1_019),
            said(gap(1_020)),
            hole(1_021, 1_029),
            said(loss(1_030, 1_039)),
            due=1_040,
        ),
    ]


def _ends() -> list[Vector]:
    refusals = ("AUTH", "FULL", "FEED_FAILED", "BAD_REQUEST")
    reasons = ("SHUTDOWN", "SLOW", *refusals, "EPOCH_OVER", "OTHER")
    nothing_yet = header(next_seq=1)
    traded = said(block(1_001, next_trade()))
    return [
        *(
            vector(
                f"an end: {each}",
                "The last number was the one before the one that is due.",
                *OPENING,
                traded,
                said(end(1_001, reason=each, retry_ms=place)),
                due=1_002,
            )
            for place, each in enumerate(reasons)
        ),
        vector(
            "an end of a service that published nothing",
            "Its last number is 0. Do not come back.",
            START,
            said(nothing_yet),
            said(end(0, retry_ms=None, why="")),
            due=1,
        ),
        vector(
            "the longest wait",
            "One less than what stands for never.",
            *OPENING,
            said(end(1_000, retry_ms=2**32 - 2, why="x" * 255)),
            due=1_001,
        ),
        vector(
            "an end that shows a loss",
            "The numbers up to its last one are gone.",
            *OPENING,
            traded,
            hole(1_002, 1_009),
            said(end(1_009)),
            due=1_010,
        ),
    ]
