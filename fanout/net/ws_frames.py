"""Where WebSocket frames begin and end (RFC 6455, 5.2), as far as one has to know to take the
ordinary ones, of which there are tens of thousands a second, without the protocol core.

An ordinary frame is a whole text message, unmasked and of less than 64 KiB, in one piece. All
others are the core's: the control frames, the fragments, the compressed and the broken.
"""

from typing import Final

_WHOLE_TEXT: Final = 0x81
_LENGTH_BITS: Final = 0x7F
_MASKED: Final = 0x80
_MASK_BYTES: Final = 4
_LENGTH_BYTES: Final = {126: 2, 127: 8}
"""Of the length that follows, by what stands in its place."""


def take_texts(data: bytes, at: int, messages: list[bytes]) -> int:
    """Append the ordinary messages that are complete from offset `at` on, up to the first frame
    that is another. Gives the offset behind them."""
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
    """How long the frame is that begins at offset `at`, its header included; None while there is
    too little of that to tell."""
    if len(data) - at < 2:
        return None
    length, start = data[at + 1] & _LENGTH_BITS, 2
    if length in _LENGTH_BYTES:
        start += _LENGTH_BYTES[length]
        if len(data) - at < start:
            return None
        length = int.from_bytes(data[at + 2 : at + start])
    return start + length + (_MASK_BYTES if data[at + 1] & _MASKED else 0)
