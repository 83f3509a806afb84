"""A fast path for ordinary WebSocket frames (RFC 6455, 5.2), tens of thousands a second.

An ordinary frame holds a complete text message, unmasked, of less than 64 KiB. This module finds
its bounds without the protocol core. The core handles all other frames: control frames, fragments,
compressed and malformed frames.
"""

from typing import Final

_WHOLE_TEXT: Final = 0x81
_LENGTH_BITS: Final = 0x7F
_MASKED: Final = 0x80
_MASK_BYTES: Final = 4
_LENGTH_BYTES: Final = {126: 2, 127: 8}
"""Size of the extended length field, by the value of the 7-bit length."""


def take_texts(data: bytes, at: int, messages: list[bytes]) -> int:
    """Append the complete ordinary messages from offset `at` on, up to the first other frame.

    Returns the offset behind them.
    """
    end = len(data)
    while end - at > 1 and data[at] == _WHOLE_TEXT:
        length, start = data[at + 1], at + 2
        if length == 126:
            start += 2
            length = int.from_bytes(data[start - 2 : start])
        elif length > 126:
            break
        if start + length > end:
            break
        at = start + length
        messages.append(data[start:at])
    return at


def frame_bytes(data: bytes, at: int) -> int | None:
    """Length of the frame at offset `at` with its header; None if the header is incomplete."""
    if len(data) - at < 2:
        return None
    length, start = data[at + 1] & _LENGTH_BITS, 2
    if length in _LENGTH_BYTES:
        start += _LENGTH_BYTES[length]
        if len(data) - at < start:
            return None
        length = int.from_bytes(data[at + 2 : at + start])
    return start + length + (_MASK_BYTES if data[at + 1] & _MASKED else 0)
