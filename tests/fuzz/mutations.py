"""What becomes of good bytes on a bad way: cut, flipped, repeated, spliced, and with lengths that
nobody means.

A mutation takes a seed, other bytes to splice in, and `chance`, which gives a number below its
argument: hypothesis draws it, the loop without it rolls dice.
"""

from collections.abc import Callable, Sequence
from typing import Final

from tests.fuzz.target import MAX_BYTES

Chance = Callable[[int], int]
Mutation = Callable[[bytes, bytes, Chance], bytes]

NUMBERS: Final = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\1\0",
    b"\1\0\1\0",
    b"\xff" * 8,
    b"\0" * 7 + b"\x80",
    b"\xff" * 9 + b"\1",
    b"\x80" * 9 + b"\1",
    b"\x80" * 20,
    b"9" * 20,
    b"9" * 400,
    b"-1",
    b"1e999",
    b"0x" + b"f" * 4_000,
    b"\\ud800",
    b"[" * 3_000,
    b'{"a":' * 2_000,
    b"a." * 1_000,
    b"\r\n" * 500,
)
"""What lengths, counts, varints and decimals are at their worst; and what nests or never ends."""


def cut(data: bytes, _: bytes, chance: Chance) -> bytes:
    return data[: chance(len(data) + 1)]


def flip(data: bytes, _: bytes, chance: Chance) -> bytes:
    if not data:
        return data
    at = chance(len(data))
    return data[:at] + bytes((data[at] ^ 1 << chance(8),)) + data[at + 1 :]


def drop(data: bytes, _: bytes, chance: Chance) -> bytes:
    start, end = _slice(data, chance)
    return data[:start] + data[end:]


def repeat(data: bytes, _: bytes, chance: Chance) -> bytes:
    start, end = _slice(data, chance)
    return data[:end] + data[start:end] * (1 + chance(3)) + data[end:]


def splice(data: bytes, other: bytes, chance: Chance) -> bytes:
    at = chance(len(data) + 1)
    start, end = _slice(other, chance)
    return data[:at] + other[start:end] + data[chance(2) * at :]


def overwrite(data: bytes, _: bytes, chance: Chance) -> bytes:
    """Lay a number over what is there, or push it in between."""
    at, number = chance(len(data) + 1), NUMBERS[chance(len(NUMBERS))]
    return data[:at] + number + data[at + chance(2) * len(number) :]


def _slice(data: bytes, chance: Chance) -> tuple[int, int]:
    start = chance(len(data) + 1)
    return start, start + chance(len(data) + 1 - start)


MUTATIONS: Final[Sequence[Mutation]] = (cut, flip, flip, drop, repeat, splice, overwrite)


def mutated(data: bytes, other: bytes, chance: Chance) -> bytes:
    """Data after a few mutations; none is one, too."""
    for _ in range(chance(5)):
        data = MUTATIONS[chance(len(MUTATIONS))](data, other, chance)[:MAX_BYTES]
    return data
