"""Short text on the wire: one length byte, then UTF-8."""

from fanout.protocol.errors import MalformedError, NotRepresentableError


def pack_text(text: str, limit: int, what: str) -> bytes:
    """`text` behind its length in bytes. Raises `NotRepresentableError` over `limit` bytes."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise NotRepresentableError(f"{what} {text!r} is not UTF-8") from error
    if len(data) > limit:
        raise NotRepresentableError(f"{what} of {len(data)} bytes exceeds {limit}")
    return bytes([len(data)]) + data


def unpack_text(body: bytes, offset: int, limit: int, what: str) -> tuple[str, int]:
    """The text at `offset` and the offset behind it. Raises `MalformedError`."""
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
    """As much of `words` as fits, cut between characters; what UTF-8 cannot say is replaced."""
    return words.encode(errors="replace")[:max_bytes].decode(errors="ignore")
