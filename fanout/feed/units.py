"""The units of a feed's instruments, which a venue may change in mid-session: trades that no longer
fit are the sign of it, and then the venue is asked."""

import logging
from typing import Final

import trio

from fanout.channel.publisher import Publisher
from fanout.errors import VenueError
from fanout.feed.market import ask_again
from fanout.feed.merge import Merge
from fanout.net.rest import RestClient
from fanout.protocol.errors import reason
from fanout.protocol.records import Instrument
from fanout.venues.base import Venue

_LOG = logging.getLogger("fanout")

RENEW_EVERY_S: Final = 60.0
"""Shortest time between two looks at the units, however many trades do not fit them."""


class Units:
    """The instruments, in the units that they have now."""

    def __init__(
        self,
        venue: Venue,
        instruments: tuple[Instrument, ...],
        merge: Merge,
        publisher: Publisher,
        rest: RestClient,
    ) -> None:
        self.instruments = instruments
        self._venue = venue
        self._merge = merge
        self._publisher = publisher
        self._rest = rest
        self._doubted = trio.Event()

    def doubt(self) -> None:
        """A trade does not fit."""
        self._doubted.set()

    async def run(self) -> None:
        """Renew them when they are in doubt, until cancelled."""
        while True:
            await self._doubted.wait()
            await self._renew()
            await trio.sleep(RENEW_EVERY_S)
            self._doubted = trio.Event()

    async def _renew(self) -> None:
        """Ask the venue for its units, and go on in them if they are others."""
        try:
            market = await ask_again(self._rest, self._venue, self.instruments)
        except* VenueError as group:
            _LOG.warning("trades do not fit, and the units cannot be asked for: %s", reason(group))
        else:
            if market.instruments != self.instruments:
                _LOG.warning("the venue changed its units: going on in the new ones")
                self.instruments = market.instruments
                self._merge.renew(market.instruments)
                self._publisher.change(market.instruments, market.references)
                self._publisher.seed(market.newest)
