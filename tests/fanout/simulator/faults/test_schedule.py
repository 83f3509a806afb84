"""Faults as a line of words, and when they come true."""

import pytest
import trio
from trio.testing import MockClock

from fanout.errors import UsageError
from fanout.simulator.faults import (
    Drop,
    Fault,
    Garble,
    Http,
    Insert,
    Malformed,
    Relist,
    Silence,
    Skip,
    Stall,
    UnknownEvent,
)
from fanout.simulator.faults.schedule import Scheduled, keep, scheduled


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("drop", Scheduled(Drop())),
        ("drop every 30s", Scheduled(Drop(), 30, 30)),
        ("drop reset every 30s", Scheduled(Drop("reset"), 30, 30)),
        ("drop how=half-open which=oldest", Scheduled(Drop("half-open", which="oldest"))),
        ("stall 2 after 500ms every 1.5m", Scheduled(Stall(2), 0.5, 90)),
        ("stall every 1h after 1s", Scheduled(Stall(), 1, 3_600)),
        ("skip BTCUSDT 3 after 10s", Scheduled(Skip("BTCUSDT", 3), 10)),
        ("skip count=2 BTCUSDT aggTrade", Scheduled(Skip("BTCUSDT", 2, "aggTrade"))),
        ("skip chance=0.001", Scheduled(Skip(chance=0.001))),
        ("silence null trade", Scheduled(Silence(stream="trade"))),
        ("garble how=price", Scheduled(Garble(how="price"))),
        (
            "http 429 retry_after_s=5 requests=null",
            Scheduled(Http(429, requests=None, retry_after_s=5)),
        ),
        ("http delay_s=3 path=/fapi/v1/trades", Scheduled(Http(path="/fapi/v1/trades", delay_s=3))),
        (
            "insert BTCUSDT NA 100 every 24h",
            Scheduled(Insert("BTCUSDT", "NA", 100), 86_400, 86_400),
        ),
        ("relist BTCUSDT 0.001", Scheduled(Relist("BTCUSDT", "0.001"))),
        ("event every 5m", Scheduled(UnknownEvent(), 300, 300)),
        ('drop reason="going away"', Scheduled(Drop(reason="going away"))),
        ("malformed '{\"a\": 1' which=newest", Scheduled(Malformed('{"a": 1', which="newest"))),
    ],
)
def test_a_line_is_parsed_into_a_fault_and_its_times(text: str, means: Scheduled) -> None:
    assert scheduled(text) == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "give a fault: drop, "),
        ("   ", "give a fault"),
        ("dorp every 30s", "no fault 'dorp'"),
        ("every 30s", "give a fault"),
        ("drop every", "'every' needs a duration"),
        ("drop every soon", "'soon' is no duration"),
        ("drop every 0s", "'0s' is no duration above zero"),
        ("drop every 30", "'30' is no duration"),
        ("drop every -5s", "'-5s' is no duration"),
        ("drop every 5s every 6s", "every"),
        ("drop reset how=reset", "how is given twice"),
        ("stall 1 2", "'2' is one value too many for stall"),
        ("skip size=3", "has no field 'size'"),
        ("clock", "give offset_ms"),
        ("drop reason='going", "No closing quotation"),
    ],
)
def test_nonsense_is_refused_with_the_words_in_one_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        scheduled(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(repr(text))


async def injections(given: Scheduled, until_s: float) -> list[float]:
    """When the fault was injected."""
    times: list[float] = []

    def inject(fault: Fault) -> None:
        assert fault == given.fault
        times.append(trio.current_time())

    with trio.move_on_after(until_s):
        await keep(given, inject)
        await trio.sleep_forever()
    return times


async def test_a_repetition_that_is_refused_is_left_out(
    autojump_clock: MockClock,
) -> None:
    times: list[float] = []

    def refuse(fault: Fault) -> None:
        times.append(trio.current_time())
        if len(times) > 1:
            raise UsageError("enough")

    with trio.move_on_after(10):
        await keep(Scheduled(Drop(), 1, 3), refuse)
    assert times == [1, 4, 7]


async def test_a_fault_occurs_once_or_repeatedly(autojump_clock: MockClock) -> None:
    assert await injections(Scheduled(Drop()), 100) == [0]
    start_s = trio.current_time()
    assert await injections(Scheduled(Drop(), 5), 100) == [start_s + 5]
    start_s = trio.current_time()
    assert await injections(Scheduled(Drop(), 5, 40), 100) == [
        start_s + 5,
        start_s + 45,
        start_s + 85,
    ]


async def test_a_repetition_ends_at_its_until(autojump_clock: MockClock) -> None:
    times_s: list[float] = []
    began_s = trio.current_time()
    schedule = scheduled("skip after 5s every 10s until 35s")
    await keep(schedule, lambda fault: times_s.append(round(trio.current_time() - began_s, 3)))
    assert times_s == [5, 15, 25, 35]


def test_until_without_a_repetition_is_refused() -> None:
    with pytest.raises(UsageError, match="until ends a repetition: give every as well"):
        scheduled("skip until 5s")
