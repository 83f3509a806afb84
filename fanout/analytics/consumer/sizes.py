"""Sizes with a unit, such as `64MiB`, as bytes."""

import re
from typing import Final

_UNITS: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

_SIZE: Final = re.compile(rf"([0-9]{{1,15}}) ?({'|'.join(_UNITS)})")


def size_bytes(text: str) -> int:
    """Bytes from `64KiB`, `1MiB` or `2GiB`: a whole number and one of B, KiB, MiB, GiB. Raises
    `ValueError` with words that follow a key and its value."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"no size: a whole number and one of {', '.join(_UNITS)}, such as 64MiB")
    return int(found[1]) * _UNITS[found[2]]


def size_text(size: int) -> str:
    """A size as `size_bytes` takes it, in the largest unit that gives a whole number."""
    for name, unit in reversed(_UNITS.items()):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size}B"
