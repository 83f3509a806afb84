"""Aligns rows of text in columns, two blanks apart."""

from collections.abc import Iterator, Sequence
from typing import Final
from unicodedata import east_asian_width

_WIDE: Final = ("W", "F")


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as lines without blanks at their ends. All have as many cells."""
    widths = [max(map(width, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell + " " * (most - width(cell)) for cell, most in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def width(text: str) -> int:
    """The columns that a text takes on a terminal: two for each Chinese character."""
    return len(text) + sum(east_asian_width(each) in _WIDE for each in text)
