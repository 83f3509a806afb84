"""The stage latency: everybody is measured, by when the last client has each trade."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.bench import latency
from tests.bench.broadcast import replay
from tests.bench.broadcast.blocks import new_publisher
from tests.bench.broadcast.brokers import NATS
from tests.bench.broadcast.contenders import COMPILED, PLAIN
from tests.bench.broadcast.nats_bridge import payloads_of
from tests.bench.broadcast.recording import Message, busiest, recorded, replayed
from tests.bench.broadcast.replay import ARRIVAL, Replay, last_arrivals_ns, latencies_ns, trade_of
from tests.bench.broadcast.services import SERVICES
from tests.bench.market import SYMBOLS
from tests.bench.report import Absent, Row
from tests.thoroughness import small_dose

BRIDGE = "nats-server, a message a trade"
TASKS = "trio, tasks and channels"


@pytest.fixture
def what_is_needed() -> None:
    if shutil.which("cc") is None:
        pytest.skip("a C compiler is needed")


def names_of(rows: Sequence[Row | Absent]) -> set[str]:
    return {each.name for each in rows if isinstance(each, Row)}


def absent_of(rows: Sequence[Row | Absent]) -> dict[str, str]:
    return {each.name: each.why for each in rows if isinstance(each, Absent)}


@small_dose
@pytest.mark.usefixtures("what_is_needed")
def test_everybody_hands_on_every_trade() -> None:
    rows = latency.run(small=True)
    wanted = {name for name, each in SERVICES.items() if not each.is_extra}
    present = wanted - absent_of(rows).keys()
    assert {PLAIN, TASKS} <= present
    ours = COMPILED if COMPILED in present else PLAIN
    rivals = present - {PLAIN, COMPILED}
    for percentile in latency.PERCENTILES:
        assert names_of(rows) >= {f"{name}, 10x, {percentile}" for name in present}
        assert names_of(rows) >= {f"{name} / {ours}, 10x, {percentile}" for name in rivals}
    assert all(each.value > 0 for each in rows if isinstance(each, Row))


@pytest.mark.usefixtures("what_is_needed")
def test_a_rival_that_is_missing_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = msgspec.structs.replace(SERVICES[BRIDGE], why_absent=lambda: "it is not here")
    monkeypatch.setattr(latency, "SERVICES", {PLAIN: SERVICES[PLAIN], BRIDGE: missing})
    rows = latency.run(small=True)
    assert absent_of(rows) == {BRIDGE: "it is not here"}
    assert names_of(rows) == {f"{PLAIN}, 10x, {each}" for each in latency.PERCENTILES}


def texts(count: int) -> list[bytes]:
    line = (
        '{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":1723161256322,"s":"BTCUSDT",'
        '"t":%d,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}'
    )
    return [(line % number).encode() for number in range(1, count + 1)]


def frames_of(texts: Sequence[bytes], sizes: Sequence[int]) -> list[bytes]:
    """What a client of fanout gets: a greeting, and these trades in blocks of these sizes."""
    trades = [trade for each in texts if (trade := trade_of(each))]
    publisher = new_publisher(trades)
    cursor = publisher.log.live()
    frames = [publisher.greeting()]
    for size in sizes:
        publisher.publish(trades[:size], received_ns=1, held_ns=1)
        frame = publisher.log.read(cursor, limit_bytes=1)
        assert isinstance(frame, bytes)
        frames.append(frame)
        trades = trades[size:]
    return frames


def messages_of(texts: Sequence[bytes]) -> list[bytes]:
    """What a client of the bridge gets, behind what it got when it joined."""
    return [b"INFO {}\r\n", *map(NATS.deliver, texts)]


def run_of(
    sent: Sequence[bytes],
    received: Sequence[bytes],
    at_ns: Sequence[int],
    monkeypatch: pytest.MonkeyPatch,
    *,
    service: str = PLAIN,
    before: int = 0,
) -> list[int]:
    """Latencies of messages that are due at 0, 100, 200 ... ns where two clients receive these
    pieces, a greeting first, each at a time of its own and the second one 7 ns later."""
    sizes = np.cumsum([len(each) for each in received[1:]])
    arrivals = np.array(
        [
            (client, size, at + 7 * client)
            for client in (0, 1)
            for size, at in zip(sizes, at_ns, strict=True)
        ],
        dtype=ARRIVAL,
    )
    played = arrivals, b"".join(received), len(received[0])
    monkeypatch.setattr(replay, "played", lambda *_: played)
    messages = [Message(100 * index, text) for index, text in enumerate(sent)]
    ages: list[int] = latencies_ns(Replay(2, messages, before, Path()), SERVICES[service]).tolist()
    return ages


def test_a_trade_is_as_old_as_its_block_when_the_last_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = texts(3)
    received = frames_of(sent, (1, 2))
    assert run_of(sent, received, (50, 250), monkeypatch) == [57, 157, 57]


def test_a_message_of_the_bridge_stands_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = texts(3)
    ages = run_of(sent, messages_of(sent), (50, 150, 250), monkeypatch, service=BRIDGE)
    assert ages == [57, 57, 57]


def test_the_lines_of_a_burst_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = texts(3)
    received = messages_of(payloads_of(sent[:2], "burst") + payloads_of(sent[2:], "trade"))
    assert run_of(sent, received, (150, 250), monkeypatch, service=BRIDGE) == [157, 57, 57]


def test_what_is_played_first_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = texts(3)
    assert run_of(sent, frames_of(sent, (1, 2)), (50, 250), monkeypatch, before=1) == [157, 57]


def test_a_service_that_loses_or_changes_a_trade_fails_the_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = texts(3)
    with pytest.raises(ValueError, match="2 trades came, not the 3 that were sent"):
        run_of(sent, frames_of(sent[:2], (1, 1)), (50, 250), monkeypatch)
    changed = [sent[0].replace(b"61800.30", b"61800.31"), *sent[1:]]
    with pytest.raises(ValueError, match="3 trades came, not the 3 that were sent"):
        run_of(sent, frames_of(changed, (1, 2)), (50, 250), monkeypatch)
    with pytest.raises(ValueError, match="3 trades came, not the 3 that were sent"):
        run_of(sent, messages_of(changed), (1, 2, 3), monkeypatch, service=BRIDGE)


def test_clients_that_have_not_all_received_as_much_fail_the_stage() -> None:
    arrivals = np.array([(0, 5, 1), (0, 9, 2), (1, 5, 3)], dtype=ARRIVAL)
    offsets = np.array([5], dtype=np.uint64)
    with pytest.raises(ValueError, match=r"clients received \[5, 9\] bytes, not all the same"):
        last_arrivals_ns(arrivals, offsets, 2)
    with pytest.raises(ValueError, match=r"clients received \[0, 9\] bytes, not all the same"):
        last_arrivals_ns(arrivals[:2], offsets, 2)


def test_the_busiest_part_is_the_one_with_the_most_messages() -> None:
    messages = [Message(at_ns, b"") for at_ns in (0, 5, 50, 51, 52, 90)]
    assert busiest(messages, 10) == (2, 5)
    assert busiest(messages, 50) == (1, 5)


def test_a_part_is_replayed_from_its_lead_on_at_its_speed() -> None:
    s = 1_000_000_000
    messages = [Message(at_s * s, b"%d" % at_s) for at_s in (0, 7, 8, 20, 21, 22, 60)]
    part, before = replayed(messages, span_s=0.5, lead_s=1.4, speed=10)
    assert [each.text for each in part] == [b"7", b"8", b"20", b"21", b"22"]
    assert before == 2
    assert [each.at_ns for each in part] == [0, s // 10, 13 * s // 10, 14 * s // 10, 15 * s // 10]


@pytest.mark.usefixtures("what_is_needed")
def test_the_recordings_are_one_stream_in_order() -> None:
    messages = recorded()
    times = [each.at_ns for each in messages]
    assert times == sorted(times)
    assert {trade.instrument.symbol for each in messages if (trade := trade_of(each.text))} == {
        *SYMBOLS
    }
