"""The stage `memory`: what it reports, and that a leak, a loss and a false greeting are noticed."""

import itertools
import socket
from collections.abc import Iterator

import pytest

from fanout.feed.market import Market
from fanout.protocol import (
    Block,
    End,
    EndReason,
    FeedState,
    Gap,
    GapState,
    Heartbeat,
    Loss,
    LossReason,
    Reference,
    Status,
    Trade,
    encode_block,
    encode_event,
    frame,
    opening,
)
from fanout.protocol.constants import START, BlockFlags
from fanout.protocol.errors import ChecksumError
from tests import captures
from tests.bench import memory
from tests.bench.measure import WORK_CORE
from tests.bench.memory import Checkpoint, Dose, LeakError, Look
from tests.bench.memory_parts import service
from tests.bench.memory_parts.crowd import Client, NotServedError
from tests.bench.memory_parts.dialogue import Memory, part
from tests.bench.report import Unavailable
from tests.protocol.golden import BTC, HEADER
from tests.thoroughness import small_dose

DOSE = Dose(waves=3, clients=5, trades=1_000, log_bytes=2**20)
BEGIN = Look(
    trades=7, from_feed=7, accepted=0, present=0, evicted=0, log_bytes=9, descriptors=11, tasks=18
)
END = Look(
    trades=3_100,
    from_feed=60,
    accepted=15,
    present=0,
    evicted=900,
    log_bytes=2**20,
    descriptors=11,
    tasks=18,
)


def changed(look: Look, **members: int) -> Look:
    return Look(**{name: getattr(look, name) for name in look.__struct_fields__} | members)


def checkpoints(*resident_mib: float, evicted: int = 1) -> list[Checkpoint]:
    return [
        Checkpoint(
            changed(END, trades=1_000_000 * number, evicted=evicted),
            Memory(int(each * 2**20), 2**20),
        )
        for number, each in enumerate(resident_mib, 1)
    ]


@small_dose
def test_a_small_run_reports_what_the_service_takes() -> None:
    rows = {each.name: each for each in memory.run(small=True)}
    assert rows["trades"].value >= memory.SMALL.waves * memory.SMALL.trades
    assert rows["of them through the feed"].value > 0
    assert rows["clients that came and went"].value == 50
    assert rows["sent to them"].value > 1
    assert rows["the log, by its own count"].value == pytest.approx(2, rel=0.01)
    assert rows["resident at the end"].value > 10
    assert rows["growth at most"].goal == "<= 5"
    assert "slope" in rows


def test_where_recordings_are_required_and_missing_nothing_is_measured(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "DATA", tmp_path)
    monkeypatch.setenv("FANOUT_REQUIRE_CAPTURES", "1")
    with pytest.raises(Unavailable, match="no capture"):
        memory.run(small=True)


def test_growth_is_of_the_worst_moment_after_the_warm_up() -> None:
    rows = {each.name: each for each in memory.rows(checkpoints(10, 20, 100, 100, 112, 103), 2**20)}
    assert rows["resident after the warm-up"].value == 100
    assert rows["resident at the end"].value == 103
    assert rows["growth at most"].value == pytest.approx(12)
    assert not rows["growth at most"].met
    assert rows["slope"].value == pytest.approx(2.1)


def test_a_log_that_is_not_full_is_no_workload() -> None:
    with pytest.raises(RuntimeError, match="not full"):
        list(memory.rows(checkpoints(10, 100, 100, evicted=0), 1))


@pytest.mark.parametrize("leak", [{"descriptors": 12}, {"tasks": 19}, {"present": 1}])
def test_what_is_left_behind_fails_the_stage(leak: dict[str, int]) -> None:
    memory.require_nothing_left(BEGIN, END, DOSE)
    with pytest.raises(LeakError):
        memory.require_nothing_left(BEGIN, changed(END, **leak), DOSE)


@pytest.mark.parametrize("lack", [{"accepted": 14}, {"trades": 2_999}])
def test_work_that_was_not_done_fails_the_stage(lack: dict[str, int]) -> None:
    with pytest.raises(RuntimeError):
        memory.require_nothing_left(BEGIN, changed(END, **lack), DOSE)


def test_a_process_that_ends_without_an_answer_fails_the_stage() -> None:
    with (
        part("no_such_part", core=WORK_CORE) as child,
        pytest.raises(RuntimeError, match="no_such_part"),
    ):
        child.hear()


@pytest.fixture
def witness() -> Iterator[Client]:
    """One that has been greeted, and is due `HEADER.next_seq`."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = Client(ours, "witness")
        client.check(frame(START) + opening(HEADER))
        yield client


def block(first_seq: int, count: int, flags: BlockFlags = BlockFlags.NONE) -> bytes:
    trades = [Trade(BTC, number, 7, 1, 1, False) for number in range(count)]
    return encode_block(
        Block(first_seq=first_seq, trades=trades, received_ns=1, flags=flags), HEADER
    )


def test_a_witness_takes_each_number_once(witness: Client) -> None:
    due = HEADER.next_seq
    payloads = [
        block(due, 2, BlockFlags.SNAPSHOT),
        block(due, 3),
        encode_event(
            Status(seq=due + 3, instrument=None, state=FeedState.LIVE, since_ns=1, why="")
        ),
        encode_event(Heartbeat(next_seq=due + 4, time_ns=1)),
        encode_event(Loss(first_seq=due + 4, last_seq=due + 9, reason=LossReason.SLOW)),
        encode_event(
            Gap(
                seq=due + 10,
                instrument=BTC,
                state=GapState.OPEN,
                first_id=1,
                last_id=1,
                why="",
            )
        ),
        block(due + 11, 1),
    ]
    for each in payloads:
        witness.check(frame(each))
    with pytest.raises(NotServedError, match=f"{due + 11} came where {due + 12} was due"):
        witness.check(frame(payloads[-1]))


def test_a_witness_notices_what_is_missing_changed_or_over(witness: Client) -> None:
    due = HEADER.next_seq
    with pytest.raises(NotServedError, match=f"{due + 1} came where {due} was due"):
        witness.check(frame(block(due + 1, 1)))
    with pytest.raises(ChecksumError):
        witness.check(frame(block(due, 1)[:-1] + b"?"))
    end = End(reason=EndReason.SLOW, last_seq=due, retry_ms=1, why="slow")
    with pytest.raises(NotServedError, match="was told End"):
        witness.check(frame(encode_event(end)))


def test_a_false_greeting_is_noticed(witness: Client) -> None:
    stranger = Client(witness.socket, "stays")
    with pytest.raises(NotServedError, match="greeted with b'HELLO'"):
        stranger.check(frame(b"HELLO"))


def test_a_client_that_is_left_alone_says_so() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        with pytest.raises(NotServedError, match="left alone"):
            Client(ours, "stays").read()


TEXT = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":%d,"s":"BTCUSDT",'
    b'"t":%d,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}'
)


def test_blocks_are_those_of_a_millisecond_and_their_ids_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [(1_000_000, TEXT % (5, 40)), (1_900_000, TEXT % (5, 41)), (2_000_000, TEXT % (9, 42))]
    monkeypatch.setattr(service, "SYMBOLS", ("BTCUSDT",))
    monkeypatch.setattr(service, "frames", lambda symbol: rows)
    market = Market((BTC,), (Reference(price=0, quantity=0, trade_id=0, time=0),), (), (), ())
    blocks = itertools.islice(service.blocks_for_ever(market), 4)
    assert [[(each.trade_id, each.time) for each in block] for block in blocks] == [
        [(40, 5), (41, 5)],
        [(42, 9)],
        [(43, 10), (44, 10)],
        [(45, 14)],
    ]
