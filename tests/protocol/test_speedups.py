"""The compiled twins give what the plain functions give, value for value and error for error."""

import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.protocol import Block, BlockFlags, Header, Trade, TradeKind
from fanout.protocol.block import encode_block
from fanout.protocol.framing import frame, seal, unseal
from fanout.protocol.queue import QueueReader, QueueWriter
from fanout.protocol.queue_page import PAGE_BYTES, READ_WORD, WRITE_WORD
from fanout.protocol.rows import rows_of
from fanout.protocol.speedups import PLAIN
from tests.protocol.golden import BTC, HEADER, TRADES
from tests.protocol.strategies import blocks, headers
from tests.thoroughness import examples
from tests.twins import outcome, same_outcome, twins_of

CAPACITY = 4096


def twins() -> ModuleType:
    return twins_of("fanout.protocol._speedups")


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    twins()


def both(name: str, *arguments: object) -> object:
    return same_outcome(twins(), PLAIN, name, *arguments)


def read_alike(payload: bytes, header: Header) -> None:
    both("decode_block", payload, header)
    both("rows_of", [payload], header)
    both("rows_of", (payload, payload), header)


WRITTEN = headers().flatmap(lambda header: st.tuples(st.just(header), blocks(header)))


def test_every_twin_has_a_plain_function() -> None:
    public = {name for name, each in vars(twins()).items() if callable(each)}
    assert set(PLAIN) <= public


@given(WRITTEN)
def test_blocks_are_written_and_read_alike(written: tuple[Header, Block]) -> None:
    header, block = written
    payload = both("encode_block", block, header)
    assert isinstance(payload, bytes)
    read_alike(payload, header)


@given(WRITTEN, st.data())
def test_broken_payloads_are_refused_alike(
    written: tuple[Header, Block], data: st.DataObject
) -> None:
    header, block = written
    body = bytearray(unseal(encode_block(block, header)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] = data.draw(
            st.sampled_from([0, 1, 2, 0x7E, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)
        )
    end = data.draw(st.integers(0, len(body)) | st.just(len(body)))
    read_alike(seal(body[:end]), header)


def test_every_cut_and_every_flipped_bit_is_refused_alike() -> None:
    payload = encode_block(TRADES, HEADER)
    for end in range(len(payload)):
        read_alike(payload[:end], HEADER)
        read_alike(seal(payload[:end]), HEADER)
    body = unseal(payload)
    for bit in range(8 * len(body)):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        read_alike(bytes(flipped) + payload[-4:], HEADER)
        read_alike(seal(flipped), HEADER)
        read_alike(seal(flipped + b"garbage"), HEADER)


@settings(max_examples=examples(100))
@given(st.binary(max_size=80), st.integers(0, 3), st.integers(0, 1026))
def test_bytes_that_may_be_trades_are_read_alike(tail: bytes, flags: int, count: int) -> None:
    prefix = bytes([0x10, flags, 0]) + count.to_bytes(2, "little") + bytes([7, *[0] * 7] * 2)
    read_alike(seal(prefix + tail), HEADER)


@pytest.mark.parametrize("payload", [bytearray(40), memoryview(bytes(40)), None, "text", b""])
def test_the_twins_refuse_the_same_arguments_as_payloads(payload: Any) -> None:
    both("decode_block", payload, HEADER)
    both("rows_of", [payload], HEADER)
    both("rows_of", payload, HEADER)


@given(
    headers().flatmap(
        lambda header: st.tuples(st.just(header), st.lists(blocks(header), max_size=4))
    )
)
def test_many_blocks_become_rows_alike(written: tuple[Header, list[Block]]) -> None:
    header, many = written
    payloads = [encode_block(each, header) for each in many]
    rows = both("rows_of", payloads, header)
    assert rows == outcome(rows_of, iter(payloads), header)


def test_a_bytearray_with_a_block_is_read_alike() -> None:
    read_alike(bytearray(encode_block(TRADES, HEADER)), HEADER)  # type: ignore[arg-type]


STRANGE = [-1, 2**63, 2**64, 2**64 - 1, -(2**63), -(2**63) - 1, 2**80, 1.0, True, None, "1", 0]


@pytest.mark.parametrize("value", STRANGE, ids=repr)
@pytest.mark.parametrize(
    "field", [each for each in Trade.__struct_fields__ if each not in ("seq", "received_ns")]
)
def test_strange_trades_are_written_or_refused_alike(field: str, value: Any) -> None:
    trades = [*TRADES.trades, replace(TRADES.trades[0], **{field: value})]
    both("encode_block", replace(TRADES, trades=trades), HEADER)
    both("encode_block", replace(TRADES, trades=trades[::-1]), HEADER)


@pytest.mark.parametrize("value", [*STRANGE, BlockFlags.SNAPSHOT, 255, 256, [], (), "abc", [1]])
@pytest.mark.parametrize("field", Block.__struct_fields__)
def test_strange_blocks_are_written_or_refused_alike(field: str, value: Any) -> None:
    both("encode_block", replace(TRADES, **{field: value}), HEADER)


@pytest.mark.parametrize(
    "header",
    [
        None,
        replace(HEADER, references=()),
        replace(HEADER, instruments=()),
        replace(HEADER, references=list(HEADER.references)),
        replace(HEADER, references=(None, None)),
        replace(HEADER, references=(replace(HEADER.references[0], price=2**70),) * 2),
        replace(HEADER, references=(replace(HEADER.references[0], time=-1),) * 2),
        replace(HEADER, references=(replace(HEADER.references[0], trade_id=1.5),) * 2),
    ],
)
def test_strange_headers_are_used_or_refused_alike(header: Any) -> None:
    both("encode_block", TRADES, header)
    both("decode_block", encode_block(TRADES, HEADER), header)


def test_other_sequences_of_trades_are_written_alike() -> None:
    class Trades(tuple[Trade, ...]):
        __slots__ = ()

    for make in (tuple, Trades):
        both("encode_block", replace(TRADES, trades=make(TRADES.trades)), HEADER)
    instrument = SimpleNamespace(index=0)
    both(
        "encode_block",
        replace(TRADES, trades=[replace(TRADES.trades[0], instrument=instrument)]),
        HEADER,
    )
    for index in (-1, 2, 126, 127, 128, 300, 2**70, None):
        trade = replace(TRADES.trades[0], instrument=replace(BTC, index=index))
        both("encode_block", replace(TRADES, trades=[trade]), HEADER)


def test_a_full_block_of_the_longest_trades_is_written_and_read_alike() -> None:
    trades = [
        Trade(BTC, 2**63 * (n % 2), 2**63 * (n % 2), -(2**63) * (n % 2), 2**64 - 1, True, kind)
        for n, kind in enumerate([TradeKind.MARKET, TradeKind.ADL] * 512)
    ]
    payload = both("encode_block", replace(TRADES, trades=trades), HEADER)
    assert isinstance(payload, bytes)
    read_alike(payload, HEADER)
    both("encode_block", replace(TRADES, trades=[*trades, trades[0]]), HEADER)


class Queue:
    """A queue of which each end works in one way."""

    def __init__(self, ways: Any, start: int) -> None:
        self.buffer = bytearray(PAGE_BYTES + CAPACITY)
        self.writer = QueueWriter(self.buffer, header=None, pid=1, start=start)
        self.reader = QueueReader(self.buffer, pid=2)
        self.push, self.pop = ways["QueueWriter_push"], ways["QueueReader_pop"]

    def words(self) -> memoryview:
        return memoryview(self.buffer).cast("Q")

    def step(self, action: tuple[str, int]) -> object:
        what, number = action
        match what:
            case "push":
                return outcome(self.push, self.writer, frame(bytes([number % 251]) * number))
            case "pop":
                return [outcome(self.pop, self.reader) for _ in range(number % 5)]
            case "write cursor":
                self.words()[WRITE_WORD] = (self.words()[WRITE_WORD] + number - 700) % 2**64
            case "read cursor":
                self.words()[READ_WORD] = (self.words()[READ_WORD] + number - 700) % 2**64
            case "magic":
                self.words()[0] ^= number % 2
            case "noise":
                self.buffer[PAGE_BYTES + number : PAGE_BYTES + number + 8] = (
                    bytes([number % 256]) * 8
                )
        return None


USUAL = st.tuples(st.sampled_from(["push", "pop", "pop"]), st.integers(1, 1400))
HARM = st.tuples(
    st.sampled_from(["write cursor", "read cursor", "magic", "noise"]), st.integers(1, 1400)
)


@settings(max_examples=examples(100))
@given(
    st.lists(USUAL | USUAL | USUAL | HARM, max_size=40),
    st.integers(2**64 - 5000, 2**64 - 1) | st.just(0),
)
def test_queues_are_used_alike_whatever_happens_to_them(
    actions: list[tuple[str, int]], start: int
) -> None:
    compiled, plain = Queue(vars(twins()), start), Queue(PLAIN, start)
    for action in actions:
        assert compiled.step(action) == plain.step(action)
        assert compiled.buffer == plain.buffer


@pytest.mark.parametrize("frames", [bytearray(8), memoryview(bytes(8)), None, b"", bytes(5000)])
def test_anything_that_is_pushed_has_the_same_outcome(frames: Any) -> None:
    compiled, plain = Queue(vars(twins()), 0), Queue(PLAIN, 0)
    assert outcome(compiled.push, compiled.writer, frames) == outcome(
        plain.push, plain.writer, frames
    )
    assert compiled.buffer == plain.buffer


def test_a_queue_that_was_let_go_of_is_refused_alike() -> None:
    for ways in (vars(twins()), PLAIN):
        queue = Queue(ways, 0)
        queue.writer.release()
        queue.reader.release()
        with pytest.raises(ValueError, match="released"):
            queue.push(queue.writer, frame(b"1"))
        with pytest.raises(ValueError, match="released"):
            queue.pop(queue.reader)


@pytest.mark.parametrize(("pure", "expected"), [("0", "True"), ("", "True"), ("1", "False")])
def test_the_environment_switches_the_twins_off(pure: str, expected: str) -> None:
    code = "from fanout.protocol.speedups import IS_COMPILED; print(IS_COMPILED)"
    environment = {**os.environ, "FANOUT_PURE": pure}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


def test_a_push_through_a_reader_is_refused_alike() -> None:
    """Whoever calls the twin past its class: it would read beyond the object."""
    queue = Queue(vars(twins()), 0)
    assert queue.push(queue.writer, frame(b"1"))
    for ways in (vars(twins()), PLAIN):
        for frames in (frame(b"1"), b""):
            with pytest.raises(AttributeError):
                ways["QueueWriter_push"](queue.reader, frames)
