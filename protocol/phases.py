"""Where in a connection a subscriber is, and which frame may come there.

The whole order stands in one table, `_NEXT`; a frame that is not in it is the peer's fault.

    GREETING --START--> OPENING --header--> LISTING --instruments--> STREAMING --END--> ENDED
                                               ^                        |
                                               '-------- header --------'

The table leaves LISTING in LISTING: the session goes on to STREAMING once all instruments have
come, which the table cannot know.
"""

from enum import Enum, auto
from typing import Final

from fanout.protocol.constants import START, FrameKind
from fanout.protocol.errors import UnexpectedFrameError


class Phase(Enum):
    """Where in a connection a subscriber is."""

    GREETING = auto()
    """Nothing has come; START must."""
    OPENING = auto()
    """START has come; the header must."""
    LISTING = auto()
    """A header has come; its instruments must."""
    STREAMING = auto()
    ENDED = auto()
    """END has come; nothing may follow."""


class Input(Enum):
    """A frame, as far as the order of frames depends on it."""

    START = auto()
    HEADER = auto()
    INSTRUMENTS = auto()
    BLOCK = auto()
    EVENT = auto()
    END = auto()
    UNKNOWN = auto()


_NEXT: Final = {
    (Phase.GREETING, Input.START): Phase.OPENING,
    (Phase.OPENING, Input.HEADER): Phase.LISTING,
    (Phase.LISTING, Input.INSTRUMENTS): Phase.LISTING,
    (Phase.STREAMING, Input.HEADER): Phase.LISTING,
    (Phase.STREAMING, Input.INSTRUMENTS): Phase.STREAMING,
    (Phase.STREAMING, Input.BLOCK): Phase.STREAMING,
    (Phase.STREAMING, Input.EVENT): Phase.STREAMING,
    (Phase.STREAMING, Input.UNKNOWN): Phase.STREAMING,
    (Phase.STREAMING, Input.END): Phase.ENDED,
}

_INPUTS: Final[dict[int, Input]] = {
    FrameKind.HEADER: Input.HEADER,
    FrameKind.INSTRUMENTS: Input.INSTRUMENTS,
    FrameKind.TRADES: Input.BLOCK,
    FrameKind.QUOTES: Input.BLOCK,
    FrameKind.BOOK: Input.BLOCK,
    FrameKind.ORDERS: Input.BLOCK,
    FrameKind.FEATURES: Input.BLOCK,
    FrameKind.STATUS: Input.EVENT,
    FrameKind.GAP: Input.EVENT,
    FrameKind.LOSS: Input.EVENT,
    FrameKind.HEARTBEAT: Input.EVENT,
    FrameKind.END: Input.END,
}


def input_of(payload: bytes) -> Input:
    """Which input a frame's payload is."""
    if payload == START:
        return Input.START
    return _INPUTS.get(payload[0], Input.UNKNOWN)


def next_phase(phase: Phase, kind: Input) -> Phase:
    """The phase after an input. Raises `UnexpectedFrameError` for one that may not come now."""
    later = _NEXT.get((phase, kind))
    if later is None:
        raise UnexpectedFrameError(f"subscriber in {phase.name} got {kind.name}")
    return later
