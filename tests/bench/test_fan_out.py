"""The stage fan-out: everybody is measured, and everybody's clients get what was sent."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from fanout.protocol import Heartbeat, encode_event, frame
from tests.bench import fan_out
from tests.bench.broadcast import children
from tests.bench.broadcast.blocks import Broadcast, blocks, read_pieces, recorded, write_pieces
from tests.bench.broadcast.brokers import NATS, REDIS
from tests.bench.broadcast.children import Child
from tests.bench.broadcast.contenders import (
    COMPILED,
    CONTENDERS,
    LIMIT,
    NATS_BY_TRADE,
    PLAIN,
    Direct,
    Work,
    limit,
    without_heartbeats,
)
from tests.bench.broadcast.drain import Drain, Reading
from tests.bench.report import Absent, Row, Unavailable
from tests.thoroughness import small_dose

GOAL = fan_out.SMALL_GOAL.label


@pytest.fixture(autouse=True)
def what_is_needed() -> None:
    if shutil.which("cc") is None:
        pytest.skip("a C compiler is needed")


def names_of(rows: Sequence[Row | Absent]) -> set[str]:
    return {each.name for each in rows if isinstance(each, Row)}


def absent_of(rows: Sequence[Row | Absent]) -> dict[str, str]:
    return {each.name: each.why for each in rows if isinstance(each, Absent)}


@small_dose
def test_everybody_delivers_every_block() -> None:
    rows = fan_out.run(small=True)
    present = CONTENDERS.keys() - absent_of(rows)
    assert {PLAIN, LIMIT} <= present
    assert names_of(rows) >= {f"{name}, {GOAL}" for name in present}
    assert f"{PLAIN} / {LIMIT}, {GOAL}" in names_of(rows)
    best = COMPILED if COMPILED in present else PLAIN
    for each in (best, LIMIT):
        name = f"{each} / {NATS_BY_TRADE}, {GOAL}"
        assert (name in names_of(rows)) == (NATS_BY_TRADE in present)


def test_a_rival_that_is_missing_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = msgspec.structs.replace(NATS, program="no-such-program")
    missing = msgspec.structs.replace(cast(Any, CONTENDERS[NATS_BY_TRADE]), broker=broker)
    contenders = {LIMIT: CONTENDERS[LIMIT], NATS_BY_TRADE: missing}
    monkeypatch.setattr(fan_out, "CONTENDERS", contenders)
    rows = fan_out.run(small=True)
    assert absent_of(rows) == {NATS_BY_TRADE: "no-such-program is not on the PATH"}
    assert names_of(rows) == {f"{LIMIT}, 1 x 1", f"{LIMIT}, {GOAL}"}


def test_twins_that_are_not_built_are_left_out_by_name() -> None:
    assert Direct(limit, needs=("no_such_module",)).why_absent() == "no_such_module is not built"


def test_without_a_compiler_there_is_no_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "built", lambda name, directory: None)
    children.program.cache_clear()
    monkeypatch.setattr(fan_out, "CONTENDERS", {LIMIT: CONTENDERS[LIMIT]})
    with pytest.raises(Unavailable, match="a C compiler is needed"):
        fan_out.run(small=True)


class Changing(Direct, frozen=True):
    """Sends something else in the end."""

    def broadcast(self, work: Work) -> Broadcast:
        last = work.frames[-1]
        return Broadcast([*work.frames[:-1], last[:-1] + b"?"], b"".join(work.frames))


class Repeating(Direct, frozen=True):
    """Sends the last block twice."""

    def broadcast(self, work: Work) -> Broadcast:
        return Broadcast([*work.frames, work.frames[-1]], b"".join(work.frames))


@pytest.mark.parametrize(
    ("liar", "why"),
    [(Changing, "other bytes than were sent"), (Repeating, "client 0 received .* were sent")],
)
def test_a_contender_that_sends_something_else_fails_the_stage(
    liar: type[Direct], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out, "CONTENDERS", {LIMIT: liar(limit, is_everywhere=True)})
    with pytest.raises(ValueError, match=why):
        fan_out.run(small=True)


class Saying:
    """In place of a program that has ended with these words."""

    def __init__(self, received_bytes: list[int]) -> None:
        self._told = {"clocked_ns": 1, "clocked_bytes": 1, "received_bytes": received_bytes}

    def hear(self) -> str:
        return msgspec.json.encode(self._told).decode()


@pytest.mark.parametrize("surplus", [-1, 1, 5, 7])
def test_a_client_that_received_too_little_or_too_much_is_noticed(
    surplus: int, tmp_path: Path
) -> None:
    reading = Reading(clients=2, greeting=b"", ready=b"", expected=b"blocks", stray_bytes=6)
    (tmp_path / "received").write_bytes(b"blocks")
    for last, is_right in ((6 + surplus, False), (6, True), (12, True)):
        child = cast(Child, Saying([6, last]))
        drain = Drain(child, reading, 0, tmp_path / "received")
        if is_right:
            assert drain.seconds() > 0
        else:
            with pytest.raises(ValueError, match=f"client 1 received {last} bytes"):
                drain.seconds()


def test_heartbeats_are_no_part_of_what_was_sent() -> None:
    frames = blocks(recorded(10), 5)
    heartbeat = frame(encode_event(Heartbeat(next_seq=6, time_ns=1)))
    assert without_heartbeats(heartbeat.join([*frames, b""])) == b"".join(frames)


def test_brokers_are_spoken_with_in_their_own_words() -> None:
    assert NATS.publish(b"ab\n") == b"PUB t 3\r\nab\n\r\n"
    assert NATS.deliver(b"ab\n") == b"MSG t 1 3\r\nab\n\r\n"
    assert REDIS.publish(b"ab") == b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nt\r\n$2\r\nab\r\n"
    assert REDIS.deliver(b"ab") == b"*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$2\r\nab\r\n"


def test_pieces_come_out_of_a_file_as_they_went_in(tmp_path: Path) -> None:
    pieces = [b"one", b"", b"\x00\x01"]
    assert read_pieces(write_pieces(tmp_path / "pieces", pieces)) == pieces
