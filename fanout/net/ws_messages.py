"""Bytes of a WebSocket taken apart into messages, by `websockets`' sans-I/O core.

The core speaks the protocol and judges it. Only ordinary messages, which leave nothing to judge,
are taken past it: that costs a sixth of what the core does.
"""

from typing import Final

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from fanout.net.ws_frames import frame_bytes, take_texts

_MESSAGE_STARTS: Final = (Opcode.TEXT, Opcode.BINARY)


class MessageReader:
    """What came over one connection, from its handshake on."""

    def __init__(self, core: ClientProtocol) -> None:
        self._core = core
        self._partial: bytearray | None = None
        """What has come of a message that is in fragments. One piece: empty ones take no room."""
        self._header = b""
        """The beginning of a frame of which more has to come to tell how long it is."""
        self._owed = 0
        """How much of what comes belongs to a frame that the core has a part of."""

    def take(self, data: bytes, messages: list[bytes]) -> None:
        """Append the messages in what a read brought."""
        if self._core.state is State.CONNECTING:
            data = self._take_handshake(data)
        data, at, self._header = self._header + data, 0, b""
        while at < len(data):
            if self._is_open_for_messages:
                at = take_texts(data, at, messages)
            size = self._owed or frame_bytes(data, at)
            if self._core.state is not State.OPEN:
                size = len(data) - at  # what it is does not matter any more
            elif size is None:
                self._header = data[at:]
                return
            self._core.receive_data(data[at : at + size])
            at += size
            self._owed = max(0, at - len(data))
            self._take_events(messages)

    def _take_handshake(self, data: bytes) -> bytes:
        """Give the core its answer to the handshake, a line at a time, so that what follows is
        still ours. Gives that."""
        at, core = 0, self._core
        while at < len(data) and core.state is State.CONNECTING and core.handshake_exc is None:
            start, at = at, data.find(b"\n", at) + 1 or len(data)
            core.receive_data(data[start:at])
        core.events_received()  # the answer itself
        return data[at:]

    @property
    def _is_open_for_messages(self) -> bool:
        """Whether a message can begin here. Inside of a fragmented one that would be a fault, and
        after a close frame it is to be ignored."""
        return self._core.state is State.OPEN and self._partial is None and not self._owed

    def _take_events(self, messages: list[bytes]) -> None:
        """Take the messages that the core has found."""
        for event in self._core.events_received():
            # The only events after the handshake are frames; control frames among them have
            # been dealt with by the protocol core.
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
