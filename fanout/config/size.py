"""Parses sizes such as `64KiB` and `2GiB`."""

from typing import Final

from fanout.errors import UsageError

_UNITS: Final = {"": 1, "B": 1, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}


def parse_size(text: str) -> int:
    """Bytes from `1048576`, `64KiB`, `1MiB` or `2GiB`. Raises `UsageError` for anything else."""
    digits = text.strip().rstrip("BbGgIiKkMm ")
    unit = text.strip()[len(digits) :].strip().upper()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15) or unit not in _UNITS:
        raise UsageError(f"{text!r} is not a size: give bytes, or a number with KiB, MiB or GiB")
    return int(digits) * _UNITS[unit]


def size_text(size_bytes: int) -> str:
    """A size as `parse_size` takes it, in the largest unit that gives a whole number."""
    for name, unit in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size_bytes and size_bytes % unit == 0:
            return f"{size_bytes // unit}{name}"
    return str(size_bytes)
