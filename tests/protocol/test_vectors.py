"""The published vectors, run against this implementation, compiled and plain.

Another implementation is held against the same file: see `examples/node`.
"""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanout import protocol
from fanout.protocol import (
    START,
    FrameKind,
    Header,
    Line,
    Loss,
    NotRepresentableError,
    PeerError,
    Phase,
    Record,
    Skipped,
    SubscriberSession,
    decode_opening,
    decode_packet,
    decode_request,
    encode_packet,
    encode_request,
    errors,
    frame,
    on_line,
)
from fanout.protocol.blocks import UPDATE_DECODERS
from fanout.protocol.framing import payloads_of
from fanout.protocol.journal import FILE_HEADER_BYTES, decode_file_header, encode_file_header
from fanout.protocol.journal_scan import Fault, scan
from fanout.protocol.packets import ListingSums
from fanout.protocol.packets import frames_of as packet_frames
from fanout.protocol.speedups import IS_COMPILED, PLAIN
from tests.protocol import vector_values as values
from tests.vectors import __main__ as maker
from tests.vectors.packets import FLAGS

WIRE_MD = (Path(protocol.__file__).parent / "WIRE.md").read_text()
VECTORS = json.loads(maker.PATH.read_text())

REJECTION_GLUE = ["by closing the connection", "or", "in the middle of a connection", "section 6"]
"""What else the specification says where it lists what to reject."""

PACKET_FIELDS = (
    "channel",
    "line",
    "listing",
    "epoch_ns",
    "next_seq",
    "stop_seq",
    "sent_ns",
    "number",
)

Vector = dict[str, Any]


def each_of(*groups: str) -> pytest.MarkDecorator:
    found = [
        pytest.param(vector, id=f"{group}: {vector['name']}")
        for group in groups
        for vector in VECTORS[group]
    ]
    return pytest.mark.parametrize("vector", found)


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def _twins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test twice: with the twins, and without."""
    if request.param == "plain":
        monkeypatch.setattr("fanout.protocol.session.decode_block", PLAIN["decode_block"])
        for kind, decode in UPDATE_DECODERS.items():
            monkeypatch.setitem(UPDATE_DECODERS, kind, PLAIN.get(decode.__name__, decode))
        for name in ("block", "quotes", "book", "orders"):
            for each in (f"decode_{name}", f"encode_{name}"):
                monkeypatch.setattr(f"tests.protocol.vector_values.{each}", PLAIN[each])
    elif not IS_COMPILED:
        pytest.skip("the compiled twins are not built")


def frames_of(vector: Vector) -> list[bytes]:
    opening = VECTORS["opening"]["frames"] if vector.get("opened") else []
    return [bytes.fromhex(each) for each in (*opening, *vector["frames"])]


def events_of(vector: Vector) -> list[Vector]:
    opening = VECTORS["opening"]["events"] if vector.get("opened") else []
    return [*opening, *vector["events"]]


def session_of(vector: Vector) -> SubscriberSession:
    session = SubscriberSession()
    if "ask" in vector:
        session.ask(values.start(vector["ask"]["start"]))
    return session


def told(session: SubscriberSession, frames: list[bytes]) -> Iterator[Vector]:
    """What a session makes of frames, in the form that vectors have it in."""
    for data in frames:
        session.receive(data)
        header, phase = session.header, session.phase
        records = session.next_records()
        assert records is not None, "a vector's frames are whole"
        (payload,) = payloads_of(data)
        kind = payload[0]
        is_opening = kind == FrameKind.HEADER or phase is Phase.LISTING
        if is_opening or kind == FrameKind.INSTRUMENTS:
            assert session.header is not None or not records
            yield from told_of_header(payload, records, session, is_opening=is_opening)
        else:
            yield from told_of(payload, records, header)


def told_of_header(
    payload: bytes, records: list[Record], session: SubscriberSession, *, is_opening: bool
) -> Iterator[Vector]:
    """A header comes out once it has all its instruments; later ones come out by themselves."""
    if session.phase is Phase.LISTING:
        assert records == []
        return
    for each in records:
        assert isinstance(each, Loss)
        yield {"event": "hole", "first_seq": each.first_seq, "last_seq": each.last_seq}
    assert session.header is not None
    header = session.header
    yield values.told_header(header) if is_opening else values.told_run(payload, header)


def told_of(payload: bytes, records: list[Record], header: Header | None) -> Iterator[Vector]:
    if payload == protocol.START:
        return
    assert header is not None
    if records and isinstance(records[-1], Skipped):
        *lost, skipped = records
        yield from ({"event": "hole", **_numbers(each)} for each in lost)
        yield {"event": "skipped", "kind": payload[0], **_numbers(skipped)}
        return
    found = values.decoded(payload, header)
    own = values.records_of(found)
    holes = records[: len(records) - len(own)]
    assert records[len(holes) :] == own
    for each in holes:
        assert isinstance(each, Loss)
        yield {"event": "hole", "first_seq": each.first_seq, "last_seq": each.last_seq}
    yield values.told(found, payload[0])


def _numbers(record: Record) -> Vector:
    assert isinstance(record, Loss | Skipped)
    return {"first_seq": record.first_seq, "last_seq": record.last_seq}


def test_the_file_is_what_the_generator_makes() -> None:
    assert maker.PATH.read_text(encoding="utf-8") == maker.text()
    assert maker.PATH.stat().st_size < 2_400_000


def test_every_rule_is_a_phrase_of_the_specification() -> None:
    page = " ".join(WIRE_MD.split())
    groups = ("must_reject", "tolerated", "writer_must_refuse", "requests_must_reject")
    groups = (*groups, "segments_must_reject", "packets_must_reject")
    rules = {vector["rule"] for group in groups for vector in VECTORS[group]}
    assert [each for each in rules if each not in page] == []


def test_every_rule_of_rejection_has_a_vector() -> None:
    said = re.findall(r"\*\*Reject\*\*(.*?)\*\*Tolerate", WIRE_MD, re.DOTALL)
    glues = (REJECTION_GLUE, ["by skipping the whole packet"])
    for page, group, glue in zip(said, ("must_reject", "packets_must_reject"), glues, strict=True):
        rest = " ".join(page.split())
        for rule in {vector["rule"] for vector in VECTORS[group]}:
            rest = rest.replace(rule, "")
        assert re.findall(r"\w+", rest) == " ".join(glue).split()


@each_of("valid", "tolerated")
def test_a_stream_is_understood(vector: Vector) -> None:
    session = session_of(vector)
    found = list(told(session, frames_of(vector)))
    assert maker.exact(found) == events_of(vector)
    assert maker.exact(session.next_seq) == vector["due"]


@each_of("valid", "tolerated")
def test_a_stream_is_understood_byte_by_byte(vector: Vector) -> None:
    whole, bytewise = session_of(vector), session_of(vector)
    data = b"".join(frames_of(vector))
    if len(data) > 10_000:
        pytest.skip("said often enough by the shorter ones")
    whole.receive(data)
    expected = list(itertools.chain.from_iterable(iter(whole.next_records, None)))
    found = []
    for byte in data:
        bytewise.receive(bytes([byte]))
        found += bytewise.next_records() or []
    assert found == expected
    assert bytewise.next_seq == whole.next_seq


@each_of("must_reject")
def test_a_stream_is_refused_at_its_last_frame(vector: Vector) -> None:
    session = session_of(vector)
    *good, last = frames_of(vector)
    assert maker.exact(list(told(session, good))) == events_of(vector)
    session.receive(last)
    with pytest.raises(PeerError) as error:
        session.next_records()
    assert type(error.value) is getattr(errors, vector["error"])


@each_of("valid")
def test_a_writer_gives_the_same_bytes(vector: Vector) -> None:
    if vector.get("respelled"):
        pytest.skip("a writer of ours spells these values shorter")
    header: Header | None = None
    written = frame(START)
    for event in events_of(vector):
        if event["event"] == "instruments":
            assert header is not None, "instruments come after a header"
            header, data = values.with_run(event, header)
            written += data
        elif event["event"] != "hole":
            value = values.value_of(event, header)
            written += values.encoded(value, header)
            header = value if isinstance(value, Header) else header
    assert written == b"".join(frames_of(vector))


@each_of("writer_must_refuse")
def test_a_writer_refuses(vector: Vector) -> None:
    value = vector["value"]
    if value["event"] == "frame":
        with pytest.raises(PeerError):
            frame(bytes(value["payload_bytes"]))
        return
    (opening,) = VECTORS["opening"]["events"]
    header = values.header_of(vector.get("header", opening))
    with pytest.raises(NotRepresentableError):
        values.encoded(values.value_of(value, header, repeat=vector.get("repeat", 1)), header)


@each_of("segments")
def test_a_segment_is_read_as_a_connection_is(vector: Vector) -> None:
    data = bytes.fromhex(vector["file"])
    header = decode_file_header(data)
    found = {name: getattr(header, name) for name in header.__struct_fields__}
    assert maker.exact(found) == {name: vector[name] for name in found}
    assert encode_file_header(header) == data[:FILE_HEADER_BYTES]
    session, frames = SubscriberSession(), data[FILE_HEADER_BYTES:]
    assert (
        maker.exact(list(told(session, list(map(frame, payloads_of(frames)))))) == vector["events"]
    )
    looked = scan(data, FILE_HEADER_BYTES, header.first_seq, 0, stop=len(data))
    assert (looked.offset, looked.fault) == (len(data), Fault.NONE)
    assert maker.exact(looked.next_seq) == maker.exact(session.next_seq) == vector["due"]


@each_of("segments_must_reject")
def test_a_file_that_is_no_segment_is_refused(vector: Vector) -> None:
    with pytest.raises(PeerError) as error:
        decode_file_header(bytes.fromhex(vector["file"]))
    assert type(error.value) is getattr(errors, vector["error"])


@each_of("packets")
def test_a_packet_is_understood_and_can_be_written(vector: Vector) -> None:
    data = bytes.fromhex(vector["packet"])
    packet = decode_packet(data)
    found = {name: getattr(packet, name) for name in PACKET_FIELDS}
    assert maker.exact(found) == {name: vector[name] for name in found}
    flags = sum(FLAGS[each] for each in vector["flags"])
    frames = [each.hex() for each in packet_frames(packet.frames)]
    assert (packet.flags, frames) == (flags, vector["frames"])
    names = ("listing", "epoch_ns", "next_seq", "sent_ns", "number", "flags", "channel", "line")
    again = encode_packet(
        [bytes.fromhex(each) for each in frames], **{name: getattr(packet, name) for name in names}
    )
    assert decode_packet(again) == packet
    if "reserved" not in vector["name"]:
        assert again == data
    assert on_line(on_line(again, Line.B), Line(packet.line)) == again


@each_of("packets_must_reject")
def test_a_packet_is_skipped(vector: Vector) -> None:
    with pytest.raises(PeerError) as error:
        decode_packet(bytes.fromhex(vector["packet"]))
    assert type(error.value) is getattr(errors, vector["error"])


@each_of("listings")
def test_a_listing_has_its_checksum(vector: Vector) -> None:
    header = decode_opening(bytes.fromhex("".join(vector["frames"])))
    assert ListingSums()(header) == vector["listing"]


@each_of("requests")
def test_a_request_is_understood_and_can_be_asked_for(vector: Vector) -> None:
    (payload,) = payloads_of(bytes.fromhex(vector["frame"]))
    request = decode_request(payload)
    assert request == values.request_of(vector["request"])
    assert decode_request(encode_request(request)) == request


@each_of("requests_must_reject")
def test_a_request_is_refused(vector: Vector) -> None:
    payload = bytes.fromhex(vector["frame"])[4:]
    with pytest.raises(PeerError) as error:
        decode_request(payload)
    assert type(error.value) is getattr(errors, vector["error"])
