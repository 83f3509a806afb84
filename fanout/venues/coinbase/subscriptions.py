"""Subscriptions of one connection with Coinbase, which numbers neither requests nor answers. Pure.

A request has some products, and the channels that go together: all of them at the Exchange, one at
Advanced Trade. The venue answers with a list of the products that each channel has from then on.
One bad product fails its request whole, as the venue's own library says
(https://github.com/coinbase/coinbase-pro-node/issues/174). The reason names the product, or not:

    {"type":"error","message":"Failed to subscribe","reason":"FOO-USD is not a valid product"}

So an error counts for the oldest open request with a product that it names, or for the oldest one.
A product that one channel refuses is left on the others, before or after they list it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

from fanout.venues.acks import Ask, Topics
from fanout.venues.values import Outcome

ROOM_AROUND: Final = 128
"""Bytes of a request besides its products."""

_WORD: Final = re.compile(r"[A-Za-z0-9-]+")

Write = Callable[[str, tuple[str, ...], tuple[str, ...]], str]
"""Makes the text of a request: "subscribe" or "unsubscribe", the products, and the channels."""


class _Group:
    """Channels that are asked for in one request. The topics of `Topics` are products."""

    def __init__(self, channels: tuple[str, ...], topics: Topics) -> None:
        self.channels = channels
        self.topics = topics
        self.live: set[str] = set()
        """Products that the venue has listed."""


class Subscriptions:
    """Requests of products, and which of them the venue has answered."""

    def __init__(
        self, groups: Iterable[tuple[str, ...]], write: Write, *, most: int, request_bytes: int
    ) -> None:
        """A request has one of the groups of channels, and up to `most` products."""
        self._groups = tuple(
            _Group(
                channels,
                Topics(lambda symbol: (symbol,), most=most, room=request_bytes - ROOM_AROUND),
            )
            for channels in groups
        )
        self._write = write
        self._open: list[tuple[_Group, Ask]] = []
        """Requests without an answer, oldest first."""
        self._refused: set[str] = set()

    @property
    def unanswered(self) -> frozenset[str]:
        return frozenset().union(*(each.topics.unanswered for each in self._groups))

    def subscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        self._refused.difference_update(symbols)
        return tuple(
            words
            for group in self._groups
            for words in self._requests(group, group.topics.ask(symbols))
        )

    def unsubscribe(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(words for group in self._groups for words in self._leave(group, symbols))

    def confirm(self, listed: Mapping[str, Collection[str]]) -> Outcome | None:
        """Note the products of each channel. The result has the symbols that are subscribed now,
        and leaves those that another channel has refused."""
        done: list[str] = []
        for group in self._groups:
            common = set(listed.get(group.channels[0], ()))
            for channel in group.channels[1:]:
                common.intersection_update(listed.get(channel, ()))
            done += group.topics.confirm(sorted(common))
            self._close(group, common)
            group.live |= common
        unanswered, answers = self.unanswered, self._leave_refused()
        confirmed = tuple(symbol for symbol in dict.fromkeys(done) if symbol not in unanswered)
        return Outcome(confirmed=confirmed, answers=answers) if confirmed or answers else None

    def _leave_refused(self) -> tuple[str, ...]:
        return tuple(
            words
            for group in self._groups
            for words in self._leave(group, sorted(group.live & self._refused))
        )

    def _leave(self, group: _Group, symbols: Collection[str]) -> Iterator[str]:
        group.live.difference_update(symbols)
        for ask in group.topics.leave(symbols):
            yield self._write("unsubscribe", ask.topics, group.channels)

    def _close(self, group: _Group, common: set[str]) -> None:
        """Forget the requests of a group that a list of its products has answered."""
        waiting = group.topics.unanswered
        answered = [
            (owner, ask)
            for owner, ask in self._open
            if owner is group and common.intersection(ask.topics) and waiting.isdisjoint(ask.topics)
        ]
        for each in answered:
            self._open.remove(each)
            group.topics.pop(each[1].number)

    def refuse(self, why: str) -> Outcome:
        """Note that the venue refuses a request, in these words."""
        named = {word.upper() for word in _WORD.findall(why)}
        place = next(
            (place for place, each in enumerate(self._open) if named.intersection(each[1].topics)),
            None,
        )
        if place is None and (not self._open or named.intersection(self._refused)):
            return Outcome(notice=f"the venue refuses a request: {why}")
        group, ask = self._open.pop(place or 0)
        refused, again = group.topics.refuse_request(ask.number, why, named=named)
        self._refused.update(refused)
        for other in self._groups:
            other.topics.refuse(refused, why)
        answers = (*self._requests(group, again), *self._leave_refused())
        if not (refused or answers):
            return Outcome(notice=f"the venue refuses a request: {why}")
        return Outcome(refused=refused, answers=answers)

    def _requests(self, group: _Group, asks: Iterable[Ask]) -> Iterator[str]:
        for ask in asks:
            self._open.append((group, ask))
            yield self._write("subscribe", ask.topics, group.channels)
