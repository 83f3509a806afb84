"""What a way of keeping a book is, to the stage `book`."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

Pairs = Sequence[tuple[int, int]]
"""Prices and absolute quantities, as integers; 0 removes a level."""

Levels = list[tuple[int, int]]


class Held(Protocol):
    """A book. Only `apply` and `best` are timed."""

    def apply(self, *message: Any) -> None:
        """Apply a message in the form in which this book takes it."""

    def best(self) -> tuple[Any, Any]:
        """The best bid and the best ask, price and quantity."""

    def levels(self) -> tuple[Levels, Levels]:
        """Bids and asks from the best outwards."""


class Way(msgspec.Struct, frozen=True):
    """A rival by its name.

    `given` turns the snapshot and the messages after it, pairs of integers, into what `apply` has.
    That is done before, so a rival is spared what we do within `apply`: to unpack the levels.
    """

    name: str
    make: Callable[[], Any]
    given: Callable[[list[tuple[Pairs, Pairs]]], list[tuple[Any, ...]]] = list
