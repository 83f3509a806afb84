"""What a connection gets besides its streams, from a dialect that uses all of it."""

import json
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fanout.simulator.dialects import DIALECTS
from fanout.simulator.dialects.base import Batching
from fanout.simulator.faults import Silence, Stall
from fanout.simulator.market.reader import RecordedLevels, RecordedMessage
from fanout.simulator.market.recorded_books import RecordedBooks
from fanout.simulator.market.ticks import Tick
from tests.fanout.simulator.support import MemoryExchange
from tests.fanout.simulator.toy import Toy
from tests.fanout.simulator.toy_client import (
    DEPTH,
    SLOW_DEPTH,
    TRADES,
    ToyClient,
    toy_client,
    toy_exchange,
)

Side = dict[str, str]


async def test_replies_come_first_then_greetings_then_data_all_in_one_numbering(
    autojump_clock: MockClock,
    client: ToyClient,
) -> None:
    await client.say("hush", "ping")
    assert client.heard == ["hello", "pong"]
    assert await client.say(f"sub {TRADES} no@trade") == [f"ok {TRADES}", "ok no@trade"]
    await client.until(0.35)
    replies = [f"ok {TRADES}", "pong"]
    past = [f"4 {TRADES} past 2", f"5 {TRADES} past 3"]
    assert await client.say(f"sub {TRADES}", "ping") == [replies[0], *past, replies[1]]
    await client.until(1.95)
    assert client.numbers == list(range(1, 22))


async def test_a_reply_that_ends_the_connection_comes_before_its_close(
    autojump_clock: MockClock, client: ToyClient, toy: MemoryExchange
) -> None:
    await client.say(f"sub {TRADES}")
    await client.until(0.5)
    toy.faults.inject(Stall(2.0))
    assert await client.say("bye") == []
    assert (await client.until(4))[-2:] == ["bye", "bye"]
    assert client.close is not None
    assert (client.close.code, client.close.reason) == (4001, "refused")
    assert client.ended_s == pytest.approx(2.5, abs=0.01)


class _Book:
    """Of one connection: its greeting, and the updates since."""

    def __init__(self, client: ToyClient, name: str) -> None:
        rows = [text.split(" ", 2)[2] for text in client.heard if f" {name} " in text]
        whole, *updates = (json.loads(row) for row in rows)
        self.states: dict[int, tuple[Side, Side]] = {}
        self.ids = [(0, whole["u"]), *((each["U"], each["u"]) for each in updates)]
        sides: tuple[Side, Side] = {}, {}
        for each in (whole, *updates):
            for side, levels in zip(sides, (each["b"], each["a"]), strict=True):
                side |= dict(levels)
                for price in [price for price in side if not float(side[price])]:
                    del side[price]
            self.states[each["u"]] = dict(sides[0]), dict(sides[1])


@pytest.mark.parametrize("name", [DEPTH, SLOW_DEPTH])
async def test_a_greeting_is_the_book_that_the_next_update_of_its_stream_changes(
    autojump_clock: MockClock, nursery: trio.Nursery, toy: MemoryExchange, name: str
) -> None:
    books = []
    clients = [await toy_client(nursery, toy) for _ in range(4)]
    for number, client in enumerate(clients):
        await client.say(f"sub {name}")
        await client.until(trio.current_time() + 0.777 * number)
    await clients[0].until(8.05)
    books = [_Book(client, name) for client in clients]
    first = books[0].states
    for book in books:
        assert len(book.ids) > 3
        assert all(last + 1 == begins for (_, last), (begins, _) in pairwise(book.ids))
        assert all(first[last_id] == state for last_id, state in book.states.items())
    assert toy.exchange.book("BTCUSDT", 5).bids[0][0] in first[max(first)][0]


class _Batched(Toy):
    """A message has the ids of its trades, which are a second's."""

    batching: Batching | None = Batching(1_000, most=100)

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return " ".join(str(each.trade_id) for each in tick.trades).encode()


async def test_past_trades_are_not_those_that_wait_for_others_of_their_message(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    monkeypatch.setitem(DIALECTS, "toy", _Batched())
    client = await toy_client(nursery, toy_exchange(nursery))
    await client.say(f"sub {TRADES}")
    await client.until(1.55)
    await client.say(f"sub {TRADES}")
    await client.until(2.35)
    assert [text.partition(f"{TRADES} ")[2] for text in client.heard if text[0].isdecimal()] == [
        "1 2 3 4 5 6 7 8 9 10",
        "past 9",
        "past 10",
        "11 12 13 14 15 16 17 18 19 20",
    ]


async def test_a_silent_stream_greets_nobody(
    autojump_clock: MockClock, client: ToyClient, toy: MemoryExchange
) -> None:
    toy.faults.inject(Silence("BTCUSDT", "trade"))
    await client.say(f"sub {TRADES}")
    assert await client.until(0.45) == []
    toy.faults.clear()
    toy.faults.inject(Silence("BTCUSDT", "depth"))
    replies = [f"ok {DEPTH}", f"ok {TRADES}"]
    past = [f"1 {TRADES} past 3", f"2 {TRADES} past 4"]
    assert await client.say(f"sub {DEPTH} {TRADES}") == [*replies, *past]


def test_a_recorded_book_is_known_once_the_replay_has_come_to_it() -> None:
    def levels(body: bytes) -> RecordedLevels:
        last_id, bid, quantity = body.decode().split()
        return RecordedLevels(int(last_id), [(bid, quantity)], [], is_whole=last_id == "5")

    sent: list[Any] = [RecordedMessage("A", "depth@100ms", b"4 9 1")]
    books = RecordedBooks(levels, {}, lambda: sent)
    assert books.whole("A@depth@100ms") is None
    for payload in (b"5 10 1", b"6 11 2"):
        books.replayed(Tick(0, "A@depth@100ms", recorded=payload))
    whole = books.whole("A@depth@100ms")
    assert whole is not None
    assert (whole.last_id, whole.bids) == (6, [("11", "2"), ("10", "1")])


async def test_messages_on_a_clock_keep_it_when_the_session_changes(
    autojump_clock: MockClock, client: ToyClient
) -> None:
    await client.say("ping")
    await client.until(8)
    await client.say("beat 4")
    for second in (14, 18, 22):
        await client.until(second)
        await client.say("ping")
    assert client.times["steady"] == pytest.approx([10, 20], abs=0.01)
    assert client.times["beat"] == pytest.approx([12, 16, 20], abs=0.01)


async def test_a_connection_without_a_first_request_is_cut(
    autojump_clock: MockClock, client: ToyClient
) -> None:
    await client.until(10)
    assert (client.ended_s, client.close) == (pytest.approx(5.0), None)


async def test_a_connection_is_cut_for_want_of_requests_and_of_an_answer(
    autojump_clock: MockClock, nursery: trio.Nursery, client: ToyClient, toy: MemoryExchange
) -> None:
    other = await toy_client(nursery, toy)
    await client.until(4)
    await client.say("ping")
    await other.say("beat 20")
    await client.until(100)
    assert client.ended_s == pytest.approx(64.0, abs=0.01)
    assert other.ended_s == pytest.approx(4.0 + 20.0 + 3.0, abs=0.01)
