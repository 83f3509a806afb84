"""Measures the venue's clock against ours, once a minute."""

from collections.abc import Callable
from typing import Final

import trio

from fanout.errors import VenueError
from fanout.feed.venue_clock import VenueClock
from fanout.net.rest import RestClient
from fanout.stats.anomalies import Anomalies
from fanout.venues.base import Venue

EVERY_S: Final = 60.0


async def keep_time(
    clock: VenueClock,
    rest: RestClient,
    venue: Venue,
    anomalies: Anomalies,
    wall_ns: Callable[[], int],
) -> None:
    """Measure round trips for `clock` until cancelled. `wall_ns` gives unix ns.

    Returns at once for a venue that does not show its time: its clock then counts as equal to ours.
    """
    request = venue.time_request()
    if request is None:
        return

    def take(body: bytes) -> None:
        answered_ns = wall_ns()
        clock.measured(asked_ns=asked_ns, venue_ms=venue.parse_time(body), answered_ns=answered_ns)

    while True:
        asked_ns = wall_ns()
        try:
            await rest.fetch(request, take)
        except VenueError as error:
            anomalies.note("request for the venue's time failed", error)
        await trio.sleep(EVERY_S)
