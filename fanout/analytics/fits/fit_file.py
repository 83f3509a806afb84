"""The file of a fit: an object of JSON, for people too, with its kind and the version of its form.

What is read comes from a disk, and may be anything. So a file has a limit, its version is looked at
before the rest, and whatever is wrong with it is one error with the name of the file.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from fanout.analytics.errors import FitError
from fanout.analytics.fits.fit_errors import FitFileError

VERSION: Final = 1
"""Of the layout of all kinds. Another one is refused."""

MAX_FILE_BYTES: Final = 1 << 20
"""Limit of a file. A fit of a hundred columns takes a fiftieth of it. Who reads one takes a byte
more, which shows that a file is larger."""

Fit = TypeVar("Fit", bound=msgspec.Struct)


class _Head(msgspec.Struct):
    """What every version of the layout has. It is read first, so that another version is named."""

    version: int


def fit_text(fit: msgspec.Struct) -> bytes:
    """A fit as its file keeps it."""
    return msgspec.json.format(msgspec.json.encode(fit)) + b"\n"


def fit_in(text: bytes, kind: type[Fit], name: str, what: str) -> Fit:
    """The fit in a file. Raises `FitFileError`, which begins with `name`, for what is none: `what`
    is its kind in words, as in "is no linear fit"."""
    if len(text) > MAX_FILE_BYTES:
        raise FitFileError(f"{name}: {len(text):,} bytes exceed {MAX_FILE_BYTES:,}: no fit")
    try:
        require_version(msgspec.json.decode(text, type=_Head).version)
        return msgspec.json.decode(text, type=kind)
    except (ValueError, RecursionError) as error:
        raise FitFileError(f"{name} is no {what}, or is damaged: {error}") from error


def require_version(version: int) -> None:
    """Raises `FitError` unless the version is known."""
    if version != VERSION:
        raise FitError(f"version {version} of the layout, and only {VERSION} is known")
