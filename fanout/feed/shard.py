"""A shard: some of a feed's instruments, for one kind of stream, and the links that deliver them.

Its links run in parallel and deliver the same trades. They are compared from time to time: one that
stopped delivering a symbol is replaced.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import trio

from fanout.feed.connection import Connection, Link
from fanout.protocol.instrument import Instrument
from fanout.venues.base import NO_UNITS, Dialogue, Venue
from fanout.venues.values import DepthLost, VenueDepth, VenueOrders, VenueQuote

_LOG = logging.getLogger("fanout")

DEAF_S: Final = 60.0
"""Interval at which the connections of a shard are compared."""

UNNOTICED_S: Final = 60.0
"""Longest time for which a connection may have been dead when its end is noticed."""

_MANY: Final = 10
"""The log names up to this number of symbols, and counts more."""

SUFFIXES: Final[dict[type, str]] = {
    VenueQuote: "'s quotes",
    VenueDepth: "'s book",
    VenueOrders: "'s book",
    DepthLost: "'s book",
}
"""What a connection has heard of a symbol beside its trades, in words for the log."""


class Shard:
    """Some instruments, by symbol, and the links that deliver them."""

    def __init__(
        self,
        venue: Venue,
        instruments: tuple[Instrument, ...],
        how: str,
        units: Mapping[str, Instrument] = NO_UNITS,
    ) -> None:
        """`how` tells in words why the shard was opened. `units` has the current units of every
        symbol."""
        self.venue = venue
        self._units = units
        self.how = how
        self.instruments = {each.symbol: each.index for each in instruments}
        self.links: list[Link] = []
        self.open: set[Connection] = set()
        self.scope = trio.CancelScope()
        self.messages = 0
        self.connections = 0
        """Connections opened so far."""
        self._subscribed_s = 0.0
        """When the shard last went from no open connection to one, in trio's time."""
        self._resubscribed_s: dict[str, float] = {}
        """When it last subscribed anew to an instrument of open connections."""

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self.instruments)

    @property
    def indexes(self) -> tuple[int, ...]:
        return tuple(self.instruments.values())

    @property
    def messages_a_second(self) -> float:
        return self.venue.limits.messages_a_second

    def stream_url(self) -> str:
        return self.venue.stream_url()

    def dialogue(self) -> Dialogue:
        return self.venue.dialogue(self.symbols, self._units)

    def subscribed_s(self, symbol: str) -> float:
        """When an instrument was subscribed to last, in trio's time."""
        return max(self._subscribed_s, self._resubscribed_s.get(symbol, 0.0))

    def subscribed_ns(self, symbol: str, wall_ns: int) -> int:
        """The same in unix ns, by the wall clock that shows `wall_ns` now. That clock may have been
        set in between."""
        return wall_ns - int((trio.current_time() - self.subscribed_s(symbol)) * 1e9)

    def unanswered(self, symbol: str) -> bool:
        """Whether the subscription is unanswered on all open connections."""
        return bool(self.open) and all(symbol in each.dialogue.unanswered for each in self.open)

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Symbols that no open connection need have delivered since another one, which ended just
        now, brought its last message: all but those that one has been subscribed to for so long."""
        if not self.open:
            return ()
        since_s = trio.current_time() - UNNOTICED_S
        old = [each for each in self.open if each.opened_s <= since_s]
        unanswered = [each.dialogue.unanswered for each in old]
        return tuple(
            symbol for symbol in self.symbols if all(symbol in each for each in unanswered)
        )

    @property
    def is_paused(self) -> bool:
        """Whether the venue has announced the silence of all open connections."""
        return bool(self.open) and all(each.is_paused for each in self.open)

    def note_opened(self, connection: Connection) -> bool:
        """Add an open connection. Returns whether it is the only one."""
        if not self.open:
            self._subscribed_s = trio.current_time()
        self.open.add(connection)
        self.connections += 1
        return len(self.open) == 1

    def rotate(self) -> None:
        """Replace all its connections now."""
        for each in self.links:
            each.rotate()

    def add(self, instrument: Instrument) -> None:
        """Add an instrument and subscribe to it."""
        self.instruments[instrument.symbol] = instrument.index
        for each in self.open:
            each.say(each.dialogue.subscribe((instrument.symbol,)))

    def resubscribe(self, symbol: str) -> None:
        """Unsubscribe and subscribe an instrument. The others of its connections go on."""
        self._resubscribed_s[symbol] = trio.current_time()
        for each in self.open:
            each.say(each.dialogue.unsubscribe((symbol,)))
            each.say(each.dialogue.subscribe((symbol,)))

    def give_up(self, symbol: str, *, unsubscribe: bool = False) -> None:
        """Drop an instrument. An empty shard ends."""
        self.instruments.pop(symbol, None)
        self._resubscribed_s.pop(symbol, None)
        for each in self.open:
            for suffix in ("", *SUFFIXES.values()):  # a successor need not deliver it
                each.heard.pop(symbol + suffix, None)
            if unsubscribe and self.instruments:
                each.say(each.dialogue.unsubscribe((symbol,)))
        if not self.instruments:
            self.open.clear()
            self.scope.cancel()

    async def run(self) -> None:
        """Run its links until cancelled or empty."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                for each in self.links:
                    nursery.start_soon(each.run)
                if len(self.links) > 1:
                    nursery.start_soon(self._watch_for_the_deaf)

    async def _watch_for_the_deaf(self) -> None:
        """Replace a connection that stopped delivering symbols which the others deliver.

        No trade is missing yet, since the others deliver them.
        """
        while True:
            await trio.sleep(DEAF_S)
            since_s = trio.current_time() - DEAF_S
            heard = {each: each.heard_since(since_s) for each in self.open}
            everything = set[str]().union(*heard.values())
            for connection in self.open:
                missing = everything - heard[connection]
                is_old = connection.opened_s < since_s
                if missing and is_old and not connection.is_paused:
                    _LOG.warning(
                        "%s stopped delivering %s; replacing it",
                        connection.link.name,
                        named(sorted(missing)),
                    )
                    connection.rotate()


def named(symbols: Sequence[str]) -> str:
    """Symbols in words for the log."""
    if len(symbols) > _MANY:
        return f"{len(symbols):,} symbols"
    return ", ".join(symbols)
