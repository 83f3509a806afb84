"""Blocks of trades in order, at every limit."""

from tests.vectors.spelling import block_body, sealed
from tests.vectors.valid import vector
from tests.vectors.values import (
    I64_MAX,
    I64_MIN,
    MAX_SEQ,
    OPENING,
    START,
    U64_MAX,
    Piece,
    Vector,
    block,
    header,
    instrument,
    next_trade,
    said,
    trade,
)


def valid_blocks() -> list[Vector]:
    return [*_blocks(), *_flagged_blocks(), *_values(), *_numbers(), _longest_block()]


def _blocks() -> list[Vector]:
    mixed = [
        next_trade(),
        next_trade(1, buyer_is_maker=True, quantity=1_500),
        trade(52_003, 1_791_382_992_839, 12_300, 70, index=1, kind="RPI"),
        next_trade(2, kind="INSURANCE_FUND", buyer_is_maker=True),
        next_trade(3, kind="ADL"),
        next_trade(4, kind="AGGREGATE"),
        next_trade(5, kind="OTHER"),
    ]
    last = instrument("LAST", reference=(5, 5, 5, 5))
    many = header(*(instrument(f"S{place}") for place in range(99)), last)
    of_edges = [
        trade(1, 1, 1, 1, index=index, kind=kind, buyer_is_maker=is_maker)
        for index in (31, 32, 63, 64)
        for kind in ("MARKET", "RPI")
        for is_maker in (False, True)
    ]
    return [
        vector(
            "a block of one trade",
            "The least.",
            *OPENING,
            said(block(1_001, next_trade())),
            due=1_002,
        ),
        vector(
            "every kind of trade",
            "The first one's kind is the ordinary one; the others escape.",
            *OPENING,
            said(block(1_001, *mixed)),
            due=1_008,
        ),
        vector(
            "indices of one byte and of two",
            "The first 32 take one; each from either side, and with an escape.",
            START,
            said(many),
            said(block(1_001, *of_edges, of=many), many),
            due=1_017,
        ),
        vector(
            "the last of 100 instruments",
            "Index 99, from either side, and with an escape.",
            START,
            said(many),
            said(
                block(
                    1_001,
                    trade(6, 6, 6, 6, index=99),
                    trade(7, 6, 6, 6, index=99, buyer_is_maker=True),
                    trade(8, 6, 6, 6, index=99, buyer_is_maker=True, kind="RPI"),
                    of=many,
                ),
                many,
            ),
            due=1_004,
        ),
    ]


def _flagged_blocks() -> list[Vector]:
    of_life = trade(52_000, 1_791_382_990_000, 12_300, 70, index=1)
    newest = block(1_001, next_trade(-1), of_life, snapshot=True, received_ns=0, held_ns=0)
    late = block(1_002, next_trade(-3), next_trade(-2), back_filled=True)
    return [
        vector(
            "a snapshot, and then the first number",
            "Its trades take no numbers.",
            *OPENING,
            said(newest),
            said(block(1_001, next_trade())),
            due=1_002,
        ),
        vector(
            "a block that was filled in later",
            "Its trades have numbers in turn, and ids from before.",
            *OPENING,
            said(block(1_001, next_trade())),
            said(late),
            due=1_004,
        ),
        vector(
            "each block begins at the references",
            "The second block's first delta is not to the first block's last trade.",
            *OPENING,
            said(block(1_001, next_trade())),
            said(block(1_002, next_trade(1))),
            due=1_003,
        ),
    ]


def _values() -> list[Vector]:
    ends = [
        trade(0, 0, I64_MIN, 0),
        trade(U64_MAX, U64_MAX, I64_MAX, U64_MAX),
        trade(0, 0, 0, 1),
        trade(2**63, 2**63, -1, 2**53),
        trade(2**53 + 1, 2**53 + 1, 2**53 + 1, 2**53 + 1),
    ]
    back = [trade(each, 1_791_382_992_838, 1, 1) for each in (2**32 - 1, 2**40, 2**32, 5, 2**33)]
    steps = [0, 127, 128, 16_383, 16_384, 2**32 - 1, 2**32, 2**49 - 1, 2**49, 2**56, 2**63, U64_MAX]
    zero = header(instrument("ZERO", (0, 0, 0)))
    return [
        vector(
            "every value from one end to the other",
            "Deltas are modulo 2^64: each value can follow every other.",
            *OPENING,
            said(block(1_001, *ends, received_ns=U64_MAX, held_ns=U64_MAX)),
            due=1_006,
        ),
        vector(
            "ids above 2^32, and going back",
            "An id need not be greater than the one before.",
            *OPENING,
            said(block(1_001, *back)),
            due=1_006,
        ),
        vector(
            "varints of every length",
            "Quantities at the edges of one to ten bytes.",
            START,
            said(zero),
            said(block(1_001, *(trade(1, 1, 1, each) for each in steps), of=zero), zero),
            due=1_013,
        ),
        vector(
            "exponents from -18 to 8",
            "The decimals have as many places as the exponent says.",
            *_of_every_exponent(),
            due=1_055,
        ),
    ]


def _numbers() -> list[Vector]:
    return [
        vector(
            "the last of all numbers",
            "2^63 - 1; the one after it is only ever waited for.",
            START,
            said(header(next_seq=MAX_SEQ - 1)),
            said(block(MAX_SEQ - 1, next_trade(), next_trade(1))),
            due=2**63,
        ),
        vector(
            "a snapshot before the last number",
            "Its trades take no numbers, however many they are.",
            START,
            said(header(next_seq=MAX_SEQ)),
            said(block(MAX_SEQ, next_trade(), next_trade(1), snapshot=True, received_ns=0)),
            due=MAX_SEQ,
        ),
    ]


def _of_every_exponent() -> list[Piece]:
    exponents = range(-18, 9)
    units = [instrument(f"E{each}", (each, -each - 10, min(each, 0) // 2)) for each in exponents]
    of_all = header(*units)
    trades = [
        trade(1, 1, price, quantity, index=index)
        for index in range(len(units))
        for price, quantity in ((-12_345, 0), (I64_MIN, U64_MAX))
    ]
    return [START, said(of_all), said(block(1_001, *trades, of=of_all), of_all)]


def _longest_block() -> Vector:
    """No payload of trades is longer: 1,024 times an escape and four varints of ten bytes."""
    far = 2**62
    unit = header(instrument("X", reference=(far, 0, far, far)))
    there, here = (-far - 1, 3 * far - 3), (far, far)
    trades = []
    for place in range(1_024):
        price, other = here if place % 2 else there
        # Ids count on by themselves, times do not.
        trades.append(trade(other - 1 if place % 2 else other, other, price, U64_MAX))
    value = block(1_001, *trades, of=unit, received_ns=U64_MAX, held_ns=U64_MAX)
    longest = sealed(block_body(value, unit, ordinary=1)), value
    about = "1,024 trades of 43 bytes, 35 around them. Each says its kind, though it need not."
    made = vector("the longest block", about, START, said(unit), longest, due=2_025)
    return Vector(name=made.name, about=about, members={**made.members, "respelled": True})
