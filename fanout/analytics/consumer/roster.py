"""Which instruments of which streams a consumer takes, and under which numbers its rows have them.

A row of one consumer may come from any of its streams. So all instruments of all rows stand in one
list, in the order in which they come: `VENUE:SYMBOL`, each once.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from fanout.analytics.consumer.config import SymbolConfig
from fanout.analytics.consumer.tables import ConsumerConfigError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header


class Listed(msgspec.Struct, frozen=True):
    """An instrument of the rows."""

    venue: str
    symbol: str
    instrument: Instrument
    """That of the venue, named `VENUE:SYMBOL`, with its place in the list as its index."""


class Need(NamedTuple):
    """An instrument that some stream has to have, and what needs it, for errors. An empty venue or
    symbol is any."""

    what: str
    venue: str
    symbol: str

    def is_met_by(self, venue: str, symbol: str) -> bool:
        return self.venue in ("", venue) and self.symbol in ("", symbol)


class Roster:
    """The list, and what the streams have of the symbols that are wanted."""

    def __init__(
        self,
        streams: Sequence[str],
        wanted: Sequence[SymbolConfig],
        *,
        only: Sequence[Sequence[str]],
        named: Sequence[str] = (),
        needs: Sequence[Need] = (),
        most: int,
    ) -> None:
        """`streams` are their names, for errors. `wanted` is empty for everything. `only[i]` are
        the symbols that are asked of stream `i`, empty for all. `named` are symbols of any venue,
        empty for all. `needs` are looked for once all headers are there. `most` limits the
        instruments."""
        self.listed: list[Listed] = []
        self._streams = tuple(streams)
        self._wanted = {(each.venue, each.symbol): each for each in wanted}
        self._only = [frozenset(each) for each in only]
        self._named = frozenset(named)
        self._needs = tuple(needs)
        self._most = most
        self._owners: dict[tuple[str, str], int] = {}
        """The stream that each instrument comes from."""
        self._known: set[int] = set()
        """The streams whose header has come."""
        self._venues = [""] * len(streams)
        self._places: list[dict[str, int]] = [{} for _ in streams]
        """Of each stream: the places by symbol."""

    def take(self, stream: int, header: Header) -> tuple[str, ...]:
        """Take the header of a stream, and give the symbols that are wanted of it.

        Raises `ConsumerConfigError` for a tick that is not the venue's, a symbol that two streams
        have or none has, a need that none meets, more symbols than the limit, and a stream of which
        nothing is wanted.
        """
        self._venues[stream] = header.venue
        chosen = [each for each in header.instruments if self._wants(stream, header.venue, each)]
        for each in chosen:
            self._check_tick(header.venue, each)
            self._claim(stream, header.venue, each.symbol)
        if header.instruments:
            self._known.add(stream)
            self._require_all()
            if not chosen:
                raise ConsumerConfigError(
                    f"{self._streams[stream]}: none of the symbols is one of its "
                    f"{len(header.instruments):,} of {header.venue}: leave this input out"
                )
        return tuple(each.symbol for each in chosen)

    def place(self, stream: int, instrument: Instrument) -> int:
        """The place in the list of an instrument of a stream, which is added if it is new."""
        places, symbol = self._places[stream], instrument.symbol
        place = places.get(symbol)
        if place is None:
            place = places[symbol] = self._add(self._venues[stream], instrument)
        return place

    def _add(self, venue: str, instrument: Instrument) -> int:
        place = len(self.listed)
        named = replace(instrument, index=place, symbol=f"{venue}:{instrument.symbol}")
        self.listed.append(Listed(venue, instrument.symbol, named))
        return place

    def _wants(self, stream: int, venue: str, instrument: Instrument) -> bool:
        only, symbol = self._only[stream], instrument.symbol
        if (only and symbol not in only) or (self._named and symbol not in self._named):
            return False
        return not self._wanted or (venue, symbol) in self._wanted

    def _check_tick(self, venue: str, instrument: Instrument) -> None:
        wanted = self._wanted.get((venue, instrument.symbol))
        if wanted is None or wanted.tick is None:
            return
        name = f"{venue} {instrument.symbol}"
        if not instrument.tick:
            raise ConsumerConfigError(
                f"{name}: tick {wanted.tick} cannot be checked, since the service does not name "
                "the venue's: leave tick out"
            )
        tick = Decimal(instrument.tick).scaleb(instrument.price_exponent)
        if tick != wanted.tick:
            raise ConsumerConfigError(
                f"{name}: tick {wanted.tick} is not the venue's, which is {tick.normalize():f}"
            )

    def _claim(self, stream: int, venue: str, symbol: str) -> None:
        owner = self._owners.setdefault((venue, symbol), stream)
        if owner != stream:
            one, other = self._streams[owner], self._streams[stream]
            raise ConsumerConfigError(
                f"{venue} {symbol} comes from {one} and from {other}: name symbols for each input"
            )
        if len(self._owners) > self._most:
            raise ConsumerConfigError(
                f"the inputs have more than {self._most:,} symbols: name those that are wanted"
            )

    def _require_all(self) -> None:
        """Once all headers are there, every symbol has to be in one of them."""
        if len(self._known) < len(self._streams):
            return
        for venue, symbol in self._wanted:
            if (venue, symbol) not in self._owners and (not self._named or symbol in self._named):
                raise ConsumerConfigError(f"no input has {venue} {symbol}")
        for symbol in sorted(self._named.difference(symbol for _, symbol in self._owners)):
            raise ConsumerConfigError(f"no input has {symbol}")
        for need in self._needs:
            # With symbols on the command line the file may well speak of others.
            is_named = not self._named or not need.symbol or need.symbol in self._named
            if is_named and not any(need.is_met_by(*each) for each in self._owners):
                its = " ".join(filter(None, need[1:]))
                which = "no input has" + (", or no [[symbol]] names" if self._wanted else "")
                raise ConsumerConfigError(f"{need.what} is for {its}, which {which}: leave it out")
