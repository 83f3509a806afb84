"""Sizes in bytes, as people write them."""

from typing import Final

from fanout.errors import UsageError

_UNITS: Final = {"": 1, "B": 1, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}


def parse_size(text: str) -> int:
    """Bytes from `1048576`, `64KiB`, `1MiB` or `2GiB`. Raises `UsageError` for anything else."""
    digits = text.strip().rstrip("BbGgIiKkMm ")
    unit = text.strip()[len(digits) :].strip().upper()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15) or unit not in _UNITS:
        raise UsageError(f"{text!r} is not a size: bytes, or a number with KiB, MiB or GiB")
    return int(digits) * _UNITS[unit]
