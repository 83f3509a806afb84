"""The subscriptions of one connection, from the request to the answer. Pure.

A symbol has one topic for each kind of data, and is subscribed once all of its topics are. Venues
answer in three ways, and some in two of them:

- by topic: one answer for each (OKX, Bitfinex), or a list of those that work (Coinbase, Deribit):
  `confirm`, and `refuse` with the symbols of the topics that do not;
- by request: `confirm(asked.pop(number))`;
- by refusing a request whole, because one topic in it is bad: `refuse_request`. The rest is asked
  for again, without the symbol that the venue names, or in halves until one symbol is left. At
  Bybit a topic that is subscribed already is bad too, and blames no symbol.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain

import msgspec


class Ask(msgspec.Struct, frozen=True):
    """A request to send: its number, counted from 1, and the topics in it."""

    number: int
    topics: tuple[str, ...]


class Topics:
    """The topics that have been asked for, and those that the venue has not answered yet."""

    def __init__(
        self,
        topics_of: Callable[[str], tuple[str, ...]],
        *,
        most: int,
        room: int,
        around: int = len('"",'),
    ) -> None:
        """`topics_of` gives the topics of a symbol. A request has up to `most` of them, and up to
        `room` bytes, of which each topic takes `around` besides its name."""
        self._topics_of = topics_of
        self._most = most
        self._room = room
        self._around = around
        self._last_number = 0
        self._asked: dict[int, tuple[str, ...]] = {}
        self._symbols: dict[str, str] = {}
        """By topic, of the symbols that are subscribed or wait for it."""
        self._waiting: dict[str, set[str]] = {}
        """By symbol: its topics without an answer."""

    @property
    def unanswered(self) -> frozenset[str]:
        return frozenset(self._waiting)

    def symbol_of(self, topic: str) -> str | None:
        """The symbol that a topic was asked for; None if it was not, or not since it was left."""
        return self._symbols.get(topic)

    def ask(self, symbols: Iterable[str]) -> tuple[Ask, ...]:
        """The requests that subscribe to all topics of these symbols."""
        topics: list[str] = []
        for symbol in symbols:
            own = self._topics_of(symbol)
            self._waiting[symbol] = set(own)
            self._symbols.update(dict.fromkeys(own, symbol))
            topics += own
        return tuple(self._requests(topics))

    def leave(self, symbols: Iterable[str]) -> tuple[Ask, ...]:
        """The requests that unsubscribe from them. Later answers to their subscriptions are
        ignored."""
        runs = self._runs([topic for each in symbols for topic in self._topics_of(each)])
        asks = tuple(Ask(self._number(), run) for run in runs)
        for each in asks:
            for topic in each.topics:
                self._waiting.pop(self._symbols.pop(topic, ""), None)
        return asks

    def pop(self, number: int | None) -> tuple[str, ...]:
        """The topics of an answered subscription, of the oldest one for None. Empty for a number
        that was not asked, or was answered before."""
        if number is None:
            number = min(self._asked, default=0)
        return self._asked.pop(number, ())

    def confirm(self, topics: Iterable[str]) -> tuple[str, ...]:
        """The symbols that are subscribed with these topics."""
        done: list[str] = []
        for topic in topics:
            symbol = self._symbols.get(topic)
            waiting = self._waiting.get(symbol) if symbol is not None else None
            if symbol is None or waiting is None or topic not in waiting:
                continue
            waiting.remove(topic)
            if not waiting:
                del self._waiting[symbol]
                done.append(symbol)
        return tuple(done)

    def refuse(self, symbols: Iterable[str], why: str) -> dict[str, str]:
        """Note that the venue refuses symbols. The result has those that were not answered yet."""
        refused = {each: why for each in symbols if self._waiting.pop(each, None) is not None}
        for symbol in refused:
            for topic in self._topics_of(symbol):
                self._symbols.pop(topic, None)
        return refused

    def refuse_request(
        self,
        number: int | None,
        why: str,
        *,
        named: Collection[str] = (),
        live: Collection[str] = (),
    ) -> tuple[dict[str, str], tuple[Ask, ...]]:
        """Note that the venue refuses a request whole, and names symbols as the reason, or none.
        Or it names topics that are subscribed already, which are `live` and have been confirmed.

        Returns the symbols that are refused, and the requests for the others.
        """
        topics = self.pop(number)
        is_blameless = any(topic in live for topic in topics)
        waiting: dict[str, list[str]] = {}
        for topic in topics:
            symbol = self._symbols.get(topic, "")
            if topic in self._waiting.get(symbol, ()):
                waiting.setdefault(symbol, []).append(topic)
        bad = set(waiting).intersection(named)
        # A symbol that was refused or left meanwhile may have been the reason.
        is_alone = len(waiting) == 1 and all(topic in self._symbols for topic in topics)
        if is_alone and not bad and not is_blameless:
            bad = set(waiting)
        refused = self.refuse(bad, why)
        rest = [topics for symbol, topics in waiting.items() if symbol not in bad]
        middle = 0 if bad or is_blameless else len(rest) // 2
        halves = rest[:middle], rest[middle:]
        return refused, tuple(ask for half in halves for ask in self._requests(chain(*half)))

    def _requests(self, topics: Iterable[str]) -> Iterator[Ask]:
        for run in self._runs(topics):
            number = self._number()
            self._asked[number] = run
            yield Ask(number, run)

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _runs(self, topics: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """Split topics into runs that fit one request each."""
        run: list[str] = []
        room = self._room
        for topic in topics:
            size = len(topic.encode()) + self._around
            if run and (size > room or len(run) == self._most):
                yield tuple(run)
                run, room = [], self._room
            run.append(topic)
            room -= size
        if run:
            yield tuple(run)
