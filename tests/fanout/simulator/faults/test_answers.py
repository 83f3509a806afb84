"""Faults of answers, of numbers and of books on the stream, at a venue that has all of them."""

import json

import pytest
import trio
from trio.testing import MockClock

from fanout.errors import UsageError
from fanout.simulator.faults import (
    MAX_STANDING,
    Auth,
    Checksum,
    Fault,
    Ignore,
    Lose,
    Maintain,
    Mute,
    Refuse,
    Resnapshot,
)
from fanout.simulator.faults.answers import AnswerFaults
from tests.fanout.simulator.support import MemoryExchange
from tests.fanout.simulator.toy_client import DEPTH, SLOW_DEPTH, TRADES, ToyClient, toy_client

OTHER = "ethusdt@trade"


async def test_subscriptions_are_refused_in_each_way_and_as_often_as_told(
    autojump_clock: MockClock, toy: MemoryExchange, client: ToyClient
) -> None:
    for fault in (Refuse("BTCUSDT", 2), Refuse("BTCUSDT", how="missing"), Refuse(how="request")):
        toy.faults.inject(fault)
    both = f"sub {TRADES} {OTHER}"
    assert await client.say(both) == [f"no {TRADES}", f"ok {OTHER}"]
    assert await client.say(f"sub {OTHER}") == [f"ok {OTHER}"]
    assert await client.say(both) == [f"no {TRADES}", f"ok {OTHER}"]
    assert await client.say(both) == [f"ok {OTHER}"]
    assert toy.faults.standing == (Refuse(how="request"),)
    assert await client.say(both) == ["no request"]
    assert await client.say(both) == [f"ok {TRADES}", f"ok {OTHER}"]
    assert toy.faults.standing == ()


async def test_an_ignored_subscription_gets_no_answer_and_no_data(
    autojump_clock: MockClock, toy: MemoryExchange, client: ToyClient
) -> None:
    toy.faults.inject(Ignore("BTCUSDT", 2))
    assert await client.say(f"sub {OTHER}", "ping") == [f"ok {OTHER}", "pong"]
    assert await client.say(f"sub {TRADES} {OTHER}") == []
    assert await client.say(f"sub {TRADES} {DEPTH}") == []
    assert await client.until(3) == []
    assert (await client.say(f"sub {TRADES}"))[0] == f"ok {TRADES}"


async def test_a_mute_venue_answers_no_pings_of_its_own(
    autojump_clock: MockClock, toy: MemoryExchange, client: ToyClient
) -> None:
    toy.faults.inject(Mute(for_s=5.0))
    assert await client.say("ping", "login") == ["login"]
    await client.until(6)
    assert await client.say("ping") == ["pong"]
    toy.faults.inject(Mute())
    assert await client.say("ping") == []
    toy.faults.clear()
    assert await client.say("ping") == ["pong"]


async def test_lost_messages_leave_holes_in_the_numbers_of_their_connection_alone(
    autojump_clock: MockClock, nursery: trio.Nursery, toy: MemoryExchange, client: ToyClient
) -> None:
    other = await toy_client(nursery, toy)
    for each in (client, other):
        await each.say(f"sub {TRADES}")
    toy.faults.inject(Lose(3, which="oldest"))
    assert await client.say("ping") == ["pong"]
    await client.until(0.25)
    assert toy.faults.standing == (Lose(1),)
    await client.until(0.95)
    assert client.numbers == [4, 5, 6, 7, 8, 9]
    assert other.numbers == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    toy.faults.inject(Lose(5))
    toy.faults.clear()
    await client.until(1.05)
    assert client.numbers[-1] == other.numbers[-1] == 10


async def test_maintenance_is_announced_to_all_and_only_its_end_follows(
    autojump_clock: MockClock, nursery: trio.Nursery, toy: MemoryExchange, client: ToyClient
) -> None:
    await client.say(f"sub {TRADES}", "beat 2")
    await client.until(0.55)
    toy.faults.inject(Maintain(5.0))
    assert await client.until(3.0) == ["closed"]
    late = await toy_client(nursery, toy)
    await late.say("hush")
    assert late.heard == ["hello", "closed"]
    heard = await client.until(5.65)
    assert heard[0] == "open"
    assert [text.split()[1] for text in heard[1:]] == [TRADES]
    assert late.heard[-1] == "open"
    assert client.numbers == list(range(1, 7))  # of the silence none
    toy.faults.inject(Maintain())
    await client.until(5.75)
    toy.faults.clear()
    assert await client.until(5.77) == ["open"]


async def test_authentication_fails_in_three_ways(
    autojump_clock: MockClock, nursery: trio.Nursery, toy: MemoryExchange, client: ToyClient
) -> None:
    outsider = await toy_client(nursery, toy)
    toy.faults.inject(Auth("reject", 2.0))
    assert await client.say("login") == ["no login"]
    await client.until(3)
    assert await client.say("login") == ["login"]
    toy.faults.inject(Auth("expire", 2.0))
    assert await client.say("refresh", "login") == ["no access: expire", "no refresh", "login"]
    toy.faults.inject(Auth("revoke"))
    await client.until(4)
    assert client.heard[-1] == "no access: revoke"
    assert client.close is not None
    assert client.close.code == 4001
    assert await outsider.say("login", "refresh") == ["no login", "no refresh"]
    assert toy.faults.standing == (Auth("expire", 2.0), Auth("revoke"))


async def test_a_book_that_is_sent_again_may_begin_its_ids_anew(
    autojump_clock: MockClock, toy: MemoryExchange, client: ToyClient
) -> None:
    await client.say(f"sub {DEPTH} {TRADES}")
    heard = await client.until(0.75)
    toy.faults.inject(Resnapshot("BTCUSDT"))
    again = (await client.until(0.76))[0].split(" ", 2)[2]
    assert f'"u":{json.loads(again)["u"]},"b"' in "".join(heard)
    toy.faults.inject(Resnapshot(resets=True))
    last, whole, update, *_ = (
        json.loads(text.split(" ", 2)[2]) for text in await client.until(1.1) if DEPTH in text
    )
    assert last["U"] == json.loads(again)["u"] + 1
    assert (whole["u"], update["U"]) == (1, 2)


async def test_a_wrong_checksum_is_for_those_who_get_checksums(
    autojump_clock: MockClock, nursery: trio.Nursery, toy: MemoryExchange, client: ToyClient
) -> None:
    other = await toy_client(nursery, toy)
    await client.say("sums", f"sub {SLOW_DEPTH}")
    await other.say(f"sub {SLOW_DEPTH}")
    toy.faults.inject(Checksum("BTCUSDT"))
    await client.until(0.5)
    assert client.heard[-1] == f"2 {SLOW_DEPTH} sum 0"
    assert "sum 0" not in "".join(other.heard)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Lose(), "fault lose: Binance USDⓈ-M does not number its messages; use skip"),
        (Refuse(), "fault refuse topic: Binance USDⓈ-M does not refuse subscriptions so"),
        (Mute(), "fault mute: Binance USDⓈ-M has no pings in its own messages; use stall"),
        (Auth(), "fault auth: Binance USDⓈ-M has no authentication"),
        (Maintain(), "Binance USDⓈ-M does not announce maintenance; use silence"),
        (Resnapshot(), "Binance USDⓈ-M sends no whole books on its streams"),
        (Checksum(), "Binance USDⓈ-M sends no checksums"),
    ],
)
async def test_a_venue_without_the_thing_refuses_the_fault(
    nursery: trio.Nursery, fault: Fault, says: str
) -> None:
    faults = MemoryExchange(nursery).faults
    with pytest.raises(UsageError, match=says):
        faults.inject(fault)
    assert faults.standing == ()


async def test_a_venue_with_bytes_for_each_connection_may_not_number_them(
    nursery: trio.Nursery,
) -> None:
    deribit = MemoryExchange(nursery, dialect="deribit")
    with pytest.raises(UsageError, match="fault lose: Deribit does not number its messages"):
        deribit.faults.inject(Lose())


async def test_standing_faults_are_limited() -> None:
    faults = AnswerFaults()
    for _ in range(MAX_STANDING):
        faults.begin(Refuse(), ["A"])
        faults.begin_lasting(Mute())
    faults.begin(Ignore(), ["B"])
    with pytest.raises(UsageError, match="1,000 faults of A stand already: clear them"):
        faults.begin(Ignore(), ["B", "A"])
    with pytest.raises(UsageError, match="1,000 faults of answers stand already: clear them"):
        faults.begin_lasting(Maintain())
    assert faults.standing() == [Refuse(), Ignore(), Mute()]
