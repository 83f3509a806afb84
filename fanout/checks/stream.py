"""The WebSocket stream: whether it opens, and whether the trades of every symbol arrive.

Only a trade proves a subscription. Binance acknowledges a subscription to an unknown symbol or on
the wrong route as well, and then stays silent. Silence may also mean a quiet market: see
`silence`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

import msgspec
import trio

from fanout.checks.patience import Patience
from fanout.checks.report import Check, Fault, Name, Subject, any_failed, time_text
from fanout.checks.silence import Silence
from fanout.checks.venue import failure_of
from fanout.errors import VenueError, VenueMessageError, VenueUnreachableError
from fanout.feed.outbox import Outbox
from fanout.net.websocket import Burst, WebSocket
from fanout.protocol.constants import DataKinds
from fanout.venues import DATA, Dialogue, Venue, VenueItem, VenueTrade

OPEN_S: Final = 5.0
"""Time limit for the connection and its handshake."""

Connect = Callable[[str], AbstractAsyncContextManager[WebSocket]]
"""Opens a connection to a URL."""

Progress = Callable[[str], None]
"""Shows the operator the current step."""


class Heard(msgspec.Struct):
    """The messages of a connection so far."""

    awaited: set[str]
    """Symbols that have had no trade yet. Where no trades were asked for, symbols that the venue
    has not answered yet."""
    opened_s: float | None = None
    """Seconds until the connection was open."""
    first_s: dict[str, float] = {}
    """Seconds from subscription to first trade, by symbol."""
    answers: int = 0
    """Answers to requests."""
    refused: dict[str, str] = {}
    """The venue's words, by symbol."""
    unreadable: int = 0
    """Messages that the venue's parser refused."""
    notices: list[str] = []
    """What the venue told the operator, each once."""
    error: VenueError | None = None


async def listen(
    connect: Connect,
    venue: Venue,
    symbols: tuple[str, ...],
    patience: Patience,
    *,
    timeout_s: float,
    progress: Progress,
) -> Heard:
    """Subscribe, and wait up to `timeout_s` for a first trade on every symbol. A venue that is not
    asked for trades has to answer for every symbol: a quiet book says nothing."""
    heard = Heard(awaited=set(symbols))
    began_s, dialogue = trio.current_time(), venue.dialogue(symbols)
    outbox = Outbox(dialogue, venue.limits.messages_a_second)
    with trio.move_on_at(patience.deadline_s(OPEN_S)) as opening:
        try:
            async with connect(venue.stream_url()) as websocket:
                heard.opened_s = trio.current_time() - began_s
                await outbox.open(websocket)
                opening.deadline = float("inf")
                with trio.move_on_at(patience.deadline_s(timeout_s)):
                    await _Listener(venue, dialogue, outbox, heard, progress).run(websocket)
        except VenueError as error:
            heard.error = error
    if opening.cancelled_caught:
        heard.error = VenueUnreachableError(f"the stream did not open within {time_text(OPEN_S)}")
    return heard


class _Listener(msgspec.Struct, frozen=True):
    """Talks to the venue on an open connection until every symbol has had a trade."""

    venue: Venue
    dialogue: Dialogue
    outbox: Outbox
    heard: Heard
    progress: Progress

    async def run(self, websocket: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, websocket)
            try:
                await self._collect(websocket)
            except VenueError as error:
                self.heard.error = error
            nursery.cancel_scope.cancel()

    async def _speak(self, websocket: WebSocket) -> None:
        with suppress(VenueError):  # whoever listens notices the end too
            await self.outbox.run(websocket)

    async def _collect(self, websocket: WebSocket) -> None:
        awaited, subscribed_s = self.heard.awaited, trio.current_time()
        count, has_trades = len(awaited), DataKinds.TRADES in self.venue.data
        what = "first trades" if has_trades else "answers"
        while awaited:
            self.progress(f"waiting for {what}: {count - len(awaited)} of {count}")
            self._take(await websocket.receive(), subscribed_s)
            if not has_trades:
                awaited &= self.dialogue.unanswered

    def _take(self, burst: Burst, subscribed_s: float) -> None:
        items: list[VenueItem] = []
        for message in burst.messages:
            self._read(message, items)
        for item in items:
            # A trade from before the subscription does not prove that others will come.
            is_proof = isinstance(item, VenueTrade) and not item.is_past
            if is_proof and item.symbol in self.heard.awaited:
                self.heard.awaited.discard(item.symbol)
                self.heard.first_s[item.symbol] = trio.current_time() - subscribed_s

    def _read(self, message: bytes, items: list[VenueItem]) -> None:
        if len(message) > self.venue.limits.message_bytes:
            self.heard.unreadable += 1
            return
        try:
            outcome = self.dialogue.receive(message, items)
        except VenueMessageError:
            self.heard.unreadable += 1
            return
        if outcome is None:
            return
        self.heard.answers += bool(outcome.confirmed or outcome.refused)
        self.heard.refused |= outcome.refused
        self.outbox.say(outcome.answers, urgent=True)
        if outcome.notice and outcome.notice not in self.heard.notices:
            self.heard.notices.append(outcome.notice)


def judge_stream(
    heard: Heard,
    venue: Venue,
    symbols: tuple[str, ...],
    silences: dict[str, Silence],
    *,
    timeout_s: float,
) -> tuple[Check, ...]:
    """Return a row for the connection, and one for the first trade of every symbol.

    Symbols missing from both `heard` and `silences` do not trade.
    """
    trades = [_first_trade(heard, each, venue, silences.get(each), timeout_s) for each in symbols]
    return _websocket(heard, venue, trades, timeout_s), *trades


def judge_part(heard: Heard, part: Venue, *, timeout_s: float) -> Check:
    """Return a row for the connection of a part of the venue that brings no trades."""
    subject, took_s = Subject(Name.WEBSOCKET, part.stream_url()), heard.opened_s
    if heard.error is not None:
        return failure_of(subject, heard.error, "--ws-url", took_s=took_s)
    assert took_s is not None, "it opened, since there is no error"
    opened = "; ".join((f"open in {time_text(took_s)}", *heard.notices))
    what = " and ".join(name for name, kind in DATA.items() if kind in part.data)
    for symbol, words in heard.refused.items():
        found = f"{opened}, {what} of {symbol} refused: {words}"
        return subject.failed(found, part.silence_advice, Fault.UNREACHABLE, took_s=took_s)
    if heard.awaited:
        found = f"{opened}, {what} not acknowledged within {time_text(timeout_s)}"
        return subject.failed(found, part.silence_advice, Fault.UNREACHABLE, took_s=took_s)
    return subject.passed(f"{opened}, {what} acknowledged", took_s=took_s)


def skip_stream(venue: Venue, symbols: tuple[str, ...], why: str) -> tuple[Check, ...]:
    """The same rows, skipped, for a stream that was not opened."""
    subjects = [Subject(Name.WEBSOCKET, venue.stream_url())]
    subjects += [Subject(Name.FIRST_TRADE, each) for each in symbols]
    return tuple(each.skipped(why) for each in subjects)


def _websocket(heard: Heard, venue: Venue, trades: Sequence[Check], timeout_s: float) -> Check:
    subject, took_s = Subject(Name.WEBSOCKET, venue.stream_url()), heard.opened_s
    if heard.error is not None:
        return failure_of(subject, heard.error, "--ws-url", took_s=took_s)
    assert took_s is not None, "it opened, since there is no error"
    opened = "; ".join((f"open in {time_text(took_s)}", *heard.notices))
    count = len(heard.awaited) + len(heard.first_s)
    if not count:
        return subject.passed(f"{opened}; nothing to subscribe to", took_s=took_s)
    if heard.first_s:
        return subject.passed(f"{opened}, {venue.stream} of {count} symbols", took_s=took_s)
    answered = "acknowledged" if heard.answers else "not acknowledged"
    found = f"{opened}, {venue.stream} {answered}"
    if count > 1 and any_failed(trades):
        found += f", then silent for {time_text(timeout_s)}"
        return subject.failed(found, venue.silence_advice, Fault.UNREACHABLE, took_s=took_s)
    return subject.passed(found, took_s=took_s)  # the rows of the symbols report the silence


def _first_trade(
    heard: Heard, symbol: str, venue: Venue, silence: Silence | None, timeout_s: float
) -> Check:
    subject, first_s = Subject(Name.FIRST_TRADE, symbol), heard.first_s.get(symbol)
    if first_s is not None:
        return subject.passed(f"after {time_text(first_s)}", took_s=first_s)
    if heard.error is not None:
        return subject.skipped("websocket failed")
    if silence is None:
        return subject.skipped("it does not trade")
    unreadable = f" ({heard.unreadable:,} unreadable messages)" if heard.unreadable else ""
    found = f"none within {time_text(timeout_s)}{unreadable}; {silence.found}"
    if silence.is_harmless:
        return subject.warned(found, silence.advice)
    advice = silence.advice
    if silence.is_of_stream and len(heard.awaited) + len(heard.first_s) == 1:
        advice += f"; {venue.silence_advice}"  # with several symbols, the row of the stream has it
    return subject.failed(found, advice, Fault.UNREACHABLE)
