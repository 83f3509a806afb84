"""Fetches a venue's listing, which may need several requests: one for each kind of instrument, or
for each page."""

from collections import deque
from functools import partial
from typing import Final

from fanout.errors import VenueMessageError
from fanout.net.rest import RestClient
from fanout.venues.base import Venue
from fanout.venues.values import Listing, Request

MAX_PAGES: Final = 64
"""Most answers that make up a listing. A venue whose pages name each other would never end."""


async def fetch_listing(rest: RestClient, venue: Venue) -> Listing:
    """Fetch every page of the listing, and parse them together.

    Raises `VenueError`. An unreadable page is fetched again, and so is the last page if the listing
    is unreadable.
    """
    waiting = deque(venue.listing_requests())
    bodies: list[bytes] = []

    def take(request: Request, body: bytes) -> Listing | None:
        more = venue.more_listing(request, body)
        listing = None if waiting or more else venue.parse_listing(*bodies, body)
        waiting.extend(more)
        bodies.append(body)
        return listing

    for _ in range(MAX_PAGES):
        request = waiting.popleft()
        listing = await rest.fetch(request, partial(take, request))
        if listing is not None:
            return listing
    raise VenueMessageError("listing has no end", f"more than {MAX_PAGES} answers")
