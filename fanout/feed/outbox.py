"""The messages that wait to be sent on one connection: their order, and their pace.

Answers to the venue and keep-alives are urgent, since the venue cuts a connection that is late with
them. They overtake what is queued: hundreds of subscriptions take minutes at the pace that a venue
allows. Urgent messages go at once, and the queued ones then wait for longer, so that all messages
together keep to the pace.

Messages may hold secrets. Nothing logs, counts or quotes them.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

import trio

from fanout.venues.base import Dialogue

AHEAD_S: Final = 1.0
"""How far urgent messages may run ahead of the pace. A venue that asks for more answers than a
second's worth at once gets the rest at its own pace."""

MOST_URGENT: Final = 1_000
"""Urgent messages that may wait. A venue that asks faster than it lets us answer gets no more."""


class Sender(Protocol):
    """Sends a message, such as a WebSocket."""

    async def send(self, text: str) -> None: ...


class Outbox:
    """The messages to send on one connection."""

    def __init__(self, dialogue: Dialogue, messages_a_second: float) -> None:
        self._dialogue = dialogue
        self._interval_s = 1 / messages_a_second
        self._urgent: deque[str] = deque()
        self._queued: deque[str] = deque()
        self._free_s = 0.0
        """When the pace allows the next message, in trio's time."""
        self._opened_s = 0.0
        self._has_ended = False
        self._news = trio.Event()

    def say(self, words: Iterable[str], *, urgent: bool = False) -> None:
        """Queue messages to be sent in order."""
        if not urgent:
            self._queued.extend(words)
        elif len(self._urgent) < MOST_URGENT:
            self._urgent.extend(words)
        self._news.set()  # without words too: the dialogue's `due_s` may have changed

    def end(self) -> None:
        """Send no more."""
        self._has_ended = True
        self._news.set()

    async def open(self, sender: Sender) -> None:
        """Queue the dialogue's opening messages, and send the first of them."""
        self._queued.extend(self._dialogue.opening())
        if self._queued:
            await self._send(self._queued, sender)
        self._opened_s = trio.current_time()

    async def run(self, sender: Sender) -> None:
        """Send what is queued and the dialogue's keep-alives, until `end`. Raises what the sender
        does."""
        while not self._has_ended:
            self._news = trio.Event()
            now_s = trio.current_time()
            if not self._urgent and now_s >= self._due_s:
                # The difference may round to less than what is due, and then nothing would be sent.
                age_s = max(now_s - self._opened_s, self._dialogue.due_s)
                self._urgent.extend(self._dialogue.tick(age_s))
            queue, at_s = self._next()
            if queue and at_s <= now_s:
                await self._send(queue, sender)
                continue
            with trio.move_on_at(at_s if self._urgent else min(at_s, self._due_s)):
                await self._news.wait()

    @property
    def _due_s(self) -> float:
        return self._opened_s + self._dialogue.due_s

    def _next(self) -> tuple[deque[str], float]:
        """The queue whose turn it is, and when."""
        if self._urgent:
            return self._urgent, self._free_s - AHEAD_S
        return self._queued, self._free_s if self._queued else float("inf")

    async def _send(self, queue: deque[str], sender: Sender) -> None:
        self._free_s = max(self._free_s, trio.current_time()) + self._interval_s
        await sender.send(queue.popleft())
