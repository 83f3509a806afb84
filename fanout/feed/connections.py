"""The connections of a feed. Instruments are spread over shards, and each shard has its links.

An instrument is in one shard for each part of its venue: usually one, or two where trades and books
come at different URLs. It is in a further one while another kind of stream takes over. An empty
shard is closed.

    link --burst--> dialogue --items--> Sink.take --Taken--> links, shards
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import trio

from fanout.config import FeedConfig
from fanout.errors import (
    VenueError,
    VenueForbiddenError,
    VenueKeyError,
    VenueMessageError,
    VenueTradesError,
    VenueUnitsError,
)
from fanout.feed.connection import Connect, Connection, Dialling, Link, Pacer
from fanout.feed.listing import shard_count, shard_of
from fanout.feed.sequences import Taken
from fanout.feed.shard import SUFFIXES, Shard, named
from fanout.net.websocket import Burst
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.stats.anomalies import Anomalies
from fanout.venues.base import NO_UNITS, Venue
from fanout.venues.values import DATA, TOO_LONG, Outcome, VenueItem

_LOG = logging.getLogger("fanout")


class Sink(Protocol):
    """Receives the trades and the events of the connections."""

    def attempting(self) -> None: ...
    def opened(self, shard: Shard, *, is_first: bool) -> None: ...
    def take(
        self, items: list[VenueItem], shard: Shard, burst: Burst, connection: Connection
    ) -> Taken:
        """Take the items of one read of a connection of this shard."""
        ...

    def misfit(self, error: VenueUnitsError) -> None:
        """A value does not fit the units of its instrument."""
        ...

    def unreadable(self, shard: Shard, symbol: str) -> None:
        """Trades of a symbol cannot be read, and their ids are unknown."""
        ...

    def ended(self, shard: Shard, connection: Connection, why: str, *, is_last: bool) -> None:
        """A connection ended, or could not be opened. `is_last` if the feed has no other."""
        ...

    def left_alone(self, shard: Shard, symbols: tuple[str, ...], why: str) -> None:
        """A connection ended by itself while others are open, which may have begun to deliver these
        symbols after it brought its last message."""
        ...

    def parted(self) -> None:
        """A shard dropped an instrument, and may be closed."""
        ...

    def turned_down(self, shard: Shard, refused: Mapping[str, str]) -> None:
        """The venue refused subscriptions. `refused` maps symbols to reasons."""
        ...

    def confirmed(self, shard: Shard, symbols: Iterable[str]) -> None:
        """The venue confirmed all that a shard takes of these symbols."""
        ...

    def lost(self, shard: Shard, connection: Connection, why: str) -> None:
        """Messages of a connection are missing. It is replaced."""
        ...

    def paused(self, shard: Shard, why: str) -> None:
        """The venue announced that it pauses, on all connections of a shard."""
        ...

    def closing(self, why: str) -> None:
        """The venue announced that it closes a connection. It is replaced."""
        ...

    def notice(self, words: str) -> None:
        """The venue has something to tell the operator."""
        ...

    def refused(self, error: VenueError) -> None:
        """The venue refused the very first connection permanently, or the credentials."""
        ...


class Connections:
    """All shards of a feed."""

    def __init__(
        self,
        venue: Venue,
        config: FeedConfig,
        sink: Sink,
        anomalies: Anomalies,
        *,
        connect: Connect,
        uniform: Callable[[float, float], float],
        units: Mapping[str, Instrument] = NO_UNITS,
    ) -> None:
        """`units` has the current units of every symbol."""
        self.venue = venue
        self._units = units
        self._config = config
        self._sink = sink
        self._anomalies = anomalies
        pacer = Pacer(venue.limits.connect_every_s)
        self._dialling = Dialling(connect, pacer, uniform, config.rotate_after_s)
        self._shards: list[Shard] = []
        self._venues = venue.parts()
        self._main: dict[tuple[int, int], Shard] = {}
        """Shards of the feed's main kind of stream, by the part of the venue and the number.
        Numbers without instruments have none."""
        self._counts = [1] * len(self._venues)
        """How many numbers each part has, fixed at the start."""
        self._kind = next(iter(self._venues[0].data))
        """The kind of data that stands for an instrument: trades, if the feed takes them."""
        self._shard_of: dict[tuple[str, DataKinds], Shard] = {}
        self._messages_before = 0
        self._connections_before = 0
        """Connections of closed shards."""
        self._has_subscribed = False
        """Whether the venue has accepted any subscription."""

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._shards)

    @property
    def links(self) -> list[Link]:
        return [link for shard in self._shards for link in shard.links]

    @property
    def messages(self) -> int:
        return self._messages_before + sum(each.messages for each in self._shards)

    @property
    def connections(self) -> int:
        """Connections opened so far."""
        return self._connections_before + sum(each.connections for each in self._shards)

    @property
    def open_count(self) -> int:
        return sum(len(each.open) for each in self._shards)

    @property
    def open_trades(self) -> int:
        """Open connections that bring trades, or whatever stands for an instrument."""
        return sum(len(each.open) for each in self._shards if self._kind in each.venue.data)

    @property
    def are_divided(self) -> bool:
        """Whether the kinds of data come at different URLs."""
        return len(self._venues) > 1

    def shard_of(self, symbol: str) -> Shard | None:
        """The shard of an instrument's trades, or of its other data in a feed without trades; None
        if the feed does not take it."""
        return self._shard_of.get((symbol, self._kind))

    def stream_of(self, symbol: str) -> str:
        """The kind of stream that delivers an instrument."""
        shard = self.shard_of(symbol)
        return (shard.venue if shard else self.venue).stream

    def beside(self, shard: Shard) -> dict[int, DataKinds]:
        """The kinds of data that other open shards bring, by the index of instruments that are in
        this shard too."""
        kinds = dict.fromkeys(shard.indexes, DataKinds.NONE)
        for other in self._shards:
            if other is not shard and other.open:
                for index in kinds.keys() & other.instruments.values():
                    kinds[index] |= other.venue.data
        return kinds

    async def run(self, instruments: tuple[Instrument, ...]) -> None:
        """Connect for these instruments, until cancelled."""
        symbols = [each.symbol for each in instruments]
        async with trio.open_nursery() as self._nursery:
            for part, venue in enumerate(self._venues):
                count = self._counts[part] = shard_count(
                    symbols, self._config.symbols_per_connection, venue.limits
                )
                for number in range(count):
                    own = (each for each in instruments if shard_of(each.symbol, count) == number)
                    self._open_main(part, number, *own)
            await trio.sleep_forever()  # all instruments may leave, and others join

    def _open_main(self, part: int, number: int, *instruments: Instrument) -> None:
        if not instruments:
            return
        count = self._counts[part]
        of = f", shard {number + 1} of {count}" if count > 1 else ""
        shard = self._open(self._venues[part], instruments, "subscribed", of)
        self._main[part, number] = shard

    def add(self, instrument: Instrument) -> bool:
        """Add an instrument to the shard of its symbol. False if the venue allows no more
        subscriptions there."""
        places = [
            (part, shard_of(instrument.symbol, count)) for part, count in enumerate(self._counts)
        ]
        shards = {each: self._main.get(each) for each in places}
        if any(
            shard is not None and len(shard.instruments) >= shard.venue.limits.subscriptions
            for shard in shards.values()
        ):
            return False
        for (part, number), shard in shards.items():
            if shard is None or shard not in self._shards:
                self._open_main(part, number, instrument)
            else:
                shard.add(instrument)
                self._assign(shard, instrument.symbol)
        return True

    def _assign(self, shard: Shard, symbol: str) -> None:
        for kind in shard.venue.data:
            self._shard_of[symbol, kind] = shard

    def remove(self, symbol: str) -> None:
        """Unsubscribe from an instrument."""
        for shard in self._shards:
            if symbol in shard.instruments:
                shard.give_up(symbol, unsubscribe=True)
        for kind in self.venue.data:
            self._shard_of.pop((symbol, kind), None)
        self._drop_empty()

    def fall_back(self, instrument: Instrument, fallback: Venue, why: str) -> None:
        """Subscribe to another kind of stream too. The first of both to deliver a trade is kept."""
        stream = self.stream_of(instrument.symbol)
        how = f"{fallback.stream} instead of {stream}: {why}"
        _LOG.warning("%s: taking %s", instrument.symbol, how)
        self._open(fallback, (instrument,), how, f" for {instrument.symbol}")

    def _part(self, symbol: str, stream: str) -> None:
        """Keep the instrument in the shard of `stream`, and drop it from the other."""
        for shard in self._shards:
            if symbol in shard.instruments and DataKinds.TRADES in shard.venue.data:
                if shard.venue.stream == stream:
                    self._shard_of[symbol, DataKinds.TRADES] = shard
                elif shard.venue.data == DataKinds.TRADES:  # else it brings other kinds
                    shard.give_up(symbol)
        self._drop_empty()

    def _drop_empty(self) -> None:
        """Drop empty shards, but keep their counts."""
        for shard in [each for each in self._shards if not each.instruments]:
            self._shards.remove(shard)
            self._messages_before += shard.messages
            self._connections_before += shard.connections

    def _open(
        self,
        venue: Venue,
        instruments: tuple[Instrument, ...],
        how: str,
        of: str,
    ) -> Shard:
        """`of` tells its links from others by name."""
        shard = Shard(venue, instruments, how, self._units)
        shard.links += self._links(shard, of)
        self._shards.append(shard)
        for each in instruments:
            self._assign(shard, each.symbol)
        self._nursery.start_soon(shard.run)
        return shard

    def _links(self, shard: Shard, of: str) -> Iterator[Link]:
        what, count = shard.venue.stream, self._config.connections
        if self.are_divided and DataKinds.TRADES not in shard.venue.data:
            what = " and ".join(each for each, kind in DATA.items() if kind in shard.venue.data)
        for place in range(1, count + 1):
            name = f"{what} connection {place} of {count}{of}"
            yield Link(name, shard, self, self._dialling)

    # Events of the links.

    def _of(self, connection: Connection) -> Shard:
        subject = connection.link.subject
        assert isinstance(subject, Shard), "this class makes all links"
        return subject

    def attempting(self) -> None:
        self._sink.attempting()

    def opened(self, connection: Connection) -> None:
        shard = self._of(connection)
        url = shard.stream_url()
        _LOG.info("connected to %s for %s", url, named(shard.symbols))
        self._sink.opened(shard, is_first=shard.note_opened(connection))

    def ended(self, connection: Connection, why: str) -> None:
        shard = self._of(connection)
        is_loss = connection in shard.open and connection.why is not None
        shard.open.discard(connection)
        self._sink.ended(shard, connection, why, is_last=not self.open_count)
        symbols = shard.left_alone if is_loss else ()
        if symbols:
            self._sink.left_alone(shard, symbols, why)
        if isinstance(connection.why, VenueKeyError) and not self._has_subscribed:
            self._sink.refused(connection.why)

    def refused(self, error: VenueForbiddenError) -> None:
        if not self.connections:
            self._sink.refused(error)

    def received(self, burst: Burst, connection: Connection) -> None:
        """Parse a burst and pass its items to the sink.

        Raises `VenueRefusalError` if the venue refuses the subscription, after passing on the
        items that came before.
        """
        items: list[VenueItem] = []
        shard = self._of(connection)
        shard.messages += len(burst.messages)
        try:
            self._read(shard, burst, connection, items)
        finally:
            if items:
                self._hand_on(shard, items, burst, connection)

    def _read(
        self,
        shard: Shard,
        burst: Burst,
        connection: Connection,
        items: list[VenueItem],
    ) -> None:
        receive, longest = connection.dialogue.receive, shard.venue.limits.message_bytes
        for message in burst.messages:
            if len(message) > longest:
                self._anomalies.note(TOO_LONG, f"{len(message):,} bytes")
                connection.dialogue.skip(message, items)
                continue
            before = len(items)
            try:
                outcome = receive(message, items)
            except VenueMessageError as error:
                self._anomalies.note(error.kind, error.detail)
                if isinstance(error, VenueUnitsError):
                    if items:  # which are in the units that are
                        self._hand_on(shard, items.copy(), burst, connection)
                        items.clear()
                    self._sink.misfit(error)
                elif isinstance(error, VenueTradesError):
                    self._sink.unreadable(shard, error.symbol)
                continue
            if outcome is None:
                continue
            behind = items[before:] if outcome.lost else []  # the first that is not lost
            del items[len(items) - len(behind) :]
            if items and (outcome.lost or outcome.pauses):  # what came before is not concerned
                self._hand_on(shard, items.copy(), burst, connection)
                items.clear()
            self._heed(outcome, shard, connection)
            items += behind

    def _heed(self, outcome: Outcome, shard: Shard, connection: Connection) -> None:
        self._has_subscribed |= bool(outcome.confirmed)
        connection.say(outcome.answers, urgent=True)
        if outcome.confirmed:
            self._sink.confirmed(shard, outcome.confirmed)
        if outcome.refused:
            self._sink.turned_down(shard, outcome.refused)
        if outcome.notice:
            self._sink.notice(outcome.notice)
        if outcome.pauses:
            connection.paused_s = trio.current_time()
            if shard.is_paused:
                self._sink.paused(shard, outcome.pauses)
        if outcome.lost:
            self._anomalies.note("messages lost", f"{connection.link.name}: {outcome.lost}")
            self._sink.lost(shard, connection, outcome.lost)
            connection.rotate_for_loss()
        if outcome.closes:
            _LOG.warning("%s: %s; replacing it", connection.link.name, outcome.closes)
            self._anomalies.counts["announced closes"] += 1
            self._sink.closing(outcome.closes)
            connection.rotate()

    def _hand_on(
        self,
        shard: Shard,
        items: list[VenueItem],
        burst: Burst,
        connection: Connection,
    ) -> None:
        now_s, wanted = trio.current_time(), shard.instruments
        connection.paused_s = None
        if shard.venue.data == DataKinds.TRADES:
            for symbol in {each.symbol for each in items}:
                if symbol in wanted:
                    connection.heard[symbol] = now_s
                    connection.has_delivered = True
        else:
            for symbol, kind in {(each.symbol, type(each)) for each in items}:
                if symbol in wanted:
                    connection.heard[symbol + SUFFIXES.get(kind, "")] = now_s
                    connection.has_delivered = True
        taken = self._sink.take(items, shard, burst, connection)
        connection.link.won += sum(type(each) is Trade for each in taken.records)
        for symbol, stream in taken.turned:
            self._part(symbol, stream)
        if taken.turned:
            self._sink.parted()
