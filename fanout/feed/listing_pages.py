"""Fetches a venue's listing, which may need several requests: one for each kind of instrument, or
for each page."""

import logging
from collections import deque
from functools import partial
from typing import Final

from fanout.errors import VenueMessageError, VenueRequestError
from fanout.net.rest import RestClient
from fanout.venues.base import Venue
from fanout.venues.values import Listing, Request

_LOG = logging.getLogger("fanout")

MAX_PAGES: Final = 64
"""Most answers that make up a listing. A venue whose pages name each other would never end."""


async def fetch_listing(rest: RestClient, venue: Venue) -> Listing:
    """Fetch every page of the listing, and parse them together.

    Raises `VenueError`. An unreadable page is fetched again, and so is the last page if the listing
    is unreadable. An optional page that the venue refuses is left out.
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
        try:
            listing = await rest.fetch(request, partial(take, request))
        except VenueRequestError as error:
            if not request.is_optional:
                raise
            _LOG.warning("the listing lacks a part: %s %s", error, request.query)
            listing = None if waiting else venue.parse_listing(*bodies)
        if listing is not None:
            return listing
    raise VenueMessageError("listing has no end", f"more than {MAX_PAGES} answers")
