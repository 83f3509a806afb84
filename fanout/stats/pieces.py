"""Snapshots that are made a piece at a time, so that trades need not wait for the whole of one.

A snapshot of 800 instruments takes as long as hundreds of trades. Whoever makes a large one is a
generator that yields between two pieces and returns the snapshot.
"""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Pieces = Generator[None, None, T]
"""Yields between the pieces, and returns the whole."""


def at_once(pieces: Pieces[T]) -> T:
    """The whole, without a pause."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            whole: T = end.value
            return whole
