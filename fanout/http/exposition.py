"""Writers for the two text formats that Prometheus reads, piece by piece.

A service with 800 symbols has 32,000 lines. prometheus_client takes a second to write them, and
blocks all trades meanwhile. Here a line is one f-string, and a piece holds a few hundred lines. The
server lets other tasks run between two pieces.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import Final

PIECE_LINES: Final = 300
"""Lines in one piece. Writing a piece takes less than a millisecond."""

Sample = tuple[str, float]
"""Labels as `labels` renders them, and a value."""


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    INFO = "info"
    HISTOGRAM = "histogram"


_SUFFIXES: Final = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


def labels(**values: str) -> str:
    """The labels in the form that follows a metric's name; empty without labels."""
    if not values:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def pieces(
    name: str, kind: Kind, words: str, samples: Iterable[Sample], *, is_open: bool
) -> Iterator[str]:
    """A metric with its samples, in OpenMetrics if `is_open`, otherwise in Prometheus's format.

    `words` is its help text. The name gets the suffix of its kind.
    """
    suffix = _SUFFIXES.get(kind, "")
    head, shown = (name, kind.value) if is_open else (name + suffix, kind.value)
    if kind is Kind.INFO and not is_open:
        shown = "gauge"
    yield f"# HELP {head} {words}\n# TYPE {head} {shown}\n"
    full = name + suffix
    yield from _in_pieces(f"{full}{each} {_number(value)}\n" for each, value in samples)


def histogram_pieces(
    name: str,
    words: str,
    samples: Iterable[tuple[str, list[Sample], float]],
) -> Iterator[str]:
    """A histogram. Both formats are alike.

    Each sample has its labels, its buckets with their upper ends, of which the last is +Inf, and
    the sum.
    """
    yield f"# HELP {name} {words}\n# TYPE {name} histogram\n"
    yield from _in_pieces(
        line for each, buckets, total in samples for line in _histogram(name, each, buckets, total)
    )


def _histogram(name: str, shown: str, buckets: list[Sample], total: float) -> Iterator[str]:
    inner = f"{shown[1:-1]}," if shown else ""
    for end, count in buckets:
        yield f'{name}_bucket{{{inner}le="{end}"}} {_number(count)}\n'
    yield f"{name}_count{shown} {_number(buckets[-1][1])}\n"
    yield f"{name}_sum{shown} {_number(total)}\n"


def _in_pieces(lines: Iterator[str]) -> Iterator[str]:
    while piece := "".join(islice(lines, PIECE_LINES)):
        yield piece


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
