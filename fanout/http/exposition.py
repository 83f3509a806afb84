"""The two text formats that Prometheus reads, written a piece at a time.

A service of 800 symbols has 32,000 lines. prometheus_client takes a second to write them, in which
no trade could be handed on. Here a line is one f-string and a piece holds a few hundred lines, so
the server can let other tasks run between two pieces.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import Final

PIECE_LINES: Final = 300
"""Lines of one piece: they take less than a millisecond to write."""

Sample = tuple[str, float]
"""Labels as `labels` renders them, and a value."""


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    INFO = "info"
    HISTOGRAM = "histogram"


_SUFFIXES: Final = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


def labels(**values: str) -> str:
    """Labels as they stand behind a name; nothing if there are none."""
    if not values:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def pieces(
    name: str, kind: Kind, words: str, samples: Iterable[Sample], *, is_open: bool
) -> Iterator[str]:
    """A metric with its samples, in OpenMetrics if it `is_open`, else in Prometheus's own format.
    `words` say what it is. Names get the suffix of their kind."""
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
    """A histogram: of each sample its labels, its buckets by their ends, the last of which is
    +Inf, and the sum. Both formats write it alike."""
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
