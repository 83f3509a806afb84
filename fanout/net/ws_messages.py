"""Splits the bytes of a WebSocket into messages, with the sans-I/O core of `websockets`.

The core implements and enforces the protocol. Ordinary messages need no checks, so they bypass it:
that costs a sixth of the core's time.
"""

from typing import Final

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from fanout.net.ws_frames import frame_bytes, take_texts

_MESSAGE_STARTS: Final = (Opcode.TEXT, Opcode.BINARY)


class MessageReader:
    """Reads the messages of one connection, from its handshake on."""

    def __init__(self, core: ClientProtocol) -> None:
        self._core = core
        self._partial: bytearray | None = None
        """The fragments of an incomplete message, joined, so that empty fragments use no memory."""
        self._header = b""
        """The beginning of a frame whose length field is still incomplete."""
        self._owed = 0
        """Bytes still to come of a frame that the core has in part."""

    def take(self, data: bytes, messages: list[bytes]) -> None:
        """Append the messages that `data`, the bytes of one read, completes."""
        if self._core.state is State.CONNECTING:
            data = self._take_handshake(data)
        data, at, self._header = self._header + data, 0, b""
        while at < len(data):
            if self._is_open_for_messages:
                at = take_texts(data, at, messages)
            size = self._owed or frame_bytes(data, at)
            if self._core.state is not State.OPEN:
                size = len(data) - at  # the core ignores it after the close
            elif size is None:
                self._header = data[at:]
                return
            self._core.receive_data(data[at : at + size])
            at += size
            self._owed = max(0, at - len(data))
            self._take_events(messages)

    def _take_handshake(self, data: bytes) -> bytes:
        """Pass the handshake's response to the core line by line. Returns the bytes behind it."""
        at, core = 0, self._core
        while at < len(data) and core.state is State.CONNECTING and core.handshake_exc is None:
            start, at = at, data.find(b"\n", at) + 1 or len(data)
            core.receive_data(data[start:at])
        core.events_received()  # the response itself
        return data[at:]

    @property
    def _is_open_for_messages(self) -> bool:
        """Whether a message may begin here. Within a fragmented message it would be a protocol
        error, and after a close frame it is ignored."""
        return self._core.state is State.OPEN and self._partial is None and not self._owed

    def _take_events(self, messages: list[bytes]) -> None:
        """Append the messages that the core has decoded."""
        for event in self._core.events_received():
            # After the handshake all events are frames. The core has handled control frames.
            if not isinstance(event, Frame):
                continue
            if event.opcode in _MESSAGE_STARTS and event.fin:
                messages.append(bytes(event.data))
            elif event.opcode in _MESSAGE_STARTS or event.opcode is Opcode.CONT:
                self._partial = self._partial or bytearray()
                self._partial += event.data
                if event.fin:
                    messages.append(bytes(self._partial))
                    self._partial = None
