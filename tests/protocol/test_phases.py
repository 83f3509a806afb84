import itertools

import pytest

from fanout.protocol import START, FrameKind, Phase, UnexpectedFrameError
from fanout.protocol.phases import Input, input_of, next_phase

ALLOWED = {
    (Phase.GREETING, Input.START): Phase.OPENING,
    (Phase.OPENING, Input.HEADER): Phase.LISTING,
    (Phase.LISTING, Input.INSTRUMENTS): Phase.LISTING,
    (Phase.STREAMING, Input.HEADER): Phase.LISTING,
    (Phase.STREAMING, Input.END): Phase.ENDED,
} | {
    (Phase.STREAMING, each): Phase.STREAMING
    for each in (Input.INSTRUMENTS, Input.BLOCK, Input.EVENT, Input.UNKNOWN)
}


@pytest.mark.parametrize(("phase", "kind"), list(itertools.product(Phase, Input)))
def test_a_frame_leads_to_the_next_phase_or_is_refused(phase: Phase, kind: Input) -> None:
    if (phase, kind) in ALLOWED:
        assert next_phase(phase, kind) is ALLOWED[phase, kind]
    else:
        with pytest.raises(UnexpectedFrameError, match=f"{phase.name} got {kind.name}"):
            next_phase(phase, kind)


def test_a_payload_is_known_by_its_first_byte() -> None:
    events = (FrameKind.STATUS, FrameKind.GAP, FrameKind.LOSS, FrameKind.HEARTBEAT)
    inputs = dict.fromkeys(range(256), Input.UNKNOWN) | dict.fromkeys(events, Input.EVENT)
    updates = (FrameKind.QUOTES, FrameKind.BOOK, FrameKind.ORDERS)
    blocks = (FrameKind.TRADES, *updates, FrameKind.FEATURES)
    inputs |= dict.fromkeys(blocks, Input.BLOCK)
    inputs |= {
        FrameKind.HEADER: Input.HEADER,
        FrameKind.INSTRUMENTS: Input.INSTRUMENTS,
        FrameKind.END: Input.END,
    }
    assert {each: input_of(bytes([each]) + b"rest") for each in range(256)} == inputs
    assert input_of(START) is Input.START
