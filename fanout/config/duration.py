"""Parses durations such as `7d` and `12h30m`."""

import re
from typing import Final

from fanout.errors import UsageError

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}

_SPELLED = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS))


def parse_duration(text: str) -> int:
    """Seconds from `7d`, `12h30m` or `90s`, at least one. Raises `UsageError` for anything else."""
    match = _SPELLED.fullmatch(text.strip())
    counts = match.groups("0") if match else ("0",) * len(_UNITS)
    seconds = sum(int(count) * unit for count, unit in zip(counts, _UNITS.values(), strict=True))
    if not seconds:
        raise UsageError(f"{text[:40]!r} is not a duration: give 7d, 12h30m or 90s")
    return seconds


def duration_text(seconds: int) -> str:
    """A duration as `parse_duration` takes it; empty for 0."""
    words = []
    for name, unit in _UNITS.items():
        count, seconds = divmod(seconds, unit)
        words += [f"{count}{name}"] if count else []
    return "".join(words)


_SPELLED_MS = re.compile(r"([0-9]{1,9})(ms|s|m)")


def parse_milliseconds(text: str) -> int:
    """Milliseconds from `500ms`, `2s` or `1m`, at least one. Raises `UsageError` for anything
    else."""
    match = _SPELLED_MS.fullmatch(text.strip())
    count_ms = int(match[1]) * {"ms": 1, "s": 1_000, "m": 60_000}[match[2]] if match else 0
    if not count_ms:
        raise UsageError(f"{text[:40]!r} is not a duration: give 500ms, 2s or 1m")
    return count_ms
