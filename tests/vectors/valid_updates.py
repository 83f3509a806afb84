"""Blocks of quotes and of book updates in order, at every limit."""

from tests.vectors.spelling import Value
from tests.vectors.valid import vector
from tests.vectors.values import (
    I64_MAX,
    I64_MIN,
    MAX_SEQ,
    OPENING,
    START,
    U64_MAX,
    Vector,
    block,
    book,
    header,
    instrument,
    next_orders,
    next_quote,
    next_trade,
    next_update,
    orders,
    quote,
    quotes,
    said,
    update,
)

PICTURE = {"snapshot": True, "received_ns": 0, "held_ns": 0}
MANY = header(*(instrument(f"S{place}", reference=(5, 5, 5, 5)) for place in range(100)))
EDGES = (0, 31, 32, 63, 64, 99)


def valid_updates() -> list[Vector]:
    return [*_quotes(), *_books(), *_orders(), *_snapshots(), *_together(), *_most()]


def _quotes() -> list[Vector]:
    ends = [
        quote(0, 0, (I64_MIN, 0), (I64_MAX, U64_MAX)),
        quote(U64_MAX, U64_MAX, (I64_MAX, U64_MAX), (I64_MIN, 0)),
        quote(2**63, 2**63, (0, 1), (-1, 2**53 + 1)),
        quote(1, 1, (2**53 + 1, 0), (2**53 + 1, 0)),
    ]
    life = quote(52, 1_791_382_992_839, (12_350, 0), (12_350, 70), index=1)
    return [
        vector(
            "quotes of two instruments",
            "Each is a delta to the one before of its instrument. The last has no bids.",
            *OPENING,
            said(quotes(1_001, next_quote(), life, next_quote(1), next_quote(2))),
            said(quotes(1_005, next_quote(3), back_filled=True)),
            due=1_006,
        ),
        vector(
            "quotes from one end to the other",
            "Deltas are modulo 2^64, the one from bid to ask too.",
            *OPENING,
            said(quotes(1_001, *ends, received_ns=U64_MAX, held_ns=U64_MAX)),
            due=1_005,
        ),
    ]


def _flagged() -> list[Value]:
    """Every combination of an update's flags."""
    return [
        {"whole": bool(bits & 1), "more": bool(bits & 2), "top_only": bool(bits & 4)}
        for bits in range(8)
    ]


def _books() -> list[Vector]:
    life = update(52, 1_791_382_992_839, [[12_300, 900]], [[12_350, 70]], 1, whole=True)
    of_edges = [
        update(6, 6, [[4, 1]], [[6, 2]], each, whole=is_whole)
        for each in EDGES
        for is_whole in (False, True)
    ]
    empty = next_update(bids=[], asks=[])
    ends = [[I64_MAX, U64_MAX], [0, 2**53 + 1], [-1, 1], [I64_MIN, 0]]
    return [
        vector(
            "book updates of two instruments",
            "Update id and time are deltas to the update before; prices are not.",
            *OPENING,
            said(book(1_001, next_update(), life, next_update(1), next_update(2))),
            said(book(1_005, next_update(3), back_filled=True)),
            due=1_006,
        ),
        vector(
            "every flag of a book update",
            "An update without flags has no byte for them.",
            *OPENING,
            said(book(1_001, *(next_update(i) | each for i, each in enumerate(_flagged())))),
            due=1_009,
        ),
        vector(
            "quotes and updates with indices of one byte and of two",
            "The first 32 take one. Flags stand before the rest of the index.",
            START,
            said(MANY),
            said(quotes(1_001, *(quote(6, 6, (4, 1), (6, 2), index=each) for each in EDGES)), MANY),
            said(book(1_007, *of_edges), MANY),
            due=1_019,
        ),
        vector(
            "book updates without levels",
            "Their update id goes on, or a book is empty.",
            *OPENING,
            said(book(1_001, empty, empty | {"whole": True})),
            due=1_003,
        ),
        vector(
            "levels from one end to the other",
            "Deltas are modulo 2^64, and the order is that of the prices.",
            *OPENING,
            said(
                book(
                    1_001,
                    update(U64_MAX, 0, ends, ends[::-1]),
                    update(0, U64_MAX, ends, ends[::-1]),
                    received_ns=U64_MAX,
                    held_ns=U64_MAX,
                )
            ),
            due=1_003,
        ),
        vector(
            "a large change in pieces",
            "Each piece takes a number; the book is consistent after the last.",
            *OPENING,
            said(book(1_001, next_update(whole=True, more=True))),
            said(book(1_002, next_update(more=True), next_update())),
            due=1_004,
        ),
    ]


def _orders() -> list[Vector]:
    ends = [[0, I64_MIN, 0], [U64_MAX, I64_MAX, U64_MAX], [5, 5, 5], [5, 5, 5], [2**63, -1, 1]]
    life = update(52, 1_791_382_992_839, [[31, 12_300, 900]], [], 1, whole=True, more=True)
    return [
        vector(
            "updates by order",
            "Order ids begin at 0 on each side, prices at the reference.",
            *OPENING,
            said(orders(1_001, next_orders(), life, next_orders(1))),
            said(orders(1_004, next_orders(2), back_filled=True)),
            due=1_005,
        ),
        vector(
            "every flag of an update by order",
            "They are those of updates by price.",
            *OPENING,
            said(orders(1_001, *(next_orders(i) | each for i, each in enumerate(_flagged())))),
            due=1_009,
        ),
        vector(
            "orders from one end to the other",
            "They stand in the order of the venue, and one may stand twice.",
            *OPENING,
            said(orders(1_001, update(1, 1, ends, ends[::-1]), update(1, 1, [], []))),
            due=1_003,
        ),
    ]


def _snapshots() -> list[Vector]:
    last = header(next_seq=MAX_SEQ)
    whole = [next_update(whole=True, more=True), next_update(more=True), next_update()]
    return [
        vector(
            "snapshots of every kind",
            "Trades, quotes, whole books; then the first number.",
            *OPENING,
            said(block(1_001, next_trade(), **PICTURE)),
            said(quotes(1_001, next_quote(), **PICTURE)),
            said(book(1_001, *whole[:2], **PICTURE)),
            said(book(1_001, whole[2], **PICTURE)),
            said(orders(1_001, next_orders(whole=True), **PICTURE)),
            said(book(1_001, next_update(1))),
            due=1_002,
        ),
        vector(
            "snapshots of books in mid-stream",
            "A reader that lost something gets them, too.",
            *OPENING,
            said(book(1_001, next_update())),
            said(book(1_002, *whole, **PICTURE)),
            said(book(1_002, next_update(1))),
            due=1_003,
        ),
        vector(
            "snapshots before the last number, however many records they hold",
            "Only the number that follows has to fit.",
            START,
            said(last),
            said(quotes(MAX_SEQ, next_quote(), next_quote(1), **PICTURE)),
            said(book(MAX_SEQ, *whole, **PICTURE)),
            said(orders(MAX_SEQ, next_orders(), next_orders(1), **PICTURE)),
            said(orders(MAX_SEQ, next_orders())),
            due=2**63,
        ),
    ]


def _together() -> list[Vector]:
    return [
        vector(
            "blocks of every kind",
            "They share one numbering.",
            *OPENING,
            said(book(1_001, next_update(), next_update(1))),
            said(block(1_003, next_trade())),
            said(quotes(1_004, next_quote())),
            said(orders(1_005, next_orders())),
            said(book(1_006, next_update(2))),
            due=1_007,
        )
    ]


def _most() -> list[Vector]:
    """As many as a block may have. Their values are small, since the file is."""
    unit = header(instrument("X"))
    bids = [[-price, 1] for price in range(1_024)]
    asks = [[price, 1] for price in range(1_024)]
    side = [[1, 1, 1]] * 768
    return [
        vector(
            "1,024 quotes",
            "As many as a block may have.",
            START,
            said(unit),
            said(quotes(1_001, *[quote(1, 1, (1, 1), (1, 1))] * 1_024), unit),
            due=2_025,
        ),
        vector(
            "512 book updates",
            "As many as a block may have.",
            START,
            said(unit),
            said(book(1_001, *[update(1, 1, [], [])] * 512), unit),
            due=1_513,
        ),
        vector(
            "2,048 levels",
            "As many as the updates of a block may have, and all in one of them.",
            START,
            said(unit),
            said(book(1_001, update(1, 1, bids, asks), update(1, 1, [], [])), unit),
            due=1_003,
        ),
        vector(
            "1,536 orders",
            "As many as the updates of a block may have, in two of them.",
            START,
            said(unit),
            said(orders(1_001, update(1, 1, side, []), update(1, 1, [], side)), unit),
            due=1_003,
        ),
    ]
