"""What a connection sends, in order and at the venue's pace, on a virtual clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from fanout.feed.outbox import AHEAD_S, MOST_URGENT, Outbox
from fanout.venues.base import NEVER_S, DialogueDefaults

A_SECOND = 2.0
PING_S = 20.0


class Dialogue(DialogueDefaults):
    """Subscribes with three messages, and pings every 20 s unless it is told otherwise."""

    unanswered: frozenset[str] = frozenset()

    def __init__(self, due_s: float = PING_S) -> None:
        self.due_s = due_s

    def opening(self) -> tuple[str, ...]:
        return "first", "second", "third"

    def receive(self, message: bytes, out: list[object]) -> None:
        raise NotImplementedError

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        raise NotImplementedError

    unsubscribe = subscribe

    def tick(self, now_s: float) -> tuple[str, ...]:
        assert now_s >= self.due_s
        self.due_s = now_s + PING_S
        return ("ping",)


class Wire:
    """Keeps what is sent, with the time."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, str]] = []

    async def send(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append((trio.current_time(), text))

    def when(self, text: str) -> list[float]:
        return [at_s for at_s, each in self.sent if each == text]


@asynccontextmanager
async def running(dialogue: Dialogue) -> AsyncIterator[tuple[Outbox, Wire]]:
    outbox, wire = Outbox(dialogue, A_SECOND), Wire()
    await outbox.open(wire)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, wire)
        yield outbox, wire
        outbox.end()


async def test_the_first_message_goes_at_once_and_the_others_at_the_pace(
    autojump_clock: MockClock,
) -> None:
    async with running(Dialogue(NEVER_S)) as (_, wire):
        await trio.sleep(5)
        assert wire.sent == [(0.0, "first"), (0.5, "second"), (1.0, "third")]


async def test_a_ping_is_due_though_its_time_is_rounded(autojump_clock: MockClock) -> None:
    opened_s, due_s = 2.3, 0.3
    assert opened_s + due_s - opened_s < due_s
    autojump_clock.jump(opened_s)
    async with running(Dialogue(due_s)) as (_, wire):
        await trio.sleep(1)
        assert wire.when("ping") == [opened_s + due_s]


async def test_a_ping_is_in_time_although_hundreds_of_messages_are_queued(
    autojump_clock: MockClock,
) -> None:
    async with running(Dialogue()) as (outbox, wire):
        outbox.say(map(str, range(300)))
        await trio.sleep(200)
        assert [round(at_s) for at_s in wire.when("ping")] == [*range(20, 200, 20)]
        assert [int(each) for _, each in wire.sent if each.isdigit()] == list(range(300))
        assert all(
            later - earlier >= 1 / A_SECOND or "ping" in (text, before)
            for (earlier, before), (later, text) in zip(wire.sent, wire.sent[1:], strict=False)
        )
        assert wire.sent[-1][0] < 200, "pings delay the rest by no more than their own share"


async def test_an_answer_overtakes_what_is_queued_and_does_not_wait_for_the_pace(
    autojump_clock: MockClock,
) -> None:
    async with running(Dialogue(NEVER_S)) as (outbox, wire):
        outbox.say(map(str, range(300)))
        await trio.sleep(10.25)
        outbox.say(["answer"], urgent=True)
        await trio.sleep(1)
        assert wire.when("answer") == [10.25]
        later = [at_s for at_s, _ in wire.sent if at_s > 10.25]
        assert later == [11.0], "the queued ones make up for it"


async def test_a_flood_of_questions_is_answered_at_the_pace(autojump_clock: MockClock) -> None:
    async with running(Dialogue(NEVER_S)) as (outbox, wire):
        await trio.sleep(10)
        for _ in range(2 * MOST_URGENT):
            outbox.say(["answer"], urgent=True)
        await trio.sleep(5.1)
        answers = wire.when("answer")
        assert answers.count(10.0) == A_SECOND * AHEAD_S + 1
        assert len(answers) == A_SECOND * (AHEAD_S + 5) + 1
        await trio.sleep(600)
        assert len(wire.when("answer")) == MOST_URGENT


async def test_a_keep_alive_that_becomes_due_sooner_is_sent_then(autojump_clock: MockClock) -> None:
    dialogue = Dialogue(NEVER_S)
    async with running(dialogue) as (outbox, wire):
        await trio.sleep(5)
        dialogue.due_s = 7.0
        outbox.say(())
        await trio.sleep(5)
        assert wire.when("ping") == [7.0]
