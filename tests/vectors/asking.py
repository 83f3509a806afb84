"""Streams that were asked for: which number is due where a reader said where to begin."""

from tests.vectors.spelling import Value
from tests.vectors.valid import vector
from tests.vectors.values import (
    EPOCH_NS,
    HEADER,
    OPENING,
    Vector,
    block,
    end,
    header,
    heartbeat,
    hole,
    instrument,
    loss,
    next_trade,
    said,
    trade,
)


def place(seq: int, epoch_ns: int = EPOCH_NS) -> Value:
    return {"start": {"epoch_ns": epoch_ns, "seq": seq}}


OLDEST = {"start": "oldest"}
WHOLE = [next_trade(step) for step in range(3)]
REFUSAL = said(end(1_000, reason="BAD_REQUEST", retry_ms=None))


def asked() -> list[Vector]:
    return [
        *_resumed(),
        *_of_what_is_gone(),
        *_unheard(),
        *_refused(),
        *_of_older_epochs(),
        *_by_time(),
    ]


def _resumed() -> list[Vector]:
    coarse = header(instrument("BTCUSDT", (-1, -3, -3)), next_seq=999)
    old = said(block(999, trade(5, 5, 5, 5), trade(6, 5, 5, 5), of=coarse), coarse)
    return [
        vector(
            "resumed where it stopped",
            "The number that was asked for comes, though the header's is further on.",
            *OPENING,
            said(block(998, *WHOLE)),
            said(block(1_001, next_trade(3))),
            ask=place(998),
            due=1_002,
        ),
        vector(
            "resumed in the middle of a block",
            "The first block holds the trades from the number that was asked for on.",
            *OPENING,
            said(block(999, *WHOLE[1:])),
            ask=place(999),
            due=1_001,
        ),
        vector(
            "resumed under an older header",
            "It comes before the first block, and the newer one in its turn again.",
            *OPENING,
            said(coarse),
            old,
            said(HEADER),
            said(block(1_001, next_trade())),
            ask=place(999),
            due=1_002,
        ),
    ]


def _of_what_is_gone() -> list[Vector]:
    return [
        vector(
            "resumed at what is gone",
            "The service tells of it.",
            *OPENING,
            said(loss(3, 997, "EVICTED")),
            said(block(998, *WHOLE)),
            ask=place(3),
            due=1_001,
        ),
        vector(
            "resumed in an epoch that is over",
            "All numbers of the new one are due.",
            *OPENING,
            said(loss(1, 1_000, "OTHER_EPOCH")),
            ask=place(77, EPOCH_NS - 1),
            due=1_001,
        ),
        vector(
            "from the oldest",
            "Numbers are due from 1 on.",
            *OPENING,
            said(loss(1, 997, "EVICTED")),
            said(block(998, *WHOLE)),
            ask=OLDEST,
            due=1_001,
        ),
        vector(
            "from the oldest, and all is there",
            "Then nobody speaks of a loss.",
            *OPENING,
            said(block(1, *WHOLE)),
            ask=OLDEST,
            due=4,
        ),
    ]


def _unheard() -> list[Vector]:
    return [
        vector(
            "a request that was not heard",
            "A number comes after the one that is due, without LOSS: those between are lost.",
            *OPENING,
            hole(998, 1_000),
            said(block(1_001, next_trade())),
            ask=place(998),
            due=1_002,
        ),
        vector(
            "oldest was not heard",
            "A heartbeat shows it.",
            *OPENING,
            hole(1, 1_000),
            said(heartbeat(1_001)),
            ask=OLDEST,
            due=1_001,
        ),
        vector(
            "a number to come was not refused",
            "Who does not know requests begins at the header's number, and that is due.",
            *OPENING,
            said(block(1_001, next_trade())),
            ask=place(5_000),
            due=1_002,
        ),
    ]


def _refused() -> list[Vector]:
    return [
        vector(
            "refused",
            "An END before any number: what was asked for is still to be had.",
            *OPENING,
            REFUSAL,
            ask=place(998),
            due=998,
        ),
        vector("oldest is refused", "Likewise.", *OPENING, REFUSAL, ask=OLDEST, due=1),
        vector(
            "a number to come is refused",
            "The header's number is due, and was not published.",
            *OPENING,
            REFUSAL,
            ask=place(5_000),
            due=1_001,
        ),
        vector(
            "ended after a heartbeat",
            "That is no refusal: the numbers up to the last are lost.",
            *OPENING,
            said(heartbeat(998)),
            hole(998, 1_000),
            said(end(1_000)),
            ask=place(998),
            due=1_001,
        ),
        vector(
            "live, and ended at once",
            "Who asked for nothing has nothing refused: the END shows a loss as always.",
            *OPENING,
            hole(1_001, 1_004),
            said(end(1_004)),
            due=1_005,
        ),
    ]


def _of_older_epochs() -> list[Vector]:
    over = said(end(1_000, reason="EPOCH_OVER", retry_ms=0, why="epoch over"))
    return [
        vector(
            "the rest of an older epoch",
            "Its frames from the number on that was asked for, and then its end.",
            *OPENING,
            said(block(998, *WHOLE)),
            over,
            ask=place(998),
            due=1_001,
        ),
        vector(
            "an older epoch that is damaged",
            "What cannot be read is told.",
            *OPENING,
            said(loss(990, 997, "DAMAGED")),
            said(block(998, *WHOLE)),
            over,
            ask=place(990),
            due=1_001,
        ),
        vector(
            "all of an older epoch was there",
            "The reader has its last number.",
            *OPENING,
            over,
            ask=place(1_001),
            due=1_001,
        ),
        vector(
            "ahead of the journal",
            "The reader has more than was kept: the next epoch has it again.",
            *OPENING,
            over,
            ask=place(5_000),
            due=1_001,
        ),
    ]


def _by_time() -> list[Vector]:
    at = {"start": {"time_ns": EPOCH_NS + 1}}
    return [
        vector(
            "from a time",
            "The first number that comes is due, though the header's is further on.",
            *OPENING,
            said(block(998, *WHOLE)),
            said(block(1_001, next_trade(3))),
            ask=at,
            due=1_002,
        ),
        vector(
            "from a time to come",
            "That is live.",
            *OPENING,
            said(heartbeat(1_001)),
            said(block(1_001, next_trade())),
            ask=at,
            due=1_002,
        ),
        vector(
            "from a time of an older epoch",
            "To its end. What was damaged is told.",
            *OPENING,
            said(loss(990, 997, "DAMAGED")),
            said(block(998, *WHOLE)),
            said(end(1_000, reason="EPOCH_OVER", retry_ms=0, why="epoch over")),
            ask=at,
            due=1_001,
        ),
        vector(
            "a loss after a time",
            "From the first number on, every number is accounted for.",
            *OPENING,
            said(block(998, *WHOLE)),
            hole(1_001, 1_009),
            said(heartbeat(1_010)),
            ask=at,
            due=1_010,
        ),
    ]
