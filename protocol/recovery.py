"""What a TCP connection brings to a reader of packets: payloads, and the header that each is under.

A reader of packets asks over TCP for what it lacks. The stream that answers begins like every
other. `RecoveryStream` follows its headers, and gives every other payload with the header that is
in force there, so that the reader can put it among the frames of its packets.
"""

from fanout.protocol.constants import FrameKind
from fanout.protocol.framing import FrameReader
from fanout.protocol.header import Gathering
from fanout.protocol.instruments import with_instruments
from fanout.protocol.phases import Input, Phase, input_of, next_phase
from fanout.protocol.records import Header


class RecoveryStream:
    """One TCP connection."""

    def __init__(self) -> None:
        self.header: Header | None = None
        """In force behind the newest payload; None before the first."""
        self.is_new_header = False
        """Whether the newest payload changed it."""
        self._phase = Phase.GREETING
        self._gathering: Gathering | None = None
        self._frames = FrameReader()

    def feed(self, data: bytes) -> None:
        """Take what a read brought."""
        self._frames.feed(data)

    def next_payload(self) -> bytes | None:
        """The next payload, of whatever kind; None until more bytes come. Raises `PeerError`."""
        payload = self._frames.next_payload()
        self.is_new_header = False
        if payload is None:
            return None
        self._phase = next_phase(self._phase, input_of(payload))
        if payload[0] == FrameKind.HEADER:
            self._gathering = Gathering.begin(payload)
        elif payload[0] == FrameKind.INSTRUMENTS:
            if self._gathering is not None:
                self._gathering = self._gathering.add(payload)
            else:
                assert self.header is not None, "the table allows none before a header"
                self.header, self.is_new_header = with_instruments(self.header, payload), True
        if self._gathering is not None and self._gathering.is_complete:
            self.header, self.is_new_header = self._gathering.header, True
            self._gathering, self._phase = None, Phase.STREAMING
        return payload


def is_before_stream(payload: bytes) -> bool:
    """Whether a payload only opens a stream or changes its header."""
    return input_of(payload) in (Input.START, Input.HEADER, Input.INSTRUMENTS)
