"""The compiled twins of the ring, beside the plain functions: the same bytes, values and errors."""

from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.protocol import frame
from fanout.protocol.constants import U64_MAX
from fanout.protocol.ring import RingReader, RingWriter
from fanout.protocol.ring_page import DATA_AT, INTENT_WORD, TAIL_WORD
from fanout.protocol.speedups import PLAIN
from tests.thoroughness import examples
from tests.twins import outcome, twins_of

CAPACITY = 4096


def twins() -> ModuleType:
    return twins_of("fanout.protocol._speedups")


class Ring:
    """A ring of which each end works in one way."""

    def __init__(self, ways: Any, start: int) -> None:
        self.buffer = bytearray(DATA_AT + CAPACITY)
        self.writer = RingWriter(self.buffer, header=None, pid=1, start=start)
        self.reader = RingReader(memoryview(self.buffer).toreadonly())
        self.push, self.pop = ways["RingWriter_push"], ways["RingReader_pop"]

    def move(self, word: int, number: int) -> None:
        words = memoryview(self.buffer).cast("Q")
        words[word] = (words[word] + number - 700) & U64_MAX

    def step(self, action: tuple[str, int]) -> object:
        what, number = action
        match what:
            case "push":
                frames = frame(bytes([number % 251]) * number)
                return outcome(self.push, self.writer, frames, number)
            case "pop":
                return [outcome(self.pop, self.reader) for _ in range(number % 5)]
            case "begin":
                return outcome(self.reader.begin_oldest), self.reader.position
            case "intent":
                self.move(INTENT_WORD, number)
            case "tail":
                self.move(TAIL_WORD, number)
            case "magic":
                self.buffer[0] ^= number % 2
            case "noise":
                self.buffer[DATA_AT + number : DATA_AT + number + 8] = bytes([number % 256]) * 8
        return None


USUAL = st.tuples(
    st.sampled_from(["push", "push", "pop", "begin"]), st.integers(1, 300) | st.integers(1, 1_100)
)
HARM = st.tuples(st.sampled_from(["intent", "tail", "magic", "noise"]), st.integers(1, 1_400))


@settings(max_examples=examples(50), deadline=None)
@given(
    st.lists(USUAL | USUAL | USUAL | HARM, max_size=40),
    st.integers(2**64 - 5000, 2**64 - 1) | st.just(0),
)
def test_rings_are_used_alike_whatever_happens_to_them(
    actions: list[tuple[str, int]], start: int
) -> None:
    compiled, plain = Ring(vars(twins()), start), Ring(PLAIN, start)
    for action in actions:
        assert compiled.step(action) == plain.step(action)
        assert compiled.buffer == plain.buffer
        assert compiled.writer.position == plain.writer.position


@pytest.mark.parametrize("frames", [bytearray(8), memoryview(bytes(8)), None, b"", bytes(5000)])
@pytest.mark.parametrize("next_seq", [0, 5, U64_MAX, U64_MAX + 1, -1, "5"])
def test_anything_that_is_pushed_has_the_same_outcome(frames: Any, next_seq: Any) -> None:
    compiled, plain = Ring(vars(twins()), 0), Ring(PLAIN, 0)
    assert outcome(compiled.push, compiled.writer, frames, next_seq) == outcome(
        plain.push, plain.writer, frames, next_seq
    )
    assert compiled.buffer == plain.buffer


def test_a_ring_that_was_let_go_of_is_refused_alike() -> None:
    for ways in (vars(twins()), PLAIN):
        ring = Ring(ways, 0)
        ring.writer.release()
        ring.reader.release()
        with pytest.raises(ValueError, match="released"):
            ring.push(ring.writer, frame(b"1"), 2)
        with pytest.raises(ValueError, match="released"):
            ring.pop(ring.reader)


def test_a_push_through_a_reader_is_refused_alike() -> None:
    """Whoever calls the twin past its class: it would write where the reader may only read."""
    ring = Ring(vars(twins()), 0)
    before = bytes(ring.buffer)
    for ways in (vars(twins()), PLAIN):
        for frames in (frame(b"1"), b""):
            with pytest.raises(AttributeError):
                ways["RingWriter_push"](ring.reader, frames, 2)
    assert ring.buffer == before


def test_a_long_push_is_the_same_either_way() -> None:
    data = bytes(range(256)) * 100
    found = []
    for ways in (vars(twins()), PLAIN):
        buffer = bytearray(DATA_AT + 2**17)
        writer = RingWriter(buffer, header=None, pid=1, start=2**17 - 9)
        ways["RingWriter_push"](writer, frame(data), 2)
        reader = RingReader(buffer)
        reader.begin_oldest()
        assert ways["RingReader_pop"](reader) == data
        found.append(bytes(buffer))
    assert found[0] == found[1]
