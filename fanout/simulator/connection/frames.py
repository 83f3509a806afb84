"""Payloads as WebSocket frames. A server's frames carry no mask, so one frame serves all clients.

    byte 0     0x80 (whole) | opcode: 1 text, 2 binary
    byte 1     length up to 125; or 126 and two bytes of length; or 127 and eight

RFC 6455, 5.2. The clients' WebSocket library shares no code with this.
"""

from struct import Struct
from typing import Any, Final

import msgspec

_SHORT: Final = Struct("!BB")
_MEDIUM: Final = Struct("!BBH")
_LONG: Final = Struct("!BBQ")
_TEXT: Final = 0x81
_BINARY: Final = 0x82


def text_frame(text: bytes) -> bytes:
    """`text` is UTF-8."""
    length = len(text)
    if 125 < length < 1 << 16:  # nearly all market data: no second call
        return _MEDIUM.pack(_TEXT, 126, length) + text
    return _header(_TEXT, length) + text


def binary_frame(data: bytes) -> bytes:
    return _header(_BINARY, len(data)) + data


def event_frame(name: str, fields: dict[str, Any], now_ms: int, *, combined: bool) -> bytes:
    """An event as JSON. In an envelope its stream is `!name`, as in Binance's `serverShutdown`."""
    payload = msgspec.json.encode({"e": name, "E": now_ms} | fields)
    if combined:
        payload = b'{"stream":%b,"data":%b}' % (msgspec.json.encode(f"!{name}"), payload)
    return text_frame(payload)


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return _SHORT.pack(first, length)
    if length < 1 << 16:
        return _MEDIUM.pack(first, 126, length)
    return _LONG.pack(first, 127, length)
