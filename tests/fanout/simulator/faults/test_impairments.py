"""What befalls single streams: exactly the messages asked for, and no id unaccounted for."""

import json
from collections.abc import Iterable
from typing import Final, Literal

import pytest
import trio
from trio.testing import MockClock

from fanout.errors import UsageError
from fanout.simulator.faults import (
    MAX_STANDING,
    Delay,
    Garble,
    Repeat,
    Shuffle,
    Silence,
    Skip,
    StreamFault,
)
from fanout.simulator.faults.impairments import garbled
from fanout.simulator.faults.streams import StreamFaults
from fanout.simulator.market.aggregate import Aggregator
from fanout.simulator.market.ticks import Tick, Trade
from tests.fanout.simulator.support import payload, tick, trade

STREAM = "BTCUSDT@trade"


class ImpairedStream:
    """A stream with faults: the trades that pass, and those that are withheld."""

    def __init__(self, *faults: StreamFault, seed: int = 0) -> None:
        self.withheld: list[int] = []
        self.faults = StreamFaults(lambda each: self.withheld.append(number(each)), seed)
        for fault in faults:
            self.faults.begin(fault, [STREAM])

    def sent(self, *trade_ids: int) -> list[int]:
        return numbers(each for n in trade_ids for each in self.faults.through(tick(trade(n))))

    def sent_of(self, symbol: str, trade_id: int) -> list[int]:
        return numbers(self.faults.through(tick(trade(trade_id, symbol=symbol))))


def number(each: Tick) -> int:
    assert each.trade is not None
    return each.trade.trade_id


def numbers(ticks: Iterable[Tick]) -> list[int]:
    return [number(each) for each in ticks]


def test_without_a_fault_every_message_passes_unchanged() -> None:
    row = tick(trade())
    assert ImpairedStream().faults.through(row) == (row,)


def test_a_skip_withholds_the_next_messages_and_no_more() -> None:
    stream = ImpairedStream(Skip(count=3))
    assert stream.sent(1, 2, 3, 4, 5) == [4, 5]
    assert stream.withheld == [1, 2, 3]
    assert stream.faults.standing() == []


def test_a_skip_acts_on_its_own_stream_only() -> None:
    stream = ImpairedStream(Skip(count=2))
    assert stream.sent_of("ETHUSDT", 7) == [7]
    assert stream.sent(1, 2, 3) == [3]


def test_a_repeat_sends_the_first_copy_at_once() -> None:
    assert ImpairedStream(Repeat(count=2)).sent(1, 2, 3) == [1, 1, 2, 2, 3]


def test_a_late_repeat_is_sent_after_the_given_number_of_others() -> None:
    assert ImpairedStream(Repeat(later=2)).sent(1, 2, 3, 4) == [1, 2, 3, 1, 4]


def test_a_delay_by_one_swaps_neighbours() -> None:
    assert ImpairedStream(Delay()).sent(1, 2, 3) == [2, 1, 3]


def test_a_delayed_message_is_sent_after_the_given_number_of_others() -> None:
    assert ImpairedStream(Delay(by=3, count=2)).sent(1, 2, 3, 4, 5, 6) == [3, 4, 1, 5, 2, 6]


def test_a_shuffle_keeps_to_its_window_and_changes_the_order() -> None:
    stream = ImpairedStream(Shuffle(window=4, count=2))
    sent = stream.sent(*range(1, 11))
    assert sorted(sent[:4]) == [1, 2, 3, 4] != sent[:4]
    assert sorted(sent[4:8]) == [5, 6, 7, 8] != sent[4:8]
    assert sent[8:] == [9, 10]


def test_a_shuffle_of_two_is_a_swap() -> None:
    assert ImpairedStream(Shuffle(window=2)).sent(1, 2, 3, 4) == [2, 1, 3, 4]


def test_nothing_is_sent_before_a_window_is_full() -> None:
    stream = ImpairedStream(Shuffle(window=3))
    assert stream.sent(1, 2) == []
    assert sorted(stream.sent(3)) != [3]


@pytest.mark.parametrize("seed", [0, 1])
def test_chance_is_seeded(seed: int) -> None:
    faults = (Skip(chance=0.1, count=2), Repeat(chance=0.1), Shuffle(chance=0.05, window=5))
    first, again, other = (
        ImpairedStream(*faults, seed=each).sent(*range(1_000)) for each in (seed, seed, seed + 1)
    )
    assert first == again != other


def test_a_skip_by_chance_skips_count_messages_in_a_row() -> None:
    stream = ImpairedStream(Skip(chance=0.01, count=3))
    sent = stream.sent(*range(10_000))
    assert sorted(sent + stream.withheld) == list(range(10_000))
    assert 100 < len(stream.withheld) < 600
    assert stream.faults.standing() == [Skip(chance=0.01, count=3)]


def test_a_message_that_is_cut_off_is_not_json_and_counts_as_withheld() -> None:
    stream = ImpairedStream(Garble())
    (broken,) = stream.faults.through(tick(trade(1, symbol="BTCUSDT")))
    with pytest.raises(json.JSONDecodeError):
        json.loads(payload(broken))
    assert stream.withheld == [1]


def test_a_cut_message_is_still_valid_utf_8() -> None:
    faults = StreamFaults(lambda each: None, 0)
    for length in range(1, 40):
        row = tick(trade(symbol="币" + "x" * length))
        faults.begin(Garble(), [row.stream])
        (broken,) = faults.through(row)
        payload(broken).decode()


def test_a_garbled_price_is_valid_json_but_not_a_number() -> None:
    (broken,) = ImpairedStream(Garble(how="price")).faults.through(tick(trade(1)))
    assert json.loads(payload(broken))["p"] == "not a price"


@pytest.mark.parametrize("row", [trade(7), trade(7, symbol="币安人生USDT")])
def test_garbled_types_are_json_with_an_id_that_is_text_and_numbers_that_are_not(
    row: Trade,
) -> None:
    stream = ImpairedStream()
    stream.faults.begin(Garble(how="types"), [tick(row).stream])
    (broken,) = stream.faults.through(tick(row))
    said, right = json.loads(payload(broken)), json.loads(payload(tick(row)))
    assert (said["t"], said["p"], said["q"]) == ("7", 83_680.0, 0.001)
    assert said | {name: right[name] for name in "tpq"} == right
    assert stream.withheld == [7]


HOW: Final[tuple[Literal["cut", "price", "types"], ...]] = ("cut", "price", "types")


@pytest.mark.parametrize("first", HOW)
@pytest.mark.parametrize("second", HOW)
def test_a_message_is_garbled_twice(
    first: Literal["cut", "price", "types"], second: Literal["cut", "price", "types"]
) -> None:
    stream = ImpairedStream(Garble(how=first), Garble(how=second))
    (broken,) = stream.faults.through(tick(trade(1)))
    assert payload(broken) != payload(tick(trade(1)))
    assert set(stream.withheld) == {1}
    assert stream.sent(2) == [2]


@pytest.mark.parametrize("how", HOW)
def test_aggregates_are_garbled_too(how: Literal["cut", "price", "types"]) -> None:
    aggregator = Aggregator()
    aggregator.add(0, trade(7))
    (row,) = aggregator.rest()
    faults = StreamFaults(lambda each: None, 0)
    faults.begin(Garble(how=how), [row.stream])
    (broken,) = faults.through(row)
    assert payload(broken) != payload(row)


async def test_silence_lasts_until_it_is_cleared(autojump_clock: MockClock) -> None:
    stream = ImpairedStream(Silence())
    await trio.sleep(3_600)
    assert stream.sent(1, 2) == []
    stream.faults.clear()
    assert stream.sent(3) == [3]
    assert stream.withheld == [1, 2]


async def test_silence_may_end_after_a_time(autojump_clock: MockClock) -> None:
    stream = ImpairedStream(Silence(for_s=10))
    await trio.sleep(9.5)
    assert stream.sent(1) == []
    await trio.sleep(1)
    assert stream.faults.standing() == []
    assert stream.sent(2) == [2]
    assert stream.withheld == [1]


def test_faults_of_a_stream_act_one_after_the_other() -> None:
    assert ImpairedStream(Skip(count=1), Repeat(count=1)).sent(1, 2, 3) == [2, 2, 3]
    assert ImpairedStream(Repeat(count=1), Skip(count=1)).sent(1, 2, 3) == [1, 2, 3]


def test_clearing_sends_what_was_held_back() -> None:
    stream = ImpairedStream(Delay(by=100), Shuffle(window=50))
    assert stream.sent(1, 2, 3) == []
    assert sorted(numbers(stream.faults.clear())) == [1, 2, 3]
    assert stream.faults.standing() == []
    assert stream.sent(4) == [4]


def test_a_release_sends_held_messages_and_the_fault_still_stands() -> None:
    stream = ImpairedStream(Delay(by=1, count=2))
    assert stream.sent(1) == []
    assert numbers(stream.faults.release()) == [1]
    assert stream.sent(2, 3) == [3, 2]


def test_standing_faults_are_limited_and_ended_ones_do_not_count() -> None:
    stream = ImpairedStream(*[Skip()] * MAX_STANDING)
    with pytest.raises(UsageError, match=r"1,000 faults stand on BTCUSDT@trade"):
        stream.faults.begin(Skip(), [STREAM])
    assert stream.sent(1) == []
    stream.faults.begin(Skip(), [STREAM])


async def test_an_ended_fault_is_removed_even_without_messages(
    autojump_clock: MockClock,
) -> None:
    stream = ImpairedStream()
    for _ in range(2 * MAX_STANDING):
        stream.faults.begin(Silence(for_s=1), [STREAM])
        await trio.sleep(2)
    assert stream.faults.standing() == []


def test_a_fault_that_one_of_its_streams_refuses_acts_on_none() -> None:
    faults = StreamFaults(lambda each: None, 0)
    for _ in range(MAX_STANDING):
        faults.begin(Skip(), ["ETHUSDT@trade"])
    with pytest.raises(UsageError):
        faults.begin(Skip(), [STREAM, "ETHUSDT@trade"])
    assert numbers(faults.through(tick(trade(1)))) == [1]


def test_a_fault_that_stands_on_several_streams_is_listed_once() -> None:
    faults = StreamFaults(lambda each: None, 0)
    fault = Silence()
    faults.begin(fault, [STREAM, "ETHUSDT@trade"])
    assert faults.standing() == [fault]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("price", b'[5,"te",[1,1500,-0.2500,"not a price"]]'),
        ("negative", b'[5,"te",[1,1500,0.2500,5e-7]]'),
        ("types", b'[5,"te",["1",1500,"-0.2500","5e-7"]]'),
    ],
)
def test_numbers_of_a_message_are_garbled_as_its_venue_spells_them(
    how: Literal["price", "negative", "types"], said: bytes
) -> None:
    row = tick(trade(1, price="0.0000005", quantity="0.25"))
    faults = StreamFaults(lambda each: None, 0)
    faults.begin(Garble(how=how), [row.stream])
    (broken,) = faults.through(row)
    assert garbled(broken, b'[5,"te",[1,1500,-0.2500,5e-7]]') == said
