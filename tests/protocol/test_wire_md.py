"""The worked examples of WIRE.md are the published bytes, and mean what the page says."""

import re
from pathlib import Path

import pytest

from fanout import protocol
from fanout.protocol import (
    Line,
    Packer,
    Position,
    Request,
    SlowPolicy,
    decode_packet,
    decode_request,
    encode_request,
    frame,
    on_line,
    queue_page,
    ring_page,
)
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX_MAGIC,
    FileHeader,
    Place,
    decode_file_header,
    decode_places,
    encode_file_header,
    encode_places,
)
from fanout.protocol.journal_packed import CHUNK_BYTES, Chunk, encode_table, read_table
from tests.protocol import golden

WIRE_MD = (Path(protocol.__file__).parent / "WIRE.md").read_text()
EXAMPLES = dict(re.findall(r"```wire (\w+)\n(.*?)```", WIRE_MD, re.DOTALL))


def example(name: str) -> bytes:
    """The bytes of an example: on each line, what stands before the first wide gap."""
    rows = EXAMPLES[name].splitlines()
    return b"".join(bytes.fromhex(re.split(r" {3,}", row)[0]) for row in rows)


def test_there_is_an_example_of_each_kind_of_frame() -> None:
    assert set(EXAMPLES) == {*golden.NAMES, "request", "segment", "index", "table", "packet"}


def test_the_example_of_a_request_is_what_a_client_sends() -> None:
    request = Request(
        start=Position(epoch_ns=golden.HEADER.epoch_ns, seq=1_002), slow=SlowPolicy.DISCONNECT
    )
    assert example("request") == frame(encode_request(request))
    assert decode_request(example("request")[4:]) == request


def test_the_examples_of_files_are_what_a_journal_writes() -> None:
    header = FileHeader(
        epoch_ns=golden.HEADER.epoch_ns, first_seq=1_001, created_ns=1_795_219_260_000_000_000
    )
    places = [Place(seq=2_417, time_ns=1_795_219_261_000_000_000, offset=65_612, opening=73)]
    assert example("segment") == encode_file_header(header)
    assert example("index") == encode_file_header(header, INDEX_MAGIC) + encode_places(places)
    assert decode_file_header(example("segment")) == header
    assert decode_places(example("index")[FILE_HEADER_BYTES:]) == places


def test_the_example_of_a_packet_is_what_a_packer_makes() -> None:
    frames = b"".join(frame(golden.payload(name)) for name in ("trades", "status"))
    packer = Packer(golden.HEADER, channel=1, number=4_207)
    (packet,) = packer.pack(frames, 1_791_382_992_840_223_456)
    assert example("packet") == on_line(packet, Line.B)
    assert decode_packet(example("packet")).frames == frames


@pytest.mark.parametrize("name", golden.NAMES)
def test_an_example_is_the_published_frame(name: str) -> None:
    assert example(name) == frame(golden.payload(name))


@pytest.mark.parametrize("name", golden.NAMES)
def test_an_example_decodes_to_what_the_page_says_and_encodes_to_the_same_bytes(name: str) -> None:
    payload = example(name)[4:]
    assert golden.decode(name, payload) == golden.value(name)
    assert golden.encode(name) == payload


@pytest.mark.parametrize(
    ("code", "type_"),
    [
        (name, type_)
        for type_ in (
            protocol.TradeKind,
            protocol.FeedState,
            protocol.GapState,
            protocol.LossReason,
            protocol.EndReason,
            protocol.InstrumentType,
            protocol.Absence,
        )
        for name in type_.__members__
    ],
)
def test_every_code_is_on_the_page_with_its_number(
    code: str, type_: type[protocol.TradeKind]
) -> None:
    assert re.search(rf"\b{type_[code].value} {code}\b", WIRE_MD)


@pytest.mark.parametrize(
    ("byte", "field"),
    [
        (8 * queue_page.MAGIC_WORD, "magic"),
        (8 * queue_page.VERSION_WORD, "layout version"),
        (8 * queue_page.CAPACITY_WORD, "capacity"),
        (8 * queue_page.EPOCH_WORD, "`epoch_ns`"),
        (8 * queue_page.WRITER_PID_WORD, "writer's pid"),
        (8 * queue_page.READER_PID_WORD, "reader's pid"),
        (8 * queue_page.STATE_WORD, "state"),
        (8 * queue_page.WRITE_WORD, "write cursor"),
        (8 * queue_page.READ_WORD, "read cursor"),
        (8 * queue_page.READERS_WORD, "readers"),
        (8 * queue_page.RESUME_WORD, "resume"),
        (8 * queue_page.HEARTBEAT_WORD, "heartbeat"),
        (queue_page.TAIL_AT, "tail"),
        (queue_page.HEADER_SLOTS_AT[0], "header slot 0"),
        (queue_page.HEADER_SLOTS_AT[1], "header slot 1"),
    ],
)
def test_the_page_of_a_queue_is_laid_out_as_the_table_says(byte: int, field: str) -> None:
    assert f"| {byte} | {field} |" in WIRE_MD


@pytest.mark.parametrize(
    ("byte", "field"),
    [
        (8 * ring_page.MAGIC_WORD, "ring magic"),
        (8 * ring_page.VERSION_WORD, "ring layout version"),
        (8 * ring_page.CAPACITY_WORD, "capacity of the ring"),
        (8 * ring_page.EPOCH_WORD, "epoch of the ring"),
        (8 * ring_page.WRITER_PID_WORD, "pid of the ring's writer"),
        (8 * ring_page.STATE_WORD, "state of the ring"),
        (8 * ring_page.INTENT_WORD, "intent"),
        (8 * ring_page.NEXT_SEQ_WORD, "next seq"),
        (8 * ring_page.TAIL_WORD, "ring tail"),
        (8 * ring_page.HEARTBEAT_WORD, "heartbeat of the ring"),
        (8 * ring_page.SNAPSHOT_VERSION_WORD, "snapshot version"),
        (8 * ring_page.SNAPSHOT_FROM_WORD, "snapshot from"),
        (8 * ring_page.SNAPSHOT_TO_WORD, "snapshot to"),
        (8 * ring_page.SNAPSHOT_SEQ_WORD, "snapshot seq"),
        (8 * ring_page.SNAPSHOT_STATE_WORD, "snapshot state"),
        (8 * ring_page.LANDMARK_WORDS[0], "landmarks"),
        (ring_page.HEADER_SLOTS_AT[0], "ring header slot 0"),
        (ring_page.HEADER_SLOTS_AT[1], "ring header slot 1"),
        (ring_page.TABLE_AT, "readers of the ring"),
        (ring_page.DATA_AT, "data of the ring"),
    ],
)
def test_the_page_of_a_ring_is_laid_out_as_the_table_says(byte: int, field: str) -> None:
    assert f"| {byte} | {field} |" in WIRE_MD


def test_the_table_of_a_compressed_segment_is_as_shown() -> None:
    chunks = [Chunk(346_986, CHUNK_BYTES), Chunk(999, 3_000)]
    table = example("table")
    assert encode_table(chunks) == table
    size = 346_986 + 999 + len(table)
    assert read_table(lambda at, n: table[at - size :][:n], size) == chunks
