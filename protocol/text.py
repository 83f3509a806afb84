"""Short text on the wire: one length byte, then UTF-8. And what a name may consist of."""

import re
from typing import Final

from fanout.protocol.constants import MAX_CHANNEL_BYTES, MAX_COLUMN_BYTES
from fanout.protocol.errors import MalformedError, NotRepresentableError

_CHANNEL: Final = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_CHANNEL_BYTES - 1}}}")

_COLUMN: Final = re.compile(rf"[a-z0-9_]{{1,{MAX_COLUMN_BYTES}}}")


def pack_text(text: str, limit: int, what: str) -> bytes:
    """Encode `text` with its length in bytes in front.

    Raises `NotRepresentableError` for text that exceeds `limit` bytes or is not UTF-8.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise NotRepresentableError(f"{what} {text!r} is not UTF-8") from error
    if len(data) > limit:
        raise NotRepresentableError(f"{what} of {len(data)} bytes exceeds {limit}")
    return bytes([len(data)]) + data


def unpack_text(body: bytes, offset: int, limit: int, what: str) -> tuple[str, int]:
    """Return the text at `offset` and the offset behind it. Raises `MalformedError`."""
    if offset >= len(body):
        raise MalformedError(f"{what} is missing")
    length, start = body[offset], offset + 1
    if length > limit or start + length > len(body):
        raise MalformedError(f"{what} of {length} bytes does not fit")
    try:
        return body[start : start + length].decode(), start + length
    except UnicodeDecodeError as error:
        raise MalformedError(f"{what} is not UTF-8") from error


def fitting(words: str, max_bytes: int) -> str:
    """Cut `words` between characters to `max_bytes`. A `?` replaces characters without UTF-8."""
    return words.encode(errors="replace")[:max_bytes].decode(errors="ignore")


def name_fault(name: str) -> str | None:
    """What is wrong with the name of a venue, symbol or asset; None if nothing is.

    Names are shown on terminals and become columns and file names, so they have no blanks and no
    control characters: U+0000 to U+0020 and U+007F to U+00A0.
    """
    if not name or any(each <= " " or "\x7f" <= each <= "\xa0" for each in name):
        return f"name {name!r} is empty, or has a blank or a control character"
    return None


def channel_fault(name: str) -> str | None:
    """What is wrong with the name of a channel; None if nothing is."""
    if _CHANNEL.fullmatch(name) is None:
        return (
            f"channel name {name!r}: 1 to {MAX_CHANNEL_BYTES} characters of a-z 0-9 . _ - are "
            "needed, the first a letter or a digit"
        )
    return None


def column_fault(name: str) -> str | None:
    """What is wrong with the name of a column of rows; None if nothing is."""
    if _COLUMN.fullmatch(name) is None:
        return f"column name {name!r}: 1 to {MAX_COLUMN_BYTES} characters of a-z 0-9 _ are needed"
    return None
